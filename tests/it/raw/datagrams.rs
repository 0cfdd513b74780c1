//! UDP datagrams that are no good QUIC packets: ignored or answered statelessly, counted, and nobody disturbed.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use quiche::h3;
use ring::rand::{SecureRandom, SystemRandom};

use crate::support::DEADLINE;
use crate::support::client::{Client, config, get};
use crate::support::frames::fields;
use crate::support::server::Server;

const INITIAL: u8 = 0xc3;
const HANDSHAKE: u8 = 0xe3;

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SystemRandom::new().fill(&mut bytes).unwrap();
    bytes
}

/// A long header (RFC 8999) with connection ids, then what the version puts there, then noise up to `len` bytes.
fn long_header(first: u8, version: u32, dcid: &[u8], scid: &[u8], rest: &[u8], len: usize) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend_from_slice(&version.to_be_bytes());
    for cid in [dcid, scid] {
        packet.push(cid.len() as u8);
        packet.extend_from_slice(cid);
    }
    packet.extend_from_slice(rest);
    packet.extend(random(len.saturating_sub(packet.len())));
    packet.truncate(len);
    packet
}

/// An Initial packet of `len` bytes that no key decrypts.
fn initial(dcid: &[u8], token: &[u8], len: usize) -> Vec<u8> {
    let body = 2 + token.len() + 5 + dcid.len() + 8 + 2;
    let length = (len - body - 2).min(0x3fff) as u16 | 0x4000;
    let token_len = (token.len() as u16 | 0x4000).to_be_bytes();
    let rest = [&token_len[..], token, &length.to_be_bytes()].concat();
    long_header(INITIAL, 1, dcid, &random(8), &rest, len)
}

fn socket(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// What has come; to be asked after another client's round trip, so that the server has seen what was sent.
fn assert_silence(socket: &UdpSocket) {
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut buf = [0; 2000];
    match socket.recv(&mut buf) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
        other => panic!("not silence: {other:?}, {:02x?}", &buf[..32]),
    }
}

#[test]
fn garbage_is_ignored_and_counted() {
    let mut server = Server::start(&[]);
    let mut bystander = Client::connect(server.addr());
    bystander.assert_alive();
    let noise = socket(server.addr());
    // No QUIC: too short, or without the fixed bit, or a long header whose lengths do not fit.
    let no_quic: &[&[u8]] = &[b"", b"\0", b"hello", &[0x40; 10], &[0x3f; 1200], &[0xc0, 0, 0, 0, 1, 255], &[0xc0]];
    for datagram in no_quic {
        noise.send(datagram).unwrap();
    }
    // As long as UDP allows.
    noise.send(&[0x20; 65_507]).unwrap();
    // A short header for nobody, too small for a packet.
    for len in [17, 36] {
        noise.send(&[&[0x41][..], &random(len - 1)].concat()).unwrap();
    }
    // A Handshake packet for an id that is not one of ours.
    noise.send(&long_header(HANDSHAKE, 1, &random(15), &random(8), &[0x44, 0], 1200)).unwrap();
    // Initial packets to an id of less than 8 bytes.
    for len in [0, 7] {
        noise.send(&initial(&random(len), b"", 1200)).unwrap();
    }
    // Initial packets smaller than 1200 bytes.
    for len in [60, 600, 1199] {
        noise.send(&initial(&random(16), b"", len)).unwrap();
    }
    // Nor is a Version Negotiation packet anything that a server gets.
    noise.send(&long_header(0xc0, 0, &random(16), &random(8), &[0, 0, 0, 1], 60)).unwrap();
    bystander.assert_alive();
    assert_silence(&noise);
    drop(bystander);
    let stats = server.stop();
    assert_eq!(stats.get("ignored_garbage"), no_quic.len() as u64 + 2);
    assert_eq!((stats.get("ignored_unknown_cid"), stats.get("resets_sent")), (3, 0));
    assert_eq!((stats.get("ignored_small_initial"), stats.get("ignored_short_cid")), (3, 2));
    assert_eq!((stats.get("connections"), stats.get("requests")), (1, 2));
}

#[test]
fn packets_of_no_connection_are_answered_with_stateless_resets() {
    let mut server = Server::start(&[]);
    let asking = socket(server.addr());
    let short = |len: usize| [&[0x41][..], &random(len - 1)].concat();
    let handshake = long_header(HANDSHAKE, 1, &random(16), &random(8), &[0x44, 0], 1200);
    for (packet, expected) in [(short(37), 36), (short(40), 39), (short(1200), 43), (handshake, 43)] {
        asking.send(&packet).unwrap();
        let mut buf = [0; 2000];
        let len = asking.recv(&mut buf).expect("a reset");
        assert_eq!((len, buf[0] & 0xc0), (expected, 0x40), "for {} bytes", packet.len());
    }
    let stats = server.stop();
    assert_eq!((stats.get("ignored_unknown_cid"), stats.get("resets_sent")), (4, 4));
}

#[test]
fn noise_by_the_thousand_harms_nobody() {
    let mut server = Server::start(&["--handshake-timeout", "3"]);
    let mut bystander = Client::connect(server.addr());
    let noise = socket(server.addr());
    let mut sent = 0_u64;
    for round in 0..50 {
        for len in [1, 20, 100, 1199, 1200, 1350] {
            let mut datagram = random(len);
            // Half of them with the long header of version 1, so that the parser gets further.
            if round % 2 == 0 && len > 5 {
                datagram[0] |= 0xc0;
                datagram[1..5].copy_from_slice(&1_u32.to_be_bytes());
            }
            noise.send(&datagram).unwrap();
            sent += 1;
        }
        bystander.assert_alive();
    }
    drop(bystander);
    let stats = server.stop();
    assert!(stats.get("datagrams_in") >= sent, "{stats:?}");
    assert_eq!(stats.get("requests"), 50);
}

/// The answer to a packet of an unknown version has to be RFC 9000 section 17.2.1's: version 0, the connection ids the
/// other way round, and our versions.
fn assert_negotiated(server: &Server, payload: &[u8]) {
    let asking = socket(server.addr());
    let (dcid, scid) = (random(20), random(7));
    asking.send(&long_header(INITIAL, 0x1a2a_3a4a, &dcid, &scid, payload, 1200)).unwrap();
    let mut buf = [0; 2000];
    let len = asking.recv(&mut buf).expect("a Version Negotiation packet");
    let packet = &buf[..len];
    assert_eq!((packet[0] & 0x80, &packet[1..5]), (0x80, &[0; 4][..]));
    let cids = [&[7], &scid[..], &[20], &dcid].concat();
    assert_eq!(&packet[5..5 + cids.len()], cids);
    let versions: Vec<&[u8]> = packet[5 + cids.len()..].chunks(4).collect();
    assert!(versions.contains(&&[0, 0, 0, 1][..]), "{versions:02x?}");
}

#[test]
fn an_unknown_version_is_negotiated() {
    let mut server = Server::start(&[]);
    assert_negotiated(&server, &[0; 1100]);
    // RFC 9000 section 6: not when the datagram is too small for an Initial packet.
    let small = socket(server.addr());
    small.send(&long_header(INITIAL, 0x1a2a_3a4a, &random(20), &random(7), &[0; 1100], 1199)).unwrap();
    Client::connect(server.addr()).assert_alive();
    assert_silence(&small);
    let stats = server.stop();
    assert_eq!((stats.get("version_negotiations"), stats.get("ignored_small_initial")), (1, 1), "{stats:?}");
}

#[test]
fn an_unknown_version_is_negotiated_whatever_its_packets_look_like() {
    // RFC 8999 section 5.1: behind the connection ids nothing is known of another version's packets. Here an Initial
    // packet of version 1 would have a token longer than the packet.
    let server = Server::start(&[]);
    assert_negotiated(&server, &[0xff; 1100]);
}

#[test]
fn forged_replayed_and_stolen_tokens_close_the_connection() {
    let mut server = Server::start(&["--retry", "on"]);
    let honest = socket(server.addr());
    honest.send(&initial(b"original", b"", 1200)).unwrap();
    let mut buf = [0; 2000];
    let len = honest.recv(&mut buf).expect("a Retry packet");
    let header = quiche::Header::from_slice(&mut buf[..len], 16).unwrap();
    assert_eq!(header.ty, quiche::Type::Retry);
    let (token, cid) = (header.token.unwrap(), header.scid.to_vec());
    let thief = socket(server.addr());
    thief.send(&initial(&cid, &token, 1200)).unwrap();
    // The right client, but not with the connection id that the Retry packet gave it.
    honest.send(&initial(&random(16), &token, 1200)).unwrap();
    for at in [4, token.len() / 2, token.len() - 1] {
        let mut forged = token.clone();
        forged[at] ^= 1;
        honest.send(&initial(&cid, &forged, 1200)).unwrap();
    }
    honest.send(&initial(&cid, &token[..token.len() - 1], 1200)).unwrap();
    let mut client = Client::begin(server.addr(), config());
    let flight = client.take_packets();
    flight.iter().for_each(|packet| client.send_datagram(packet));
    client.until("the handshake", |c| c.quic.is_established().then_some(()));
    for (socket, closes) in [(&thief, 1), (&honest, 5)] {
        for _ in 0..closes {
            let len = socket.recv(&mut buf).expect("a close");
            let header = quiche::Header::from_slice(&mut buf[..len], 8).unwrap();
            assert_eq!(header.ty, quiche::Type::Initial);
            assert!(len < 100, "{len} bytes");
        }
        assert_silence(socket);
    }
    let stats = server.stop();
    assert_eq!(stats.get("invalid_tokens"), 6);
    // The one of the honest client, and one for each packet in which the last client's first flight came.
    let retries = 1 + flight.len() as u64;
    assert_eq!((stats.get("retries"), stats.get("connections"), stats.get("handshakes")), (retries, 1, 1));
}

#[test]
fn a_foreign_token_is_as_good_as_none() {
    // RFC 9000 section 8.1.3: a token that is not ours must not stop the client.
    let mut server = Server::start(&["--retry", "on"]);
    let client = socket(server.addr());
    client.send(&initial(&random(16), b"a token of another server", 1200)).unwrap();
    let mut buf = [0; 2000];
    let len = client.recv(&mut buf).expect("a Retry packet");
    assert_eq!(quiche::Header::from_slice(&mut buf[..len], 16).unwrap().ty, quiche::Type::Retry);
    assert_eq!(server.stop().get("retries"), 1);
}

#[test]
fn broken_copies_of_real_packets_change_nothing() {
    let server = Server::start(&[]);
    let mut client = Client::begin(server.addr(), config());
    let first = client.take_packets();
    // Before the handshake: each packet cut, and with a bit turned over. Then the real ones.
    for packet in &first {
        for cut in [1, 6, 20, 100, packet.len() - 1] {
            client.send_datagram(&packet[..cut]);
        }
        let mut turned = packet.clone();
        turned[packet.len() / 2] ^= 0x10;
        client.send_datagram(&turned);
        client.send_datagram(packet);
    }
    client.until("the handshake", |c| c.quic.is_established().then_some(()));
    let h3 = h3::Connection::with_transport(&mut client.quic, &h3::Config::new().unwrap());
    client.h3 = Some(h3.unwrap());
    let list: Vec<_> = fields(&get("/")).into_iter().map(|(n, v)| h3::Header::new(n, v)).collect();
    // After it: cut, turned over, twice, with noise behind.
    for _ in 0..5 {
        let h3 = client.h3.as_mut().unwrap();
        let id = h3.send_request(&mut client.quic, &list, true).unwrap();
        for packet in client.take_packets() {
            for cut in [1, 18, 25, packet.len() - 1] {
                client.send_datagram(&packet[..cut.min(packet.len())]);
            }
            let mut turned = packet.clone();
            *turned.last_mut().unwrap() ^= 1;
            client.send_datagram(&turned);
            client.send_datagram(&[&packet[..], &[0; 50]].concat());
            client.send_datagram(&packet);
            client.send_datagram(&packet);
        }
        assert_eq!(client.answer(id).text(), "Hello, HTTP/3!\n");
    }
}
