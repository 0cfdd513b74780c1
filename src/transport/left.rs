//! A path that quiche no longer sends on: what is known of the data in flight on it, and of its end.

use quiche::SendInfo;

use super::buf::Quic;
use super::path_state::{Addresses, is_failed, is_validated, stats};

/// A packet and where it goes.
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
    /// The last packet on it, if it was not validated.
    pub(super) unproven: Option<Datagram>,
    /// Its packets are held back, until quiche gives it up.
    pub(super) failing: bool,
    /// A packet was not held back although the path is to fail.
    pub(super) spared: bool,
    /// quiche cannot send on it: the peer used its local id at another address, too, and has retired the id.
    pub(super) stranded: bool,
    /// The next packet is not held back.
    pub(super) passing: bool,
    /// It is probed after it failed, so that an answer shows in its state.
    pub(super) retrying: bool,
    pub(super) retries: usize,
    /// quiche's count of the path's timeouts when it was probed again.
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
            unproven: None,
            failing: false,
            spared: false,
            stranded: false,
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

    /// quiche has to send probes that nobody receives until it gives the path up.
    pub(super) fn fail(&mut self, quic: &mut Quic) {
        self.failing = true;
        self.passing = false;
        if is_validated(quic, self.path) {
            let _ = quic.probe_path(self.path.0, self.path.1);
        }
    }
}
