//! SIGTERM and SIGINT: GOAWAY, what runs is finished, then CONNECTION_CLOSE and exit code 0.

use std::time::{Duration, Instant};

use crate::admin::metric;
use crate::support::client::{Client, config, get, post};
use crate::support::curl::{assert_payload, curl, download};
use crate::support::frames::{fields, headers};
use crate::support::server::{Server, mio_quiche, signal};
use crate::support::{DEADLINE, wait_for};

const NO_ERROR: u64 = 0x100;
const REQUEST_REJECTED: u64 = 0x10b;

/// A server that waits for what runs for longer than the tests do.
const PATIENT: [&str; 2] = ["--shutdown-timeout", "200"];

#[test]
fn a_download_is_finished_after_sigterm() {
    const SIZE: usize = 8_000_000;
    let mut server = Server::start(&[&PATIENT[..], &["--qlog-dir", "qlogs"]].concat());
    let mut running = download(&server.url(&format!("/stream/{SIZE}")), &["--limit-rate", "4M"]);
    wait_for("the download to begin", DEADLINE, || (running.len() > 0).then_some(()));
    signal(&running.child.0, "STOP");
    server.signal("TERM");
    wait_for("the shutdown", DEADLINE, || server.log().contains("shutting down: 1 connections").then_some(()));
    assert!(running.len() < SIZE as u64, "the download is still under way");
    signal(&running.child.0, "CONT");
    assert_payload(&running.finish(DEADLINE), SIZE);
    assert_eq!(server.wait(DEADLINE).code(), Some(0), "{}", server.log());
    let qlogs = server.qlogs("qlogs");
    assert_eq!(qlogs.len(), 1);
    let text = &qlogs[0].1;
    let goaway = text.lines().find(|line| line.contains("frame_created") && line.contains("\"goaway\""));
    assert!(goaway.is_some(), "no GOAWAY in {}", qlogs[0].0.display());
    assert_eq!(server.stats().get("requests"), 1);
}

/// Sends the signal to a server with a request under way; gives the client when it has seen GOAWAY.
fn shutting_down(server: &Server, signal: &str) -> (Client, u64) {
    let mut client = Client::connect(server.addr());
    client.assert_alive();
    let running = client.request(&post("/api/echo"), false);
    client.assert_alive();
    server.signal(signal);
    // Requests on streams 0, 4 and 8 were taken; 12 would be the first that is not.
    assert_eq!(client.until("GOAWAY", |c| c.goaway), 12);
    (client, running)
}

/// Ends the request that is under way, and wants its answer.
fn finish(client: &mut Client, running: u64) {
    client.send_body(running, b"at last", true);
    let answer = client.answer(running);
    assert_eq!((answer.status(), answer.text()), (200, "at last"));
}

#[test]
fn a_server_that_shuts_down_accepts_nothing_new() {
    let mut server = Server::start(&PATIENT);
    let (mut client, running) = shutting_down(&server, "TERM");
    // RFC 9114 section 5.2: requests beyond the GOAWAY are rejected, so that they can be sent elsewhere.
    let late = client.raw_stream(&headers(&fields(&get("/"))), true);
    assert_eq!(client.reset_code(late), REQUEST_REJECTED);
    // No new connections either (RFC 9000 section 20.1: CONNECTION_REFUSED).
    let mut refused = Client::begin(server.addr(), config());
    refused.flush();
    assert_eq!(refused.close_code(), (false, 2));
    finish(&mut client, running);
    assert_eq!(client.close_code(), (true, NO_ERROR));
    assert_eq!(server.wait(DEADLINE).code(), Some(0), "{}", server.log());
    let stats = server.stats();
    assert!(stats.get("refused_connections") >= 1, "{stats:?}");
    assert_eq!((stats.get("connections"), stats.get("rejected_requests")), (1, 1));
}

#[test]
fn get_is_told_that_it_is_refused_and_curl_tries_again() {
    // K9
    let mut full = Server::start(&["--max-connections", "1", "--admin", "127.0.0.1:0"]);
    let mut first = Client::connect(full.addr());
    first.assert_alive();
    let draining = Server::start(&PATIENT);
    let (mut client, running) = shutting_down(&draining, "TERM");
    for (server, why) in [(&full, "too many connections"), (&draining, "shutting down")] {
        let began = Instant::now();
        // Without the refusal it would wait for longer.
        let output = mio_quiche().args(["get", "-k", "--connect-timeout", "100", &server.url("/")]).output().unwrap();
        let said = format!("mio-quiche: cannot connect to {}: the server refuses connections ({why})\n", server.addr());
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(7), said));
        assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    }
    finish(&mut client, running);
    let refused = || metric(&full, "mio_quiche_refused_connections_total").unwrap();
    let before = refused();
    let mut curl = download(&full.url("/stream/1000"), &[]);
    wait_for("curl to be refused", DEADLINE, || (refused() > before).then_some(()));
    first.quic.close(true, NO_ERROR, b"").unwrap();
    first.flush();
    assert_payload(&curl.finish(DEADLINE), 1000);
    full.stop();
}

#[test]
fn sigint_shuts_down_as_well() {
    let mut server = Server::start(&PATIENT);
    let (mut client, running) = shutting_down(&server, "INT");
    finish(&mut client, running);
    assert_eq!(client.close_code(), (true, NO_ERROR));
    assert_eq!(server.wait(DEADLINE).code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start(&PATIENT);
    let mut client = Client::connect(server.addr());
    client.get("/slow?delay=60000");
    client.assert_alive();
    server.signal("TERM");
    client.until("GOAWAY", |c| c.goaway);
    assert!(!server.has_ended(), "it waits for the response");
    server.signal("TERM");
    assert_eq!(server.wait(DEADLINE / 2).code(), Some(0), "{}", server.log());
    assert!(server.log().contains("second signal: stopping at once"), "{}", server.log());
}

#[test]
fn a_response_that_takes_too_long_is_cut_off_in_the_end() {
    let mut server = Server::start(&["--shutdown-timeout", "0.5"]);
    let mut client = Client::connect(server.addr());
    client.get("/slow?delay=60000");
    client.assert_alive();
    let began = Instant::now();
    server.signal("TERM");
    client.until("GOAWAY", |c| c.goaway);
    assert_eq!(server.wait(DEADLINE).code(), Some(0), "{}", server.log());
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500) && took < DEADLINE / 2, "{took:?}");
    assert!(server.log().contains("1 connections did not end in time"), "{}", server.log());
}

#[test]
fn idle_connections_are_closed_without_an_error() {
    let mut server = Server::start(&PATIENT);
    let mut used = Client::connect(server.addr());
    used.assert_alive();
    let mut unused = Client::connect(server.addr());
    unused.until("the server's control stream", |c| c.h3.as_ref().and_then(|h3| h3.peer_settings_raw()).map(|_| ()));
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(used.close_code(), (true, NO_ERROR));
    assert_eq!(unused.close_code(), (true, NO_ERROR));
    // Whether GOAWAY came first is left open (RFC 9114 section 5.3: MAY).
    assert_eq!(server.wait(DEADLINE).code(), Some(0), "{}", server.log());
    assert!(began.elapsed() < DEADLINE / 2, "idle connections keep nobody waiting: {:?}", began.elapsed());
}

#[test]
fn a_server_without_connections_ends_at_once() {
    let mut server = Server::start(&PATIENT);
    assert_eq!(curl(&server, "/", &[]).text(), "Hello, HTTP/3!\n");
    let began = Instant::now();
    assert_eq!(server.stop().get("requests"), 1);
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
}
