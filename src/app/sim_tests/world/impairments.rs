//! Whole bodies both ways, whatever the network does.

use super::*;
use crate::app::sim_tests::Rng;
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

/// Twenty ports in a download, on all kinds of links. With less than 3 bytes allowed for each that came, quiche took
/// paths for failed before a challenge could be answered, and closed the connection with the last one.
#[test]
fn a_download_behind_a_nat_never_ends_early() {
    for seed in seeds() {
        download_behind_a_nat(seed);
    }
}

fn download_behind_a_nat(seed: u64) {
    const CHANGES: usize = 20;
    /// A client that receives nothing for so long sends a PING.
    const QUIET: Duration = Duration::from_millis(100);
    let mut rng = Rng::new(seed);
    let mut one_of = |of: &[u64]| of[rng.next() as usize % of.len()];
    let link = Link {
        delay: Duration::from_micros(one_of(&[50, 500, 5000])),
        jitter: Duration::from_micros(one_of(&[0, 100, 2000, 20_000])),
        rate: Some(one_of(&[2_000_000, 10_000_000])),
        queue: one_of(&[20_000, 100_000]),
        loss: one_of(&[0, 1, 5]),
        reorder: one_of(&[0, 3]),
        keeps_ports: one_of(&[0, 1]) == 1,
        ..Link::LAN
    };
    let per_change = one_of(&[20_000, 50_000, 150_000]) as usize;
    let size = (CHANGES + 2) * per_change;
    let mut world = World::new(seed, link);
    let peer = world.peer(|_| {});
    let id = world.peers[peer].get(&format!("/stream/{size}"));
    let mut last = (0, net::now());
    let mut received_by = |world: &mut World, bytes: usize| {
        let received = world.peers[peer].answers[&id].body.len();
        if last.0 != received {
            last = (received, net::now());
        } else if last.1.elapsed() > QUIET {
            last.1 = net::now();
            world.peers[peer].quic.send_ack_eliciting().expect("a PING");
        }
        received >= bytes
    };
    for change in 1..=CHANGES {
        let what = format!("the part before change {change}");
        world.run_until(&what, |world| received_by(world, change * per_change));
        world.network.rebind(world.peers[peer].addr);
        // The server learns the port from the next packet.
        world.peers[peer].quic.send_ack_eliciting().expect("a PING");
    }
    world.run_until("the rest", |world| received_by(world, size) && world.peers[peer].is_through());
    assert!(world.peers[peer].answers[&id].body == payload(size));
}

/// quiche fails a path, even a validated one, after three timeouts with a challenge in flight, which here take 0.3 s.
#[test]
fn a_client_that_sleeps_after_a_move_keeps_its_connection() {
    // Each world mostly waits.
    std::thread::scope(|scope| {
        for half_ms in 0..12 {
            scope.spawn(move || sleep_after_a_move(Duration::from_micros(500 * half_ms)));
        }
    });
}

/// A timer finds most losses in responses of three packets, and then nothing else is in flight.
#[test]
fn a_loss_after_a_move_is_made_good() {
    let mut world = World::new(1, Link { loss: 10, ..Link::LAN });
    let peer = world.peer(|_| {});
    for n in 0..50 {
        if n == 10 {
            world.network.rebind(world.peers[peer].addr);
        }
        let id = world.peers[peer].get("/stream/3000");
        world.run_until("the answer", |world| world.peers[peer].is_through());
        assert_eq!(world.peers[peer].answers[&id].body, payload(3000));
    }
    assert_eq!(world.servers[0].endpoint.stats().migrations, 1);
}

/// The client sleeps so long after it has sent from another port.
fn sleep_after_a_move(after: Duration) {
    const NAP: Duration = Duration::from_secs(2);
    eprintln!("asleep after {after:?}");
    let mut world = World::new(1, Link::LAN);
    let peer = world.peer(|_| {});
    transfer(&mut world, peer);
    world.network.rebind(world.peers[peer].addr);
    world.peers[peer].quic.send_ack_eliciting().expect("a PING");
    world.run_for(after);
    world.peers[peer].asleep_until = Some(net::now() + NAP);
    world.run_for(NAP);
    transfer(&mut world, peer);
    assert_eq!(world.servers[0].endpoint.stats().migrations, 1);
}
