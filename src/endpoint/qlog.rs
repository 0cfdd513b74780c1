//! Events of sessions in the connection's qlog file. quiche writes those of QUIC and HTTP/3 itself.

use crate::transport::Transport;
use crate::wt::SessionEnd;

/// An event of a session or one of its streams.
pub(super) fn session(transport: &mut Transport, name: &str, session: u64, stream: Option<u64>) {
    #[cfg(feature = "qlog")]
    write(transport, name, || serde_json::json!({ "session_id": session, "stream_id": stream }));
    #[cfg(not(feature = "qlog"))]
    let _ = (transport, name, session, stream);
}

/// A session ended.
pub(super) fn session_closed(transport: &mut Transport, session: u64, end: &SessionEnd) {
    #[cfg(feature = "qlog")]
    write(transport, "session_closed", || {
        let by = format!("{:?}", end.by).to_lowercase();
        serde_json::json!({ "session_id": session, "by": by, "error_code": end.code, "reason": end.reason })
    });
    #[cfg(not(feature = "qlog"))]
    let _ = (transport, session, end);
}

#[cfg(feature = "qlog")]
fn write(transport: &mut Transport, name: &str, data: impl FnOnce() -> serde_json::Value) {
    use qlog::events::{EventImportance, JsonEvent};
    let Some(streamer) = transport.qlog() else { return };
    let name = format!("webtransport:{name}");
    // quiche reports write errors of the file.
    let _ = streamer.add_event_now(JsonEvent { time: 0.0, importance: EventImportance::Core, name, data: data() });
}
