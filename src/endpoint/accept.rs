//! From a datagram to its connection: routing by connection id, new connections.

use std::net::SocketAddr;
use std::time::Instant;

use super::Endpoint;
use super::connection::Connection;
use super::core::{Core, Role};
use super::first_flight::FirstFlight;
use super::route::Route;
use super::stateless::{Asked, Refusal};
use crate::config::RetryPolicy;
use crate::transport::Transport;
use crate::transport::cid::{CID_LEN, Cid};
use crate::transport::packet::{LongHeader, MIN_INITIAL_DATAGRAM, invariants, is_supported};
use crate::transport::table::ConnId;
use crate::transport::token::TokenCheck;

/// The destination id of an Initial packet has at least this many bytes (RFC 9000 section 7.2).
const MIN_INITIAL_DCID: usize = 8;

impl Endpoint {
    /// The connection that a datagram is for; a new one for a valid Initial packet.
    pub(super) fn route(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<Route> {
        const LONG_HEADER: u8 = 0x80;
        let is_long = datagram.first().is_some_and(|first| first & LONG_HEADER != 0);
        match self.core.role {
            _ if !is_long => self.route_short(now, datagram, from, to),
            Role::Client => self.route_long_to_client(datagram),
            Role::Server => self.route_long(now, datagram, from, to),
        }
    }

    fn route_short(&mut self, now: Instant, datagram: &mut [u8], from: SocketAddr, to: SocketAddr) -> Option<Route> {
        const FIXED_BIT: u8 = 0x40;
        let is_quic = datagram.first().is_some_and(|first| first & FIXED_BIT != 0);
        let cid = is_quic.then(|| datagram.get(1..=CID_LEN)).flatten().and_then(Cid::from_slice);
        let Some(cid) = cid else {
            self.core.stats.ignored_garbage += 1;
            return None;
        };
        if let Some(conn) = self.table.lookup(&cid) {
            return Some(Route::to_our_id(conn));
        }
        let role = self.core.role;
        match role {
            Role::Client if self.take_stateless_reset(now, datagram, from, to) => {}
            Role::Client => self.core.stats.ignored_unknown_cid += 1,
            Role::Server => self.on_unknown_cid(now, &cid, datagram.len(), Asked { from, to }),
        }
        None
    }

    /// A packet of `len` bytes to an id that no connection has.
    fn on_unknown_cid(&mut self, now: Instant, cid: &Cid, len: usize, asked: Asked) {
        let core = &mut self.core;
        core.stats.ignored_unknown_cid += 1;
        if !self.table.is_retired(cid) {
            let sent = core.stateless.reset(now, len, core.cids.reset_token(cid), asked);
            core.stats.resets_sent += u64::from(sent);
        }
    }

    /// Ends the client's connection that a datagram resets, if there is one; resets have no connection id.
    fn take_stateless_reset(&mut self, now: Instant, datagram: &mut [u8], from: SocketAddr, to: SocketAddr) -> bool {
        let is_reset = |c: &Connection| c.transport.peer_addr() == from && c.transport.is_stateless_reset(datagram);
        let found = self.table.ids().find(|id| self.table.get(*id).is_some_and(|c| is_reset(c)));
        let Some(id) = found else { return false };
        self.core.stats.resets_received += 1;
        self.with(now, id, |conn, _| conn.transport.on_stateless_reset(datagram, from, to));
        true
    }

    /// Retry and Version Negotiation are handled by the connection.
    fn route_long_to_client(&mut self, datagram: &[u8]) -> Option<Route> {
        let dcid = invariants(datagram).and_then(|(_, dcid, _)| Cid::from_slice(dcid));
        let found = dcid.and_then(|cid| self.table.lookup(&cid));
        self.core.stats.ignored_unknown_cid += u64::from(found.is_none());
        found.map(Route::to_our_id)
    }

    fn route_long(&mut self, now: Instant, datagram: &mut [u8], from: SocketAddr, to: SocketAddr) -> Option<Route> {
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
                let sent = self.core.stateless.negotiate_version(now, dcid, scid, Asked { from, to });
                self.core.stats.version_negotiations += u64::from(sent);
                return None;
            }
        }
        let Some(header) = LongHeader::parse(datagram) else {
            self.core.stats.ignored_garbage += 1;
            return None;
        };
        let cid = Cid::from_slice(header.dcid());
        if let Some(conn) = cid.and_then(|cid| self.table.lookup(&cid)) {
            return Some(Route::to_our_id(conn));
        }
        // A client uses the id that it chose itself until the server's first packet arrives.
        let derived = self.core.cids.derive(header.dcid());
        if let Some(conn) = self.table.lookup(&derived) {
            return Some(Route { conn, to_our_id: false });
        }
        if let Some(cid) = cid.filter(|_| header.is_handshake()) {
            // The client may have the id's reset token. In 0-RTT it has none.
            self.on_unknown_cid(now, &cid, len, Asked { from, to });
            return None;
        }
        // A late copy of the first packet of a connection that has another id by now must not begin a new one, which
        // would have the same id and reveal its reset token.
        if !header.is_initial() || self.table.is_retired(&derived) {
            self.core.stats.ignored_unknown_cid += 1;
            return None;
        }
        if len < MIN_INITIAL_DATAGRAM {
            self.core.stats.ignored_small_initial += 1;
            return None;
        }
        if header.dcid().len() < MIN_INITIAL_DCID {
            self.core.stats.ignored_short_cid += 1;
            return None;
        }
        if self.core.answer_failed(now, [Some(derived), cid], Asked { from, to }) {
            return None;
        }
        self.accept(now, datagram, header, derived, Asked { from, to }).map(|conn| Route { conn, to_our_id: false })
    }

    fn accept(&mut self, now: Instant, datagram: &[u8], header: LongHeader, cid: Cid, asked: Asked) -> Option<ConnId> {
        let Asked { from, to } = asked;
        let core = &mut self.core;
        let settings = &core.settings;
        let (connections, handshakes) = core.worker.totals(self.table.len(), core.handshakes.len());
        let refusal = match core.shutting_down {
            true => Some(Refusal::ShuttingDown),
            false if connections >= settings.max_connections => Some(Refusal::MaxConnections),
            false => None,
        };
        if let Some(refusal) = refusal {
            match core.refuse(now, &header, refusal, asked) {
                true => core.stats.refused_connections += 1,
                false => core.stats.ignored_over_limit += 1,
            }
            return None;
        }
        let original = match core.tokens.open(now, from, header.dcid(), header.token()) {
            TokenCheck::Valid(original) => Some(original),
            TokenCheck::Invalid => {
                core.stats.invalid_tokens += 1;
                core.refuse(now, &header, Refusal::InvalidToken, asked);
                return None;
            }
            TokenCheck::Foreign => None,
        };
        let must_retry = match settings.retry {
            RetryPolicy::Off => false,
            RetryPolicy::On => true,
            RetryPolicy::Auto => handshakes >= settings.retry_threshold,
        };
        if must_retry && original.is_none() {
            let scid = core.cids.next_for_retry();
            let token = core.tokens.seal(now, from, header.dcid(), &scid);
            core.stats.retries += u64::from(core.stateless.retry(&header, scid, &token, asked));
            return None;
        }
        // A damaged packet says nothing about the client, and must not fail the connection.
        if !header.is_authentic(datagram) {
            core.stats.ignored_garbage += 1;
            return None;
        }
        if !core.backlog.takes_handshake() {
            core.stats.ignored_over_limit += u64::from(!core.backlog.keep_first_packet(datagram, from, to));
            return None;
        }
        if handshakes >= settings.max_handshakes && !self.make_room(now, from, original.is_some()) {
            self.core.stats.ignored_over_limit += 1;
            return None;
        }
        let core = &mut self.core;
        let retry = original.as_deref().map(|original| (original, header.dcid()));
        let reset_token = core.token_room.fits(retry.is_some()).then(|| core.cids.reset_token(&cid));
        let mut transport = match Transport::accept(cid, reset_token, retry, to, from, &mut core.quic) {
            Ok(transport) => transport,
            Err(e) => {
                log::error!("quiche does not accept a connection: {e}");
                return None;
            }
        };
        let logs = core.logs.observe(&core.settings.transport, &mut transport, cid, "server");
        core.stats.connections += 1;
        let deadline = now + core.settings.transport.handshake_timeout;
        let mut conn = Connection::new(transport, Role::Server, now, deadline);
        conn.handshake.began_with(FirstFlight { header, cid, asked });
        conn.handshake.logs = Some(Box::new(logs));
        let id = self.table.insert(cid, Box::new(conn));
        self.core.handshakes.begin(from, id);
        log::debug!("{id:?}: {from} begins a handshake");
        Some(id)
    }

    /// Ends a handshake in favour of a client that has proven its address. False if there is no room; there may be when
    /// the client tries again.
    fn make_room(&mut self, now: Instant, from: SocketAddr, is_proven: bool) -> bool {
        let oldest = self.core.handshakes.oldest_of_most(from).filter(|_| is_proven);
        let Some(id) = oldest else { return false };
        log::debug!("{id:?}: dropped for {from}, as there are max_handshakes handshakes");
        self.core.stats.displaced_handshakes += 1;
        self.with(now, id, |conn, cx| conn.give_way(cx)).is_some()
    }
}

impl Core {
    fn refuse(&mut self, now: Instant, header: &LongHeader, refusal: Refusal, asked: Asked) -> bool {
        log::debug!("{}: not accepted: {refusal:?}", asked.from);
        let (scid, _) = self.cids.next();
        self.stateless.refuse(now, header, scid, refusal, asked)
    }

    /// Answers a copy of the first packet of a connection that has failed, which had one of these ids. False if there
    /// was none.
    fn answer_failed(&mut self, now: Instant, cids: [Option<Cid>; 2], asked: Asked) -> bool {
        let close = cids.iter().flatten().find_map(|cid| self.failed.get(now, cid).cloned());
        let Some(close) = close else { return false };
        self.stats.repeated_first_flights += 1;
        self.stateless.close(now, close, asked);
        true
    }
}
