//! Keeps a connection alive while something is outstanding (RFC 9114 section 5.1) or as long as a client wants it, which
//! quiche does not by itself.

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
    pub(super) fn due(&self, interval: Option<Duration>, idle_timeout: Duration) -> Instant {
        let half = idle_timeout / 2;
        self.since + interval.map_or(half, |interval| interval.min(half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_due_after_the_interval_or_half_of_the_idle_timeout() {
        let now = crate::net::now();
        let keep_alive = KeepAlive::new(now);
        let after =
            |interval: Option<u64>| keep_alive.due(interval.map(Duration::from_secs), Duration::from_secs(30)) - now;
        for (interval, expected) in [(None, 15), (Some(5), 5), (Some(15), 15), (Some(20), 15)] {
            assert_eq!(after(interval), Duration::from_secs(expected), "{interval:?}");
        }
    }
}
