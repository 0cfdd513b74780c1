//! Ends of streams that quiche does not report: a FIN that comes with bytes that were read already, as when a lost ACK has
//! the peer send its last data again with the FIN, makes no stream readable.

use std::collections::VecDeque;

use super::buf::Quic;

/// Streams looked at in one turn, so that idle streams cost a bounded amount.
const LOOKS: usize = 32;

/// The streams with an open receiving side, in the order in which they are looked at.
#[derive(Debug, Default)]
pub(super) struct UnseenFins {
    open: VecDeque<u64>,
    /// Streams still to be looked at since the last packet.
    left: usize,
}

impl UnseenFins {
    /// Watches a stream until its receiving side ends.
    pub(super) fn watch(&mut self, stream: u64) {
        self.open.push_back(stream);
        self.left += 1;
    }

    /// A packet came.
    pub(super) fn on_received(&mut self) {
        self.left = self.open.len();
    }

    /// Whether streams are still to be looked at.
    pub(super) fn is_pending(&self) -> bool {
        self.left > 0
    }

    /// Looks at some streams; gives those that have ended without being readable.
    pub(super) fn look(&mut self, quic: &Quic) -> Vec<u64> {
        let mut ended = Vec::new();
        for _ in 0..self.left.min(LOOKS) {
            self.left -= 1;
            let Some(stream) = self.open.pop_front() else { break };
            match (quic.stream_finished(stream), quic.stream_readable(stream)) {
                (false, _) => self.open.push_back(stream),
                (true, false) => ended.push(stream),
                // Reading it finds the end.
                (true, true) => {}
            }
        }
        self.left = self.left.min(self.open.len());
        ended
    }
}
