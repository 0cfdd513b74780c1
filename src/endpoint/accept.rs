//! From a datagram to its connection: routing by connection id, Version Negotiation, Retry, new connections.

use std::net::SocketAddr;
use std::time::Instant;

use super::Endpoint;
use super::connection::Connection;
use super::core::{Core, Role};
use super::outgoing::Transmit;
use crate::config::RetryPolicy;
use crate::transport::Transport;
use crate::transport::cid::{CID_LEN, Cid};
use crate::transport::packet::{LongHeader, MIN_INITIAL_DATAGRAM, invariants, is_supported, version_negotiation};
use crate::transport::table::ConnId;
use crate::transport::token::TokenCheck;

/// Maximum queued stateless packets, so that a flood of unknown versions cannot exhaust memory.
const MAX_STATELESS: usize = 256;

/// The destination of a datagram.
pub(super) struct Route {
    pub(super) conn: ConnId,
    /// It is addressed to a connection id that this side chose, not one that a client made up.
    pub(super) to_our_id: bool,
}

impl Endpoint {
    /// The connection that a datagram is for; a new one for a valid Initial packet.
    pub(super) fn route(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<Route> {
        let ours = |conn| Route { conn, to_our_id: true };
        const LONG_HEADER: u8 = 0x80;
        const FIXED_BIT: u8 = 0x40;
        let Some(&first) = datagram.first() else {
            self.core.stats.ignored_garbage += 1;
            return None;
        };
        if first & LONG_HEADER == 0 {
            let cid = (first & FIXED_BIT != 0).then(|| datagram.get(1..=CID_LEN)).flatten().and_then(Cid::from_slice);
            let Some(cid) = cid else {
                self.core.stats.ignored_garbage += 1;
                return None;
            };
            let found = self.table.lookup(&cid).or_else(|| match self.core.role {
                Role::Server => None,
                // It may be a stateless reset, which has no id: the connection can recognise it.
                Role::Client => {
                    self.table.ids().find(|id| self.table.get(*id).is_some_and(|c| c.transport.peer_addr() == from))
                }
            });
            self.core.stats.ignored_unknown_cid += u64::from(found.is_none());
            return found.map(ours);
        }
        if self.core.role == Role::Client {
            // Retry and Version Negotiation are handled by the connection.
            let dcid = invariants(datagram).and_then(|(_, dcid, _)| Cid::from_slice(dcid));
            let found = dcid.and_then(|cid| self.table.lookup(&cid));
            self.core.stats.ignored_unknown_cid += u64::from(found.is_none());
            return found.map(ours);
        }
        let len = datagram.len();
        match invariants(datagram) {
            Some((version, ..)) if is_supported(version) => {}
            // Version 0 is a Version Negotiation packet, never sent to a server (RFC 9000 section 17.2.1).
            None | Some((0, ..)) => {
                self.core.stats.ignored_garbage += 1;
                return None;
            }
            Some(_) if len < MIN_INITIAL_DATAGRAM => {
                self.core.stats.ignored_small_initial += 1;
                return None;
            }
            Some((_, dcid, scid)) => {
                self.negotiate_version(dcid, scid, from, to);
                return None;
            }
        }
        let Some(header) = LongHeader::parse(datagram) else {
            self.core.stats.ignored_garbage += 1;
            return None;
        };
        if let Some(id) = Cid::from_slice(header.dcid()).and_then(|cid| self.table.lookup(&cid)) {
            return Some(ours(id));
        }
        // A client uses the id that it chose itself until the server's first packet arrives.
        let derived = self.core.cids.derive(header.dcid());
        if let Some(conn) = self.table.lookup(&derived) {
            return Some(Route { conn, to_our_id: false });
        }
        if !header.is_initial() {
            self.core.stats.ignored_unknown_cid += 1;
            return None;
        }
        if len < MIN_INITIAL_DATAGRAM {
            self.core.stats.ignored_small_initial += 1;
            return None;
        }
        self.accept(now, &header, derived, from, to).map(|conn| Route { conn, to_our_id: false })
    }

    fn negotiate_version(&mut self, dcid: &[u8], scid: &[u8], from: SocketAddr, to: SocketAddr) {
        if let Some(packet) = version_negotiation(dcid, scid) {
            self.core.stats.version_negotiations += 1;
            self.send_stateless(packet, from, to);
        }
    }

    fn send_stateless(&mut self, packet: Vec<u8>, from: SocketAddr, to: SocketAddr) {
        if self.core.stateless.len() < MAX_STATELESS {
            let transmit = Transmit { from: to, to: from, len: packet.len(), segment: packet.len() };
            self.core.stateless.push_back((packet, transmit));
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        header: &LongHeader,
        cid: Cid,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<ConnId> {
        let core = &mut self.core;
        let settings = &core.settings;
        if core.shutting_down
            || self.table.len() >= settings.max_connections
            || core.handshakes >= settings.max_handshakes
        {
            core.stats.ignored_over_limit += 1;
            return None;
        }
        let retry_cid = Cid::from_slice(header.dcid());
        let check = retry_cid.map_or(TokenCheck::Foreign, |cid| core.tokens.open(now, from, &cid, header.token()));
        let original = match check {
            TokenCheck::Valid(original) => Some(original),
            TokenCheck::Invalid => {
                core.stats.ignored_bad_token += 1;
                return None;
            }
            TokenCheck::Foreign => None,
        };
        let must_retry = match settings.retry {
            RetryPolicy::Off => false,
            RetryPolicy::On => true,
            RetryPolicy::Auto => core.handshakes >= settings.retry_threshold,
        };
        if must_retry && original.is_none() {
            self.retry(now, header, from, to);
            return None;
        }
        let retry = original.as_deref().map(|original| (original, header.dcid()));
        let mut transport = match Transport::accept(cid, retry, to, from, &mut core.quic) {
            Ok(transport) => transport,
            Err(e) => {
                log::error!("quiche does not accept a connection: {e}");
                return None;
            }
        };
        core.observe(&mut transport, cid, "server");
        core.stats.connections += 1;
        core.handshakes += 1;
        let deadline = now + core.settings.transport.handshake_timeout;
        let id = self.table.insert(cid, Box::new(Connection::new(transport, Role::Server, now, deadline)));
        log::debug!("{id:?}: {from} begins a handshake");
        Some(id)
    }

    fn retry(&mut self, now: Instant, header: &LongHeader, from: SocketAddr, to: SocketAddr) {
        let core = &mut self.core;
        let (scid, _) = core.cids.next();
        let token = core.tokens.seal(now, from, header.dcid(), &scid);
        if let Some(packet) = header.retry(scid, &token) {
            core.stats.retries += 1;
            self.send_stateless(packet, from, to);
        }
    }
}

impl Core {
    /// Key log and qlog of a new connection.
    pub(super) fn observe(&mut self, transport: &mut Transport, cid: Cid, role: &str) {
        if let Some(keylog) = self.keylog.as_ref().and_then(|file| file.try_clone().ok()) {
            transport.set_keylog(keylog);
        }
        #[cfg(feature = "qlog")]
        if let Some(dir) = &self.settings.transport.qlog_dir {
            let hex = data_encoding::HEXLOWER.encode(&cid.0);
            let path = dir.join(format!("{hex}.sqlog"));
            match std::fs::File::create(&path) {
                Ok(file) => transport.set_qlog(file, format!("{role} connection {hex}")),
                Err(e) => log::warn!("cannot write '{}': {e}", path.display()),
            }
        }
        #[cfg(not(feature = "qlog"))]
        let _ = (cid, role);
    }
}
