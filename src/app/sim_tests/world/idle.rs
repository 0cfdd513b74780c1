//! Connections of our client that have nothing to do: kept, kept alive, and closed.

use super::*;

const URL: &str = "https://localhost:4433/";
/// Between PINGs.
const INTERVAL: Duration = Duration::from_millis(100);
/// The idle timeout of both sides: long enough for a busy machine.
const IDLE: Duration = Duration::from_millis(1500);

/// A client that has got one answer.
fn world(change: impl Fn(&mut ClientConfig)) -> World {
    let mut world = World::with(1, Link::LAN, |config| config.transport.idle_timeout = IDLE);
    world.client(|config| {
        config.transport.idle_timeout = IDLE;
        change(config);
    });
    get(&mut world);
    world
}

fn get(world: &mut World) {
    let outcome = world.clients[0].get(URL);
    world.run_until("the answer", |_| outcome.borrow().end.is_some());
    assert_eq!(outcome.borrow().result(), (200, None));
}

fn connections(world: &World) -> (u64, usize) {
    (world.servers[0].endpoint.stats().connections, world.clients[0].core.connection_count())
}

/// Waits until the client has no connection any more; returns how long that took.
fn until_the_end(world: &mut World) -> Duration {
    let began = net::now();
    world.run_until("the end", |world| world.clients[0].core.connection_count() == 0);
    net::now() - began
}

#[test]
fn an_idle_connection_ends_with_the_idle_timeout_unless_it_is_kept_alive() {
    let mut plain = world(|_| {});
    until_the_end(&mut plain);
    get(&mut plain);
    assert_eq!(connections(&plain), (2, 1));
    let mut kept = world(|config| config.keep_alive = Some(INTERVAL));
    kept.run_for(2 * IDLE);
    get(&mut kept);
    assert_eq!(connections(&kept), (1, 1));
}

#[test]
fn a_connection_that_is_kept_alive_leaves_the_pool_in_time() {
    let mut world = world(|config| {
        config.keep_alive = Some(INTERVAL);
        config.pool_idle_timeout = 2 * IDLE;
    });
    let took = until_the_end(&mut world);
    assert!(took > 2 * IDLE - INTERVAL, "{took:?}");
    get(&mut world);
    assert_eq!(connections(&world), (2, 1));
}

/// A server that is gone is noticed, PINGs or not.
#[test]
fn a_dead_server_is_noticed_though_its_connection_is_kept_alive() {
    let mut world = world(|config| config.keep_alive = Some(INTERVAL));
    world.network.detach(addr(SERVER));
    let took = until_the_end(&mut world);
    assert!(took < TIMEOUT / 2, "{took:?}");
}
