//! `--limit-rate`.

use std::time::{Duration, Instant};

/// Bytes per second, with `k`, `M` or `G`.
pub(super) fn parse_rate(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 10),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 20),
            None => (text.strip_suffix(['g', 'G']).unwrap_or(text), if text.ends_with(['g', 'G']) { 30 } else { 0 }),
        },
    };
    let rate = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    rate.ok_or_else(|| "not a number of bytes, such as 500k".to_owned())
}

/// Grants bytes at a steady rate.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: u64,
    granted: u64,
    since: Option<Instant>,
}

impl Limiter {
    pub(super) fn new(rate: u64) -> Self {
        Limiter { rate, granted: 0, since: None }
    }

    /// Bytes that may be transferred now, or when to ask again.
    pub(super) fn allowance(&mut self, now: Instant) -> Result<usize, Instant> {
        let since = *self.since.get_or_insert(now);
        let due = (now.saturating_duration_since(since).as_secs_f64() * self.rate as f64) as u64;
        // 50 ms worth at a time: smooth enough, without a wake-up per packet.
        let step = (self.rate / 20).max(1);
        if due + step > self.granted {
            return Ok((due + step - self.granted) as usize);
        }
        let wait = (self.granted - due) as f64 / self.rate as f64;
        Err(now + Duration::from_secs_f64(wait.max(0.001)))
    }

    pub(super) fn moved(&mut self, bytes: usize) {
        self.granted += bytes as u64;
    }
}
