//! A close that quiche does not send. An application's CONNECTION_CLOSE goes in 1-RTT packets only, and a client whose
//! handshake is not confirmed first sends the probes that its loss detection asks for. But a closing connection sends
//! nothing that elicits an ACK, so that no packet counts as a probe, and quiche sends Handshake packets without end.
//!
//! Nor does quiche send a close while the congestion window is full, as it is with a peer that acknowledges nothing: it
//! waits for the next probe, which may be later than the idle timeout, and holds all that is in flight until then.
//!
//! So a few packets are sent, and more only after something has arrived, such as the confirmation, or a timer has
//! fired. After some rounds, or some time, the connection counts as closed, and a stateless reset answers its packets.

use std::time::{Duration, Instant};

use super::buf::Quic;

/// Packets without the close that are sent in a row. One is usual: an ACK in a Handshake packet.
const MAX_PACKETS: u8 = 4;
/// Number of times that this many were sent in vain.
const MAX_ROUNDS: u8 = 3;
/// Time for the close to be sent, at least.
const MIN_TIME: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct UnsentClose {
    packets: u8,
    rounds: u8,
    until: Option<Instant>,
    is_late: bool,
}

impl UnsentClose {
    /// Whether nothing may be sent for now.
    pub(super) fn is_waiting(&self) -> bool {
        self.packets >= MAX_PACKETS
    }

    /// Whether the close will not be sent.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_late || self.rounds >= MAX_ROUNDS
    }

    /// Begins to wait for a close to be sent, `closing_period` at least. Returns until when.
    pub(super) fn wait(&mut self, quic: &Quic, now: Instant, closing_period: Duration) -> Option<Instant> {
        let is_unsent = quic.local_error().is_some() && !quic.is_draining() && !quic.is_closed();
        match is_unsent {
            true => self.until = self.until.or(Some(now + closing_period.max(MIN_TIME))),
            false => self.until = None,
        }
        self.until
    }

    /// Gives up if it is time.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        self.is_late |= self.until.is_some_and(|until| until <= now);
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
