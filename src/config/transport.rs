//! Settings shared by both sides: QUIC, the parts of TLS that need no identity, the socket, and logs.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
#[cfg(feature = "qlog")]
use std::str::FromStr;
use std::time::Duration;

use super::limits::MAX_PATHS;
use super::{WebTransportConfig, check};
use crate::error::ConfigError;

/// A duration that means no limit, and can be added to the time of day.
pub(super) const NO_LIMIT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// When a client must prove its address by a Retry packet (RFC 9000 section 8.1.2) before the server creates a connection for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RetryPolicy {
    /// Never: saves one round trip.
    Off,
    /// Always.
    On,
    /// While more than [`ServerConfig::retry_threshold`](super::ServerConfig::retry_threshold) handshakes are under way.
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

/// The settings of QUIC, TLS and the UDP socket that servers and clients have in common. They apply to each connection.
///
/// [`ServerConfig`](super::ServerConfig) and [`ClientConfig`](super::ClientConfig) hold one each, with the defaults of
/// their side: [`TransportConfig::server`] and [`TransportConfig::client`]. It can be cloned from one to the other.
///
/// ```
/// let mut config = mio_quiche::ClientConfig::default();
/// config.transport.idle_timeout = std::time::Duration::from_secs(60);
/// config.transport.congestion_control = mio_quiche::CongestionControl::Bbr2;
/// # config.validate().unwrap();
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransportConfig {
    /// Time without traffic after which a connection is dropped, in steps of 1 ms (RFC 9000 section 10.1). Default: 30 s.
    pub idle_timeout: Duration,
    /// Time within which a handshake must be complete (RFC 9000 section 7); [`Duration::MAX`] sets no limit. Default: 10 s
    /// for a server; no limit for a client, where [`connect_timeout`](super::ClientConfig::connect_timeout) covers the
    /// handshakes too.
    pub handshake_timeout: Duration,
    /// Flow control window of a connection at the start, in bytes (RFC 9000 section 4.1); it grows up to
    /// `max_connection_window`. Default: 10 MiB.
    pub initial_max_data: u64,
    /// Flow control window of each stream at the start, in bytes (RFC 9000 section 4.1); it grows up to
    /// `max_stream_window`. Default: 1 MiB.
    pub initial_max_stream_data: u64,
    /// Upper bound of a connection's window, in bytes. Default: 24 MiB.
    pub max_connection_window: u64,
    /// Upper bound of a stream's window, in bytes. Default: 16 MiB.
    pub max_stream_window: u64,
    /// Bidirectional streams that the peer may have open at a time (RFC 9000 section 4.6), 1 to 2^60. On a server, these
    /// are requests, and a client waits with further ones. With WebTransport, clients may open as many streams as
    /// [`WebTransportConfig::max_streams`] says, if that is more; this is then the limit on requests, and further ones are
    /// reset with H3_REQUEST_REJECTED (RFC 9114 section 8.1), so that the client may send them again. Default: 100 for a
    /// server; 1 for a client, as servers open such streams only in sessions.
    pub max_streams_bidi: u64,
    /// Unidirectional streams that the peer may have open at a time (RFC 9000 section 4.6), 3 to 2^60; HTTP/3 needs three
    /// (RFC 9114 section 6.2). With WebTransport, [`WebTransportConfig::max_streams`] holds if it is more. Default: 100 for
    /// a server, 1000 for a client.
    pub max_streams_uni: u64,
    /// The largest UDP payload that is sent, in bytes, 1200 to 65527 (RFC 9000 section 14). Default: 1350.
    pub max_udp_payload: usize,
    /// Probe for a larger UDP payload, up to `max_udp_payload` (RFC 9000 section 14.3, RFC 8899). Default: off.
    pub discover_pmtu: bool,
    /// Let the peer move to another address (RFC 9000 section 9); off sends `disable_active_migration`. Default: on.
    pub active_migration: bool,
    /// Space packets in time (RFC 9002 section 7.7); only [`CongestionControl::Bbr2`] does. Default: on.
    pub pacing: bool,
    /// The congestion controller (RFC 9002 section 7). Default: [`CongestionControl::Cubic`].
    pub congestion_control: CongestionControl,
    /// Packets of `max_udp_payload` that are sent before the first acknowledgement, 1 to 1000. Over a round trip of 100 ms, a
    /// handshake and a response of 100 kB take five of them with 10 and three with 32. RFC 9002 section 7.2 recommends no
    /// more than 10, as a slow path loses a larger burst. Default: 10.
    pub initial_congestion_window: usize,
    /// QUIC datagrams (RFC 9221) that wait in each direction, at least 1; `None` turns datagrams off. Default: 1024.
    pub datagram_queue: Option<usize>,
    /// Send a reserved setting, reserved frames and a reserved stream (GREASE), so that peers keep ignoring unknown
    /// extensions (RFC 9114 sections 6.2.3, 7.2.4.1 and 7.2.8). A server sends no reserved frames to clients that may
    /// open sessions, some of which then wait forever. Default: on.
    pub grease: bool,
    /// Application protocols in order of preference, each of 1 to 255 bytes (RFC 7301 section 3.1). Default: `h3`.
    pub alpn: Vec<Vec<u8>>,
    /// Requests in the first flight (0-RTT, RFC 9001 section 4.6) of a resumed connection, for safe methods only (RFC
    /// 8470). A server accepts them and answers others with 425; a client sends them. Default: off, as anyone who
    /// records such a flight can replay it.
    pub early_data: bool,
    /// Directory in which a qlog file `{source connection id}.sqlog` is written for each connection
    /// (draft-ietf-quic-qlog-main-schema). It is created if it is missing. A server makes the file when the client's
    /// address is validated (RFC 9000 section 8.1), with the events before. Default: none.
    #[cfg(feature = "qlog")]
    pub qlog_dir: Option<PathBuf>,
    /// Limits the qlog files in the directory; without limits they fill the disk sooner or later. Default: none.
    #[cfg(feature = "qlog")]
    pub qlog_max: Option<QlogMax>,
    /// File to which TLS secrets are appended in the NSS key log format (RFC 9850), for packet captures; on a server, when
    /// the client's address is validated. [`Endpoint::reopen_logs`](crate::Endpoint::reopen_logs) opens it again, and
    /// `Server::run` does so at SIGUSR1. Default: none.
    pub keylog: Option<PathBuf>,
    /// Size of the kernel's buffers for the UDP socket, in each direction, in bytes; the kernel may give less. Default:
    /// 16 MiB for a server, 4 MiB for a client.
    pub socket_buffer: usize,
}

/// Limits of qlog files, for [`TransportConfig::qlog_max`].
#[cfg(feature = "qlog")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QlogMax {
    /// Bytes of a file, at least 32768. A connection with more goes on in another file, `{source connection id}.2.sqlog`
    /// and so on, which begins with the same header. A single event that is larger is written all the same.
    pub bytes: u64,
    /// Files that are kept, at least 1. When there are more, the oldest are deleted: those of this server or client, with
    /// all its workers, and those that an earlier one made in the directory. A connection whose current file is deleted
    /// logs nothing more.
    pub files: usize,
}

#[cfg(feature = "qlog")]
impl QlogMax {
    /// The first write of a connection has up to half of it.
    const MIN_BYTES: u64 = 32 * 1024;
    /// Files kept if only their size is given.
    const FILES: usize = 100;
}

/// `BYTES` or `BYTES,FILES`; 100 files unless given. The error says what is not a number.
#[cfg(feature = "qlog")]
impl FromStr for QlogMax {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (bytes, files) = match text.split_once(',') {
            Some((bytes, files)) => (bytes, files.parse().map_err(|_| "N is not a number of files")?),
            None => (text, QlogMax::FILES),
        };
        Ok(QlogMax { bytes: bytes.parse().map_err(|_| "not a number of bytes")?, files })
    }
}

/// `transport/` keeps the limit of RFC 9000 section 8.1. quiche's own would make a path fail its validation when what
/// was allowed is spent, even after the validation. Large for any path's first packets, and not so large that sums
/// overflow.
const UNLIMITED_AMPLIFICATION: usize = if usize::BITS >= 64 { 1 << 20 } else { 1 << 8 };

impl TransportConfig {
    /// The defaults of a server.
    pub fn server() -> Self {
        TransportConfig {
            idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
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
            initial_congestion_window: 10,
            datagram_queue: Some(1024),
            grease: true,
            alpn: vec![b"h3".to_vec()],
            early_data: false,
            #[cfg(feature = "qlog")]
            qlog_dir: None,
            #[cfg(feature = "qlog")]
            qlog_max: None,
            keylog: None,
            socket_buffer: 16 * 1024 * 1024,
        }
    }

    /// The defaults of a client.
    pub fn client() -> Self {
        TransportConfig {
            handshake_timeout: Duration::MAX,
            max_streams_bidi: 1,
            max_streams_uni: 1000,
            socket_buffer: 4 * 1024 * 1024,
            ..Self::server()
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let payload = self.max_udp_payload;
        check::range("max_udp_payload", payload as u64, (1200..=65527).contains(&payload), "1200 to 65527 bytes")?;
        let window = self.initial_congestion_window;
        let (name, allowed) = ("initial_congestion_window", (1..=1000).contains(&window));
        check::range(name, window as u64, allowed, "1 to 1000 packets")?;
        check::bytes("initial_max_data", self.initial_max_data)?;
        check::bytes("initial_max_stream_data", self.initial_max_stream_data)?;
        check::bytes("max_connection_window", self.max_connection_window)?;
        check::bytes("max_stream_window", self.max_stream_window)?;
        check::streams("max_streams_bidi", self.max_streams_bidi)?;
        let (uni, expected) = (self.max_streams_uni, "3 to 2^60 streams, as HTTP/3 itself needs three");
        check::range("max_streams_uni", uni, (3..=1 << 60).contains(&uni), expected)?;
        check::at_least_one("datagram_queue", self.datagram_queue.unwrap_or(1))?;
        #[cfg(feature = "qlog")]
        if let Some(QlogMax { bytes, files }) = self.qlog_max {
            check::range("qlog_max.bytes", bytes, bytes >= QlogMax::MIN_BYTES, "at least 32768 bytes")?;
            check::at_least_one("qlog_max.files", files)?;
        }
        check::positive("idle_timeout", self.idle_timeout)?;
        check::positive("handshake_timeout", self.handshake_timeout)?;
        if self.alpn.is_empty() || self.alpn.iter().any(|p| p.is_empty() || p.len() > 255) {
            let value = format!("{:?}", self.alpn.iter().map(|p| String::from_utf8_lossy(p)).collect::<Vec<_>>());
            return Err(ConfigError::Range { setting: "alpn", value, expected: "protocols of 1 to 255 bytes each" });
        }
        Ok(())
    }

    /// Puts these settings into quiche's.
    pub(super) fn apply(&self, webtransport: &WebTransportConfig, c: &mut quiche::Config) -> Result<(), ConfigError> {
        let alpn: Vec<&[u8]> = self.alpn.iter().map(Vec::as_slice).collect();
        c.set_application_protos(&alpn).map_err(ConfigError::refused("alpn"))?;
        // To quiche, 0 means no timeout.
        c.set_max_idle_timeout(self.idle_timeout.as_millis().try_into().unwrap_or(u64::MAX >> 2).max(1));
        // 0 leaves the parameter out, as its default is as good, and quiche encodes all of them in 128 bytes. But quiche
        // looks for no larger packets than it.
        c.set_max_recv_udp_payload_size(if self.discover_pmtu { 65527 } else { 0 });
        c.set_max_send_udp_payload_size(self.max_udp_payload);
        c.discover_pmtu(self.discover_pmtu);
        c.set_initial_max_data(self.initial_max_data);
        c.set_initial_max_stream_data_bidi_local(self.initial_max_stream_data);
        c.set_initial_max_stream_data_bidi_remote(self.initial_max_stream_data);
        c.set_initial_max_stream_data_uni(self.initial_max_stream_data);
        c.set_max_connection_window(self.max_connection_window);
        c.set_max_stream_window(self.max_stream_window);
        let needed = webtransport.needed_streams();
        c.set_initial_max_streams_bidi(self.max_streams_bidi.max(needed));
        c.set_initial_max_streams_uni(self.max_streams_uni.max(needed));
        c.set_active_connection_id_limit(MAX_PATHS as u64);
        c.set_max_amplification_factor(UNLIMITED_AMPLIFICATION);
        c.set_disable_active_migration(!self.active_migration);
        c.set_cc_algorithm(match self.congestion_control {
            CongestionControl::Cubic => quiche::CongestionControlAlgorithm::CUBIC,
            CongestionControl::Reno => quiche::CongestionControlAlgorithm::Reno,
            CongestionControl::Bbr2 => quiche::CongestionControlAlgorithm::Bbr2Gcongestion,
        });
        c.set_initial_congestion_window_packets(self.initial_congestion_window);
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

    /// Opens the key log for appending.
    pub(crate) fn open_keylog(&self) -> Result<Option<File>, ConfigError> {
        let Some(path) = &self.keylog else { return Ok(None) };
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map(Some).map_err(|source| ConfigError::Path { what: "key log", path: path.clone(), source })
    }

    /// Creates the qlog directory if it is missing, and tries to make a file there.
    #[cfg(feature = "qlog")]
    pub(crate) fn prepare_qlog_dir(&self) -> Result<(), ConfigError> {
        let Some(path) = &self.qlog_dir else { return Ok(()) };
        std::fs::create_dir_all(path)
            .and_then(|()| tempfile::tempfile_in(path))
            .map(drop)
            .map_err(|source| ConfigError::Path { what: "qlog directory", path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sides_differ_in_four_defaults() {
        let (server, client) = (TransportConfig::server(), TransportConfig::client());
        assert!(server.check().is_ok() && client.check().is_ok());
        let differing =
            |t: &TransportConfig| (t.handshake_timeout, t.max_streams_bidi, t.max_streams_uni, t.socket_buffer >> 20);
        assert_eq!(differing(&server), (Duration::from_secs(10), 100, 100, 16));
        assert_eq!(differing(&client), (Duration::MAX, 1, 1000, 4));
        let same = TransportConfig {
            handshake_timeout: server.handshake_timeout,
            max_streams_bidi: 100,
            max_streams_uni: 100,
            socket_buffer: server.socket_buffer,
            ..client
        };
        assert_eq!(format!("{same:?}"), format!("{server:?}"));
    }

    #[cfg(feature = "qlog")]
    #[test]
    fn limits_of_qlog_files() {
        assert_eq!("1000000".parse(), Ok(QlogMax { bytes: 1_000_000, files: 100 }));
        assert_eq!("65536,7".parse(), Ok(QlogMax { bytes: 65_536, files: 7 }));
        for wrong in ["", ",", "1,", ",1", "-1", "1,2,3", "1 ,2", "10M"] {
            assert!(wrong.parse::<QlogMax>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        type Set = fn(&mut TransportConfig);
        let cases: [(Set, &str); 8] = [
            (|t| t.max_udp_payload = 1199, "max_udp_payload is 1199, but must be 1200 to 65527 bytes"),
            (|t| t.initial_congestion_window = 0, "initial_congestion_window is 0, but must be 1 to 1000 packets"),
            (|t| t.max_stream_window = 0, "max_stream_window is 0, but must be 1 to 2^62-1 bytes"),
            (|t| t.max_streams_bidi = 0, "max_streams_bidi is 0, but must be 1 to 2^60 streams"),
            (
                |t| t.max_streams_uni = 2,
                "max_streams_uni is 2, but must be 3 to 2^60 streams, as HTTP/3 itself needs three",
            ),
            (|t| t.datagram_queue = Some(0), "datagram_queue is 0, but must be at least 1"),
            (|t| t.idle_timeout = Duration::ZERO, "idle_timeout is 0ns, but must be longer than 0"),
            (|t| t.alpn = vec![Vec::new()], r#"alpn is [""], but must be protocols of 1 to 255 bytes each"#),
        ];
        for (set, told) in cases {
            let mut transport = TransportConfig::server();
            set(&mut transport);
            assert_eq!(transport.check().unwrap_err().to_string(), told);
        }
    }
}
