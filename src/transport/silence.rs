//! A server's path whose peer is silent. quiche fails a path, even a validated one, after three timeouts with a challenge
//! in flight, and closes the connection with its last path, while a timeout makes it send the challenge again: a client
//! that sleeps for some probe timeouts after its NAT has taken another port would lose its connection.
//!
//! So after a timeout only packets without room for a challenge are sent, PINGs in general, until something arrives.

use super::buf::Quic;
use super::path_state::{Addresses, max_probe_len, stats};

#[derive(Debug, Default)]
pub(super) struct Silence {
    counts: Counts,
    lasts: bool,
}

/// quiche's counts of a path. It takes the timer that finds losses for a timeout, too.
#[derive(Debug, Default)]
struct Counts {
    timeouts: usize,
    lost: usize,
}

impl Silence {
    /// Of a path that becomes the active one.
    pub(super) fn new(quic: &Quic, path: Addresses) -> Self {
        Silence { counts: counts(quic, path), lasts: false }
    }

    /// quiche's timers have run. `may_fail`: another path would take over.
    pub(super) fn on_timeout(&mut self, quic: &Quic, path: Addresses, may_fail: bool) {
        let now = counts(quic, path);
        let before = std::mem::replace(&mut self.counts, now);
        if self.counts.lost != before.lost {
            // What was lost is sent again, and possibly nothing else is in flight whose timeout would end the silence.
            self.lasts = false;
        } else if self.counts.timeouts != before.timeouts {
            self.lasts = quic.is_server() && !may_fail;
        }
    }

    /// An authentic packet arrived, on any path: it may acknowledge everything in flight, so that no timer runs.
    pub(super) fn on_received(&mut self) {
        self.lasts = false;
    }

    /// The largest packet to send, if it is limited. A close is not.
    pub(super) fn limit(&self, quic: &Quic) -> Option<usize> {
        // A packet number may take a byte less.
        (self.lasts && quic.local_error().is_none()).then(|| max_probe_len(quic) - 2)
    }
}

fn counts(quic: &Quic, path: Addresses) -> Counts {
    stats(quic, path).map_or(Counts::default(), |stats| Counts { timeouts: stats.total_pto_count, lost: stats.lost })
}
