//! Counters and distributions that are taken from quiche now and then.

use super::client::Net;
use super::sessions::{Client, DRAFT02, options};
use super::*;
use crate::stats::Distributions;
use crate::turn::settle;
use crate::wire::datagram;

/// A request and its response, while it is `now` for the server.
fn exchange_at(sim: &mut Sim, now: Instant) {
    sim.get("/");
    sim.client_turn();
    for mut packet in std::mem::take(&mut sim.to_server) {
        sim.server.recv(now, &mut packet, addr(CLIENT), addr(SERVER));
    }
    sim.server.handle_timeouts(now);
    settle(now, &mut sim.server, &mut sim.app);
    let mut buf = vec![0; 1500];
    while let Some(transmit) = sim.server.poll_transmit(now, &mut buf, 1) {
        sim.to_client.push_back(buf[..transmit.len].to_vec());
    }
    sim.step();
}

/// Numbers of samples.
fn samples(sim: &Sim) -> (u64, u64) {
    let Distributions { round_trips, congestion_windows, .. } = sim.server.distributions();
    (round_trips.count(), congestion_windows.count())
}

#[test]
fn a_connection_is_sampled_every_ten_seconds_of_use_and_at_its_end() {
    let before = net::now();
    let mut sim = Sim::connected(Options::default());
    let after = net::now();
    let seconds = Duration::from_secs;
    exchange_at(&mut sim, before + seconds(9));
    assert_eq!(samples(&sim), (0, 0));
    for (at, expected) in [(10, 1), (19, 1), (20, 2), (21, 2)] {
        exchange_at(&mut sim, after + seconds(at));
        assert_eq!(samples(&sim), (expected, expected), "after {at} s");
    }
    sim.client.close(true, 0x100, b"").expect("open");
    while sim.server.connection_count() > 0 {
        sim.step();
    }
    assert_eq!(samples(&sim), (3, 3));
    let Distributions { round_trips, congestion_windows, .. } = sim.server.distributions();
    assert!(round_trips.sum() > 0 && round_trips.sum() < 3 * seconds(1).as_nanos(), "{round_trips:?}");
    // RFC 9002 section 7.2: ten packets at the beginning, of 1200 bytes at least.
    assert!(congestion_windows.sum() >= 3 * 12_000, "{congestion_windows:?}");
}

#[test]
fn a_handshake_that_fails_is_no_sample() {
    let mut sim = Sim::new(Options::default());
    sim.cut = true;
    for _ in 0..2 {
        sim.step();
    }
    assert_eq!(sim.server.handshake_count(), 1);
    let later = net::now() + TIMEOUT;
    sim.server.handle_timeouts(later);
    settle(later, &mut sim.server, &mut sim.app);
    while sim.server.poll_transmit(later, &mut [0; 1500], 1).is_some() {}
    assert_eq!((sim.server.stats().handshake_timeouts, samples(&sim)), (1, (0, 0)));
}

#[test]
fn lost_datagrams_and_packets_are_counted_at_the_end_of_their_connection() {
    let mut net = Net::demo(Network::default());
    let conn = net.connect(SERVER);
    let session = net.session(conn, "/wt/echo");
    for n in 0..7 {
        net.client.send_datagram(session, &[n]).expect("room for a datagram");
    }
    net.client_turn();
    let lost = std::mem::take(&mut net.servers[0].to_server).len();
    assert!((1..=7).contains(&lost), "{lost} packets");
    let stream = net.open(session, true, &payload(20_000));
    net.run_until("what comes behind them", |net| net.app.streams[&stream].is_over());
    let counts = |net: &Net| {
        let stats = net.client.stats();
        (stats.datagram_frames_out, stats.datagram_frames_lost, stats.packets_lost)
    };
    assert_eq!(counts(&net), (7, 0, 0), "before a sample");
    net.app.going.push(conn);
    net.client.close(conn, crate::error::ErrorCode::H3_NO_ERROR, b"");
    net.run_until("the end", |net| !net.app.gone.is_empty());
    assert_eq!(counts(&net), (7, 7, lost as u64));
}

#[test]
fn datagrams_that_quiche_drops_from_its_queue_are_received_and_dropped() {
    let mut options = options(Network::default());
    options.server = Box::new(|config| {
        config.webtransport.enabled = true;
        config.transport.datagram_queue = Some(4);
    });
    let Client { mut sim, .. } = Client::open(options, "/wt/echo", &[DRAFT02]);
    for n in 0..10 {
        sim.client.dgram_send(&datagram::build(0, &[n])).expect("room");
    }
    sim.step();
    sim.client.close(true, 0x100, b"").expect("open");
    while sim.server.connection_count() > 0 {
        sim.step();
    }
    let stats = sim.server.stats();
    assert_eq!((stats.datagram_frames_in, stats.datagram_frames_dropped, stats.datagram_frames_out), (10, 6, 4));
}

#[test]
fn early_data_that_is_accepted_or_rejected_counts_on_both_sides() {
    let router = demo::router(None).expect("routes");
    let early = |config: &mut ServerConfig| config.transport.early_data = true;
    let mut net = Net::with(Network::default(), router, early, |config| config.transport.early_data = true);
    let conn = net.connect(SERVER);
    net.run_until("a ticket", |net| net.client.ticket(conn).is_some());
    let ticket = net.client.ticket(conn).expect("a ticket").to_vec();
    let resume = |net: &mut Net| {
        let made = net.client.connect(net::now(), "localhost", addr(CLIENT), addr(SERVER), Some(&ticket));
        let stream = net.get(made.expect("a connection"), "/");
        net.run_until("the response", |net| net.app.streams[&stream].is_over());
        let counts = |endpoint: &Endpoint| {
            let stats = endpoint.stats();
            [stats.handshakes, stats.resumed_handshakes, stats.early_handshakes, stats.rejected_early_handshakes]
        };
        (counts(&net.client), counts(&net.servers[0].endpoint))
    };
    assert_eq!(resume(&mut net), ([2, 1, 1, 0], [2, 1, 1, 0]));
    // The ticket is of another process, whose key is gone with it.
    net.restart(early);
    assert_eq!(resume(&mut net), ([3, 1, 1, 1], [1, 0, 0, 1]));
}
