//! Our client's engine against our server's: sessions and requests on one connection, and cancelled requests.

use http::Method;

use super::super::client::{BAD, Exchanged, Net, head};
use super::*;
use crate::config::ClientConfig;
use crate::endpoint::{RequestError, RequestHead};
use crate::error::StreamError;
use crate::transport::table::{ConnId, StreamId};
use crate::wt::{EndedBy, SessionEnd};

impl Net {
    /// As [`Client::within`].
    pub(super) fn within(&mut self, limit: Duration, mut done: impl FnMut(&mut Net) -> bool) -> bool {
        let deadline = net::now() + limit;
        while !done(self) {
            if net::now() >= deadline {
                return false;
            }
            if !self.step() {
                std::thread::sleep(ROUND);
            }
        }
        true
    }

    /// As [`within`](Net::within), and returns the number of rounds.
    pub(super) fn rounds_until(&mut self, mut done: impl FnMut(&mut Net) -> bool) -> u128 {
        let mut rounds = 0;
        self.within(SOON, |net| {
            rounds += 1;
            done(net)
        });
        rounds
    }

    /// Retries until the result is not `Blocked`, or it times out.
    pub(super) fn ask(&mut self, conn: ConnId, head: &RequestHead, end: bool) -> Result<StreamId, RequestError> {
        let mut sent = Err(RequestError::Blocked);
        self.within(SOON, |net| {
            sent = net.client.request(conn, head, end);
            sent != Err(RequestError::Blocked)
        });
        sent
    }

    /// A `GET` that is answered.
    fn assert_get(&mut self, conn: ConnId) {
        let id = self.ask(conn, &head(Method::GET, "/"), true).expect("a request");
        self.app.streams.insert(id, Exchanged { sent: true, ..Exchanged::default() });
        self.within(SOON, |net| net.app.streams[&id].is_over());
        let state = &self.app.streams[&id];
        assert_eq!((state.status, &state.error, &*state.body), (200, &None, &b"Hello, HTTP/3!\n"[..]));
    }

    /// Runs a bidirectional stream of a session to its end.
    fn assert_echo(&mut self, session: StreamId) {
        let id = self.open(session, true, b"there and back");
        self.within(SOON, |net| net.app.streams[&id].is_over());
        let state = &self.app.streams[&id];
        assert_eq!((&state.error, &*state.body), (&None, &b"there and back"[..]));
    }

    fn close(&mut self, session: StreamId) {
        self.client.session(net::now(), session).expect("an open session").close(7, "done");
        let closed = self.within(SOON, |net| net.client.session_count() == 0 && net.server().session_count() == 0);
        assert!(closed, "the end of the session");
        // The deferred part of the close is done.
        self.within(Duration::from_millis(100), |_| false);
    }
}

/// A request for a session of echoes.
fn connect() -> RequestHead {
    RequestHead { protocol: Some("webtransport".to_owned()), ..head(Method::CONNECT, "/wt/echo") }
}

/// Opens sessions one after the other with one engine, and returns how many connections they used.
fn sessions_one_after_the_other(count: usize) -> usize {
    let mut net = Net::demo(Network::default());
    let mut conn = net.connect(SERVER);
    let mut connections = 1;
    for n in 0..count {
        let mut sent = net.ask(conn, &connect(), false);
        if sent == Err(RequestError::HasSessions) && n > 0 {
            conn = net.connect(SERVER);
            connections += 1;
            sent = net.ask(conn, &connect(), false);
        }
        let id = sent.unwrap_or_else(|error| panic!("session {n}: {error:?}"));
        assert!(net.within(SOON, |net| net.client.session(net::now(), id).is_some()), "session {n} does not open");
        net.assert_echo(id);
        net.assert_echo(id);
        net.close(id);
    }
    connections
}

/// quiche alone would send without end.
#[test]
fn a_close_while_the_handshake_is_probed_sends_a_few_packets_and_ends() {
    let mut net = Net::demo(Network::default());
    let conn = net.connect(SERVER);
    // The server does not hear the end of the handshake.
    net.client_turn();
    net.servers[0].to_server.clear();
    let mut rounds = Vec::new();
    let mut buf = vec![0; 65_507];
    net.client.close(conn, ErrorCode::H3_NO_ERROR, b"");
    let deadline = net::now() + SOON;
    while net.client.connection_count() > 0 {
        assert!(net::now() < deadline, "{rounds:?}");
        let due = net.client.next_timeout().expect("a timer");
        std::thread::sleep(due.saturating_duration_since(net::now()));
        let now = net::now();
        net.client.handle_timeouts(now);
        net.client.drive(now);
        let sent = (0..1000).take_while(|_| net.client.poll_transmit(net::now(), &mut buf, 1).is_some()).count();
        rounds.push(sent);
    }
    assert!(rounds.iter().all(|sent| *sent <= 4) && rounds.iter().sum::<usize>() <= 12, "{rounds:?}");
}

#[test]
fn a_second_session_on_a_connection_opens_or_is_refused_at_once() {
    // S1
    let connections = sessions_one_after_the_other(2);
    assert!(connections <= 2, "{connections} connections");
}

#[test]
fn ten_sessions_come_one_after_the_other_from_one_engine() {
    // S1
    let connections = sessions_one_after_the_other(10);
    assert!(connections <= 10, "{connections} connections");
}

#[test]
fn a_request_after_a_session_with_open_streams_is_refused_at_once_and_answered_on_another_connection() {
    // S1
    let mut net = Net::demo(Network::default());
    let conn = net.connect(SERVER);
    let session = net.session(conn, "/wt/echo");
    net.assert_echo(session);
    for _ in 0..3 {
        let id = net.client.session(net::now(), session).expect("a session").open_bidi().expect("a stream");
        net.client.stream(net::now(), id).expect("a stream").write(b"stays open").expect("room");
    }
    net.within(Duration::from_millis(50), |_| false);
    net.close(session);
    assert_eq!(net.client.request(conn, &head(Method::GET, "/"), true), Err(RequestError::HasSessions));
    let other = net.connect(SERVER);
    net.assert_get(other);
    net.assert_get(other);
}

#[test]
fn a_request_beside_a_session_with_open_streams_is_refused_at_once_and_answered_on_another_connection() {
    // S1
    let mut net = Net::demo(Network::default());
    let conn = net.connect(SERVER);
    let session = net.session(conn, "/wt/echo");
    let id = net.client.session(net::now(), session).expect("a session").open_bidi().expect("a stream");
    net.client.stream(net::now(), id).expect("a stream").write(b"stays open").expect("room");
    net.within(Duration::from_millis(50), |_| false);
    assert_eq!(net.client.request(conn, &head(Method::GET, "/"), true), Err(RequestError::HasSessions));
    let other = net.connect(SERVER);
    net.assert_get(other);
    net.assert_echo(session);
}

#[test]
fn a_silent_session_is_closed_by_the_client_whose_setting_says_so() {
    // S8
    let client = |config: &mut ClientConfig| config.webtransport.idle_timeout = Some(Duration::from_millis(300));
    let mut net = Net::with(Network::default(), demo::router(None).expect("routes"), |_| {}, client);
    let conn = net.connect(SERVER);
    let began = net::now();
    net.session(conn, "/wt/echo");
    net.within(SOON, |net| net.app.ended.is_some());
    let end = SessionEnd { by: EndedBy::Us, code: 0, reason: "idle timeout".to_owned() };
    assert_eq!(net.app.ended, Some(end));
    assert!(elapsed(began) >= Duration::from_millis(250), "after {:?}", elapsed(began));
}

/// quiche learns of a new stream when something is written to it, and writes are refused while a probe is due and much is
/// unsent.
#[test]
fn streams_that_are_opened_while_writes_are_refused_work() {
    const STREAMS: usize = 100;
    let mut net = Net::demo(Network::default());
    let conn = net.connect(SERVER);
    let session = net.session(conn, "/wt/echo");
    net.assert_echo(session);
    // A packet from the server waits for the client, and the client's next one is lost.
    net.open(session, true, b"first");
    net.client_turn();
    for mut packet in std::mem::take(&mut net.servers[0].to_server) {
        net.servers[0].endpoint.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
    }
    net.server_turn();
    let held = std::mem::take(&mut net.servers[0].to_client);
    assert!(!held.is_empty(), "an echo");
    net.open(session, true, b"second");
    net.client_turn();
    net.servers[0].to_server.clear();
    let due = net.client.next_timeout().expect("a timer");
    std::thread::sleep(due.saturating_duration_since(net::now()));
    net.client.handle_timeouts(net::now());
    for mut packet in held {
        net.client.recv(net::now(), &mut packet, addr(SERVER), addr(CLIENT));
    }
    let text = payload(10_000);
    let streams: Vec<_> = (0..STREAMS).map(|_| net.open(session, true, &text)).collect();
    net.finish_all();
    for (n, id) in streams.iter().enumerate() {
        let state = &net.app.streams[id];
        assert_eq!((n, &state.error, state.body.len()), (n, &None, text.len()));
        assert!(state.body == text, "stream {n}");
    }
}

/// Cancels requests while their responses arrive, and returns how many streams the client still has afterwards.
fn left_after_cancelling(network: Network) -> usize {
    let mut net = Net::demo(network);
    net.app.ignoring = true;
    let conn = net.connect(SERVER);
    for n in 0..1000 {
        let id = net.ask(conn, &head(Method::GET, "/stream/1000000"), true).unwrap_or_else(|e| panic!("{n}: {e:?}"));
        // Some before their response arrives, some after.
        for _ in 0..n % 4 {
            net.step();
        }
        net.client.stream(net::now(), id).expect("a stream").reset(ErrorCode::H3_REQUEST_CANCELLED);
        net.client.release(net::now(), id);
    }
    net.within(SOON, |net| net.client.stream_count() == 0);
    net.client.stream_count()
}

#[test]
fn cancelled_requests_are_forgotten_by_the_client() {
    // S10: without losses the server's reset comes before the acknowledgement of ours.
    let left = left_after_cancelling(Network::default());
    assert!(left < 100, "{left} of 1000 streams are left");
}

#[test]
fn cancelled_requests_are_forgotten_by_the_client_when_resets_come_late() {
    // S10
    let left = left_after_cancelling(Network { seed: 5, ..BAD });
    assert!(left < 100, "{left} of 1000 streams are left");
}

#[test]
fn a_head_that_cannot_be_sent_fails_with_its_size_and_the_limit() {
    // S18
    let mut net = Net::demo(Network::default());
    let conn = net.connect(SERVER);
    let mut head = head(Method::GET, "/");
    head.headers.insert("x", "y".repeat(40_000).parse().expect("a value"));
    let mut sent = Err(RequestError::Blocked);
    net.within(SOON, |net| {
        sent = net.client.request(conn, &head, true);
        sent != Err(RequestError::Blocked)
    });
    match sent {
        // Sent in pieces, and rejected by the server's own limit.
        Ok(id) => {
            net.app.streams.insert(id, Exchanged { sent: true, ..Exchanged::default() });
            net.within(SOON, |net| net.app.streams[&id].is_over());
            assert_eq!((net.app.streams[&id].status, &net.app.streams[&id].error), (431, &None));
        }
        Err(error) => {
            let text = error.to_string();
            let numbers: Vec<usize> =
                text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
            let (size, limit) = (numbers.iter().max(), numbers.iter().min());
            let named = size.is_some_and(|n| (40_000..50_000).contains(n)) && limit.is_some_and(|n| *n < 40_000);
            assert!(named, "{error:?}: {text}");
        }
    }
    // The connection still works.
    net.assert_get(conn);
}

/// The idle timeout of both sides: long enough for a busy machine.
const IDLE: Duration = Duration::from_millis(1500);

/// Settings with [`IDLE`].
fn short_idle_timeouts() -> Net {
    let (server, client) = (
        |config: &mut ServerConfig| config.transport.idle_timeout = IDLE,
        |config: &mut ClientConfig| config.transport.idle_timeout = IDLE,
    );
    Net::with(Network::default(), demo::router(None).expect("routes"), server, client)
}

#[test]
fn an_answer_that_takes_longer_than_the_idle_timeout_arrives() {
    // K6
    let mut net = short_idle_timeouts();
    let conn = net.connect(SERVER);
    // A closed connection must not panic here.
    net.app.going.push(conn);
    let id = net.get(conn, "/slow?delay=3500");
    net.within(SOON, |net| net.app.streams[&id].is_over() || !net.app.gone.is_empty());
    assert_eq!(net.app.gone, [], "connections that ended");
    let state = &net.app.streams[&id];
    assert_eq!((state.status, &state.error, &*state.body), (200, &None, &b"waited 3500 ms\n"[..]));
}

#[test]
fn a_silent_session_outlives_the_idle_timeout() {
    // K6
    let mut net = short_idle_timeouts();
    let conn = net.connect(SERVER);
    net.app.going.push(conn);
    let session = net.session(conn, "/wt/echo");
    net.within(5 * IDLE / 2, |net| !net.app.gone.is_empty());
    assert_eq!((net.client.session_count(), net.server().session_count()), (1, 1));
    assert_eq!(net.app.gone, [], "connections that ended");
    net.assert_echo(session);
}

#[test]
fn a_connection_without_anything_outstanding_ends_after_the_idle_timeout() {
    // K6: keep-alive is for what is outstanding only.
    let mut net = short_idle_timeouts();
    let conn = net.connect(SERVER);
    net.app.going.push(conn);
    net.assert_get(conn);
    let waited = net.rounds_until(|net| net.client.connection_count() == 0);
    assert_eq!(net.app.gone, [conn]);
    assert!(waited < rounds(2 * IDLE), "after {waited} rounds");
}

#[test]
fn a_dead_server_is_noticed_though_a_request_is_outstanding() {
    // K6: keep-alive must not hide that nobody answers.
    let mut net = short_idle_timeouts();
    let conn = net.connect(SERVER);
    net.app.going.push(conn);
    let id = net.get(conn, "/slow?delay=60000");
    net.within(Duration::from_millis(100), |_| false);
    net.network.loss = 100;
    let waited = net.rounds_until(|net| !net.app.gone.is_empty());
    assert_eq!(net.app.gone, [conn]);
    assert!(waited < rounds(2 * IDLE), "after {waited} rounds");
    net.app.advance(id, &mut net.client);
    assert_eq!(net.app.streams[&id].error, Some(StreamError::Closed));
}
