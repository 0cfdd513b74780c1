//! Connections that stall because quiche has a stream with nothing to send at the front of its queue, as after a
//! spurious loss, and stops there. Each additional call of `send` moves such a stream to the end of the queue if it is
//! incremental. Datagrams cause this, so connections with sessions call more often; others are checked for a stall
//! when they have open streams and fall silent.

use std::time::{Duration, Instant};

use quiche::h3;

use super::buf::Quic;

/// Time between the last activity and the check.
const CHECK_AFTER: Duration = Duration::from_millis(250);
/// Without a timer for this long, nothing is in flight.
const SILENCE: Duration = Duration::from_secs(2);
/// Additional calls of `send` with sessions.
const WITH_SESSIONS: usize = 4;

/// The deadline of the check, and its result.
#[derive(Debug, Default)]
pub(super) struct Stall {
    was_active: bool,
    check_at: Option<Instant>,
    stalled: bool,
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

    /// Checks if it is time. True if nothing is in flight: the caller then makes its sending streams incremental.
    pub(super) fn check(&mut self, now: Instant, quic: &Quic) -> bool {
        if self.check_at.is_none_or(|at| at > now) {
            return false;
        }
        self.check_at = None;
        let silent = quic.timeout_instant().is_none_or(|at| at > now + SILENCE) && !quic.is_closed();
        self.stalled |= silent;
        silent
    }
}

/// Makes the streams of HTTP/3 itself incremental, so that none of them blocks others. quiche::h3 opened them first.
pub(super) fn share_control_streams(quic: &mut Quic, _: &h3::Connection) {
    const CONTROL_AND_QPACK: u64 = 3;
    let first = if quic.is_server() { 3 } else { 2 };
    for n in 0..CONTROL_AND_QPACK {
        // Fails only for a stream that quiche has dropped.
        let _ = quic.stream_priority(first + 4 * n, 0, true);
    }
}
