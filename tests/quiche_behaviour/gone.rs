//! What quiche says of streams that it has dropped.

use quiche::{Error, Shutdown, h3};

use crate::pair::{Http3, Pair, is_collected, is_headers, read, response};

#[test]
fn sending_on_a_dropped_stream_answers_done_as_on_one_without_room() {
    // transport/gone.rs
    let mut pair = Pair::with(|client| client.set_initial_max_stream_data_bidi_local(3), |_| {});
    for stream in [0, 4] {
        pair.client_sends(stream, b"abc", stream == 0);
        read(&mut pair.server, stream);
        pair.server_sends(stream, b"abc", stream == 0);
    }
    assert_eq!(pair.server.stream_send(0, b"d", false), Err(Error::Done), "dropped");
    assert_eq!(pair.server.stream_send(4, b"d", false), Err(Error::Done), "no room");
    // The capacity tells them apart.
    assert_eq!(pair.server.stream_capacity(0), Err(Error::InvalidStreamState(0)));
    assert_eq!(pair.server.stream_capacity(4), Ok(0));
}

#[test]
fn a_stream_with_data_fin_and_stop_sending_in_one_packet_is_dropped_when_it_is_read() {
    // transport/gone.rs
    let mut pair = Pair::new();
    pair.client.stream_send(0, b"abc", true).unwrap();
    pair.client.stream_shutdown(0, Shutdown::Read, 7).unwrap();
    pair.pass();
    assert!(!is_collected(&mut pair.server, 0));
    assert_eq!(pair.server.writable().collect::<Vec<_>>(), [0], "listed, as it was stopped");
    assert_eq!(read(&mut pair.server, 0), (b"abc".to_vec(), true));
    assert!(is_collected(&mut pair.server, 0));
    assert_eq!(pair.server.stream_writable_next(), None, "the stop will never be told");
    assert_eq!(pair.server.stream_send(0, b"d", false), Err(Error::Done));
}

/// A response that the client cut off at both ends, and a server that has noticed nothing yet but at the transport.
fn cut_response() -> Http3 {
    let mut http3 = Http3::new();
    let stream = http3.request(true);
    assert!(is_headers(http3.poll_server()));
    http3.server.send_response(&mut http3.pair.server, stream, &response(), false).unwrap();
    http3.pair.pass();
    http3.pair.client.stream_shutdown(stream, Shutdown::Read, 7).unwrap();
    http3.pair.pass();
    assert_eq!(http3.pair.server.stream_capacity(stream), Err(Error::StreamStopped(7)));
    http3
}

#[test]
fn http3_keeps_its_entry_of_a_dropped_stream_until_a_write_fails() {
    // transport/gone.rs
    let mut http3 = cut_response();
    assert!(is_collected(&mut http3.pair.server, 0));
    while http3.poll_server().is_some() {}
    let (server, quic) = (&mut http3.server, &mut http3.pair.server);
    let gone = h3::Error::TransportError(Error::InvalidStreamState(0));
    assert_eq!(server.send_body(quic, 0, b"abc", false), Err(gone), "it still had the stream");
    assert_eq!(server.send_body(quic, 0, b"abc", false), Err(h3::Error::FrameUnexpected), "now it has not");
}

#[test]
fn http3_drops_the_entry_of_a_request_without_a_response_only_by_a_response_with_a_field() {
    // transport/gone.rs
    let mut http3 = Http3::new();
    let stream = http3.request(true);
    assert!(is_headers(http3.poll_server()));
    for direction in [quiche::Shutdown::Write, quiche::Shutdown::Read] {
        let _ = http3.pair.server.stream_shutdown(stream, direction, 5);
    }
    http3.pair.pass();
    assert!(is_collected(&mut http3.pair.server, stream));
    let (server, quic) = (&mut http3.server, &mut http3.pair.server);
    let gone = h3::Error::TransportError(Error::InvalidStreamState(stream));
    assert_eq!(server.send_body(quic, stream, b"", true), Err(h3::Error::FrameUnexpected));
    assert_eq!(server.send_response::<h3::Header, _>(quic, stream, &[], true), Err(h3::Error::InternalError));
    assert_eq!(server.send_response(quic, stream, &response(), true), Err(gone), "it still had the stream");
    assert_eq!(
        server.send_response(quic, stream, &response(), true),
        Err(h3::Error::FrameUnexpected),
        "now it has not"
    );
}

#[test]
fn http3_says_frame_unexpected_for_a_stream_that_ended_well() {
    // transport/gone.rs
    let mut http3 = Http3::new();
    let stream = http3.request(true);
    assert!(is_headers(http3.poll_server()));
    while http3.poll_server().is_some() {}
    http3.server.send_response(&mut http3.pair.server, stream, &response(), true).unwrap();
    http3.pair.pass();
    assert!(is_collected(&mut http3.pair.server, stream));
    let (server, quic) = (&mut http3.server, &mut http3.pair.server);
    assert_eq!(server.send_body(quic, stream, b"abc", false), Err(h3::Error::FrameUnexpected));
    assert_eq!(server.send_response(quic, stream, &response(), false), Err(h3::Error::FrameUnexpected));
}
