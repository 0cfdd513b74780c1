//! A server's path whose peer is silent. quiche fails a path, even a validated one, after three timeouts with a challenge
//! in flight, and closes the connection with its last path, while a timeout makes it send the challenge again: a client
//! that sleeps for some probe timeouts after its NAT has taken another port would lose its connection.
//!
//! So after a timeout only packets without room for a challenge are sent, PINGs in general, until something arrives.

use super::buf::Quic;
use super::path_state::{Addresses, max_probe_len, stats};

#[derive(Debug, Default)]
pub(super) struct Silence {
    /// quiche's count of the path's timeouts.
    timeouts: usize,
    lasts: bool,
}

impl Silence {
    /// Of a path that becomes the active one.
    pub(super) fn new(quic: &Quic, path: Addresses) -> Self {
        Silence { timeouts: timeouts(quic, path), lasts: false }
    }

    /// quiche's timers have run. `may_fail`: another path would take over.
    pub(super) fn on_timeout(&mut self, quic: &Quic, path: Addresses, may_fail: bool) {
        let timeouts = timeouts(quic, path);
        if std::mem::replace(&mut self.timeouts, timeouts) != timeouts {
            self.lasts = quic.is_server() && !may_fail;
        }
    }

    /// An authentic packet arrived on the path.
    pub(super) fn on_received(&mut self) {
        self.lasts = false;
    }

    /// The largest packet to send, if it is limited. A close is not.
    pub(super) fn limit(&self, quic: &Quic) -> Option<usize> {
        // A packet number may take a byte less.
        (self.lasts && quic.local_error().is_none()).then(|| max_probe_len(quic) - 2)
    }
}

fn timeouts(quic: &Quic, path: Addresses) -> usize {
    stats(quic, path).map_or(0, |stats| stats.total_pto_count)
}
