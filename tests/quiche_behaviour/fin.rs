//! FINs that get lost, and FINs that come unnoticed.

use crate::pair::{Http3, Pair, flight, is_collected, is_headers, read, response, time_out, time_out_times};

const RETRIES: usize = 6;

#[test]
fn a_lost_lone_fin_is_not_sent_again_once_all_data_is_acknowledged() {
    // transport/stream_io.rs `write_fin`, which waits until transport/buf.rs `Unacked` is empty.
    let mut pair = Pair::new();
    pair.client.stream_send(2, b"abc", false).unwrap();
    pair.pass_to_server();
    // The acknowledgement is on its way when the FIN is written and lost.
    pair.client.stream_send(2, b"", true).unwrap();
    assert_eq!(pair.lose_from_client(), 1);
    pair.pass_to_client();
    let mut sent = 0;
    let (client, server) = (&mut pair.client, &mut pair.server);
    time_out_times(client, RETRIES, |client, packets| {
        sent += packets.len();
        deliver(server, client, packets);
    });
    assert!(sent > 0, "something was sent in place of what was lost");
    assert_eq!(read(&mut pair.server, 2), (b"abc".to_vec(), false));
    assert!(!pair.server.stream_finished(2));
}

#[test]
fn a_lost_lone_fin_is_sent_again_while_the_other_direction_of_the_stream_is_open() {
    // transport/stream_io.rs `write_fin`: only because such a stream is not complete yet, and so not dropped.
    let mut pair = Pair::new();
    pair.client.stream_send(0, b"abc", false).unwrap();
    pair.pass_to_server();
    pair.client.stream_send(0, b"", true).unwrap();
    assert_eq!(pair.lose_from_client(), 1);
    pair.pass_to_client();
    time_out_client(&mut pair);
    assert_eq!(read(&mut pair.server, 0), (b"abc".to_vec(), true));
}

#[test]
fn a_lost_fin_on_data_is_sent_again() {
    // transport/stream_io.rs `write`, with the FIN on the last bytes.
    let mut pair = Pair::new();
    pair.client.stream_send(2, b"abc", false).unwrap();
    pair.pass_to_server();
    pair.client.stream_send(2, b"d", true).unwrap();
    assert_eq!(pair.lose_from_client(), 1);
    pair.pass_to_client();
    time_out_client(&mut pair);
    assert_eq!(read(&mut pair.server, 2), (b"abcd".to_vec(), true));
}

#[test]
fn a_fin_written_before_the_data_is_sent_is_on_its_last_bytes() {
    // transport/stream_io.rs `write_fin`, transport/buf.rs `is_unsent`: the packets that were sent are the measure.
    let mut pair = Pair::new();
    let sent = pair.client.stats().sent;
    pair.client.stream_send(2, b"abc", false).unwrap();
    assert_eq!(pair.client.stats().sent, sent);
    pair.client.stream_send(2, b"", true).unwrap();
    assert_eq!(pair.lose_from_client(), 1);
    assert!(pair.client.stats().sent > sent);
    pair.pass_to_client();
    time_out_client(&mut pair);
    assert_eq!(read(&mut pair.server, 2), (b"abc".to_vec(), true));
}

#[test]
fn a_lost_lone_fin_is_not_sent_again_once_a_copy_of_acknowledged_data_is_acknowledged() {
    // Not cured: transport/stream_io.rs `write_fin` cannot see the copies that are in flight.
    let mut pair = Pair::new();
    pair.client.stream_send(2, b"abc", false).unwrap();
    let first = flight(&mut pair.client);
    let mut copy = Vec::new();
    time_out_times(&mut pair.client, 1, |_, packets| copy = packets);
    pair.server_takes(first);
    pair.pass_to_client();
    pair.client.stream_send(2, b"", true).unwrap();
    assert_eq!(pair.lose_from_client(), 1);
    pair.server_takes(copy);
    pair.pass_to_client();
    time_out_client(&mut pair);
    assert!(!pair.server.stream_finished(2));
}

/// A response of which the last packet, with the end, gets lost. Whether the client saw the end.
fn response_ends(end: impl FnOnce(&mut Http3)) -> bool {
    let mut http3 = Http3::new();
    let stream = http3.request(true);
    assert!(is_headers(http3.poll_server()));
    while http3.poll_server().is_some() {}
    http3.server.send_response(&mut http3.pair.server, stream, &response(), false).unwrap();
    http3.pair.pass_to_client();
    end(&mut http3);
    assert_eq!(http3.pair.lose_from_server(), 1);
    http3.pair.pass_to_server();
    let (client, server) = (&mut http3.pair.client, &mut http3.pair.server);
    time_out_times(server, RETRIES, |server, packets| deliver(client, server, packets));
    assert!(is_headers(http3.poll_client()));
    let mut ended = false;
    while let Some((_, event)) = http3.poll_client() {
        ended |= event == quiche::h3::Event::Finished;
    }
    ended
}

#[test]
fn the_lost_lone_fin_of_a_response_is_not_sent_again() {
    // transport/http3.rs `end_body`
    assert!(!response_ends(|http3| {
        http3.pair.server.stream_send(0, b"", true).unwrap();
    }));
}

#[test]
fn the_lost_fin_on_an_empty_data_frame_of_a_response_is_sent_again() {
    // transport/http3.rs `end_body`
    assert!(response_ends(|http3| {
        http3.server.send_body(&mut http3.pair.server, 0, b"", true).unwrap();
    }));
}

/// The FIN comes with data that was read before, as its acknowledgement was lost.
fn fin_on_known_data(stream: u64) -> Pair {
    let mut pair = Pair::new();
    pair.client.stream_send(stream, b"abc", false).unwrap();
    pair.pass_to_server();
    assert_eq!(read(&mut pair.server, stream), (b"abc".to_vec(), false));
    assert_eq!(pair.lose_from_server(), 1);
    pair.client.stream_send(stream, b"", true).unwrap();
    time_out(&mut pair.client);
    pair.pass();
    pair
}

#[test]
fn a_fin_on_bytes_that_were_read_makes_no_stream_readable() {
    // transport/unseen_fin.rs
    let mut pair = fin_on_known_data(0);
    assert!(pair.server.stream_finished(0));
    assert!(!pair.server.stream_readable(0));
    assert_eq!(pair.server.readable().next(), None);
    assert_eq!(pair.server.stream_recv(0, &mut [0; 10]), Err(quiche::Error::Done));
    // It does count as ended: the stream goes when our answer is acknowledged.
    pair.server_sends(0, b"answer", true);
    assert!(is_collected(&mut pair.server, 0));
}

#[test]
fn a_unidirectional_stream_whose_fin_came_on_bytes_that_were_read_is_never_collected() {
    // transport/unseen_fin.rs
    let mut pair = fin_on_known_data(2);
    assert!(pair.server.stream_finished(2));
    assert_eq!(pair.server.readable().next(), None);
    // Only a read could free it, and there is nothing to read.
    assert_eq!(pair.server.stream_recv(2, &mut [0; 10]), Err(quiche::Error::Done));
    assert_eq!(pair.server.stream_recv(2, &mut []), Err(quiche::Error::Done), "not InvalidStreamState: it is kept");
}

/// The client's timers fire, and everything arrives.
fn time_out_client(pair: &mut Pair) {
    let Pair { client, server, .. } = pair;
    time_out_times(client, RETRIES, |client, packets| deliver(server, client, packets));
}

/// Passes packets to one side, and its answers back to the other.
fn deliver(to: &mut quiche::Connection, from: &mut quiche::Connection, packets: Vec<crate::pair::Packet>) {
    for mut packet in packets {
        to.recv(&mut packet.bytes, quiche::RecvInfo { from: packet.from, to: packet.to }).unwrap();
    }
    for mut packet in crate::pair::flight(to) {
        from.recv(&mut packet.bytes, quiche::RecvInfo { from: packet.from, to: packet.to }).unwrap();
    }
}
