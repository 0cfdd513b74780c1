//! Streams that quiche never frees, and credit that never returns.

use quiche::{Error, Shutdown};

use crate::pair::{Http3, Pair, is_collected, read};

const STREAMS: u64 = 4;

fn uni(n: u64) -> u64 {
    2 + 4 * n
}

#[test]
fn the_credit_of_unidirectional_streams_that_were_only_stopped_never_returns() {
    // transport/stop_credit.rs
    let mut pair = Pair::with(|_| {}, |server| server.set_initial_max_streams_uni(STREAMS));
    for stream in (0..STREAMS).map(uni) {
        pair.client_sends(stream, b"abc", false);
        pair.server.stream_shutdown(stream, Shutdown::Read, 7).unwrap();
        pair.pass();
        assert_eq!(pair.client.stream_capacity(stream), Err(Error::StreamStopped(7)));
        pair.pass();
        // The peer's RESET_STREAM is here, but it cannot be read: the stream is not readable.
        assert!(pair.server.stream_finished(stream));
        assert_eq!(pair.server.stream_recv(stream, &mut [0; 10]), Err(Error::Done));
    }
    assert_eq!(pair.client.peer_streams_left_uni(), 0);
    assert_eq!(pair.client.stream_send(uni(STREAMS), b"abc", false), Err(Error::StreamLimit));
}

#[test]
fn the_credit_of_unidirectional_streams_that_were_read_to_the_end_returns() {
    // transport/stop_credit.rs
    let mut pair = Pair::with(|_| {}, |server| server.set_initial_max_streams_uni(STREAMS));
    for stream in (0..3 * STREAMS).map(uni) {
        pair.client_sends(stream, b"abc", true);
        assert_eq!(read(&mut pair.server, stream), (b"abc".to_vec(), true));
        pair.pass();
    }
    assert!(pair.client.peer_streams_left_uni() > 0);
}

#[test]
fn a_stream_stopped_after_its_answer_was_acknowledged_is_never_freed() {
    // transport/stop_credit.rs
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    pair.server_sends(0, b"answer", true);
    pair.server.stream_shutdown(0, Shutdown::Read, 7).unwrap();
    pair.pass();
    assert!(pair.server.stream_closed(0), "both directions are over");
    assert!(!is_collected(&mut pair.server, 0));
    assert_eq!(pair.server.stream_recv(0, &mut [0; 10]), Err(Error::Done));
    assert!(!is_collected(&mut pair.server, 0));
}

#[test]
fn a_stream_stopped_before_its_answer_was_acknowledged_is_freed() {
    // transport/stop_credit.rs
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    pair.server.stream_shutdown(0, Shutdown::Read, 7).unwrap();
    pair.server_sends(0, b"answer", true);
    assert!(is_collected(&mut pair.server, 0));
}

#[test]
fn a_stream_stopped_and_reset_at_once_is_freed() {
    // transport/stream_io.rs `abort` does both.
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    pair.server.stream_shutdown(0, Shutdown::Write, 7).unwrap();
    pair.server.stream_shutdown(0, Shutdown::Read, 7).unwrap();
    pair.pass();
    assert!(is_collected(&mut pair.server, 0));
}

#[test]
fn a_stopped_stream_is_never_freed_if_our_reset_was_acknowledged_before_the_peers_reset_came() {
    // transport/gone.rs remembers a bounded number of such streams.
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    pair.server.stream_shutdown(0, Shutdown::Write, 7).unwrap();
    pair.pass();
    pair.server.stream_shutdown(0, Shutdown::Read, 7).unwrap();
    pair.pass();
    assert_eq!(pair.server.stats().reset_stream_count_remote, 1, "the peer's reset is here");
    assert!(pair.server.stream_closed(0));
    assert!(!is_collected(&mut pair.server, 0));
}

#[test]
fn http3_never_gives_back_the_credit_of_ended_streams_of_unknown_types() {
    // No cure: S15, mended in quiche after 0.30 (ee28072d); see src/app/sim_tests/faults/raw.rs.
    let mut http3 = Http3::with(|_| {}, |server| server.set_initial_max_streams_uni(3 + STREAMS));
    for stream in (3..3 + STREAMS).map(uni) {
        http3.pair.client_sends(stream, b"\x21and so on", true);
        assert_eq!(http3.poll_server(), None);
        http3.pair.pass();
    }
    assert_eq!(http3.pair.client.peer_streams_left_uni(), 0);
}

#[test]
fn http3_gives_back_the_credit_of_streams_that_are_nothing_but_an_unknown_type() {
    // Nothing to cure.
    let mut http3 = Http3::with(|_| {}, |server| server.set_initial_max_streams_uni(3 + STREAMS));
    for stream in (3..3 + STREAMS).map(uni) {
        http3.pair.client_sends(stream, b"\x21", true);
        assert_eq!(http3.poll_server(), None);
        http3.pair.pass();
    }
    assert!(http3.pair.client.peer_streams_left_uni() > 0);
}
