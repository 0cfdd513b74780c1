//! Settings, their defaults and their checks.

mod client;

use std::fs::{File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::ConfigError;
pub use client::{ClientConfig, Dangerous, Resolver};

/// When a client must prove its address by a Retry packet (RFC 9000 section 8.1.2) before a connection is made for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RetryPolicy {
    /// Never: one round trip less.
    Off,
    /// Always.
    On,
    /// While more than [`ServerConfig::retry_threshold`] handshakes are under way.
    #[default]
    Auto,
}

/// The congestion controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CongestionControl {
    /// CUBIC (RFC 9438). The default: on loopback it moved most bytes per CPU second.
    #[default]
    Cubic,
    /// NewReno (RFC 9002 section 7).
    Reno,
    /// BBR version 2; the only one that quiche paces.
    Bbr2,
}

/// The settings of a server. Every field is public; [`ServerConfig::from_pem`] gives the defaults.
///
/// ```no_run
/// # fn main() -> mio_quiche::Result<()> {
/// let mut config = mio_quiche::ServerConfig::from_pem("certs/cert.pem", "certs/key.pem")?;
/// config.idle_timeout = std::time::Duration::from_secs(60);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// PEM file with the certificate chain, the server's own first.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// A connection without traffic is dropped after this time (RFC 9000 section 10.1). 30 s.
    pub idle_timeout: Duration,
    /// A handshake must be complete after this time. 10 s.
    pub handshake_timeout: Duration,
    /// After a shutdown began, responses may go on for this time. 30 s.
    pub drain_timeout: Duration,
    /// Connection flow control window at the start, in bytes; grows up to `max_connection_window`. 10 MiB.
    pub initial_max_data: u64,
    /// Stream flow control window at the start, in bytes; grows up to `max_stream_window`. 1 MiB.
    pub initial_max_stream_data: u64,
    /// The most that a connection's window grows to, in bytes. 24 MiB.
    pub max_connection_window: u64,
    /// The most that a stream's window grows to, in bytes. 16 MiB.
    pub max_stream_window: u64,
    /// Requests that a client may have open on a connection. 100.
    pub max_streams_bidi: u64,
    /// Unidirectional streams that a client may have open; HTTP/3 needs three (RFC 9114 section 6.2). 100.
    pub max_streams_uni: u64,
    /// The largest UDP payload that is sent, in bytes, 1200 to 65527. 1350.
    pub max_udp_payload: usize,
    /// Probe for a larger UDP payload up to `max_udp_payload` (RFC 8899). Off.
    pub discover_pmtu: bool,
    /// Clients may move to another address (RFC 9000 section 9). On.
    pub active_migration: bool,
    /// Space packets in time; only [`CongestionControl::Bbr2`] does. On.
    pub pacing: bool,
    /// The congestion controller.
    pub congestion_control: CongestionControl,
    /// QUIC datagrams (RFC 9221) that wait in each direction; `None` turns them off. 1024.
    pub datagram_queue: Option<usize>,
    /// Send reserved values so that peers stay tolerant (RFC 9287, RFC 9114 section 7.2.8). On.
    pub grease: bool,
    /// Application protocols, each of 1 to 255 bytes. Exactly `h3`.
    pub alpn: Vec<Vec<u8>>,
    /// Ask clients for a certificate of this PEM file of authorities, and refuse those without. Off.
    pub client_ca: Option<PathBuf>,
    /// When clients must prove their address. Automatic.
    pub retry: RetryPolicy,
    /// Handshakes under way from which on [`RetryPolicy::Auto`] asks for the proof. 100.
    pub retry_threshold: usize,
    /// How long a Retry token is good for. 15 s.
    pub retry_token_lifetime: Duration,
    /// Connections in all; an Initial packet over the limit is ignored. 100 000.
    pub max_connections: usize,
    /// Handshakes under way at once; an Initial packet over the limit is ignored. 2 000.
    pub max_handshakes: usize,
    /// The longest request body in bytes, over it 413; `None` for any. None.
    pub max_request_body: Option<u64>,
    /// Limits on a request's head.
    pub request_limits: RequestLimits,
    /// WebTransport sessions. A server turns them on when a route asks for them.
    pub webtransport: WebTransportConfig,
    /// Where a qlog file `{source connection id}.sqlog` per connection is written. None.
    pub qlog_dir: Option<PathBuf>,
    /// File that TLS secrets are appended to in the NSS key log format, for packet captures. None.
    pub keylog: Option<PathBuf>,
    /// Kernel buffers asked for on the UDP socket, in bytes; the kernel may give less. 16 MiB.
    pub socket_buffer: usize,
    /// Where `Server` answers HTTP/1.1 on TCP with a demo page (`/`), metrics for Prometheus (`/metrics`) and its health
    /// (`/healthz`). It asks nobody for a password: bind it to a loopback address. None.
    pub admin: Option<SocketAddr>,
    /// `Server::run` turns SIGINT and SIGTERM into a graceful shutdown, a second one into an immediate one. On.
    pub handle_signals: bool,
    /// Take requests of safe methods in the first flight (0-RTT) of clients that come back; others are answered with 425
    /// (RFC 8470). Off: whoever records such a flight can replay it.
    pub early_data: bool,
    /// File of 48 random bytes that session tickets are sealed with, so that clients can come back after a restart or to
    /// another server. To rotate the key, write another one there and [reload](crate::ServerHandle::reload): tickets of
    /// the old one then lead to full handshakes. None: a key of its own per start.
    pub ticket_key: Option<PathBuf>,
}

/// Setting of draft-02: the endpoint does WebTransport. What Chromium and Firefox ask for.
pub(crate) const SETTING_ENABLE_DRAFT02: u64 = 0x2b60_3742;
/// Setting of draft-07: sessions that the server takes on a connection.
pub(crate) const SETTING_MAX_SESSIONS_DRAFT07: u64 = 0xc671_706a;
/// Setting of draft-13: sessions that the server takes on a connection.
pub(crate) const SETTING_MAX_SESSIONS_DRAFT13: u64 = 0x14e9_cd29;
/// Setting of draft-15: the endpoint does WebTransport.
pub(crate) const SETTING_ENABLED_DRAFT15: u64 = 0x2c7c_f000;
/// Settings for the limits that a session begins with.
pub(crate) const SETTING_INITIAL_MAX_STREAMS_UNI: u64 = 0x2b64;
/// As above, for bidirectional streams.
pub(crate) const SETTING_INITIAL_MAX_STREAMS_BIDI: u64 = 0x2b65;
/// As above, for bytes on streams.
pub(crate) const SETTING_INITIAL_MAX_DATA: u64 = 0x2b61;

/// Settings for WebTransport sessions (draft-ietf-webtrans-http3).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebTransportConfig {
    /// Take sessions. Off; [`Server::bind`](crate::Server::bind) turns it on when the router has a route for them and
    /// `allowed` is set.
    pub enabled: bool,
    /// Whether routes may turn sessions on. On.
    pub allowed: bool,
    /// The drafts that are offered in SETTINGS. Those of today's browsers.
    pub drafts: Drafts,
    /// Sessions at a time on a connection. 16.
    pub max_sessions: usize,
    /// Sessions at a time in all; over it 429. 10 000.
    pub max_sessions_total: usize,
    /// Streams of the peer's at a time in a session. 1000.
    pub max_session_streams: usize,
    /// Streams of each kind at a time on a connection that may have sessions, if that is more than
    /// [`max_streams_bidi`](ServerConfig::max_streams_bidi) and [`max_streams_uni`](ServerConfig::max_streams_uni) say;
    /// browsers do not wait for more streams. 1000.
    pub max_streams: u64,
    /// Bytes that a session may receive before more is granted; only with [`Drafts::All`]. 16 MiB.
    pub initial_max_data: u64,
    /// A session without any traffic is closed after this time. None.
    pub idle_timeout: Option<Duration>,
    /// A connection that had nothing but sessions, none of which is left, is closed after this time: Chromium makes one
    /// for each session and never closes it. 10 s.
    pub linger: Duration,
    /// Origins besides the server's own whose pages may open sessions, such as `https://example.com`; `*` for any.
    /// None.
    pub allow_origins: Vec<String>,
}

/// Drafts of WebTransport over HTTP/3 that a server offers in its SETTINGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Drafts {
    /// Draft-02 and draft-07, which today's browsers ask for.
    #[default]
    Browsers,
    /// These and draft-13 to draft-15, with flow control of sessions.
    All,
}

impl Default for WebTransportConfig {
    fn default() -> Self {
        WebTransportConfig {
            enabled: false,
            allowed: true,
            drafts: Drafts::default(),
            max_sessions: 16,
            max_sessions_total: 10_000,
            max_session_streams: 1000,
            max_streams: 1000,
            initial_max_data: 16 * 1024 * 1024,
            idle_timeout: None,
            linger: Duration::from_secs(10),
            allow_origins: Vec::new(),
        }
    }
}

/// What a session is limited to when it begins, in SETTINGS of either side; zeros are no limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionLimits {
    pub(crate) data: u64,
    pub(crate) bidi: u64,
    pub(crate) uni: u64,
}

impl SessionLimits {
    /// A side that sends no limit above zero does not ask for flow control.
    pub(crate) fn any(&self) -> bool {
        self.data > 0 || self.bidi > 0 || self.uni > 0
    }
}

impl WebTransportConfig {
    /// Whether this server takes sessions.
    pub(crate) fn is_on(&self) -> bool {
        self.enabled && self.allowed && cfg!(feature = "webtransport")
    }

    /// What goes into SETTINGS.
    fn h3_settings(&self) -> Vec<(u64, u64)> {
        let sessions = self.max_sessions as u64;
        let mut settings = vec![(SETTING_ENABLE_DRAFT02, 1), (SETTING_MAX_SESSIONS_DRAFT07, sessions)];
        if self.drafts == Drafts::All {
            let limits = self.limits();
            settings.extend([
                (SETTING_MAX_SESSIONS_DRAFT13, sessions),
                (SETTING_ENABLED_DRAFT15, 1),
                (SETTING_INITIAL_MAX_DATA, limits.data),
                (SETTING_INITIAL_MAX_STREAMS_BIDI, limits.bidi),
                (SETTING_INITIAL_MAX_STREAMS_UNI, limits.uni),
            ]);
        }
        settings
    }

    /// The limits that a session begins with on our side.
    pub(crate) fn limits(&self) -> SessionLimits {
        match self.drafts {
            Drafts::Browsers => SessionLimits::default(),
            Drafts::All => SessionLimits {
                data: self.initial_max_data,
                bidi: self.max_session_streams as u64,
                uni: self.max_session_streams as u64,
            },
        }
    }
}

/// Limits on a request's head, each answered as features of HTTP and not by closing the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestLimits {
    /// Fields, pseudo-header fields not counted; over it 431. 100.
    pub max_fields: usize,
    /// Bytes of a field name; over it 431. 256.
    pub max_name: usize,
    /// Bytes of a field value; over it 431. 8192.
    pub max_value: usize,
    /// Bytes of the field section as RFC 9114 section 4.2.2 counts them (32 more per field); over it 431. 16 KiB.
    pub max_field_section: usize,
    /// Bytes of the request target; over it 414. 2048.
    pub max_target: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        RequestLimits {
            max_fields: 100,
            max_name: 256,
            max_value: 8192,
            max_field_section: 16 * 1024,
            max_target: 2048,
        }
    }
}

/// The largest response head in bytes, each field counted with 32 bytes more (RFC 9114 section 4.2.2). quiche writes a
/// head in one piece, and one that is larger than the congestion window would wait for ever (quiche issue 1573).
pub const MAX_RESPONSE_HEAD: usize = 12 * 1024;

/// Bytes of a key for session tickets, as BoringSSL wants it.
const TICKET_KEY_LEN: usize = 48;

/// What quiche is told as `SETTINGS_MAX_FIELD_SECTION_SIZE`. quiche closes the whole connection over it, so it lies
/// above [`RequestLimits::max_field_section`], which leaves room to answer 431.
const HARD_FIELD_SECTION: u64 = 64 * 1024;

impl ServerConfig {
    /// The default settings with a certificate chain and its private key, both in PEM files.
    ///
    /// # Errors
    /// A file that cannot be read or holds no PEM block of its kind. Whether the two belong together is found when
    /// the server is built.
    pub fn from_pem(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let (cert, key) = (cert.into(), key.into());
        check_pem("certificate", &cert, &["BEGIN CERTIFICATE", "BEGIN X509 CERTIFICATE"])?;
        check_pem("private key", &key, &["PRIVATE KEY"])?;
        Ok(Self::new(cert, key))
    }

    fn new(cert: PathBuf, key: PathBuf) -> Self {
        ServerConfig {
            cert,
            key,
            idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            initial_max_data: 10 * 1024 * 1024,
            initial_max_stream_data: 1024 * 1024,
            max_connection_window: 24 * 1024 * 1024,
            max_stream_window: 16 * 1024 * 1024,
            max_streams_bidi: 100,
            max_streams_uni: 100,
            max_udp_payload: 1350,
            discover_pmtu: false,
            active_migration: true,
            pacing: true,
            congestion_control: CongestionControl::default(),
            datagram_queue: Some(1024),
            grease: true,
            alpn: vec![b"h3".to_vec()],
            client_ca: None,
            retry: RetryPolicy::default(),
            retry_threshold: 100,
            retry_token_lifetime: Duration::from_secs(15),
            max_connections: 100_000,
            max_handshakes: 2_000,
            max_request_body: None,
            request_limits: RequestLimits::default(),
            webtransport: WebTransportConfig::default(),
            qlog_dir: None,
            keylog: None,
            socket_buffer: 16 * 1024 * 1024,
            admin: None,
            handle_signals: true,
            early_data: false,
            ticket_key: None,
        }
    }

    /// Checks every setting, so that a server that starts has no wrong ones.
    ///
    /// # Errors
    /// The first setting that is wrong, with its value and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let range = |setting, value: u64, ok: bool, expected| match ok {
            true => Ok(()),
            false => Err(ConfigError::Range { setting, value: value.to_string(), expected }),
        };
        let payload = self.max_udp_payload;
        range("max_udp_payload", payload as u64, (1200..=65527).contains(&payload), "1200 to 65527 bytes")?;
        let more = self.webtransport.max_streams;
        range("webtransport.max_streams", more, (1..=1 << 60).contains(&more), "1 to 2^60 streams")?;
        for (setting, value) in [
            ("webtransport.initial_max_data", self.webtransport.initial_max_data),
            ("initial_max_data", self.initial_max_data),
            ("initial_max_stream_data", self.initial_max_stream_data),
            ("max_connection_window", self.max_connection_window),
            ("max_stream_window", self.max_stream_window),
        ] {
            range(setting, value, (1..1 << 62).contains(&value), "1 to 2^62-1 bytes")?;
        }
        let (bidi, uni) = (self.max_streams_bidi, self.max_streams_uni);
        range("max_streams_bidi", bidi, (1..=1 << 60).contains(&bidi), "1 to 2^60 streams")?;
        range("max_streams_uni", uni, (3..=1 << 60).contains(&uni), "3 to 2^60 streams, as HTTP/3 itself needs three")?;
        let limits = &self.request_limits;
        for (setting, value) in [
            ("max_connections", self.max_connections),
            ("max_handshakes", self.max_handshakes),
            ("datagram_queue", self.datagram_queue.unwrap_or(1)),
            ("webtransport.max_sessions", self.webtransport.max_sessions),
            ("webtransport.max_session_streams", self.webtransport.max_session_streams),
            ("request_limits.max_fields", limits.max_fields),
            ("request_limits.max_name", limits.max_name),
            ("request_limits.max_value", limits.max_value),
            ("request_limits.max_target", limits.max_target),
        ] {
            range(setting, value as u64, value > 0, "at least 1")?;
        }
        let section = limits.max_field_section;
        let fits = (1..=HARD_FIELD_SECTION as usize).contains(&section);
        range("request_limits.max_field_section", section as u64, fits, "1 to 65536 bytes")?;
        for (setting, value) in [
            ("idle_timeout", self.idle_timeout),
            ("handshake_timeout", self.handshake_timeout),
            ("retry_token_lifetime", self.retry_token_lifetime),
        ] {
            if value.is_zero() {
                let value = format!("{value:?}");
                return Err(ConfigError::Range { setting, value, expected: "longer than 0" });
            }
        }
        if self.alpn.is_empty() || self.alpn.iter().any(|p| p.is_empty() || p.len() > 255) {
            let value = format!("{:?}", self.alpn.iter().map(|p| String::from_utf8_lossy(p)).collect::<Vec<_>>());
            return Err(ConfigError::Range { setting: "alpn", value, expected: "protocols of 1 to 255 bytes each" });
        }
        Ok(())
    }

    /// The checked settings in the form that quiche takes.
    pub(crate) fn to_quiche(&self) -> Result<quiche::Config, ConfigError> {
        self.validate()?;
        let refused = |setting| move |source| ConfigError::Quiche { setting, source };
        let mut c = quiche::Config::new(quiche::PROTOCOL_VERSION).map_err(refused("the TLS library"))?;
        self.load_identity(&mut c)?;
        if let Some(ca) = &self.client_ca {
            check_pem("certificate", ca, &["BEGIN CERTIFICATE"])?;
            c.load_verify_locations_from_file(&path_str("client authority", ca)?).map_err(refused("client_ca"))?;
        }
        c.verify_peer(self.client_ca.is_some());
        if let Some(path) = &self.ticket_key {
            let what = "ticket key";
            let key = std::fs::read(path);
            let key = key.map_err(|source| ConfigError::Path { what, path: path.clone(), source })?;
            if key.len() != TICKET_KEY_LEN {
                let value = format!("{} bytes in '{}'", key.len(), path.display());
                let expected = "48 random bytes (make them with: head -c 48 /dev/urandom)";
                return Err(ConfigError::Range { setting: what, value, expected });
            }
            c.set_ticket_key(&key).map_err(refused(what))?;
        }
        self.transport_to_quiche(&mut c)?;
        Ok(c)
    }

    /// What a server has in common with a client.
    fn transport_to_quiche(&self, c: &mut quiche::Config) -> Result<(), ConfigError> {
        let refused = |setting| move |source| ConfigError::Quiche { setting, source };
        let alpn: Vec<&[u8]> = self.alpn.iter().map(Vec::as_slice).collect();
        c.set_application_protos(&alpn).map_err(refused("alpn"))?;
        c.set_max_idle_timeout(self.idle_timeout.as_millis().try_into().unwrap_or(u64::MAX >> 2));
        c.set_max_recv_udp_payload_size(65527);
        c.set_max_send_udp_payload_size(self.max_udp_payload);
        c.discover_pmtu(self.discover_pmtu);
        c.set_initial_max_data(self.initial_max_data);
        c.set_initial_max_stream_data_bidi_local(self.initial_max_stream_data);
        c.set_initial_max_stream_data_bidi_remote(self.initial_max_stream_data);
        c.set_initial_max_stream_data_uni(self.initial_max_stream_data);
        c.set_max_connection_window(self.max_connection_window);
        c.set_max_stream_window(self.max_stream_window);
        let more = if self.webtransport.is_on() { self.webtransport.max_streams } else { 0 };
        c.set_initial_max_streams_bidi(self.max_streams_bidi.max(more));
        c.set_initial_max_streams_uni(self.max_streams_uni.max(more));
        c.set_active_connection_id_limit(4);
        c.set_disable_active_migration(!self.active_migration);
        c.set_cc_algorithm(match self.congestion_control {
            CongestionControl::Cubic => quiche::CongestionControlAlgorithm::CUBIC,
            CongestionControl::Reno => quiche::CongestionControlAlgorithm::Reno,
            CongestionControl::Bbr2 => quiche::CongestionControlAlgorithm::Bbr2Gcongestion,
        });
        c.enable_pacing(self.pacing);
        c.grease(self.grease);
        if let Some(len) = self.datagram_queue {
            c.enable_dgram(true, len, len);
        }
        if self.keylog.is_some() {
            c.log_keys();
        }
        if self.early_data {
            c.enable_early_data();
        }
        Ok(())
    }

    /// The checked settings of HTTP/3 in the form that quiche takes.
    pub(crate) fn to_h3(&self) -> Result<quiche::h3::Config, ConfigError> {
        let mut c = quiche::h3::Config::new()
            .map_err(|_| ConfigError::Quiche { setting: "the HTTP/3 settings", source: quiche::Error::InvalidState })?;
        c.set_max_field_section_size(HARD_FIELD_SECTION);
        c.set_qpack_max_table_capacity(0);
        c.set_qpack_blocked_streams(0);
        if self.webtransport.is_on() {
            c.enable_extended_connect(true);
            c.set_additional_settings(self.webtransport.h3_settings())
                .map_err(|_| ConfigError::Quiche { setting: "webtransport", source: quiche::Error::InvalidState })?;
        }
        Ok(c)
    }

    /// Opens the key log for appending.
    pub(crate) fn open_keylog(&self) -> Result<Option<File>, ConfigError> {
        let Some(path) = &self.keylog else { return Ok(None) };
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map(Some).map_err(|source| ConfigError::Path { what: "key log", path: path.clone(), source })
    }

    /// Creates the qlog directory if it is missing.
    pub(crate) fn prepare_qlog_dir(&self) -> Result<(), ConfigError> {
        let Some(path) = &self.qlog_dir else { return Ok(()) };
        std::fs::create_dir_all(path).map_err(|source| ConfigError::Path {
            what: "qlog directory",
            path: path.clone(),
            source,
        })
    }

    fn load_identity(&self, c: &mut quiche::Config) -> Result<(), ConfigError> {
        let (cert, key) = (path_str("certificate", &self.cert)?, path_str("private key", &self.key)?);
        c.load_cert_chain_from_pem_file(&cert)
            .map_err(|_| ConfigError::NotPem { what: "certificate", path: self.cert.clone() })?;
        if c.load_priv_key_from_pem_file(&key).is_ok() {
            return Ok(());
        }
        // quiche says no more than "TLS failure": a key that loads where no certificate stands is a foreign one.
        let alone = quiche::Config::new(quiche::PROTOCOL_VERSION).and_then(|mut c| c.load_priv_key_from_pem_file(&key));
        Err(match alone {
            Ok(()) => ConfigError::Mismatch { cert: self.cert.clone(), key: self.key.clone() },
            Err(_) => ConfigError::NotPem { what: "private key", path: self.key.clone() },
        })
    }
}

fn check_pem(what: &'static str, path: &Path, labels: &[&str]) -> Result<(), ConfigError> {
    let bytes =
        std::fs::read(path).map_err(|source| ConfigError::Unreadable { what, path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&bytes);
    match labels.iter().any(|label| text.contains(label)) {
        true => Ok(()),
        false => Err(ConfigError::NotPem { what, path: path.to_owned() }),
    }
}

fn path_str(what: &'static str, path: &Path) -> Result<String, ConfigError> {
    path.to_str().map(str::to_owned).ok_or_else(|| ConfigError::Path {
        what,
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"),
    })
}
