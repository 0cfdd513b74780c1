//! QUIC packets with a long header (RFC 9000 section 17.2), as far as it is not protected.

use super::varint;

/// A packet whose header has a length: all but those of version negotiation and Retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LongPacket<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where the packet number begins.
    pub(crate) number_at: usize,
}

/// Splits such a packet off the front of a datagram.
pub(crate) fn take_long<'a>(datagram: &mut &'a [u8]) -> Option<LongPacket<'a>> {
    const LONG_HEADER: u8 = 0x80;
    const TYPE: u8 = 0x30;
    const INITIAL: u8 = 0x00;
    const RETRY: u8 = 0x30;
    let kind = *datagram.first().filter(|first| *first & LONG_HEADER != 0)? & TYPE;
    if kind == RETRY {
        return None;
    }
    let mut rest = datagram.get(1 + 4..)?;
    for _ in 0..2 {
        let (len, cid) = rest.split_first()?;
        rest = cid.get(usize::from(*len)..)?;
    }
    if kind == INITIAL {
        let token_len = usize::try_from(varint::take(&mut rest)?).ok()?;
        rest = rest.get(token_len..)?;
    }
    let len = usize::try_from(varint::take(&mut rest)?).ok()?;
    let number_at = datagram.len() - rest.len();
    let (bytes, rest) = datagram.split_at_checked(number_at.checked_add(len)?)?;
    *datagram = rest;
    Some(LongPacket { bytes, number_at })
}
