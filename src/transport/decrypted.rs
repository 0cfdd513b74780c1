//! The frames of a datagram that quiche has processed: it decrypts packets in place.
//! `tests/quiche_behaviour` fails if it ever does not.

use super::cid::CID_LEN;
use crate::wire::{frame, packet, varint};

/// Bytes of authentication behind a packet's payload, in all cipher suites (RFC 9001 section 5.3).
const TAG: usize = 16;
/// Streams of a datagram whose beginnings are looked for.
const MAX_OPENINGS: usize = 32;

/// The payloads of the packets in a datagram (RFC 9000 sections 12.2 and 17), whose headers are not protected any more.
pub(super) fn payloads(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (bytes, number_at) = match packet::take_long(&mut rest) {
            Some(packet) => (packet.bytes, packet.number_at),
            // A short header is that of the last packet.
            None => (std::mem::take(&mut rest), 1 + CID_LEN),
        };
        let number_len = usize::from(bytes.first()? & 0x03) + 1;
        bytes.get(number_at + number_len..bytes.len().checked_sub(TAG)?)
    })
}

/// The beginning of a stream of HTTP/3, as far as it was in one frame of QUIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The first byte.
    pub(crate) first: u8,
    /// The first byte after a HEADERS frame.
    pub(crate) behind_head: Option<u8>,
}

/// The beginnings of the streams that begin in a datagram. They cost a hundredth of a [peek](super::peek).
#[derive(Debug)]
pub(crate) struct Openings {
    known: [(u64, Opening); MAX_OPENINGS],
    len: usize,
}

impl Openings {
    /// Of a datagram that quiche has processed. Those with long headers are left out: quiche may not have had the keys.
    pub(crate) fn of(datagram: &[u8]) -> Self {
        const LONG_HEADER: u8 = 0x80;
        let mut openings = Openings { known: [(0, Opening::default()); MAX_OPENINGS], len: 0 };
        if datagram.first().is_some_and(|first| first & LONG_HEADER == 0) {
            let begins = payloads(datagram).flat_map(frame::pieces).filter(|piece| piece.offset == 0);
            let found = begins.filter_map(|piece| Some((piece.stream?, opening(piece.data)?)));
            for (at, found) in openings.known.iter_mut().zip(found) {
                *at = found;
                openings.len += 1;
            }
        }
        openings
    }

    /// The beginning of a stream of which nothing could be read before this datagram.
    pub(crate) fn get(&self, stream: u64) -> Option<Opening> {
        self.known[..self.len].iter().find(|(id, _)| *id == stream).map(|(_, opening)| *opening)
    }
}

fn opening(data: &[u8]) -> Option<Opening> {
    const HEADERS: u8 = 0x01;
    let (&first, mut rest) = data.split_first()?;
    let mut behind = || {
        let len = usize::try_from(varint::take(&mut rest)?).ok()?;
        rest.get(len).copied()
    };
    Some(Opening { first, behind_head: if first == HEADERS { behind() } else { None } })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with a long header: its type, what is between the ids and the length, and its payload.
    fn long(kind: u8, token: &[u8], payload: &[u8]) -> Vec<u8> {
        let number_len = 2;
        let ids: &[u8] = &[3, 1, 2, 3, 0];
        let len = number_len as u8 + payload.len() as u8 + TAG as u8;
        let first = 0xc0 | kind << 4 | (number_len as u8 - 1);
        [&[first, 0, 0, 0, 1], ids, token, &[len], &vec![0; number_len], payload, &[0; TAG]].concat()
    }

    fn short(payload: &[u8]) -> Vec<u8> {
        [&[0x40][..], &[7; CID_LEN], &[0], payload, &[0; TAG]].concat()
    }

    #[test]
    fn the_payload_of_each_packet_in_a_datagram_is_found() {
        let (initial, early, handshake) =
            (long(0, &[2, 9, 9], b"initial"), long(1, &[], b"0-rtt"), long(2, &[], b"hs"));
        let datagram = [initial, early, handshake, short(b"1-rtt")].concat();
        let found: Vec<_> = payloads(&datagram).collect();
        assert_eq!(found, [&b"initial"[..], b"0-rtt", b"hs", b"1-rtt"]);
        assert_eq!(payloads(&short(b"")).collect::<Vec<_>>(), [b""]);
        for cut in 0..1 + CID_LEN + 1 + TAG {
            assert_eq!(payloads(&short(b"")[..cut]).count(), 0, "{cut}");
        }
        let retry = long(3, &[], b"token");
        assert_eq!(payloads(&retry[..1]).count(), 0);
    }

    #[test]
    fn the_beginnings_of_streams_are_found() {
        let first = |first| Some(Opening { first, behind_head: None });
        let frames: [&[u8]; 6] = [
            &[0x0a, 0x04, 0x02, b'x', b'y'],
            // Not the beginning.
            &[0x0e, 0x08, 0x01, 0x01, b'z'],
            &[0x01],
            // The first counts, as it does for quiche.
            &[0x0a, 0x04, 0x01, b'w'],
            // Without data.
            &[0x0b, 0x14, 0x00],
            &[0x08, 0x0c, b'v'],
        ];
        let openings = Openings::of(&short(&frames.concat()));
        let found = [4, 8, 12, 16, 20].map(|stream| openings.get(stream));
        assert_eq!(found, [first(b'x'), None, first(b'v'), None, None]);
        // quiche may have kept such a packet as it was, for want of keys.
        assert_eq!(Openings::of(&long(1, &[], frames[0])).get(4), None);
        assert_eq!(Openings::of(&[]).get(0), None);
    }

    #[test]
    fn the_frame_behind_a_head_is_found() {
        for (data, behind_head) in [
            (&[0x01, 0x02, 0xaa, 0xbb, 0x00, 0x05][..], Some(0x00)),
            (&[0x01, 0x40, 0x02, 0xaa, 0xbb, 0x40, 0x41], Some(0x40)),
            (&[0x01, 0x00, 0x21], Some(0x21)),
            (&[0x01, 0x02, 0xaa, 0xbb], None),
            (&[0x01, 0x40], None),
            (&[0x01], None),
            // GREASE comes first.
            (&[0x21, 0x00, 0x01, 0x00, 0x00], None),
        ] {
            assert_eq!(opening(data), Some(Opening { first: data[0], behind_head }), "{data:x?}");
        }
        let huge = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00];
        assert_eq!(opening(&huge), Some(Opening { first: 1, behind_head: None }));
        assert_eq!(opening(&[]), None);
    }

    #[test]
    fn openings_of_a_datagram_are_limited() {
        let frames: Vec<u8> = (0..40).flat_map(|n| [0x0a, n, 0x01, n]).collect();
        let openings = Openings::of(&short(&frames));
        let found: Vec<_> = (0..40).map_while(|n| openings.get(n)).map(|opening| opening.first).collect();
        assert_eq!(found, (0..MAX_OPENINGS as u8).collect::<Vec<_>>());
    }
}
