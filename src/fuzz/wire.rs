//! `wire/`: variable-length integers, capsules, HTTP datagrams.

use bytes::Bytes;

use super::input::Input;
use crate::wire::capsule::{self, Capsule, CapsuleError, Decoder, MAX_REASON};
use crate::wire::{datagram as http_datagram, varint as integer};

/// A variable-length integer: bounds, its shortest form, truncation.
pub fn varint(input: &[u8]) {
    match integer::read(input) {
        Some((value, len)) => {
            assert!(value <= integer::MAX);
            assert_eq!(len, integer::len_by_first(input[0]));
            assert!(integer::len(value) <= len, "the shortest form is longer");
            for cut in 0..len {
                assert_eq!(integer::read(&input[..cut]), None);
            }
            let mut shortest = Vec::new();
            integer::put(&mut shortest, value);
            assert_eq!(integer::read(&shortest), Some((value, integer::len(value))));
            assert_eq!(shortest.len(), integer::len(value));
        }
        None => assert!(input.first().is_none_or(|first| input.len() < integer::len_by_first(*first))),
    }
}

/// A stream of capsules, independent of how it is split; capsules that can be sent survive a round trip.
pub fn capsules(input: &[u8]) {
    let mut input = Input::new(input);
    let step = usize::from(input.byte()).max(1);
    let bytes = input.rest();
    let whole = read_capsules([bytes].into_iter());
    assert_eq!(read_capsules(bytes.chunks(step)), whole, "pieces of {step} bytes");
    let (capsules, end) = whole;
    for capsule in &capsules {
        let mut sent = Vec::new();
        match capsule {
            Capsule::Close { code, reason } => {
                assert!(reason.len() <= MAX_REASON);
                capsule::put_close(&mut sent, *code, reason);
            }
            Capsule::Drain => capsule::put_drain(&mut sent),
            Capsule::MaxData(max) => capsule::put_max_data(&mut sent, *max),
            Capsule::MaxStreams { bidi, max } => capsule::put_max_streams(&mut sent, *bidi, *max),
            Capsule::DataBlocked => capsule::put_data_blocked(&mut sent, 0),
            Capsule::StreamsBlocked => capsule::put_streams_blocked(&mut sent, true, 0),
            Capsule::Datagram(_) | Capsule::Unknown(_) => continue,
        }
        assert_eq!(read_capsules([&sent[..]].into_iter()), (vec![capsule.clone()], Ok(())));
    }
    let carried: usize = capsules.iter().map(carried).sum();
    assert!(carried <= bytes.len(), "more came out than went in");
    if end.is_ok() {
        assert!(bytes.is_empty() || !capsules.is_empty());
    }
}

/// The capsules before the first error, and the error or how the stream ends.
fn read_capsules<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Capsule>, Result<(), CapsuleError>) {
    let (mut decoder, mut capsules) = (Decoder::default(), Vec::new());
    for mut piece in pieces {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(capsule)) => capsules.push(capsule),
                Ok(None) => break,
                Err(error) => return (capsules, Err(error)),
            }
        }
        assert!(piece.is_empty(), "bytes are left although no capsule is complete");
    }
    let end = decoder.finish();
    (capsules, end)
}

/// Bytes of a capsule's value that the application gets.
fn carried(capsule: &Capsule) -> usize {
    match capsule {
        Capsule::Datagram(payload) => payload.len(),
        Capsule::Close { reason, .. } => reason.len(),
        _ => 0,
    }
}

/// The header of an HTTP datagram: bounds, and the way back.
pub fn datagram(input: &[u8]) {
    let frame = Bytes::copy_from_slice(input);
    let Some((stream, payload)) = http_datagram::parse(frame) else {
        assert!(integer::read(input).is_none_or(|(quarter, _)| quarter >= 1 << 60));
        return;
    };
    assert!(stream.is_multiple_of(4) && stream <= (1 << 62) - 4);
    assert!(input.ends_with(&payload));
    let built = http_datagram::build(stream, &payload);
    assert_eq!(built.len(), http_datagram::overhead(stream) + payload.len());
    assert_eq!(http_datagram::parse(Bytes::from(built)), Some((stream, payload)));
}
