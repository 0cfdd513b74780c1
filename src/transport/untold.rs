//! Errors in a client's first flight, which quiche finds and does not send. If the first packet has the error, it drops
//! the connection without a close. Before its own first flight it encrypts no close, or one that the client has no keys
//! for.

use super::buf::Quic;

/// A close that quiche does not send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Untold {
    /// A packet was sent after the ClientHello had been processed.
    flight_sent: bool,
    /// The client received the error by other means: the connection is over.
    pub(super) abandoned: bool,
}

impl Untold {
    /// A packet was made.
    pub(super) fn on_sent(&mut self, quic: &Quic) {
        self.flight_sent = self.flight_sent || quic.peer_transport_params().is_some();
    }

    /// The error of QUIC that closed a server's connection before its first flight, and the number of packets that were
    /// sent nevertheless.
    pub(super) fn error(&self, quic: &Quic) -> Option<(u64, usize)> {
        let error = quic.local_error()?;
        let is_untold = quic.is_server() && !self.flight_sent && !self.abandoned;
        is_untold.then(|| (error.error_code, quic.stats().sent))
    }
}
