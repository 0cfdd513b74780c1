//! Deadlines of many owners, at most one each.

use std::collections::BTreeSet;
use std::time::Instant;

use super::table::{ConnId, StreamId};

/// The owner of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    /// A connection.
    Conn(ConnId),
    /// A stream whose handler set a wake-up.
    Stream(StreamId),
    /// A session.
    Session(StreamId),
}

/// Deadlines in order. A deadline that moves back costs nothing: the early one stays, and its owner arms again when it
/// fires.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    deadlines: BTreeSet<(Instant, K)>,
}

/// When an owner's deadline fires; kept by the owner.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Armed(Option<Instant>);

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Timers { deadlines: BTreeSet::new() }
    }

    /// Ensures that `key` fires at `deadline` or before.
    pub(crate) fn arm(&mut self, key: K, armed: &mut Armed, deadline: Instant) {
        if armed.0.is_some_and(|at| at <= deadline) {
            return;
        }
        self.cancel(key, armed);
        armed.0 = Some(deadline);
        self.deadlines.insert((deadline, key));
    }

    /// Removes a deadline.
    pub(crate) fn cancel(&mut self, key: K, armed: &mut Armed) {
        if let Some(at) = armed.0.take() {
            self.deadlines.remove(&(at, key));
        }
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Removes a deadline that is due. Its owner must call [`fired`](Armed::fired), and arm the next one.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.deadlines.pop_first();
        Some(key)
    }

    /// Deadlines in all; for tests of leaks.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn len(&self) -> usize {
        self.deadlines.len()
    }
}

impl Armed {
    /// Notes that the deadline has fired.
    pub(crate) fn fired(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
#[path = "timers_property_tests.rs"]
mod property_tests;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_fire_in_order_and_each_owner_has_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        let (mut a, mut b) = (Armed::default(), Armed::default());
        timers.arm(1, &mut a, at(30));
        timers.arm(2, &mut b, at(20));
        timers.arm(2, &mut b, at(90));
        timers.arm(1, &mut a, at(10));
        assert_eq!(timers.len(), 2);
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop_due(at(5)), None);
        assert_eq!(timers.pop_due(at(40)), Some(1));
        a.fired();
        assert_eq!(timers.pop_due(at(40)), Some(2), "the one that did not move back");
        b.fired();
        assert_eq!(timers.next(), None);
        timers.arm(1, &mut a, at(50));
        timers.cancel(1, &mut a);
        timers.cancel(1, &mut a);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_busy_owner_leaves_no_entries_behind() {
        let start = Instant::now();
        let (mut timers, mut armed) = (Timers::new(), Armed::default());
        for n in 0..1000 {
            timers.arm(1, &mut armed, start + Duration::from_secs(30));
            timers.arm(1, &mut armed, start + Duration::from_millis(n));
            assert_eq!(timers.pop_due(start + Duration::from_millis(n)), Some(1));
            armed.fired();
        }
        assert_eq!(timers.len(), 0);
    }
}
