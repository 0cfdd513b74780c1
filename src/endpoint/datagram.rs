//! Shared parts of sending datagrams: HTTP datagrams (RFC 9297) of a request or a session, and QUIC DATAGRAM frames
//! (RFC 9221).

use crate::error::DatagramError;
use crate::transport::Transport;
use crate::wire::datagram;

/// Sends an HTTP datagram for the request, or the session, of `stream`.
pub(super) fn send_http(transport: &mut Transport, stream: u64, payload: &[u8]) -> Result<(), DatagramError> {
    if !transport.has_http_datagrams() {
        return Err(DatagramError::DisabledByPeer);
    }
    check_size(transport, payload.len(), datagram::overhead(stream))?;
    send(transport, datagram::build(stream, payload))
}

/// The largest payload of a datagram with `overhead` bytes in front of it.
pub(super) fn max_len(transport: &Transport, overhead: usize) -> Option<usize> {
    transport.max_datagram_len().map(|max| max.saturating_sub(overhead))
}

pub(super) fn check_size(transport: &Transport, size: usize, overhead: usize) -> Result<(), DatagramError> {
    let max = max_len(transport, overhead).ok_or(DatagramError::DisabledByPeer)?;
    if size > max { Err(DatagramError::TooLarge { size, max }) } else { Ok(()) }
}

pub(super) fn send(transport: &mut Transport, frame: Vec<u8>) -> Result<(), DatagramError> {
    transport.send_datagram(frame)
}
