//! Samples of what quiche measures on a connection, for the metrics. None of it costs anything per packet.

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::core::Cx;

/// Time between two samples of a connection.
const INTERVAL: Duration = Duration::from_secs(10);

/// What the last sample of a connection saw.
#[derive(Debug)]
pub(super) struct Samples {
    due: Instant,
    packets_lost: u64,
    datagrams_lost: u64,
    datagrams_overflowed: u64,
}

impl Samples {
    pub(super) fn new(now: Instant) -> Self {
        Samples { due: now + INTERVAL, packets_lost: 0, datagrams_lost: 0, datagrams_overflowed: 0 }
    }
}

/// How much a count has grown. quiche forgets what it counted on a path that gave way to another.
fn growth(seen: &mut u64, count: u64) -> u64 {
    count.saturating_sub(std::mem::replace(seen, count))
}

impl Connection {
    /// Takes a sample of an open connection if the last one is old.
    pub(super) fn sample_if_due(&mut self, cx: &mut Cx<'_>) {
        if self.samples.due <= cx.now && !self.closing.reported {
            self.samples.due = cx.now + INTERVAL;
            self.sample(cx);
        }
    }

    pub(super) fn sample(&mut self, cx: &mut Cx<'_>) {
        let (stats, distributions, seen) = (&mut cx.core.stats, &mut cx.core.distributions, &mut self.samples);
        let (packets, datagrams) = self.transport.lost();
        stats.packets_lost += growth(&mut seen.packets_lost, packets);
        stats.datagram_frames_lost += growth(&mut seen.datagrams_lost, datagrams);
        let overflowed = growth(&mut seen.datagrams_overflowed, self.transport.datagrams_overflowed());
        stats.datagram_frames_in += overflowed;
        stats.datagram_frames_dropped += overflowed;
        if self.transport.is_established()
            && let Some((round_trip, window)) = self.transport.path_in_use()
        {
            distributions.round_trips.observe_duration(round_trip);
            distributions.congestion_windows.observe(window);
        }
    }
}
