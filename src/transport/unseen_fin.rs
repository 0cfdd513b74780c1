//! FINs that quiche does not report: a FIN with bytes that were already read, e.g. when a lost ACK makes
//! the peer retransmit its last data with the FIN, does not make the stream readable.

use std::collections::VecDeque;

use super::buf::Quic;

/// Streams checked in one turn, so that idle streams cost a bounded amount.
const LOOKS: usize = 32;

/// The streams with an open receiving side. Empty while there are none, as on an idle connection.
#[derive(Debug, Default)]
pub(super) struct UnseenFins(Option<Box<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    /// In the order of checking.
    open: VecDeque<u64>,
    /// Streams not checked since the last packet.
    left: usize,
}

impl UnseenFins {
    /// Watches a stream until its receiving side ends.
    pub(super) fn watch(&mut self, stream: u64) {
        let watched = self.0.get_or_insert_default();
        watched.open.push_back(stream);
        watched.left += 1;
    }

    /// A packet arrived.
    pub(super) fn on_received(&mut self) {
        if let Some(watched) = &mut self.0 {
            watched.left = watched.open.len();
        }
    }

    /// Whether streams are still unchecked.
    pub(super) fn is_pending(&self) -> bool {
        self.0.as_ref().is_some_and(|watched| watched.left > 0)
    }

    /// Checks some streams; returns those that have ended without being readable.
    pub(super) fn look(&mut self, quic: &Quic) -> Vec<u64> {
        let ended = self.0.as_mut().map(|watched| watched.look(quic)).unwrap_or_default();
        self.0.take_if(|watched| watched.open.is_empty());
        ended
    }
}

impl Watched {
    fn look(&mut self, quic: &Quic) -> Vec<u64> {
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
