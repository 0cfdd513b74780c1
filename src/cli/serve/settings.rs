//! Arguments to settings of the server.

use mio_quiche::{Certificate, CongestionControl, Drafts, RetryPolicy, ServerConfig};

use super::args::{Args, Cc, Retry, WtDrafts};
use crate::cli::Failure;

pub(super) fn config(args: Args) -> Result<ServerConfig, Failure> {
    let Args { cert, key, client_ca, admin, transport, webtransport, limits, access_log, diagnostics, .. } = args;
    if cert.len() != key.len() {
        return Err(Failure::Usage(format!("{} --cert, but {} --key: give one for each", cert.len(), key.len())));
    }
    let mut config = ServerConfig::new(cert.into_iter().zip(key).map(|(c, k)| Certificate::from_files(c, k)).collect());
    config.client_ca = client_ca;
    config.retry = match transport.retry {
        Retry::Off => RetryPolicy::Off,
        Retry::On => RetryPolicy::On,
        Retry::Auto => RetryPolicy::Auto,
    };
    config.transport.congestion_control = match transport.cc {
        Cc::Cubic => CongestionControl::Cubic,
        Cc::Reno => CongestionControl::Reno,
        Cc::Bbr2 => CongestionControl::Bbr2,
    };
    config.transport.early_data = transport.early_data;
    config.ticket_key = transport.ticket_key;
    config.host_key = transport.host_key;
    config.transport.max_udp_payload = transport.max_udp_payload;
    config.transport.idle_timeout = transport.idle_timeout;
    config.transport.initial_max_data = transport.max_data;
    config.transport.initial_max_stream_data = transport.max_stream_data;
    config.transport.grease = !transport.no_grease;
    let off = webtransport.no_webtransport || std::env::var_os("H3_WEBTRANSPORT").is_some_and(|value| value == "0");
    config.webtransport.allowed = !off;
    config.webtransport.drafts = match webtransport.wt_drafts {
        WtDrafts::Browsers => Drafts::Browsers,
        WtDrafts::All => Drafts::All,
    };
    config.webtransport.max_sessions = webtransport.max_sessions;
    config.webtransport.idle_timeout = webtransport.session_idle_timeout;
    config.webtransport.allow_origins = webtransport.allow_origin;
    config.max_connections = limits.max_connections;
    config.max_handshakes = limits.max_handshakes;
    config.transport.max_streams_bidi = limits.max_requests;
    config.request_limits.max_fields = limits.max_fields;
    config.request_limits.max_value = limits.max_field_value;
    config.request_limits.max_field_section = limits.max_field_section;
    config.request_limits.max_target = limits.max_target;
    config.max_request_body = limits.max_body;
    config.max_request_rate = limits.max_request_rate;
    config.request_timeout = limits.request_timeout;
    config.transport.handshake_timeout = limits.handshake_timeout;
    config.shutdown_timeout = limits.shutdown_timeout;
    config.admin = admin;
    config.access_log = access_log.settings();
    config.transport.keylog = diagnostics.keylog;
    #[cfg(feature = "qlog")]
    {
        config.transport.qlog_dir = diagnostics.qlog_dir.filter(|_| !diagnostics.no_qlog);
        config.transport.qlog_max = diagnostics.qlog_limits.max;
    }
    Ok(config)
}
