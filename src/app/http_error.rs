//! The responses to errors of handlers.

use std::error::Error;

use http::HeaderMap;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED,
};

use super::handler_result::HandlerResult;
use super::response::Response;
use crate::error::HttpError;

/// The fields that describe a body, or may, and are wrong for another one.
const OF_THE_BODY: [HeaderName; 6] =
    [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED];

impl HttpError {
    /// The response, with the fields that were set before. Logs the error if it is the server's.
    pub(super) fn respond(&self, route: Option<&str>, mut headers: HeaderMap) -> Response {
        let route = route.unwrap_or("-");
        let source = self.source().map(|source| format!(": {source}")).unwrap_or_default();
        let level = if self.status() < 500 { log::Level::Debug } else { log::Level::Error };
        log::log!(level, "{route}: {self}{source}");
        for name in OF_THE_BODY {
            headers.remove(name);
        }
        let mut response = Response::default().status(self.status());
        response.head.headers = headers;
        response.text(match self.text() {
            "" => format!("{self}\n"),
            text => format!("{text}\n"),
        })
    }
}

/// The response that a handler made, or that to its error, with the fields `begun` that were set before.
pub(super) fn answer(made: impl HandlerResult<Response>, route: Option<&str>, begun: HeaderMap) -> Response {
    made.into_result().unwrap_or_else(|error| error.respond(route, begun))
}
