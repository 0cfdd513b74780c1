//! What the streams of a connection have achieved since they began to wait for the client.

use std::time::{Duration, Instant};

/// Checks in the time of the limit, so that it is exceeded by a quarter at most.
const CHECKS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Progress {
    next_check: Option<Instant>,
    /// Those that waited for the client at the last check, in order.
    waiting: Vec<Waiting>,
}

/// A stream that waits for the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) stream: u64,
    pub(super) since: Instant,
    /// Bytes that had moved by then.
    pub(super) bytes: u64,
    /// Further bytes that are progress.
    pub(super) enough: u64,
}

impl Progress {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_check
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_check.is_some_and(|at| at <= now)
    }

    /// A datagram arrived.
    pub(super) fn on_received(&mut self, now: Instant, limit: Option<Duration>) {
        if self.next_check.is_none()
            && let Some(limit) = limit
        {
            self.next_check = Some(now + limit / CHECKS);
        }
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the streams that wait now, and returns those that have waited for `limit`.
    pub(super) fn update(&mut self, now: Instant, limit: Duration, mut waiting: Vec<Waiting>) -> Vec<u64> {
        self.next_check = None;
        for new in &mut waiting {
            if let Ok(at) = self.waiting.binary_search_by_key(&new.stream, |old| old.stream)
                && let old = self.waiting[at]
                && new.bytes < old.bytes + old.enough
            {
                (new.since, new.bytes) = (old.since, old.bytes);
            }
        }
        let late = waiting.extract_if(.., |new| now - new.since >= limit).map(|late| late.stream).collect();
        waiting.sort_unstable_by_key(|new| new.stream);
        self.waiting = waiting;
        late
    }
}
