//! What the engine tells the application.

use bytes::Bytes;

use crate::error::ErrorCode;
use crate::h3::{Request, ResponseHead};
use crate::quic::table::{ConnId, StreamId};
use crate::wt::SessionEnd;

/// Something that happened. The application asks for events; the engine never calls it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A handshake is complete and HTTP/3 runs.
    Connected(ConnId),
    /// The head of a valid request. It must be answered on its stream, or [released](super::Endpoint::release).
    Request(Box<Request>),
    /// A client asks for a WebTransport session. It must be [accepted](super::Endpoint::accept_session), or refused: by
    /// an answer on its stream, or a release.
    SessionRequest(Box<Request>),
    /// The peer opened a stream in a session. It must be [released](super::Endpoint::release) some time.
    SessionStream {
        /// The session.
        session: StreamId,
        /// The stream.
        stream: StreamId,
    },
    /// A datagram came for a session, or for a request (RFC 9297).
    Datagram(StreamId, Bytes),
    /// A datagram came that is not HTTP's: the connection has another application protocol, or the client did not ask
    /// for HTTP datagrams.
    QuicDatagram(ConnId, Bytes),
    /// A stream could not be opened in a session; now one can.
    StreamsAvailable(StreamId),
    /// The peer asks for a session to be ended soon.
    SessionDraining(StreamId),
    /// A session has ended. What is left of its streams ends by itself. (None comes when the connection ends.)
    SessionClosed(StreamId, SessionEnd),
    /// On a client: requests can be sent that could not before.
    RequestsPossible(ConnId),
    /// On a client: an informational response (RFC 9110 section 15.2) came in front of the final one.
    Informational(StreamId, Box<ResponseHead>),
    /// On a client: the head of a response. For a request for a session, any 2xx means that it is open.
    Response(StreamId, Box<ResponseHead>),
    /// On a client: the server takes no more requests on this connection (RFC 9114 section 5.2). Those that it did not
    /// process fail with H3_REQUEST_REJECTED.
    GoingAway(ConnId),
    /// A stream may be read or written further, or failed, or its time has come.
    Ready(StreamId),
    /// A connection is gone, and all its streams with it.
    Closed(ConnId, CloseCause),
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// This side.
    Us,
    /// The peer.
    Peer,
    /// Nobody: the idle timeout passed (RFC 9000 section 10.1).
    IdleTimeout,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseCause {
    /// Who ended it.
    pub by: ClosedBy,
    /// Whether `code` is an application's (HTTP/3) and not QUIC's own (RFC 9000 section 20).
    pub application: bool,
    /// The error code.
    pub code: ErrorCode,
    /// The reason phrase.
    pub reason: String,
}

impl CloseCause {
    pub(crate) fn of(quic: &crate::quic::Connection) -> Self {
        let (by, error) = match (quic.local_error(), quic.peer_error()) {
            (Some(error), _) => (ClosedBy::Us, Some(error)),
            (None, Some(error)) => (ClosedBy::Peer, Some(error)),
            (None, None) => (ClosedBy::IdleTimeout, None),
        };
        CloseCause {
            by,
            application: error.is_some_and(|e| e.is_app),
            code: ErrorCode(error.map_or(0, |e| e.error_code)),
            reason: error.map(|e| String::from_utf8_lossy(&e.reason).into_owned()).unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for CloseCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = match self.by {
            ClosedBy::Us => "us",
            ClosedBy::Peer => "the peer",
            ClosedBy::IdleTimeout => return f.write_str("idle timeout"),
        };
        match self.application {
            true => write!(f, "closed by {by} with {}", self.code)?,
            false => write!(f, "closed by {by} with QUIC error {:#x}", self.code.0)?,
        }
        match self.reason.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.reason.escape_debug()),
        }
    }
}
