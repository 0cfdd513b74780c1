//! Whole bodies both ways, whatever the network does.

use super::*;
use crate::config::RetryPolicy;

fn sha256(data: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, data).as_ref())
}

/// Concurrent downloads and uploads, each of which must arrive unchanged.
fn transfer(world: &mut World, peer: usize) {
    let (small, large, up) = (payload(1_000), payload(150_000), payload(100_000));
    let peer_ = &mut world.peers[peer];
    let down = [(peer_.get("/stream/1000"), &small), (peer_.get("/stream/150000"), &large)];
    let upload = peer_.request("POST", "/upload", &up);
    let echo = peer_.request("POST", "/api/echo", &up);
    world.run_until("all answers", |world| world.peers[peer].is_through());
    let answers = &world.peers[peer].answers;
    for (id, expected) in down.into_iter().chain([(echo, &up)]) {
        assert_eq!(answers[&id].reset, None);
        assert_eq!(sha256(&answers[&id].body), sha256(expected), "{} bytes", answers[&id].body.len());
    }
    let sum = format!("{{\"bytes\":100000,\"sha256\":\"{}\"}}\n", sha256(&up));
    assert_eq!(String::from_utf8_lossy(&answers[&upload].body), sum);
}

/// Runs a transfer for each seed and returns the worlds.
fn under(link: Link, change: impl Fn(&mut ServerConfig) + Copy) -> Vec<World> {
    let run = |seed| {
        let mut world = World::with(seed, link, change);
        let peer = world.peer(|_| {});
        transfer(&mut world, peer);
        world
    };
    seeds().map(run).collect()
}

#[test]
fn loss() {
    for world in under(Link { loss: 5, ..Link::LAN }, |_| {}) {
        assert!(world.network.counts.lost > 0);
    }
}

#[test]
fn jitter() {
    let jitter = Duration::from_millis(5);
    under(Link { jitter, ..Link::LAN }, |_| {});
}

#[test]
fn a_slow_link_with_a_short_queue() {
    for world in under(Link { rate: Some(2_000_000), queue: 20_000, ..Link::LAN }, |_| {}) {
        assert!(world.network.counts.overflowed > 0, "{:?}", world.network.counts);
    }
}

#[test]
fn duplicates() {
    for world in under(Link { duplicate: 20, ..Link::LAN }, |config| config.retry = RetryPolicy::On) {
        assert!(world.network.counts.duplicated > 0);
        assert_eq!(world.servers[0].endpoint.stats().connections, 1, "a packet that comes twice makes no connection");
    }
}

#[test]
fn reordering() {
    for world in under(Link { reorder: 20, ..Link::LAN }, |_| {}) {
        assert!(world.network.counts.reordered > 0);
    }
}

/// Packets that were tampered with are dropped, and the connection survives (RFC 9001 section 5.3).
#[test]
fn corruption_breaks_no_connection() {
    for world in under(Link { corrupt: 10, ..Link::LAN }, |_| {}) {
        assert!(world.network.counts.corrupted > 20, "{:?}", world.network.counts);
        let stats = world.servers[0].endpoint.stats();
        assert_eq!((stats.requests, stats.malformed_requests), (4, 0));
    }
}

#[test]
fn a_path_with_a_small_mtu() {
    // A server's default packet size does not fit: it finds one that does.
    for world in under(Link { mtu: 1300, ..Link::LAN }, |config| config.transport.discover_pmtu = true) {
        assert!(world.network.counts.too_large > 0, "{:?}", world.network.counts);
    }
    for world in under(Link { mtu: 1200, ..Link::LAN }, |config| config.transport.max_udp_payload = 1200) {
        assert_eq!(world.network.counts.too_large, 0);
    }
}

#[test]
fn a_nat_that_takes_other_ports() {
    for world in under(Link { rebind_every: Some(60), loss: 1, ..Link::LAN }, |_| {}) {
        assert!(world.network.counts.rebound > 0);
    }
}

#[test]
fn a_nat_that_takes_another_port_while_nothing_is_sent() {
    for seed in seeds() {
        let mut world = World::new(seed, Link::LAN);
        let peer = world.peer(|_| {});
        for _ in 0..3 {
            transfer(&mut world, peer);
            world.network.rebind(world.peers[peer].addr);
            world.run_for(Duration::from_millis(10));
        }
    }
}

#[test]
fn everything_at_once() {
    let link = Link {
        jitter: Duration::from_millis(2),
        rate: Some(5_000_000),
        queue: 50_000,
        loss: 2,
        duplicate: 2,
        reorder: 3,
        corrupt: 2,
        ..Link::LAN
    };
    under(link, |_| {});
}

#[test]
fn a_full_socket_loses_nothing() {
    for seed in seeds() {
        let mut world = World::new(seed, Link::LAN);
        let peer = world.peer(|_| {});
        world.servers[0].socket.full = Some(Full { every: 3, lasts: Duration::from_millis(5) });
        transfer(&mut world, peer);
        world.run_until("the last datagram", |world| {
            world.servers[0].socket.sent == world.servers[0].endpoint.stats().datagrams_out
        });
        let blocked = world.servers[0].socket.blocked;
        assert!(blocked > 3, "{blocked} times");
    }
}

#[test]
fn a_forged_packet_from_elsewhere_changes_nothing() {
    let mut world = World::new(1, Link::LAN);
    let peer = world.begin_peer(|_| {});
    let made_up = world.peers[peer].quic.destination_id().into_owned();
    world.run_until("the server's first flight", |world| world.peers[peer].quic.destination_id() != made_up);
    let forge = |world: &mut World| {
        let before = world.servers[0].endpoint.path_state();
        let id = world.peers[peer].quic.destination_id().to_vec();
        let mut forged = [&[0x40][..], &id, &[7; 40]].concat();
        world.servers[0].endpoint.recv(net::now(), &mut forged, addr("203.0.113.1:9"), addr(SERVER));
        assert_eq!(world.servers[0].endpoint.path_state(), before);
        before
    };
    let in_handshake = forge(&mut world);
    assert!(in_handshake.contains("Limited"), "{in_handshake}");
    world.run_until("the handshake", |world| world.peers[peer].h3.is_some());
    transfer(&mut world, peer);
    assert!(forge(&mut world).ends_with("migration: None } Validated"));
}
