//! Our client against a server that breaks the rules, and what quiche accepts from a client.

use http::Method;

use super::super::client::head;
use super::*;
use crate::endpoint::{Event, RequestHead};
use crate::error::{StreamError, Violation};
use crate::h3::Recv;
use crate::transport::table::{ConnId, StreamId};
use crate::wt::{EndedBy, SessionEnd};

/// Our client's engine, and quiche as a server on which everything is written by hand.
struct Raw {
    client: Endpoint,
    conn: ConnId,
    server: Option<quiche::Connection>,
    config: quiche::Config,
    events: Vec<Event>,
}

fn server_settings() -> quiche::Config {
    let dir = tempfile::tempdir().expect("a directory");
    DevCert::generate(&[]).and_then(|cert| cert.write(dir.path())).expect("a certificate");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut config = client_config();
    config.load_cert_chain_from_pem_file(&path("cert.pem")).expect("a certificate");
    config.load_priv_key_from_pem_file(&path("key.pem")).expect("a key");
    config.enable_dgram(true, 100, 100);
    config
}

impl Raw {
    /// A connection whose server has sent its SETTINGS.
    fn connected() -> Self {
        let mut client = Endpoint::client(&our_client_config(), net::now()).expect("a client");
        let conn = client.connect(net::now(), "localhost", addr(CLIENT), addr(SERVER), None).expect("a connection");
        let mut raw = Raw { client, conn, server: None, config: server_settings(), events: Vec::new() };
        let ready = |raw: &mut Raw| raw.events.iter().any(|event| matches!(event, Event::Connected(_)));
        assert!(raw.within(SOON, ready), "the handshake");
        // A control stream with SETTINGS: extended CONNECT, datagrams, and WebTransport of two drafts.
        let settings = b"\x00\x04\x12\x08\x01\x33\x01\xab\x60\x37\x42\x01\xc0\x00\x00\x00\xc6\x71\x70\x6a\x10";
        raw.write(3, settings, false);
        assert!(raw.within(SOON, |raw| raw.client.has_http_datagrams(conn).is_some()), "the SETTINGS arrive");
        raw
    }

    fn step(&mut self) {
        let now = net::now();
        self.client.handle_timeouts(now);
        loop {
            self.client.drive(now);
            self.events.extend(std::iter::from_fn(|| self.client.poll_event()));
            if !self.client.needs_drive() {
                break;
            }
        }
        let mut buf = vec![0; 65_507];
        while let Some(transmit) = self.client.poll_transmit(net::now(), &mut buf, 64) {
            for packet in buf[..transmit.len].chunks_mut(transmit.segment) {
                let server = self.server.get_or_insert_with(|| {
                    let scid = quiche::ConnectionId::from_ref(&[7; 16]);
                    quiche::accept(&scid, None, addr(SERVER), addr(CLIENT), &mut self.config).expect("a server")
                });
                // Rejected packets show in its responses.
                let _ = server.recv(packet, quiche::RecvInfo { from: addr(CLIENT), to: addr(SERVER) });
            }
        }
        self.events.extend(std::iter::from_fn(|| self.client.poll_event()));
        let Some(server) = &mut self.server else { return };
        if server.timeout() == Some(Duration::ZERO) {
            server.on_timeout();
        }
        while let Ok((n, _)) = server.send(&mut buf[..1350]) {
            self.client.recv(net::now(), &mut buf[..n], addr(SERVER), addr(CLIENT));
        }
    }

    fn within(&mut self, limit: Duration, mut done: impl FnMut(&mut Raw) -> bool) -> bool {
        let deadline = net::now() + limit;
        while !done(self) {
            if net::now() >= deadline {
                return false;
            }
            self.step();
            std::thread::sleep(ROUND);
        }
        true
    }

    fn server(&mut self) -> &mut quiche::Connection {
        self.server.as_mut().expect("connected")
    }

    /// Writes at the server.
    fn write(&mut self, stream: u64, data: &[u8], fin: bool) {
        assert_eq!(self.server().stream_send(stream, data, fin), Ok(data.len()));
    }

    /// Sends a request, and waits until the server has its head.
    fn request(&mut self, head: &RequestHead, end: bool) -> StreamId {
        let id = self.client.request(self.conn, head, end).expect("a request");
        assert!(self.within(SOON, |raw| raw.server().stream_readable(id.id)), "the request arrives");
        id
    }

    /// Answers a `GET` with these bytes, and returns the code that the client closes the connection with.
    fn close_code_after(answer: &[u8]) -> Option<u64> {
        let mut raw = Raw::connected();
        let id = raw.request(&head(Method::GET, "/"), true);
        raw.write(id.id, answer, false);
        raw.within(SOON, |raw| {
            // The application reads everything.
            if let Some(mut stream) = raw.client.stream(net::now(), id) {
                let _ = stream.read(&mut [0; 100]);
            }
            raw.server().peer_error().is_some()
        });
        raw.server().peer_error().map(|error| error.error_code)
    }
}

/// `:status: 200`.
const HEAD: &[u8] = b"\x01\x03\x00\x00\xd9";
/// `x: 1` in a HEADERS frame.
const TRAILERS: &[u8] = b"\x01\x06\x00\x00\x21x\x011";
const DATA: &[u8] = b"\x00\x03abc";

#[test]
fn a_session_whose_acceptance_carries_the_end_opens_and_ends() {
    // S7
    let mut raw = Raw::connected();
    let connect = RequestHead { protocol: Some("webtransport".to_owned()), ..head(Method::CONNECT, "/wt") };
    let id = raw.request(&connect, false);
    raw.write(id.id, HEAD, true);
    let ended = |raw: &mut Raw| raw.events.iter().any(|event| matches!(event, Event::SessionClosed(..)));
    raw.within(SOON, ended);
    let end = raw.events.iter().find_map(|event| match event {
        Event::SessionClosed(session, end) if *session == id => Some(end.clone()),
        _ => None,
    });
    assert_eq!(end, Some(SessionEnd { by: EndedBy::Peer, code: 0, reason: String::new() }));
    let stats = raw.client.stats();
    assert_eq!((stats.sessions_opened, stats.sessions_closed, raw.client.session_count()), (1, 1, 0));
}

/// A head with this status and these further fields in QPACK.
fn head_of(status: &str, fields: &[u8]) -> Vec<u8> {
    headers_frame(&[b"\x5f\x09\x03", status.as_bytes(), fields].concat())
}

/// What the client reads of a response: its content, or what is wrong with it, and the code that the server sees then.
fn read_response(
    method: Method,
    response: &[u8],
    fin: bool,
) -> (std::result::Result<Vec<u8>, StreamError>, Option<u64>) {
    let mut raw = Raw::connected();
    let id = raw.request(&head(method, "/"), true);
    raw.write(id.id, response, fin);
    let (mut content, mut end) = (Vec::new(), None);
    assert!(raw.within(SOON, |raw| {
        while let Some(mut stream) = raw.client.stream(net::now(), id).filter(|_| end.is_none()) {
            match stream.read_chunk(100) {
                Ok(Recv::Data(bytes)) => content.extend_from_slice(&bytes),
                Ok(Recv::Pending) => break,
                Ok(Recv::Finished) => end = Some(Ok(())),
                Err(error) => end = Some(Err(error)),
            }
        }
        end.is_some()
    }));
    let mut code = None;
    raw.within(if matches!(end, Some(Ok(()))) { Duration::from_millis(20) } else { SOON }, |raw| {
        code = match raw.server().stream_writable(id.id, 1) {
            Err(quiche::Error::StreamStopped(code)) => Some(code),
            _ => None,
        };
        code.is_some()
    });
    (end.expect("checked").map(|()| content), code)
}

#[test]
fn a_response_without_content_has_none() {
    // M7
    let length = b"\x54\x013";
    let [get, head] = [Method::GET, Method::HEAD];
    let malformed = |violation| (Err(StreamError::Malformed(violation)), Some(ErrorCode::H3_MESSAGE_ERROR.0));
    for (method, status, fields, content, expected) in [
        (&get, "204", &b""[..], DATA, malformed(Violation::UnexpectedContent)),
        (&get, "304", b"", DATA, malformed(Violation::UnexpectedContent)),
        (&head, "200", b"", DATA, malformed(Violation::UnexpectedContent)),
        (&head, "404", length, DATA, malformed(Violation::UnexpectedContent)),
        // Its length says what another response would have; an empty frame is no content.
        (&head, "200", length, b"", (Ok(vec![]), None)),
        (&head, "200", length, b"\x00\x00", (Ok(vec![]), None)),
        (&get, "304", length, b"", (Ok(vec![]), None)),
        (&get, "204", length, b"", (Ok(vec![]), None)),
        (&get, "200", length, DATA, (Ok(b"abc".to_vec()), None)),
        (&get, "205", b"", DATA, (Ok(b"abc".to_vec()), None)),
        (&get, "101", b"", b"", malformed(Violation::SwitchingProtocols)),
    ] {
        let response = [&head_of(status, fields)[..], content].concat();
        let fin = expected.0.is_ok();
        assert_eq!(read_response(method.clone(), &response, fin), expected, "{method} {status} {content:?}");
    }
}

#[test]
fn the_length_in_the_acceptance_of_a_session_is_ignored() {
    // M7: RFC 9110 section 9.3.6.
    let mut raw = Raw::connected();
    let connect = RequestHead { protocol: Some("webtransport".to_owned()), ..head(Method::CONNECT, "/wt") };
    let id = raw.request(&connect, false);
    raw.write(id.id, &head_of("200", b"\x54\x013"), false);
    assert!(raw.within(SOON, |raw| raw.client.stats().sessions_opened == 1), "the session opens");
    // WT_CLOSE_SESSION with code 7.
    raw.write(id.id, b"\x00\x07\x68\x43\x04\x00\x00\x00\x07", true);
    let end = |raw: &Raw| {
        raw.events.iter().find_map(|event| match event {
            Event::SessionClosed(_, end) => Some(end.clone()),
            _ => None,
        })
    };
    raw.within(SOON, |raw| end(raw).is_some());
    assert_eq!(end(&raw), Some(SessionEnd { by: EndedBy::Peer, code: 7, reason: String::new() }));
}

#[test]
fn data_behind_the_trailers_of_a_response_is_refused() {
    // S14
    assert_eq!(Raw::close_code_after(&[HEAD, DATA, TRAILERS, DATA].concat()), Some(ErrorCode::H3_FRAME_UNEXPECTED.0));
}

#[test]
fn fields_behind_the_trailers_of_a_response_are_refused() {
    // S14
    let answer = [HEAD, DATA, TRAILERS, TRAILERS].concat();
    assert_eq!(Raw::close_code_after(&answer), Some(ErrorCode::H3_FRAME_UNEXPECTED.0));
}

/// The response on stream 0 to these bytes of a client, once it has ended.
fn answer_to(bytes: &[u8]) -> Vec<u8> {
    let mut sim = Sim::connected(Options::default());
    assert_eq!(sim.client.stream_send(0, bytes, true), Ok(bytes.len()));
    let (mut answer, mut all) = (Vec::new(), false);
    let mut buf = [0; 1000];
    sim.within(SOON, |sim| {
        while let Ok((n, fin)) = sim.client.stream_recv(0, &mut buf) {
            answer.extend_from_slice(&buf[..n]);
            all |= fin;
        }
        all
    });
    assert!(all, "the end of the answer");
    answer
}

/// `POST https://a/upload?checksum=off`
fn post_frame() -> Vec<u8> {
    headers_frame(b"\xd4\xd7\x50\x01a\x51\x14/upload?checksum=off")
}

fn ends_with(answer: &[u8], body: &[u8]) -> bool {
    answer.windows(body.len()).any(|window| window == body)
}

#[test]
fn quiche_takes_a_data_frame_that_is_cut_by_the_fin_for_a_whole_one() {
    // S14: RFC 9114 section 7.1 requires H3_FRAME_ERROR. 50 of 100 bytes.
    let answer = answer_to(&[&post_frame()[..], b"\x00\x40\x64", &[b'x'; 50]].concat());
    assert!(ends_with(&answer, b"{\"bytes\":50}\n"), "{:?}", String::from_utf8_lossy(&answer));
}

#[test]
fn quiche_takes_trailers_that_are_cut_by_the_fin_for_none() {
    // S14: the frame's 9 bytes are truncated after 5.
    let answer = answer_to(&[&post_frame()[..], DATA, &TRAILERS[..5]].concat());
    assert!(ends_with(&answer, b"{\"bytes\":3}\n"), "{:?}", String::from_utf8_lossy(&answer));
}

#[test]
fn quiche_does_not_give_the_credit_of_unknown_unidirectional_streams_back() {
    // S15: fixed in quiche after 0.30 (ee28072d).
    let server = |config: &mut ServerConfig| config.transport.max_streams_uni = 20;
    let mut sim = Sim::connected(Options { server: Box::new(server), ..Options::default() });
    // After those of quiche::h3.
    let first = 2 + 4 * (20 - sim.client.peer_streams_left_uni());
    for n in 0..sim.client.peer_streams_left_uni() {
        assert_eq!(sim.client.stream_send(first + 4 * n, b"\x21x", true), Ok(2), "stream {n}");
    }
    sim.within(Duration::from_millis(500), |_| false);
    assert_eq!(sim.client.peer_streams_left_uni(), 0);
    let id = sim.get("/");
    sim.finish_all();
    assert_eq!(sim.answers[&id].status(), "200");
}

#[test]
fn a_head_larger_than_a_collapsed_window_is_sent_or_its_stream_is_reset() {
    // S18: half of all packets are lost for a time, and the congestion window falls to a few packets.
    let big = "v".repeat(11_000);
    let router =
        demo::router(None).expect("routes").get("/big", move |_req, res| res.header("x-big", &*big).text("ok"));
    let mut sim = Sim::connected(Options { router, ..Options::default() });
    let download = sim.get("/stream/50000000?checksum=off");
    sim.run_until("the download", |sim| sim.answers[&download].body.len() > 10_000);
    sim.network = Network { seed: 3, loss: 50, ..Network::default() };
    sim.within(Duration::from_secs(2), |_| false);
    // The client cancels it, and nothing is in flight any more.
    sim.client.stream_shutdown(download, quiche::Shutdown::Read, 0x10c).expect("an open stream");
    sim.answers.remove(&download);
    sim.within(Duration::from_millis(300), |_| false);
    sim.network.loss = 0;
    sim.within(Duration::from_millis(200), |_| false);
    let small = sim.get("/");
    sim.within(SOON, |sim| sim.answers[&small].is_over());
    assert_eq!(sim.answers[&small].body, b"Hello, HTTP/3!\n");
    let id = sim.get("/big");
    sim.within(SOON, |sim| sim.answers[&id].is_over());
    let answer = &sim.answers[&id];
    let whole = answer.finished && answer.field("x-big").map(str::len) == Some(11_000) && answer.body == b"ok";
    assert!(whole || answer.reset.is_some(), "no verdict: {} heads, {} bytes", answer.heads.len(), answer.body.len());
}

#[test]
fn heads_that_wait_for_an_acknowledgement_are_sent_though_it_is_taken_in_late() {
    let mut sim = Sim::connected(Options::default());
    sim.get("/stream/100000?checksum=off");
    let waiting: Vec<u64> = (0..20).map(|_| sim.get("/")).collect();
    // The first flight fills the congestion window.
    sim.within(SOON, |sim| sim.answers[&0].heads.len() == 1);
    // Everything in flight is acknowledged, and the server is so busy that the check for a stall is due at once.
    sim.client_turn();
    for mut packet in std::mem::take(&mut sim.to_server) {
        sim.server.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
    }
    std::thread::sleep(Duration::from_millis(300));
    sim.finish_all();
    let resets: Vec<_> = waiting.iter().filter_map(|id| sim.answers[id].reset).collect();
    assert_eq!(resets, [0u64; 0]);
}
