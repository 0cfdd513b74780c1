//! Each connection's share of the time for receiving, while more datagrams arrive than can be processed.
//!
//! All connections share the queue of one socket. If the datagrams of one are processed more slowly than they arrive,
//! they fill it, and those of others wait behind them for seconds, or are lost. A peer with congestion control sends
//! less when its datagrams are dropped; dropping those of a flood before they are decrypted takes a tenth of the time.

use std::time::{Duration, Instant};

use crate::transport::table::ConnId;

/// After this many datagrams without finding the socket empty, there is a backlog.
const BACKLOG: u64 = 128;
/// Datagrams over which shares are measured.
const WINDOW: u32 = 256;
/// The longest window: a connection that is alone, and was slowed down, must not be limited to a part of its few
/// datagrams.
const WINDOW_TIME: Duration = Duration::from_millis(5);
/// The least share of a connection in a window.
const MIN_SHARE: u32 = 16;
/// Shares are limited until there was no backlog for this time.
const RECOVERY: Duration = Duration::from_secs(1);
/// Records of connections are kept for this time, and limit them again as soon as a batch does not empty the socket.
const MEMORY: Duration = Duration::from_secs(10);
/// A connection is useful in a window if it has one [use](Shares::takes) for this many datagrams.
const DATAGRAMS_PER_USE: u64 = 4;
/// Windows for which a connection that was useful in every window stays unlimited when it no longer is: its data may
/// have to wait for a lost packet. A new one is trusted for one window, and four times as long after each useful one.
const MOST_TRUST: u32 = 64;

#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Datagrams received when the socket was last empty.
    empty_at: u64,
    /// Present since a backlog.
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    /// The share of a useless connection. It halves with each window of a backlog.
    share: u32,
    backlog_at: Instant,
    applies: bool,
    has_backlog: bool,
    window: u32,
    window_at: Instant,
    /// Datagrams in this window.
    taken: u32,
    /// By the index of the connection.
    by_conn: Vec<Option<Taken>>,
}

/// The datagrams of a connection in the latest window in which it had some.
#[derive(Clone, Copy, Debug)]
struct Taken {
    conn: ConnId,
    window: u32,
    processed: u32,
    /// The connection's use at the first of them. The use of a datagram shows only when its batch is over.
    used: u32,
    /// Windows for which it is unlimited.
    trust: u32,
}

impl Shares {
    /// A batch of datagrams was received, `received` in all so far. `more`: the socket may have more.
    pub(super) fn on_batch(&mut self, now: Instant, received: u64, more: bool) {
        if !more {
            self.empty_at = received;
        }
        let has_backlog = received - self.empty_at >= BACKLOG;
        if let Some(limit) = &mut self.limit {
            if more {
                limit.backlog_at = now;
            }
            if now - limit.window_at >= WINDOW_TIME {
                limit.window_at = now;
                limit.next_window();
            }
            limit.has_backlog = has_backlog;
            limit.applies = now - limit.backlog_at < RECOVERY;
            if now - limit.backlog_at >= MEMORY {
                self.limit = None;
            }
        } else if has_backlog {
            self.limit = Some(Limit {
                share: WINDOW / 4,
                backlog_at: now,
                applies: true,
                has_backlog,
                window: 0,
                window_at: now,
                taken: 0,
                by_conn: Vec::new(),
            });
        }
    }

    /// Whether to process a datagram of a connection. `used`: the connection's use so far, as the number of datagrams
    /// that would have sufficed.
    pub(super) fn takes(&mut self, conn: ConnId, used: impl Fn() -> u32) -> bool {
        let Some(limit) = &mut self.limit else { return true };
        if limit.taken == WINDOW {
            limit.next_window();
            if limit.has_backlog {
                limit.share = (limit.share / 2).max(MIN_SHARE);
            }
        }
        limit.taken += 1;
        let window = limit.window;
        let index = conn.index as usize;
        if index >= limit.by_conn.len() {
            limit.by_conn.resize(index + 1, None);
        }
        let new = || Taken { conn, window, processed: 0, used: used(), trust: 1 };
        let taken = limit.by_conn[index].get_or_insert_with(new);
        if taken.conn != conn {
            *taken = new();
        } else if taken.window != window {
            let used = used();
            let was_of_use = u64::from(used.wrapping_sub(taken.used)) * DATAGRAMS_PER_USE >= u64::from(taken.processed);
            let trust = match was_of_use {
                true => (4 * taken.trust).clamp(1, MOST_TRUST),
                false => taken.trust.saturating_sub(1),
            };
            *taken = Taken { conn, window, processed: 0, used, trust };
        }
        let takes = taken.processed < limit.share || taken.trust > 0 || !limit.applies;
        taken.processed += u32::from(takes);
        takes
    }
}

impl Limit {
    fn next_window(&mut self) {
        (self.window, self.taken) = (self.window.wrapping_add(1), 0);
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

        /// Takes `windows` windows, of which connection 0 fills all but 4 datagrams. `used`: its use after so many
        /// datagrams. Returns the datagrams of connections 0 and 1 that were processed in the last one.
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
                        self.shares.on_batch(self.now, self.datagrams.into(), true);
                    }
                }
            }
            last
        }

        /// Time passes, and a batch ends.
        fn pass(&mut self, time: Duration, more: bool) {
            self.now += time;
            self.shares.on_batch(self.now, self.datagrams.into(), more);
        }

        /// The datagrams of connection 0 that are processed of so many.
        fn processed(&mut self, datagrams: u32) -> u32 {
            self.datagrams += datagrams;
            (0..datagrams).map(|_| u32::from(self.shares.takes(id(0), || 0))).sum()
        }
    }

    #[test]
    fn a_flood_gets_less_and_less_and_others_all_that_they_send() {
        let mut flood = Flood::new();
        assert_eq!(flood.take(1, |_| 0), (252, 4), "no backlog at first");
        let taken: Vec<_> = (0..3).map(|_| flood.take(1, |_| 0)).collect();
        assert_eq!(taken, [(126 + 32, 4), (16, 4), (16, 4)]);
        assert_eq!(flood.take(10, |_| 0), (16, 4), "the least share");
    }

    #[test]
    fn a_connection_that_is_of_use_is_not_limited() {
        assert_eq!(Flood::new().take(5, |n| n), (252, 4));
        assert_eq!(Flood::new().take(5, |n| n / 2), (252, 4));
        assert_eq!(Flood::new().take(20, |n| n / 100), (16, 4));
        assert_eq!(Flood::new().take(50, |n| n / BATCH * BATCH), (252, 4), "its use shows at the end of each batch");
        let gaps_of_5_windows = |n| n / (5 * WINDOW) * 5 * WINDOW;
        assert_eq!(
            Flood::new().take(50, |n| n.min(2 * WINDOW) + gaps_of_5_windows(n)),
            (252, 4),
            "its data waits for a loss"
        );
    }

    #[test]
    fn a_connection_that_sends_little_is_not_limited() {
        let mut flood = Flood::new();
        flood.take(10, |_| 0);
        for _ in 0..100 {
            flood.pass(WINDOW_TIME, true);
            assert_eq!(flood.processed(MIN_SHARE), MIN_SHARE);
        }
    }

    #[test]
    fn limits_end_a_while_after_the_backlog() {
        let mut flood = Flood::new();
        flood.take(4, |_| 0);
        flood.pass(RECOVERY / 2, false);
        assert_eq!(flood.processed(100), 16);
        flood.pass(RECOVERY, false);
        assert_eq!(flood.processed(100), 100, "no backlog for a second");
        flood.pass(Duration::ZERO, true);
        assert_eq!(flood.processed(100), 0, "it is known, and had its share");
        flood.pass(MEMORY, false);
        assert!(flood.shares.limit.is_none());
        assert_eq!(flood.take(1, |_| 0), (252, 4));
    }
}
