//! What one client, or one network, may take from a server.

use super::*;
use crate::config::RetryPolicy;
use crate::error::ErrorCode;

/// A network other than the honest clients'.
fn attacker(n: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, (n % 250) as u8], 1000 + n))
}

/// A client that sends its first flight, also again with a Retry token, and then nothing more.
fn leave_a_handshake(server: &mut Endpoint, from: SocketAddr) {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&from.port().to_be_bytes());
    let scid = quiche::ConnectionId::from_ref(&id);
    let mut config = client_config();
    let mut client = quiche::connect(Some("localhost"), &scid, from, addr(SERVER), &mut config).expect("a client");
    let mut buf = vec![0; 65_507];
    for _ in 0..2 {
        server.handle_timeouts(net::now());
        while let Ok((n, _)) = client.send(&mut buf) {
            server.recv(net::now(), &mut buf[..n], from, addr(SERVER));
        }
        server.drive(net::now());
        while server.poll_event().is_some() {}
        while let Some(transmit) = server.poll_transmit(net::now(), &mut buf, 1) {
            // Of the handshake it hears nothing, or it would go on.
            let is_retry = buf[0] & 0xf0 == 0xf0;
            if transmit.to == from && is_retry {
                let info = quiche::RecvInfo { from: addr(SERVER), to: from };
                client.recv(&mut buf[..transmit.len].to_vec(), info).expect("a Retry packet");
            }
        }
    }
}

#[test]
fn one_network_that_leaves_handshakes_keeps_no_other_client_out() {
    // K3
    let server = |config: &mut ServerConfig| {
        (config.max_handshakes, config.retry_threshold) = (20, 5);
        config.retry = RetryPolicy::Auto;
    };
    let mut sim = Sim::new(Options { server: Box::new(server), ..Options::default() });
    for n in 0..60 {
        leave_a_handshake(&mut sim.server, attacker(n));
    }
    let stats = sim.server.stats();
    assert_eq!((sim.server.handshake_count(), stats.displaced_handshakes), (20, 0), "{stats:?}");
    let began = net::now();
    sim.connect();
    assert!(elapsed(began) < TIMEOUT / 4, "it did not wait for the others' handshakes to time out");
    let id = sim.get("/");
    sim.finish_all();
    assert_eq!(sim.answers[&id].status(), "200");
    assert_eq!(sim.server.stats().displaced_handshakes, 1);
}

#[test]
fn a_client_that_has_not_proven_its_address_displaces_nobody() {
    let server = |config: &mut ServerConfig| (config.max_handshakes, config.retry) = (20, RetryPolicy::Off);
    let mut sim = Sim::new(Options { server: Box::new(server), ..Options::default() });
    for n in 0..30 {
        leave_a_handshake(&mut sim.server, attacker(n));
    }
    let stats = sim.server.stats();
    assert_eq!((sim.server.handshake_count(), stats.displaced_handshakes), (20, 0));
    assert!(stats.ignored_over_limit >= 10, "{stats:?}");
}

#[test]
fn many_handshakes_at_once_begin_in_several_turns_so_that_connections_get_theirs() {
    let server = |config: &mut ServerConfig| config.retry = RetryPolicy::Off;
    let mut sim = Sim::new(Options { server: Box::new(server), ..Options::default() });
    let mut buf = vec![0; 65_507];
    sim.server.handle_timeouts(net::now());
    for n in 0..10u8 {
        let mut config = client_config();
        let id = [n; 16];
        let scid = quiche::ConnectionId::from_ref(&id);
        let from = attacker(n.into());
        let mut client = quiche::connect(Some("localhost"), &scid, from, addr(SERVER), &mut config).expect("a client");
        while let Ok((len, _)) = client.send(&mut buf) {
            sim.server.recv(net::now(), &mut buf[..len], from, addr(SERVER));
        }
    }
    let mut begun = vec![sim.server.handshake_count()];
    while sim.server.handshake_count() < 10 {
        assert!(sim.server.has_work());
        sim.server.handle_timeouts(net::now());
        begun.push(sim.server.handshake_count());
    }
    assert_eq!(begun, [2, 4, 6, 8, 10]);
}

const LIMIT: Duration = Duration::from_millis(200);

fn with_a_limit(sessions: bool, limit: Duration) -> Sim {
    let server = move |config: &mut ServerConfig| {
        config.request_timeout = limit;
        config.webtransport.enabled = sessions;
    };
    Sim::connected(Options { server: Box::new(server), ..Options::default() })
}

/// The interval of the bytes that [`trickle`] sends.
const INTERVAL: Duration = Duration::from_millis(5);

/// Sends a byte of a stream at a time, until `done`, which takes `LIMIT` at least, and little more.
fn trickle(sim: &mut Sim, stream: u64, bytes: &[u8], mut done: impl FnMut(&Sim) -> bool) {
    let began = net::now();
    let mut bytes = bytes.iter().copied().chain(std::iter::repeat(b'x'));
    // On a busy machine, less is sent in the same time.
    let mut left = (4 * LIMIT).as_millis() / INTERVAL.as_millis();
    while !done(sim) {
        assert!(left > 0, "the stream goes on after {:?}", elapsed(began));
        left -= 1;
        let byte = bytes.next().expect("no end");
        // Fails once the server has stopped the stream.
        let _ = sim.client.stream_send(stream, &[byte], false);
        sim.step();
        std::thread::sleep(INTERVAL);
    }
    assert!(elapsed(began) >= LIMIT, "{:?}", elapsed(began));
}

/// The code with which the server closed the connection.
fn closed(sim: &Sim) -> Option<u64> {
    sim.client.peer_error().map(|error| error.error_code)
}

#[test]
fn a_head_that_comes_byte_by_byte_ends_the_connection() {
    // K11
    for sessions in [false, true] {
        let mut sim = with_a_limit(sessions, LIMIT);
        // The type and length of a HEADERS frame of 1000 bytes.
        trickle(&mut sim, 0, &[0x01, 0x43, 0xe8], |sim| closed(sim).is_some());
        assert_eq!(closed(&sim), Some(ErrorCode::H3_EXCESSIVE_LOAD.0), "with sessions: {sessions}");
        let stats = sim.server.stats();
        assert_eq!((stats.timed_out_requests, stats.requests), (1, 0));
    }
}

#[test]
fn a_body_that_comes_byte_by_byte_costs_its_request_and_no_other() {
    // K11
    let mut sim = with_a_limit(true, LIMIT);
    let slow = sim.open("POST", "/upload");
    let other = sim.get("/slow?delay=900");
    // A DATA frame of 16 383 bytes.
    trickle(&mut sim, slow, &[0x00, 0x7f, 0xff], |sim| sim.answers[&slow].reset.is_some());
    assert_eq!(sim.answers[&slow].reset, Some(ErrorCode::H3_REQUEST_CANCELLED.0));
    sim.finish_all();
    assert_eq!(sim.answers[&other].status(), "200", "a handler may take its time");
    assert_eq!(sim.server.stats().timed_out_requests, 1);
    sim.run_until("the streams to be forgotten", |sim| sim.server.stream_count() == 0);
    assert_eq!(sim.app.running(), 0);
}

#[test]
fn a_response_that_nobody_reads_ends_the_connection() {
    // K11
    let mut sim = with_a_limit(true, LIMIT);
    sim.reading = false;
    sim.get("/stream/20000000");
    let began = net::now();
    while closed(&sim).is_none() {
        assert!(elapsed(began) < TIMEOUT, "the response waits");
        // The client is there, but gives no credit.
        sim.client.send_ack_eliciting().expect("a PING");
        sim.step();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(closed(&sim), Some(ErrorCode::H3_EXCESSIVE_LOAD.0));
    assert_eq!(sim.server.stats().timed_out_requests, 1);
    assert_eq!(sim.app.running(), 0);
}

#[test]
fn progress_is_enough() {
    // K11
    // Far longer than a busy machine lets the client wait.
    let limit = Duration::from_secs(2);
    let mut sim = with_a_limit(true, limit);
    let slow = sim.open("POST", "/upload");
    let began = net::now();
    // 1 KiB each 50 ms, for twice the limit.
    while elapsed(began) < 2 * limit {
        let h3 = sim.h3.as_mut().expect("connected");
        h3.send_body(&mut sim.client, slow, &[b'x'; 1024], false).expect("room");
        let next = net::now() + Duration::from_millis(50);
        while net::now() < next {
            sim.step();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    sim.h3.as_mut().expect("connected").send_body(&mut sim.client, slow, b"", true).expect("the end");
    sim.finish_all();
    assert_eq!(sim.answers[&slow].status(), "200");
    assert_eq!(sim.server.stats().timed_out_requests, 0);
}

#[test]
fn a_network_that_asks_too_often_gets_429() {
    let server = |config: &mut ServerConfig| config.max_request_rate = std::num::NonZeroU32::new(10);
    let mut sim = Sim::connected(Options { server: Box::new(server), ..Options::default() });
    let began = net::now();
    let ids: Vec<u64> = (0..30).map(|_| sim.get("/")).collect();
    sim.finish_all();
    let served = ids.iter().filter(|id| sim.answers[id].status() == "200").count();
    let limited = ids.iter().filter(|id| sim.answers[id].status() == "429").count();
    // Ten at once, and one more in each tenth of a second.
    let most = 10 + (elapsed(began).as_millis() / 100) as usize;
    assert!((10..=most).contains(&served), "{served} of at most {most}");
    assert_eq!((limited, sim.server.stats().rate_limited_requests), (30 - served, 30 - served as u64));
    std::thread::sleep(Duration::from_millis(250));
    let id = sim.get("/");
    sim.finish_all();
    assert_eq!(sim.answers[&id].status(), "200");
}
