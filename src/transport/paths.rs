//! The paths of a connection. Most connections have one and need no more than its addresses.

use std::net::SocketAddr;

use quiche::{RecvInfo, SendInfo};

use super::amplification::Amplification;
use super::buf::Quic;
use super::left::Datagram;
use super::migration::{Migrated, Migration};
use super::path_state::Addresses;

#[derive(Debug)]
pub(super) struct Paths {
    first: Addresses,
    /// Present once a packet arrived from another address, or the connection migrated.
    migration: Option<Box<Migration>>,
}

impl Paths {
    pub(super) fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        Paths { first: (local, peer), migration: None }
    }

    fn migration(&mut self) -> &mut Migration {
        self.migration.get_or_insert_with(|| Box::new(Migration::new(self.first)))
    }

    /// The peer's address.
    pub(super) fn peer(&self) -> SocketAddr {
        self.migration.as_ref().map_or(self.first.1, |migration| migration.peer())
    }

    /// Passes a datagram to quiche. `to_our_id`: it validates the peer's address.
    ///
    /// # Errors
    /// `OutOfIdentifiers` if there is no room for another path at the moment, and quiche's errors.
    pub(super) fn recv(
        &mut self,
        quic: &mut Quic,
        datagram: &mut [u8],
        actual: Addresses,
        limit: &mut Amplification,
        to_our_id: bool,
    ) -> Result<(), quiche::Error> {
        match &mut self.migration {
            Some(migration) => migration.recv(quic, datagram, actual, limit, to_our_id).map(drop),
            None if actual == self.first => {
                limit.on_received(datagram.len(), to_our_id);
                let (to, from) = actual;
                quic.recv(datagram, RecvInfo { from, to }).map(drop)
            }
            None => {
                let mut migration = Migration::new(self.first);
                let received = migration.recv(quic, datagram, actual, limit, to_our_id);
                // Anybody can send a datagram with a connection id that was seen on the network.
                if received == Ok(true) {
                    self.migration = Some(Box::new(migration));
                }
                received.map(drop)
            }
        }
    }

    /// Moves a client's connection to the address `local`.
    pub(super) fn migrate(&mut self, quic: &mut Quic, local: SocketAddr) -> Result<(), quiche::Error> {
        self.migration().migrate(quic, local)
    }

    /// The next event of quiche that means a migration.
    pub(super) fn poll(&mut self, quic: &mut Quic) -> Option<Migrated> {
        self.migration.as_mut()?.poll(quic)
    }

    /// Whether the peer seems to have moved, and its address is not validated yet.
    pub(super) fn is_moving(&self) -> bool {
        self.migration.as_ref().is_some_and(|migration| migration.is_moving())
    }

    /// quiche's timers have run.
    pub(super) fn on_timeout(&mut self, quic: &mut Quic) {
        if let Some(migration) = &mut self.migration {
            migration.on_timeout(quic);
        }
    }

    /// The next packet of quiche. On the active path it has at most `allowed` bytes.
    pub(super) fn send(
        &mut self,
        quic: &mut Quic,
        buf: &mut [u8],
        allowed: usize,
    ) -> Result<(usize, SendInfo), quiche::Error> {
        match &mut self.migration {
            Some(migration) => migration.send(quic, buf, allowed),
            None if allowed > 0 => quic.send(&mut buf[..allowed]),
            None => Err(quiche::Error::Done),
        }
    }

    /// The destination of a packet; `None` to drop it. A copy may also have [to be sent](Paths::take_packet).
    pub(super) fn outgoing(&mut self, quic: &Quic, packet: &[u8], info: SendInfo) -> Option<SendInfo> {
        match &mut self.migration {
            Some(migration) => migration.outgoing(quic, packet, info),
            None => Some(info),
        }
    }

    /// A packet was written; `limit` is that on the connection's first address.
    pub(super) fn on_sent(&mut self, info: &SendInfo, len: usize, limit: &mut Amplification) {
        match &mut self.migration {
            Some(migration) => migration.on_sent(info, len, limit),
            None => limit.on_sent(len),
        }
    }

    pub(super) fn take_packet(&mut self) -> Option<Datagram> {
        self.migration.as_mut()?.take_packet()
    }
}
