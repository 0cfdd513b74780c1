//! First flights of clients that cannot be taken: the client is told why, and the server forgets the connection.

use super::stateless::{assert_closed, first_packet, new_client, receive, server};
use super::*;
use crate::config::RetryPolicy;
use crate::transport::cid::Cid;
use crate::transport::initial::{Close, client_packet};
use crate::transport::packet::LongHeader;

const STRANGER: &str = "192.0.2.99:9999";
const DCID: [u8; 8] = [8; 8];
const SCID: [u8; 4] = [4; 4];

/// A client whose first flight is one packet.
fn client(set: impl FnOnce(&mut quiche::Config)) -> quiche::Connection {
    let mut config = client_config();
    config.set_curves_list("X25519").expect("a curve");
    set(&mut config);
    let scid = quiche::ConnectionId::from_ref(&[9; 16]);
    quiche::connect(Some("localhost"), &scid, addr(CLIENT), addr(SERVER), &mut config).expect("a client")
}

/// What the server sends in the turn in which a datagram arrives, if anything.
fn answer(server: &mut Endpoint, now: Instant, datagram: &[u8], from: &str) -> Option<Vec<u8>> {
    server.recv(now, &mut datagram.to_vec(), addr(from), addr(SERVER));
    turn(server, now)
}

fn turn(server: &mut Endpoint, now: Instant) -> Option<Vec<u8>> {
    server.drive(now);
    let mut buf = [0; 1500];
    let packets = std::iter::from_fn(|| server.poll_transmit(now, &mut buf, 1).map(|sent| buf[..sent.len].to_vec()));
    let sent: Vec<_> = packets.collect();
    while server.poll_event().is_some() {}
    assert!(sent.len() < 2, "{} packets", sent.len());
    sent.into_iter().next()
}

/// The packets of a client's first flight.
fn first_flight(client: &mut quiche::Connection) -> Vec<Vec<u8>> {
    let mut buf = [0; 1500];
    std::iter::from_fn(|| client.send(&mut buf).ok().map(|(n, _)| buf[..n].to_vec())).collect()
}

#[test]
fn a_client_is_told_why_its_first_packet_cannot_be_taken() {
    // K5
    type Set = fn(&mut quiche::Config);
    let cases: [(&str, u64, Set); 3] = [
        ("max_udp_payload_size", 0x8, |c| c.set_max_recv_udp_payload_size(1000)),
        ("no_application_protocol", 0x178, |c| c.set_application_protos(&[b"odd"]).expect("a protocol")),
        ("handshake_failure", 0x128, |c| c.set_curves_list("P-521").expect("a curve")),
    ];
    for (name, code, set) in cases {
        let mut server = server(|_| {});
        let mut client = client(set);
        let told = answer(&mut server, net::now(), &first_packet(&mut client), CLIENT);
        let len = told.as_ref().map_or(0, Vec::len);
        assert!((1..100).contains(&len), "{name}: {len} bytes");
        assert_closed(&mut server, &mut client, told, (false, code));
        let stats = server.stats();
        assert_eq!((stats.failed_first_flights, stats.connections, server.handshake_count()), (1, 1, 0), "{name}");
    }
}

#[test]
fn a_client_is_told_of_frames_that_cannot_be_in_its_first_packet() {
    // K5: STREAM, HANDSHAKE_DONE, an unknown type, a CRYPTO frame without its end, and a ClientHello that is none.
    let cases: [(&[u8], u64); 5] = [
        (&[0x08, 0, 1], 0xa),
        (&[0, 0, 0x1e], 0xa),
        (&[0, 0x40, 0x77], 0x7),
        (&[0x06, 0, 9, 1], 0xa),
        (&[0x06, 0, 4, 99, 0, 0, 0], 0x10a),
    ];
    for (payload, code) in cases {
        let mut server = server(|_| {});
        let packet = client_packet(&DCID, &SCID, 0, payload, 1200);
        let told = answer(&mut server, net::now(), &packet, CLIENT).expect("a close");
        // Behind the first byte, version, the client's id, and the length of the server's.
        const SERVER_CID: usize = 1 + 4 + (1 + SCID.len()) + 1;
        let cid = Cid::from_slice(&told[SERVER_CID..SERVER_CID + 16]).expect("an id of 16 bytes");
        let header = LongHeader::parse(&mut packet.clone()).expect("a packet");
        let close = header.close(cid, Close { code, reason: "", number: 0 });
        assert_eq!(Some(told), close, "{payload:x?}");
        assert_eq!((server.connection_count(), server.stats().failed_first_flights), (0, 1), "{payload:x?}");
    }
}

/// A client whose transport parameters are invalid, and the two packets of its ClientHello.
fn long_winded() -> (quiche::Connection, [Vec<u8>; 2]) {
    let mut client = client(|config| {
        config.set_max_recv_udp_payload_size(1000);
        config.set_curves_list("X25519MLKEM768").expect("a curve with a large key");
    });
    let mut packets = first_flight(&mut client).into_iter();
    let mut next = || packets.next().expect("two packets");
    (client, [next(), next()])
}

#[test]
fn a_client_is_told_of_an_error_in_the_second_packet_of_its_first_flight() {
    // K5
    let mut server = server(|_| {});
    let (mut client, [first, second]) = long_winded();
    server.recv(net::now(), &mut first.clone(), addr(CLIENT), addr(SERVER));
    let told = answer(&mut server, net::now(), &second, CLIENT);
    assert_closed(&mut server, &mut client, told, (false, 0x8));
    assert_eq!(server.stats().failed_first_flights, 1);
}

#[test]
fn a_client_is_told_of_an_error_after_the_server_has_acknowledged_its_first_packet() {
    // K5: quiche has Handshake keys by then, and cannot use them.
    let mut server = server(|_| {});
    let (mut client, [first, second]) = long_winded();
    server.recv(net::now(), &mut first.clone(), addr(CLIENT), addr(SERVER));
    let acknowledgement = turn(&mut server, net::now()).expect("an acknowledgement");
    receive(&mut client, acknowledgement);
    let told = answer(&mut server, net::now(), &second, CLIENT);
    assert_closed(&mut server, &mut client, told, (false, 0x8));
}

#[test]
fn a_connection_that_is_closed_before_its_first_flight_tells_its_client() {
    // K5: an application's error is APPLICATION_ERROR in the handshake (RFC 9000 section 10.2.3).
    let mut server = server(|_| {});
    let mut client = new_client(9);
    let packets = first_flight(&mut client);
    for packet in &packets {
        server.recv(net::now(), &mut packet.clone(), addr(CLIENT), addr(SERVER));
    }
    server.close_all(ErrorCode(0x100), b"");
    let told = turn(&mut server, net::now());
    assert_closed(&mut server, &mut client, told, (false, 0xc));
}

#[test]
fn repeated_first_packets_are_answered_without_a_handshake_for_a_while() {
    // K5
    let mut server = server(|_| {});
    let packet = first_packet(&mut client(|config| config.set_max_recv_udp_payload_size(1000)));
    let now = net::now();
    let told = answer(&mut server, now, &packet, CLIENT).expect("a close");
    for _ in 0..1500 {
        assert!(answer(&mut server, now, &packet, STRANGER).is_none_or(|again| again == told));
    }
    let counts = |server: &Endpoint| {
        let stats = server.stats();
        (stats.connections, stats.failed_first_flights, stats.repeated_first_flights, stats.datagrams_out)
    };
    assert_eq!(counts(&server), (1, 1, 1500, 1000));
    answer(&mut server, now + Duration::from_secs(11), &packet, CLIENT).expect("a close");
    assert_eq!(counts(&server), (2, 2, 1500, 1001));
}

#[test]
fn a_client_is_told_after_a_retry() {
    // K5
    let mut server = server(|config| config.retry = RetryPolicy::On);
    let mut client = client(|config| config.set_max_recv_udp_payload_size(1000));
    let retry = answer(&mut server, net::now(), &first_packet(&mut client), CLIENT).expect("a Retry packet");
    receive(&mut client, retry);
    let packet = first_packet(&mut client);
    let told = answer(&mut server, net::now(), &packet, CLIENT);
    assert_closed(&mut server, &mut client, told.clone(), (false, 0x8));
    assert_eq!(answer(&mut server, net::now(), &packet, CLIENT), told);
    assert_eq!(server.stats().repeated_first_flights, 1);
}

#[test]
fn a_damaged_first_packet_neither_fails_nor_makes_a_connection() {
    // K5
    let mut server = server(|_| {});
    let mut client = new_client(9);
    let packet = first_packet(&mut client);
    for at in [40, 100, 500, packet.len() - 1] {
        let mut damaged = packet.clone();
        damaged[at] ^= 1;
        assert_eq!(answer(&mut server, net::now(), &damaged, CLIENT), None);
    }
    let stats = server.stats();
    assert_eq!((stats.connections, stats.failed_first_flights, stats.ignored_garbage), (0, 0, 4));
    server.recv(net::now(), &mut packet.clone(), addr(CLIENT), addr(SERVER));
    assert_eq!(server.stats().connections, 1);
}
