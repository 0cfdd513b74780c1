//! HTTP datagrams in QUIC DATAGRAM frames (RFC 9297 section 2.1): the quarter stream id, then the payload.

use bytes::{Buf, Bytes};

use super::varint;

/// RFC 9297 section 2.1: the largest stream id of a request is 2^62 - 4.
const MAX_QUARTER: u64 = (1 << 60) - 1;

/// Bytes before the payload of a datagram of the stream `stream`.
pub(crate) fn overhead(stream: u64) -> usize {
    varint::len(stream / 4)
}

/// The id of the stream that a datagram belongs to, and its payload. `None` if the quarter stream id is truncated or
/// too large: the connection is then closed with H3_DATAGRAM_ERROR.
pub(crate) fn parse(mut frame: Bytes) -> Option<(u64, Bytes)> {
    let (quarter, len) = varint::read(&frame)?;
    if quarter > MAX_QUARTER {
        return None;
    }
    frame.advance(len);
    Some((quarter * 4, frame))
}

/// A DATAGRAM frame's content for the stream `stream`.
pub(crate) fn build(stream: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(overhead(stream) + payload.len());
    varint::put(&mut frame, stream / 4);
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quarter_stream_id_comes_in_any_length_and_never_too_large() {
        let parsed = |bytes: &'static [u8]| parse(Bytes::from_static(bytes));
        assert_eq!(build(0, b"x"), b"\x00x");
        assert_eq!(build(4 * 0x40, b""), b"\x40\x40");
        assert_eq!(parsed(b"\x01payload"), Some((4, Bytes::from_static(b"payload"))));
        assert_eq!(parsed(b"\x40\x01p"), Some((4, Bytes::from_static(b"p"))));
        assert_eq!(parsed(b"\xc0\0\0\0\0\0\0\x02"), Some((8, Bytes::new())), "an empty payload is one");
        assert_eq!(parsed(b""), None);
        assert_eq!(parsed(b"\x40"), None);
        assert_eq!(parsed(b"\xd0\0\0\0\0\0\0\0"), None, "2^60 is too large");
        let largest = parsed(b"\xcf\xff\xff\xff\xff\xff\xff\xff").map(|(stream, _)| stream);
        assert_eq!(largest, Some((1 << 62) - 4));
    }
}
