//! quiche::h3: frames of messages, whole and cut.

use quiche::h3::{self, Event};

use crate::pair::{Http3, is_headers, response};

const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// A request whose head the server has.
fn begun() -> Http3 {
    let mut http3 = Http3::new();
    assert_eq!(http3.request(false), 0);
    assert!(is_headers(http3.poll_server()));
    assert_eq!(http3.poll_server(), None);
    http3
}

fn recv_body(http3: &mut Http3) -> h3::Result<usize> {
    http3.server.recv_body(&mut http3.pair.server, 0, &mut [0; 1000])
}

const DATA_EVENT: Option<(u64, Event)> = Some((0, Event::Data));
const FINISHED: Option<(u64, Event)> = Some((0, Event::Finished));

#[test]
fn recv_body_stops_at_an_empty_data_frame_and_poll_says_nothing_of_the_data_behind_it() {
    // transport/http3.rs `read_body_with`
    let mut http3 = begun();
    http3.pair.client_sends(0, &[DATA, 0, DATA, 3, b'a', b'b', b'c'], false);
    assert_eq!(http3.poll_server(), DATA_EVENT);
    assert_eq!(recv_body(&mut http3), Err(h3::Error::Done));
    assert_eq!(http3.poll_server(), None);
    assert_eq!(http3.pair.server.stream_readable_len(0, 10), 3, "the frame's header is read, its data is not");
    assert_eq!(recv_body(&mut http3), Ok(3));
}

#[test]
fn poll_says_nothing_of_data_that_comes_after_its_frames_header_until_recv_body_was_called_in_vain() {
    // transport/http3.rs `read_body_with`
    let mut http3 = begun();
    http3.pair.client_sends(0, &[DATA, 3], false);
    assert_eq!(http3.poll_server(), DATA_EVENT, "of no data at all");
    http3.pair.client_sends(0, b"a", false);
    assert_eq!(http3.poll_server(), None);
    assert_eq!(recv_body(&mut http3), Ok(1));
    assert_eq!(recv_body(&mut http3), Err(h3::Error::Done));
    http3.pair.client_sends(0, b"b", false);
    assert_eq!(http3.poll_server(), DATA_EVENT);
}

#[test]
fn recv_body_finds_nothing_in_the_data_frame_behind_an_empty_one_and_no_data_event_follows() {
    // transport/http3.rs `read_body_with`
    let mut http3 = begun();
    http3.pair.client_sends(0, &[DATA, 0], false);
    assert_eq!(http3.poll_server(), DATA_EVENT);
    assert_eq!(recv_body(&mut http3), Err(h3::Error::Done));
    http3.pair.client_sends(0, &[DATA, 3, b'a', b'b', b'c'], false);
    assert_eq!(http3.poll_server(), DATA_EVENT);
    assert_eq!(recv_body(&mut http3), Err(h3::Error::Done), "of the empty frame");
    assert_eq!(http3.poll_server(), None);
    assert_eq!(recv_body(&mut http3), Ok(3));
}

#[test]
fn the_header_of_a_data_frame_in_a_packet_of_its_own_hides_nothing_if_recv_body_was_called_in_vain() {
    // transport/http3.rs `read_body_with`: so it is to be called after every Data event, until it says Done.
    let mut http3 = begun();
    http3.pair.client_sends(0, &[DATA, 3], false);
    assert_eq!(http3.poll_server(), DATA_EVENT);
    assert_eq!(recv_body(&mut http3), Err(h3::Error::Done));
    http3.pair.client_sends(0, b"abc", false);
    assert_eq!(http3.poll_server(), DATA_EVENT);
    assert_eq!(recv_body(&mut http3), Ok(3));
}

#[test]
fn a_data_frame_that_is_cut_by_the_fin_counts_as_whole() {
    // No cure: S14 lies in quiche; see src/app/sim_tests/faults/raw.rs.
    let mut http3 = begun();
    let frame = [&[DATA, 0x40, 0x64], &[b'a'; 50][..]].concat();
    http3.pair.client_sends(0, &frame, true);
    assert_eq!(http3.poll_server(), DATA_EVENT);
    assert_eq!(recv_body(&mut http3), Ok(50));
    assert_eq!(http3.poll_server(), FINISHED);
}

#[test]
fn trailers_that_are_cut_by_the_fin_count_as_none() {
    // No cure: S14 lies in quiche; see src/app/sim_tests/faults/raw.rs.
    let mut http3 = begun();
    http3.pair.client_sends(0, &[DATA, 1, b'a'], false);
    assert_eq!(http3.poll_server(), DATA_EVENT);
    assert_eq!(recv_body(&mut http3), Ok(1));
    http3.pair.client_sends(0, &[HEADERS, 50, 0, 0], true);
    assert_eq!(http3.poll_server(), FINISHED);
}

#[test]
fn a_client_takes_data_and_heads_behind_trailers() {
    // endpoint/drive.rs `close_for_trailers`: S14.
    let mut http3 = begun();
    let (server, quic) = (&mut http3.server, &mut http3.pair.server);
    server.send_response(quic, 0, &response(), false).unwrap();
    server.send_additional_headers(quic, 0, &[h3::Header::new(b"x", b"1")], true, false).unwrap();
    http3.pair.pass();
    assert!(is_headers(http3.poll_client()));
    assert!(is_headers(http3.poll_client()));
    http3.pair.server_sends(0, &[DATA, 1, b'a'], false);
    assert_eq!(http3.poll_client(), DATA_EVENT);
    assert_eq!(http3.client.recv_body(&mut http3.pair.client, 0, &mut [0; 10]), Ok(1));
    // Prefix of the field section, and `:status 200` of the static table.
    http3.pair.server_sends(0, &[HEADERS, 3, 0, 0, 0xd9], true);
    assert!(is_headers(http3.poll_client()));
    assert_eq!(http3.poll_client(), FINISHED);
}

#[test]
fn a_server_refuses_data_behind_trailers() {
    // Nothing to cure: only a client of quiche takes it, see above.
    let mut http3 = begun();
    http3.pair.client_sends(0, &[DATA, 1, b'a', HEADERS, 3, 0, 0, 0xd9, DATA, 1, b'a'], false);
    assert_eq!(http3.poll_server(), DATA_EVENT);
    assert_eq!(recv_body(&mut http3), Ok(1));
    assert!(is_headers(http3.poll_server()));
    assert_eq!(http3.server.poll(&mut http3.pair.server), Err(h3::Error::FrameUnexpected));
}
