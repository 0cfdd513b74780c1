//! Events of sessions in the connection's qlog file. quiche writes those of QUIC and HTTP/3 itself.

use crate::quic;
use crate::wt::SessionEnd;

/// Something happened to a session, or to a stream of it.
pub(super) fn session(quic: &mut quic::Connection, name: &str, session: u64, stream: Option<u64>) {
    #[cfg(feature = "qlog")]
    write(quic, name, || serde_json::json!({ "session_id": session, "stream_id": stream }));
    #[cfg(not(feature = "qlog"))]
    let _ = (quic, name, session, stream);
}

/// A session ended.
pub(super) fn session_closed(quic: &mut quic::Connection, session: u64, end: &SessionEnd) {
    #[cfg(feature = "qlog")]
    write(quic, "session_closed", || {
        let by = format!("{:?}", end.by).to_lowercase();
        serde_json::json!({ "session_id": session, "by": by, "error_code": end.code, "reason": end.reason })
    });
    #[cfg(not(feature = "qlog"))]
    let _ = (quic, session, end);
}

#[cfg(feature = "qlog")]
fn write(quic: &mut quic::Connection, name: &str, data: impl FnOnce() -> serde_json::Value) {
    use qlog::events::{EventImportance, JsonEvent};
    let Some(streamer) = quic.qlog_streamer() else { return };
    let name = format!("webtransport:{name}");
    // A file that cannot be written is quiche's to report.
    let _ = streamer.add_event_now(JsonEvent { time: 0.0, importance: EventImportance::Core, name, data: data() });
}
