//! A path that quiche no longer sends on: the state of the data in flight on it, and of its end.

use quiche::SendInfo;

use super::buf::Quic;
use super::path_state::{Addresses, is_failed, max_probe_len, stats};

/// A packet and its destination.
pub(super) type Datagram = (Vec<u8>, SendInfo);

#[derive(Debug)]
pub(super) struct Left {
    pub(super) path: Addresses,
    /// It was validated at its own address.
    pub(super) proven: bool,
    /// Its own address was probed, or was never validated.
    pub(super) probed: bool,
    /// It was probed when the next address had been validated.
    pub(super) followed: bool,
    /// Nothing is in flight on it but probes.
    pub(super) settled: bool,
    /// Its packets are held back, until quiche gives it up.
    pub(super) failing: bool,
    /// A packet was not held back although the path is to fail, so that another challenge is needed.
    pub(super) spared: bool,
    /// quiche cannot send on it: the peer used its local id at another address, too, and has retired the id.
    pub(super) stranded: bool,
    /// It was challenged since a packet arrived on it. That is enough while quiche may fall back to it.
    pub(super) challenged: bool,
    /// The next packet is not held back.
    pub(super) passing: bool,
    /// It is probed after it failed, so that an answer shows in its state.
    pub(super) retrying: bool,
    pub(super) retries: usize,
    /// quiche's count of the path's timeouts when it was probed again, or made to fail.
    pub(super) timeouts: usize,
}

impl Left {
    pub(super) fn new(path: Addresses, proven: bool) -> Self {
        Left {
            path,
            proven,
            probed: !proven,
            followed: false,
            settled: false,
            failing: false,
            spared: false,
            stranded: false,
            challenged: false,
            passing: false,
            retrying: false,
            retries: 0,
            timeouts: 0,
        }
    }

    pub(super) fn probe(&mut self, quic: &mut Quic) {
        self.passing = true;
        self.retrying = stats(quic, self.path).is_some_and(|stats| is_failed(&stats));
        // Fails for a path without a connection id, which quiche evicts itself.
        let _ = quic.probe_path(self.path.0, self.path.1);
    }

    /// quiche has to send challenges that are dropped until it abandons the path. Called again after each of its
    /// timeouts.
    pub(super) fn fail(&mut self, quic: &mut Quic) {
        self.failing = true;
        self.passing = false;
        if let Some(stats) = stats(quic, self.path).filter(|stats| !is_failed(stats)) {
            self.timeouts = stats.total_pto_count;
            self.challenge_nobody(quic);
        }
    }

    /// Writes a challenge that is dropped. Those before may have been acknowledged, although their responses were lost,
    /// which are never sent again: then nothing is in flight, quiche's timer does not run, and the path does not fail.
    fn challenge_nobody(&self, quic: &mut Quic) {
        let (local, peer) = self.path;
        let _ = quic.probe_path(local, peer);
        // Too short for other frames.
        let mut packet = vec![0; max_probe_len(quic)];
        let _ = quic.send_on_path(&mut packet, Some(local), Some(peer));
    }
}
