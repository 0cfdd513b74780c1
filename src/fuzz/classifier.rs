//! `wt/classify`: which streams belong to sessions, on a real connection.

use std::cell::RefCell;

use super::input::Input;
use super::peer::{CLIENT, Peer, SERVER};
use super::settings;
use crate::transport::Transport;
use crate::transport::cid::{CID_LEN, Cid};
use crate::wire::{code, varint};
use crate::wt::{Classification, PartialHeader, classify, is_bidi};

/// Streams of each kind on one connection: fewer than both sides allow.
const STREAMS_PER_CONNECTION: u64 = 50;
/// Bytes of a stream.
const MAX_STREAM: usize = 1000;

struct Pair {
    client: Peer,
    server: Transport,
    /// Streams opened.
    opened: u64,
}

impl Pair {
    fn new() -> Self {
        let mut quic = settings::server().into_endpoint().and_then(|config| config.to_quiche()).expect("settings");
        let server = Transport::accept(Cid([1; CID_LEN]), None, None, SERVER, CLIENT, &mut quic).expect("a connection");
        let mut pair = Pair { client: Peer::client(&settings::client()), server, opened: 0 };
        while !pair.client.is_established() || !pair.server.is_established() {
            pair.exchange();
        }
        pair
    }

    /// Delivers the packets of both sides.
    fn exchange(&mut self) {
        while let Some((mut packet, from, to)) = self.client.send() {
            self.server.recv(&mut packet, from, to, true);
        }
        let mut packet = vec![0; 1500];
        while let Some(sent) = self.server.send(&mut packet, &mut 0) {
            self.client.recv(&mut packet[..sent.len], sent.info.from, sent.info.to);
        }
    }
}

thread_local! {
    static PAIR: RefCell<Option<Pair>> = const { RefCell::new(None) };
}

/// A stream in up to four pieces: it is classified by its bytes, however they arrive, and only the header is read.
pub fn classifier(input: &[u8]) {
    let mut input = Input::new(input);
    let flags = input.byte();
    let (kind_of_stream, with_fin) = (u64::from(flags & 1) * 2, flags & 2 != 0);
    let cuts = input.array::<3>();
    let bytes = input.take(MAX_STREAM);
    if bytes.is_empty() {
        return;
    }
    let mut cuts = cuts.map(|cut| usize::from(cut) % (bytes.len() + 1));
    cuts.sort_unstable();
    PAIR.with_borrow_mut(|slot| {
        let mut pair = slot.take().filter(|pair| pair.opened < STREAMS_PER_CONNECTION).unwrap_or_else(Pair::new);
        let stream = pair.opened * 4 + kind_of_stream;
        pair.opened += 1;
        check(&mut pair, stream, bytes, &cuts, with_fin);
        *slot = Some(pair);
    });
}

fn check(pair: &mut Pair, stream: u64, bytes: &[u8], cuts: &[usize], with_fin: bool) {
    let (mut header, mut start, mut verdict) = (PartialHeader::default(), 0, None);
    for &end in cuts.iter().chain([&bytes.len()]) {
        let is_last = end == bytes.len();
        if start == end {
            continue;
        }
        pair.client.write(stream, &bytes[start..end], is_last && with_fin);
        pair.exchange();
        // Known from the datagram at times, and without effect.
        let first = (start == 0 && !with_fin).then(|| bytes[0]);
        start = end;
        if verdict.is_some() {
            continue;
        }
        match classify(&mut pair.server, stream, header, first) {
            Ok(Classification::Incomplete(partial)) => header = partial,
            Ok(other) => verdict = Some(other),
            Err(_) => panic!("a peek consumed data"),
        }
    }

    let wanted = if is_bidi(stream) { code::BIDI_SIGNAL } else { code::UNI_TYPE };
    let kind = varint::read(bytes);
    let session = kind.filter(|(kind, _)| *kind == wanted).and_then(|(_, len)| {
        let (session, session_len) = varint::read(&bytes[len..])?;
        Some((session, len + session_len))
    });
    let left = read_all(&mut pair.server, stream);
    match verdict {
        Some(Classification::Session { session: named, .. }) => {
            let (session, len) = session.expect("a session's header");
            assert_eq!((named, &left[..]), (session, &bytes[len..]));
        }
        Some(Classification::Http) => {
            assert!(kind.is_some_and(|(kind, _)| kind != wanted), "HTTP/3 without its first bytes");
            // `40 xx` and `xx` are the same number.
            assert!(left == bytes || bytes[0] == 0x40 && left == bytes[1..], "HTTP/3 lost bytes");
        }
        Some(Classification::Foreign(named)) => {
            let (kind, len) = kind.expect("a type");
            assert!(named == kind && kind != wanted);
            assert_eq!(left, bytes[len..]);
        }
        Some(Classification::Ended) => {
            assert!(with_fin && session.is_none() && kind.is_none_or(|(kind, _)| kind == wanted));
        }
        Some(Classification::Incomplete(_)) => unreachable!("no verdict"),
        None => assert!(!with_fin && session.is_none() && kind.is_none_or(|(kind, _)| kind == wanted)),
    }
}

fn read_all(transport: &mut Transport, stream: u64) -> Vec<u8> {
    let (mut all, mut buf) = (Vec::new(), [0; MAX_STREAM]);
    loop {
        match transport.read(stream, &mut buf) {
            Ok((len, fin)) => {
                all.extend_from_slice(&buf[..len]);
                if fin {
                    return all;
                }
            }
            Err(_) => return all,
        }
    }
}
