//! Requests and sessions that wait for a connection.

use std::time::Instant;

use super::error::ClientError;
use super::request::{ClientRequest, RequestId, ResponseHandler};
use crate::app::session::SessionHandler;

/// Times that a request which the server did not process is sent again.
const MAX_RETRIES: u8 = 3;

/// A request that waits or runs.
pub(super) struct Running {
    pub(super) id: RequestId,
    pub(super) request: ClientRequest,
    pub(super) handler: Box<dyn ResponseHandler>,
    pub(super) deadline: Option<Instant>,
    pub(super) retries: u8,
    /// The head of the response arrived.
    pub(super) responded: bool,
}

impl Running {
    /// Whether it can be sent again; counts the retries.
    pub(super) fn may_restart(&mut self) -> bool {
        let may = self.retries < MAX_RETRIES && (!self.request.has_body || self.handler.restart());
        self.retries += u8::from(may);
        may
    }
}

/// A session that the server has not answered yet.
pub(super) struct PendingSession {
    pub(super) request: ClientRequest,
    pub(super) handler: Box<dyn SessionHandler>,
    pub(super) deadline: Option<Instant>,
}

/// Requests and sessions that wait for a connection.
pub(super) enum Waiting {
    Request(Running),
    Session(PendingSession),
}

impl Waiting {
    pub(super) fn request(&self) -> &ClientRequest {
        match self {
            Waiting::Request(running) => &running.request,
            Waiting::Session(pending) => &pending.request,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Waiting::Request(running) => running.deadline,
            Waiting::Session(pending) => pending.deadline,
        }
    }

    pub(super) fn fail(self, error: ClientError) {
        match self {
            Waiting::Request(mut running) => running.handler.finished(Err(error)),
            Waiting::Session(mut pending) => pending.handler.failed(&error),
        }
    }
}
