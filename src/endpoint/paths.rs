//! Connection ids and paths: new ones, retired ones, and moves from one address to another (RFC 9000 section 9).

use std::net::SocketAddr;

use super::conn::Conn;
use super::{CidChange, Core};
use crate::quic::cid::Cid;
use crate::quic::table::ConnId;

/// Connection ids that a client holds at a time: one in use and two for migration.
const ACTIVE_CIDS: usize = 3;
/// Paths that a connection has left and may still have something in flight on.
const MAX_LEFT_PATHS: usize = 4;

impl Conn {
    pub(super) fn poll_cids_and_paths(&mut self, id: ConnId, core: &mut Core) {
        while let Some(retired) = self.quic.retired_scid_next() {
            if let Some(cid) = Cid::from_slice(&retired) {
                core.cid_changes.push((id, CidChange::Retired(cid)));
            }
        }
        if self.quic.is_established() && !self.quic.is_closed() {
            while self.quic.scids_left() > 0 && self.quic.active_scids() < ACTIVE_CIDS {
                let (cid, reset_token) = core.cids.next();
                if self.quic.new_scid(&cid.to_quiche(), reset_token, false).is_err() {
                    break;
                }
                core.cid_changes.push((id, CidChange::Added(cid)));
            }
        }
        while let Some(event) = self.quic.path_event_next() {
            log::debug!("{id:?}: {event:?}");
            if let quiche::PathEvent::PeerMigrated(local, peer) = event {
                core.stats.migrations += 1;
                let old = std::mem::replace(&mut self.peer, peer);
                self.leave_path(local, old);
            }
        }
    }

    /// The connection has moved away from a path.
    ///
    /// quiche finds out what was lost on a path by acknowledgements of later packets on it, of which there are none any
    /// more, so what was in flight there and got lost would never be sent again. A probe of that path, which is sent
    /// [where the peer is now](Conn::destination), is acknowledged, and makes it look.
    pub(super) fn leave_path(&mut self, local: SocketAddr, peer: SocketAddr) {
        match self.quic.probe_path(local, peer) {
            Ok(_) => self.left_paths.push((local, peer)),
            Err(e) => log::debug!("the path that was left cannot be probed: {e}"),
        }
        if self.left_paths.len() > MAX_LEFT_PATHS {
            self.left_paths.remove(0);
        }
    }

    /// Where a packet of quiche's goes.
    pub(super) fn destination(&self, info: &quiche::SendInfo) -> SocketAddr {
        match self.left_paths.contains(&(info.from, info.to)) {
            true => self.peer,
            false => info.to,
        }
    }
}
