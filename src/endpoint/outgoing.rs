//! Outgoing runs of datagrams, and a packet deferred to the next run.

use std::net::SocketAddr;
use std::time::Instant;

use crate::transport::Packet;

/// Describes the bytes at the front of the buffer: one datagram, or several of `segment` bytes (the last may be
/// shorter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The local address.
    pub from: SocketAddr,
    /// The peer's address.
    pub to: SocketAddr,
    /// Bytes in all.
    pub len: usize,
    /// Bytes in each datagram.
    pub segment: usize,
}

/// A packet that did not fit its run: larger than the run's packets, for another path, or to be sent
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
