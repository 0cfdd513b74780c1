//! State that all connections of an endpoint share, and the context of a call to a connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use super::backlog::Backlog;
use super::event::Event;
use super::first_flight::FailedFlights;
use super::handshakes::Handshakes;
use super::logs::Logs;
use super::prefix::Prefix;
use super::shares::Shares;
use super::stateless::Stateless;
use super::verify::ServerVerifier;
use super::workers::Worker;
use crate::config::EndpointConfig;
use crate::stats::{Distributions, Stats};
use crate::transport::TokenRoom;
use crate::transport::cid::{Cid, CidGenerator};
use crate::transport::table::{ConnId, StreamId};
use crate::transport::timers::{TimerKey, Timers};
use crate::transport::token::TokenKey;

/// Which side of its connections an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// State that all connections share.
pub(crate) struct Core {
    pub(super) role: Role,
    pub(crate) settings: EndpointConfig,
    pub(super) verifier: ServerVerifier,
    pub(super) quic: quiche::Config,
    pub(super) h3: quiche::h3::Config,
    pub(super) logs: Logs,
    pub(super) cids: CidGenerator,
    pub(super) tokens: TokenKey,
    pub(super) token_room: TokenRoom,
    pub(crate) timers: Timers<TimerKey>,
    pub(super) events: VecDeque<Event>,
    pub(crate) stats: Stats,
    pub(super) distributions: Distributions,
    /// Connections to drive.
    pub(super) dirty: VecDeque<ConnId>,
    /// Connections to continue with in the next turn, and datagrams for them.
    pub(super) postponed: Vec<ConnId>,
    pub(super) backlog: Backlog,
    /// Connections that may have something to send.
    pub(super) sending: VecDeque<ConnId>,
    /// Packets without a connection.
    pub(super) stateless: Stateless,
    /// First flights that failed.
    pub(super) failed: FailedFlights,
    /// Handshakes in progress.
    pub(super) handshakes: Handshakes,
    pub(super) shares: Shares,
    pub(super) worker: Worker,
    /// Small pieces of streams that quiche holds on all connections together.
    pub(super) held_pieces: f64,
    pub(super) recounted_at: Instant,
    /// Open sessions.
    pub(super) sessions: usize,
    /// A graceful shutdown is in progress.
    pub(super) shutting_down: bool,
    /// Changes to the table requested by a connection while it is borrowed from it.
    pub(super) cid_changes: Vec<(ConnId, CidChange)>,
}

#[derive(Debug)]
pub(super) enum CidChange {
    Added(Cid),
    Retired(Cid),
}

/// The context of a call to a connection: the time, its id, and the shared state.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    pub(crate) conn: ConnId,
    pub(crate) core: &'a mut Core,
}

impl Cx<'_> {
    /// The full id of a stream of this connection.
    pub(super) fn id(&self, stream: u64) -> StreamId {
        StreamId { conn: self.conn, id: stream }
    }

    /// Counts a request of `peer`'s network. False if there are too many in a second.
    pub(super) fn is_within_rate(&mut self, peer: SocketAddr) -> bool {
        self.core.worker.is_within_rate(self.now, Prefix::of(peer))
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.core.events.push_back(event);
    }

    /// Queues a `Ready` event unless one is queued already.
    pub(super) fn notify_ready(&mut self, queued: &mut bool, stream: u64) {
        if !std::mem::replace(queued, true) {
            self.emit(Event::Ready(self.id(stream)));
        }
    }
}
