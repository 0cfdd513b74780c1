//! Our client: its pool, its retries, and servers that move.

use std::net::SocketAddr;

use super::client::Shared;
use super::*;
use crate::app::client::{AltService, ClientRequest};
use crate::error::ErrorCode;

const OTHER_SERVER: &str = "192.0.2.3:4433";
/// An address without a host.
const DEAD: &str = "192.0.2.9:4433";
const URL: &str = "https://localhost:4433";
const LOSSY: Link = Link { loss: 4, reorder: 5, ..Link::LAN };

fn wait_for(world: &mut World, outcomes: &[Shared]) {
    world.run_until("every request", |_| outcomes.iter().all(|outcome| outcome.borrow().end.is_some()));
}

fn addresses(all: &[&str]) -> Vec<SocketAddr> {
    all.iter().map(|text| addr(text)).collect()
}

#[test]
fn many_requests_make_the_pool_grow() {
    for seed in seeds() {
        let mut world = World::with(seed, LOSSY, |config| config.transport.max_streams_bidi = 4);
        let client = world.client(|_| {});
        let body = payload(10_000);
        let client = &mut world.clients[client];
        let slow: Vec<_> = (0..15).map(|_| client.get(&format!("{URL}/slow?delay=30"))).collect();
        let echo: Vec<_> = (0..15).map(|_| client.post(&format!("{URL}/api/echo"), &body)).collect();
        wait_for(&mut world, &[&slow[..], &echo].concat());
        for outcome in slow.iter().chain(&echo) {
            assert_eq!(outcome.borrow().result(), (200, None));
        }
        assert!(echo.iter().all(|outcome| outcome.borrow().body == body));
        let stats = world.servers[0].endpoint.stats();
        assert_eq!(stats.requests, 30);
        assert!((2..=6).contains(&stats.connections), "{} connections", stats.connections);
        assert!(!world.clients[0].core.is_busy());
    }
}

/// The demo has sessions, so QUIC has room for 1000 streams, and the server rejects requests over its limit.
#[test]
fn requests_that_are_rejected_as_too_many_wait_for_their_turn() {
    // K14
    for seed in seeds() {
        let mut world = World::with(seed, Link::LAN, |config| config.transport.max_streams_bidi = 4);
        let client = world.client(|_| {});
        let client = &mut world.clients[client];
        let all: Vec<_> = (0..60).map(|_| client.get(&format!("{URL}/slow?delay=30"))).collect();
        wait_for(&mut world, &all);
        for outcome in &all {
            assert_eq!(outcome.borrow().result(), (200, None));
        }
        let stats = world.servers[0].endpoint.stats();
        assert_eq!(stats.requests, 60);
        assert!((1..=120).contains(&stats.rejected_requests), "{} rejected", stats.rejected_requests);
        assert!((2..=6).contains(&stats.connections), "{} connections", stats.connections);
    }
}

/// Another server processes the requests that a server in shutdown did not, and nothing is done twice.
#[test]
fn goaway_in_the_middle_moves_to_another_server() {
    for seed in seeds() {
        let mut world = World::new(seed, LOSSY);
        world.server(OTHER_SERVER, demo::router(None).expect("routes"), |_| {});
        world.client(|_| {});
        let body = payload(20_000);
        let mut all: Vec<_> = (0..10).map(|_| world.clients[0].get(&format!("{URL}/slow?delay=50"))).collect();
        world.run_until("requests that run", |world| world.servers[0].endpoint.stats().requests >= 5);
        // Known only now, so that the first server is the one that is asked first.
        world.clients[0].hosts.insert("localhost".to_owned(), addresses(&[SERVER, OTHER_SERVER]));
        world.servers[0].endpoint.shutdown();
        all.extend((0..5).map(|_| world.clients[0].get(&format!("{URL}/"))));
        let echo: Vec<_> = (0..5).map(|_| world.clients[0].post(&format!("{URL}/api/echo"), &body)).collect();
        wait_for(&mut world, &[&all[..], &echo].concat());
        for outcome in all.iter().chain(&echo) {
            assert_eq!(outcome.borrow().result(), (200, None));
        }
        assert!(echo.iter().all(|outcome| outcome.borrow().body == body));
        let requests = [0, 1].map(|server| world.servers[server].endpoint.stats().requests);
        assert!(requests[0] >= 5 && requests[1] >= 10, "{requests:?}");
        assert_eq!(requests.iter().sum::<u64>(), 20, "{requests:?}");
    }
}

#[test]
fn behind_a_dead_address_comes_the_next_one() {
    for seed in seeds() {
        let mut world = World::new(seed, LOSSY);
        world.client(|_| {});
        world.clients[0].hosts.insert("localhost".to_owned(), addresses(&[DEAD, SERVER]));
        let began = net::now();
        let outcome = world.clients[0].get(&format!("{URL}/"));
        wait_for(&mut world, std::slice::from_ref(&outcome));
        assert_eq!(outcome.borrow().result(), (200, None));
        assert!(net::now() - began >= Duration::from_millis(250));
        assert!(world.network.counts.nowhere > 0);
    }
}

#[test]
fn a_host_without_addresses_and_one_where_nobody_is() {
    let mut world = World::new(1, Link::LAN);
    world.client(|config| config.connect_timeout = Duration::from_millis(300));
    world.clients[0].hosts.insert("dead".to_owned(), addresses(&[DEAD]));
    let unknown = world.clients[0].get("https://nowhere/");
    let dead = world.clients[0].get("https://dead/");
    wait_for(&mut world, &[unknown.clone(), dead.clone()]);
    let error = |outcome: &Shared| outcome.borrow().result().1.expect("an error");
    assert_eq!(error(&unknown), "cannot resolve host 'nowhere': no such name");
    assert_eq!(error(&dead), "cannot connect to dead:443: no answer within 0.3 s");
}

#[test]
fn an_alternative_that_is_dead_costs_time_and_no_request() {
    let mut world = World::new(1, Link::LAN);
    world.client(|_| {});
    world.clients[0].hosts.insert("alternative".to_owned(), addresses(&[DEAD]));
    world.clients[0].core.add_alternative(AltService {
        origin_host: "localhost".to_owned(),
        origin_port: 4433,
        host: "alternative".to_owned(),
        port: 4433,
        expires: net::wall_clock() + TIMEOUT,
        persist: false,
    });
    let outcome = world.clients[0].get(&format!("{URL}/"));
    wait_for(&mut world, std::slice::from_ref(&outcome));
    assert_eq!(outcome.borrow().result(), (200, None));
    assert!(world.network.counts.nowhere > 0, "it was tried");
}

#[test]
fn the_alternative_that_a_server_names_is_used_next() {
    for seed in seeds() {
        // Without loss: a client that does not hear that its connection was closed waits for its idle timeout.
        let mut world = World::new(seed, Link::LAN);
        let first =
            Router::new().get("/", |_req, res| res.header("alt-svc", "h3=\"alternative:4433\"").text("first\n"));
        let second = Router::new().get("/", |req, res| {
            let used = req.header("alt-used").unwrap_or("nothing").to_owned();
            res.text(used)
        });
        world.servers[0] = Server::new(addr(SERVER), first, |_| {});
        world.server(OTHER_SERVER, second, |_| {});
        world.client(|config| config.alt_svc = true);
        world.clients[0].hosts.insert("alternative".to_owned(), addresses(&[OTHER_SERVER]));
        let outcome = world.clients[0].get(&format!("{URL}/"));
        wait_for(&mut world, std::slice::from_ref(&outcome));
        assert_eq!(outcome.borrow().body, b"first\n");
        world.servers[0].endpoint.close_all(ErrorCode::H3_NO_ERROR, b"");
        world.run_until("the close", |world| world.clients[0].core.connection_count() == 0);
        let outcome = world.clients[0].get(&format!("{URL}/"));
        wait_for(&mut world, std::slice::from_ref(&outcome));
        assert_eq!(String::from_utf8_lossy(&outcome.borrow().body), "alternative:4433");
    }
}

/// A server that shuts down: requests that it did not answer are sent to its successor.
#[test]
fn a_server_that_closes_and_comes_again() {
    for seed in seeds() {
        let mut world = World::new(seed, Link::LAN);
        world.client(|_| {});
        let running = world.clients[0].get(&format!("{URL}/slow?delay=200"));
        world.run_until("the request", |world| world.servers[0].endpoint.stats().requests == 1);
        world.servers[0].endpoint.close_all(ErrorCode::H3_NO_ERROR, b"");
        world.step();
        world.servers[0] = Server::new(addr(SERVER), demo::router(None).expect("routes"), |_| {});
        wait_for(&mut world, std::slice::from_ref(&running));
        assert_eq!(running.borrow().result(), (200, None));
        assert_eq!(world.servers[0].endpoint.stats().requests, 1);
    }
}

/// A server that vanishes: running requests fail in time, and the next request reaches its successor.
#[test]
fn a_server_that_crashes_and_comes_again() {
    for seed in seeds() {
        let mut world = World::new(seed, Link::LAN);
        world.client(|config| config.transport.idle_timeout = Duration::from_secs(2));
        let running = world.clients[0].get(&format!("{URL}/slow?delay=60000"));
        world.run_until("the request", |world| world.servers[0].endpoint.stats().requests == 1);
        world.servers[0] = Server::new(addr(SERVER), demo::router(None).expect("routes"), |_| {});
        wait_for(&mut world, std::slice::from_ref(&running));
        assert!(running.borrow().end.as_ref().is_some_and(|end| end.is_err()), "nobody answers");
        let next = world.clients[0].get(&format!("{URL}/"));
        wait_for(&mut world, std::slice::from_ref(&next));
        assert_eq!(next.borrow().result(), (200, None));
    }
}

#[test]
fn full_sockets_on_both_sides_lose_nothing() {
    for seed in seeds() {
        let mut world = World::new(seed, Link::LAN);
        let full = Some(Full { every: 5, lasts: Duration::from_millis(3) });
        world.servers[0].socket.full = full;
        world.client(|_| {});
        world.clients[0].socket.full = full;
        let body = payload(200_000);
        let all: Vec<_> = (0..3).map(|_| world.clients[0].post(&format!("{URL}/api/echo"), &body)).collect();
        wait_for(&mut world, &all);
        assert!(all.iter().all(|outcome| outcome.borrow().body == body));
        assert!(world.clients[0].socket.blocked > 0 && world.servers[0].socket.blocked > 0);
    }
}

/// A redirect with the body goes to another server, over a bad network, and nothing is lost or done twice.
#[test]
fn a_redirect_takes_the_body_to_another_server() {
    for seed in seeds() {
        let mut world = World::new(seed, LOSSY);
        let there = Router::new().post("/", |_req, res| res.redirect(308, "https://other:4433/api/echo"));
        world.servers[0] = Server::new(addr(SERVER), there, |_| {});
        world.server(OTHER_SERVER, demo::router(None).expect("routes"), |_| {});
        world.client(|_| {});
        world.clients[0].hosts.insert("other".to_owned(), addresses(&[OTHER_SERVER]));
        let body = payload(200_000);
        let request = ClientRequest::post(URL).expect("a URL").streamed_body(None);
        let followed = world.clients[0].start(request.clone().max_redirects(1), &body);
        let unfollowed = world.clients[0].start(request, &body);
        wait_for(&mut world, &[followed.clone(), unfollowed.clone()]);
        assert_eq!((followed.borrow().result(), followed.borrow().restarts), ((200, None), 1));
        assert!(followed.borrow().body == body);
        assert_eq!((unfollowed.borrow().result(), unfollowed.borrow().restarts), ((308, None), 0));
        let requests = [0, 1].map(|server| world.servers[server].endpoint.stats().requests);
        assert_eq!(requests, [2, 1]);
    }
}
