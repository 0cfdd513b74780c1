//! Clients that make the server work for nothing.

use super::*;
use crate::error::ErrorCode;

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
