//! The server in a call from another thread.

use std::time::Instant;

use super::session::Session;
use super::sessions::Sessions;
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::stats::Stats;
use crate::transport::table::StreamId;

/// What a [`ServerHandle`](super::ServerHandle) wants of the server.
pub(super) type ServerCall = Box<dyn FnOnce(&mut ServerContext<'_>) + Send>;

/// A server in a call of [`ServerHandle::post`](super::ServerHandle::post).
pub struct ServerContext<'a> {
    pub(super) now: Instant,
    pub(super) endpoint: &'a mut Endpoint,
    pub(super) sessions: &'a mut Sessions,
}

impl std::fmt::Debug for ServerContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerContext").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl ServerContext<'_> {
    /// The time of this turn of the event loop.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.endpoint.stats()
    }

    /// The engine, for calls that this type does not offer.
    pub fn endpoint(&mut self) -> &mut Endpoint {
        self.endpoint
    }

    /// The ids of the open sessions.
    pub fn sessions(&self) -> Vec<StreamId> {
        self.sessions.ids().collect()
    }

    /// Uses a session; an error closes it. Returns false if it has ended.
    pub fn with_session(&mut self, id: StreamId, call: impl FnOnce(&mut Session<'_>) -> Result<()>) -> bool {
        let is_open = self.sessions.has(id);
        self.sessions.with(self.now, id, None, self.endpoint, |_, s| call(s));
        is_open
    }
}
