//! Deadlines of many things in one heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::table::{ConnId, StreamId};

/// What a deadline belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    Conn(ConnId),
    Stream(StreamId),
}

/// A heap of deadlines. Moving a deadline is O(1) when it moves back, as for an idle timer with every packet: the
/// early entry stays, and its owner is asked again when it fires.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

/// When an owner's entry will fire; kept by the owner so that it has at most one useful entry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Armed(Option<Instant>);

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Timers { heap: BinaryHeap::new() }
    }

    /// Makes sure that `key` fires at `deadline` or before.
    pub(crate) fn arm(&mut self, key: K, armed: &mut Armed, deadline: Instant) {
        if armed.0.is_none_or(|at| at > deadline) {
            armed.0 = Some(deadline);
            self.heap.push(Reverse((deadline, key)));
        }
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes an entry that is due. Its owner must call [`fired`](Armed::fired) and arm again what is still to come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        let Reverse((at, key)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some((at, key))
    }
}

impl Armed {
    /// Notes that the entry of `at` is out of the heap; false if it was one that an earlier deadline had replaced.
    pub(crate) fn fired(&mut self, at: Instant) -> bool {
        let current = self.0 == Some(at);
        if current {
            self.0 = None;
        }
        current
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_fire_in_order_and_later_ones_cost_nothing() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        let (mut a, mut b) = (Armed::default(), Armed::default());
        timers.arm(1, &mut a, at(30));
        timers.arm(2, &mut b, at(20));
        timers.arm(2, &mut b, at(90));
        timers.arm(1, &mut a, at(10));
        assert_eq!(timers.heap.len(), 3, "moving back adds no entry");
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop_due(at(5)), None);
        assert_eq!(timers.pop_due(at(40)), Some((at(10), 1)));
        assert!(a.fired(at(10)));
        assert_eq!(timers.pop_due(at(40)), Some((at(20), 2)));
        assert!(b.fired(at(20)));
        assert_eq!(timers.pop_due(at(40)), Some((at(30), 1)));
        assert!(!a.fired(at(30)), "replaced by the earlier one");
        assert_eq!(timers.next(), None);
    }

    #[test]
    #[ignore = "fault K10: not cured yet"]
    fn deadlines_that_come_forward_leave_no_stale_entries() {
        // K10: the idle timer of a connection, and probes in between.
        let start = Instant::now();
        let (mut timers, mut armed) = (Timers::new(), Armed::default());
        // A thousand of them are less than the idle timeout.
        let probe = Duration::from_millis(29);
        let mut most = 0;
        for round in 0..1000 {
            let now = start + probe * round;
            timers.arm(1, &mut armed, now + Duration::from_secs(30));
            timers.arm(1, &mut armed, now + probe);
            let (at, _) = timers.pop_due(now + probe).expect("it is due");
            assert!(armed.fired(at), "round {round}");
            most = most.max(timers.heap.len());
        }
        assert!(most <= 2, "{most} entries of one owner");
    }
}
