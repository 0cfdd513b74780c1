//! 0-RTT. quiche reports no early data between a Retry and the second try of the first flight, though data written
//! meantime goes with it; so a client takes a request for early until the handshake is complete, whatever
//! `is_in_early_data` says.

use super::buf::Quic;

/// `ssl_early_data_accepted` of BoringSSL.
const EARLY_DATA_ACCEPTED: u32 = 2;

/// Whether the server accepted the data of 0-RTT packets.
pub(super) fn is_accepted(quic: &Quic) -> bool {
    quic.early_data_reason() == EARLY_DATA_ACCEPTED
}
