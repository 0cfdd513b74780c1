//! quiche::h3: GREASE, and ids of requests.

use std::cell::Cell;

use quiche::{Error, h3};

use crate::pair::{Http3, is_headers, read, request, response};

const HEADERS: u8 = 0x01;

/// The first varint of some bytes.
fn varint(bytes: &[u8]) -> u64 {
    let len = 1 << (bytes[0] >> 6);
    bytes[..len].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)) & (u64::MAX >> (64 - 8 * len + 2))
}

/// Frame types that mean nothing (RFC 9114 section 7.2.8).
fn is_grease(kind: u64) -> bool {
    kind >= 0x21 && (kind - 0x21).is_multiple_of(0x1f)
}

#[test]
fn grease_frames_stand_before_the_first_head_that_a_connection_sends_and_before_no_other() {
    // transport/grease.rs
    let mut http3 = Http3::with(|client| client.grease(true), |server| server.grease(true));
    for (n, stream) in [0, 4].into_iter().enumerate() {
        http3.request(true);
        let first = varint(&read(&mut http3.pair.server, stream).0);
        assert_eq!((is_grease(first), first == u64::from(HEADERS)), (n == 0, n == 1));
    }
    let mut http3 = Http3::with(|client| client.grease(true), |server| server.grease(true));
    http3.request(true);
    http3.request(true);
    while http3.poll_server().is_some() {}
    // It need not be the first stream.
    for (n, stream) in [4, 0].into_iter().enumerate() {
        http3.server.send_response(&mut http3.pair.server, stream, &response(), true).unwrap();
        http3.pair.pass();
        let first = varint(&read(&mut http3.pair.client, stream).0);
        assert_eq!((is_grease(first), first == u64::from(HEADERS)), (n == 0, n == 1));
    }
}

#[test]
fn without_grease_there_are_no_such_frames_and_no_such_stream() {
    // transport/grease.rs
    let mut http3 = Http3::new();
    http3.request(true);
    assert_eq!(read(&mut http3.pair.server, 0).0[0], HEADERS);
    assert_eq!(http3.pair.client.peer_streams_left_uni(), 97, "control and two of QPACK");
    let http3 = Http3::with(|client| client.grease(true), |_| {});
    assert_eq!(http3.pair.client.peer_streams_left_uni(), 96);
}

/// A field whose value is longer when it is encoded than when its length was asked for.
#[derive(Default)]
struct Growing(Cell<bool>);

impl h3::NameValue for Growing {
    fn name(&self) -> &[u8] {
        b"x"
    }

    fn value(&self) -> &[u8] {
        if self.0.replace(true) { &[0; 256] } else { b"" }
    }
}

#[test]
fn a_head_that_cannot_be_encoded_on_the_peers_control_stream_uses_the_grease_frames_up() {
    // transport/grease.rs
    let mut http3 = Http3::with(|_| {}, |server| server.grease(true));
    let mut send = |stream| {
        let head = [Growing::default()];
        http3.server.send_response(&mut http3.pair.server, stream, &head, false)
    };
    assert_eq!(send(30), Err(h3::Error::FrameUnexpected), "no stream that quiche::h3 knows");
    const CONTROL: u64 = 2;
    assert_eq!(send(CONTROL), Err(h3::Error::InternalError));
    // Nothing else has happened, and the first head has no GREASE frames before it.
    http3.pair.pass();
    assert!(http3.pair.server.local_error().is_none() && http3.pair.client.peer_error().is_none());
    let stream = http3.request(true);
    assert!(is_headers(http3.poll_server()));
    http3.server.send_response(&mut http3.pair.server, stream, &response(), true).unwrap();
    http3.pair.pass();
    assert_eq!(read(&mut http3.pair.client, stream).0[0], HEADERS);
}

fn send_request(http3: &mut Http3) -> h3::Result<u64> {
    http3.client.send_request(&mut http3.pair.client, &request(), true)
}

#[test]
fn a_request_is_written_into_a_stream_that_was_opened_by_hand() {
    // transport/local_ids.rs
    let mut http3 = Http3::new();
    http3.pair.client_sends(0, b"by hand", false);
    assert_eq!(send_request(&mut http3), Ok(0));
    http3.pair.pass();
    let (bytes, fin) = read(&mut http3.pair.server, 0);
    assert!(bytes.starts_with(b"by hand\x01") && fin);
}

#[test]
fn a_request_fails_for_ever_while_a_stream_that_was_ended_by_hand_has_the_next_id() {
    // transport/local_ids.rs
    let mut http3 = Http3::new();
    http3.pair.client.stream_send(0, b"by hand", true).unwrap();
    for _ in 0..3 {
        assert_eq!(send_request(&mut http3), Err(h3::Error::TransportError(Error::FinalSize)));
        http3.pair.pass();
    }
}

#[test]
fn a_request_is_blocked_for_ever_if_the_next_id_is_that_of_a_dropped_stream() {
    // transport/local_ids.rs
    let mut http3 = Http3::new();
    http3.pair.client_sends(0, b"by hand", true);
    read(&mut http3.pair.server, 0);
    http3.pair.server_sends(0, b"answer", true);
    read(&mut http3.pair.client, 0);
    for _ in 0..3 {
        assert_eq!(send_request(&mut http3), Err(h3::Error::StreamBlocked));
        http3.pair.pass();
    }
}

#[test]
fn http3_says_finished_of_a_request_stream_with_nothing_but_a_fin_and_never_headers() {
    // endpoint/requests.rs `on_finished`
    let mut http3 = Http3::new();
    http3.pair.client_sends(0, b"", true);
    assert_eq!(http3.poll_server(), Some((0, h3::Event::Finished)));
    assert_eq!(http3.poll_server(), None);
    assert!(!is_headers(http3.poll_server()));
}
