//! Errors of a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use crate::endpoint::{CloseCause, ClosedBy, RequestError};
use crate::error::{ConnectError, Error, ErrorCode, StreamError, status_name};

/// Why a request or a session failed. `Debug` gives the same text as `Display`.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Invalid or unsupported URL.
    #[error("URL '{url}': {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host's name has no address, or was not [looked up](crate::ClientConfig::resolver) in time.
    #[error("cannot resolve host '{host}': {source}")]
    Resolve {
        /// The host.
        host: String,
        /// The error of the system or the resolver.
        source: Arc<io::Error>,
    },
    /// None of the host's addresses answered in time.
    #[error("cannot connect to {host}: no answer within {seconds} s")]
    ConnectTimeout {
        /// Host and port.
        host: String,
        /// [`connect_timeout`](crate::ClientConfig::connect_timeout).
        seconds: f64,
    },
    /// The handshake failed.
    #[error("cannot connect to {host}: {}", handshake_failure(cause))]
    Handshake {
        /// Host and port.
        host: String,
        /// Why the connection ended.
        cause: CloseCause,
    },
    /// The connection ended while the request ran.
    #[error("the connection ended: {0}")]
    Closed(CloseCause),
    /// The request timed out.
    #[error("the request took longer than {0} s")]
    Timeout(f64),
    /// The request could not be sent.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The stream failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// QUIC datagrams were requested, but those of the connection belong to HTTP.
    #[error("the datagrams of the connection belong to HTTP")]
    HttpDatagrams,
    /// The server rejected a session with this status.
    #[error("the server rejected the session with status {}", status_name(*.0))]
    Refused(http::StatusCode),
    /// The response is larger than [`fetch`](crate::Client::fetch) keeps in memory.
    #[error("the response is larger than {0} bytes, the most that is kept in memory: save it to a file")]
    TooLarge(u64),
    /// A redirect to something that cannot be followed, such as another scheme than `https`, or with a body that cannot be
    /// sent again.
    #[error("redirected to '{location}': {reason}")]
    Redirect {
        /// The target, as the server named it.
        location: String,
        /// Why it cannot be followed.
        reason: String,
    },
    /// More redirects than [allowed](crate::ClientRequest::max_redirects).
    #[error("more than {0} redirects")]
    TooManyRedirects(usize),
    /// A status of 400 or above, by [`error_for_status`](crate::ClientResponse::error_for_status).
    #[error("the server answered with status {}", status_name(*.0))]
    Status(http::StatusCode),
    /// The body of a response is not the expected JSON, or a value cannot be written as JSON.
    #[error("the body is not the expected JSON: {0}")]
    Json(Arc<serde_json::Error>),
    /// The response cannot be saved.
    #[error("cannot write '{}': {source}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: Arc<io::Error>,
    },
    /// A cookie was not [taken](crate::Client::set_cookie).
    #[cfg(feature = "cookies")]
    #[error("the cookie is ignored: {0}")]
    Cookie(String),
    /// The handler failed.
    #[error("{0}")]
    Handler(String),
    /// The request was cancelled locally.
    #[error("cancelled")]
    Cancelled,
}

impl From<Error> for ClientError {
    fn from(error: Error) -> Self {
        match error {
            Error::Stream(error) => ClientError::Stream(error),
            Error::Handler(inner) => match inner.downcast::<ClientError>() {
                Ok(error) => *error,
                Err(inner) => ClientError::Handler(inner.to_string()),
            },
            error => ClientError::Handler(error.to_string()),
        }
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ClientError {
    pub(super) fn url(url: &str, reason: &str) -> Self {
        ClientError::Url { url: url.to_owned(), reason: reason.to_owned() }
    }

    pub(super) fn save(path: &Path, source: io::Error) -> Self {
        ClientError::Save { path: path.to_owned(), source: source.into() }
    }

    /// Whether the server did not process the request, so that it can be sent again.
    pub(super) fn is_unprocessed(&self) -> bool {
        match self {
            ClientError::Stream(StreamError::Reset(code) | StreamError::Stopped(code)) => {
                *code == ErrorCode::H3_REQUEST_REJECTED
            }
            ClientError::Request(RequestError::GoingAway | RequestError::Closed) => true,
            _ => false,
        }
    }

    /// Whether the request, the connection attempt or the look-up timed out.
    pub fn is_timeout(&self) -> bool {
        match self {
            ClientError::ConnectTimeout { .. } | ClientError::Timeout(_) => true,
            ClientError::Resolve { source, .. } => source.kind() == io::ErrorKind::TimedOut,
            _ => false,
        }
    }

    /// Whether the host or the server refused the connection.
    pub fn is_refusal(&self) -> bool {
        match self {
            ClientError::Handshake { cause, .. } => !cause.application && cause.code.0 == REFUSED,
            _ => false,
        }
    }

    /// Whether the server's certificate was rejected.
    pub fn is_certificate(&self) -> bool {
        match self {
            ClientError::Handshake { cause, .. } => {
                cause.by == ClosedBy::Us && !cause.application && matches!(alert(cause), Some(42..=48))
            }
            _ => false,
        }
    }
}

/// RFC 9000 section 20.1: CONNECTION_REFUSED.
const REFUSED: u64 = 0x2;

/// The close of an attempt at an unreachable address.
pub(super) fn unreachable() -> CloseCause {
    CloseCause { by: ClosedBy::Us, application: false, code: ErrorCode(REFUSED), reason: "unreachable".to_owned() }
}

/// The close of an attempt for which quiche accepts none of the addresses.
pub(super) fn unusable(refusal: Option<&ConnectError>) -> CloseCause {
    const INTERNAL_ERROR: u64 = 0x1;
    let reason = refusal.map_or_else(|| "no usable address".to_owned(), ToString::to_string);
    CloseCause { by: ClosedBy::Us, application: false, code: ErrorCode(INTERNAL_ERROR), reason }
}

/// Whether a server ended a connection for the client's certificate. With TLS 1.3, that comes after the client's part of
/// the handshake.
pub(super) fn refuses_client(cause: &CloseCause) -> bool {
    cause.by == ClosedBy::Peer && !cause.application && matches!(alert(cause), Some(40 | 42..=49 | 51 | 116))
}

/// The TLS alert in a QUIC error code (RFC 9001 section 4.8).
fn alert(cause: &CloseCause) -> Option<u64> {
    (0x100..0x200).contains(&cause.code.0).then(|| cause.code.0 - 0x100)
}

fn handshake_failure(cause: &CloseCause) -> String {
    if *cause == unreachable() {
        return "connection refused".to_owned();
    }
    if cause.by == ClosedBy::Peer && !cause.application && cause.code.0 == REFUSED {
        let reason = if cause.reason.is_empty() { "CONNECTION_REFUSED" } else { &cause.reason };
        return format!("the server refuses connections ({})", reason.escape_debug());
    }
    let who = if cause.by == ClosedBy::Peer { "the server says: " } else { "" };
    let what = match alert(cause).filter(|_| !cause.application) {
        Some(40) => "no common TLS parameters",
        Some(42) if cause.reason.is_empty() => "the certificate is not for this host, or malformed",
        Some(42) => return format!("{who}{}", cause.reason),
        Some(43) => "the certificate type is not supported",
        Some(44) => "the certificate was revoked",
        Some(45) => "the certificate has expired or is not valid yet",
        Some(46) => "the certificate is not acceptable",
        Some(48) => "the certificate is not signed by a trusted authority",
        Some(49) => "the certificate gives no access",
        Some(51) => "the signature of the certificate, or one made with it, is wrong",
        Some(116) => "a client certificate is required",
        Some(120) => "no common application protocol (ALPN)",
        Some(112) => "the server does not know this name",
        _ => return cause.to_string(),
    };
    format!("{who}{what}")
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_status_without_a_phrase_is_a_number() {
        let text =
            |status, error: fn(StatusCode) -> ClientError| error(StatusCode::from_u16(status).unwrap()).to_string();
        assert_eq!(text(404, ClientError::Status), "the server answered with status 404 Not Found");
        assert_eq!(text(599, ClientError::Status), "the server answered with status 599");
        assert_eq!(text(299, ClientError::Refused), "the server rejected the session with status 299");
    }
}
