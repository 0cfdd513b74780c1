//! A close that quiche does not send. An application's CONNECTION_CLOSE goes in 1-RTT packets only, and a client whose
//! handshake is not confirmed first sends the probes that its loss detection asks for. But a closing connection sends
//! nothing that elicits an ACK, so that no packet counts as a probe, and quiche sends Handshake packets without end.
//!
//! So a few packets are sent, and more only after something has arrived, such as the confirmation, or a timer has
//! fired. After some rounds the connection counts as closed.

use super::buf::Quic;

/// Packets without the close that are sent in a row. One is usual: an ACK in a Handshake packet.
const MAX_PACKETS: u8 = 4;
/// Number of times that this many were sent in vain.
const MAX_ROUNDS: u8 = 3;

#[derive(Debug, Default)]
pub(super) struct UnsentClose {
    packets: u8,
    rounds: u8,
}

impl UnsentClose {
    /// Whether nothing may be sent for now.
    pub(super) fn is_waiting(&self) -> bool {
        self.packets >= MAX_PACKETS
    }

    /// Whether the close will not be sent.
    pub(super) fn is_given_up(&self) -> bool {
        self.rounds >= MAX_ROUNDS
    }

    /// A packet was sent.
    pub(super) fn on_sent(&mut self, quic: &Quic) {
        if quic.local_error().is_none() || quic.is_draining() {
            return;
        }
        self.packets += 1;
        if self.is_waiting() {
            self.rounds += 1;
        }
    }

    /// Something arrived, or a timer has fired.
    pub(super) fn on_progress(&mut self) {
        self.packets = 0;
    }
}
