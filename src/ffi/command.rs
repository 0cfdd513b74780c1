//! What callers want of an engine, besides the data of streams.

use bytes::Bytes;
use http::HeaderMap;

use crate::app::{ClientRequest, SessionOptions};

/// A command. Numbers named `id` are the caller's ids.
#[derive(Debug)]
pub(super) enum Command {
    /// A client: sends a request.
    Request { id: u64, request: Box<ClientRequest> },
    /// A client: asks for a session.
    Connect { id: u64, options: Box<SessionOptions> },
    /// A client: opens a connection for QUIC datagrams.
    OpenDatagrams { id: u64, url: String },
    /// A server: accepts a session, with these fields in the response.
    Accept { id: u64, headers: HeaderMap },
    /// Opens a stream in a session.
    OpenStream { id: u64, session: u64, bidi: bool },
    /// Sends an HTTP datagram of a session or a request.
    Datagram { id: u64, payload: Bytes },
    /// Sends a QUIC datagram of a connection.
    QuicDatagram { id: u64, payload: Bytes },
    /// Asks the peer to end a session soon.
    Drain { id: u64 },
    /// Closes a session, or withdraws the request for one.
    CloseSession { id: u64, code: u32, reason: String },
    /// Closes a connection.
    CloseConnection { id: u64, code: u64, reason: Bytes },
    /// Begins a graceful shutdown.
    Shutdown,
    /// Reads certificates and keys again.
    Reload,
    /// Reports the counters.
    Stats,
    /// Reports the metrics.
    Metrics,
}
