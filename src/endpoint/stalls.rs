//! Where quiche 0.30 comes to a halt, and what gets it going again.

use std::time::{Duration, Instant};

use super::Core;
use super::conn::{Conn, Role};
use crate::h3::Half;
use crate::quic::table::{ConnId, StreamId};

/// How long after some activity it is looked whether a connection with open responses stalls.
pub(super) const STALL_CHECK: Duration = Duration::from_millis(250);

impl Conn {
    /// Looks for streams that ended unnoticed: when a FIN comes on bytes that were read already, quiche 0.30 takes note of
    /// it but does not make the stream readable.
    pub(super) fn note_ends(&mut self, now: Instant, id: ConnId, core: &mut Core) {
        let open = self.streams.iter().filter(|(_, state)| state.is_receiving()).map(|(&stream, _)| stream);
        let of_sessions = self.wt.iter().flat_map(|wt| &wt.streams).filter(|(_, state)| state.recv == Half::Open);
        let ended = |stream: &u64| self.quic.stream_finished(*stream) && !self.quic.stream_readable(*stream);
        let ended: Vec<u64> = open.chain(of_sessions.map(|(&stream, _)| stream)).filter(ended).collect();
        for stream in ended {
            let id = StreamId { conn: id, id: stream };
            match self.wt.as_mut().and_then(|wt| wt.streams.get_mut(&stream)) {
                Some(state) => {
                    state.recv = Half::Finished;
                    self.announce_session_stream(now, id, core);
                }
                None => self.on_finished(now, id, core),
            }
        }
    }

    /// Calls of `send` beyond one that has nothing. quiche 0.30 may have a stream without anything to send at the front of
    /// its queue, after a loss that was none, and stops there; each call moves such a stream to the end, if it is an
    /// incremental one. Datagrams bring that about, so mostly connections with sessions are concerned.
    pub(super) fn extra_sends(&mut self) -> usize {
        const WITH_SESSIONS: usize = 4;
        if std::mem::take(&mut self.stalled) {
            return self.streams.len() + 2 * WITH_SESSIONS;
        }
        if self.wt.as_ref().is_some_and(|wt| !wt.is_idle()) { WITH_SESSIONS } else { 0 }
    }

    /// The streams of HTTP/3 itself share the bandwidth, so that none of them can [stand in the way](Conn::extra_sends).
    pub(super) fn share_control_streams(&mut self) {
        let first: u64 = if self.role == Role::Server { 3 } else { 2 };
        const CONTROL_AND_QPACK: u64 = 3;
        for n in 0..CONTROL_AND_QPACK {
            // quiche::h3 has just opened them.
            let _ = self.quic.stream_priority(first + 4 * n, 0, true);
        }
    }

    /// Nothing is on the way although something is to be sent, maybe: makes sure that no stream stands in the way.
    pub(super) fn look_for_stall(&mut self, now: Instant) {
        let nothing_in_flight = self.quic.timeout_instant().is_none_or(|at| at > now + STALL_CHECK * 8);
        self.stall_check = None;
        if nothing_in_flight && !self.quic.is_closed() {
            self.stalled = true;
            for (&stream, state) in self.streams.iter().filter(|(_, state)| state.is_sending()) {
                // Fails only for a stream that is gone.
                let _ = self.quic.stream_priority(stream, state.priority.quiche_urgency(), true);
            }
        }
    }
}
