//! The progress of a connection's streams since they began to wait for the client.

use std::time::{Duration, Instant};

/// Checks per time limit, so that the limit is exceeded by at most a quarter.
const CHECKS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// When the next check is due; `None` while the connection is idle.
    next: Option<Instant>,
    /// The streams that waited for the client at the last check, in order. Boxed, as there are usually none.
    waiting: Box<[Waiting]>,
}

/// A stream that waits for the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) stream: u64,
    pub(super) since: Instant,
    /// Bytes transferred by then.
    pub(super) bytes: u64,
    /// Additional bytes that count as progress.
    pub(super) enough: u64,
}

impl Progress {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|at| at <= now)
    }

    /// A datagram arrived.
    pub(super) fn on_received(&mut self, now: Instant, limit: Option<Duration>) {
        if self.next.is_none() {
            self.next = limit.map(|limit| now + limit / CHECKS);
        }
    }

    /// Takes the streams that wait now, and returns those that have waited for `limit`. There is a next check only if
    /// `is_busy` or if there are others.
    pub(super) fn update(
        &mut self,
        now: Instant,
        limit: Duration,
        mut waiting: Vec<Waiting>,
        is_busy: bool,
    ) -> Vec<u64> {
        let before = std::mem::take(&mut self.waiting);
        for new in &mut waiting {
            if let Ok(at) = before.binary_search_by_key(&new.stream, |old| old.stream)
                && let old = before[at]
                && new.bytes < old.bytes + old.enough
            {
                (new.since, new.bytes) = (old.since, old.bytes);
            }
        }
        let late = waiting.extract_if(.., |new| now - new.since >= limit).map(|late| late.stream).collect();
        waiting.sort_unstable_by_key(|new| new.stream);
        self.next = (is_busy || !waiting.is_empty()).then(|| now + limit / CHECKS);
        self.waiting = waiting.into_boxed_slice();
        late
    }
}
