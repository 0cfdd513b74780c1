//! Keeps a connection alive while something is outstanding (RFC 9114 section 5.1), which quiche does not by itself.

use std::time::{Duration, Instant};

/// When a PING is due. One that is not acknowledged does not keep the connection alive, so a dead peer is noticed.
#[derive(Debug)]
pub(super) struct KeepAlive {
    last_received: Instant,
    due: Option<Instant>,
}

impl KeepAlive {
    pub(super) fn new(now: Instant) -> Self {
        KeepAlive { last_received: now, due: None }
    }

    pub(super) fn on_received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// Plans the next PING of a connection with an `idle_timeout`, if something is outstanding.
    pub(super) fn plan(&mut self, outstanding: bool, idle_timeout: Duration) -> Option<Instant> {
        self.due = outstanding.then(|| self.last_received + idle_timeout / 2);
        self.due
    }

    /// Whether a PING is due now. The next one is planned a while later, in case this one is lost.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|at| at <= now);
        if due {
            self.last_received = now;
            self.due = None;
        }
        due
    }
}
