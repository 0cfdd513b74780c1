//! STOP_SENDING and RESET_STREAM, and what quiche says of them.

use quiche::{Error, Shutdown};

use crate::pair::{Pair, read};

#[test]
fn stop_sending_makes_a_stream_writable_only_if_its_mark_was_not_taken() {
    // transport/signals.rs
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    pair.client_sends(4, b"abc", false);
    // The mark of stream 0 is taken, that of stream 4 is not.
    assert_eq!(pair.server.stream_writable_next(), Some(0));
    pair.client.stream_shutdown(0, Shutdown::Read, 7).unwrap();
    pair.client.stream_shutdown(4, Shutdown::Read, 7).unwrap();
    pair.pass();
    assert_eq!(pair.server.stream_writable_next(), Some(4));
    assert_eq!(pair.server.stream_writable_next(), None);
    // The counter tells, and then each stream must be asked.
    assert_eq!(pair.server.stats().stopped_stream_count_remote, 2);
    assert_eq!(pair.server.stream_capacity(0), Err(Error::StreamStopped(7)));
}

#[test]
fn the_counter_of_stops_counts_also_those_of_streams_that_we_have_reset() {
    // transport/signals.rs
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    pair.server.stream_shutdown(0, Shutdown::Write, 5).unwrap();
    pair.client.stream_shutdown(0, Shutdown::Read, 7).unwrap();
    pair.pass();
    assert_eq!(pair.server.stats().stopped_stream_count_remote, 1);
    assert_eq!(pair.server.stats().reset_stream_count_local, 2, "and our one reset counts twice");
}

#[test]
fn the_reset_of_a_deferred_unread_stream_makes_no_stream_readable() {
    // transport/signals.rs
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    assert_eq!(pair.server.stream_readable_next(), Some(0));
    pair.client.stream_shutdown(0, Shutdown::Write, 7).unwrap();
    pair.pass();
    assert_eq!(pair.server.readable().next(), None);
    assert_eq!(pair.server.stats().reset_stream_count_remote, 1);
    assert!(pair.server.stream_readable(0), "asked for this one stream, quiche does tell");
    assert_eq!(pair.server.stream_recv(0, &mut [0; 10]), Err(Error::StreamReset(7)));
}

#[test]
fn the_reset_of_a_deferred_stream_that_was_read_makes_it_readable() {
    // transport/signals.rs
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    assert_eq!(pair.server.stream_readable_next(), Some(0));
    assert_eq!(read(&mut pair.server, 0), (b"abc".to_vec(), false));
    pair.client.stream_shutdown(0, Shutdown::Write, 7).unwrap();
    pair.pass();
    assert_eq!(pair.server.readable().collect::<Vec<_>>(), [0]);
}

#[test]
fn a_reset_drops_the_bytes_that_were_not_read() {
    // endpoint/drive.rs `on_received` looks at new streams after each packet.
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    assert_eq!(pair.server.stream_readable_len(0, 10), 3);
    pair.client.stream_shutdown(0, Shutdown::Write, 7).unwrap();
    pair.pass();
    assert_eq!(pair.server.stream_readable_len(0, 10), 0);
    assert_eq!(pair.server.stream_recv(0, &mut [0; 10]), Err(Error::StreamReset(7)));
}
