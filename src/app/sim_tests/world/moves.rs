//! Our client moves to other ports in a download.

use super::*;

const URL: &str = "https://localhost:4433";
const MOVES: usize = 20;

#[test]
fn a_download_survives_moves_in_quick_succession() {
    // K1: some of them before the server has validated the address before.
    const BYTES_PER_MOVE: usize = 20_000;
    let size = 4 * MOVES * BYTES_PER_MOVE;
    for seed in seeds() {
        let mut world = World::new(seed, Link { loss: 3, rate: Some(2_000_000), ..Link::LAN });
        world.client(|_| {});
        let outcome = world.clients[0].get(&format!("{URL}/stream/{size}"));
        let (mut moves, mut enough) = (0, BYTES_PER_MOVE);
        world.run_until("the body", |world| {
            let received = outcome.borrow().body.len();
            // Without a connection id for the next address it moves later.
            if moves < MOVES && received > enough && world.migrate(0) {
                (moves, enough) = (moves + 1, received + BYTES_PER_MOVE);
            }
            outcome.borrow().end.is_some()
        });
        assert_eq!(outcome.borrow().result(), (200, None));
        assert!(outcome.borrow().body == payload(size));
        assert!(moves > 4, "{moves} moves");
    }
}

/// A download whose client moves every 50 ms, whatever it has received.
fn move_in_a_download(delay: Duration, naps: Duration) {
    const PAUSE: Duration = Duration::from_millis(50);
    let size = 2_000_000;
    for seed in seeds() {
        let mut world = World::new(seed, Link { delay, rate: Some(2_000_000), ..Link::LAN });
        world.client(|_| {});
        world.naps = naps;
        let outcome = world.clients[0].get(&format!("{URL}/stream/{size}"));
        let (mut moves, mut next) = (0, None);
        world.run_until("the body", |world| {
            if next.is_none() && outcome.borrow().status == 200 {
                next = Some(net::now() + PAUSE);
            }
            if moves < MOVES && next.is_some_and(|next| net::now() > next) && world.migrate(0) {
                (moves, next) = (moves + 1, Some(net::now() + PAUSE));
            }
            outcome.borrow().end.is_some()
        });
        assert_eq!((outcome.borrow().result(), moves), ((200, None), MOVES));
        assert!(outcome.borrow().body == payload(size));
    }
}

#[test]
fn a_download_survives_moves_within_one_round_trip() {
    move_in_a_download(Duration::from_millis(30), Duration::ZERO);
}

#[test]
fn a_download_survives_moves_while_both_sides_get_no_processor() {
    move_in_a_download(Duration::from_millis(1), Duration::from_millis(150));
}
