//! 0-RTT. quiche reports no early data between a Retry and the second try of the first flight, though data written
//! meanwhile is sent in it; so the end of the handshake decides if a request is early, not `is_in_early_data`.

use super::buf::Quic;

/// `ssl_early_data_accepted` of BoringSSL.
const EARLY_DATA_ACCEPTED: u32 = 2;

/// Whether the server accepted the data of 0-RTT packets.
pub(super) fn is_accepted(quic: &Quic) -> bool {
    quic.early_data_reason() == EARLY_DATA_ACCEPTED
}
