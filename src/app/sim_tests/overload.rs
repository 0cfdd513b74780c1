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
