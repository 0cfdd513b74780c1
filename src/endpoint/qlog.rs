//! Events of sessions and migrations in the connection's qlog file. quiche writes those of QUIC and HTTP/3 itself.

use std::net::SocketAddr;

use crate::transport::Transport;
use crate::wt::SessionEnd;

/// An event of a session or one of its streams.
pub(super) fn session(transport: &mut Transport, name: &str, session: u64, stream: Option<u64>) {
    #[cfg(feature = "qlog")]
    write(
        transport,
        &format!("webtransport:{name}"),
        || serde_json::json!({ "session_id": session, "stream_id": stream }),
    );
    #[cfg(not(feature = "qlog"))]
    let _ = (transport, name, session, stream);
}

/// A session ended.
pub(super) fn session_closed(transport: &mut Transport, session: u64, end: &SessionEnd) {
    #[cfg(feature = "qlog")]
    write(transport, "webtransport:session_closed", || {
        let by = format!("{:?}", end.by).to_lowercase();
        serde_json::json!({ "session_id": session, "by": by, "error_code": end.code, "reason": end.reason })
    });
    #[cfg(not(feature = "qlog"))]
    let _ = (transport, session, end);
}

/// The peer's address changed, and was validated.
pub(super) fn migrated(transport: &mut Transport, peer: SocketAddr) {
    #[cfg(feature = "qlog")]
    write(transport, "quic:migration_state_updated", || {
        let version = if peer.is_ipv4() { "v4" } else { "v6" };
        let remote = serde_json::json!({
            format!("ip_{version}"): peer.ip().to_string(),
            format!("port_{version}"): peer.port(),
        });
        serde_json::json!({ "new": "migration_complete", "tuple_remote": remote })
    });
    #[cfg(not(feature = "qlog"))]
    let _ = (transport, peer);
}

#[cfg(feature = "qlog")]
fn write(transport: &mut Transport, name: &str, data: impl FnOnce() -> serde_json::Value) {
    use qlog::events::{EventImportance, JsonEvent};
    let Some(streamer) = transport.qlog() else { return };
    let name = name.to_owned();
    // quiche reports write errors of the file.
    let _ = streamer.add_event_now(JsonEvent { time: 0.0, importance: EventImportance::Core, name, data: data() });
}
