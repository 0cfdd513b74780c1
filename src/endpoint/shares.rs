//! What each connection may take of the time for receiving, while more datagrams come than can be processed.
//!
//! All connections share the queue of one socket. If the datagrams of one are processed more slowly than they come, they
//! fill it, and everybody else waits behind them, for seconds, or is not heard at all. A peer with congestion control that
//! is dropped sends less; to drop one that floods, before its packets are decrypted, takes a tenth of the time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::transport::table::ConnId;

/// Datagrams taken without finding the socket empty, from which on there is a backlog.
const BACKLOG: u32 = 1024;
/// Datagrams over which shares are measured.
const WINDOW: u32 = 1024;
/// The least share of a connection in a window.
const MIN_SHARE: u32 = 8;
/// Shares are limited until there was no backlog for so long.
const RECOVERY: Duration = Duration::from_secs(1);
/// A connection's use: one [unit](Shares::takes) for so many datagrams.
const DATAGRAMS_PER_USE: u64 = 4;

#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Datagrams since the socket was empty.
    waiting: u32,
    /// Present while shares are limited.
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    /// The share of a connection without use. It halves with each window of a backlog.
    share: u32,
    backlog_at: Instant,
    taken: u32,
    by_conn: HashMap<ConnId, Taken>,
}

#[derive(Debug)]
struct Taken {
    datagrams: u32,
    /// The connection's use at its first datagram in the window.
    used: u32,
    is_over: bool,
}

impl Shares {
    /// A batch of datagrams was taken; `more`: the socket may have more.
    pub(super) fn on_batch(&mut self, now: Instant, taken: u32, more: bool) {
        self.waiting = if more { self.waiting.saturating_add(taken) } else { 0 };
        if self.waiting >= BACKLOG {
            let new = || Limit { share: WINDOW / 2, backlog_at: now, taken: 0, by_conn: HashMap::new() };
            self.limit.get_or_insert_with(new).backlog_at = now;
        } else if self.limit.as_ref().is_some_and(|limit| now - limit.backlog_at >= RECOVERY) {
            self.limit = None;
        }
    }

    /// Whether a datagram of a connection is processed. `used`: what the connection was used for until now, in datagrams
    /// that would have been enough for it.
    pub(super) fn takes(&mut self, conn: ConnId, used: impl Fn() -> u32) -> bool {
        let Some(limit) = &mut self.limit else { return true };
        limit.taken += 1;
        if limit.taken > WINDOW {
            limit.taken = 1;
            limit.by_conn.clear();
            if self.waiting >= BACKLOG {
                limit.share = (limit.share / 2).max(MIN_SHARE);
            }
        }
        let taken = limit.by_conn.entry(conn).or_insert_with(|| Taken { datagrams: 0, used: used(), is_over: false });
        taken.datagrams += 1;
        if taken.datagrams > limit.share && !taken.is_over {
            let uses = used().wrapping_sub(taken.used);
            taken.is_over = u64::from(uses) * DATAGRAMS_PER_USE < u64::from(taken.datagrams);
        }
        !taken.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: u32 = 64;

    fn id(index: u32) -> ConnId {
        ConnId { index, generation: 0 }
    }

    /// Takes `windows` windows of a socket that never is empty, of which connection 0 fills all but 16 datagrams. Returns
    /// the datagrams of connections 0 and 1 that were processed in the last one.
    fn flood(shares: &mut Shares, now: Instant, windows: u32, used: impl Fn(u32) -> u32) -> (u32, u32) {
        let mut last = (0, 0);
        for _ in 0..windows {
            last = (0, 0);
            for n in 1..=WINDOW {
                let honest = n % 64 == 0;
                let takes = shares.takes(id(u32::from(honest)), || used(n));
                match honest {
                    true => last.1 += u32::from(takes),
                    false => last.0 += u32::from(takes),
                }
                if n % BATCH == 0 {
                    shares.on_batch(now, BATCH, true);
                }
            }
        }
        last
    }

    #[test]
    fn a_flood_gets_less_and_less_and_others_all_that_they_send() {
        let (now, mut shares) = (crate::net::now(), Shares::default());
        assert_eq!(flood(&mut shares, now, 1, |_| 0), (1008, 16), "no backlog yet");
        let taken: Vec<_> = (0..3).map(|_| flood(&mut shares, now, 1, |_| 0)).collect();
        assert_eq!(taken, [(512, 16), (256, 16), (128, 16)]);
        assert_eq!(flood(&mut shares, now, 10, |_| 0), (8, 8), "the least share");
    }

    #[test]
    fn a_connection_that_is_of_use_is_not_limited() {
        let (now, mut shares) = (crate::net::now(), Shares::default());
        assert_eq!(flood(&mut shares, now, 5, |n| n), (1008, 16));
        assert_eq!(flood(&mut shares, now, 5, |n| n / 3), (1008, 16));
        assert_eq!(flood(&mut shares, now, 5, |n| n / 5).1, 16);
    }

    #[test]
    fn limits_end_a_while_after_the_backlog() {
        let (now, mut shares) = (crate::net::now(), Shares::default());
        flood(&mut shares, now, 4, |_| 0);
        shares.on_batch(now + RECOVERY / 2, 10, false);
        assert!(shares.limit.is_some());
        shares.on_batch(now + RECOVERY, 10, false);
        assert!(shares.limit.is_none());
        assert_eq!(flood(&mut shares, now + RECOVERY, 1, |_| 0), (1008, 16));
    }
}
