//! What a run is to do, and the settings of quiche that follow.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use quiche::h3;

use crate::Result;
use crate::udp::MTU;

/// What to load the server with.
pub(crate) struct Plan {
    pub(crate) peer: SocketAddr,
    /// The name for SNI, unless the URL has an address.
    pub(crate) server_name: Option<String>,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) cc: String,
    pub(crate) idle_timeout: Duration,
    pub(crate) connections: usize,
    /// UDP sockets that the connections share.
    pub(crate) sockets: usize,
    /// Concurrent requests on each connection.
    pub(crate) streams: usize,
    /// Requests in all.
    pub(crate) requests: u64,
    pub(crate) requests_per_connection: u64,
    /// How long to let answers gather before each turn.
    pub(crate) gather: Duration,
    /// Body bytes of each request; 0 makes it a GET.
    pub(crate) upload: u64,
    pub(crate) sha256: bool,
    /// A connection that has made its requests is closed, and another takes its place.
    pub(crate) reconnect: bool,
    /// Connections resume the TLS session of an earlier one.
    pub(crate) resume: bool,
    /// The only TLS group to offer.
    pub(crate) group: Option<String>,
    /// Processes whose CPU time to sum up.
    pub(crate) server_pids: Vec<u32>,
}

impl Plan {
    /// Puts the peer's address before a socket's error.
    pub(crate) fn explain(&self, error: io::Error) -> String {
        format!("{}: {error}", self.peer)
    }

    /// Flow control windows that are no limit, and nothing that one server would profit from more than another.
    pub(crate) fn config(&self) -> Result<quiche::Config> {
        let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION)?;
        config.set_application_protos(h3::APPLICATION_PROTOCOL)?;
        config.verify_peer(false);
        config.grease(false);
        config.set_cc_algorithm_name(&self.cc).map_err(|_| format!("unknown congestion control {}", self.cc))?;
        // The loop sends at once, whatever release times quiche would like.
        config.enable_pacing(false);
        config.set_max_idle_timeout(u64::try_from(self.idle_timeout.as_millis())?);
        config.set_max_recv_udp_payload_size(1472);
        config.set_max_send_udp_payload_size(MTU);
        config.set_initial_max_data(10 << 20);
        config.set_initial_max_stream_data_bidi_local(10 << 20);
        config.set_initial_max_stream_data_uni(1 << 20);
        config.set_initial_max_streams_uni(16);
        config.set_max_connection_window(24 << 20);
        config.set_max_stream_window(16 << 20);
        config.set_disable_active_migration(true);
        if let Some(group) = &self.group {
            config.set_curves_list(group).map_err(|_| format!("unknown TLS group {group}"))?;
        }
        Ok(config)
    }
}
