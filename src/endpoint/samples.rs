//! Samples of what quiche measures on a connection, for the metrics. None of it costs anything per packet.

use std::time::{Duration, Instant};

use super::core::Cx;
use crate::transport::Transport;

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

impl Samples {
    /// Takes a sample of an open connection if the last one is old.
    pub(super) fn take_if_due(&mut self, transport: &Transport, cx: &mut Cx<'_>) {
        if self.due <= cx.now {
            self.due = cx.now + INTERVAL;
            self.take(transport, cx);
        }
    }

    pub(super) fn take(&mut self, transport: &Transport, cx: &mut Cx<'_>) {
        let (stats, distributions) = (&mut cx.core.stats, &mut cx.core.distributions);
        let (packets, datagrams) = transport.lost();
        stats.packets_lost += growth(&mut self.packets_lost, packets);
        stats.datagram_frames_lost += growth(&mut self.datagrams_lost, datagrams);
        let overflowed = growth(&mut self.datagrams_overflowed, transport.datagrams_overflowed());
        stats.datagram_frames_in += overflowed;
        stats.datagram_frames_dropped += overflowed;
        if transport.is_established()
            && let Some((round_trip, window)) = transport.path_in_use()
        {
            distributions.round_trips.observe_duration(round_trip);
            distributions.congestion_windows.observe(window);
        }
    }
}
