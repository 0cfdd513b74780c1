//! Several connections to one server, which share its link.

use super::*;

/// Bytes that each connection requests.
const SIZE: usize = 400_000;

/// Lets `count` connections download concurrently. Returns how much each had when the first one finished.
fn race(seed: u64, count: usize, link: Link) -> Vec<usize> {
    let mut world = World::new(seed, link);
    world.network.attach(addr(SERVER), Link { rate: Some(4_000_000), queue: 100_000, ..Link::PERFECT });
    for _ in 0..count {
        world.peer(|_| {});
    }
    let ids: Vec<_> = world.peers.iter_mut().map(|peer| peer.get(&format!("/stream/{SIZE}"))).collect();
    world.run_until("the first", |world| world.peers.iter().any(Peer::is_through));
    let had = world.peers.iter().zip(&ids).map(|(peer, id)| peer.answers[id].body.len()).collect();
    world.run_until("the others", |world| world.peers.iter().all(Peer::is_through));
    for (peer, id) in world.peers.iter().zip(ids) {
        assert!(peer.answers[&id].body == payload(SIZE));
    }
    had
}

#[test]
fn two_connections_progress_together() {
    for seed in seeds() {
        let had = race(seed, 2, Link::LAN);
        assert!(had.iter().all(|bytes| *bytes > SIZE / 10), "seed {seed}: {had:?}");
    }
}

#[test]
fn five_connections_progress_together() {
    for seed in seeds() {
        let had = race(seed, 5, Link { loss: 1, jitter: Duration::from_millis(1), ..Link::LAN });
        assert!(had.iter().all(|bytes| *bytes > SIZE / 20), "seed {seed}: {had:?}");
    }
}

/// A connection whose reader stops does not hold up others.
#[test]
fn a_connection_that_is_silent_starves_nobody() {
    for seed in seeds() {
        let mut world = World::new(seed, Link::LAN);
        let (silent, other) = (world.peer(|_| {}), world.peer(|_| {}));
        world.peers[silent].get("/stream/3000000");
        world.network.detach(world.peers[silent].addr);
        let id = world.peers[other].get("/stream/300000");
        world.run_until("the other one", |world| world.peers[other].is_through());
        assert!(world.peers[other].answers[&id].body == payload(300_000));
    }
}
