//! The errors of this crate: what the peer did wrong, what the application did wrong, and what the system refused.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

mod code;
mod http;
mod param;
mod violation;

pub use code::ErrorCode;
pub(crate) use code::transport_error;
pub use http::HttpError;
pub(crate) use http::status_name;
pub use param::ParamError;
pub(crate) use param::shorten;
pub use violation::Violation;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong in this crate.
///
/// `Debug` gives the same text as `Display`, as that is what a `main` that returns a [`Result`] prints.
#[derive(thiserror::Error)]
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
    #[error("cannot listen on {addr}: {source}{}", bind_hint(source))]
    Bind {
        /// The requested address.
        addr: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The address of the admin port or the redirect port cannot be bound.
    #[error("cannot open the {name} port on {addr}: {source}{}", bind_hint(source))]
    Port {
        /// `admin` or `redirect`.
        name: &'static str,
        /// The requested address.
        addr: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// An error returned by a handler.
    #[error(transparent)]
    Handler(Box<dyn std::error::Error + Send + Sync>),
}

fn bind_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => " (another server runs there)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need privileges)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
        _ => "",
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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

/// A message for the loop of a server or client was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The loop has not caught up with those before, which are thousands.
    #[error("too many messages wait for the loop: post fewer, or post again later")]
    Full,
    /// The session, the server or the client that it is for has ended.
    #[error("the session, the server or the client has ended")]
    Closed,
}

/// An invalid setting, found when the server is built. `Debug` gives the same text as `Display`.
#[derive(thiserror::Error)]
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
    #[error("cannot read {what} '{}': {source}", path.display())]
    Unreadable {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file can be read but has the wrong content.
    #[error("'{}' holds no {what} in PEM form", path.display())]
    NotPem {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The key does not belong to the certificate.
    #[error("private key '{}' does not belong to certificate '{}'", key.display(), cert.display())]
    Mismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The private key file.
        key: PathBuf,
    },
    /// A certificate or key in memory has the wrong content.
    #[error("{what} in memory is not in PEM form")]
    NotPemInMemory {
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// The key in memory does not belong to the certificate.
    #[error("private key in memory does not belong to its certificate")]
    MismatchInMemory,
    /// An entry of [`allow_origins`](crate::WebTransportConfig::allow_origins) that no page's origin is equal to.
    #[error("'{origin}' in webtransport.allow_origins is not an origin: write {proposal}")]
    Origin {
        /// The entry.
        origin: String,
        /// What may be meant.
        proposal: String,
    },
    /// A certificate or key has a fault that can be named, such as an encrypted key, or a chain in the wrong order.
    #[error("{what} {place} cannot be used: {reason}")]
    Unusable {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file in quotation marks, or `in memory`.
        place: String,
        /// The fault.
        reason: String,
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
    /// The peer allows no migration: it sent `disable_active_migration` (RFC 9000 section 18.2).
    #[error("the peer allows no migration")]
    Forbidden,
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
    /// The message breaks HTTP/3's rules or exceeds a limit; the stream was reset with the violation's code.
    #[error("{kind}: {0}", kind = if .0.is_limit() { "message over a limit" } else { "malformed message" })]
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
    /// The client sent no more of its request, or read no more of the response, within
    /// [`request_timeout`](crate::ServerConfig::request_timeout).
    #[error("the client made no progress in time")]
    TimedOut,
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
    /// The peer accepts no datagrams: it sent no `max_datagram_frame_size` (RFC 9221 section 3), or for HTTP datagrams
    /// no `SETTINGS_H3_DATAGRAM` (RFC 9297 section 2.1.1).
    #[error("the peer does not accept datagrams of this kind")]
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

    use super::{ConfigError, ConnectError, MigrateError};

    #[test]
    fn a_main_that_fails_prints_the_message() {
        let message = "cannot listen on 127.0.0.1:443: permission denied (ports below 1024 need privileges)";
        let source = std::io::ErrorKind::PermissionDenied.into();
        let error = super::Error::Bind { addr: "127.0.0.1:443".parse().unwrap(), source };
        assert_eq!((error.to_string(), format!("{error:?}")), (message.to_owned(), message.to_owned()));
        let error = super::Error::from(ConfigError::MismatchInMemory);
        assert_eq!(format!("{error:?}"), "private key in memory does not belong to its certificate");
    }

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
}
