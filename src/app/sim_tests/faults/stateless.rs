//! Answers of a server that has no connection for a packet: stateless resets, and closes of connections that it does not
//! accept.

use std::path::PathBuf;

use ring::rand::SystemRandom;

use super::super::client::Net;
use super::*;
use crate::config::RetryPolicy;
use crate::transport::cid::{Cid, CidGenerator, Place};
use crate::transport::initial::client_packet;
use crate::transport::{TokenRoom, Transport, stateless_reset};

pub(super) const CONNECTION_REFUSED: (bool, u64) = (false, 0x2);
const INVALID_TOKEN: (bool, u64) = (false, 0xb);
const STRANGER: &str = "192.0.2.99:9999";

/// A file with a host key of these bytes.
fn host_key(byte: u8) -> PathBuf {
    let (_, path) = tempfile::NamedTempFile::new().and_then(|file| Ok(file.keep()?)).expect("a file");
    std::fs::write(&path, [byte; 32]).expect("room on the disk");
    path
}

fn with_key(byte: u8) -> impl Fn(&mut ServerConfig) {
    move |config| config.host_key = Some(host_key(byte))
}

pub(super) fn server(set: impl FnOnce(&mut ServerConfig)) -> Endpoint {
    let mut config = server_config();
    set(&mut config);
    Endpoint::server(config, net::now(), net::wall_clock()).expect("an endpoint")
}

/// The server's answer to a datagram.
pub(super) fn answer(server: &mut Endpoint, now: Instant, datagram: &[u8], from: &str) -> Option<Vec<u8>> {
    server.recv(now, &mut datagram.to_vec(), addr(from), addr(SERVER));
    let mut buf = vec![0; 65_507];
    let transmit = server.poll_transmit(now, &mut buf, 1)?;
    assert_eq!((transmit.from, transmit.to), (addr(SERVER), addr(from)));
    buf.truncate(transmit.len);
    Some(buf)
}

/// A packet with a short header to an id.
fn short_packet(cid: &[u8; 16], len: usize) -> Vec<u8> {
    let mut packet = [&[0x41][..], cid].concat();
    packet.resize(len, 0x33);
    packet
}

/// A packet with a long header of a type to an id.
fn long_packet(first: u8, cid: &[u8]) -> Vec<u8> {
    let token_or_length = if first & 0x30 == 0 { &[0, 0x44, 0][..] } else { &[0x44, 0] };
    let mut packet = [&[first, 0, 0, 0, 1, cid.len() as u8], cid, &[4, 1, 2, 3, 4], token_or_length].concat();
    packet.resize(1200, 0x33);
    packet
}

#[test]
fn after_a_restart_with_the_key_each_connection_of_a_client_ends_at_its_next_packet() {
    // K7
    let mut net = Net::with(Network::default(), demo::router(None).expect("routes"), with_key(1), |_| {});
    let conns = [net.connect(SERVER), net.connect(SERVER), net.connect(SERVER)];
    net.within(Duration::from_millis(50), |_| false);
    net.restart(with_key(1));
    for (n, conn) in conns.into_iter().enumerate() {
        net.get(conn, "/");
        let waited = net.rounds_until(|net| net.app.resets.len() > n);
        assert!(waited < rounds(Duration::from_millis(300)), "connection {n} goes on for {waited} rounds");
    }
    assert_eq!(net.app.resets, conns);
    assert_eq!((net.client.connection_count(), net.client.stats().resets_received), (0, 3));
    let conn = net.connect(SERVER);
    let id = net.get(conn, "/");
    net.run_until("an answer", |net| net.app.streams[&id].is_over());
    assert_eq!(net.app.streams[&id].status, 200);
}

#[test]
fn a_reset_with_another_key_ends_nothing() {
    let mut net = Net::with(Network::default(), demo::router(None).expect("routes"), with_key(1), |_| {});
    let conn = net.connect(SERVER);
    net.within(Duration::from_millis(50), |_| false);
    net.restart(with_key(2));
    net.get(conn, "/");
    assert!(net.within(SOON, |net| net.server().stats().resets_sent > 0), "no reset");
    net.within(Duration::from_millis(50), |_| false);
    assert_eq!((net.app.resets.len(), net.client.connection_count()), (0, 1));
    let stats = net.client.stats();
    assert!(stats.ignored_unknown_cid > 0 && stats.resets_received == 0, "{stats:?}");
}

/// Passes all packets between two connections.
fn pass(client: &mut Transport, server: &mut Transport) {
    let mut buf = [0; 1500];
    let mut moved = true;
    while std::mem::take(&mut moved) {
        while let Some(packet) = client.send(&mut buf, &mut 0) {
            server.recv(&mut buf[..packet.len], packet.info.from, packet.info.to, true);
            moved = true;
        }
        while let Some(packet) = server.send(&mut buf, &mut 0) {
            client.recv(&mut buf[..packet.len], packet.info.from, packet.info.to, true);
            moved = true;
        }
    }
}

#[test]
fn a_reset_token_counts_for_an_established_connection_while_its_id_is_in_use() {
    // K7: RFC 9000 section 10.3.1.
    const TOKEN: u128 = 0x1234;
    let mut settings = server_config().into_endpoint().and_then(|config| config.to_quiche()).expect("settings");
    let (here, there, elsewhere) = (addr(CLIENT), addr(SERVER), addr("192.0.2.1:5001"));
    let client = Transport::connect(Some("localhost"), Cid([9; 16]), here, there, &mut client_config());
    let mut client = client.expect("a client");
    let server = Transport::accept(Cid([7; 16]), Some(TOKEN), None, there, here, &mut settings);
    let mut server = server.expect("a server");
    let reset = stateless_reset(1200, TOKEN).expect("a reset");
    assert!(!client.is_stateless_reset(&reset));
    pass(&mut client, &mut server);
    assert!(client.is_established() && client.is_stateless_reset(&reset));
    assert!(!client.is_stateless_reset(&reset[reset.len() - 20..]), "20 bytes");
    assert!(!client.is_stateless_reset(&stateless_reset(1200, TOKEN + 1).expect("a reset")));

    let mut cids = CidGenerator::new(&SystemRandom::new(), [1; 32], Place::ONLY).expect("random numbers");
    assert!(server.issue_cid(&mut cids, 4).is_some() && client.issue_cid(&mut cids, 4).is_some());
    pass(&mut client, &mut server);
    client.migrate(elsewhere).expect("a spare id");
    pass(&mut client, &mut server);
    assert!(!client.is_stateless_reset(&reset));
}

#[test]
fn after_a_restart_a_client_of_quiche_ends_at_its_next_packet_which_may_be_a_ping() {
    // K7
    let mut sim = Sim::connected(Options { server: Box::new(with_key(1)), ..Options::default() });
    sim.get("/");
    sim.finish_all();
    sim.within(Duration::from_millis(50), |_| false);
    sim.server = server(with_key(1));
    sim.client.send_ack_eliciting().expect("open");
    sim.within(SOON, |_| false);
    assert!(sim.client.is_closed() && !sim.client.is_timed_out(), "{:?}", sim.server.stats());
    assert_eq!((sim.client.peer_error(), sim.server.stats().resets_sent), (None, 1));
}

#[test]
fn a_reset_is_smaller_than_its_trigger() {
    // K7
    let mut server = server(|_| {});
    for len in 0..1500 {
        let reset = answer(&mut server, net::now(), &short_packet(&[7; 16], len)[..len], STRANGER);
        match reset {
            None => assert!(len < 37, "no reset for {len} bytes"),
            Some(reset) => assert!(len >= 37 && reset.len() == (len - 1).min(43), "{} for {len}", reset.len()),
        }
    }
    assert_eq!(server.stats().resets_sent, 1500 - 37);
}

#[test]
fn two_servers_that_are_aimed_at_each_other_come_to_an_end() {
    // K7
    let mut servers = [server(|_| {}), server(|_| {})];
    let mut packet = Some(short_packet(&[7; 16], 1200));
    let mut lengths = Vec::new();
    for turn in 0..100 {
        let Some(sent) = packet else { break };
        packet = answer(&mut servers[turn % 2], net::now(), &sent, STRANGER);
        lengths.extend(packet.as_ref().map(Vec::len));
    }
    assert_eq!(lengths, [43, 42, 41, 40, 39, 38, 37, 36]);
}

#[test]
fn resets_are_limited_in_a_second_and_in_the_queue() {
    // K7
    let mut server = server(|_| {});
    let now = net::now();
    let packet = short_packet(&[7; 16], 100);
    let sent = (0..12_000).filter(|_| answer(&mut server, now, &packet, STRANGER).is_some()).count();
    assert_eq!((sent, server.stats().resets_sent), (10_000, 10_000));
    let later = now + Duration::from_secs(1);
    for _ in 0..1000 {
        server.recv(later, &mut packet.clone(), addr(STRANGER), addr(SERVER));
    }
    let mut buf = [0; 1500];
    let queued = std::iter::from_fn(|| server.poll_transmit(later, &mut buf, 1)).count();
    assert_eq!((queued, server.stats().resets_sent), (256, 10_256));
}

#[test]
fn version_negotiation_is_limited_in_a_second() {
    let mut server = server(|_| {});
    let now = net::now();
    let packet = [&[0xc0, 0xba, 0xba, 0xba, 0xba, 8][..], &[7; 8], &[0], &[0; 1200]].concat();
    let sent = (0..12_000).filter(|_| answer(&mut server, now, &packet, STRANGER).is_some()).count();
    assert_eq!((sent, server.stats().version_negotiations), (10_000, 10_000));
    assert!(answer(&mut server, now + Duration::from_secs(1), &packet, STRANGER).is_some());
}

#[test]
fn handshake_packets_are_answered_with_a_reset_and_other_long_headers_are_not() {
    // K7
    let mut server = server(|_| {});
    let reset = answer(&mut server, net::now(), &long_packet(0xe0, &[7; 16]), STRANGER).expect("a reset");
    assert_eq!((reset.len(), reset[0] & 0xc0), (43, 0x40));
    // Not an id of this server's.
    assert_eq!(answer(&mut server, net::now(), &long_packet(0xe0, &[7; 8]), STRANGER), None);
    // 0-RTT; the last is a Retry.
    assert_eq!(answer(&mut server, net::now(), &long_packet(0xd0, &[7; 16]), STRANGER), None);
    assert_eq!(answer(&mut server, net::now(), &long_packet(0xf0, &[7; 16]), STRANGER), None);
    assert_eq!(server.stats().resets_sent, 1);
}

#[test]
fn a_retired_id_is_neither_reset_nor_given_to_a_second_connection() {
    // K7: quiche takes the token of its first id for ever.
    let mut sim = Sim::new(Options::default());
    sim.client_turn();
    let initial = sim.to_server[0].clone();
    sim.run_until("further ids", |sim| sim.client.is_established() && sim.client.available_dcids() > 0);
    let first: [u8; 16] = sim.client.destination_id().as_ref().try_into().expect("16 bytes");
    sim.client.retire_dcid(0).expect("another id");
    sim.run_until("another first id", |sim| {
        sim.server.recv(net::now(), &mut short_packet(&first, 100), addr(STRANGER), addr(SERVER));
        sim.server.stats().ignored_unknown_cid > 0
    });
    assert_eq!(sim.server.stats().resets_sent, 0);
    let unknown = sim.server.stats().ignored_unknown_cid;
    assert_eq!(answer(&mut sim.server, net::now(), &initial, STRANGER), None);
    let stats = sim.server.stats();
    assert_eq!((stats.ignored_unknown_cid, stats.connections), (unknown + 1, 1));
    assert!(!sim.client.is_closed());
}

/// A client of quiche that has received a Retry packet of the server, and its next first flight.
fn after_a_retry(server: &mut Endpoint) -> (quiche::Connection, Vec<u8>) {
    let scid = quiche::ConnectionId::from_ref(&[9; 16]);
    let client = quiche::connect(Some("localhost"), &scid, addr(CLIENT), addr(SERVER), &mut client_config());
    let mut client = client.expect("a client");
    let retry = answer(server, net::now(), &first_packet(&mut client), CLIENT).expect("a Retry packet");
    receive(&mut client, retry);
    let packet = first_packet(&mut client);
    (client, packet)
}

pub(super) fn first_packet(client: &mut quiche::Connection) -> Vec<u8> {
    let mut buf = vec![0; 1500];
    let (n, _) = client.send(&mut buf).expect("a first flight");
    buf.truncate(n);
    while client.send(&mut [0; 1500]).is_ok() {}
    buf
}

pub(super) fn receive(client: &mut quiche::Connection, mut packet: Vec<u8>) {
    let info = quiche::RecvInfo { from: addr(SERVER), to: addr(CLIENT) };
    client.recv(&mut packet, info).expect("a packet");
}

/// The client is closed by the server's answer, which leaves nothing behind.
pub(super) fn assert_closed(
    server: &mut Endpoint,
    client: &mut quiche::Connection,
    answer: Option<Vec<u8>>,
    code: (bool, u64),
) {
    let answer = answer.expect("an answer");
    assert!(answer.len() < 100, "{} bytes", answer.len());
    receive(client, answer);
    assert_eq!(client.peer_error().map(|error| (error.is_app, error.error_code)), Some(code));
    assert!(client.is_draining());
    assert_eq!((server.connection_count(), server.cid_count(), server.timer_count()), (0, 0, 0));
    assert!(!server.has_work());
}

fn retrying(config: &mut ServerConfig) {
    config.retry = RetryPolicy::On;
}

#[test]
fn a_retry_token_that_is_forged_expired_or_of_another_address_closes_the_connection() {
    // K8
    let mut server = server(retrying);
    // Behind the first byte, version, both ids, the token's length and its kind.
    const IN_TOKEN: usize = 1 + 4 + (1 + 8) + (1 + 16) + 2 + 4;
    let (mut client, mut packet) = after_a_retry(&mut server);
    packet[IN_TOKEN] ^= 1;
    let told = answer(&mut server, net::now(), &packet, CLIENT);
    assert_closed(&mut server, &mut client, told, INVALID_TOKEN);

    let (mut client, packet) = after_a_retry(&mut server);
    let told = answer(&mut server, net::now() + Duration::from_secs(16), &packet, CLIENT);
    assert_closed(&mut server, &mut client, told, INVALID_TOKEN);

    let (mut client, packet) = after_a_retry(&mut server);
    let told = answer(&mut server, net::now(), &packet, STRANGER);
    assert_closed(&mut server, &mut client, told, INVALID_TOKEN);
    assert_eq!((server.stats().invalid_tokens, server.stats().connections), (3, 0));
}

#[test]
fn a_retry_token_is_good_at_another_server_with_the_key_and_closes_the_connection_at_one_without() {
    // K7, K8
    let mut one = server(|config| {
        retrying(config);
        with_key(1)(config);
    });
    let (mut client, packet) = after_a_retry(&mut one);
    let mut stranger = server(with_key(2));
    let told = answer(&mut stranger, net::now(), &packet, CLIENT);
    assert_closed(&mut stranger, &mut client, told, INVALID_TOKEN);
    let (_, packet) = after_a_retry(&mut one);
    let mut other = server(|config| {
        retrying(config);
        with_key(1)(config);
    });
    answer(&mut other, net::now(), &packet, CLIENT);
    assert_eq!((other.connection_count(), other.stats().retries, other.stats().invalid_tokens), (1, 0, 0));
}

#[test]
fn settings_that_leave_no_room_for_a_reset_token_go_without() {
    // K7
    const LARGE: u64 = 1 << 40;
    const SMALL: u64 = 1 << 20;
    let cases = [(RetryPolicy::Off, SMALL, true), (RetryPolicy::On, SMALL, false), (RetryPolicy::Off, LARGE, false)];
    for (retry, max_data, has_token) in cases {
        let server = move |config: &mut ServerConfig| {
            config.retry = retry;
            (config.transport.initial_max_data, config.transport.initial_max_stream_data) = (max_data, LARGE);
        };
        let sim = Sim::connected(Options { server: Box::new(server), ..Options::default() });
        let params = sim.client.peer_transport_params().expect("connected");
        assert_eq!(params.stateless_reset_token.is_some(), has_token, "{retry:?}, {max_data}");
        assert_eq!(params.initial_max_data, max_data);
    }
}

#[test]
fn the_default_settings_leave_room_for_a_reset_token_whatever_the_client_chooses() {
    // K7
    for active_migration in [true, false] {
        let mut config = server_config();
        config.transport.active_migration = active_migration;
        config.webtransport.enabled = true;
        let endpoint = config.into_endpoint().expect("settings");
        let room = TokenRoom::in_settings(&mut endpoint.to_quiche().expect("settings"));
        assert!(room.fits(true) && room.fits(false), "{room:?}");
    }
}

#[test]
fn a_destination_id_of_less_than_eight_bytes_makes_no_connection() {
    // K8
    let mut server = server(|_| {});
    for len in 0..8 {
        assert_eq!(answer(&mut server, net::now(), &long_packet(0xc0, &[7; 8][..len]), STRANGER), None);
    }
    assert_eq!((server.stats().ignored_short_cid, server.connection_count()), (8, 0));
    answer(&mut server, net::now(), &client_packet(&[7; 8], &[], 0, &[0, 0, 1], 1200), STRANGER);
    assert_eq!((server.stats().ignored_short_cid, server.stats().connections), (8, 1));
}

pub(super) fn new_client(byte: u8) -> quiche::Connection {
    let scid = quiche::ConnectionId::from_vec(vec![byte; 16]);
    let client = quiche::connect(Some("localhost"), &scid, addr(CLIENT), addr(SERVER), &mut client_config());
    client.expect("a client")
}

#[test]
fn a_new_client_during_a_shutdown_is_refused() {
    // K9
    let mut server = server(|_| {});
    server.shutdown();
    let mut client = new_client(9);
    let told = answer(&mut server, net::now(), &first_packet(&mut client), CLIENT);
    assert_closed(&mut server, &mut client, told, CONNECTION_REFUSED);
    assert_eq!(client.peer_error().map(|error| &*error.reason), Some(&b"shutting down"[..]));
    assert_eq!((server.stats().refused_connections, server.stats().ignored_over_limit), (1, 0));
}

#[test]
fn a_client_over_the_limit_on_connections_is_refused() {
    // K9
    let mut server = server(|config| config.max_connections = 1);
    assert!(answer(&mut server, net::now(), &first_packet(&mut new_client(8)), STRANGER).is_none(), "two packets");
    let mut client = new_client(9);
    let told = answer(&mut server, net::now(), &first_packet(&mut client), CLIENT).expect("an answer");
    receive(&mut client, told);
    let error = client.peer_error().expect("a close");
    assert_eq!((error.error_code, &*error.reason), (0x2, &b"too many connections"[..]));
    assert_eq!((server.stats().refused_connections, server.connection_count()), (1, 1));
}

#[test]
fn refusals_are_limited_in_a_second() {
    // K9
    let mut server = server(|_| {});
    server.shutdown();
    let packet = first_packet(&mut new_client(9));
    let now = net::now();
    let told = (0..1500).filter(|_| answer(&mut server, now, &packet, CLIENT).is_some()).count();
    assert_eq!(told, 1000);
    assert_eq!((server.stats().refused_connections, server.stats().ignored_over_limit), (1000, 500));
    assert!(answer(&mut server, now + Duration::from_secs(1), &packet, CLIENT).is_some());
}
