//! QUIC frames (RFC 9000 section 19), parsed only to find those with stream data.

use super::varint::take;

/// A frame with data that its receiver keeps in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// `None`: the data of a CRYPTO frame.
    pub(crate) stream: Option<u64>,
    /// Where the data is within the stream.
    pub(crate) offset: u64,
    pub(crate) data: &'a [u8],
}

/// The STREAM and CRYPTO frames in a packet's payload. Ends at the first frame that is malformed or unknown.
pub(crate) fn pieces(payload: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        loop {
            if let Some(piece) = next_frame(&mut rest)? {
                return Some(piece);
            }
        }
    })
}

/// Splits a frame off `rest`; `None` at the end.
fn next_frame<'a>(rest: &mut &'a [u8]) -> Option<Option<Piece<'a>>> {
    const PADDING: u8 = 0x00;
    const PING: u8 = 0x01;
    const ACK: u8 = 0x02;
    const ACK_ECN: u8 = 0x03;
    const RESET_STREAM: u8 = 0x04;
    const STOP_SENDING: u8 = 0x05;
    const CRYPTO: u8 = 0x06;
    const NEW_TOKEN: u8 = 0x07;
    const MAX_DATA: u8 = 0x10;
    const MAX_STREAM_DATA: u8 = 0x11;
    const STREAM_DATA_BLOCKED: u8 = 0x15;
    const STREAMS_BLOCKED_UNI: u8 = 0x17;
    const NEW_CONNECTION_ID: u8 = 0x18;
    const RETIRE_CONNECTION_ID: u8 = 0x19;
    const PATH_CHALLENGE: u8 = 0x1a;
    const PATH_RESPONSE: u8 = 0x1b;
    const HANDSHAKE_DONE: u8 = 0x1e;
    const DATAGRAM_WITH_LENGTH: u8 = 0x31;

    let (&kind, after) = rest.split_first()?;
    *rest = after;
    match kind {
        PADDING | PING | HANDSHAKE_DONE => {}
        ACK | ACK_ECN => {
            take_all(rest, 2)?;
            let ranges = take(rest)?;
            take_all(rest, 1)?;
            for _ in 0..ranges {
                take_all(rest, 2)?;
            }
            take_all(rest, if kind == ACK_ECN { 3 } else { 0 })?;
        }
        RESET_STREAM => take_all(rest, 3)?,
        STOP_SENDING | MAX_STREAM_DATA | STREAM_DATA_BLOCKED => take_all(rest, 2)?,
        MAX_DATA..=STREAMS_BLOCKED_UNI | RETIRE_CONNECTION_ID => take_all(rest, 1)?,
        CRYPTO => {
            let offset = take(rest)?;
            return Some(Some(Piece { stream: None, offset, data: take_prefixed(rest)? }));
        }
        0x08..=0x0f => {
            let stream = Some(take(rest)?);
            let offset = if kind & 0x04 != 0 { take(rest)? } else { 0 };
            let data = match kind & 0x02 != 0 {
                true => take_prefixed(rest)?,
                false => std::mem::take(rest),
            };
            return Some(Some(Piece { stream, offset, data }));
        }
        NEW_TOKEN | DATAGRAM_WITH_LENGTH => drop(take_prefixed(rest)?),
        NEW_CONNECTION_ID => {
            const RESET_TOKEN: usize = 16;
            take_all(rest, 2)?;
            let (&len, after) = rest.split_first()?;
            *rest = after.get(usize::from(len) + RESET_TOKEN..)?;
        }
        PATH_CHALLENGE | PATH_RESPONSE => *rest = rest.get(8..)?,
        // A close, a datagram up to the end of the packet, or an unknown frame.
        _ => return None,
    }
    Some(None)
}

fn take_all(rest: &mut &[u8], count: usize) -> Option<()> {
    (0..count).try_for_each(|_| take(rest).map(drop))
}

/// Splits bytes off that have their number before them.
fn take_prefixed<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(stream: u64, offset: u64, data: &[u8]) -> Piece<'_> {
        Piece { stream: Some(stream), offset, data }
    }

    #[test]
    fn data_is_found_between_all_other_frames() {
        let others: [&[u8]; 24] = [
            &[0x00],
            &[0x01],
            // ACK with two further ranges, and the same with counts of ECN marks.
            &[0x02, 0x09, 0x00, 0x02, 0x01, 0x00, 0x01, 0x00, 0x01],
            &[0x03, 0x09, 0x00, 0x01, 0x01, 0x00, 0x01, 0x01, 0x02, 0x03],
            &[0x04, 0x00, 0x41, 0x00, 0x05],
            &[0x05, 0x00, 0x41, 0x00],
            &[0x07, 0x03, 1, 2, 3],
            &[0x10, 0x80, 0, 0, 0],
            &[0x11, 0x04, 0x40, 0x01],
            &[0x12, 0x01],
            &[0x13, 0x01],
            &[0x14, 0x01],
            &[0x15, 0x00, 0x01],
            &[0x16, 0x01],
            &[0x17, 0x01],
            &[0x18, 1, 0, 4, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
            &[0x19, 0x01],
            &[0x1a, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1b, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1e],
            &[0x31, 0x02, 0xaa, 0xbb],
            &[0x00, 0x00, 0x00],
            &[0x10, 0x00],
            &[0x01, 0x01],
        ];
        for other in others {
            let data: [&[u8]; 4] = [
                &[0x0a, 0x04, 0x01, b'x'],
                &[0x0f, 0x44, 0x00, 0x05, 0x00],
                &[0x06, 0x01, 0x02, 1, 2],
                &[0x0c, 0x08, 0x20, b'a', b'b', b'c'],
            ];
            let payload = [other, data[0], other, data[1], other, data[2], other, data[3]].concat();
            let found: Vec<_> = pieces(&payload).collect();
            assert_eq!(
                found,
                [
                    stream(4, 0, b"x"),
                    stream(0x400, 5, b""),
                    Piece { stream: None, offset: 1, data: &[1, 2] },
                    stream(8, 32, b"abc"),
                ],
                "{other:x?}"
            );
        }
    }

    #[test]
    fn reading_ends_where_a_frame_is_cut_or_unknown() {
        let whole = [0x0a, 0x04, 0x02, b'x', b'y'];
        for cut in 0..whole.len() {
            assert_eq!(pieces(&whole[..cut]).count(), 0, "{cut}");
        }
        for end in
            [&[0x1c, 0, 0, 0][..], &[0x30, 1, 2], &[0x21], &[0x40, 0x01], &[0x02, 0, 0, 0xbf, 0xff, 0xff, 0xff, 0]]
        {
            let payload = [end, &whole].concat();
            assert_eq!(pieces(&payload).count(), 0, "{end:x?}");
        }
    }
}
