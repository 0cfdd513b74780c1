//! Requests in the first flight (0-RTT) to servers that are not ours.

use std::fs;

use tempfile::TempDir;

use super::get;
use super::servers::{Foreign, aioquic, nginx, quiche};
use crate::support::payload;

/// What came of a transfer that may use the sessions of those before.
#[derive(Debug, PartialEq, Eq)]
struct Flight {
    /// The request left under the keys of 0-RTT.
    sent_early: bool,
    /// The server has agreed to that, by what `get` says.
    early: bool,
    resumed: bool,
    status: u64,
    body: Vec<u8>,
}

struct Flights<'a> {
    server: &'a Foreign,
    sessions: &'a TempDir,
}

impl Flights<'_> {
    fn run(&self, args: &[&str], path: &str) -> Flight {
        let file = self.sessions.path().join("sessions");
        let all = ["-k", "--report", "--qlog-dir", "qlogs", "-o", "file", "--resume-session", file.to_str().unwrap()];
        let ended = get(&[&all, args, &[&self.server.url(path)]].concat());
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        let report = ended.json().remove(0);
        let qlog = fs::read_dir(ended.path("qlogs")).unwrap().next().unwrap().unwrap().path();
        let is_request = |line: &str| line.contains("\"packet_type\":\"0RTT\"") && line.contains("\"stream_id\":0,");
        Flight {
            sent_early: fs::read_to_string(qlog).unwrap().lines().any(is_request),
            early: report["early"].as_bool().unwrap(),
            resumed: report["resumed"].as_bool().unwrap(),
            status: report["status"].as_u64().unwrap(),
            body: ended.file("file"),
        }
    }

    /// A GET that may go early.
    fn get(&self, path: &str) -> Flight {
        self.run(&["--0rtt"], path)
    }
}

fn early(body: &[u8]) -> Flight {
    Flight { sent_early: true, early: true, resumed: true, status: 200, body: body.to_vec() }
}

/// After a handshake that resumes the session.
fn late(body: &[u8]) -> Flight {
    Flight { sent_early: false, early: false, ..early(body) }
}

/// After a full handshake, with nothing tried before.
fn full(body: &[u8]) -> Flight {
    Flight { resumed: false, ..late(body) }
}

/// After a full handshake, because the server knows nothing of the session.
fn refused(body: &[u8]) -> Flight {
    Flight { sent_early: true, ..full(body) }
}

#[test]
fn aioquic_server() {
    let (server, sessions) = (aioquic(&["tickets"]), TempDir::new().unwrap());
    let flights = Flights { server: &server, sessions: &sessions };
    // The body is what the server says of the request.
    assert_eq!(flights.get("/flight"), full(b"GET late full\n"));
    assert_eq!(flights.get("/flight"), early(b"GET early resumed\n"));
    assert_eq!(flights.run(&[], "/flight"), late(b"GET late resumed\n"));
    assert_eq!(flights.run(&["--0rtt", "-I"], "/flight"), early(b""));
    assert_eq!(flights.run(&["--0rtt", "-d", "x"], "/flight"), late(b"POST late resumed\n"));
    assert_eq!(flights.get("/flight"), early(b"GET early resumed\n"));
    // The server loses its store.
    assert_eq!(server.get(&[], "/forget").text(), "forgotten\n");
    assert_eq!(flights.get("/flight"), refused(b"GET late full\n"));
    assert_eq!(flights.get("/flight"), early(b"GET early resumed\n"));
    assert_eq!(server.get(&[], "/forget").text(), "forgotten\n");
    assert_eq!(flights.run(&["--0rtt", "-d", "x"], "/flight"), full(b"POST late full\n"));
}

/// It answers every first flight with a Retry, after which quiche 0.30 sends what was in it only with the keys of the
/// complete handshake.
#[test]
fn quiche_example() {
    let sessions = TempDir::new().unwrap();
    for known in [false, true] {
        let server = quiche(&[("small", 15)]);
        let flights = Flights { server: &server, sessions: &sessions };
        let body = payload(15);
        // Its keys are new with every start.
        assert_eq!(flights.get("/small"), if known { refused(&body) } else { full(&body) });
        assert_eq!(flights.get("/small"), early(&body));
        assert_eq!(flights.run(&[], "/small"), late(&body));
        assert_eq!(flights.run(&["--0rtt", "-d", "x"], "/small"), Flight { status: 405, ..late(b"") });
    }
}

/// On OpenSSL it resumes sessions, but its tickets allow no early data: nothing is tried.
#[test]
fn nginx_server() {
    let (server, sessions) = (nginx(&[("small", 15)]), TempDir::new().unwrap());
    let flights = Flights { server: &server, sessions: &sessions };
    assert_eq!(flights.get("/flight"), full(b"reused: . early: \n"));
    assert_eq!(flights.get("/flight"), late(b"reused: r early: \n"));
}
