//! Limits on requests per second, for each network.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::FakeRelativeClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::prefix::Prefix;

/// Above this number of networks, those without recent requests are removed, at most once per [`SWEEP_INTERVAL`].
const SWEEP_FROM: usize = 1000;
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A limit on requests per second for each network, with bursts of the same size (generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct Rates {
    limiter: RateLimiter<Prefix, HashMapStateStore<Prefix>, FakeRelativeClock, NoOpMiddleware<Nanos>>,
    /// The limiter's time, which follows the caller's.
    clock: FakeRelativeClock,
    at: Instant,
    swept_at: Instant,
}

impl Rates {
    pub(super) fn new(per_second: NonZeroU32, now: Instant) -> Self {
        let clock = FakeRelativeClock::default();
        let limiter = RateLimiter::new(Quota::per_second(per_second), HashMapStateStore::default(), clock.clone());
        Rates { limiter, clock, at: now, swept_at: now }
    }

    /// Whether another request from a network is within the limit.
    pub(super) fn take(&mut self, now: Instant, prefix: Prefix) -> bool {
        self.clock.advance(now.saturating_duration_since(self.at));
        self.at = self.at.max(now);
        if self.limiter.len() > SWEEP_FROM && now.saturating_duration_since(self.swept_at) >= SWEEP_INTERVAL {
            self.swept_at = now;
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&prefix).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u16) -> Prefix {
        let [a, b] = n.to_be_bytes();
        Prefix::of(([10, a, b, 1], 1).into())
    }

    #[test]
    fn each_network_has_its_own_rate() {
        let now = crate::net::now();
        let mut rates = Rates::new(NonZeroU32::new(10).expect("a rate"), now);
        let mut taken = |at: Instant, n: u16, tries: usize| (0..tries).filter(|_| rates.take(at, network(n))).count();
        assert_eq!(taken(now, 1, 30), 10, "a burst");
        assert_eq!(taken(now, 2, 30), 10, "another network");
        assert_eq!(taken(now + Duration::from_millis(500), 1, 30), 5);
        assert_eq!(taken(now + Duration::from_secs(60), 1, 30), 10);
    }

    #[test]
    fn networks_that_ask_no_more_are_forgotten() {
        let now = crate::net::now();
        let mut rates = Rates::new(NonZeroU32::new(10).expect("a rate"), now);
        for n in 0..5000 {
            rates.take(now, network(n));
        }
        assert_eq!(rates.limiter.len(), 5000);
        rates.take(now + Duration::from_secs(5), network(0));
        assert_eq!(rates.limiter.len(), 1);
    }
}
