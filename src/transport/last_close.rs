//! The closing state (RFC 9000 section 10.2.1). quiche sends its CONNECTION_CLOSE once; a peer that lost it would go on
//! until a stateless reset or its idle timeout. So the packet is sent again when packets still arrive: for the first of
//! them, the second, the fourth and so on, as they may be forged, or be a close of the peer's that is sent again, too.

use quiche::SendInfo;

use super::buf::Quic;

#[derive(Debug, Default)]
pub(super) struct LastClose {
    sent: Option<Box<Sent>>,
}

#[derive(Debug)]
struct Sent {
    packet: Box<[u8]>,
    info: SendInfo,
    /// Datagrams that have arrived since.
    received: u32,
    is_due: bool,
}

impl LastClose {
    /// quiche has written a packet.
    pub(super) fn on_sent(&mut self, quic: &Quic, packet: &[u8], info: SendInfo) {
        // Before, the peer's address may not be its own.
        if quic.is_established() && quic.is_draining() && quic.local_error().is_some() {
            self.sent = Some(Box::new(Sent { packet: packet.into(), info, received: 0, is_due: false }));
        }
    }

    /// A datagram arrived.
    pub(super) fn on_received(&mut self) {
        if let Some(sent) = &mut self.sent {
            sent.received += 1;
            sent.is_due |= sent.received.is_power_of_two();
        }
    }

    /// The packet to send again now.
    pub(super) fn take_due(&mut self) -> Option<(&[u8], SendInfo)> {
        let sent = self.sent.as_mut()?;
        std::mem::take(&mut sent.is_due).then_some((&sent.packet, sent.info))
    }
}
