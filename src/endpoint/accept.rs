//! From a datagram to its connection: routing by connection id, Version Negotiation, Retry, new connections.

use std::net::SocketAddr;
use std::time::Instant;

use quiche::{ConnectionId, Header, Type};

use super::conn::{Conn, Role};
use super::{Core, Endpoint, Transmit};
use crate::config::RetryPolicy;
use crate::quic;
use crate::quic::cid::{CID_LEN, Cid};
use crate::quic::table::ConnId;
use crate::quic::token::TokenCheck;

/// RFC 9000 section 14.1.
const MIN_INITIAL_DATAGRAM: usize = 1200;
/// Stateless answers that may wait; a flood of unknown versions shall not fill the memory.
const MAX_STATELESS: usize = 256;

impl Endpoint {
    /// The connection that a datagram is for; a new one for a good Initial packet.
    pub(super) fn route(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<ConnId> {
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
                // It may be a stateless reset, which has no id: the connection can tell.
                Role::Client => self.table.ids().find(|id| self.table.get(*id).is_some_and(|c| c.peer() == from)),
            });
            self.core.stats.ignored_unknown_cid += u64::from(found.is_none());
            return found;
        }
        if self.core.role == Role::Client {
            // Retry and Version Negotiation are for the connection to see.
            let dcid = invariants(datagram).and_then(|(_, dcid, _)| Cid::from_slice(dcid));
            let found = dcid.and_then(|cid| self.table.lookup(&cid));
            self.core.stats.ignored_unknown_cid += u64::from(found.is_none());
            return found;
        }
        let len = datagram.len();
        match invariants(datagram) {
            Some((version, ..)) if quiche::version_is_supported(version) => {}
            // Version 0 is a Version Negotiation packet, which no server is sent (RFC 9000 section 17.2.1).
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
        let Ok(header) = Header::from_slice(datagram, CID_LEN) else {
            self.core.stats.ignored_garbage += 1;
            return None;
        };
        if let Some(id) = Cid::from_slice(&header.dcid).and_then(|cid| self.table.lookup(&cid)) {
            return Some(id);
        }
        // A client goes on with the id that it chose itself until our first packet reaches it.
        let derived = self.core.cids.derive(&header.dcid);
        if let Some(id) = self.table.lookup(&derived) {
            return Some(id);
        }
        if header.ty != Type::Initial {
            self.core.stats.ignored_unknown_cid += 1;
            return None;
        }
        if len < MIN_INITIAL_DATAGRAM {
            self.core.stats.ignored_small_initial += 1;
            return None;
        }
        self.accept(now, &header, derived, from, to)
    }

    fn negotiate_version(&mut self, dcid: &[u8], scid: &[u8], from: SocketAddr, to: SocketAddr) {
        let mut packet = vec![0; MIN_INITIAL_DATAGRAM];
        let (dcid, scid) = (ConnectionId::from_ref(dcid), ConnectionId::from_ref(scid));
        if let Ok(n) = quiche::negotiate_version(&scid, &dcid, &mut packet) {
            packet.truncate(n);
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
        header: &Header<'_>,
        cid: Cid,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<ConnId> {
        let core = &mut self.core;
        let settings = &core.settings;
        if core.draining || self.table.len() >= settings.max_connections || core.handshakes >= settings.max_handshakes {
            core.stats.ignored_over_limit += 1;
            return None;
        }
        let token = header.token.as_deref().unwrap_or_default();
        let retry_cid = Cid::from_slice(&header.dcid);
        let check = retry_cid.map_or(TokenCheck::Foreign, |cid| core.tokens.open(now, from, &cid, token));
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
        let scid = cid.to_quiche();
        let quic = match &original {
            Some(original) => {
                let retry_cids = quiche::RetryConnectionIds {
                    original_destination_cid: &ConnectionId::from_ref(original),
                    retry_source_cid: &header.dcid,
                };
                quiche::accept_with_retry(&scid, retry_cids, to, from, &mut core.quic)
            }
            None => quiche::accept_with_buf_factory(&scid, None, to, from, &mut core.quic),
        };
        let mut quic = match quic {
            Ok(quic) => quic,
            Err(e) => {
                log::error!("quiche does not accept a connection: {e}");
                return None;
            }
        };
        core.observe(&mut quic, cid, "server");
        core.stats.connections += 1;
        core.handshakes += 1;
        let deadline = now + core.settings.transport.handshake_timeout;
        let id = self.table.insert(cid, Box::new(Conn::new(quic, Role::Server, from, deadline)));
        log::debug!("{id:?}: {from} begins a handshake");
        Some(id)
    }

    fn retry(&mut self, now: Instant, header: &Header<'_>, from: SocketAddr, to: SocketAddr) {
        let core = &mut self.core;
        let (scid, _) = core.cids.next();
        let Some(token) = core.tokens.seal(now, from, &header.dcid, &scid) else { return };
        let mut packet = vec![0; MIN_INITIAL_DATAGRAM];
        let new_scid = scid.to_quiche();
        let written = quiche::retry(&header.scid, &header.dcid, &new_scid, &token, header.version, &mut packet);
        if let Ok(n) = written {
            packet.truncate(n);
            core.stats.retries += 1;
            self.send_stateless(packet, from, to);
        }
    }
}

impl Core {
    /// Key log and qlog of a new connection.
    pub(super) fn observe(&mut self, quic: &mut quic::Connection, cid: Cid, role: &str) {
        if let Some(keylog) = self.keylog.as_ref().and_then(|file| file.try_clone().ok()) {
            quic.set_keylog(Box::new(keylog));
        }
        #[cfg(feature = "qlog")]
        if let Some(dir) = &self.settings.transport.qlog_dir {
            let hex: String = cid.0.iter().map(|b| format!("{b:02x}")).collect();
            let path = dir.join(format!("{hex}.sqlog"));
            match std::fs::File::create(&path) {
                Ok(file) => {
                    let title = "mio-quiche".to_owned();
                    let about = format!("{role} connection {hex}");
                    let file = Box::new(std::io::BufWriter::new(file));
                    quic.set_qlog_with_level(file, title, about, quiche::QlogLevel::Extra);
                }
                Err(e) => log::warn!("cannot write '{}': {e}", path.display()),
            }
        }
        #[cfg(not(feature = "qlog"))]
        let _ = (cid, role);
    }
}

/// Version, destination and source connection id of a long header: what every version of QUIC has in the same place
/// (RFC 8999 section 5.1).
fn invariants(datagram: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (version, rest) = datagram.get(1..)?.split_first_chunk()?;
    let (dcid, rest) = rest.split_first().and_then(|(len, rest)| rest.split_at_checked(usize::from(*len)))?;
    let (scid, _) = rest.split_first().and_then(|(len, rest)| rest.split_at_checked(usize::from(*len)))?;
    Some((u32::from_be_bytes(*version), dcid, scid))
}
