//! Handlers of QUIC datagrams.

use bytes::Bytes;

#[cfg(feature = "client")]
use super::client::ClientError;
use crate::endpoint::{CloseCause, Datagrams};
use crate::transport::table::ConnId;

/// Handles the QUIC datagrams (RFC 9221) of connections, on a server or a client. Functions and closures that take
/// `(&mut Datagrams<'_>, Bytes)` are handlers.
///
/// Key per-connection state by its [id](Datagrams::id), from [`opened`](DatagramHandler::opened) to
/// [`closed`](DatagramHandler::closed).
pub trait DatagramHandler {
    /// On a client: the connection can send. On a server: a connection's first datagram arrived, and
    /// [`datagram`](DatagramHandler::datagram) follows.
    fn opened(&mut self, datagrams: &mut Datagrams<'_>) {
        let _ = datagrams;
    }

    /// A datagram arrived.
    fn datagram(&mut self, datagrams: &mut Datagrams<'_>, payload: Bytes);

    /// A connection that was opened has ended.
    fn closed(&mut self, id: ConnId, cause: &CloseCause) {
        let _ = (id, cause);
    }

    /// On a client: the connection could not be established.
    #[cfg(feature = "client")]
    fn failed(&mut self, error: &ClientError) {
        let _ = error;
    }
}

impl<F: FnMut(&mut Datagrams<'_>, Bytes)> DatagramHandler for F {
    fn datagram(&mut self, datagrams: &mut Datagrams<'_>, payload: Bytes) {
        self(datagrams, payload);
    }
}
