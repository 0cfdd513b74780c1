//! The end of a connection: GOAWAY, then three probe timeouts, then the close (RFC 9114 section 5.2), so that a request that
//! crosses the GOAWAY is rejected and not lost.

use std::time::{Duration, Instant};

use crate::error::ErrorCode;
use crate::transport::Transport;

/// Probe timeouts between GOAWAY and the close.
const TIMEOUTS: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Closing {
    goaway: GoAway,
    /// When a connection that had only sessions closes, after the last one has ended.
    linger_until: Option<Instant>,
    /// The application was notified that the connection is closed.
    pub(super) reported: bool,
}

#[derive(Debug, Default)]
enum GoAway {
    #[default]
    No,
    /// It will be sent as soon as the control stream has credit.
    Wanted(&'static [u8]),
    Sent(Box<Sent>),
}

/// Requests from stream `limit` on are rejected. The connection closes at `close_at` or when the last request is over.
#[derive(Debug)]
struct Sent {
    limit: u64,
    close_at: Instant,
    reason: &'static [u8],
}

impl Closing {
    /// Begins the shutdown. Returns true if it was not under way.
    pub(super) fn begin(&mut self, reason: &'static [u8]) -> bool {
        let new = matches!(self.goaway, GoAway::No);
        if new {
            self.goaway = GoAway::Wanted(reason);
        }
        new
    }

    /// Whether a request arrived after the limit of GOAWAY.
    pub(super) fn rejects(&self, stream: u64) -> bool {
        matches!(&self.goaway, GoAway::Sent(sent) if stream >= sent.limit)
    }

    /// Sends GOAWAY, and closes when it is time. `next_request`: the first request that was not accepted.
    pub(super) fn advance(&mut self, now: Instant, transport: &mut Transport, next_request: u64, requests: usize) {
        if let GoAway::Wanted(reason) = self.goaway
            && transport.send_goaway(next_request)
        {
            let close_at = now + TIMEOUTS * transport.probe_timeout();
            self.goaway = GoAway::Sent(Box::new(Sent { limit: next_request, close_at, reason }));
        }
        let GoAway::Sent(sent) = &self.goaway else { return };
        // Closing drops unacknowledged data.
        if now >= sent.close_at && requests == 0 && transport.is_acked() {
            transport.close(ErrorCode::H3_NO_ERROR, sent.reason);
        }
    }

    /// A connection that had only sessions is closed some time after the last one, as browsers do not close it.
    pub(super) fn linger(&mut self, now: Instant, has_only_had_sessions: bool, linger: Duration) {
        self.linger_until = match has_only_had_sessions {
            true => self.linger_until.or(Some(now + linger)),
            false => None,
        };
    }

    /// Whether the connection has lingered long enough.
    pub(super) fn has_lingered(&self, now: Instant) -> bool {
        self.linger_until.is_some_and(|at| at <= now)
    }

    /// Whether [`advance`](Closing::advance) has something to do.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match &self.goaway {
            GoAway::No => false,
            GoAway::Wanted(_) => true,
            GoAway::Sent(sent) => sent.close_at <= now,
        }
    }

    /// When the linger time ends, or [`advance`](Closing::advance) closes.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.goaway {
            GoAway::No => self.linger_until,
            GoAway::Wanted(_) => None,
            GoAway::Sent(sent) => Some(sent.close_at).filter(|at| *at > now),
        }
    }
}
