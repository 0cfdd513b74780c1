//! 0-RTT. quiche reports no early data between a Retry and the second try of the first flight, though data written
//! meantime goes with it; so a client takes a request for early until the handshake is complete, whatever
//! `is_in_early_data` says.

use super::buf::Quic;
use crate::wire::packet::take_long;

/// `ssl_early_data_accepted` of BoringSSL.
const EARLY_DATA_ACCEPTED: u32 = 2;

/// Whether the server accepted the data of 0-RTT packets.
pub(super) fn is_accepted(quic: &Quic) -> bool {
    quic.early_data_reason() == EARLY_DATA_ACCEPTED
}

/// Whether a datagram has a 0-RTT packet (RFC 9000 section 17.2.3).
pub(super) fn has_packet(mut datagram: &[u8]) -> bool {
    const TYPE: u8 = 0x30;
    const ZERO_RTT: u8 = 0x10;
    std::iter::from_fn(|| take_long(&mut datagram)).any(|packet| packet.bytes[0] & TYPE == ZERO_RTT)
}
