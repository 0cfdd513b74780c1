//! Events from the engine to the application.

use bytes::Bytes;

use super::refused::RefusedRequest;
use crate::h3::{Request, ResponseHead};
use crate::transport::CloseCause;
use crate::transport::table::{ConnId, StreamId};
use crate::wt::SessionEnd;

/// An event. The application polls for events; the engine never calls it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A handshake is complete and HTTP/3 has started.
    Connected(ConnId),
    /// The head of a valid request. It must be answered on its stream, or [released](super::Endpoint::release).
    Request(Box<Request>),
    /// A request was refused by the engine, with an answer or a reset; there is nothing to do. Only with
    /// [`ServerConfig::access_log`](crate::ServerConfig::access_log).
    Refused(Box<RefusedRequest>),
    /// A client requests a WebTransport session. It must be [accepted](super::Endpoint::accept_session), or rejected:
    /// by a response on its stream, or a release.
    SessionRequest(Box<Request>),
    /// The peer opened a stream in a session. It must be [released](super::Endpoint::release) eventually.
    SessionStream {
        /// The session.
        session: StreamId,
        /// The stream.
        stream: StreamId,
    },
    /// An HTTP datagram arrived for a session or a request (RFC 9297).
    Datagram(StreamId, Bytes),
    /// A datagram arrived that does not belong to HTTP: another application protocol, or the client did not ask
    /// for HTTP datagrams.
    QuicDatagram(ConnId, Bytes),
    /// A stream can be opened in a session, after one could not.
    StreamsAvailable(StreamId),
    /// The time that was given to a session's `wake_at` has come.
    SessionTimer(StreamId),
    /// The peer asks to end a session soon.
    SessionDraining(StreamId),
    /// A session has ended. Its remaining streams end by themselves. (Not sent when the connection ends.)
    SessionClosed(StreamId, SessionEnd),
    /// On a client: requests can be sent again.
    RequestsPossible(ConnId),
    /// On a client: an informational response (RFC 9110 section 15.2) arrived before the final one.
    Informational(StreamId, Box<ResponseHead>),
    /// On a client: the head of a response. For a request for a session, any 2xx means that it is open.
    Response(StreamId, Box<ResponseHead>),
    /// On a client: the server accepts no more requests on this connection (RFC 9114 section 5.2). Those that it did
    /// not process fail with H3_REQUEST_REJECTED.
    GoingAway(ConnId),
    /// A stream can be read or written, has failed, or its `wake_at` deadline has passed.
    Ready(StreamId),
    /// A connection has ended, and all its streams with it.
    Closed(ConnId, CloseCause),
}
