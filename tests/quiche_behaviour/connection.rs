//! A connection's beginning and end.

use std::time::Duration;

use quiche::{Config, ConnectionId, Error, Header, RecvInfo};

use crate::pair::{
    Packet, Pair, accept, client_addr, config, connect, flight, read, server_addr, time_out, time_out_times,
};

fn bytes(packets: &[Packet]) -> usize {
    packets.iter().map(|packet| packet.bytes.len()).sum()
}

#[test]
fn a_server_sends_a_silent_client_more_than_three_times_what_came_as_the_padding_of_initials_is_not_counted() {
    // transport/amplification.rs
    let mut pair = Pair::unconnected(|_| {}, |_| {}, &[1; 16]);
    let first = flight(&mut pair.client);
    let came = bytes(&first);
    pair.server_takes(first);
    let mut sent = bytes(&flight(&mut pair.server));
    assert!(sent <= 3 * came);
    time_out_times(&mut pair.server, 4, |_, packets| sent += bytes(&packets));
    assert!(sent > 3 * came, "{sent} of {came}");
}

#[test]
fn between_a_retry_and_the_next_flight_is_in_early_data_is_false_though_data_goes_out_in_0_rtt() {
    // transport/early.rs; endpoint/connection.rs `is_early` asks whether the handshake is complete.
    let (mut client_config, mut server_config) = (config(), config());
    client_config.enable_early_data();
    server_config.enable_early_data();
    let (client, server) = (connect(&mut client_config, &[1; 16]), accept(&mut server_config));
    let mut first = Pair { client, server, seen_as: client_addr() };
    first.pass();
    let ticket = first.client.session().unwrap().to_vec();

    let mut client = connect(&mut client_config, &[1; 16]);
    client.set_session(&ticket).unwrap();
    let mut initial = flight(&mut client).remove(0);
    assert!(client.is_in_early_data());
    let header = Header::from_slice(&mut initial.bytes, 16).unwrap();
    let (new_scid, mut retry) = (ConnectionId::from_ref(&[3; 16]), vec![0; 1500]);
    let len = quiche::retry(&header.scid, &header.dcid, &new_scid, b"token", header.version, &mut retry).unwrap();
    client.recv(&mut retry[..len], RecvInfo { from: server_addr(), to: client_addr() }).unwrap();

    assert!(!client.is_in_early_data());
    assert_eq!(client.stream_send(0, b"early", true), Ok(5));
    let second = flight(&mut client);
    assert!(client.is_in_early_data());
    let odcid = Some(&header.dcid);
    let mut server = quiche::accept(&new_scid, odcid, server_addr(), client_addr(), &mut server_config).unwrap();
    for mut packet in second {
        server.recv(&mut packet.bytes, RecvInfo { from: client_addr(), to: server_addr() }).unwrap();
    }
    assert!(server.is_in_early_data());
    assert_eq!(read(&mut server, 0), (b"early".to_vec(), true));
}

#[test]
fn a_close_that_is_the_first_packet_from_a_server_makes_the_client_drain_three_first_timeouts_long() {
    // endpoint/drive.rs: `settle` reports the end of a connection without streams while it drains.
    let first_rtt = |config: &mut Config| config.set_initial_rtt(Duration::from_millis(333));
    let no_common_curve = |config: &mut Config| config.set_curves_list("P-256").unwrap();
    let mut pair = Pair::unconnected(first_rtt, no_common_curve, &[1; 16]);
    receive_invalid(&mut pair, Error::TlsFail);
    pair.pass_to_client();
    assert!(pair.client.is_draining());
    assert_eq!(pair.client.path_stats().next().unwrap().min_rtt, None, "the packet acknowledges nothing");
    let left = pair.client.timeout().unwrap();
    assert!((Duration::from_millis(2800)..=Duration::from_millis(2997)).contains(&left), "{left:?}");
}

/// The client's first flight, which the server cannot take.
fn receive_invalid(pair: &mut Pair, error: Error) {
    for mut packet in flight(&mut pair.client) {
        let info = RecvInfo { from: client_addr(), to: server_addr() };
        assert_eq!(pair.server.recv(&mut packet.bytes, info), Err(error));
    }
}

#[test]
fn a_server_that_closes_before_it_has_sent_anything_cannot_encrypt_the_close() {
    // transport/untold.rs
    let mut pair = Pair::unconnected(|_| {}, |_| {}, &[1; 16]);
    pair.pass_to_server();
    pair.server.close(false, 2, b"refused").unwrap();
    let mut buf = [0; 1500];
    // quiche primes Handshake keys with the number 0, and this packet has just that number.
    assert_eq!(pair.server.send(&mut buf).map(drop), Err(Error::CryptoFail));
    assert_eq!(pair.server.send(&mut buf).map(drop), Err(Error::Done), "and that was the only try");
    assert!(pair.server.is_draining());
}

#[test]
fn the_close_of_a_server_that_has_only_sent_an_acknowledgement_is_in_a_handshake_packet() {
    // transport/untold.rs
    let two_packets = |config: &mut Config| {
        config.set_curves_list("X25519MLKEM768").unwrap();
        config.set_max_recv_udp_payload_size(1000);
    };
    let any_curve = |config: &mut Config| config.set_curves_list("X25519MLKEM768").unwrap();
    let mut pair = Pair::unconnected(two_packets, any_curve, &[1; 16]);
    let info = RecvInfo { from: client_addr(), to: server_addr() };
    let [mut first, mut second]: [Packet; 2] = flight(&mut pair.client).try_into().ok().expect("two packets");
    pair.server.recv(&mut first.bytes, info).unwrap();
    pair.pass_to_client();
    assert_eq!(pair.server.recv(&mut second.bytes, info), Err(Error::InvalidTransportParam));
    let mut close = flight(&mut pair.server).remove(0).bytes;
    assert_eq!(Header::from_slice(&mut close, 16).unwrap().ty, quiche::Type::Handshake);
    // The client has no keys for it.
    let info = RecvInfo { from: server_addr(), to: client_addr() };
    pair.client.recv(&mut close, info).unwrap();
    assert_eq!(pair.client.peer_error(), None);
}

#[test]
fn a_server_that_closes_after_its_first_flight_sends_the_close() {
    // As above: only before the first flight is there no close.
    let mut pair = Pair::unconnected(|_| {}, |_| {}, &[1; 16]);
    pair.pass_to_server();
    pair.pass_to_client();
    pair.server.close(false, 2, b"refused").unwrap();
    pair.pass_to_client();
    assert_eq!(pair.client.peer_error().map(|error| error.error_code), Some(2));
}

#[test]
fn a_connection_with_an_open_request_is_not_kept_alive() {
    // endpoint/keep_alive.rs
    let idle = |config: &mut Config| config.set_max_idle_timeout(400);
    let mut pair = Pair::with(idle, idle);
    pair.client_sends(0, b"request", true);
    assert!(pair.client.timeout().unwrap() > Duration::from_millis(100), "no other timer is armed");
    time_out(&mut pair.client);
    assert!(pair.client.is_closed() && pair.client.is_timed_out());
}

#[test]
fn a_client_with_transport_parameters_that_are_invalid_is_told_nothing() {
    // transport/untold.rs
    let invalid = |config: &mut Config| config.set_max_recv_udp_payload_size(1000);
    let mut pair = Pair::unconnected(invalid, |_| {}, &[1; 16]);
    receive_invalid(&mut pair, Error::InvalidTransportParam);
    const TRANSPORT_PARAMETER_ERROR: u64 = 8;
    assert_eq!(pair.server.local_error().map(|error| error.error_code), Some(TRANSPORT_PARAMETER_ERROR));
    // No packet was taken before this one, so `close` ends the connection without a word. A TLS alert is sent, see above,
    // as it is noted before `close` is called.
    assert!(pair.server.is_closed());
    assert!(flight(&mut pair.server).is_empty());
}

#[test]
fn a_client_that_closes_while_its_handshake_is_probed_sends_packets_without_end() {
    // transport/unsent_close.rs
    let mut pair = Pair::unconnected(|_| {}, |_| {}, &[1; 16]);
    let first = flight(&mut pair.client);
    pair.server_takes(first);
    let back = flight(&mut pair.server);
    pair.client_takes(back);
    assert!(pair.client.is_established() && pair.lose_from_client() > 0);
    pair.client.close(true, 0x100, b"").unwrap();
    time_out(&mut pair.client);
    let mut packet = [0; 1500];
    for _ in 0..1000 {
        let (len, _) = pair.client.send(&mut packet).unwrap();
        let header = Header::from_slice(&mut packet[..len], 16).unwrap();
        assert_eq!(header.ty, quiche::Type::Handshake);
    }
    assert!(!pair.client.is_draining());
}

#[test]
fn packets_are_decrypted_in_place() {
    // transport/decrypted.rs reads the frames of a packet after quiche has processed it.
    const CID_LEN: usize = 16;
    let mut pair = Pair::new();
    pair.client.stream_send(0, b"in plain", true).unwrap();
    let Packet { mut bytes, from, to } = flight(&mut pair.client).remove(0);
    pair.server.recv(&mut bytes, RecvInfo { from, to }).unwrap();
    let number_len = usize::from(bytes[0] & 0x03) + 1;
    let payload = &bytes[1 + CID_LEN + number_len..];
    // STREAM with an offset, a length in two bytes, and FIN (RFC 9000 section 19.8).
    assert_eq!(payload[..13], *b"\x0f\0\0\x40\x08in plain");
}

#[test]
fn a_server_that_verifies_takes_a_client_without_a_certificate() {
    // config/tls.rs
    let (mut without, mut server) = (Config::new(quiche::PROTOCOL_VERSION).unwrap(), config());
    without.set_application_protos(&[b"h3"]).unwrap();
    without.verify_peer(false);
    server.verify_peer(true);
    let (client, server) = (connect(&mut without, &[1; 16]), accept(&mut server));
    let mut pair = Pair { client, server, seen_as: client_addr() };
    pair.pass();
    assert!(pair.server.is_established() && pair.client.is_established());
    assert_eq!(pair.server.peer_cert(), None);
}

#[test]
fn a_close_is_sent_once() {
    // transport/last_close.rs
    let mut pair = Pair::new();
    pair.server.close(true, 0x123, b"enough").unwrap();
    assert_eq!(flight(&mut pair.server).len(), 1);
    assert!(pair.server.is_draining());
    pair.client.send_ack_eliciting().unwrap();
    for Packet { mut bytes, from, to } in flight(&mut pair.client) {
        pair.server.recv(&mut bytes, RecvInfo { from, to }).unwrap();
    }
    assert_eq!(flight(&mut pair.server).len(), 0);
}

#[test]
fn a_close_waits_while_the_congestion_window_is_full() {
    // transport/unsent_close.rs
    let mut pair = Pair::new();
    while pair.server.stream_send(3, &[0; 10_000], false).is_ok() {
        flight(&mut pair.server);
    }
    assert_eq!(flight(&mut pair.server).len(), 0);
    pair.server.close(true, 0x123, b"enough").unwrap();
    assert_eq!(flight(&mut pair.server).len(), 0);
    // It goes with a probe.
    std::thread::sleep(pair.server.timeout().expect("the timeout of a probe"));
    pair.server.on_timeout();
    assert!(!flight(&mut pair.server).is_empty());
    assert!(pair.server.is_draining());
}
