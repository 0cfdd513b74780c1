//! Supports any number of address changes, though quiche knows a bounded number of paths.
//!
//! quiche 0.30 keeps as many paths as connection ids and evicts only one that has no destination id, while it gives every
//! path the next spare id at once; with a peer whose ids are empty it evicts none. And it finds losses on a path only by
//! acknowledgements of later packets on it, so data in flight on an abandoned path would never be retransmitted.
//!
//! So an abandoned path is probed once more. The probe goes to its own address (RFC 9000 section 9.3.3), and a copy to
//! the peer's current address, whose acknowledgement makes quiche detect losses. The oldest of several abandoned paths
//! are made to fail: their packets are dropped until quiche abandons them. If no path is free, a new address takes over
//! the place of a failed one, which quiche then validates like a new path.

use std::collections::VecDeque;
use std::net::SocketAddr;

use quiche::{PathEvent, SendInfo};

use super::amplification::Amplification;
use super::buf::Quic;
use crate::config::MAX_PATHS;

/// The local address and the peer's.
type Addresses = (SocketAddr, SocketAddr);

/// Room for a packet with a PATH_CHALLENGE frame.
pub(super) const MIN_CHALLENGE_DATAGRAM: usize = 64;
/// With more abandoned paths than this, the oldest ones are made to fail, so that one is free in time.
const KEPT: usize = MAX_PATHS / 2;
/// Times that a path that was left is probed again.
const RETRIES: usize = 10;

/// The peer has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Migrated {
    /// The peer's address now.
    pub(crate) peer: SocketAddr,
}

#[derive(Debug)]
pub(super) struct Paths {
    current: Addresses,
    /// Paths that the connection has abandoned, the oldest first.
    left: VecDeque<Left>,
    /// Addresses that took over the place of a path that failed.
    taken_over: Vec<TakenOver>,
    /// The path that is not validated, with a limit on sending, although quiche considers it validated.
    limited: Option<Addresses>,
    /// Packets to send next.
    packets: VecDeque<(Vec<u8>, SendInfo)>,
}

#[derive(Debug)]
struct Left {
    path: Addresses,
    /// Its own address was probed.
    probed: bool,
    /// Its packets are dropped, until quiche abandons it.
    failing: bool,
    /// Probes after failed ones.
    retries: usize,
}

#[derive(Debug)]
struct TakenOver {
    /// The path that quiche knows.
    path: Addresses,
    /// The actual addresses of its packets.
    actual: Addresses,
}

impl Paths {
    pub(super) fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        Paths {
            current: (local, peer),
            left: VecDeque::new(),
            taken_over: Vec::new(),
            limited: None,
            packets: VecDeque::new(),
        }
    }

    /// The peer's address.
    pub(super) fn peer(&self) -> SocketAddr {
        self.current.1
    }

    /// The path to report to quiche for a datagram with these addresses; `None` if there is no room for a further path
    /// at the moment.
    pub(super) fn incoming(
        &mut self,
        quic: &mut Quic,
        actual: Addresses,
        limit: &mut Amplification,
    ) -> Option<Addresses> {
        if actual == self.current && self.taken_over.is_empty() {
            return Some(actual);
        }
        if let Some(taken) = self.taken_over.iter().find(|taken| taken.actual == actual) {
            return Some(taken.path);
        }
        let hidden = self.taken_over.iter().any(|taken| taken.path == actual);
        let known = !hidden && quic.path_stats().any(|path| (path.local_addr, path.peer_addr) == actual);
        if known || !quic.is_server() || !quic.is_established() {
            return (!hidden).then_some(actual);
        }
        if !hidden && quic.path_stats().count() < MAX_PATHS {
            return Some(actual);
        }
        let path = self.take_failed(quic)?;
        self.taken_over.push(TakenOver { path, actual });
        // A challenge under way went to the address before.
        let _ = quic.probe_path(path.0, path.1);
        // quiche considers the path's address validated.
        *limit = Amplification::new(false);
        self.limited = Some(path);
        Some(path)
    }

    /// Replaces a path that quiche has abandoned, or that was abandoned before it was validated.
    fn take_failed(&mut self, quic: &Quic) -> Option<Addresses> {
        let current = self.path(self.current);
        // quiche reports only the first failure of a path.
        let unused = quic.path_stats().filter(|stats| !stats.active);
        let mut unused = unused.map(|stats| (stats.local_addr, stats.peer_addr)).filter(|path| *path != current);
        let path = unused.find(|path| !is_validated(quic, *path))?;
        self.left.retain(|left| left.path != path);
        self.taken_over.retain(|taken| taken.path != path);
        Some(path)
    }

    /// Moves a client's connection to the address `local`.
    pub(super) fn migrate(&mut self, quic: &mut Quic, local: SocketAddr) -> Result<(), quiche::Error> {
        let actual = (local, self.current.1);
        let moved = match quic.migrate_source(local) {
            Err(quiche::Error::OutOfIdentifiers) => {
                // The path abandoned first has since got an id that was not used yet.
                let Some(Left { path, .. }) = self.left.front() else {
                    return Err(quiche::Error::OutOfIdentifiers);
                };
                let path = *path;
                quic.migrate(path.0, path.1)?;
                self.left.pop_front();
                self.taken_over.retain(|taken| taken.path != path);
                self.taken_over.push(TakenOver { path, actual });
                Ok(())
            }
            moved => moved.map(drop),
        };
        moved?;
        self.leave(quic, actual);
        Ok(())
    }

    /// The next event of quiche that means a migration.
    pub(super) fn poll(&mut self, quic: &mut Quic, limit: &mut Amplification) -> Option<Migrated> {
        if self.limited.is_some_and(|path| is_reachable(quic, path)) {
            self.limited = None;
            *limit = Amplification::Validated;
        }
        self.probe_again(quic);
        while let Some(event) = quic.path_event_next() {
            log::debug!("{event:?}");
            match event {
                PathEvent::PeerMigrated(local, peer) => {
                    let actual = self.actual((local, peer));
                    if actual != self.current {
                        self.leave(quic, actual);
                        return Some(Migrated { peer: actual.1 });
                    }
                }
                PathEvent::Closed(local, peer) => {
                    self.left.retain(|left| left.path != (local, peer));
                    self.taken_over.retain(|taken| taken.path != (local, peer));
                }
                _ => {}
            }
        }
        None
    }

    /// A path that was left is probed again when the probes of it were lost: what was in flight on it, such as flow
    /// control credit, is sent again only when one is acknowledged.
    fn probe_again(&mut self, quic: &mut Quic) {
        for left in self.left.iter_mut().filter(|left| left.probed && !left.failing && left.retries < RETRIES) {
            if is_failed(quic, left.path) {
                left.retries += 1;
                // Fails for the only id that is left.
                let _ = quic.probe_path(left.path.0, left.path.1);
            }
        }
    }

    /// The connection continues at `actual`.
    fn leave(&mut self, quic: &mut Quic, actual: Addresses) {
        let old = std::mem::replace(&mut self.current, actual);
        let path = self.path(old);
        let new = self.path(actual);
        self.left.retain(|left| left.path != new);
        if path == new {
            return;
        }
        // An id must not be used from two local addresses (RFC 9000 section 9.5). On a server paths may share an id,
        // and retiring one would break the other.
        if !quic.is_server()
            && let Ok(id) = quic.probe_path(path.0, path.1)
        {
            // Fails for the only id that is left.
            let _ = quic.retire_dcid(id);
        }
        let _ = quic.probe_path(path.0, path.1);
        self.left.push_back(Left { path, probed: false, failing: false, retries: 0 });
        if self.left.len() > KEPT
            && let Some(left) = self.left.iter_mut().find(|left| !left.failing)
        {
            left.failing = true;
            let _ = quic.probe_path(left.path.0, left.path.1);
        }
    }

    /// The destination of a packet; `None` to drop it. A copy may also have [to be sent](Paths::take_packet).
    pub(super) fn outgoing(&mut self, packet: &[u8], info: SendInfo) -> Option<SendInfo> {
        let path = (info.from, info.to);
        if path == self.current && self.taken_over.is_empty() {
            return Some(info);
        }
        let (from, to) = self.actual(path);
        let Some(left) = self.left.iter_mut().find(|left| left.path == path) else {
            return Some(SendInfo { from, to, ..info });
        };
        if left.failing {
            return None;
        }
        if !std::mem::replace(&mut left.probed, true) {
            self.packets.push_back((packet.to_vec(), SendInfo { from, to, ..info }));
        }
        Some(SendInfo { from: self.current.0, to: self.current.1, ..info })
    }

    /// A packet arrived on `path`. A second one in a row on a path that quiche abandoned would end the connection, as
    /// long as quiche has not sent a challenge on it, so that is sent at once.
    pub(super) fn revive(&mut self, quic: &mut Quic, path: Addresses, limit: &mut Amplification) {
        if path == self.path(self.current) || is_validated(quic, path) || !quic.is_established() {
            return;
        }
        // Challenges on other paths may precede it.
        for _ in 0..=MAX_PATHS {
            let Some(room) = limit.allowed(quic.max_send_udp_payload_size(), MIN_CHALLENGE_DATAGRAM) else { return };
            let mut packet = vec![0; room];
            let Ok((len, info)) = quic.send(&mut packet) else { return };
            packet.truncate(len);
            let is_challenge = (info.from, info.to) == path;
            if is_challenge {
                limit.on_sent(len);
            }
            if let Some(sent) = self.outgoing(&packet, info) {
                self.packets.push_back((packet, sent));
            }
            if is_challenge {
                return;
            }
        }
    }

    /// Whether data sent on a path counts against the limit for addresses that are not validated.
    pub(super) fn is_limited(&self, info: &SendInfo) -> bool {
        self.limited.is_none_or(|path| path == (info.from, info.to))
    }

    pub(super) fn take_packet(&mut self) -> Option<(Vec<u8>, SendInfo)> {
        self.packets.pop_front()
    }

    fn actual(&self, path: Addresses) -> Addresses {
        self.taken_over.iter().find(|taken| taken.path == path).map_or(path, |taken| taken.actual)
    }

    fn path(&self, actual: Addresses) -> Addresses {
        self.taken_over.iter().find(|taken| taken.actual == actual).map_or(actual, |taken| taken.path)
    }
}

fn is_validated(quic: &Quic, (local, peer): Addresses) -> bool {
    quic.is_path_validated(local, peer).unwrap_or(false)
}

/// Whether quiche gave the validation of a path up.
fn is_failed(quic: &Quic, path: Addresses) -> bool {
    let stats = quic.path_stats().find(|stats| (stats.local_addr, stats.peer_addr) == path);
    stats.is_some_and(|stats| format!("{:?}", stats.validation_state) == "Failed")
}

/// Whether a challenge on a path was answered, possibly one too small to validate the path. quiche does not export the
/// type of the state that says so.
fn is_reachable(quic: &Quic, path: Addresses) -> bool {
    let stats = quic.path_stats().find(|stats| (stats.local_addr, stats.peer_addr) == path);
    stats.is_some_and(|stats| ["ValidatingMTU", "Validated"].contains(&&*format!("{:?}", stats.validation_state)))
}
