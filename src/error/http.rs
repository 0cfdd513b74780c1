//! Errors that have a response.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;

use http::StatusCode;

use super::{Error, ParamError, StreamError};

type Source = Box<dyn StdError + Send + Sync>;

/// An error of a handler, which the client gets as a response: a status and a text. It may have a source, which is
/// logged and not sent.
///
/// A handler that returns `Result<Response, HttpError>` can use `?`. Of this crate's errors, [`ParamError`] is a 400,
/// and all others are a 500 whose text says no more; a number is an error of that status. Errors of your own are
/// converted by a `From` of yours, or by `map_err`.
///
/// ```
/// use mio_quiche::{HttpError, Request, Response, Router};
///
/// enum StoreError {
///     NoSuchNote,
///     Unreachable(std::io::Error),
/// }
///
/// impl From<StoreError> for HttpError {
///     fn from(error: StoreError) -> Self {
///         match error {
///             StoreError::NoSuchNote => HttpError::new(404, "no such note"),
///             StoreError::Unreachable(error) => HttpError::new(503, "try again later").with_source(error),
///         }
///     }
/// }
///
/// fn find(id: u64) -> Result<String, StoreError> {
///     if id == 7 { Ok("buy milk\n".to_owned()) } else { Err(StoreError::NoSuchNote) }
/// }
///
/// fn show(req: &Request, res: Response) -> Result<Response, HttpError> {
///     let id = req.param_as("id")?;
///     Ok(res.text(find(id)?))
/// }
///
/// let router = Router::new()
///     .get("/notes/:id", show)
///     // A closure needs no type.
///     .get("/double/:n", |req, res| {
///         let n: u64 = req.param_as("n")?;
///         let double = n.checked_mul(2).ok_or(422)?;
///         Ok(res.json(&double))
///     });
/// assert!(router.check().is_ok());
/// ```
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    text: Cow<'static, str>,
    source: Option<Source>,
}

/// Number and phrase, such as `404 Not Found`; of a status without a phrase the number, as its `Display` would add that
/// it is unknown.
pub(crate) fn status_name(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(phrase) => format!("{} {phrase}", status.as_str()),
        None => status.as_str().to_owned(),
    }
}

impl HttpError {
    /// An error with a 4xx or 5xx status, and a text for the client: a line without its end, or empty for the status's
    /// phrase. Any other status becomes 500.
    pub fn new(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        match StatusCode::from_u16(status) {
            Ok(status) if status.is_client_error() || status.is_server_error() => {
                HttpError { status, text: text.into(), source: None }
            }
            _ => HttpError::internal(format!("{status} is not the status of an error")),
        }
    }

    /// A 500 because of an error that is none of the client's business: it is only logged.
    pub fn internal(source: impl Into<Source>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        HttpError { status, text: Cow::Borrowed(""), source: Some(source.into()) }
    }

    /// Adds what caused the error, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The response's status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The text for the client, which may be empty.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.text {
            "" => f.write_str(&status_name(self.status)),
            text => f.write_str(text),
        }
    }
}

impl StdError for HttpError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// An error of this status without a text.
impl From<u16> for HttpError {
    fn from(status: u16) -> Self {
        HttpError::new(status, "")
    }
}

/// A 400 with the error's text; a 500 for a parameter that the route does not have.
impl From<ParamError> for HttpError {
    fn from(error: ParamError) -> Self {
        match error {
            ParamError::Missing { .. } => HttpError::internal(error),
            error => HttpError::new(400, error.to_string()),
        }
    }
}

/// A 500.
impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        HttpError::internal(error)
    }
}

/// The `HttpError` that it was made from; a 413 for [`StreamError::BodyTooLarge`]; a 500 for all else.
impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        match error {
            Error::Handler(inner) => match inner.downcast::<HttpError>() {
                Ok(error) => *error,
                Err(inner) => HttpError::internal(inner),
            },
            Error::Stream(StreamError::BodyTooLarge { .. }) => HttpError::from(413).with_source(error),
            error => HttpError::internal(error),
        }
    }
}

/// For a [`StreamHandler`](crate::StreamHandler), whose error is the response if the head was not sent yet.
impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        Error::handler(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and the text, and the source's text.
    fn parts(error: impl Into<HttpError>) -> (u16, String, Option<String>) {
        let error = error.into();
        (error.status(), error.text().to_owned(), error.source().map(ToString::to_string))
    }

    #[test]
    fn errors_have_a_status() {
        let missing = ParamError::Missing { name: "id".to_owned() };
        let absent = missing.to_string();
        let invalid =
            ParamError::Invalid { name: "id".to_owned(), value: "x".to_owned(), reason: "no number".to_owned() };
        let text = invalid.to_string();
        let too_large = StreamError::BodyTooLarge { limit: 7 };
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(parts(404), (404, String::new(), None));
        assert_eq!(parts(invalid), (400, text, None));
        assert_eq!(parts(missing), (500, String::new(), Some(absent)));
        assert_eq!(parts(denied()), (500, String::new(), Some("permission denied".to_owned())));
        assert_eq!(parts(Error::from(denied())), (500, String::new(), Some("permission denied".to_owned())));
        assert_eq!(
            parts(Error::from(too_large)),
            (413, String::new(), Some("the body is longer than 7 bytes".to_owned()))
        );
        assert_eq!(parts(Error::handler("broken")), (500, String::new(), Some("broken".to_owned())));
        for status in [0, 200, 399, 600, 1000] {
            let source = format!("{status} is not the status of an error");
            assert_eq!(parts(HttpError::new(status, "text")), (500, String::new(), Some(source)));
        }
    }

    #[test]
    fn an_error_survives_the_crates_error() {
        let error = HttpError::new(409, "it exists").with_source("a row");
        assert_eq!((error.to_string(), HttpError::from(409).to_string()), ("it exists".into(), "409 Conflict".into()));
        assert_eq!(HttpError::from(599).to_string(), "599");
        assert_eq!(parts(Error::from(error)), (409, "it exists".to_owned(), Some("a row".to_owned())));
    }
}
