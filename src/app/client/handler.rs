//! Handlers of running requests, owned by the client or lent to it, and the context of a call.

use std::time::Instant;

use bytes::Bytes;

use super::error::ClientError;
use super::request::ResponseHandler;
use crate::app::stream_handler::Progress;
use crate::endpoint::{Endpoint, Stream};
use crate::error::Result;
use crate::h3::ResponseHead;

/// The handler of a request.
pub(super) enum Handler {
    Owned(Box<dyn ResponseHandler>),
    /// The one that each call of the client brings, see [`Cx::lent`].
    Lent,
}

/// The context of a call to a client: the time, the engine, and the handler that is lent for the call.
pub(in crate::app) struct Cx<'a> {
    pub(in crate::app) now: Instant,
    pub(in crate::app) endpoint: &'a mut Endpoint,
    pub(super) lent: Option<&'a mut dyn ResponseHandler>,
}

impl<'a> Cx<'a> {
    pub(in crate::app) fn new(now: Instant, endpoint: &'a mut Endpoint) -> Self {
        Cx { now, endpoint, lent: None }
    }
}

impl Handler {
    /// Calls the handler. `None` if it is no longer lent, after a panic in it.
    pub(super) fn with<T>(
        &mut self,
        lent: &mut Option<&mut dyn ResponseHandler>,
        call: impl FnOnce(&mut dyn ResponseHandler) -> T,
    ) -> Option<T> {
        match (self, lent) {
            (Handler::Owned(handler), _) => Some(call(&mut **handler)),
            (Handler::Lent, Some(handler)) => Some(call(&mut **handler)),
            (Handler::Lent, None) => None,
        }
    }

    pub(super) fn finished(
        mut self,
        lent: &mut Option<&mut dyn ResponseHandler>,
        result: std::result::Result<(), ClientError>,
    ) {
        self.with(lent, |handler| handler.finished(result));
    }
}

/// A handler of a user's, and how its request ended.
pub(super) struct Watched<'a> {
    pub(super) handler: &'a mut dyn ResponseHandler,
    pub(super) result: Option<std::result::Result<(), ClientError>>,
}

impl ResponseHandler for Watched<'_> {
    fn informational(&mut self, head: &ResponseHead) {
        self.handler.informational(head);
    }

    fn redirected(&mut self, url: &str) {
        self.handler.redirected(url);
    }

    fn response(&mut self, s: &mut Stream<'_>, head: &ResponseHead) -> Result<()> {
        self.handler.response(s, head)
    }

    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        self.handler.poll(s)
    }

    fn datagram(&mut self, s: &mut Stream<'_>, payload: Bytes) -> Result<()> {
        self.handler.datagram(s, payload)
    }

    fn restart(&mut self) -> bool {
        self.handler.restart()
    }

    fn finished(&mut self, result: std::result::Result<(), ClientError>) {
        self.result = Some(result.clone());
        self.handler.finished(result);
    }
}
