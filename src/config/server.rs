//! Settings of a server.

#[cfg(feature = "admin")]
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::access_log::AccessLog;
use super::certificate::Certificate;
use super::pem::Part;
use super::secret::Secret;
use super::tls::{ServerTls, TicketKey, Tls};
use super::transport::NO_LIMIT;
use super::{EndpointConfig, HeadLimits, RequestLimits, RetryPolicy, TransportConfig, WebTransportConfig, check};
use crate::error::ConfigError;

/// The default of [`ServerConfig::offload_threads`].
pub(crate) const OFFLOAD_THREADS: usize = 8;

/// The settings of a server. Every field is public; [`ServerConfig::from_pem`] and [`ServerConfig::new`] give the
/// defaults.
///
/// ```no_run
/// # fn main() -> mio_quiche::Result<()> {
/// let mut config = mio_quiche::ServerConfig::from_pem("certs/cert.pem", "certs/key.pem")?;
/// config.max_connections = 1000;
/// config.transport.idle_timeout = std::time::Duration::from_secs(60);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// QUIC, TLS and the socket, as clients have them. Default: [`TransportConfig::server`].
    pub transport: TransportConfig,
    /// The server's certificates, at least one. A client gets the one for the host name that it asks for (SNI, RFC 6066
    /// section 3): the first whose subjectAltName has the name, or else the first with a wildcard in place of the name's
    /// first label. Clients that ask for another name, or for none, get the first of all.
    ///
    /// Session tickets do not tell certificates apart: a client resumes a session only with a name that its certificate
    /// is valid for (RFC 8446 section 4.6.1).
    pub certificates: Vec<Certificate>,
    /// PEM file of authorities: clients must present a certificate of one of them (mutual TLS, RFC 8446 section 4.4.2). One
    /// that presents none is told `certificate_required`, before any of its requests is handled; that of another authority
    /// is refused with an alert such as `unknown_ca`. [`Endpoint::peer_certificate`](crate::Endpoint::peer_certificate)
    /// shows who a client is. Default: none, clients need no certificate.
    ///
    /// A [reload](crate::ServerHandle::reload) reads the file again. A session that is resumed is not checked again: change
    /// the [`ticket_key`](ServerConfig::ticket_key), too, when an authority or a client is to be trusted no longer.
    pub client_ca: Option<PathBuf>,
    /// File of 48 random bytes that session tickets are sealed with, so that clients can resume after a restart or on
    /// another server. To rotate the key, write another one there and [reload](crate::ServerHandle::reload): tickets of
    /// the old key then lead to full handshakes. Default: none, a random key at each start, which reloads keep.
    pub ticket_key: Option<PathBuf>,
    /// File of at least 32 random bytes: the secret behind the tokens of stateless resets and Retry packets (RFC 9000
    /// sections 10.3 and 8.1.2). A restarted server with the same key tells clients at once that their connections are
    /// lost, and accepts the Retry tokens of its predecessor. It is read at the start only. Default: none, a random
    /// key at each start.
    ///
    /// Servers may share a key, and should then agree on the time of day. All packets of a connection must reach the
    /// server that has it: any other one resets it, and would do so for an attacker, too (RFC 9000 section 21.11).
    pub host_key: Option<PathBuf>,
    /// Time for running responses after a shutdown began (RFC 9114 section 5.2). Default: 30 s.
    pub shutdown_timeout: Duration,
    /// When clients must prove their address (RFC 9000 section 8.1). Default: [`RetryPolicy::Auto`].
    pub retry: RetryPolicy,
    /// Handshakes under way above which [`RetryPolicy::Auto`] sends Retry packets. Default: 100.
    pub retry_threshold: usize,
    /// Time for which a Retry token is valid (RFC 9000 section 8.1.3). Default: 15 s.
    pub retry_token_lifetime: Duration,
    /// Connections at a time; a client over the limit is told CONNECTION_REFUSED. Default: 100 000.
    pub max_connections: usize,
    /// Handshakes at a time. Over the limit, a client that has proven its address by a Retry token takes the place of the
    /// oldest handshake of the network (/24 of IPv4, /56 of IPv6) that has the most, if its own has fewer; an Initial packet
    /// of any other client is ignored, and it tries again. Default: 2 000.
    pub max_handshakes: usize,
    /// Time in which a client must send the whole head of a request, 1 KiB of its body or the rest of it, and read something
    /// of the response; [`Duration::MAX`] sets no limit. It is exceeded by a quarter at most. The stream is then reset, and a
    /// connection without other requests and sessions is closed with H3_EXCESSIVE_LOAD. A response
    /// that goes on while the body arrives is progress, too. Time for which a handler leaves the body unread, or gives no response, does not count. Default: 60 s.
    pub request_timeout: Duration,
    /// Requests in a second of each network (/24 of IPv4, /56 of IPv6), sessions included, with bursts of as many; further
    /// ones get 429; `None` sets no limit. Default: none.
    pub max_request_rate: Option<NonZeroU32>,
    /// The longest request body in bytes, longer ones get 413; `None` sets no limit. Default: none.
    pub max_request_body: Option<u64>,
    /// Limits on a request's head.
    pub request_limits: RequestLimits,
    /// A line for each request and session; servers that share a file append to it in turn. Without it, requests are logged
    /// with their route at the level info, target `mio_quiche::access`, and with path and address at debug. Default: none.
    pub access_log: Option<AccessLog>,
    /// Threads for blocking work of handlers ([`Response::offload`](crate::Response::offload)), started with the first job.
    /// Default: 8.
    pub offload_threads: usize,
    /// WebTransport sessions. Default: off until a route enables them, see [`enabled`](WebTransportConfig::enabled).
    pub webtransport: WebTransportConfig,
    /// TCP address where `Server` answers HTTP/1.1 with a demo page (`/`), metrics for Prometheus (`/metrics`) and its
    /// health (`/healthz`). It is unauthenticated: bind it to a loopback address. Default: none.
    #[cfg(feature = "admin")]
    pub admin: Option<SocketAddr>,
    /// TCP address where `Server` responds over TLS, by HTTP/1.1 and with its own certificates, to clients without
    /// HTTP/3, such as browsers that do not know yet that there is a server: 505 with a page that says so, and an
    /// `alt-svc` field that leads to the UDP port (RFC 9114 section 3.1.1). Port 0: the UDP port's number. Default: none.
    #[cfg(feature = "admin")]
    pub redirect: Option<SocketAddr>,
    /// `Server::run` handles signals: SIGINT and SIGTERM begin a graceful shutdown, a second one ends it at once; SIGHUP
    /// [reloads](crate::ServerHandle::reload) certificate and keys; SIGUSR1 opens the access log and the key log again; SIGUSR2 is ignored.
    /// Default: on.
    pub handle_signals: bool,
}

impl ServerConfig {
    /// The default settings with a certificate chain and its private key, both in PEM files.
    ///
    /// # Errors
    /// A file that cannot be read or holds no PEM block of its kind. Whether the two belong together is checked when
    /// the server is built.
    pub fn from_pem(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let (cert, key) = (cert.into(), key.into());
        check::pem(Part::Chain, &cert)?;
        check::pem(Part::Key, &key)?;
        Ok(Self::new(vec![Certificate::from_files(cert, key)]))
    }

    /// The default settings with these certificates.
    pub fn new(certificates: Vec<Certificate>) -> Self {
        ServerConfig {
            transport: TransportConfig::server(),
            certificates,
            client_ca: None,
            ticket_key: None,
            host_key: None,
            shutdown_timeout: Duration::from_secs(30),
            retry: RetryPolicy::default(),
            retry_threshold: 100,
            retry_token_lifetime: Duration::from_secs(15),
            max_connections: 100_000,
            max_handshakes: 2_000,
            request_timeout: Duration::from_secs(60),
            max_request_rate: None,
            max_request_body: None,
            request_limits: RequestLimits::default(),
            access_log: None,
            offload_threads: OFFLOAD_THREADS,
            webtransport: WebTransportConfig::default(),
            #[cfg(feature = "admin")]
            admin: None,
            #[cfg(feature = "admin")]
            redirect: None,
            handle_signals: true,
        }
    }

    /// Checks every setting. [`Server::bind`](crate::Server::bind) also does so, so a server that starts has valid
    /// ones.
    ///
    /// # Errors
    /// The first invalid setting, with its value and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.transport.check()?;
        self.webtransport.check()?;
        self.request_limits.check()?;
        check::at_least_one("the number of certificates", self.certificates.len())?;
        check::at_least_one("max_connections", self.max_connections)?;
        check::at_least_one("max_handshakes", self.max_handshakes)?;
        check::at_least_one("offload_threads", self.offload_threads)?;
        check::positive("request_timeout", self.request_timeout)?;
        check::positive("retry_token_lifetime", self.retry_token_lifetime)
    }

    /// The settings that the engine runs on, checked.
    pub(crate) fn into_endpoint(self) -> Result<EndpointConfig, ConfigError> {
        self.validate()?;
        let ServerConfig { certificates, client_ca, ticket_key, host_key, .. } = self;
        let ticket_key = match ticket_key {
            Some(path) => TicketKey::File(path),
            None => TicketKey::Random(Secret::random()?),
        };
        let mut transport = self.transport;
        transport.handshake_timeout = transport.handshake_timeout.min(NO_LIMIT);
        Ok(EndpointConfig {
            transport,
            webtransport: self.webtransport,
            head_limits: HeadLimits::from(&self.request_limits),
            keep_alive: None,
            request_timeout: Some(self.request_timeout).filter(|limit| *limit < NO_LIMIT),
            max_request_rate: self.max_request_rate,
            max_request_body: self.max_request_body,
            reports_refusals: self.access_log.is_some(),
            retry: self.retry,
            retry_threshold: self.retry_threshold,
            retry_token_lifetime: self.retry_token_lifetime,
            max_connections: self.max_connections,
            max_handshakes: self.max_handshakes,
            host_key: host_key.map_or_else(Secret::random, |path| Secret::host_key(&path))?,
            tls: Tls::Server(ServerTls { certificates, client_ca, ticket_key }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ServerConfig {
        // Only the labels in the files are checked here.
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert, "-----BEGIN CERTIFICATE-----\n").unwrap();
        std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
        ServerConfig::from_pem(cert, key).unwrap()
    }

    #[test]
    fn wrong_settings_are_named() {
        type Set = fn(&mut ServerConfig);
        let cases: [(Set, &str); 5] = [
            (|c| c.max_connections = 0, "max_connections is 0, but must be at least 1"),
            (|c| c.retry_token_lifetime = Duration::ZERO, "retry_token_lifetime is 0ns, but must be longer than 0"),
            (|c| c.request_limits.max_fields = 0, "request_limits.max_fields is 0, but must be 1 to 10000 fields"),
            (|c| c.webtransport.max_sessions = 0, "webtransport.max_sessions is 0, but must be at least 1"),
            (|c| c.transport.initial_max_data = 0, "initial_max_data is 0, but must be 1 to 2^62-1 bytes"),
        ];
        assert!(config().validate().is_ok());
        for (set, told) in cases {
            let mut config = config();
            set(&mut config);
            assert_eq!(config.into_endpoint().unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn the_engine_gets_what_was_set() {
        let mut config = config();
        config.max_request_body = Some(7);
        (config.retry, config.retry_threshold) = (RetryPolicy::On, 8);
        (config.max_connections, config.max_handshakes) = (9, 10);
        config.transport.handshake_timeout = Duration::MAX;
        let endpoint = config.into_endpoint().unwrap();
        assert_eq!((endpoint.max_request_body, endpoint.retry), (Some(7), RetryPolicy::On));
        assert_eq!((endpoint.retry_threshold, endpoint.max_connections, endpoint.max_handshakes), (8, 9, 10));
        assert!(std::time::SystemTime::UNIX_EPOCH.checked_add(endpoint.transport.handshake_timeout).is_some());
    }
}
