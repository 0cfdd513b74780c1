//! A schedule of requests at a fixed rate. It is arithmetic, so that one that falls behind takes no memory.

use std::time::{Duration, Instant};

/// The longest time between the beginning and a request.
const MAX_TIME: f64 = 1e9;
/// Steps in which the ages of requests that were not started are recorded.
const MAX_STEPS: u64 = 10_000;

/// Request `n` is due at `began + n / rate`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    rate: f64,
    began: Instant,
    /// Requests that are due, and how many of those are started.
    due: u64,
    started: u64,
}

impl Schedule {
    pub(super) fn new(rate: f64, began: Instant) -> Self {
        Schedule { rate, began, due: 0, started: 0 }
    }

    fn at(&self, n: u64) -> Instant {
        self.began + Duration::from_secs_f64((n as f64 / self.rate).min(MAX_TIME))
    }

    /// Makes all requests due, of `budget`, that are so at `now`, and before `until`.
    pub(super) fn advance(&mut self, now: Instant, until: Option<Instant>, budget: u64) {
        let is_due = |n: u64| {
            let at = self.at(n);
            at <= now && until.is_none_or(|until| at < until)
        };
        let limit = until.map_or(now, |until| until.min(now));
        let seconds = limit.saturating_duration_since(self.began).as_secs_f64();
        // Exact but for rounding.
        let mut due = (seconds * self.rate) as u64;
        while due > self.due && !is_due(due - 1) {
            due -= 1;
        }
        while is_due(due) {
            due += 1;
        }
        self.due = due.min(budget).max(self.due);
    }

    /// When the next request becomes due, of `budget`.
    pub(super) fn next(&self, budget: u64) -> Option<Instant> {
        (self.due < budget).then(|| self.at(self.due))
    }

    /// When the first request was due that has not started.
    pub(super) fn first(&self) -> Option<Instant> {
        (self.started < self.due).then(|| self.at(self.started))
    }

    pub(super) fn start_one(&mut self) {
        self.started += 1;
    }

    pub(super) fn waiting(&self) -> u64 {
        self.due - self.started
    }

    /// Gives up what has not started: how many there are of each age, of many about the same one.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<(Duration, u64)> {
        let step = self.waiting().div_ceil(MAX_STEPS).max(1);
        let mut ages = Vec::new();
        while self.started < self.due {
            let count = step.min(self.due - self.started);
            ages.push((now.saturating_duration_since(self.at(self.started)), count));
            self.started += count;
        }
        ages
    }
}

#[cfg(test)]
mod tests {
    use mio_quiche::net;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn as_many_are_due_as_fit_into_the_time_however_late_the_loop_is() {
        let began = net::now();
        let mut schedule = Schedule::new(200.0, began);
        schedule.advance(began + SECOND, Some(began + SECOND / 2), u64::MAX);
        assert_eq!((schedule.waiting(), schedule.first()), (100, Some(began)));
        (0..99).for_each(|_| schedule.start_one());
        assert_eq!(schedule.first(), Some(began + 99 * SECOND / 200));
        let mut schedule = Schedule::new(200.0, began);
        schedule.advance(began + SECOND, None, 7);
        assert_eq!((schedule.waiting(), schedule.next(7)), (7, None));
        for (rate, time, count) in [(10.0, 0.7, 7), (3.0, 1.0, 3), (0.1, 1.0, 1), (1e9, 1.0, 1_000_000_000)] {
            let mut schedule = Schedule::new(rate, began);
            schedule.advance(began + 2 * SECOND, Some(began + Duration::from_secs_f64(time)), u64::MAX);
            assert_eq!(schedule.waiting(), count, "{rate} for {time} s");
        }
    }

    #[test]
    fn a_request_becomes_due_at_its_time() {
        let began = net::now();
        let mut schedule = Schedule::new(3.0, began);
        for n in 0..1000_u32 {
            let at = schedule.next(u64::MAX).unwrap();
            assert_eq!(at, began + Duration::from_secs_f64(f64::from(n) / 3.0));
            schedule.advance(at - Duration::from_nanos(1), None, u64::MAX);
            assert_eq!(schedule.due, u64::from(n));
            schedule.advance(at, None, u64::MAX);
            assert_eq!(schedule.due, u64::from(n) + 1);
        }
    }

    #[test]
    fn a_billion_requests_are_given_up_in_few_steps() {
        let began = net::now();
        let mut schedule = Schedule::new(1e9, began);
        schedule.advance(began + SECOND, None, u64::MAX);
        let ages = schedule.give_up(began + SECOND);
        assert!(ages.len() as u64 <= MAX_STEPS && ages[0].0 == SECOND, "{} steps", ages.len());
        assert_eq!(ages.iter().map(|(_, count)| count).sum::<u64>(), 1_000_000_001);
        assert_eq!(schedule.waiting(), 0);
    }
}
