//! Taking a stream off the list of readable ones, and what brings it back.

use quiche::Error;

use crate::pair::{Http3, Pair, read};

/// Takes a stream off the list of readable ones.
fn defer(conn: &mut quiche::Connection, stream: u64) {
    conn.stream_priority(stream, 0, false).unwrap();
    assert_eq!(conn.stream_readable_next(), Some(stream));
    conn.stream_priority(stream, 127, true).unwrap();
}

fn readable(conn: &quiche::Connection) -> Vec<u64> {
    let mut streams: Vec<u64> = conn.readable().collect();
    streams.sort_unstable();
    streams
}

#[test]
fn stream_readable_next_pops_exactly_the_stream_that_was_made_urgent_for_the_moment() {
    // transport/defer.rs
    let mut pair = Pair::new();
    for stream in [0, 4, 8] {
        pair.client_sends(stream, b"abc", false);
    }
    defer(&mut pair.server, 4);
    assert_eq!(readable(&pair.server), [0, 8]);
    assert!(pair.server.stream_readable(4), "it still has data");
    defer(&mut pair.server, 8);
    assert_eq!(readable(&pair.server), [0]);
}

#[test]
fn new_data_lists_a_deferred_stream_again_only_if_it_had_nothing_to_read() {
    // transport/defer.rs
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    defer(&mut pair.server, 0);
    pair.client_sends(0, b"def", false);
    assert_eq!(readable(&pair.server), [0; 0]);
    pair.client_sends(0, b"", true);
    assert_eq!(readable(&pair.server), [0; 0], "nor does the FIN");

    pair.client_sends(4, b"abc", false);
    defer(&mut pair.server, 4);
    assert_eq!(read(&mut pair.server, 4), (b"abc".to_vec(), false));
    pair.client_sends(4, b"def", false);
    assert_eq!(readable(&pair.server), [4]);
}

#[test]
fn a_read_of_nothing_lists_a_deferred_stream_again_if_it_is_incremental() {
    // transport/defer.rs
    let mut pair = Pair::new();
    for (stream, incremental) in [(0, true), (4, false)] {
        pair.client_sends(stream, b"abc", false);
        pair.server.stream_priority(stream, 0, false).unwrap();
        assert_eq!(pair.server.stream_readable_next(), Some(stream));
        pair.server.stream_priority(stream, 127, incremental).unwrap();
        assert_eq!(pair.server.stream_recv(stream, &mut []), Ok((0, false)));
    }
    assert_eq!(readable(&pair.server), [0]);
    assert_eq!(pair.server.stream_readable_len(0, 10), 3);
}

#[test]
fn a_read_of_nothing_on_a_lone_fin_leaves_a_stream_listed_that_is_gone() {
    // transport/defer.rs `restore` and transport/stream_io.rs `read` never read nothing from a stream without data.
    let mut pair = Pair::new();
    pair.client_sends(2, b"abc", false);
    assert_eq!(read(&mut pair.server, 2), (b"abc".to_vec(), false));
    pair.client_sends(2, b"", true);
    assert_eq!(pair.server.stream_recv(2, &mut []), Ok((0, true)));
    for _ in 0..3 {
        assert_eq!(readable(&pair.server), [2]);
        assert_eq!(pair.server.stream_recv(2, &mut [0; 10]), Err(Error::InvalidStreamState(2)));
    }
    assert_eq!(pair.server.stream_readable_next(), Some(2), "this alone takes it off");
    assert_eq!(readable(&pair.server), [0; 0]);
}

#[test]
fn poll_fails_for_ever_at_a_stream_that_is_listed_and_gone() {
    // transport/defer.rs `restore`, as above.
    let mut http3 = Http3::new();
    // A GREASE type, as first and only bytes, so that quiche::h3 has nothing to drain.
    let stream = 14;
    http3.pair.client_sends(stream, b"\x21", false);
    assert_eq!(read(&mut http3.pair.server, stream), (b"\x21".to_vec(), false));
    http3.pair.client_sends(stream, b"", true);
    assert_eq!(http3.pair.server.stream_recv(stream, &mut []), Ok((0, true)));
    for _ in 0..3 {
        let error = http3.server.poll(&mut http3.pair.server).unwrap_err();
        assert_eq!(error, quiche::h3::Error::TransportError(Error::InvalidStreamState(stream)));
    }
}
