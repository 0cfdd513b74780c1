//! What leaves: runs of datagrams, and a packet that waits for its run.

use std::net::SocketAddr;
use std::time::Instant;

use crate::transport::Packet;

/// Where the bytes at the front of the buffer go: one datagram, or several of `segment` bytes (the last may be
/// shorter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Our address.
    pub from: SocketAddr,
    /// The peer's address.
    pub to: SocketAddr,
    /// Bytes in all.
    pub len: usize,
    /// Bytes in each datagram.
    pub segment: usize,
}

/// A packet that could not go out with the run that it was made for: larger than the run's, for another path, or to be sent
/// later.
#[derive(Debug)]
pub(super) struct Deferred {
    pub(super) bytes: Vec<u8>,
    pub(super) packet: Packet,
}

impl Deferred {
    /// When it is to be sent.
    pub(super) fn due(&self) -> Instant {
        self.packet.info.at
    }
}
