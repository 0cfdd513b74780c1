//! Requests in the first flight of a connection (0-RTT, RFC 8470).

use std::fs;

use serde_json::{Value, json};

use super::{Case, HELLO};
use crate::admin::metric;
use crate::support::server::{Server, Stats};
use crate::support::{DEADLINE, wait_for};

const KEY: &str = "ticket.key";
const ARGS: [&str; 4] = ["--ticket-key", KEY, "--admin", "127.0.0.1:0"];

fn serve(args: &[&str]) -> Server {
    Server::prepared("127.0.0.1:0", |dir| fs::write(dir.join(KEY), [7; 48]).unwrap(), &[&ARGS, args].concat())
}

fn run(server: &Server, case: &str, args: &[&str]) -> Value {
    let file = server.dir().join("ticket");
    Case::start_with(server, case, &[&[file.to_str().unwrap()], args].concat()).finish()
}

/// Requests so far, and those of them that came early.
fn counts(server: &Server) -> [Option<u64>; 2] {
    ["requests", "early_requests"].map(|name| metric(server, &format!("mio_quiche_{name}_total")))
}

/// Complete handshakes, those that were resumed, and those whose early data was accepted and rejected.
fn handshakes(stats: &Stats) -> [u64; 4] {
    ["handshakes", "resumed_handshakes", "early_handshakes", "rejected_early_handshakes"].map(|name| stats.get(name))
}

/// What a run with a session and these two answers comes to.
fn report(resumed: bool, accepted: bool, first: (u16, &str), second: (u16, &str)) -> Value {
    json!({ "resumed": resumed, "accepted": accepted, "answers": [first, second] })
}

const ECHOED: (u16, &str) = (200, "changes something");

#[test]
fn safe_requests_are_taken_early_and_unsafe_ones_are_not() {
    let mut server = serve(&["--early-data"]);
    let full = json!({ "resumed": false, "accepted": false, "answers": [[200, HELLO]] });
    assert_eq!(run(&server, "first", &[]), full);
    assert_eq!(counts(&server), [Some(1), Some(0)]);
    assert_eq!(run(&server, "twice", &["GET", "/"]), report(true, true, (200, HELLO), (200, HELLO)));
    assert_eq!(counts(&server), [Some(3), Some(1)]);
    let (post, too_early) = (["POST", "/api/echo"], (425, "425 Too Early\n"));
    assert_eq!(run(&server, "twice", &post), report(true, true, too_early, ECHOED));
    assert_eq!(counts(&server), [Some(5), Some(2)]);
    let sessions = json!({ "resumed": true, "accepted": true, "answers": [425, 200, "late"] });
    assert_eq!(run(&server, "session", &[]), sessions);
    assert_eq!(counts(&server), [Some(7), Some(3)]);
    // The server no longer has the key of that ticket: what came early is void, and comes again after the handshake.
    fs::write(server.dir().join(KEY), [8; 48]).unwrap();
    server.signal("HUP");
    wait_for("the new key", DEADLINE, || server.log().contains("keys reloaded").then_some(()));
    assert_eq!(run(&server, "twice", &post), report(false, false, ECHOED, ECHOED));
    assert_eq!(counts(&server), [Some(9), Some(3)]);
    assert_eq!(run(&server, "twice", &["GET", "/"]), report(true, true, (200, HELLO), (200, HELLO)));
    assert_eq!(counts(&server), [Some(11), Some(4)]);
    let stats = server.stop();
    assert_eq!(handshakes(&stats), [6, 4, 4, 1]);
}

#[test]
fn nothing_is_taken_early_unless_asked_for() {
    let mut before = serve(&["--early-data"]);
    run(&before, "first", &[]);
    // It resumes the session, for it has the key, but no more.
    let mut server = serve(&[]);
    fs::copy(before.dir().join("ticket"), server.dir().join("ticket")).unwrap();
    before.stop();
    assert_eq!(run(&server, "twice", &["POST", "/api/echo"]), report(true, false, ECHOED, ECHOED));
    assert_eq!(counts(&server), [Some(2), Some(0)]);
    let stats = server.stop();
    assert_eq!(handshakes(&stats), [1, 1, 0, 1]);
}
