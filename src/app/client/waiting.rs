//! Requests and sessions that wait for a connection.

use std::time::Instant;

use http::StatusCode;

use super::error::ClientError;
use super::handler::{Cx, Handler};
use super::redirect;
use super::request::{ClientRequest, RequestId};
use crate::app::session::SessionHandler;

/// Times that a request which the server did not process is sent again.
const MAX_RETRIES: u8 = 3;

/// A request that waits or runs.
pub(super) struct Running {
    pub(super) id: RequestId,
    pub(super) request: ClientRequest,
    pub(super) handler: Handler,
    pub(super) deadline: Option<Instant>,
    pub(super) retries: u8,
    pub(super) redirects: usize,
    /// The head of the response arrived.
    pub(super) responded: bool,
}

impl Running {
    /// Whether it can be sent again; counts the retries.
    pub(super) fn may_restart(&mut self, cx: &mut Cx<'_>) -> bool {
        let may = self.retries < MAX_RETRIES && self.rewinds(cx);
        self.retries += u8::from(may);
        may
    }

    /// Goes on with the request that a redirect leads to.
    ///
    /// # Errors
    /// Why the redirect is not followed.
    pub(super) fn follow(
        &mut self,
        status: StatusCode,
        location: &str,
        cx: &mut Cx<'_>,
    ) -> std::result::Result<(), ClientError> {
        let max = self.request.max_redirects.unwrap_or_default();
        if self.redirects >= max {
            return Err(ClientError::TooManyRedirects(max));
        }
        self.redirects += 1;
        self.request = redirect::follow(&self.request, status, location)?;
        if !self.rewinds(cx) {
            let reason = "the body cannot be sent again".to_owned();
            return Err(ClientError::Redirect { location: location.to_owned(), reason });
        }
        self.handler.with(&mut cx.lent, |handler| handler.redirected(self.request.url()));
        Ok(())
    }

    /// Whether its body, if there is one, can be written again from the start.
    pub(super) fn rewinds(&mut self, cx: &mut Cx<'_>) -> bool {
        !self.request.has_body || self.handler.with(&mut cx.lent, |handler| handler.restart()).unwrap_or(false)
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

    pub(super) fn fail(self, error: ClientError, cx: &mut Cx<'_>) {
        match self {
            Waiting::Request(running) => running.handler.finished(&mut cx.lent, Err(error)),
            Waiting::Session(mut pending) => pending.handler.failed(&error),
        }
    }
}
