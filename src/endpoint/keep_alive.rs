//! Keeps a connection alive while something is outstanding (RFC 9114 section 5.1), which quiche does not by itself.

use std::time::{Duration, Instant};

/// When a PING is due. One that is not acknowledged does not keep the connection alive, so a dead peer is noticed.
#[derive(Debug)]
pub(super) struct KeepAlive {
    /// When a packet was received, or a PING was sent.
    since: Instant,
}

impl KeepAlive {
    pub(super) fn new(now: Instant) -> Self {
        KeepAlive { since: now }
    }

    pub(super) fn on_received(&mut self, now: Instant) {
        self.since = now;
    }

    /// A PING was sent. The next one is due a while later, in case this one is lost.
    pub(super) fn on_ping(&mut self, now: Instant) {
        self.since = now;
    }

    /// When the next PING of a connection with an `idle_timeout` is due.
    pub(super) fn due(&self, idle_timeout: Duration) -> Instant {
        self.since + idle_timeout / 2
    }
}
