//! What handlers return: a response, or an error that becomes one.

use std::error::Error;

use http::HeaderMap;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED,
};

use super::response::Response;
#[cfg(feature = "webtransport")]
use super::session::SessionResponse;
use crate::error::HttpError;

/// What a handler returns: a [`Response`], or a `Result` of one, whose error becomes the response. For a request for a
/// session it is a [`SessionResponse`](crate::SessionResponse) or a `Result` of one, whose error rejects the session.
///
/// There is one error type, [`HttpError`], into which `?` converts others: so closures need no type for it. Fields that
/// a [layer](crate::Router::layer) or the handler has set before stay in the response to an error, but for those that
/// describe the body, such as `etag`. An error with a 5xx status is logged with the route and its source.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "it returns `{T}` or `Result<{T}, HttpError>`; other errors become an `HttpError` by `?` with a `From`"
)]
pub trait HandlerResult<T> {
    /// The response or the error.
    ///
    /// # Errors
    /// That of the handler.
    fn into_result(self) -> Result<T, HttpError>;
}

impl HandlerResult<Response> for Response {
    fn into_result(self) -> Result<Response, HttpError> {
        Ok(self)
    }
}

#[cfg(feature = "webtransport")]
impl HandlerResult<SessionResponse> for SessionResponse {
    fn into_result(self) -> Result<SessionResponse, HttpError> {
        Ok(self)
    }
}

// No other `Result`, or the error of a closure would be ambiguous.
impl<T> HandlerResult<T> for Result<T, HttpError> {
    fn into_result(self) -> Result<T, HttpError> {
        self
    }
}

/// Names the type `!`, which stable Rust does not.
pub trait Returns {
    /// What the function returns.
    type Type;
}

impl<T> Returns for fn() -> T {
    type Type = T;
}

/// A closure that does not return, such as `|_, _| todo!()`.
impl<T> HandlerResult<T> for <fn() -> ! as Returns>::Type {
    fn into_result(self) -> Result<T, HttpError> {
        self
    }
}

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
