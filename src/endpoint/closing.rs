//! The end of a connection: GOAWAY, then three probe timeouts, then the close (RFC 9114 section 5.2), so that a request
//! that crosses the GOAWAY is rejected and not lost.

use std::time::{Duration, Instant};

use crate::error::ErrorCode;
use crate::transport::Transport;

/// Probe timeouts between GOAWAY and the close.
const TIMEOUTS: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Closing {
    state: State,
    /// The application was notified that the connection is closed.
    pub(super) reported: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    /// It had only sessions, the last one has ended, and it closes then.
    Lingering(Instant),
    /// GOAWAY will be sent as soon as the control stream has credit.
    Wanted(Reason),
    Sent(Box<Sent>),
}

/// The reason for the close.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reason {
    ShuttingDown,
    NoSessionLeft,
}

impl Reason {
    fn text(self) -> &'static [u8] {
        match self {
            Reason::ShuttingDown => b"shutting down",
            Reason::NoSessionLeft => b"no session left",
        }
    }
}

/// Requests from stream `limit` on are rejected. The connection closes at `close_at` or when the last request is over.
#[derive(Debug)]
struct Sent {
    limit: u64,
    close_at: Instant,
    reason: Reason,
}

impl Closing {
    /// Begins the shutdown. Returns true if it was not in progress.
    pub(super) fn begin(&mut self, reason: Reason) -> bool {
        let new = matches!(self.state, State::Open | State::Lingering(_));
        if new {
            self.state = State::Wanted(reason);
        }
        new
    }

    /// Whether a request arrived after the limit of GOAWAY.
    pub(super) fn rejects(&self, stream: u64) -> bool {
        matches!(&self.state, State::Sent(sent) if stream >= sent.limit)
    }

    /// Sends GOAWAY, and closes when it is time. `next_request`: the first request that was not accepted.
    pub(super) fn advance(&mut self, now: Instant, transport: &mut Transport, next_request: u64, requests: usize) {
        if let State::Wanted(reason) = self.state
            && transport.send_goaway(next_request)
        {
            let close_at = now + TIMEOUTS * transport.probe_timeout();
            self.state = State::Sent(Box::new(Sent { limit: next_request, close_at, reason }));
        }
        let State::Sent(sent) = &self.state else { return };
        // Closing drops unacknowledged data.
        if now >= sent.close_at && requests == 0 && transport.is_acked() {
            transport.close(ErrorCode::H3_NO_ERROR, sent.reason.text());
        }
    }

    /// A connection that had only sessions is closed some time after the last one, as browsers do not close it.
    pub(super) fn linger(&mut self, now: Instant, has_only_had_sessions: bool, linger: Duration) {
        self.state = match std::mem::take(&mut self.state) {
            State::Open if has_only_had_sessions => State::Lingering(now + linger),
            State::Lingering(_) if !has_only_had_sessions => State::Open,
            other => other,
        };
    }

    /// Whether the connection has lingered long enough.
    pub(super) fn has_lingered(&self, now: Instant) -> bool {
        matches!(self.state, State::Lingering(until) if until <= now)
    }

    /// Whether [`advance`](Closing::advance) has something to do.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match &self.state {
            State::Open | State::Lingering(_) => false,
            State::Wanted(_) => true,
            State::Sent(sent) => sent.close_at <= now,
        }
    }

    /// When the linger time ends, or [`advance`](Closing::advance) closes.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.state {
            State::Lingering(until) => Some(*until),
            State::Open | State::Wanted(_) => None,
            State::Sent(sent) => Some(sent.close_at).filter(|at| *at > now),
        }
    }
}
