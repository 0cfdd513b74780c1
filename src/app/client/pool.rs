//! Connections of a client: resolving, racing addresses, keeping some.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, StatusCode};

use super::alt_svc::AltServices;
use super::error::{ClientError, unreachable, unusable};
use super::request::Origin;
use super::tickets::Tickets;
use crate::config::ClientConfig;
use crate::endpoint::{CloseCause, Endpoint, RequestHead};
use crate::error::{ConnectError, ErrorCode};
use crate::h3::ResponseHead;
use crate::net::reachable;
use crate::transport::table::ConnId;

/// Time without an answer after which the next address is tried concurrently (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Timeout of a connection attempt to an alternative; the origin is tried next.
const ALTERNATIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time within which ICMP repeats its report of an unreachable port, once for each packet sent there.
const ICMP_REPEAT_WINDOW: Duration = Duration::from_secs(1);
/// How long the connection of a session stays after it, so that the session's close arrives even if it is lost once.
const SESSION_LINGER: Duration = Duration::from_secs(3);
/// Connections per origin.
const MAX_PER_ORIGIN: usize = 6;
/// Connections in all: a new origin takes the place of the one that is idle for the longest time, if one is.
const MAX_IN_ALL: usize = 100;
/// Consecutive connections to an origin that end before their first request, until its pending requests fail.
const MAX_USELESS: u8 = 4;

#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) origin: Origin,
    /// The alternative service that it connects to, if any.
    pub(super) alternative: Option<Origin>,
    pub(super) ready: bool,
    /// Accepts no further requests.
    pub(super) closed_to_new: bool,
    /// Reserved for one session and its streams.
    pub(super) for_session: bool,
    pub(super) active: usize,
    /// Requests at a time, as far as the server has shown it by rejecting more.
    max_active: usize,
    /// No credit for a further request, until the engine reports some.
    blocked: bool,
    /// It carried a request.
    used: bool,
    idle_since: Instant,
}

impl Pooled {
    fn is_full(&self) -> bool {
        self.blocked || self.active >= self.max_active
    }

    /// When it is closed, if it gets no request.
    fn idle_until(&self, max_idle: Duration) -> Option<Instant> {
        let is_idle = self.active == 0 && self.ready && !self.closed_to_new;
        let max_idle = if self.for_session && self.used { max_idle.min(SESSION_LINGER) } else { max_idle };
        is_idle.then(|| self.idle_since.checked_add(max_idle)).flatten()
    }
}

/// The addresses tried for one connection.
#[derive(Debug)]
struct Attempt {
    origin: Origin,
    alternative: Option<Origin>,
    for_session: bool,
    /// `None` until the addresses are known.
    lookup: Option<u64>,
    addresses: VecDeque<SocketAddr>,
    tried: Vec<ConnId>,
    next_at: Instant,
    deadline: Instant,
    /// Why no address could be tried.
    refusal: Option<ConnectError>,
}

impl Attempt {
    fn is_hopeless(&self) -> bool {
        self.lookup.is_none() && self.addresses.is_empty() && self.tried.is_empty()
    }
}

/// A host to look up.
#[derive(Debug)]
pub(in crate::app) struct Question {
    /// Identifies the answer.
    pub(in crate::app) id: u64,
    pub(in crate::app) host: String,
    pub(in crate::app) port: u16,
}

#[derive(Debug)]
pub(super) struct Pool {
    /// The local address.
    pub(super) local: SocketAddr,
    /// The time of day, as of this turn.
    pub(super) wall: SystemTime,
    pub(super) connect_timeout: Duration,
    /// How long a connection without requests is kept.
    max_idle: Duration,
    pub(super) questions: VecDeque<Question>,
    next_question: u64,
    pub(super) alternatives: AltServices,
    pub(super) conns: HashMap<ConnId, Pooled>,
    attempts: Vec<Attempt>,
    pub(super) tickets: Tickets,
    /// Unreachable addresses, and when each was reported.
    given_up: Vec<(SocketAddr, Instant)>,
    /// Consecutive connections that ended before their first request.
    useless: HashMap<Origin, u8>,
}

impl Pool {
    pub(super) fn new(config: &ClientConfig, local: SocketAddr, wall: SystemTime) -> Self {
        Pool {
            local,
            wall,
            connect_timeout: config.connect_timeout,
            max_idle: config.pool_idle_timeout,
            questions: VecDeque::new(),
            next_question: 0,
            alternatives: AltServices::default(),
            conns: HashMap::new(),
            attempts: Vec::new(),
            tickets: Tickets::default(),
            given_up: Vec::new(),
            useless: HashMap::new(),
        }
    }

    /// A connection for a request; opens one if there is none and the limits allow it.
    pub(super) fn pick(
        &mut self,
        now: Instant,
        origin: &Origin,
        for_session: bool,
        endpoint: &mut Endpoint,
    ) -> Option<ConnId> {
        let usable = |c: &Pooled| c.origin == *origin && c.ready && !c.closed_to_new && !c.for_session;
        if !for_session {
            let best = self.conns.iter().filter(|(_, c)| usable(c)).min_by_key(|(_, c)| (c.is_full(), c.active));
            if let Some((id, _)) = best {
                return Some(*id);
            }
        }
        let pending = self.attempts.iter().any(|a| a.origin == *origin && a.for_session == for_session);
        if !pending {
            self.begin(now, origin, for_session, endpoint);
        }
        None
    }

    /// A connection that was opened for a session and has carried none: servers may close one whose session has ended.
    pub(super) fn pick_for_session(&mut self, origin: &Origin) -> Option<ConnId> {
        let free = |c: &Pooled| c.origin == *origin && c.ready && c.for_session && !c.used && !c.closed_to_new;
        self.conns.iter().find(|(_, c)| free(c)).map(|(id, _)| *id)
    }

    /// An unused connection that was opened for a session or datagrams and whose handshake is complete; opens one if
    /// there is none.
    pub(super) fn pick_unused(&mut self, now: Instant, origin: &Origin, endpoint: &mut Endpoint) -> Option<ConnId> {
        let free = |id: ConnId, c: &Pooled| {
            c.origin == *origin && c.ready && c.for_session && !c.used && !c.closed_to_new && !endpoint.is_early(id)
        };
        let found = self.conns.iter().find(|(id, c)| free(**id, c)).map(|(id, _)| *id);
        found.or_else(|| self.pick(now, origin, true, endpoint))
    }

    /// The head of a request as sent on a connection: an alternative gets `alt-used` (RFC 7838 section 5).
    pub(super) fn head_for<'a>(&self, id: ConnId, head: &'a RequestHead) -> Cow<'a, RequestHead> {
        let alternative = self.conns.get(&id).and_then(|pooled| pooled.alternative.as_ref());
        match alternative.map(|target| HeaderValue::try_from(target.to_string())) {
            Some(Ok(value)) => {
                let mut head = head.clone();
                head.headers.insert("alt-used", value);
                Cow::Owned(head)
            }
            _ => Cow::Borrowed(head),
        }
    }

    pub(super) fn is_blocked(&self, id: ConnId) -> bool {
        self.conns.get(&id).is_some_and(Pooled::is_full)
    }

    /// The server rejected a request, which has ended here. If others are open, it is their number that it limits; false if
    /// it takes none at all.
    pub(super) fn limit(&mut self, id: ConnId) -> bool {
        let open = self.conns.get_mut(&id).filter(|c| c.active > 0 && !c.closed_to_new);
        open.is_some_and(|c| {
            c.max_active = c.max_active.min(c.active);
            true
        })
    }

    pub(super) fn block(&mut self, id: ConnId) {
        if let Some(pooled) = self.conns.get_mut(&id) {
            pooled.blocked = true;
        }
    }

    /// Opens a further connection beside those that are full, if the limits allow it.
    pub(super) fn grow(&mut self, now: Instant, origin: &Origin, endpoint: &mut Endpoint) {
        let mine = self.conns.values().filter(|c| c.origin == *origin).count();
        let pending = self.attempts.iter().any(|a| a.origin == *origin);
        if !pending && mine < MAX_PER_ORIGIN && self.open() < MAX_IN_ALL {
            self.begin(now, origin, false, endpoint);
        }
    }

    /// Connections that are not about to close.
    fn open(&self) -> usize {
        self.conns.values().filter(|c| !c.closed_to_new).count()
    }

    /// Closes the connection that is idle for the longest time, if there are too many. One that was not used yet was opened
    /// for something that waits.
    fn make_room(&mut self, endpoint: &mut Endpoint) {
        if self.open() < MAX_IN_ALL {
            return;
        }
        let idle = |c: &Pooled| c.active == 0 && c.used && !c.closed_to_new;
        let idle = self.conns.iter_mut().filter(|(_, c)| idle(c));
        if let Some((id, pooled)) = idle.min_by_key(|(_, c)| c.idle_since) {
            pooled.closed_to_new = true;
            endpoint.close(*id, ErrorCode::H3_NO_ERROR, b"");
        }
    }

    fn begin(&mut self, now: Instant, origin: &Origin, for_session: bool, endpoint: &mut Endpoint) {
        self.make_room(endpoint);
        let patience = self.connect_timeout;
        let alternative = self.alternatives.choose(origin, now, self.wall).cloned();
        let mut attempt = Attempt {
            origin: origin.clone(),
            alternative: alternative.clone(),
            for_session,
            lookup: None,
            addresses: VecDeque::new(),
            tried: Vec::new(),
            next_at: now,
            deadline: now + if alternative.is_some() { patience.min(ALTERNATIVE_TIMEOUT) } else { patience },
            refusal: None,
        };
        let target = alternative.as_ref().unwrap_or(origin);
        match target.host.parse::<IpAddr>() {
            Ok(ip) => {
                // `None` for an IPv6 address on a system without IPv6.
                attempt.addresses = reachable(vec![SocketAddr::new(ip, target.port)], self.local).unwrap_or_default();
                self.try_next(now, &mut attempt, endpoint);
            }
            Err(_) => {
                let id = self.next_question;
                self.next_question += 1;
                self.questions.push_back(Question { id, host: target.host.clone(), port: target.port });
                attempt.lookup = Some(id);
            }
        }
        self.attempts.push(attempt);
    }

    fn try_next(&mut self, now: Instant, attempt: &mut Attempt, endpoint: &mut Endpoint) {
        let Some(remote) = attempt.addresses.pop_front() else { return };
        if remote.port() == 0 {
            // No packet can be sent there.
            return attempt.addresses.clear();
        }
        attempt.next_at = now + ATTEMPT_DELAY;
        let siblings = self.conns.values().filter(|c| c.origin == attempt.origin);
        let max_active = siblings.map(|c| c.max_active).min().unwrap_or(usize::MAX);
        let ticket = self.tickets.get(&attempt.origin);
        // Neither SNI (RFC 6066 section 3) nor certificates have the dot that ends an absolute name.
        let host = attempt.origin.host.strip_suffix('.').unwrap_or(&attempt.origin.host);
        let made = endpoint.connect(now, host, self.local, remote, ticket);
        // A ticket that quiche cannot read is ignored.
        match made.or_else(|_| endpoint.connect(now, host, self.local, remote, None)) {
            Ok(id) => {
                attempt.tried.push(id);
                let pooled = Pooled {
                    origin: attempt.origin.clone(),
                    alternative: attempt.alternative.clone(),
                    ready: false,
                    closed_to_new: false,
                    for_session: attempt.for_session,
                    active: 0,
                    max_active,
                    blocked: false,
                    used: false,
                    idle_since: now,
                };
                self.conns.insert(id, pooled);
            }
            Err(e) => {
                log::debug!("cannot connect to {remote}: {e}");
                attempt.refusal = Some(e);
            }
        }
    }

    /// Handles the result of a look-up. Returns the origin if no connection to it is possible.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        id: u64,
        answer: io::Result<Vec<SocketAddr>>,
    ) -> Option<(Origin, ClientError)> {
        // `None` when it timed out.
        let position = self.attempts.iter().position(|a| a.lookup == Some(id))?;
        match answer.and_then(|all| reachable(all, self.local)) {
            Ok(addresses) => {
                let attempt = &mut self.attempts[position];
                (attempt.lookup, attempt.addresses) = (None, addresses);
                None
            }
            Err(source) => {
                let attempt = self.attempts.swap_remove(position);
                let host = attempt.origin.host.clone();
                self.failed(now, attempt, ClientError::Resolve { host, source: source.into() })
            }
        }
    }

    /// Tries addresses that became known, and further ones where the first do not answer. Returns the origins that
    /// cannot be connected to.
    pub(super) fn advance(&mut self, now: Instant, endpoint: &mut Endpoint) -> Vec<(Origin, ClientError)> {
        let mut failed = Vec::new();
        for mut attempt in std::mem::take(&mut self.attempts) {
            if attempt.next_at <= now || attempt.tried.is_empty() {
                self.try_next(now, &mut attempt, endpoint);
            }
            if attempt.deadline <= now {
                let error = self.give_up(&attempt, endpoint);
                failed.extend(self.failed(now, attempt, error));
            } else if attempt.is_hopeless() {
                let target = attempt.alternative.as_ref().unwrap_or(&attempt.origin);
                let cause = if target.port == 0 { unreachable() } else { unusable(attempt.refusal.as_ref()) };
                let host = attempt.origin.to_string();
                failed.extend(self.failed(now, attempt, ClientError::Handshake { host, cause }));
            } else {
                self.attempts.push(attempt);
            }
        }
        let max_idle = self.max_idle;
        for (id, pooled) in &mut self.conns {
            if pooled.idle_until(max_idle).is_some_and(|until| until <= now) {
                pooled.closed_to_new = true;
                endpoint.close(*id, ErrorCode::H3_NO_ERROR, b"");
            }
        }
        failed
    }

    /// An attempt has timed out.
    fn give_up(&mut self, attempt: &Attempt, endpoint: &mut Endpoint) -> ClientError {
        for id in &attempt.tried {
            // 0-RTT requests on it end with its handshake.
            if self.conns.get(id).is_some_and(|c| !c.ready) {
                endpoint.close(*id, ErrorCode::H3_NO_ERROR, b"");
                self.conns.remove(id);
            }
        }
        let seconds = self.connect_timeout.as_secs_f64();
        match attempt.lookup {
            Some(_) => {
                let source = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {seconds} s"));
                ClientError::Resolve { host: attempt.origin.host.clone(), source: source.into() }
            }
            None => ClientError::ConnectTimeout { host: attempt.origin.to_string(), seconds },
        }
    }

    /// All addresses failed. After an alternative the origin itself is tried, so requests keep waiting.
    fn failed<E>(&mut self, now: Instant, attempt: Attempt, error: E) -> Option<(Origin, E)> {
        match attempt.alternative {
            Some(alternative) => {
                self.alternatives.suspend(&attempt.origin, &alternative, now);
                None
            }
            None => Some((attempt.origin, error)),
        }
    }

    /// When [`advance`](Pool::advance) must be called next.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let next = |a: &Attempt| if a.addresses.is_empty() { a.deadline } else { a.deadline.min(a.next_at) };
        let idle = self.conns.values().filter_map(|pooled| pooled.idle_until(self.max_idle));
        self.attempts.iter().map(next).chain(idle).min()
    }

    /// Requests can be sent, possibly before the handshake is complete.
    pub(super) fn on_possible(&mut self, id: ConnId, endpoint: &Endpoint) {
        if let Some(pooled) = self.conns.get_mut(&id) {
            pooled.ready |= endpoint.is_early(id);
            pooled.blocked = false;
        }
    }

    /// A handshake is complete: abandons the other addresses.
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

    /// A connection has ended. If it was the last one of an attempt, returns the origin and the cause, for its requests
    /// to fail.
    pub(super) fn on_closed(&mut self, now: Instant, id: ConnId, cause: &CloseCause) -> Option<(Origin, CloseCause)> {
        self.conns.remove(&id);
        let position = self.attempts.iter().position(|a| a.tried.contains(&id))?;
        let attempt = &mut self.attempts[position];
        attempt.tried.retain(|tried| *tried != id);
        attempt.next_at = now;
        if !attempt.tried.is_empty() || !attempt.addresses.is_empty() {
            return None;
        }
        let attempt = self.attempts.swap_remove(position);
        self.failed(now, attempt, cause.clone())
    }

    /// Attempts at an address that ICMP reported as unreachable. Empty if several of its ports are, or just were, being
    /// tried, as the report does not name the port.
    pub(super) fn unreachable(&mut self, now: Instant, ip: IpAddr, endpoint: &Endpoint) -> Vec<ConnId> {
        let tried = self.attempts.iter().flat_map(|attempt| &attempt.tried);
        let peers = tried.filter_map(|id| Some((*id, endpoint.peer_addr(*id)?)));
        let there: Vec<_> = peers.filter(|(_, peer)| peer.ip().to_canonical() == ip).collect();
        self.given_up.retain(|(_, at)| now < *at + ICMP_REPEAT_WINDOW);
        let earlier = self.given_up.iter().map(|(peer, _)| peer).filter(|peer| peer.ip().to_canonical() == ip);
        let mut ports = there.iter().map(|(_, peer)| peer).chain(earlier).map(SocketAddr::port);
        let first = ports.next();
        if !ports.all(|port| Some(port) == first) {
            return Vec::new();
        }
        self.given_up.extend(there.iter().take(1).map(|(_, peer)| (*peer, now)));
        there.into_iter().map(|(id, _)| id).collect()
    }

    pub(super) fn began(&mut self, id: ConnId) {
        if let Some(pooled) = self.conns.get_mut(&id) {
            pooled.active += 1;
            pooled.used = true;
            self.useless.remove(&pooled.origin);
        }
    }

    /// An established connection accepts no more requests, or has ended. Returns the origin after too many connections
    /// that never carried a request.
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
        let origin = pooled.origin.clone();
        self.useless.remove(&origin);
        Some(origin)
    }

    /// Learns alternatives from a response, if they are enabled. False if the connection's alternative is invalid (RFC
    /// 7838 section 6), which then accepts no further requests.
    pub(super) fn on_response(&mut self, id: ConnId, head: &ResponseHead, learns: bool) -> bool {
        let Some(pooled) = self.conns.get_mut(&id) else { return true };
        match &pooled.alternative {
            Some(alternative) if head.status == StatusCode::MISDIRECTED_REQUEST => {
                self.alternatives.forget(&pooled.origin, alternative);
                pooled.closed_to_new = true;
                return false;
            }
            _ if learns => self.alternatives.learn(&pooled.origin, &head.headers, self.wall),
            _ => {}
        }
        true
    }

    /// A request or session has ended. A connection that accepts no more is closed after its last one.
    pub(super) fn ended(&mut self, now: Instant, id: ConnId, endpoint: &mut Endpoint) {
        let Some(pooled) = self.conns.get_mut(&id) else { return };
        pooled.active -= 1;
        pooled.idle_since = now;
        if pooled.active == 0 && pooled.closed_to_new {
            endpoint.close(id, ErrorCode::H3_NO_ERROR, b"");
        }
    }
}
