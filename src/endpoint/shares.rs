//! What each connection may take of the time for receiving, while more datagrams come than can be processed.
//!
//! All connections share the queue of one socket. If the datagrams of one are processed more slowly than they come, they
//! fill it, and everybody else waits behind them, for seconds, or is not heard at all. A peer with congestion control that
//! is dropped sends less; to drop one that floods, before its packets are decrypted, takes a tenth of the time.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::time::{Duration, Instant};

use crate::transport::table::{ConnId, StreamHasher};

/// Datagrams taken without finding the socket empty, from which on there is a backlog.
const BACKLOG: u32 = 128;
/// Datagrams over which shares are measured.
const WINDOW: u32 = 256;
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
    by_conn: HashMap<u32, Taken, BuildHasherDefault<StreamHasher>>,
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
            let new = || Limit { share: WINDOW / 4, backlog_at: now, taken: 0, by_conn: HashMap::default() };
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
        let taken =
            limit.by_conn.entry(conn.index).or_insert_with(|| Taken { datagrams: 0, used: used(), is_over: false });
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

    /// A socket that never is empty.
    struct Flood {
        shares: Shares,
        now: Instant,
        datagrams: u32,
    }

    impl Flood {
        fn new() -> Self {
            Flood { shares: Shares::default(), now: crate::net::now(), datagrams: 0 }
        }

        /// Takes `windows` windows, of which connection 0 fills all but 4 datagrams. `used`: its use after so many datagrams.
        /// Returns the datagrams of connections 0 and 1 that were processed in the last one.
        fn take(&mut self, windows: u32, used: impl Fn(u32) -> u32) -> (u32, u32) {
            let mut last = (0, 0);
            for _ in 0..windows {
                last = (0, 0);
                for n in 1..=WINDOW {
                    self.datagrams += 1;
                    let honest = n % 64 == 0;
                    let takes = self.shares.takes(id(u32::from(honest)), || used(self.datagrams));
                    match honest {
                        true => last.1 += u32::from(takes),
                        false => last.0 += u32::from(takes),
                    }
                    if n % BATCH == 0 {
                        self.shares.on_batch(self.now, BATCH, true);
                    }
                }
            }
            last
        }
    }

    #[test]
    fn a_flood_gets_less_and_less_and_others_all_that_they_send() {
        let mut flood = Flood::new();
        assert_eq!(flood.take(1, |_| 0), (126 + 64, 4), "no backlog at first");
        let taken: Vec<_> = (0..3).map(|_| flood.take(1, |_| 0)).collect();
        assert_eq!(taken, [(32, 4), (16, 4), (8, 4)]);
        assert_eq!(flood.take(10, |_| 0), (8, 4), "the least share");
    }

    #[test]
    fn a_connection_that_is_of_use_is_not_limited() {
        assert_eq!(Flood::new().take(5, |n| n), (252, 4));
        assert_eq!(Flood::new().take(5, |n| n / 2), (252, 4));
        assert_eq!(Flood::new().take(5, |n| n / 5), (8, 4));
    }

    #[test]
    fn limits_end_a_while_after_the_backlog() {
        let mut flood = Flood::new();
        flood.take(4, |_| 0);
        flood.shares.on_batch(flood.now + RECOVERY / 2, 10, false);
        assert!(flood.shares.limit.is_some());
        flood.shares.on_batch(flood.now + RECOVERY, 10, false);
        assert!(flood.shares.limit.is_none());
        assert_eq!(flood.take(1, |_| 0), (126 + 64, 4));
    }
}
