//! What `send` puts into packets, and where it comes to a halt.

use quiche::h3;

use crate::pair::{Http3, Pair, flight, read, request, time_out};

#[test]
fn a_packet_carries_one_stream_frame() {
    // No cure: many small streams cost many packets.
    let mut pair = Pair::new();
    for stream in [0, 4, 8] {
        pair.client.stream_send(stream, b"abc", true).unwrap();
    }
    assert_eq!(flight(&mut pair.client).len(), 3);
}

#[test]
fn a_packet_carries_any_number_of_datagrams_but_no_stream_frame_with_them() {
    // No cure, and none needed.
    let mut pair = Pair::new();
    for _ in 0..5 {
        pair.client.dgram_send(b"abc").unwrap();
    }
    pair.client.stream_send(0, b"abc", true).unwrap();
    let mut packets = flight(&mut pair.client);
    assert_eq!(packets.len(), 2);
    packets.truncate(1);
    pair.server_takes(packets);
    let datagrams = std::iter::from_fn(|| pair.server.dgram_recv(&mut [0; 10]).ok()).count();
    assert_eq!(datagrams, 5);
    assert_eq!(pair.server.readable().next(), None, "the stream's data is in the other packet");
}

/// Stream 0 stands in the queue of those with something to send, and has nothing: its data was taken for lost, a datagram
/// took the packet in which it was to be sent again, and then it was acknowledged after all.
fn stalled(incremental: bool) -> Pair {
    let mut pair = Pair::new();
    pair.client.stream_send(0, b"abc", false).unwrap();
    pair.client.stream_priority(0, 0, incremental).unwrap();
    pair.pass_to_server();
    let late = flight(&mut pair.server);
    time_out(&mut pair.client);
    pair.client.dgram_send(b"abc").unwrap();
    let mut bytes = [0; 1500];
    let (len, info) = pair.client.send(&mut bytes).unwrap();
    let datagram = crate::pair::Packet { bytes: bytes[..len].to_vec(), from: info.from, to: info.to };
    pair.client_takes(late);
    pair.server_takes(vec![datagram]);
    assert_eq!(pair.server.dgram_recv(&mut [0; 10]), Ok(3), "the packet carried the datagram");
    pair
}

#[test]
fn a_stream_without_anything_to_send_in_front_of_the_queue_stops_the_connection_for_good() {
    // transport/stall.rs
    let mut pair = stalled(false);
    pair.pass();
    pair.client.stream_send(4, b"abc", true).unwrap();
    for _ in 0..10 {
        assert!(flight(&mut pair.client).is_empty());
    }
    assert!(pair.client.timeout().unwrap().as_secs() > 5, "only the idle timeout is left");
    // What the stream in front has to send gets it going.
    pair.client_sends(0, b"def", false);
    assert_eq!(read(&mut pair.server, 4), (b"abc".to_vec(), true));
}

#[test]
fn an_incremental_stream_without_anything_to_send_costs_one_call_of_send() {
    // transport/stall.rs
    let mut pair = stalled(true);
    pair.client.stream_priority(4, 0, true).unwrap();
    pair.client.stream_send(4, b"abc", true).unwrap();
    let empty_calls = (0..10).take_while(|_| flight(&mut pair.client).is_empty()).count();
    assert_eq!(empty_calls, 1);
}

#[test]
fn an_incremental_stream_without_anything_to_send_stops_those_that_are_less_urgent() {
    // transport/stall.rs
    let mut pair = stalled(true);
    pair.pass();
    pair.client.stream_priority(4, 127, true).unwrap();
    pair.client.stream_send(4, b"abc", true).unwrap();
    for _ in 0..10 {
        assert!(flight(&mut pair.client).is_empty());
    }
    pair.client.stream_priority(0, 127, true).unwrap();
    pair.pass();
    assert_eq!(read(&mut pair.server, 4), (b"abc".to_vec(), true));
}

#[test]
fn writes_ignore_the_congestion_window_while_a_probe_is_due() {
    // transport/write_limit.rs
    const WINDOW: u64 = 64 << 20;
    let mut pair = Pair::with(
        |client| {
            client.set_initial_max_data(WINDOW);
            client.set_initial_max_stream_data_bidi_local(WINDOW);
        },
        |_| {},
    );
    pair.client_sends(0, b"abc", false);
    pair.server.stream_send(0, b"abc", false).unwrap();
    pair.lose_from_server();
    time_out(&mut pair.server);
    pair.client.stream_send(0, b"def", false).unwrap();
    pair.pass_to_server();
    assert!(pair.server.path_stats().next().unwrap().cwnd < 100_000);
    assert_eq!(pair.server.stream_capacity(0).unwrap() as u64, WINDOW - 3);
}

#[test]
fn a_head_larger_than_the_congestion_window_is_blocked_for_ever() {
    // transport/http3.rs `stuck_head_limit`; quiche issue 1573.
    let mut http3 = Http3::new();
    let mut head = request();
    head.push(h3::Header::new(b"x", &[b'~'; 40_000]));
    for _ in 0..10 {
        let sent = http3.client.send_request(&mut http3.pair.client, &head, true);
        assert_eq!(sent, Err(h3::Error::StreamBlocked));
        assert!(flight(&mut http3.pair.client).is_empty(), "nothing to acknowledge, so the window does not grow");
        http3.pair.pass();
    }
}
