//! What the engine needs of a server or a client. Both have an endpoint; they differ in who runs it.

use std::net::SocketAddr;
use std::time::Instant;

use http::HeaderMap;

use super::stream::Stream;
use crate::app::{ClientError, ClientRequest, SessionOptions};
use crate::endpoint::{Endpoint, Event};
use crate::error::{ConfigError, Result, SessionError};
use crate::h3::ResponseHead;
use crate::net::Waker;
use crate::observe::prometheus::Snapshot;
use crate::transport::table::{ConnId, StreamId};

/// What happened in a turn.
#[derive(Debug)]
pub(super) enum Raw {
    /// An event of the endpoint, or one that a client's handlers have put together again.
    Event(Event),
    /// A client's request was sent, or sent again, on a stream.
    Sent { id: u64, at: StreamId },
    /// A client's request got an informational response.
    Informational { id: u64, head: ResponseHead },
    /// A client's request got the head of its response.
    Response { id: u64, head: ResponseHead },
    /// A client's request or session failed.
    Failed { id: u64, error: ClientError },
    /// A client's session is open, by this response.
    SessionOpened { id: u64, at: StreamId, head: Option<ResponseHead> },
    /// A client's connection for QUIC datagrams is open.
    DatagramsOpened { id: u64, conn: ConnId },
}

pub(super) trait Driver {
    fn endpoint(&mut self) -> &mut Endpoint;

    fn local_addr(&self) -> SocketAddr;

    /// Ends the sleep of a turn from another thread.
    fn waker(&self) -> Waker;

    /// Sleeps until something happens, at most until `until`; then runs a turn, and appends what happened to `raw`.
    ///
    /// # Errors
    /// An error of the socket.
    fn turn(&mut self, until: Option<Instant>, raw: &mut Vec<Raw>) -> Result<()>;

    /// The caller is done with a stream. `session` is the session that it belongs to.
    fn release(&mut self, now: Instant, id: u64, stream: &Stream, session: Option<StreamId>);

    /// Sends a request, on a client.
    fn request(&mut self, id: u64, request: ClientRequest);

    /// Asks for a session, on a client.
    fn connect(&mut self, id: u64, options: SessionOptions);

    /// Opens a connection for QUIC datagrams, on a client.
    fn open_datagrams(&mut self, id: u64, url: &str);

    /// Accepts a session, on a server.
    ///
    /// # Errors
    /// The request has ended.
    fn accept(&mut self, now: Instant, at: StreamId, headers: HeaderMap) -> Result<(), SessionError>;

    /// Opens a stream in a session.
    ///
    /// # Errors
    /// The session has ended, or the peer allows no more streams now.
    fn open_stream(&mut self, now: Instant, session: StreamId, bidi: bool) -> Result<StreamId, SessionError>;

    /// Closes a session that is open.
    fn close_session(&mut self, now: Instant, at: StreamId, code: u32, reason: &str);

    /// Asks the peer to end a session soon.
    fn drain_session(&mut self, now: Instant, at: StreamId);

    /// Begins a graceful shutdown.
    fn shutdown(&mut self, now: Instant);

    /// Whether it is complete.
    fn is_shut_down(&mut self) -> bool;

    /// Closes everything at once, and tells the peers as far as the socket takes it.
    fn stop(&mut self);

    /// Reads certificates and keys again.
    ///
    /// # Errors
    /// The file that cannot be used.
    fn reload(&mut self) -> Result<(), ConfigError>;

    /// The state for metrics.
    fn snapshot(&mut self) -> Snapshot;
}
