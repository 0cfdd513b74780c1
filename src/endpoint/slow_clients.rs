//! A server's time limit for requests whose client makes no progress: heads that are never complete, bodies that arrive
//! byte by byte, and responses that the client does not read.

use super::connection::Connection;
use super::core::Cx;
use super::progress::Waiting;
use super::streams::Streams;
use crate::error::{ErrorCode, StreamError};
use crate::transport::Transport;

/// Bytes of a body that count as progress.
const MIN_BYTES: u64 = 1024;
/// Streams beyond the last known one that are checked.
const AHEAD: u64 = 100;

impl Connection {
    /// Ends the streams that have waited for the client for too long, and the connection if it has no others. Called at
    /// the end of a turn, when handlers have read the available data.
    pub(super) fn check_progress(&mut self, cx: &mut Cx<'_>) {
        let Some(limit) = cx.core.settings.request_timeout.filter(|_| self.progress.is_due(cx.now)) else { return };
        let heads = incomplete_heads(&self.transport, &self.streams, self.requests.next, AHEAD);
        let wait = |stream, bytes, enough| Waiting { stream, since: cx.now, bytes, enough };
        let mut waiting: Vec<Waiting> = heads.into_iter().map(|stream| wait(stream, 0, MIN_BYTES)).collect();
        for (stream, state) in self.streams.iter_requests().filter(|(_, state)| !state.is_connect()) {
            let (received, sent) = state.moved();
            // Without unread data, the handler waits for the client. A part of the response also counts as progress.
            if state.is_receiving() && self.transport.readable_len(stream, 1) == 0 {
                waiting.push(wait(stream, received + sent * MIN_BYTES, MIN_BYTES));
            } else if self.followups.is_waiting(stream) {
                waiting.push(wait(stream, sent, 1));
            }
        }
        let late = self.progress.update(cx.now, limit, waiting, self.streams.requests() > 0);
        for &stream in &late {
            self.time_out(cx, stream);
        }
        let others = self.streams.iter_requests().filter(|(stream, _)| !late.contains(stream)).count();
        if !late.is_empty() && others == 0 && !self.has_sessions() {
            self.transport.close(ErrorCode::H3_EXCESSIVE_LOAD, b"request timeout");
        }
        if !late.is_empty() {
            self.mark(cx);
        }
    }

    fn time_out(&mut self, cx: &mut Cx<'_>, stream: u64) {
        log::debug!("{:?}: no progress within request_timeout", cx.id(stream));
        cx.core.stats.timed_out_requests += 1;
        let Some(state) = self.streams.request_mut(stream) else {
            self.note_used(stream);
            return self.abort_unprocessed(cx, stream, &[]);
        };
        state.fail(StreamError::TimedOut);
        self.transport.abort(stream, ErrorCode::H3_REQUEST_CANCELLED);
        self.notify_ready(cx, stream);
    }
}

/// Request streams whose head is not complete, as far as they are less than `ahead` streams from `next`.
pub(super) fn incomplete_heads(transport: &Transport, streams: &Streams, next: u64, ahead: u64) -> Vec<u64> {
    let first = next.saturating_sub(4 * ahead);
    let used = (first..next + 4 * ahead).step_by(4);
    used.filter(|stream| transport.is_unfinished(*stream) && !streams.is_past_head(*stream))
        .filter(|stream| !transport.is_known_retired(*stream))
        .collect()
}
