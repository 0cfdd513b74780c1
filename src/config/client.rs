//! Settings of a client.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::secret::Secret;
use super::tls::{ClientTls, Tls};
use super::transport::NO_LIMIT;
use super::{
    Certificate, EndpointConfig, HeadLimits, ResponseLimits, RetryPolicy, TransportConfig, WebTransportConfig, check,
};
use crate::error::ConfigError;

/// The settings of a client. Every field is public, and [`ClientConfig::default`] gives the defaults.
///
/// ```
/// use std::time::Duration;
///
/// let mut config = mio_quiche::ClientConfig::default();
/// config.connect_timeout = Duration::from_secs(3);
/// config.transport.idle_timeout = Duration::from_secs(60);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// QUIC, TLS and the socket, as servers have them. Default: [`TransportConfig::client`].
    pub transport: TransportConfig,
    /// PEM file of certificate authorities that are trusted besides the system's. Default: none.
    pub ca_file: Option<PathBuf>,
    /// Directory of certificate authorities that are trusted besides the system's, by OpenSSL's hashed names. Default:
    /// none.
    pub ca_dir: Option<PathBuf>,
    /// SHA-256 hashes of certificates (DER). If there are any, a server is trusted if and only if its certificate has
    /// one of them, regardless of authority and name, as with a browser's `serverCertificateHashes`. Default: none.
    pub cert_hashes: Vec<[u8; 32]>,
    /// Proves the client's identity to servers that ask for a certificate (mutual TLS, RFC 8446 section 4.4.2). Default:
    /// none.
    ///
    /// A server that needs a certificate and gets none, or one that it does not trust, ends the connection after the
    /// client's side of the handshake: the first request fails with [`ClientError::Handshake`](crate::ClientError).
    pub certificate: Option<Certificate>,
    verify: bool,
    /// Resolves host names. Default: `None`, the system's resolver.
    pub resolver: Option<Resolver>,
    /// Time limit for looking a host up and the handshakes with its addresses together. Each handshake is also limited
    /// by [`handshake_timeout`](TransportConfig::handshake_timeout), if that is shorter. Default: 10 s.
    pub connect_timeout: Duration,
    /// Time for which a connection without requests, sessions or datagrams is kept for the next request. It ends earlier
    /// with the [`idle_timeout`](TransportConfig::idle_timeout), which is the shorter one of both sides, unless
    /// [`keep_alive`](ClientConfig::keep_alive) is set. Of 100 connections, the one that is idle for the longest time gives
    /// way to a new origin. Default: 30 s.
    pub pool_idle_timeout: Duration,
    /// Time without packets of the server after which a connection gets a PING (RFC 9000 section 10.1.2), at most half of
    /// the idle timeout. It keeps connections in the pool alive, and the state of NATs, for which 15 s is usual. `None`:
    /// only a connection with requests or a session gets one, after half of the idle timeout. PINGs are sent while the
    /// loop runs, as in [`run`](crate::Client::run) and [`turn`](crate::Client::turn). Default: none.
    pub keep_alive: Option<Duration>,
    /// Redirects that a request without a handler follows, as [`Client::fetch`](crate::Client::fetch) takes it, unless it
    /// has [its own number](crate::ClientRequest::max_redirects). Default: 10.
    pub max_redirects: usize,
    /// Keep the cookies that servers set, in memory, and send them with later requests, also after a redirect (RFC 6265).
    /// Requests with a `cookie` field of their own get no others, and sessions get none. See
    /// [`Client::cookies`](crate::Client::cookies) and [`set_cookie`](crate::Client::set_cookie). Default: off.
    ///
    /// A cookie goes back to the host that set it only: its `Domain` does not extend it to other hosts, as that would need
    /// an up-to-date [list of public suffixes](https://publicsuffix.org) to tell a site from a registry such as `co.uk`.
    /// There are at most 50 cookies of a host and 3000 in all, of 4096 bytes each; further ones are ignored.
    #[cfg(feature = "cookies")]
    pub cookies: bool,
    /// Connect to the alternative services that servers name in `alt-svc` fields (RFC 7838), if they offer HTTP/3; their
    /// certificate must be for the origin. Default: off.
    pub alt_svc: bool,
    /// Limits on a response's heads and trailers.
    pub response_limits: ResponseLimits,
    /// WebTransport sessions. Default: [`enabled`](WebTransportConfig::enabled), otherwise as for a server.
    pub webtransport: WebTransportConfig,
    /// SIGINT and SIGTERM end the waiting instead of the process. Default: off.
    pub handle_signals: bool,
}

type LookUp = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Resolves host names instead of the system: for known addresses, or another resolver.
#[derive(Clone)]
pub struct Resolver(Arc<LookUp>);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// Looks hosts up by `look_up`, which receives a name and a port. It runs on a thread of its own and may block.
    /// Hosts that are addresses are not looked up.
    pub fn new(look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Resolver(Arc::new(look_up))
    }

    pub(crate) fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (self.0)(host, port)
    }
}

/// Settings that give up security. See [`ClientConfig::dangerous`].
#[derive(Debug)]
pub struct Dangerous<'a>(&'a mut ClientConfig);

impl Dangerous<'_> {
    /// Accepts any certificate, so anyone on the path can read and change everything.
    pub fn accept_any_certificate(self) {
        self.0.verify = false;
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            transport: TransportConfig::client(),
            ca_file: None,
            ca_dir: None,
            cert_hashes: Vec::new(),
            verify: true,
            certificate: None,
            resolver: None,
            connect_timeout: Duration::from_secs(10),
            pool_idle_timeout: Duration::from_secs(30),
            keep_alive: None,
            max_redirects: 10,
            #[cfg(feature = "cookies")]
            cookies: false,
            alt_svc: false,
            response_limits: ResponseLimits::default(),
            webtransport: WebTransportConfig { enabled: true, ..WebTransportConfig::default() },
            handle_signals: false,
        }
    }
}

impl ClientConfig {
    /// The settings that give up security, kept apart so that they stand out.
    pub fn dangerous(&mut self) -> Dangerous<'_> {
        Dangerous(self)
    }

    /// Checks every setting. [`Client::new`](crate::Client::new) also does so.
    ///
    /// # Errors
    /// The first invalid setting, with its value and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.transport.check()?;
        self.webtransport.check()?;
        self.response_limits.check()?;
        check::positive("connect_timeout", self.connect_timeout)?;
        check::positive("pool_idle_timeout", self.pool_idle_timeout)?;
        check::positive("keep_alive", self.keep_alive.unwrap_or(NO_LIMIT))
    }

    /// Whether the server's certificate is checked against authorities and name.
    pub(crate) fn checks_authority(&self) -> bool {
        self.verify && self.cert_hashes.is_empty()
    }

    /// The settings that the engine runs on, checked.
    pub(crate) fn to_endpoint(&self) -> Result<EndpointConfig, ConfigError> {
        self.validate()?;
        let mut transport = self.transport.clone();
        transport.handshake_timeout = transport.handshake_timeout.min(self.connect_timeout).min(NO_LIMIT);
        let tls = ClientTls {
            certificate: self.certificate.clone(),
            ca_file: self.ca_file.clone(),
            ca_dir: self.ca_dir.clone(),
            checks_authority: self.checks_authority(),
        };
        Ok(EndpointConfig {
            transport,
            webtransport: self.webtransport.clone(),
            head_limits: HeadLimits::from(&self.response_limits),
            keep_alive: self.keep_alive,
            request_timeout: None,
            max_request_rate: None,
            max_request_body: None,
            reports_refusals: false,
            retry: RetryPolicy::Off,
            retry_threshold: 0,
            retry_token_lifetime: Duration::ZERO,
            max_connections: usize::MAX,
            max_handshakes: usize::MAX,
            host_key: Secret::random()?,
            tls: Tls::Client(tls),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connecting_in_time_includes_each_handshake() {
        let mut config = ClientConfig::default();
        let limit = |config: &ClientConfig| config.to_endpoint().unwrap().transport.handshake_timeout;
        assert_eq!(limit(&config), Duration::from_secs(10));
        config.connect_timeout = Duration::from_secs(30);
        assert_eq!(limit(&config), Duration::from_secs(30));
        config.transport.handshake_timeout = Duration::from_secs(1);
        assert_eq!(limit(&config), Duration::from_secs(1));
    }

    #[test]
    fn wrong_settings_are_named() {
        let mut config = ClientConfig::default();
        assert!(config.validate().is_ok());
        config.connect_timeout = Duration::ZERO;
        assert_eq!(config.validate().unwrap_err().to_string(), "connect_timeout is 0ns, but must be longer than 0");
        config = ClientConfig::default();
        config.transport.max_udp_payload = 100;
        let error = config.to_endpoint().unwrap_err().to_string();
        assert_eq!(error, "max_udp_payload is 100, but must be 1200 to 65527 bytes");
    }

    #[test]
    fn the_initial_congestion_window_counts_packets() {
        let mut config = ClientConfig::default();
        let to = ([127, 0, 0, 1], 4433).into();
        for window in [10, 32] {
            config.transport.initial_congestion_window = window;
            let mut config = config.to_endpoint().unwrap().to_quiche().unwrap();
            let id = quiche::ConnectionId::from_ref(&[1; 16]);
            let conn = quiche::connect(None, &id, to, to, &mut config).unwrap();
            assert_eq!(conn.path_stats().next().unwrap().cwnd, window * 1350);
        }
    }

    #[test]
    fn a_file_that_is_not_pem_is_named() {
        let config = ClientConfig { ca_file: Some(PathBuf::from("Cargo.toml")), ..ClientConfig::default() };
        let error = config.to_endpoint().unwrap().to_quiche().err().expect("not PEM");
        assert!(error.to_string().starts_with("'Cargo.toml' holds no certificate in PEM form"), "{error}");
    }
}
