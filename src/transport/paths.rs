//! The paths of a connection. Most connections have one and need no more than its addresses.

use std::net::SocketAddr;

use quiche::SendInfo;

use super::amplification::Amplification;
use super::buf::Quic;
use super::migration::{Addresses, Datagram, Migrated, Migration};

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

    /// The path to report to quiche for a datagram with these addresses; `None` if there is no room for a further path
    /// at the moment.
    pub(super) fn incoming(
        &mut self,
        quic: &mut Quic,
        actual: Addresses,
        limit: &mut Amplification,
    ) -> Option<Addresses> {
        match self.migration {
            None if actual == self.first => Some(actual),
            _ => self.migration().incoming(quic, actual, limit),
        }
    }

    /// A packet arrived on `path`.
    pub(super) fn received(&mut self, quic: &mut Quic, path: Addresses, limit: &mut Amplification) {
        if let Some(migration) = &mut self.migration {
            migration.received(quic, path, limit);
        }
    }

    /// Moves a client's connection to the address `local`.
    pub(super) fn migrate(&mut self, quic: &mut Quic, local: SocketAddr) -> Result<(), quiche::Error> {
        self.migration().migrate(quic, local)
    }

    /// The next event of quiche that means a migration.
    pub(super) fn poll(&mut self, quic: &mut Quic, limit: &mut Amplification) -> Option<Migrated> {
        self.migration.as_mut()?.poll(quic, limit)
    }

    /// quiche's timers have run.
    pub(super) fn on_timeout(&mut self, quic: &mut Quic, limit: &mut Amplification) {
        if let Some(migration) = &mut self.migration {
            migration.on_timeout(quic, limit);
        }
    }

    /// The next packet of quiche. On the active path it has at most `allowed` bytes.
    pub(super) fn send(
        &self,
        quic: &mut Quic,
        buf: &mut [u8],
        allowed: usize,
    ) -> Result<(usize, SendInfo), quiche::Error> {
        match &self.migration {
            Some(migration) => migration.send(quic, buf, allowed),
            None if allowed > 0 => quic.send(&mut buf[..allowed]),
            None => Err(quiche::Error::Done),
        }
    }

    /// The destination of a packet; `None` to drop it. A copy may also have [to be sent](Paths::take_packet).
    pub(super) fn outgoing(&mut self, packet: &[u8], info: SendInfo) -> Option<SendInfo> {
        match &mut self.migration {
            Some(migration) => migration.outgoing(packet, info),
            None => Some(info),
        }
    }

    /// Whether data sent on a path counts against the limit for addresses that are not validated.
    pub(super) fn is_limited(&self, info: &SendInfo) -> bool {
        self.migration.as_ref().is_none_or(|migration| migration.is_limited(info))
    }

    pub(super) fn take_packet(&mut self) -> Option<Datagram> {
        self.migration.as_mut()?.take_packet()
    }
}
