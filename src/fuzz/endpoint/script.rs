//! The bytes that a peer writes by hand: pieces of HTTP/3 and WebTransport, and any others.

use crate::fuzz::input::Input;
use crate::fuzz::peer::Peer;
use crate::wire::varint;

/// One operation of a peer that writes its streams by hand.
pub(super) fn act(peer: &mut Peer, is_client: bool, input: &mut Input<'_>) {
    // The lowest bits of an id: who opened the stream, and whether in both directions.
    let kind = match (is_client, input.byte() % 4) {
        (true, 0 | 1) | (false, 0) => 0,
        (true, _) => 2,
        (false, 1) => 1,
        (false, _) => 3,
    };
    let stream = u64::from(input.byte() % 16) * 4 + kind;
    match input.byte() % 8 {
        0 => peer.reset(stream, u64::from(input.u16())),
        1 => peer.stop(stream, u64::from(input.u16())),
        2 => peer.send_datagram(input.short()),
        3 if input.byte() == 0xff => peer.close(u64::from(input.u16()), input.short()),
        _ => {
            let mut bytes = Vec::new();
            let flags = input.byte();
            for _ in 0..=flags % 4 {
                piece(&mut bytes, is_client, input);
            }
            peer.write(stream, &bytes, flags & 4 != 0);
        }
    }
}

fn piece(out: &mut Vec<u8>, is_client: bool, input: &mut Input<'_>) {
    match input.byte() % 16 {
        0 => out.extend_from_slice(input.short()),
        // A control stream with SETTINGS: extended CONNECT, datagrams, and WebTransport of two drafts.
        1 => out.extend_from_slice(b"\x00\x04\x12\x08\x01\x33\x01\xab\x60\x37\x42\x01\xc0\x00\x00\x00\xc6\x71\x70\x6a\x10"),
        // The same of all drafts, with limits of sessions.
        2 => out.extend_from_slice(
            b"\x00\x04\x1c\x08\x01\x33\x01\xab\x60\x37\x42\x01\xac\x7c\xf0\x00\x01\x6b\x61\x44\x00\x6b\x65\x04\x6b\x64\x04\
              \x94\xe9\xcd\x29\x04",
        ),
        // HEADERS of entries of QPACK's static table: GET https://a/, or 200.
        3 if is_client => frame(out, 0x01, b"\0\0\xd1\xd7\x50\x01a\xc1"),
        3 => frame(out, 0x01, b"\0\0\xd9"),
        4 if is_client => frame(out, 0x01, b"\0\0\xd4\xd7\x50\x01a\x51\x09/api/echo"),
        4 => frame(out, 0x01, b"\0\0\xd8"),
        // CONNECT with `:protocol` webtransport.
        5 => frame(out, 0x01, b"\0\0\xcf\xd7\x50\x01a\x51\x08/wt/echo\x27\x02:protocol\x0cwebtransport"),
        // Fields of the input's own.
        6 => frame(out, 0x01, &[b"\0\0", input.short()].concat()),
        7 => frame(out, 0x00, input.short()),
        8 => {
            let length = input.byte();
            frame(out, 0x00, &vec![length; 16 * usize::from(length)]);
        }
        // Streams of a session.
        9 => out.extend_from_slice(&[0x40, 0x41, input.byte() % 64]),
        10 => out.extend_from_slice(&[0x40, 0x54, input.byte() % 64]),
        // Capsules in a DATA frame.
        11 => frame(out, 0x00, b"\x68\x43\x07\0\0\0\x07bye"),
        12 => {
            let mut capsule = Vec::new();
            varint::put(&mut capsule, 0x190b_4d3d + u64::from(input.byte() % 8));
            varint::put(&mut capsule, 2);
            capsule.extend_from_slice(&(0x4000 | input.u16()).to_be_bytes());
            frame(out, 0x00, &capsule);
        }
        // GOAWAY, MAX_PUSH_ID, CANCEL_PUSH, PRIORITY_UPDATE.
        13 => {
            let kind = input.choose(&[0x07, 0x0d, 0x03]);
            frame(out, kind, &[input.byte() % 64]);
        }
        14 => frame(out, 0xf0700, &[&[input.byte() % 64], input.short()].concat()),
        // A frame of any type.
        _ => {
            let kind = u64::from(input.u16());
            frame(out, kind, input.short());
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u64, payload: &[u8]) {
    varint::put(out, kind);
    varint::put(out, payload.len() as u64);
    out.extend_from_slice(payload);
}
