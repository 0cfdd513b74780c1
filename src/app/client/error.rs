//! Why a client did not get what it asked for.

use std::io;
use std::sync::Arc;

use crate::endpoint::{CloseCause, ClosedBy, RequestError};
use crate::error::{ConnectError, Error, ErrorCode, StreamError};

/// Why a request, or a session, failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL is none that a client can use.
    #[error("URL '{url}': {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host's name has no address, or was not [looked up](crate::ClientConfig::resolver) in time.
    #[error("cannot resolve host '{host}': {source}")]
    Resolve {
        /// The host.
        host: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Nobody answered at any of the host's addresses in time.
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
    /// The request's time was up.
    #[error("the request took longer than {0} s")]
    Timeout(f64),
    /// The request cannot be sent.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The stream failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// QUIC datagrams were asked for, but those of the connection are HTTP's.
    #[error("the datagrams of the connection are HTTP's")]
    HttpDatagrams,
    /// A session was refused.
    #[error("the server refuses the session with status {0}")]
    Refused(http::StatusCode),
    /// The response is larger than was allowed.
    #[error("the response is larger than {0} bytes")]
    TooLarge(u64),
    /// The handler failed.
    #[error("{0}")]
    Handler(String),
    /// It was cancelled on this side.
    #[error("cancelled")]
    Cancelled,
}

impl From<Error> for ClientError {
    fn from(error: Error) -> Self {
        match error {
            Error::Stream(error) => ClientError::Stream(error),
            error => ClientError::Handler(error.to_string()),
        }
    }
}

impl ClientError {
    /// Whether the server says that it did not process the request, so that it can be sent again.
    pub(super) fn is_unprocessed(&self) -> bool {
        match self {
            ClientError::Stream(StreamError::Reset(code) | StreamError::Stopped(code)) => {
                *code == ErrorCode::H3_REQUEST_REJECTED
            }
            ClientError::Request(RequestError::GoingAway | RequestError::Closed) => true,
            _ => false,
        }
    }

    /// Whether a time was up: of the request, of connecting or of looking the host up.
    pub fn is_timeout(&self) -> bool {
        match self {
            ClientError::ConnectTimeout { .. } | ClientError::Timeout(_) => true,
            ClientError::Resolve { source, .. } => source.kind() == io::ErrorKind::TimedOut,
            _ => false,
        }
    }

    /// Whether nobody takes connections there: the host says so, or the server.
    pub fn is_refusal(&self) -> bool {
        match self {
            ClientError::Handshake { cause, .. } => !cause.application && cause.code.0 == REFUSED,
            _ => false,
        }
    }

    /// Whether the server's certificate was not accepted.
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

/// The end of an attempt at an address where nobody is.
pub(super) fn unreachable() -> CloseCause {
    CloseCause { by: ClosedBy::Us, application: false, code: ErrorCode(REFUSED), reason: "unreachable".to_owned() }
}

/// The end of an attempt for which quiche takes none of the addresses.
pub(super) fn unusable(refusal: Option<&ConnectError>) -> CloseCause {
    const INTERNAL_ERROR: u64 = 0x1;
    let reason = refusal.map_or_else(|| "no usable address".to_owned(), ToString::to_string);
    CloseCause { by: ClosedBy::Us, application: false, code: ErrorCode(INTERNAL_ERROR), reason }
}

/// The TLS alert in a QUIC error code (RFC 9001 section 4.8).
fn alert(cause: &CloseCause) -> Option<u64> {
    (0x100..0x200).contains(&cause.code.0).then(|| cause.code.0 - 0x100)
}

fn handshake_failure(cause: &CloseCause) -> String {
    if *cause == unreachable() {
        return "nobody listens there".to_owned();
    }
    let who = if cause.by == ClosedBy::Peer { "the server says: " } else { "" };
    let what = match alert(cause).filter(|_| !cause.application) {
        Some(40) => "no common TLS parameters",
        Some(42) if cause.reason.is_empty() => "the certificate is not for this host, or malformed",
        Some(42) => return format!("{who}{}", cause.reason),
        Some(43) => "the certificate is of a kind that is not supported",
        Some(44) => "the certificate was revoked",
        Some(45) => "the certificate has expired or is not valid yet",
        Some(46) => "the certificate is not acceptable",
        Some(48) => "the certificate is not signed by a trusted authority",
        Some(116) => "a client certificate is required",
        Some(120) => "no common application protocol (ALPN)",
        Some(112) => "the server does not know this name",
        _ => return cause.to_string(),
    };
    format!("{who}{what}")
}
