//! Paths, their ids, and data in flight on those that were left.

use std::net::SocketAddr;

use quiche::{Config, ConnectionId, Error, PathEvent, RecvInfo};

use crate::pair::{Pair, addr, client_addr, flight, read, server_addr, time_out};

const LIMIT: u64 = 3;

fn limited(config: &mut Config) {
    config.set_active_connection_id_limit(LIMIT);
}

/// Each side may have three paths. The client has given `ids` connection ids beside its first.
fn pair(ids: u8) -> Pair {
    let mut pair = Pair::with(limited, limited);
    for n in 0..ids {
        pair.client.new_scid(&ConnectionId::from_ref(&[10 + n; 16]), n.into(), false).unwrap();
    }
    pair.pass();
    assert_eq!(events(&mut pair), []);
    pair
}

fn events(pair: &mut Pair) -> Vec<PathEvent> {
    std::iter::from_fn(|| pair.server.path_event_next()).collect()
}

/// The client's address changes on the way, and something comes from the new one.
fn rebind(pair: &mut Pair, port: u16) {
    pair.seen_as = addr(port);
    pair.client.send_ack_eliciting().unwrap();
    pair.pass();
}

/// The sequence number of the id of the client's that the server uses on a path.
fn id_of(pair: &mut Pair, peer: SocketAddr) -> quiche::Result<u64> {
    pair.server.probe_path(server_addr(), peer)
}

fn paths(pair: &Pair) -> Vec<u16> {
    let mut ports: Vec<u16> = pair.server.path_stats().map(|path| path.peer_addr.port()).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn probe_path_of_a_known_path_returns_the_number_of_its_id() {
    // transport/migration.rs
    let mut pair = pair(2);
    rebind(&mut pair, 1001);
    assert_eq!(id_of(&mut pair, client_addr()), Ok(0));
    assert_eq!(id_of(&mut pair, addr(1001)), Ok(1));
    assert_eq!(
        id_of(&mut pair, addr(1002)),
        Err(Error::InvalidState),
        "a server cannot probe a path that is not known"
    );
}

#[test]
fn there_are_active_connection_id_limit_paths_and_packets_from_the_next_address_are_ignored() {
    // transport/migration.rs: K1.
    for ids in [0, 2] {
        let mut pair = pair(ids);
        rebind(&mut pair, 1001);
        rebind(&mut pair, 1002);
        assert_eq!(paths(&pair), [1000, 1001, 1002]);
        events(&mut pair);
        let received = pair.server.stats().recv;
        pair.seen_as = addr(1003);
        pair.client.stream_send(0, b"abc", true).unwrap();
        pair.pass();
        assert_eq!(paths(&pair), [1000, 1001, 1002]);
        assert_eq!(events(&mut pair), []);
        assert_eq!(pair.server.stats().recv, received);
        assert!(!pair.server.stream_readable(0));
    }
}

#[test]
fn a_path_gives_way_to_a_new_one_only_when_it_has_no_id() {
    // transport/migration.rs: K1.
    let mut pair = pair(2);
    rebind(&mut pair, 1001);
    rebind(&mut pair, 1002);
    events(&mut pair);
    pair.server.retire_dcid(0).unwrap();
    assert_eq!(id_of(&mut pair, client_addr()), Err(Error::InvalidState));
    rebind(&mut pair, 1003);
    assert_eq!(events(&mut pair)[0], PathEvent::Closed(server_addr(), client_addr()));
    assert_eq!(paths(&pair), [1001, 1002, 1003]);
}

#[test]
fn a_path_whose_id_is_retired_has_the_next_spare_id_at_once() {
    // transport/migration.rs: K1.
    let mut pair = pair(2);
    rebind(&mut pair, 1001);
    assert_eq!(pair.server.available_dcids(), 1);
    pair.server.retire_dcid(0).unwrap();
    assert_eq!(id_of(&mut pair, client_addr()), Ok(2), "the spare one");
    assert_eq!(pair.server.available_dcids(), 0);
}

#[test]
fn nothing_is_sent_any_more_once_an_id_that_the_peer_retired_is_to_be_announced_again() {
    // transport/connection.rs: issue_cid.
    let mut pair = pair(0);
    for n in [20, 21] {
        pair.server.new_scid(&ConnectionId::from_ref(&[n; 16]), n.into(), false).unwrap();
    }
    pair.server.stream_send(1, b"abc", false).unwrap();
    assert_eq!(pair.lose_from_server(), 1);
    time_out(&mut pair.server);
    pair.pass_to_client();
    assert_eq!(pair.client.available_dcids(), 2, "a probe repeats what is in a packet with data");
    assert_eq!(pair.lose_from_client(), 1);
    pair.client.retire_dcid(0).unwrap();
    pair.client.retire_dcid(1).unwrap();
    pair.pass_to_server();
    assert_eq!(pair.server.retired_scids(), 2);
    time_out(&mut pair.server);
    for _ in 0..3 {
        assert_eq!(pair.server.send(&mut [0; 1500]), Err(Error::InvalidState));
    }
    assert!(!pair.server.is_closed());
    pair.server.close(false, 1, b"").unwrap();
    pair.pass_to_client();
    assert!(pair.client.peer_error().is_some(), "a close is sent");
}

#[test]
fn no_path_ever_gives_way_if_the_peers_ids_are_empty() {
    // transport/migration.rs: K1, Chrome's case.
    let mut pair = Pair::unconnected(limited, limited, &[]);
    pair.pass();
    rebind(&mut pair, 1001);
    rebind(&mut pair, 1002);
    rebind(&mut pair, 1003);
    assert_eq!(paths(&pair), [1000, 1001, 1002]);
    assert_eq!(pair.server.retire_dcid(0), Err(Error::InvalidState));
    assert_eq!(id_of(&mut pair, client_addr()), Ok(0));
    assert_eq!(id_of(&mut pair, addr(1002)), Ok(0));
}

/// The server's view: the client has moved to port 1001, where nothing reaches it, until the path has failed.
fn failed() -> Pair {
    let mut pair = pair(2);
    pair.seen_as = addr(1001);
    // Enough for three probes within the limit of three times what came.
    pair.client.stream_send(0, &[0; 1000], false).unwrap();
    pair.pass_to_server();
    let failed = PathEvent::FailedValidation(server_addr(), addr(1001));
    for _ in 0..30 {
        let packets = flight(&mut pair.server).into_iter().filter(|packet| packet.to == client_addr());
        let packets = packets.collect();
        pair.client_takes(packets);
        if events(&mut pair).contains(&failed) {
            return pair;
        }
        time_out(&mut pair.server);
    }
    panic!("the path does not fail");
}

#[test]
fn a_path_that_failed_is_validated_again_after_a_packet_from_its_address() {
    // transport/migration.rs: K1.
    let mut pair = failed();
    let active = pair.server.path_stats().find(|path| path.active).unwrap();
    assert_eq!(active.peer_addr, client_addr(), "back on the first path");
    rebind(&mut pair, 1001);
    let validated = PathEvent::Validated(server_addr(), addr(1001));
    let migrated = PathEvent::PeerMigrated(server_addr(), addr(1001));
    assert_eq!(events(&mut pair), [validated, migrated]);
}

#[test]
fn two_packets_in_a_row_from_the_address_of_a_failed_path_close_the_connection() {
    // transport/migration.rs: K1. Between the two, quiche has no path that it calls active.
    let mut pair = failed();
    let info = RecvInfo { from: addr(1001), to: server_addr() };
    let mut packets = Vec::new();
    for _ in 0..2 {
        pair.client.send_ack_eliciting().unwrap();
        packets.append(&mut flight(&mut pair.client));
    }
    assert_eq!(packets.len(), 2);
    assert!(pair.server.recv(&mut packets[0].bytes, info).is_ok());
    assert_eq!(pair.server.recv(&mut packets[1].bytes, info), Err(Error::InvalidState));
    assert!(pair.server.local_error().is_some());
}

/// The server sends five packets, none of which arrives, and sees the client at a new address.
fn left() -> Pair {
    let mut pair = pair(2);
    pair.client_sends(0, b"request", true);
    read(&mut pair.server, 0);
    pair.server.stream_send(0, &[1; 5000], true).unwrap();
    assert_eq!(pair.lose_from_server(), 5);
    rebind(&mut pair, 1001);
    time_out_and_pass(&mut pair);
    pair
}

/// Fires the server's timers some times.
fn time_out_and_pass(pair: &mut Pair) {
    for _ in 0..5 {
        if pair.server.timeout().unwrap().as_secs() > 5 {
            return;
        }
        time_out(&mut pair.server);
        pair.pass();
    }
}

#[test]
fn of_the_packets_in_flight_on_a_path_that_was_left_only_the_two_oldest_are_sent_again() {
    // transport/migration.rs
    let mut pair = left();
    let (bytes, fin) = read(&mut pair.client, 0);
    assert!(!bytes.is_empty() && bytes.len() < 2500, "{}", bytes.len());
    assert!(!fin);
}

#[test]
fn an_acknowledged_probe_of_a_path_that_was_left_brings_out_what_was_in_flight_there() {
    // transport/migration.rs
    let mut pair = left();
    pair.server.probe_path(server_addr(), client_addr()).unwrap();
    pair.pass();
    time_out_and_pass(&mut pair);
    let (bytes, fin) = read(&mut pair.client, 0);
    assert_eq!((bytes.len(), fin), (5000, true));
}

/// The server has something to send to `other`, which a probe of the path to `probed` keeps back.
fn assert_probe_holds_back(pair: &mut Pair, probed: SocketAddr, error: Error, other: SocketAddr) {
    let mut bytes = [0; 1500];
    id_of(pair, probed).unwrap();
    assert_eq!(pair.server.send(&mut bytes), Err(error));
    assert!(pair.server.send_on_path(&mut bytes, None, Some(other)).is_ok());
}

#[test]
fn a_probe_beyond_the_limit_of_an_unvalidated_path_keeps_every_other_path_from_sending() {
    // transport/migration.rs: K1.
    let mut pair = pair(2);
    for port in [1001, 1002] {
        pair.seen_as = addr(port);
        pair.client.send_ack_eliciting().unwrap();
        pair.pass_to_server();
        assert_eq!(flight(&mut pair.server).last().unwrap().to, addr(port), "a challenge uses the limit up");
    }
    pair.client.stream_send(0, b"abc", true).unwrap();
    pair.pass_to_server();
    assert_probe_holds_back(&mut pair, addr(1001), Error::Done, addr(1002));
}

/// The client has moved, and the server probes the path on which it sent far more than it received.
fn probe_after_a_download(pair: &mut Pair) {
    pair.client_sends(0, b"request", true);
    for _ in 0..10 {
        pair.server_sends(0, &[1; 10_000], false);
    }
    rebind(pair, 1001);
    events(pair);
    pair.server.probe_path(server_addr(), client_addr()).unwrap();
}

#[test]
fn one_lost_probe_fails_a_validated_path_that_sent_three_times_what_it_received() {
    // transport/migration.rs: K1. The limit for addresses that are not validated counts on.
    let mut pair = pair(2);
    probe_after_a_download(&mut pair);
    assert_eq!(pair.lose_from_server(), 1);
    time_out(&mut pair.server);
    assert_eq!(events(&mut pair), [PathEvent::FailedValidation(server_addr(), client_addr())]);
}

#[test]
fn three_lost_probes_fail_a_path_that_may_send_more_than_it_ever_does() {
    // config/transport.rs: K1.
    let generous = |config: &mut Config| {
        limited(config);
        config.set_max_amplification_factor(1 << 20);
    };
    let mut pair = Pair::with(limited, generous);
    pair.client.new_scid(&ConnectionId::from_ref(&[10; 16]), 10, false).unwrap();
    pair.pass();
    probe_after_a_download(&mut pair);
    for _ in 0..3 {
        assert_eq!(events(&mut pair), []);
        assert_eq!(pair.lose_from_server(), 1);
        time_out(&mut pair.server);
    }
    assert_eq!(events(&mut pair), [PathEvent::FailedValidation(server_addr(), client_addr())]);
}

#[test]
fn nothing_is_sent_while_a_path_is_probed_whose_local_id_the_peer_took_to_another_path_and_retired() {
    // transport/migration.rs: K1.
    let mut pair = pair(2);
    pair.server.new_scid(&ConnectionId::from_ref(&[20; 16]), 20, false).unwrap();
    pair.pass();
    rebind(&mut pair, 1001);
    rebind(&mut pair, 1002);
    pair.client.retire_dcid(0).unwrap();
    pair.pass();
    pair.server.send_ack_eliciting().unwrap();
    assert_probe_holds_back(&mut pair, addr(1001), Error::InvalidState, addr(1002));
}

#[test]
fn nothing_is_sent_while_a_path_is_probed_whose_congestion_window_is_full() {
    // transport/migration.rs: K1.
    let mut pair = pair(2);
    pair.client_sends(0, b"request", true);
    read(&mut pair.server, 0);
    pair.server.stream_send(0, &[1; 100_000], true).unwrap();
    pair.lose_from_server();
    pair.seen_as = addr(1001);
    pair.client.send_ack_eliciting().unwrap();
    pair.pass_to_server();
    assert_probe_holds_back(&mut pair, client_addr(), Error::Done, addr(1001));
}

/// The client is at port 1001, and its response to the challenge of that path is lost.
fn without_response() -> Pair {
    let mut pair = pair(2);
    pair.seen_as = addr(1001);
    pair.client.send_ack_eliciting().unwrap();
    pair.pass_to_server();
    let challenge = flight(&mut pair.server);
    pair.client_takes(challenge);
    assert_eq!(flight(&mut pair.client).len(), 1, "ACK and PATH_RESPONSE");
    pair
}

#[test]
fn a_challenge_whose_response_is_lost_is_not_repeated_while_nothing_else_is() {
    // transport/migration.rs: K1.
    let mut pair = without_response();
    for _ in 0..10 {
        // Acknowledges the packet with the challenge, too.
        pair.client.send_ack_eliciting().unwrap();
        pair.pass();
    }
    assert_eq!(pair.server.is_path_validated(server_addr(), addr(1001)), Ok(false));
    assert!(!events(&mut pair).contains(&PathEvent::PeerMigrated(server_addr(), addr(1001))));
    pair.client.stream_send(0, &[0; 1000], false).unwrap();
    pair.pass_to_server();
    pair.server.probe_path(server_addr(), addr(1001)).unwrap();
    pair.pass();
    assert_eq!(pair.server.is_path_validated(server_addr(), addr(1001)), Ok(true));
}

#[test]
fn a_path_whose_challenge_is_acknowledged_but_not_answered_fails_only_after_another_one() {
    // transport/left.rs: K1. Nothing is in flight on it, so no timer runs.
    let mut pair = without_response();
    rebind(&mut pair, 1002);
    time_out_and_pass(&mut pair);
    let failed = PathEvent::FailedValidation(server_addr(), addr(1001));
    assert!(!events(&mut pair).contains(&failed));
    pair.client.stream_send(0, &[0; 1000], false).unwrap();
    pair.seen_as = addr(1001);
    pair.pass_to_server();
    pair.server.probe_path(server_addr(), addr(1001)).unwrap();
    let path = (Some(server_addr()), Some(addr(1001)));
    assert!(pair.server.send_on_path(&mut [0; 48], path.0, path.1).is_ok());
    events(&mut pair);
    for _ in 0..5 {
        time_out(&mut pair.server);
        flight(&mut pair.server);
    }
    assert!(events(&mut pair).contains(&failed));
}
