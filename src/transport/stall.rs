//! Connections that stall because quiche has a stream with nothing to send at the front of its queue, as after a
//! spurious loss, and stops there. Each additional call of `send` moves such a stream to the end of its urgency if it is
//! incremental, so that all must be of one urgency then. Datagrams cause this, so connections with sessions call more
//! often; others are checked for a stall when they fall silent: also those whose responses are all written, as quiche
//! may still hold them.

use std::time::{Duration, Instant};

use quiche::{Error, h3};

use super::buf::Quic;
use super::defer::DEFAULT_PRIORITY;

/// Time between the last activity and the check.
const CHECK_AFTER: Duration = Duration::from_millis(250);
/// Without a timer for this long, nothing is in flight.
const SILENCE: Duration = Duration::from_secs(2);
/// Additional calls of `send` with sessions.
const WITH_SESSIONS: usize = 4;
/// The newest request streams that quiche may hold without the engine's knowledge. Not all have the same age: some are
/// rejected, and so end before others.
const WRITTEN: u64 = 16384;

/// The deadline of the check, and its result.
#[derive(Debug, Default)]
pub(super) struct Stall {
    was_active: bool,
    check_at: Option<Instant>,
    stalled: bool,
    /// Packets whose data was sent again, as of the last check.
    retransmitted: usize,
    /// There were more of them at the last check that found silence.
    resent: bool,
    /// quiche holds no request stream below this one.
    oldest: u64,
}

impl Stall {
    pub(super) fn on_received(&mut self) {
        self.was_active = true;
    }

    /// Calls of `send` to make beyond one that has nothing.
    pub(super) fn extra_sends(&mut self, open_streams: usize, has_sessions: bool) -> usize {
        match (std::mem::take(&mut self.stalled), has_sessions) {
            (true, _) => open_streams + 2 * WITH_SESSIONS,
            (false, true) => WITH_SESSIONS,
            (false, false) => 0,
        }
    }

    /// Arms the check of a connection with open streams.
    pub(super) fn arm(&mut self, now: Instant) {
        if self.check_at.is_none() && std::mem::take(&mut self.was_active) {
            self.check_at = Some(now + CHECK_AFTER);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.check_at
    }

    /// Checks if it is time. True if nothing is in flight: the caller then makes its sending streams incremental. Those
    /// below `next` that it has written to their end and forgotten, and the streams of HTTP/3 itself, are made so here if
    /// data was sent again since.
    pub(super) fn check(&mut self, now: Instant, quic: &mut Quic, next: u64) -> bool {
        if self.check_at.is_none_or(|at| at > now) {
            return false;
        }
        self.check_at = None;
        let silent = quic.timeout_instant().is_none_or(|at| at > now + SILENCE) && !quic.is_closed();
        self.stalled |= silent;
        if silent {
            let retransmitted = quic.stats().retrans;
            self.resent = std::mem::replace(&mut self.retransmitted, retransmitted) != retransmitted;
            if self.resent {
                set_control_priority(quic, DEFAULT_PRIORITY);
                self.share_written(quic, next);
            }
        }
        silent
    }

    /// The priority that a sending stream of this urgency gets in a silence. It keeps its urgency unless data was sent
    /// again: nothing else leaves a stream in the queue.
    pub(super) fn shared_priority(&self, urgency: u8) -> (u8, bool) {
        (if self.resent { DEFAULT_PRIORITY.0 } else { urgency }, true)
    }

    /// Makes streams incremental that were written to their end.
    fn share_written(&mut self, quic: &mut Quic, next: u64) {
        let first = self.oldest.max(next.saturating_sub(4 * WRITTEN));
        let is_held =
            |quic: &mut Quic, stream| !matches!(quic.stream_capacity(stream), Err(Error::InvalidStreamState(_)));
        self.oldest = next;
        for stream in (first..next).step_by(4) {
            if is_held(quic, stream) {
                self.oldest = self.oldest.min(stream);
                let _ = quic.stream_priority(stream, DEFAULT_PRIORITY.0, DEFAULT_PRIORITY.1);
            }
        }
    }
}

/// Makes the streams of HTTP/3 itself incremental, so that none of them blocks the others. quiche::h3 opened them first.
pub(super) fn share_control_streams(quic: &mut Quic, _: &h3::Connection) {
    set_control_priority(quic, (0, true));
}

fn set_control_priority(quic: &mut Quic, (urgency, incremental): (u8, bool)) {
    const CONTROL_AND_QPACK: u64 = 3;
    let first = if quic.is_server() { 3 } else { 2 };
    for n in 0..CONTROL_AND_QPACK {
        // Fails only for a stream that quiche has dropped.
        let _ = quic.stream_priority(first + 4 * n, urgency, incremental);
    }
}
