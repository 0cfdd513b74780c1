//! What the engine tells the application.

use bytes::Bytes;

use crate::h3::{Request, ResponseHead};
use crate::transport::CloseCause;
use crate::transport::table::{ConnId, StreamId};
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
