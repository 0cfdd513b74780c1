//! Clients that make the server work for nothing.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::app::stream_handler::{Progress, StreamHandler};
use crate::endpoint::Stream;
use crate::error::ErrorCode;
use crate::turn::settle;

/// Opens requests that take long, aborts them, and lets the server notice.
fn abort_requests(sim: &mut Sim, count: usize) {
    let ids: Vec<u64> = (0..count).map(|_| sim.open("GET", "/slow?delay=60000")).collect();
    sim.step();
    for id in ids {
        let code = ErrorCode::H3_REQUEST_CANCELLED.0;
        for direction in [quiche::Shutdown::Write, quiche::Shutdown::Read] {
            let _ = sim.client.stream_shutdown(id, direction, code);
        }
        sim.answers.remove(&id);
    }
    for _ in 0..10 {
        sim.step();
    }
}

#[test]
fn a_client_that_aborts_most_of_a_thousand_requests_is_cut_off() {
    let mut sim = Sim::connected(Options::default());
    let id = sim.get("/");
    sim.finish_all();
    assert_eq!(sim.answers[&id].status(), "200");
    let mut aborted = 0;
    while sim.client.peer_error().is_none() {
        assert!(aborted < 2000, "{:?}", sim.server.stats());
        abort_requests(&mut sim, 50);
        aborted += 50;
    }
    let error = sim.client.peer_error().expect("a close");
    assert_eq!((error.is_app, error.error_code), (true, ErrorCode::H3_EXCESSIVE_LOAD.0));
    assert_eq!(error.reason, b"more requests that are aborted than completed");
    assert!((1001..1200).contains(&aborted), "{aborted}");
    assert_eq!(sim.server.stats().excessive_peers, 1);
}

#[test]
fn a_client_that_aborts_fewer_requests_than_it_completes_goes_on() {
    let mut sim = Sim::connected(Options::default());
    for _ in 0..30 {
        for _ in 0..50 {
            sim.get("/");
        }
        sim.finish_all();
        abort_requests(&mut sim, 40);
    }
    let id = sim.get("/");
    sim.finish_all();
    assert_eq!(sim.answers[&id].status(), "200");
    let stats = sim.server.stats();
    assert_eq!((stats.excessive_peers, stats.cancelled_streams >= 1200), (0, true), "{stats:?}");
}

#[test]
fn a_flood_without_use_is_dropped_while_the_socket_is_never_empty() {
    const BATCHES: usize = 40;
    const BATCH: usize = 64;
    // Copies of a packet, which quiche knows already.
    let dropped = |more: bool| {
        let mut sim = Sim::connected(Options::default());
        sim.get("/");
        sim.finish_all();
        sim.client.send_ack_eliciting().expect("open");
        let mut packet = [0; 1500];
        let (len, _) = sim.client.send(&mut packet).expect("a packet");
        let now = net::now();
        for _ in 0..BATCHES {
            for _ in 0..BATCH {
                sim.server.recv(now, &mut packet[..len].to_vec(), addr(CLIENT), addr(SERVER));
            }
            sim.server.end_batch(now, more);
        }
        sim.finish_all();
        sim.server.stats().dropped_over_share
    };
    assert_eq!(dropped(false), 0);
    // Two batches until there is a backlog, a window for a connection that is not known, then 32 of 256, then 16.
    assert_eq!(dropped(true), 2560 - 128 - 256 - 32 - 8 * 16);
}

/// A body without an end, and how many bytes of it were taken.
struct Endless(Rc<Cell<u64>>);

impl StreamHandler for Endless {
    fn poll(&mut self, s: &mut Stream<'_>) -> crate::error::Result<Progress> {
        while s.write(&[0; 64 * 1024])? > 0 {
            self.0.set(s.sent());
        }
        Ok(Progress::Pending)
    }
}

#[test]
fn what_is_written_while_a_probe_is_due_is_bounded() {
    const WINDOW: u64 = 64 << 20;
    let written = Rc::new(Cell::new(0));
    let counted = written.clone();
    let router = Router::new().get("/endless", move |_, res| res.stream(Endless(counted.clone())));
    let client = |config: &mut quiche::Config| {
        config.set_initial_max_data(WINDOW);
        config.set_initial_max_stream_data_bidi_local(WINDOW);
    };
    let mut sim = Sim::connected(Options { client: Box::new(client), router, ..Options::default() });
    sim.get("/endless");
    sim.run_until("a part of it", |_| written.get() > 1 << 20);
    // Nothing arrives at the client any more.
    sim.cut = true;
    while sim.step() {}
    let before = written.get();
    for _ in 0..4 {
        let timeout = sim.server.next_timeout().expect("a timer").saturating_duration_since(net::now());
        std::thread::sleep(timeout);
        sim.server.handle_timeouts(net::now());
        // A packet comes before the probe is sent.
        sim.client.send_ack_eliciting().expect("a PING");
        sim.client_turn();
        for mut packet in std::mem::take(&mut sim.to_server) {
            sim.server.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
        }
        settle(net::now(), &mut sim.server, &mut sim.app);
        sim.server_turn();
    }
    let more = written.get() - before;
    assert!(more < 8 << 20, "{more} bytes more");
    // It goes on as soon as the network does.
    sim.cut = false;
    let before = written.get();
    sim.run_until("more of it", |_| written.get() > before + (8 << 20));
}

#[test]
fn many_requests_at_once_are_answered_in_several_turns_so_that_other_connections_get_theirs() {
    const REQUESTS: u64 = 300;
    let served = Rc::new(Cell::new(0));
    let counted = served.clone();
    let router = Router::new().get("/counted", move |_, res| {
        counted.set(counted.get() + 1);
        res.text("counted")
    });
    let server = |config: &mut ServerConfig| config.transport.max_streams_bidi = REQUESTS;
    let mut sim = Sim::connected(Options { server: Box::new(server), router, ..Options::default() });
    for _ in 0..REQUESTS {
        sim.get("/counted");
    }
    sim.client_turn();
    for mut packet in std::mem::take(&mut sim.to_server) {
        sim.server.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
    }
    sim.server_turn();
    assert_eq!(served.get(), 100, "in the first turn");
    assert!(sim.server.has_work());
    sim.finish_all();
    assert_eq!(served.get(), REQUESTS);
}

/// More requests than a connection may have, for which QUIC has room with WebTransport.
const STREAMS: u64 = 150;

fn with_webtransport() -> Options {
    Options { server: Box::new(|config| config.webtransport.enabled = true), ..Options::default() }
}

#[test]
fn more_heads_that_are_not_complete_than_a_connection_may_have_requests_are_too_much() {
    let mut sim = Sim::connected(with_webtransport());
    // HEADERS of 60000 bytes (RFC 9114 section 7.2.2), of which a third comes.
    let begin = [&[0x01, 0x80, 0x00, 0xea, 0x60][..], &[0; 1000]].concat();
    let mut opened = 0;
    while sim.client.peer_error().is_none() && opened < STREAMS {
        for _ in 0..20 {
            sim.run_until("room", |sim| {
                sim.client.peer_error().is_some() || sim.client.stream_send(4 * opened, &begin, false).is_ok()
            });
            sim.step();
        }
        opened += 1;
    }
    let error = sim.client.peer_error().expect("a close");
    assert_eq!((error.is_app, error.error_code), (true, ErrorCode::H3_EXCESSIVE_LOAD.0));
    assert_eq!(error.reason, b"more heads that are not complete than max_streams_bidi");
    assert!((101..130).contains(&opened), "{opened}");
}

#[test]
fn bursts_of_more_requests_than_a_connection_may_have_are_rejected_and_not_too_much() {
    let mut sim = Sim::connected(with_webtransport());
    // Some 4500 datagrams.
    for _ in 0..30 {
        for _ in 0..STREAMS {
            sim.get("/");
        }
        sim.finish_all();
    }
    assert_eq!(sim.client.peer_error(), None);
    assert_eq!(sim.server.stats().excessive_peers, 0, "{:?}", sim.server.stats());
}
