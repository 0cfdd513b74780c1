//! Paths: their addresses, and what quiche exposes of them.

use std::net::SocketAddr;

use quiche::SendInfo;

use super::buf::Quic;

/// The local address and the peer's.
pub(super) type Addresses = (SocketAddr, SocketAddr);

/// Where a datagram arrives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// On a path that quiche knows, or makes.
    Known(Addresses),
    /// On a path whose addresses are then the datagram's.
    TakeOver(Addresses),
}

#[derive(Debug)]
pub(super) struct TakenOver {
    /// The path that quiche knows.
    pub(super) path: Addresses,
    /// The actual addresses of its packets.
    pub(super) actual: Addresses,
}

pub(super) fn addresses(stats: &quiche::PathStats) -> Addresses {
    (stats.local_addr, stats.peer_addr)
}

pub(super) fn stats(quic: &Quic, path: Addresses) -> Option<quiche::PathStats> {
    quic.path_stats().find(|stats| addresses(stats) == path)
}

pub(super) fn is_validated(quic: &Quic, (local, peer): Addresses) -> bool {
    quic.is_path_validated(local, peer).unwrap_or(false)
}

/// Whether quiche abandoned a path.
pub(super) fn is_failed(path: &quiche::PathStats) -> bool {
    format!("{:?}", path.validation_state) == "Failed"
}

/// Whether a challenge on a path was answered, possibly one too small to validate the path. quiche does not export the
/// type of the state that says so.
pub(super) fn is_reachable(quic: &Quic, path: Addresses) -> bool {
    let state = stats(quic, path).map(|stats| format!("{:?}", stats.validation_state));
    state.is_some_and(|state| ["ValidatingMTU", "Validated"].contains(&&*state))
}

/// The length of a packet with a PATH_CHALLENGE frame and nothing else.
pub(super) fn max_probe_len(quic: &Quic) -> usize {
    const FIRST_BYTE: usize = 1;
    // quiche needs more only with 2^15 packets in flight.
    const PACKET_NUMBER: usize = 2;
    const PATH_CHALLENGE: usize = 9;
    const TAG: usize = 16;
    FIRST_BYTE + quic.destination_id().len() + PACKET_NUMBER + PATH_CHALLENGE + TAG
}

/// Writes a packet for a path. With both addresses given, quiche would send data even on a path that is not the active
/// one.
pub(super) fn send_on(quic: &mut Quic, buf: &mut [u8], path: Addresses) -> Result<(usize, SendInfo), quiche::Error> {
    quic.send_on_path(buf, None, Some(path.1))
}
