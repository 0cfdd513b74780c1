//! The errors of this crate: what the peer did wrong, what the application did wrong, and what the system refused.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use http::StatusCode;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An HTTP/3 or QPACK error code as sent on the wire (RFC 9114 section 8.1, RFC 9204 section 6).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u64);

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: ErrorCode = ErrorCode($value);)*

            /// The registered name, such as `H3_MESSAGE_ERROR`, if there is one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// No error: the connection or stream is simply no longer needed.
    H3_NO_ERROR = 0x100;
    /// A violation that no other code describes.
    H3_GENERAL_PROTOCOL_ERROR = 0x101;
    /// An internal error in the HTTP stack.
    H3_INTERNAL_ERROR = 0x102;
    /// A stream that will not be accepted was created.
    H3_STREAM_CREATION_ERROR = 0x103;
    /// A required stream was closed or reset.
    H3_CLOSED_CRITICAL_STREAM = 0x104;
    /// A frame was received where it is not permitted.
    H3_FRAME_UNEXPECTED = 0x105;
    /// A frame has a wrong layout or size.
    H3_FRAME_ERROR = 0x106;
    /// The peer generates excessive load.
    H3_EXCESSIVE_LOAD = 0x107;
    /// A stream id or push id was used incorrectly.
    H3_ID_ERROR = 0x108;
    /// The payload of a SETTINGS frame is wrong.
    H3_SETTINGS_ERROR = 0x109;
    /// The control stream did not begin with SETTINGS.
    H3_MISSING_SETTINGS = 0x10a;
    /// The server rejected the request without any application processing: it may be retried.
    H3_REQUEST_REJECTED = 0x10b;
    /// The request or its response is cancelled.
    H3_REQUEST_CANCELLED = 0x10c;
    /// The client's stream ended without a fully formed request.
    H3_REQUEST_INCOMPLETE = 0x10d;
    /// An HTTP message was malformed (RFC 9114 section 4.1.2).
    H3_MESSAGE_ERROR = 0x10e;
    /// The connection established for a CONNECT request was reset.
    H3_CONNECT_ERROR = 0x10f;
    /// The operation cannot be served over HTTP/3.
    H3_VERSION_FALLBACK = 0x110;
    /// QPACK: a field section could not be decompressed.
    QPACK_DECOMPRESSION_FAILED = 0x200;
    /// An HTTP datagram is malformed (RFC 9297 section 5.2).
    H3_DATAGRAM_ERROR = 0x33;
    /// WebTransport: too many streams arrived before their session.
    WT_BUFFERED_STREAM_REJECTED = 0x3994_bd84;
    /// WebTransport: the stream's session has ended.
    WT_SESSION_GONE = 0x170d_7b68;
    /// WebTransport: the session's flow control was violated.
    WT_FLOW_CONTROL_ERROR = 0x045d_4487;
    /// WebTransport: no subprotocol in common.
    WT_ALPN_ERROR = 0x0817_b3dd;
    /// WebTransport: the peer lacks a setting or a transport parameter that sessions need.
    WT_REQUIREMENTS_NOT_MET = 0x212c_0d48;
}

impl ErrorCode {
    const FIRST_WEBTRANSPORT: u64 = 0x52e4_a40f_a8db;
    const LAST_WEBTRANSPORT: u64 = 0x52e5_ac98_3162;

    /// The code that carries an application's error code on a stream of a WebTransport session. Codes of the form `0x1f
    /// * N + 0x21` are skipped, as HTTP/3 reserves them (RFC 9114 section 8.1).
    pub const fn webtransport(code: u32) -> Self {
        ErrorCode(Self::FIRST_WEBTRANSPORT + code as u64 + code as u64 / 0x1e)
    }

    /// The application's error code that a stream of a WebTransport session was ended with, if this is one.
    pub const fn to_webtransport(self) -> Option<u32> {
        let code = self.0;
        if code < Self::FIRST_WEBTRANSPORT || code > Self::LAST_WEBTRANSPORT || (code - 0x21).is_multiple_of(0x1f) {
            return None;
        }
        let shifted = code - Self::FIRST_WEBTRANSPORT;
        Some((shifted - shifted / 0x1f) as u32)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.to_webtransport()) {
            (Some(name), _) => f.write_str(name),
            (_, Some(code)) => write!(f, "application code {code}"),
            _ => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Anything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong or a file that it names cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A connection cannot be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A connection cannot be moved to another address.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A stream cannot be read or written any more.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A datagram cannot be sent.
    #[error(transparent)]
    Datagram(#[from] DatagramError),
    /// An operation on a WebTransport session failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A route cannot be registered.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// An error of the operating system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server's address cannot be bound.
    #[error("cannot listen on {addr}: {source}{}", bind_hint(source, "--listen"))]
    Bind {
        /// The requested address.
        addr: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The admin port's address cannot be bound.
    #[error("cannot open the admin port on {addr}: {source}{}", bind_hint(source, "--admin"))]
    Admin {
        /// The requested address.
        addr: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// An error returned by a handler.
    #[error(transparent)]
    Handler(Box<dyn std::error::Error + Send + Sync>),
}

fn bind_hint(source: &io::Error, option: &str) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!(" (another server runs there; choose a port with {option} ADDR:PORT)"),
        io::ErrorKind::PermissionDenied => " (ports below 1024 need privileges)".to_owned(),
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)".to_owned(),
        _ => String::new(),
    }
}

impl Error {
    /// Wraps an application error for a handler to return.
    pub fn handler(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Handler(error.into())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Error::handler(error)
    }
}

/// An invalid setting, found when the server is built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is outside its range.
    #[error("{setting} is {value}, but must be {expected}")]
    Range {
        /// The setting's name.
        setting: &'static str,
        /// The given value.
        value: String,
        /// The accepted values.
        expected: &'static str,
    },
    /// A certificate or key file cannot be read.
    #[error("cannot read {what} '{}': {source} (make one with: mio-quiche cert)", path.display())]
    Unreadable {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file can be read but has the wrong content.
    #[error("'{}' holds no {what} in PEM form (make one with: mio-quiche cert)", path.display())]
    NotPem {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The key does not belong to the certificate.
    #[error(
        "private key '{}' does not belong to certificate '{}' (make a new pair with: mio-quiche cert)",
        key.display(), cert.display()
    )]
    Mismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The private key file.
        key: PathBuf,
    },
    /// A directory or log file cannot be used.
    #[error("cannot use {what} '{}': {source}", path.display())]
    Path {
        /// What the path is for.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// quiche rejected a setting that passed our checks.
    #[error("quiche rejected {setting}: {source}")]
    Refused {
        /// The setting's name.
        setting: &'static str,
        /// The text of quiche's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system provides no random numbers for keys.
    #[error("the system provides no random numbers")]
    NoRandom,
}

impl ConfigError {
    /// Converts quiche's error for a setting.
    pub(crate) fn refused<E: fmt::Display>(setting: &'static str) -> impl FnOnce(E) -> Self {
        move |error| ConfigError::Refused { setting, source: QuicheError::boxed(error) }
    }
}

/// The text of one of quiche's errors, whose types are not part of this crate's interface.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct QuicheError(String);

impl QuicheError {
    fn boxed(error: impl fmt::Display) -> Box<dyn std::error::Error + Send + Sync> {
        Box::new(QuicheError(error.to_string()))
    }
}

/// Why a connection was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The session ticket cannot be read.
    #[error("the session ticket cannot be read: {source}")]
    Ticket {
        /// The text of quiche's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// quiche rejected the connection, e.g. for a host that cannot be a server name in TLS.
    #[error("quiche rejected the connection: {source}")]
    Refused {
        /// The text of quiche's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ConnectError {
    pub(crate) fn ticket(error: quiche::Error) -> Self {
        ConnectError::Ticket { source: QuicheError::boxed(error) }
    }

    pub(crate) fn refused(error: quiche::Error) -> Self {
        ConnectError::Refused { source: QuicheError::boxed(error) }
    }
}

/// Why a connection was not moved to another address (RFC 9000 section 9).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
    /// The peer has not issued a connection id for another path (RFC 9000 section 5.1.1).
    #[error("the peer has not issued a connection id for another path")]
    NoConnectionId,
    /// quiche rejected the move, e.g. on a server or before the handshake is complete.
    #[error("quiche refused to migrate the connection: {source}")]
    Refused {
        /// The text of quiche's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl MigrateError {
    pub(crate) fn refused(error: quiche::Error) -> Self {
        match error {
            quiche::Error::OutOfIdentifiers => MigrateError::NoConnectionId,
            error => MigrateError::Refused { source: QuicheError::boxed(error) },
        }
    }
}

/// Why a stream cannot be read or written any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The stream or its connection has ended: the id is stale.
    #[error("the stream is closed")]
    Closed,
    /// The peer reset its sending side (RFC 9000 section 19.4).
    #[error("the peer reset the stream with {0}")]
    Reset(ErrorCode),
    /// The peer asked us to stop sending (RFC 9000 section 19.5).
    #[error("the peer stopped the stream with {0}")]
    Stopped(ErrorCode),
    /// The message breaks HTTP/3's rules; the stream was reset with the violation's code.
    #[error("malformed message: {0}")]
    Malformed(Violation),
    /// The request's body is longer than [`max_request_body`](crate::ServerConfig::max_request_body), or the data is
    /// longer than the reader's limit.
    #[error("the body is longer than {limit} bytes")]
    BodyTooLarge {
        /// The limit that was exceeded.
        limit: u64,
    },
    /// A response head is larger than [`MAX_RESPONSE_HEAD`](crate::MAX_RESPONSE_HEAD).
    #[error("the response head has {size} bytes, more than {limit}")]
    HeadTooLarge {
        /// Its size, counted as in RFC 9114 section 4.2.2.
        size: usize,
        /// The limit that was exceeded.
        limit: usize,
    },
    /// The call does not fit the stream's state, such as a second response head.
    #[error("{0}")]
    Misuse(&'static str),
}

/// Why a datagram was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// The connection, stream or session is closed.
    #[error("the connection, stream or session is closed")]
    Closed,
    /// Datagrams are off here: see [`datagram_queue`](crate::TransportConfig::datagram_queue).
    #[error("datagrams are turned off on this side (datagram_queue)")]
    DisabledHere,
    /// The peer takes no datagrams: it sent no `max_datagram_frame_size` (RFC 9221 section 3), or for HTTP datagrams
    /// no `SETTINGS_H3_DATAGRAM` (RFC 9297 section 2.1.1).
    #[error("the peer takes no datagrams of this kind")]
    DisabledByPeer,
    /// It does not fit into a packet.
    #[error("a datagram of {size} bytes is larger than the {max} bytes that fit into a packet")]
    TooLarge {
        /// The payload's size in bytes.
        size: usize,
        /// The largest payload at the moment.
        max: usize,
    },
    /// The queue of [`datagram_queue`](crate::TransportConfig::datagram_queue) datagrams is full.
    #[error("too many datagrams wait to be sent")]
    QueueFull,
}

/// Why an operation on a WebTransport session failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session has ended.
    #[error("the session has ended")]
    Closed,
    /// The peer allows no more streams for now.
    #[error("the peer allows no more streams now")]
    StreamLimit,
}

impl StreamError {
    /// The application's code with which the peer aborted a stream of a session; 0 for any other error. Use it to abort
    /// in turn.
    pub fn session_code(&self) -> u32 {
        match self {
            StreamError::Reset(code) | StreamError::Stopped(code) => code.to_webtransport().unwrap_or(0),
            _ => 0,
        }
    }
}

/// What is wrong with a request (RFC 9114 sections 4.1.2, 4.2 and 4.3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A pseudo-header field that the request needs is missing.
    #[error("pseudo-header {0} is missing")]
    MissingPseudoHeader(&'static str),
    /// A pseudo-header field is duplicated.
    #[error("pseudo-header {0} is duplicated")]
    DuplicatePseudoHeader(&'static str),
    /// An unknown pseudo-header field, or one that this kind of request must not have.
    #[error("pseudo-header {0:?} is not allowed here")]
    UnexpectedPseudoHeader(String),
    /// A pseudo-header field after a regular one.
    #[error("pseudo-header {0:?} after a regular field")]
    LatePseudoHeader(String),
    /// A pseudo-header field with an invalid value.
    #[error("pseudo-header {0} has an invalid value")]
    InvalidPseudoHeader(&'static str),
    /// A field name that is not a lower-case token.
    #[error("field name {0:?} is not a lower-case token")]
    InvalidFieldName(String),
    /// A field value with CR, LF, NUL or another control character.
    #[error("the value of field {0:?} has a forbidden character")]
    InvalidFieldValue(String),
    /// A connection-specific field (RFC 9114 section 4.2).
    #[error("field {0:?} is connection-specific")]
    ConnectionSpecificField(String),
    /// `content-length` is not a number, or is repeated with different values.
    #[error("content-length is invalid")]
    InvalidContentLength,
    /// The body's length differs from `content-length`.
    #[error("content-length is {declared} but the body has {received} bytes")]
    ContentLengthMismatch {
        /// The field's value.
        declared: u64,
        /// The bytes that arrived (a lower bound if there were too many).
        received: u64,
    },
    /// `host` and `:authority` differ.
    #[error("host and :authority differ")]
    HostMismatch,
    /// A pseudo-header field in a trailer section.
    #[error("pseudo-header {0:?} in a trailer section")]
    PseudoHeaderInTrailers(String),
    /// The stream ended before the request's head.
    #[error("the stream ended before the message's head")]
    Incomplete,
    /// More informational responses before the final one than a client accepts.
    #[error("too many informational responses")]
    TooManyInformational,
    /// Over the limit on the number of fields; answered with 431.
    #[error("more than {0} fields")]
    TooManyFields(usize),
    /// Over a limit on a field's or the section's size; answered with 431.
    #[error("a field or the field section is too large")]
    FieldsTooLarge,
    /// Over the limit on the target's length; answered with 414.
    #[error("the request target is longer than {0} bytes")]
    TargetTooLong(usize),
}

impl Violation {
    /// The status of the response, where a response makes sense; otherwise the stream is reset with
    /// [`code`](Violation::code).
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Violation::TooManyFields(_) | Violation::FieldsTooLarge => {
                Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            }
            Violation::TargetTooLong(_) => Some(StatusCode::URI_TOO_LONG),
            _ => None,
        }
    }

    /// The error code that the stream is reset with (RFC 9114 section 4.1.2).
    pub fn code(&self) -> ErrorCode {
        match self {
            Violation::Incomplete => ErrorCode::H3_REQUEST_INCOMPLETE,
            Violation::TooManyInformational => ErrorCode::H3_EXCESSIVE_LOAD,
            _ => ErrorCode::H3_MESSAGE_ERROR,
        }
    }
}

/// A route that cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Another route of this method would match the same paths.
    #[error("route {method} {pattern} conflicts with {method} {existing}")]
    Conflict {
        /// The method of both.
        method: String,
        /// The new pattern.
        pattern: String,
        /// The existing pattern.
        existing: String,
    },
    /// The pattern is invalid.
    #[error("route pattern {pattern:?} is invalid: {reason}")]
    Invalid {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::{ConfigError, ConnectError, ErrorCode, MigrateError};

    #[test]
    fn errors_of_quiche_are_told_as_text() {
        let error = ConfigError::refused("alpn")(quiche::Error::TlsFail);
        assert_eq!(error.to_string(), "quiche rejected alpn: TlsFail");
        assert_eq!(error.source().unwrap().to_string(), "TlsFail");
        let error = ConnectError::ticket(quiche::Error::CryptoFail);
        assert_eq!(error.to_string(), "the session ticket cannot be read: CryptoFail");
        assert_eq!(error.source().unwrap().to_string(), "CryptoFail");
        assert!(matches!(MigrateError::refused(quiche::Error::OutOfIdentifiers), MigrateError::NoConnectionId));
        let error = MigrateError::refused(quiche::Error::InvalidState);
        assert_eq!(error.to_string(), "quiche refused to migrate the connection: InvalidState");
    }

    #[test]
    fn application_codes_map_to_unreserved_http_codes_and_back() {
        assert_eq!(ErrorCode::webtransport(0), ErrorCode(0x52e4_a40f_a8db));
        assert_eq!(ErrorCode::webtransport(139), ErrorCode(0x52e4_a40f_a96a));
        assert_eq!(ErrorCode::webtransport(u32::MAX), ErrorCode(0x52e5_ac98_3162));
        for code in (0..5000).chain([u32::MAX - 1, u32::MAX]) {
            let http = ErrorCode::webtransport(code);
            assert_ne!((http.0 - 0x21) % 0x1f, 0, "{code} maps to a reserved code");
            assert_eq!(http.to_webtransport(), Some(code));
        }
        let first = ErrorCode::webtransport(0).0;
        let reserved: Vec<u64> = (first..first + 1000).filter(|c| ErrorCode(*c).to_webtransport().is_none()).collect();
        assert!(reserved.iter().all(|code| (code - 0x21) % 0x1f == 0));
        assert_eq!(reserved.len(), 1000 / 0x1f);
        assert_eq!(ErrorCode(first - 1).to_webtransport(), None);
        assert_eq!(ErrorCode(0x52e5_ac98_3163).to_webtransport(), None);
        assert_eq!(ErrorCode::H3_NO_ERROR.to_webtransport(), None);
        assert_eq!(ErrorCode::webtransport(7).to_string(), "application code 7");
    }
}
