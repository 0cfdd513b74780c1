//! Connections of a client: resolving, racing addresses, keeping some.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::error::ClientError;
use super::request::Origin;
use crate::endpoint::{CloseCause, Endpoint};
use crate::error::ErrorCode;
use crate::quic::table::ConnId;

/// After this time without an answer the next address is tried beside the first (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Connections per origin.
const MAX_PER_ORIGIN: usize = 6;
/// Connections in all.
const MAX_IN_ALL: usize = 100;
/// Connections to an origin that go away before they took a request, in a row, until whoever waits for one fails.
const MAX_USELESS: u8 = 4;
/// How long a connection without requests is kept.
const MAX_IDLE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) origin: Origin,
    pub(super) ready: bool,
    /// Takes no further requests.
    pub(super) closed_to_new: bool,
    /// For one session and its streams only.
    pub(super) for_session: bool,
    pub(super) active: usize,
    /// It has no room for a further request, until the engine says that it does.
    blocked: bool,
    /// There was a request on it.
    used: bool,
    idle_since: Instant,
}

/// Addresses that are tried for one connection.
#[derive(Debug)]
struct Attempt {
    origin: Origin,
    for_session: bool,
    addresses: VecDeque<SocketAddr>,
    tried: Vec<ConnId>,
    next_at: Instant,
    last: Option<CloseCause>,
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) conns: HashMap<ConnId, Pooled>,
    attempts: Vec<Attempt>,
    /// Sessions to be resumed, by origin.
    pub(super) tickets: HashMap<Origin, Vec<u8>>,
    /// Connections in a row that went away before there was a request on them.
    useless: HashMap<Origin, u8>,
}

impl Pool {
    /// A connection that may take a request; opens one if there is none and there may be one more.
    pub(super) fn pick(
        &mut self,
        now: Instant,
        origin: &Origin,
        for_session: bool,
        local: SocketAddr,
        endpoint: &mut Endpoint,
    ) -> Result<Option<ConnId>, ClientError> {
        let usable = |c: &Pooled| c.origin == *origin && c.ready && !c.closed_to_new && !c.for_session;
        if !for_session {
            let best = self.conns.iter().filter(|(_, c)| usable(c)).min_by_key(|(_, c)| (c.blocked, c.active));
            if let Some((id, _)) = best {
                return Ok(Some(*id));
            }
        }
        let pending = self.attempts.iter().any(|a| a.origin == *origin && a.for_session == for_session);
        if !pending {
            self.begin(now, origin, for_session, local, endpoint)?;
        }
        Ok(None)
    }

    /// A free connection that was opened for a session.
    pub(super) fn pick_for_session(&mut self, origin: &Origin) -> Option<ConnId> {
        let free = |c: &Pooled| c.origin == *origin && c.ready && c.for_session && c.active == 0 && !c.closed_to_new;
        self.conns.iter().find(|(_, c)| free(c)).map(|(id, _)| *id)
    }

    pub(super) fn is_blocked(&self, id: ConnId) -> bool {
        self.conns.get(&id).is_some_and(|c| c.blocked)
    }

    pub(super) fn block(&mut self, id: ConnId) {
        if let Some(pooled) = self.conns.get_mut(&id) {
            pooled.blocked = true;
        }
    }

    /// Opens a further connection beside those that are full. False if there may be no more.
    pub(super) fn grow(&mut self, now: Instant, origin: &Origin, local: SocketAddr, endpoint: &mut Endpoint) -> bool {
        let mine = self.conns.values().filter(|c| c.origin == *origin).count();
        let pending = self.attempts.iter().any(|a| a.origin == *origin);
        if pending || mine >= MAX_PER_ORIGIN || self.conns.len() >= MAX_IN_ALL {
            return pending;
        }
        self.begin(now, origin, false, local, endpoint).is_ok()
    }

    fn begin(
        &mut self,
        now: Instant,
        origin: &Origin,
        for_session: bool,
        local: SocketAddr,
        endpoint: &mut Endpoint,
    ) -> Result<(), ClientError> {
        let addresses = resolve(origin, local)?;
        let (origin, tried) = (origin.clone(), Vec::new());
        let mut attempt = Attempt { origin, for_session, addresses, tried, next_at: now, last: None };
        self.try_next(now, &mut attempt, local, endpoint);
        self.attempts.push(attempt);
        Ok(())
    }

    fn try_next(&mut self, now: Instant, attempt: &mut Attempt, local: SocketAddr, endpoint: &mut Endpoint) {
        let Some(remote) = attempt.addresses.pop_front() else { return };
        attempt.next_at = now + ATTEMPT_DELAY;
        let ticket = self.tickets.get(&attempt.origin).map(Vec::as_slice);
        let made = endpoint.connect(now, &attempt.origin.host, local, remote, ticket);
        // A ticket that quiche cannot read is as good as none.
        match made.or_else(|_| endpoint.connect(now, &attempt.origin.host, local, remote, None)) {
            Ok(id) => {
                attempt.tried.push(id);
                let (origin, for_session) = (attempt.origin.clone(), attempt.for_session);
                let pooled = Pooled {
                    origin,
                    ready: false,
                    closed_to_new: false,
                    for_session,
                    active: 0,
                    blocked: false,
                    used: false,
                    idle_since: now,
                };
                self.conns.insert(id, pooled);
            }
            Err(e) => log::debug!("cannot connect to {remote}: {e}"),
        }
    }

    /// Tries further addresses where the first ones do not answer.
    pub(super) fn advance(&mut self, now: Instant, local: SocketAddr, endpoint: &mut Endpoint) {
        for mut attempt in std::mem::take(&mut self.attempts) {
            if attempt.next_at <= now || attempt.tried.is_empty() {
                self.try_next(now, &mut attempt, local, endpoint);
            }
            self.attempts.push(attempt);
        }
        let idle = |c: &Pooled| c.active == 0 && c.ready && now >= c.idle_since + MAX_IDLE;
        for (id, pooled) in &mut self.conns {
            if idle(pooled) && !pooled.closed_to_new {
                pooled.closed_to_new = true;
                endpoint.close(*id, ErrorCode::H3_NO_ERROR, b"");
            }
        }
    }

    /// When [`advance`](Pool::advance) has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.attempts.iter().filter(|a| !a.addresses.is_empty()).map(|a| a.next_at).min()
    }

    /// Requests can be sent, maybe before the handshake is complete.
    pub(super) fn on_possible(&mut self, id: ConnId, endpoint: &Endpoint) {
        if let Some(pooled) = self.conns.get_mut(&id) {
            pooled.ready |= endpoint.is_early(id);
            pooled.blocked = false;
        }
    }

    /// A handshake is complete: the other addresses are not needed.
    pub(super) fn on_connected(&mut self, id: ConnId, endpoint: &mut Endpoint) {
        if let Some(pooled) = self.conns.get_mut(&id) {
            pooled.ready = true;
        }
        let Some(position) = self.attempts.iter().position(|a| a.tried.contains(&id)) else { return };
        let attempt = self.attempts.swap_remove(position);
        for other in attempt.tried.into_iter().filter(|other| *other != id) {
            endpoint.close(other, ErrorCode::H3_NO_ERROR, b"");
            self.conns.remove(&other);
        }
    }

    /// A connection is gone. When it was the last one of an attempt, whoever waits for it fails: gives the origin, and
    /// why.
    pub(super) fn on_closed(&mut self, now: Instant, id: ConnId, cause: &CloseCause) -> Option<(Origin, CloseCause)> {
        self.conns.remove(&id);
        let position = self.attempts.iter().position(|a| a.tried.contains(&id))?;
        let attempt = &mut self.attempts[position];
        attempt.tried.retain(|tried| *tried != id);
        attempt.last = Some(cause.clone());
        attempt.next_at = now;
        if !attempt.tried.is_empty() || !attempt.addresses.is_empty() {
            return None;
        }
        let attempt = self.attempts.swap_remove(position);
        Some((attempt.origin, cause.clone()))
    }

    /// Attempts at an address. None if they are at several ports, as then it is not known which one is meant.
    pub(super) fn attempts_at(&self, ip: IpAddr, endpoint: &Endpoint) -> Vec<ConnId> {
        let tried = self.attempts.iter().flat_map(|attempt| &attempt.tried);
        let peers = tried.filter_map(|id| Some((*id, endpoint.peer_addr(*id)?)));
        let there: Vec<_> = peers.filter(|(_, peer)| peer.ip().to_canonical() == ip).collect();
        let is_one = there.iter().all(|(_, peer)| peer.port() == there[0].1.port());
        there.into_iter().filter(|_| is_one).map(|(id, _)| id).collect()
    }

    pub(super) fn began(&mut self, id: ConnId) {
        if let Some(pooled) = self.conns.get_mut(&id) {
            pooled.active += 1;
            pooled.used = true;
            self.useless.remove(&pooled.origin);
        }
    }

    /// A connection that was made takes no requests any more, or is gone. Gives the origin when it is one of too many that
    /// never took one.
    pub(super) fn on_leaving(&mut self, id: ConnId, endpoint: &mut Endpoint) -> Option<Origin> {
        let pooled = self.conns.get_mut(&id).filter(|pooled| pooled.ready)?;
        let known = std::mem::replace(&mut pooled.closed_to_new, true);
        if pooled.used {
            return None;
        }
        endpoint.close(id, ErrorCode::H3_NO_ERROR, b"");
        let count = self.useless.entry(pooled.origin.clone()).or_default();
        *count += u8::from(!known);
        if *count < MAX_USELESS {
            return None;
        }
        *count = 0;
        Some(pooled.origin.clone())
    }

    /// A request is over, or a session. A connection that takes no more is closed with its last one.
    pub(super) fn ended(&mut self, now: Instant, id: ConnId, endpoint: &mut Endpoint) {
        let Some(pooled) = self.conns.get_mut(&id) else { return };
        pooled.active -= 1;
        pooled.idle_since = now;
        if pooled.active == 0 && pooled.closed_to_new {
            endpoint.close(id, ErrorCode::H3_NO_ERROR, b"");
        }
    }
}

/// A host's addresses, IPv6 and IPv4 in turn (RFC 8305 section 4), as our socket can reach them.
fn resolve(origin: &Origin, local: SocketAddr) -> Result<VecDeque<SocketAddr>, ClientError> {
    let failed = |source| ClientError::Resolve { host: origin.host.clone(), source };
    let all: Vec<SocketAddr> = (origin.host.as_str(), origin.port).to_socket_addrs().map_err(failed)?.collect();
    let (v6, v4): (Vec<_>, Vec<_>) = all.into_iter().partition(SocketAddr::is_ipv6);
    let mut addresses = VecDeque::new();
    for n in 0..v6.len().max(v4.len()) {
        // Without IPv6 in the system there is no way to those.
        addresses.extend(v6.get(n).filter(|_| local.is_ipv6()));
        addresses.extend(v4.get(n).map(|addr| map(*addr, local)));
    }
    match addresses.is_empty() {
        true => Err(failed(std::io::Error::new(std::io::ErrorKind::NotFound, "no usable address"))),
        false => Ok(addresses),
    }
}

/// An IPv4 address as an IPv6 socket takes it (RFC 4291 section 2.5.5.2).
fn map(addr: SocketAddr, local: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if local.is_ipv6() => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
        _ => addr,
    }
}
