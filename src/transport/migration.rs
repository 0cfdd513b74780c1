//! Supports any number of address changes, though quiche knows a bounded number of paths.
//!
//! quiche 0.30 keeps as many paths as connection ids and evicts only one that has no destination id, while it gives
//! every path the next spare id at once; with a peer whose ids are empty it evicts none. And it finds losses on a path
//! only by acknowledgements of later packets on it, so data in flight on an abandoned path would never be
//! retransmitted.
//!
//! So a path that quiche no longer sends on is probed: at its own address at once (RFC 9000 section 9.3.3), and at the
//! peer's next address as soon as that is validated. An acknowledgement makes quiche detect losses. When few places are
//! free, such paths are made to fail, the oldest first, but those with something in flight last: quiche has to challenge
//! them, and their packets are held back, until it abandons the path. If no path is free, a new address takes over the
//! place of a failed one, which quiche then validates like a new path.
//!
//! A path may fail before a probe of it is acknowledged. It is then probed again whenever quiche's timer says that data
//! in flight on it is still not acknowledged: quiche itself sends nothing more on it.
//!
//! The answer to a probe of a path that was never validated makes quiche consider the path validated, although nothing
//! was received from its address (section 8.2): a packet from there must take over another path, and be validated on
//! that.
//!
//! A server's path with less than 25 bytes left of the limit of section 8.1 fails in quiche at the first timeout after
//! a challenge, even if it was validated before. So `config/` makes quiche allow far more, and the limit of each path
//! is kept here.
//!
//! While an address is not validated, the path that quiche would fall back to is challenged once only, so that it does not
//! fail, too; see also [`silence`](super::silence).
//!
//! Nothing changes before quiche has authenticated a packet, except that a path is made to fail in time for a packet
//! that finds no free path.

use std::collections::VecDeque;
use std::net::SocketAddr;

use quiche::{PathEvent, RecvInfo, SendInfo};

use super::amplification::Amplification;
use super::buf::Quic;
use super::left::{Datagram, Left};
use super::path_state::{
    Addresses, Place, TakenOver, addresses, is_failed, is_reachable, is_validated, max_probe_len, send_on, stats,
};
use super::silence::Silence;
use crate::config::MAX_PATHS;

/// Room for a packet with a PATH_CHALLENGE frame.
pub(super) const MIN_CHALLENGE_DATAGRAM: usize = 64;
/// With fewer places free, or being freed, paths that were left are made to fail, which takes three probe timeouts.
const FREE: usize = 6;
/// Packets received on the active path without a response to its challenge, before the next one.
const MAX_UNANSWERED: usize = 4;
/// Packets received while quiche cannot send on the active path, before the connection is given up.
const MAX_STUCK: usize = 8;
/// Timeouts by which a datagram that found no room has been sent again.
const MAX_AWAITED: usize = 2 * MAX_PATHS;
/// Times that a failed path is probed again, with the pauses of a probe timeout that doubles.
const RETRIES: usize = 10;

/// The peer has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Migrated {
    /// The peer's address now.
    pub(crate) peer: SocketAddr,
}

/// The paths of a connection whose peer's address, or own, has changed.
#[derive(Debug)]
pub(super) struct Migration {
    /// The addresses validated last.
    current: Addresses,
    /// The path that quiche sends on, which may not be validated yet.
    active: Addresses,
    /// Paths that quiche no longer sends on, the oldest first.
    left: VecDeque<Left>,
    /// Addresses that took over the place of a path that failed.
    taken_over: Vec<TakenOver>,
    /// Paths with probes that the peer answers from another address than theirs, which were never validated at their
    /// own.
    answered_elsewhere: Vec<TakenOver>,
    /// A server's limits on sending to addresses that were never validated, by path.
    limits: Vec<(Addresses, Amplification)>,
    /// Packets received on the active path since it was challenged, while it is not validated.
    unanswered: usize,
    /// Timeouts for which no failed path is probed again, as a datagram from a new address found no room. Bounded, as
    /// that datagram may have been forged.
    awaited: usize,
    /// quiche cannot send on the active path, in general because of a connection id that the peer has retired
    /// (see [`issue_cid`](super::connection::Transport::issue_cid)).
    is_stuck: bool,
    /// Packets received since.
    stuck: usize,
    /// Of the active path.
    silence: Silence,
    /// Packets to send next.
    packets: VecDeque<Datagram>,
}

impl Migration {
    pub(super) fn new(first: Addresses) -> Self {
        Migration {
            current: first,
            active: first,
            left: VecDeque::new(),
            taken_over: Vec::new(),
            answered_elsewhere: Vec::new(),
            limits: Vec::new(),
            unanswered: 0,
            awaited: 0,
            is_stuck: false,
            stuck: 0,
            silence: Silence::default(),
            packets: VecDeque::new(),
        }
    }

    /// The peer's address.
    pub(super) fn peer(&self) -> SocketAddr {
        self.current.1
    }

    /// Passes a datagram to quiche on the path for its addresses. False in the result if no packet in it was authentic.
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
    ) -> Result<bool, quiche::Error> {
        let Some(place) = self.place(quic, actual) else {
            // The peer sends again, by the time that a path has failed.
            self.awaited = MAX_AWAITED;
            self.make_room(quic);
            return Err(quiche::Error::OutOfIdentifiers);
        };
        let (Place::Known(path) | Place::TakeOver(path)) = place;
        let (len, before) = (datagram.len(), quic.stats().recv);
        if let Some(own) = self.limit(path) {
            own.on_received(len, false);
        } else if actual == self.current {
            limit.on_received(len, to_our_id);
        }
        let is_new = quic.is_server() && path != self.active && stats(quic, path).is_none();
        let received = quic.recv(datagram, RecvInfo { to: path.0, from: path.1 });
        let is_authentic = quic.stats().recv > before;
        if is_authentic {
            self.stuck += usize::from(self.is_stuck);
            if matches!(place, Place::TakeOver(_)) {
                self.take_over(quic, path, actual, len);
            } else if is_new {
                self.set_limit(path, len);
            }
            self.limits.retain(|(path, _)| !is_reachable(quic, *path));
            self.received(quic, path);
            if actual == self.current && quic.is_established() {
                // Until the handshake was complete, everything went to this address, or it was validated later.
                *limit = Amplification::Validated;
            }
        }
        received.map(|_| is_authentic)
    }

    /// The path for a datagram with these addresses; `None` if there is no room for another path at the moment.
    fn place(&self, quic: &Quic, actual: Addresses) -> Option<Place> {
        if actual == self.current
            && let Some(stranded) = self.left.iter().find(|left| left.stranded)
        {
            return Some(Place::TakeOver(stranded.path));
        }
        if actual == self.current && self.taken_over.is_empty() {
            return Some(Place::Known(actual));
        }
        let is_unproven = self.answered_elsewhere.iter().any(|left| left.actual == actual);
        if let Some(taken) = self.taken_over.iter().find(|taken| taken.actual == actual && !is_unproven) {
            return Some(Place::Known(taken.path));
        }
        if !quic.is_server() {
            return Some(Place::Known((self.active.0, actual.1)));
        }
        let hidden = is_unproven || self.taken_over.iter().any(|taken| taken.path == actual);
        let known = !hidden && stats(quic, actual).is_some();
        if known || !quic.is_established() {
            return (!hidden).then_some(Place::Known(actual));
        }
        if !hidden && quic.path_stats().count() < MAX_PATHS {
            return Some(Place::Known(actual));
        }
        self.replaceable(quic).map(Place::TakeOver)
    }

    /// A path that quiche has abandoned. Any other one may have a challenge in flight, whose response would validate
    /// the path for the address that takes it over.
    fn replaceable(&self, quic: &Quic) -> Option<Addresses> {
        let current = self.path(self.current);
        // quiche reports only the first failure of a path.
        let failed = quic.path_stats().filter(|stats| !stats.active && is_failed(stats));
        let failed = failed.map(|stats| addresses(&stats)).filter(|path| *path != current);
        failed.max_by_key(|path| self.left.iter().any(|left| left.path == *path && left.settled))
    }

    /// Changes the addresses of a path.
    fn redirect(&mut self, path: Addresses, actual: Addresses) {
        self.left.retain(|left| left.path != path);
        // Another path keeps the same addresses, as what is sent on it must not go to those of its own, which may be a
        // stranger's. The newest is the one that counts.
        self.taken_over.retain(|taken| taken.path != path);
        self.answered_elsewhere.retain(|left| left.path != path && left.actual != actual);
        self.limits.retain(|(of, _)| *of != path);
        if path != actual || self.taken_over.iter().any(|taken| taken.actual == actual) {
            self.taken_over.insert(0, TakenOver { path, actual });
        }
    }

    /// A packet of `len` bytes from `actual` arrived on `path`, which takes these addresses.
    fn take_over(&mut self, quic: &mut Quic, path: Addresses, actual: Addresses, len: usize) {
        self.awaited = 0;
        self.redirect(path, actual);
        if !is_validated(quic, path) {
            // A challenge in flight went to the address before.
            let _ = quic.probe_path(path.0, path.1);
        }
        if actual != self.current {
            self.set_limit(path, len);
        }
    }

    /// The limit on sending on a path whose address is not validated yet.
    fn limit(&mut self, path: Addresses) -> Option<&mut Amplification> {
        self.limits.iter_mut().find(|(of, _)| *of == path).map(|(_, limit)| limit)
    }

    /// The first `len` bytes from an address arrived on a path.
    fn set_limit(&mut self, path: Addresses, len: usize) {
        let mut limit = Amplification::new(false);
        limit.on_received(len, false);
        self.limits.push((path, limit));
    }

    /// Makes a path fail, unless one is failing. A path that never became the active one goes first.
    fn make_room(&mut self, quic: &mut Quic) {
        if self.left.iter().any(|left| left.failing) {
            return;
        }
        let current = self.path(self.current);
        let is_other = |path: &Addresses| *path != current && self.left.iter().all(|left| left.path != *path);
        let other = quic.path_stats().filter(|stats| !stats.active).map(|stats| addresses(&stats)).find(is_other);
        if let Some(path) = other {
            self.left.push_front(Left::new(path, is_validated(quic, path)));
        }
        self.fail_oldest(quic);
    }

    /// Makes the oldest path fail on which nothing is in flight, or else the oldest.
    fn fail_oldest(&mut self, quic: &mut Quic) {
        let current = self.path(self.current);
        let others = self.left.iter_mut().filter(|left| !left.failing && left.path != current);
        if let Some(left) = others.min_by_key(|left| !left.settled) {
            left.fail(quic);
        }
    }

    /// Moves a client's connection to the address `local`. quiche continues on the only path that it knows, with a new
    /// id (RFC 9000 section 9.5) and the present congestion window, as section 9.4 allows when only the port changes.
    pub(super) fn migrate(&mut self, quic: &mut Quic, local: SocketAddr) -> Result<(), quiche::Error> {
        // The path is active already, so this only returns its id.
        let id = quic.migrate(self.active.0, self.active.1)?;
        match quic.retire_dcid(id) {
            // The server's ids are empty.
            Ok(()) | Err(quiche::Error::InvalidState) => {}
            Err(e) => return Err(e),
        }
        self.current = (local, self.current.1);
        self.taken_over = vec![TakenOver { path: self.active, actual: self.current }];
        // quiche repeats a PING until it is acknowledged, while a challenge that is lost three times ends the
        // connection.
        quic.send_ack_eliciting()
    }

    /// The next event of quiche that means a migration.
    pub(super) fn poll(&mut self, quic: &mut Quic) -> Option<Migrated> {
        for left in self.left.iter_mut().filter(|left| left.retrying) {
            if is_reachable(quic, left.path) {
                left.retrying = false;
                left.settled = true;
                if left.failing {
                    left.fail(quic);
                }
            }
        }
        for left in self.left.iter_mut().filter(|left| left.spared) {
            left.spared = false;
            left.fail(quic);
        }
        while let Some(event) = quic.path_event_next() {
            log::debug!("{event:?}");
            match event {
                PathEvent::PeerMigrated(local, peer) => {
                    let actual = self.actual((local, peer));
                    if actual != self.current {
                        self.current = actual;
                        self.probe_left(quic);
                        return Some(Migrated { peer: actual.1 });
                    }
                }
                PathEvent::Closed(local, peer) => {
                    self.left.retain(|left| left.path != (local, peer));
                    self.taken_over.retain(|taken| taken.path != (local, peer));
                    self.answered_elsewhere.retain(|left| left.path != (local, peer));
                    self.limits.retain(|(path, _)| *path != (local, peer));
                }
                _ => {}
            }
        }
        None
    }

    /// The peer's address has been validated. What was sent to the address before may be lost.
    fn probe_left(&mut self, quic: &mut Quic) {
        for left in self.left.iter_mut().filter(|left| !left.followed) {
            left.followed = true;
            // An answer would keep a failing path from failing.
            if !left.failing {
                left.probe(quic);
            }
        }
    }

    /// quiche's timers have run.
    pub(super) fn on_timeout(&mut self, quic: &mut Quic) {
        if self.left.is_empty() {
            self.silence = Silence::new(quic, self.active);
            return;
        }
        let before = self.active;
        self.follow(quic);
        let may_fail = !is_validated(quic, self.active) && self.has_other(quic);
        self.silence.on_timeout(quic, self.active, may_fail);
        if self.active != before {
            // The path failed, and quiche fell back to one that was validated before. The peer has not moved.
            self.redirect(self.active, self.current);
        }
        if self.is_unproven(self.active) {
            self.challenge_again(quic);
        }
        let paths: Vec<_> = quic.path_stats().collect();
        let find = |left: &Left| paths.iter().find(|stats| addresses(stats) == left.path);
        let has_timed_out = |left: &Left| find(left).is_some_and(|stats| stats.total_pto_count != left.timeouts);
        for left in self.left.iter_mut().filter(|left| left.failing && has_timed_out(left)) {
            left.fail(quic);
        }
        if let Some(awaited) = self.awaited.checked_sub(1) {
            self.awaited = awaited;
            return;
        }
        let failed = self.left.iter().filter_map(find).filter(|stats| is_failed(stats)).count();
        // One place stays free for the peer's next address.
        let mut free = MAX_PATHS - paths.len() + failed;
        for left in self.left.iter_mut().filter(|left| !left.settled && left.retries < RETRIES) {
            let Some(stats) = find(left).filter(|stats| stats.total_pto_count != left.timeouts) else { continue };
            if is_failed(stats) {
                if free < 2 {
                    continue;
                }
                free -= 1;
            } else if left.failing {
                continue;
            }
            left.timeouts = stats.total_pto_count;
            left.retries += 1;
            left.probe(quic);
        }
    }

    /// Notices that quiche sends on another path than before.
    fn follow(&mut self, quic: &mut Quic) {
        let active = quic.path_stats().find(|stats| stats.active);
        if let Some(stats) = active {
            self.leave(quic, addresses(&stats));
        }
    }

    /// Whether quiche could fall back to a path if the active one failed.
    fn has_other(&self, quic: &Quic) -> bool {
        let is_failing = |path| self.left.iter().any(|left| left.failing && left.path == path);
        let mut others = quic.path_stats().filter(|stats| !stats.active).map(|stats| addresses(&stats));
        others.any(|path| is_validated(quic, path) && !is_failing(path))
    }

    /// quiche sends on `path` from now on.
    fn leave(&mut self, quic: &mut Quic, path: Addresses) {
        let old = std::mem::replace(&mut self.active, path);
        if old == path {
            return;
        }
        self.silence = Silence::new(quic, path);
        self.left.retain(|left| left.path != path);
        if !is_validated(quic, path) {
            // A challenge in flight may have gone to another address.
            let _ = quic.probe_path(path.0, path.1);
        }
        let _ = quic.probe_path(old.0, old.1);
        let proven = is_validated(quic, old) && self.answered_elsewhere.iter().all(|left| left.path != old);
        self.left.push_back(Left::new(old, proven));
        let is_kept = |stats: &quiche::PathStats| {
            !is_failed(stats) && !self.left.iter().any(|left| left.failing && left.path == addresses(stats))
        };
        if quic.path_stats().filter(is_kept).count() + FREE > MAX_PATHS {
            self.fail_oldest(quic);
        }
    }

    /// Whether the peer seems to have moved, and its address is not validated yet.
    pub(super) fn is_moving(&self) -> bool {
        self.is_unproven(self.active)
    }

    /// The next packet of quiche. On the active path it has at most `allowed` bytes.
    pub(super) fn send(
        &mut self,
        quic: &mut Quic,
        buf: &mut [u8],
        allowed: usize,
    ) -> Result<(usize, SendInfo), quiche::Error> {
        // quiche would choose a path without regard to our limits.
        let is_limited = self.limits.iter().any(|(path, _)| !self.is_left(*path));
        let silence = self.silence.limit(quic);
        // The path that quiche would fall back to.
        let spare = self.is_moving().then(|| self.path(self.current));
        let chooses = is_limited || silence.is_some() || spare.is_some();
        if !chooses {
            let sent = if allowed > 0 { quic.send(&mut buf[..allowed]) } else { Err(quiche::Error::Done) };
            // A probe that cannot be sent keeps quiche from sending anything on a path of its own choice: it exceeds
            // the path's congestion window (`Done`), or the local id of its path is one that the peer took to another
            // path and has retired (`InvalidState`).
            if !matches!(sent, Err(quiche::Error::Done | quiche::Error::InvalidState)) || self.left.is_empty() {
                return sent;
            }
        }
        if let Some(allowed) = self.allowed(self.active, allowed).filter(|allowed| *allowed > 0) {
            let allowed = silence.map_or(allowed, |limit| limit.min(allowed));
            let sent = send_on(quic, &mut buf[..allowed], self.active);
            self.is_stuck = matches!(sent, Err(quiche::Error::InvalidState));
            if !self.is_stuck {
                self.stuck = 0;
            }
            if sent.is_ok() || self.stuck > MAX_STUCK {
                return sent;
            }
        }
        for left in &mut self.left {
            if left.challenged && spare == Some(left.path) {
                continue;
            }
            let sent = send_on(quic, buf, left.path);
            left.stranded = !self.is_stuck && matches!(sent, Err(quiche::Error::InvalidState));
            if sent.is_ok() {
                left.challenged = true;
                return sent;
            }
        }
        let others: Vec<_> =
            if chooses { quic.path_stats().map(|path| addresses(&path)).collect() } else { Vec::new() };
        for path in others.into_iter().filter(|path| *path != self.active && !self.is_left(*path)) {
            if let Some(allowed) = self.allowed(path, buf.len())
                && let Ok(sent) = send_on(quic, &mut buf[..allowed], path)
            {
                return Ok(sent);
            }
        }
        Err(quiche::Error::Done)
    }

    /// Whether quiche no longer sends on a path; what it writes for it nevertheless goes to the peer's validated
    /// address.
    fn is_left(&self, path: Addresses) -> bool {
        self.left.iter().any(|left| left.path == path)
    }

    /// The destination of a packet; `None` to drop it. A copy may also have [to be sent](Migration::take_packet).
    pub(super) fn outgoing(&mut self, quic: &Quic, packet: &[u8], info: SendInfo) -> Option<SendInfo> {
        let path = (info.from, info.to);
        if path == self.active && self.taken_over.is_empty() {
            return Some(info);
        }
        let (from, to) = self.actual(path);
        let own = SendInfo { from, to, ..info };
        let Some(left) = self.left.iter_mut().find(|left| left.path == path) else { return Some(own) };
        if (from, to) == self.current {
            return Some(own);
        }
        let passing = std::mem::take(&mut left.passing);
        let is_probe = packet.len() <= max_probe_len(quic);
        // Other frames, if they are lost, need another probe.
        left.settled &= is_probe;
        if left.failing && !passing && is_probe {
            return None;
        }
        // Its acknowledgement would make quiche consider the challenges before lost, and stop its timer.
        left.spared = left.failing;
        if (passing || !left.failing) && !std::mem::replace(&mut left.probed, true) {
            self.packets.push_back((packet.to_vec(), own));
        }
        if !left.proven {
            self.note_answered_elsewhere(path);
        }
        Some(SendInfo { from: self.current.0, to: self.current.1, ..info })
    }

    /// The peer gets a probe of `path` at its present address. The answer makes quiche consider the path validated,
    /// although it did not come from the path's own address.
    fn note_answered_elsewhere(&mut self, path: Addresses) {
        let actual = self.actual(path);
        if self.answered_elsewhere.iter().all(|left| left.path != path) {
            self.answered_elsewhere.push(TakenOver { path, actual });
        }
    }

    /// An authentic packet arrived on `path`.
    fn received(&mut self, quic: &mut Quic, path: Addresses) {
        if path != self.active {
            self.follow(quic);
        }
        self.silence.on_received();
        if let Some(left) = self.left.iter_mut().find(|left| left.path == path) {
            left.challenged = false;
        }
        if path == self.active && self.is_unproven(path) {
            self.unanswered += 1;
            if self.unanswered > MAX_UNANSWERED {
                self.challenge_again(quic);
            }
        }
        self.revive(quic, path);
    }

    /// Whether a path has other addresses than those validated last.
    fn is_unproven(&self, path: Addresses) -> bool {
        self.actual(path) != self.current
    }

    /// quiche repeats a challenge only if it is lost, not if the response is.
    fn challenge_again(&mut self, quic: &mut Quic) {
        self.unanswered = 0;
        if !is_validated(quic, self.active) {
            let _ = quic.probe_path(self.active.0, self.active.1);
        }
    }

    /// A second packet in a row on a path that quiche abandoned would end the connection, as long as quiche has not
    /// sent a challenge on it, so that is sent at once.
    fn revive(&mut self, quic: &mut Quic, path: Addresses) {
        let is_given_up = stats(quic, path).is_some_and(|stats| is_failed(&stats));
        if path == self.path(self.current) && !is_given_up || is_validated(quic, path) || !quic.is_established() {
            return;
        }
        let Some(room) = self.allowed(path, quic.max_send_udp_payload_size()) else { return };
        let mut packet = vec![0; room];
        let Ok((len, info)) = send_on(quic, &mut packet, path) else { return };
        packet.truncate(len);
        if let Some(limit) = self.limit(path) {
            limit.on_sent(len);
        }
        if let Some(sent) = self.outgoing(quic, &packet, info) {
            self.packets.push_back((packet, sent));
        }
    }

    /// How many of `wanted` bytes the next packet on a path may have; `None` if not enough for a challenge.
    fn allowed(&self, path: Addresses, wanted: usize) -> Option<usize> {
        let limit = self.limits.iter().find(|(of, _)| *of == path);
        limit.map_or(Some(wanted), |(_, limit)| limit.allowed(wanted, MIN_CHALLENGE_DATAGRAM))
    }

    /// A packet was written for a path. `limit` is that on the connection's first address.
    pub(super) fn on_sent(&mut self, info: &SendInfo, len: usize, limit: &mut Amplification) {
        let path = (info.from, info.to);
        if !self.is_left(path) {
            self.limit(path).unwrap_or(limit).on_sent(len);
        }
    }

    pub(super) fn take_packet(&mut self) -> Option<Datagram> {
        self.packets.pop_front()
    }

    fn actual(&self, path: Addresses) -> Addresses {
        self.taken_over.iter().find(|taken| taken.path == path).map_or(path, |taken| taken.actual)
    }

    fn path(&self, actual: Addresses) -> Addresses {
        self.taken_over.iter().find(|taken| taken.actual == actual).map_or(actual, |taken| taken.path)
    }
}
