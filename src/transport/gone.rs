//! Streams that this side has retired and that quiche still holds.
//!
//! quiche drops a stream once both directions are over and acknowledged, but does not report it, and in some cases
//! needs a push: a stream that the peer stopped is freed only when its capacity is queried, and quiche::h3 drops its
//! entry of an aborted stream only when a write to it fails. If the peer's RESET_STREAM arrives after ours was
//! acknowledged, quiche never frees the stream.

use std::collections::VecDeque;

use quiche::h3;

use super::buf::Quic;

/// Streams checked in one sweep, besides two for each stream added since the last one, so that a turn's work is
/// bounded.
const SWEEP: usize = 32;
/// Aborted streams held by quiche, each with about 1 KB, at which a server closes the connection.
const MAX_ABORTED: usize = 4096;
/// Finished streams for which there is room at once.
const CAPACITY: usize = 16;
/// Aborted streams that a client remembers. Resets of a server often come late: if this many follow, quiche will never
/// free a stream.
const MAX_ABORTED_BY_CLIENT: usize = 64;

/// Whether quiche has dropped a stream that existed. quiche returns `Done` for writes to such a stream, as when there
/// is no room.
pub(super) fn is_gone(quic: &mut Quic, stream: u64) -> bool {
    matches!(quic.stream_capacity(stream), Err(quiche::Error::InvalidStreamState(_)))
}

/// The streams that quiche still holds. An idle connection has none, and needs no memory for them.
#[derive(Debug, Default)]
pub(super) struct Retired(Option<Box<Held>>);

#[derive(Debug, Default)]
struct Held {
    /// Aborted: no acknowledgement to wait for.
    aborted: VecDeque<u64>,
    /// Finished, possibly with unacknowledged data.
    unacked: VecDeque<u64>,
    /// Streams aborted since the last sweep.
    new: usize,
}

impl Retired {
    fn held(&mut self) -> &mut Held {
        let new = || Box::new(Held { unacked: VecDeque::with_capacity(CAPACITY), ..Held::default() });
        self.0.get_or_insert_with(new)
    }

    /// A stream was aborted: reset and stopped.
    pub(super) fn abort(&mut self, quic: &Quic, stream: u64) {
        self.held().abort(quic, stream);
    }

    /// A stream has ended in both directions.
    pub(super) fn finish(&mut self, quic: &mut Quic, stream: u64) {
        match quic.stream_capacity(stream) {
            Err(quiche::Error::InvalidStreamState(_)) => {}
            Err(_) => self.abort(quic, stream),
            Ok(_) => self.held().unacked.push_back(stream),
        }
    }

    /// Whether quiche holds too many streams: the peer does not acknowledge that they were reset.
    pub(super) fn has_too_many(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.aborted.len() > MAX_ABORTED)
    }

    pub(super) fn contains(&self, stream: u64) -> bool {
        self.0.as_ref().is_some_and(|held| held.aborted.contains(&stream) || held.unacked.contains(&stream))
    }

    /// Whether everything sent on finished streams is acknowledged.
    pub(super) fn is_acked(&mut self, quic: &mut Quic) -> bool {
        let Some(held) = &mut self.0 else { return true };
        held.unacked.retain(|&stream| !is_gone(quic, stream));
        held.unacked.is_empty()
    }

    /// Forgets some of the streams that quiche has dropped.
    pub(super) fn sweep(&mut self, quic: &mut Quic, h3: &mut Option<h3::Connection>) {
        let Some(held) = &mut self.0 else { return };
        held.sweep(quic, h3);
        if held.aborted.is_empty() && held.unacked.is_empty() {
            self.0 = None;
        }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn aborted(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.aborted.len())
    }
}

impl Held {
    fn abort(&mut self, quic: &Quic, stream: u64) {
        self.aborted.push_back(stream);
        self.new += 1;
        if !quic.is_server() && self.aborted.len() > MAX_ABORTED_BY_CLIENT {
            self.aborted.pop_front();
        }
    }

    fn sweep(&mut self, quic: &mut Quic, h3: &mut Option<h3::Connection>) {
        for _ in 0..self.unacked.len().min(SWEEP) {
            let Some(stream) = self.unacked.pop_front() else { break };
            match quic.stream_capacity(stream) {
                Err(quiche::Error::InvalidStreamState(_)) => {}
                // The peer stopped it; asking freed it, unless more is to arrive.
                Err(_) => self.abort(quic, stream),
                Ok(_) => self.unacked.push_back(stream),
            }
        }
        for _ in 0..self.aborted.len().min(SWEEP + 2 * std::mem::take(&mut self.new)) {
            let Some(stream) = self.aborted.pop_front() else { break };
            if !is_gone(quic, stream) {
                self.aborted.push_back(stream);
            } else if let Some(h3) = h3 {
                // One of these writes fails on the stream, with or without a response, and the failure drops the entry.
                // Of a response without any field, quiche::h3 does not come so far.
                let _ = h3.send_body(quic, stream, b"", true);
                let field = h3::HeaderRef::new(b":status", b"500");
                let _ = h3.send_response(quic, stream, &[field], true);
            }
        }
    }
}
