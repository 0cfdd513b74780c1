//! Streams that end early, credit that comes back, and priorities.

use std::cell::Cell;

use quiche::h3;

use crate::support::client::{Client, config, get, post};
use crate::support::frames;
use crate::support::server::Server;
use crate::support::{DEADLINE, payload, sha256, wait_for};

const REQUEST_CANCELLED: u64 = 0x10c;

/// Gives up both directions, as browsers do.
fn cancel(client: &mut Client, id: u64) {
    // Each fails only where the direction is over already.
    let _ = client.quic.stream_shutdown(id, quiche::Shutdown::Write, REQUEST_CANCELLED);
    let _ = client.quic.stream_shutdown(id, quiche::Shutdown::Read, REQUEST_CANCELLED);
}

#[test]
fn a_client_resets_an_upload() {
    let mut server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    for path in ["/upload", "/api/echo", "/nowhere"] {
        let id = client.request(&post(path), false);
        client.send_body(id, &payload(100_000), false);
        client.quic.stream_shutdown(id, quiche::Shutdown::Write, REQUEST_CANCELLED).unwrap();
        client.assert_alive();
        if path == "/upload" {
            assert_eq!(client.reset_code(id), REQUEST_CANCELLED, "the answer is given up as well");
        }
    }
    drop(client);
    let stats = server.stop();
    assert_eq!((stats.get("cancelled_streams"), stats.get("malformed_requests")), (3, 0));
}

#[test]
fn a_client_stops_a_download() {
    let mut server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    let id = client.get("/stream/1000000000");
    client.until("some of the body", |c| (c.streams.get(&id)?.body.len() > 100_000).then_some(()));
    client.quic.stream_shutdown(id, quiche::Shutdown::Read, REQUEST_CANCELLED).unwrap();
    client.assert_alive();
    // The server is told to stop, and does: it logs the end of the response.
    wait_for("the stopped response in the log", DEADLINE, || {
        server.log().contains("GET /stream/:bytes 200").then_some(())
    });
    drop(client);
    let stats = server.stop();
    assert_eq!(stats.get("cancelled_streams"), 1);
    assert!(stats.get("bytes_out") < 200_000_000, "{stats:?}");
}

/// Three hundred cancelled requests on one connection that may have a hundred open; then all of the hundred are there.
fn assert_credit_returns(begin: impl Fn(&mut Client) -> u64, at_once: bool) {
    // With sessions there would be credit for a thousand streams from the start.
    let mut server = Server::start(&["--no-webtransport"]);
    let mut client = Client::connect(server.addr());
    for _ in 0..300 {
        let id = begin(&mut client);
        if !at_once {
            client.flush();
        }
        cancel(&mut client, id);
    }
    // quiche sends MAX_STREAMS when less than half is left, so no less may be left in the end.
    let mut rounds = 0;
    while client.quic.peer_streams_left_bidi() < 50 {
        client.assert_alive();
        rounds += 1;
        let left = client.quic.peer_streams_left_bidi();
        assert!(rounds < 200, "only {left} of 100 requests may be open now: cancelled ones still count");
    }
    let ids: Vec<u64> = (0..50).map(|_| client.get("/api/users/42")).collect();
    for id in ids {
        assert_eq!(client.answer(id).text(), "{\"id\":42,\"name\":\"Douglas\"}\n");
    }
    drop(client);
    server.stop();
}

#[test]
fn credit_returns_after_requests_answered_much_later() {
    assert_credit_returns(|c| c.get("/slow?delay=60000"), false);
}

#[test]
fn credit_returns_after_downloads() {
    assert_credit_returns(|c| c.get("/stream/10000000"), false);
}

#[test]
fn credit_returns_after_uploads() {
    let body = payload(3000);
    assert_credit_returns(
        |c| {
            let id = c.request(&post("/upload"), false);
            c.send_body(id, &body, false);
            id
        },
        false,
    );
}

#[test]
fn credit_returns_after_uploads_that_nobody_reads() {
    let body = payload(3000);
    assert_credit_returns(
        |c| {
            let id = c.request(&post("/api/users"), false);
            c.send_body(id, &body, false);
            id
        },
        false,
    );
}

#[test]
fn credit_returns_after_short_answers() {
    assert_credit_returns(|c| c.get("/"), false);
}

#[test]
fn credit_returns_after_cancelled_requests_of_all_kinds() {
    let (body, kind) = (payload(3000), Cell::new(0));
    assert_credit_returns(
        |c| match kind.replace(kind.get() + 1) % 5 {
            0 => c.get("/slow?delay=60000"),
            1 => c.get("/stream/10000000"),
            2 => c.get("/"),
            kind => {
                let id = c.request(&post(if kind == 3 { "/upload" } else { "/api/users" }), false);
                c.send_body(id, &body, false);
                id
            }
        },
        false,
    );
}

#[test]
fn credit_returns_after_uploads_cancelled_when_they_were_answered() {
    let body = payload(3000);
    assert_credit_returns(
        |c| {
            let id = c.request(&post("/api/users"), false);
            c.send_body(id, &body, false);
            assert_eq!(c.answer(id).status(), 405);
            id
        },
        false,
    );
}

#[test]
fn credit_returns_after_uploads_that_go_on_after_their_answer() {
    // The answer is there before the body; then body and reset arrive in one go.
    let body = payload(3000);
    assert_credit_returns(
        |c| {
            let id = c.request(&post("/api/users"), false);
            assert_eq!(c.answer(id).status(), 405);
            let h3 = c.h3.as_mut().unwrap();
            assert_eq!(h3.send_body(&mut c.quic, id, &body, false), Ok(body.len()));
            let mut packets = c.take_packets();
            cancel(c, id);
            packets.extend(c.take_packets());
            packets.iter().for_each(|packet| c.send_datagram(packet));
            id
        },
        false,
    );
}

/// A request and its cancellation in packets of their own that arrive together.
fn begin_cancelled(c: &mut Client, fin: bool, directions: Vec<quiche::Shutdown>) -> u64 {
    let spec: Vec<_> = frames::fields(&get("/")).into_iter().map(|(n, v)| h3::Header::new(n, v)).collect();
    c.until("credit", |c| (c.quic.peer_streams_left_bidi() > 0).then_some(()));
    // Blocked while the congestion window is full.
    let id = c.until("room for a request", |c| c.h3.as_mut().unwrap().send_request(&mut c.quic, &spec, fin).ok());
    let mut packets = c.take_packets();
    for direction in directions {
        c.quic.stream_shutdown(id, direction, REQUEST_CANCELLED).unwrap();
    }
    packets.extend(c.take_packets());
    packets.iter().for_each(|packet| c.send_datagram(packet));
    id
}

#[test]
fn credit_returns_after_stop_sending_that_comes_with_the_request() {
    assert_credit_returns(|c| begin_cancelled(c, true, vec![quiche::Shutdown::Read]), true);
}

#[test]
fn credit_returns_after_stop_sending_that_crosses_the_answer() {
    // The server is through with the stream, and its answer is there, but not acknowledged. quiche collects a stopped
    // stream only when it is touched once more after its RESET_STREAM was acknowledged.
    let at_the_socket = |c: &mut Client| {
        c.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        c.socket.peek(&mut [0; 2000]).expect("the answer");
    };
    assert_credit_returns(
        |c| {
            c.assert_alive();
            let id = c.get("/");
            at_the_socket(c);
            c.quic.stream_shutdown(id, quiche::Shutdown::Read, REQUEST_CANCELLED).unwrap();
            c.flush();
            id
        },
        true,
    );
}

#[test]
fn credit_returns_after_a_reset_that_comes_with_the_request() {
    assert_credit_returns(|c| begin_cancelled(c, false, vec![quiche::Shutdown::Write]), true);
}

#[test]
fn credit_returns_after_a_reset_and_stop_that_come_with_the_request() {
    assert_credit_returns(|c| begin_cancelled(c, false, vec![quiche::Shutdown::Write, quiche::Shutdown::Read]), true);
}

#[test]
fn credit_returns_after_requests_cancelled_before_they_were_sent() {
    // quiche drops what was not sent yet: RESET_STREAM and STOP_SENDING are all that the server sees.
    let spec: Vec<_> = frames::fields(&get("/")).into_iter().map(|(n, v)| h3::Header::new(n, v)).collect();
    assert_credit_returns(
        |c| {
            c.until("credit", |c| (c.quic.peer_streams_left_bidi() > 0).then_some(()));
            c.h3.as_mut().unwrap().send_request(&mut c.quic, &spec, false).unwrap()
        },
        true,
    );
}

#[test]
fn bodies_that_nobody_reads_are_thrown_away() {
    let mut server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    let body = payload(10_000);
    for _ in 0..300 {
        let id = client.request(&post("/api/users"), false);
        client.send_body(id, &body, true);
        let answer = client.answer(id);
        assert_eq!((answer.status(), answer.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    // 3 MB went through: more than the stream windows, less than the connection's at the start, so go on beyond it.
    for _ in 0..10 {
        let id = client.request(&post("/api/users"), false);
        client.send_body(id, &payload(1_000_000), true);
        assert_eq!(client.answer(id).status(), 405);
    }
    client.assert_alive();
    drop(client);
    let stats = server.stop();
    assert_eq!((stats.get("requests"), stats.get("cancelled_streams")), (311, 0));
}

/// Runs two downloads of one size; gives how much of the first had come when the second was there.
fn race(client: &mut Client, first: &str, then: impl FnOnce(&mut Client, u64) -> u64) -> usize {
    const SIZE: usize = 12_000_000;
    let slow = client.request(&format!("{}|priority {first}", get(&format!("/stream/{SIZE}"))), true);
    client.until("the first body begins", |c| (!c.streams.get(&slow)?.body.is_empty()).then_some(()));
    let urgent = then(client, slow);
    let done = client.answer(urgent);
    assert_eq!((done.body.len(), sha256(&done.body)), (SIZE, sha256(&payload(SIZE))));
    let meanwhile = client.streams[&slow].body.len();
    let other = client.answer(slow);
    assert_eq!(other.body.len(), SIZE);
    assert!(other.finished > done.finished, "the later, urgent one finishes first");
    meanwhile
}

#[test]
fn an_urgent_response_overtakes() {
    let server = Server::start(&[]);
    let mut client = Client::connect_with(server.addr(), config());
    let path = "/stream/12000000";
    let by_field = race(&mut client, "u=7", |c, _| c.request(&format!("{}|priority u=0", get(path)), true));
    assert!(by_field < 9_000_000, "the urgent one has the bandwidth: {by_field}");
    // The same by PRIORITY_UPDATE frames for requests that say nothing of the kind: one up, one down.
    let by_frame = race(&mut client, "u=2", |c, slow| {
        let urgent = c.get(path);
        let h3 = c.h3.as_mut().unwrap();
        h3.send_priority_update_for_request(&mut c.quic, slow, &h3::Priority::new(7, false)).unwrap();
        h3.send_priority_update_for_request(&mut c.quic, urgent, &h3::Priority::new(0, false)).unwrap();
        urgent
    });
    assert!(by_frame < 9_000_000, "the urgent one has the bandwidth: {by_frame}");
}
