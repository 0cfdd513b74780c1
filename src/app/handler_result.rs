//! What handlers return: a response, or an error that becomes one.

use crate::error::HttpError;

/// What a handler returns: a [`Response`](crate::Response), or a `Result` of one, whose error becomes the response. For
/// a session it is a `SessionResponse`, or a `Result` of one, whose error rejects the session.
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

/// A closure that does not return, such as one that always panics.
impl<T> HandlerResult<T> for <fn() -> ! as Returns>::Type {
    fn into_result(self) -> Result<T, HttpError> {
        self
    }
}
