//! Settings of a client.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{CongestionControl, ServerConfig, WebTransportConfig, check_pem, path_str};
use crate::error::ConfigError;

/// Settings of a client. Durations and sizes hold for each connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// PEM file of certificate authorities to trust besides the system's. None.
    pub ca_file: Option<PathBuf>,
    /// Directory of certificate authorities to trust besides the system's, by OpenSSL's hashed names. None.
    pub ca_dir: Option<PathBuf>,
    /// SHA-256 hashes of certificates (DER). When there is one, a server is trusted exactly if its certificate has one of
    /// them, whatever authority and name it is for, as with a browser's `serverCertificateHashes`. None.
    pub cert_hashes: Vec<[u8; 32]>,
    verify: bool,
    /// How hosts are looked up. `None` asks the system.
    pub resolver: Option<Resolver>,
    /// How long it may take to look a host up and to shake hands, with however many of its addresses. 10 s.
    pub connect_timeout: Duration,
    /// Idle time after which a connection is dropped (RFC 9000 section 10.1). 30 s.
    pub idle_timeout: Duration,
    /// Stream flow control window at the start, in bytes. 1 MiB.
    pub initial_max_stream_data: u64,
    /// Connection flow control window at the start, in bytes. 10 MiB.
    pub initial_max_data: u64,
    /// The most that a connection's window grows to, in bytes. 24 MiB.
    pub max_connection_window: u64,
    /// The most that a stream's window grows to, in bytes. 16 MiB.
    pub max_stream_window: u64,
    /// Streams of each kind that a server may have open in sessions. 1000.
    pub max_streams: u64,
    /// The largest UDP payload that is sent, in bytes, 1200 to 65527. 1350.
    pub max_udp_payload: usize,
    /// The congestion controller.
    pub congestion_control: CongestionControl,
    /// QUIC datagrams (RFC 9221) that wait in each direction; `None` turns them off. 1024.
    pub datagram_queue: Option<usize>,
    /// Application protocols. Exactly `h3`.
    pub alpn: Vec<Vec<u8>>,
    /// Connect to the alternative services that servers name in `alt-svc` fields (RFC 7838), as far as they are reached by
    /// HTTP/3; the certificate must be for the origin all the same. Off.
    pub alt_svc: bool,
    /// Send requests of safe methods in the first flight (0-RTT) when a session is resumed. Off: they can be replayed.
    pub early_data: bool,
    /// WebTransport sessions; `enabled` is on.
    pub webtransport: WebTransportConfig,
    /// Where a qlog file per connection is written. None.
    pub qlog_dir: Option<PathBuf>,
    /// File that TLS secrets are appended to in the NSS key log format. None.
    pub keylog: Option<PathBuf>,
    /// Kernel buffers asked for on the UDP socket, in bytes. 4 MiB.
    pub socket_buffer: usize,
    /// SIGINT and SIGTERM end waiting, instead of ending the process. Off.
    pub handle_signals: bool,
}

type LookUp = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// What looks hosts up in the place of the system: for addresses that are known beforehand, or another resolver.
#[derive(Clone)]
pub struct Resolver(Arc<LookUp>);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// Looks hosts up by `look_up`, which is given a name and a port. It runs on a thread of its own and may block. Hosts
    /// that are addresses are not looked up.
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
    /// Accepts any certificate, so that anybody on the way can read and change everything.
    pub fn accept_any_certificate(self) {
        self.0.verify = false;
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        let webtransport = WebTransportConfig { enabled: true, ..WebTransportConfig::default() };
        ClientConfig {
            ca_file: None,
            ca_dir: None,
            cert_hashes: Vec::new(),
            verify: true,
            resolver: None,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            initial_max_stream_data: 1024 * 1024,
            initial_max_data: 10 * 1024 * 1024,
            max_connection_window: 24 * 1024 * 1024,
            max_stream_window: 16 * 1024 * 1024,
            max_streams: 1000,
            max_udp_payload: 1350,
            congestion_control: CongestionControl::default(),
            datagram_queue: Some(1024),
            alpn: vec![b"h3".to_vec()],
            alt_svc: false,
            early_data: false,
            webtransport,
            qlog_dir: None,
            keylog: None,
            socket_buffer: 4 * 1024 * 1024,
            handle_signals: false,
        }
    }
}

impl ClientConfig {
    /// The settings that give up security, set apart so that they are seen.
    pub fn dangerous(&mut self) -> Dangerous<'_> {
        Dangerous(self)
    }

    /// Whether the server's certificate is held against authorities and name.
    pub(crate) fn checks_authority(&self) -> bool {
        self.verify && self.cert_hashes.is_empty()
    }

    /// The settings that a client's engine shares with a server's.
    pub(crate) fn shared(&self) -> ServerConfig {
        ServerConfig {
            idle_timeout: self.idle_timeout,
            handshake_timeout: self.connect_timeout,
            initial_max_data: self.initial_max_data,
            initial_max_stream_data: self.initial_max_stream_data,
            max_connection_window: self.max_connection_window,
            max_stream_window: self.max_stream_window,
            // Only sessions have streams that the server opens.
            max_streams_bidi: 1,
            max_streams_uni: self.max_streams,
            max_udp_payload: self.max_udp_payload,
            congestion_control: self.congestion_control,
            datagram_queue: self.datagram_queue,
            alpn: self.alpn.clone(),
            webtransport: WebTransportConfig { max_streams: self.max_streams, ..self.webtransport.clone() },
            qlog_dir: self.qlog_dir.clone(),
            keylog: self.keylog.clone(),
            socket_buffer: self.socket_buffer,
            handle_signals: self.handle_signals,
            early_data: self.early_data,
            ..ServerConfig::new(PathBuf::new(), PathBuf::new())
        }
    }

    /// The checked settings in the form that quiche takes.
    pub(crate) fn to_quiche(&self) -> Result<quiche::Config, ConfigError> {
        let shared = self.shared();
        shared.validate()?;
        let refused = |setting| move |source| ConfigError::Quiche { setting, source };
        let mut c = quiche::Config::new(quiche::PROTOCOL_VERSION).map_err(refused("the TLS library"))?;
        if let Some(file) = &self.ca_file {
            check_pem("certificate", file, &["BEGIN CERTIFICATE"])?;
            c.load_verify_locations_from_file(&path_str("certificate authority", file)?).map_err(refused("ca_file"))?;
        }
        if let Some(dir) = &self.ca_dir {
            let dir = path_str("directory of authorities", dir)?;
            c.load_verify_locations_from_directory(&dir).map_err(refused("ca_dir"))?;
        }
        c.verify_peer(self.checks_authority());
        shared.transport_to_quiche(&mut c)?;
        Ok(c)
    }
}
