//! Our client's engine against our server's, over the seeded network.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};

use super::*;
use crate::app::session::{Session, SessionHandler};
use crate::endpoint::{CloseCause, ClosedBy, Event, RequestError, RequestHead};
use crate::error::{ErrorCode, Result, StreamError};
use crate::h3::Recv;
use crate::transport::peek_count;
use crate::transport::table::{ConnId, StreamId};
use crate::turn::Application;
use crate::wt::{EndedBy, SessionEnd};

const OTHER_SERVER: &str = "192.0.2.3:4433";
pub(super) const BAD: Network = Network { seed: 0, loss: 5, duplicate: 5, reorder: 10 };
/// More than fits into one flight.
const LARGE: usize = 150_000;

/// A server, and the packets under way between it and the client.
pub(super) struct Side {
    pub(super) addr: SocketAddr,
    pub(super) endpoint: Endpoint,
    pub(super) app: App,
    pub(super) to_server: VecDeque<Vec<u8>>,
    pub(super) to_client: VecDeque<Vec<u8>>,
}

/// Data sent and received on a stream.
#[derive(Default)]
pub(super) struct Exchanged {
    pub(super) out: Bytes,
    pub(super) trailers_out: Option<HeaderMap>,
    pub(super) sent: bool,
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) trailers: HeaderMap,
    pub(super) finished: bool,
    pub(super) error: Option<StreamError>,
}

impl Exchanged {
    pub(super) fn is_over(&self) -> bool {
        self.finished && self.sent || self.error.is_some()
    }
}

pub(super) struct Net {
    pub(super) client: Endpoint,
    pub(super) app: Exchanges,
    pub(super) servers: Vec<Side>,
    pub(super) network: Network,
    pub(super) rng: Rng,
}

/// The client's application.
#[derive(Default)]
pub(super) struct Exchanges {
    pub(super) streams: BTreeMap<StreamId, Exchanged>,
    pub(super) connected: Vec<ConnId>,
    pub(super) going: Vec<ConnId>,
    pub(super) gone: Vec<ConnId>,
    pub(super) resets: Vec<ConnId>,
    pub(super) datagrams: Vec<Bytes>,
    pub(super) ended: Option<SessionEnd>,
    /// Ignores the events.
    pub(super) ignoring: bool,
}

fn side(addr: &str, router: Router, set: impl FnOnce(&mut ServerConfig)) -> Side {
    let mut config = server_config();
    config.webtransport.enabled = true;
    set(&mut config);
    let endpoint = Endpoint::server(config, net::now(), net::wall_clock()).expect("an endpoint");
    let app = App::new(router, vec!["*".to_owned()], || {});
    Side {
        addr: addr.parse().expect("an address"),
        endpoint,
        app,
        to_server: VecDeque::new(),
        to_client: VecDeque::new(),
    }
}

pub(super) fn head(method: Method, path: &str) -> RequestHead {
    RequestHead {
        method,
        scheme: "https".to_owned(),
        authority: "localhost".to_owned(),
        path: path.to_owned(),
        protocol: None,
        headers: HeaderMap::new(),
    }
}

impl Net {
    pub(super) fn new(network: Network, router: Router) -> Self {
        Self::with(network, router, |_| {}, |_| {})
    }

    /// With settings for the server and the client.
    pub(super) fn with(
        network: Network,
        router: Router,
        server: impl FnOnce(&mut ServerConfig),
        client: impl FnOnce(&mut ClientConfig),
    ) -> Self {
        eprintln!("{network:?}");
        let mut config = our_client_config();
        client(&mut config);
        Net {
            client: Endpoint::client(&config, net::now()).expect("a client"),
            servers: vec![side(SERVER, router, server)],
            rng: Rng::new(network.seed),
            network,
            app: Exchanges::default(),
        }
    }

    pub(super) fn demo(network: Network) -> Self {
        Self::new(network, demo::router(None).expect("routes"))
    }

    pub(super) fn connect(&mut self, to: &str) -> ConnId {
        let made = self.client.connect(net::now(), "localhost", addr(CLIENT), addr(to), None);
        let id = made.expect("a connection");
        self.run_until("the handshake", |net| net.app.connected.contains(&id));
        id
    }

    pub(super) fn request(
        &mut self,
        conn: ConnId,
        head: &RequestHead,
        body: &[u8],
        trailers: Option<HeaderMap>,
    ) -> StreamId {
        let end = body.is_empty() && trailers.is_none();
        let mut sent = Err(RequestError::Blocked);
        self.run_until("room for a request", |net| {
            sent = net.client.request(conn, head, end);
            !matches!(sent, Err(RequestError::Blocked))
        });
        let id = sent.expect("a request");
        let out = Bytes::copy_from_slice(body);
        self.app.streams.insert(id, Exchanged { out, trailers_out: trailers, sent: end, ..Exchanged::default() });
        self.app.advance(id, &mut self.client);
        id
    }

    pub(super) fn get(&mut self, conn: ConnId, path: &str) -> StreamId {
        self.request(conn, &head(Method::GET, path), b"", None)
    }

    pub(super) fn session(&mut self, conn: ConnId, path: &str) -> StreamId {
        let mut head = head(Method::CONNECT, path);
        head.protocol = Some("webtransport".to_owned());
        let id = self.request(conn, &head, b"", None);
        self.run_until("the session", |net| net.client.session(net::now(), id).is_some());
        self.app.streams.remove(&id);
        id
    }

    pub(super) fn open(&mut self, session: StreamId, bidi: bool, data: &[u8]) -> StreamId {
        let mut session = self.client.session(net::now(), session).expect("a session");
        let opened = if bidi { session.open_bidi() } else { session.open_uni() };
        let id = opened.expect("credit for a stream");
        let out = Bytes::copy_from_slice(data);
        self.app.streams.insert(id, Exchanged { out, finished: !bidi, ..Exchanged::default() });
        self.app.advance(id, &mut self.client);
        id
    }

    pub(super) fn client_turn(&mut self) {
        let Net { client, servers, network, rng, app, .. } = self;
        let mut io = Wire::new(addr(CLIENT), |to, packet| {
            let side = servers.iter_mut().find(|side| side.addr == to).expect("a server");
            pass(network, rng, &mut side.to_server, packet);
        });
        turn(net::now(), &mut io, client, app).expect("no socket that fails");
    }

    pub(super) fn server_turn(&mut self) {
        let Net { servers, network, rng, .. } = self;
        for Side { addr, endpoint, app, to_client, .. } in servers {
            let mut io = Wire::new(*addr, |_, packet| pass(network, rng, to_client, packet));
            turn(net::now(), &mut io, endpoint, app).expect("no socket that fails");
        }
    }

    /// One turn of all sides. Returns false if nothing moved.
    pub(super) fn step(&mut self) -> bool {
        self.client_turn();
        self.server_turn();
        let mut moved = false;
        for side in &mut self.servers {
            for mut packet in std::mem::take(&mut side.to_server) {
                moved = true;
                side.endpoint.recv(net::now(), &mut packet, addr(CLIENT), side.addr);
            }
            for mut packet in std::mem::take(&mut side.to_client) {
                moved = true;
                self.client.recv(net::now(), &mut packet, side.addr, addr(CLIENT));
            }
        }
        moved || self.client.has_work() || self.servers.iter().any(|side| side.endpoint.has_work())
    }

    pub(super) fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Net) -> bool) {
        let deadline = net::now() + TIMEOUT;
        while !done(self) {
            let open: Vec<_> =
                self.app.streams.iter().filter(|(_, state)| !state.is_over()).map(|(id, _)| id).collect();
            let left = (self.client.stream_count(), self.server().stream_count());
            assert!(net::now() < deadline, "{what} took too long; {:?}; open {open:?}, left {left:?}", self.network);
            if !self.step() {
                let timers = self.servers.iter().map(|side| side.endpoint.next_timeout());
                let next = timers.chain([self.client.next_timeout()]).flatten().min();
                let wait = next.map(|at| at.saturating_duration_since(net::now())).unwrap_or_default();
                std::thread::sleep(wait.clamp(Duration::from_micros(50), Duration::from_millis(100)));
            }
        }
    }

    /// Another process takes the server's place, and knows nothing of its connections.
    pub(super) fn restart(&mut self, set: impl FnOnce(&mut ServerConfig)) {
        self.servers[0] = side(SERVER, demo::router(None).expect("routes"), set);
    }

    pub(super) fn finish_all(&mut self) {
        self.run_until("all streams", |net| net.app.streams.values().all(Exchanged::is_over));
    }

    pub(super) fn server(&self) -> &Endpoint {
        &self.servers[0].endpoint
    }
}

impl Exchanges {
    /// Reads and writes as much of a stream as possible.
    pub(super) fn advance(&mut self, id: StreamId, client: &mut Endpoint) {
        let Some(state) = self.streams.get_mut(&id).filter(|state| !state.is_over()) else { return };
        let Some(mut stream) = client.stream(net::now(), id) else {
            state.error = Some(StreamError::Closed);
            return;
        };
        let result = (|| {
            if !state.sent {
                state.sent = match &state.trailers_out {
                    None => stream.finish_with(&mut state.out)?,
                    Some(trailers) => {
                        stream.write_bytes(&mut state.out)?;
                        if state.out.is_empty() {
                            stream.finish_with_trailers(trailers)?;
                        }
                        state.out.is_empty()
                    }
                };
            }
            while !self.ignoring && !state.finished {
                match stream.read_chunk(10_000)? {
                    Recv::Data(chunk) => state.body.extend_from_slice(&chunk),
                    Recv::Pending => break,
                    Recv::Finished => state.finished = true,
                }
            }
            Ok(())
        })();
        if let Err(error) = result {
            state.error = Some(error);
        }
        if state.is_over() {
            state.trailers = stream.trailers().cloned().unwrap_or_default();
            client.release(net::now(), id);
        }
    }
}

impl Application for Exchanges {
    fn on_event(&mut self, _: Instant, event: Event, client: &mut Endpoint) {
        match event {
            Event::Connected(id) => self.connected.push(id),
            Event::Response(id, head) => {
                if let Some(state) = self.streams.get_mut(&id) {
                    state.status = head.status.as_u16();
                }
            }
            Event::Ready(id) => self.advance(id, client),
            Event::Datagram(_, payload) => self.datagrams.push(payload),
            Event::SessionStream { stream, .. } => {
                let (out, sent) = (Bytes::from_static(b"and back"), !stream.is_bidi());
                self.streams.insert(stream, Exchanged { out, sent, ..Exchanged::default() });
                self.advance(stream, client);
            }
            Event::GoingAway(id) => self.going.push(id),
            Event::SessionClosed(_, end) => self.ended = Some(end),
            Event::Closed(id, CloseCause { by: ClosedBy::StatelessReset, .. }) => self.resets.push(id),
            Event::Closed(id, cause) => {
                assert!(self.going.contains(&id), "{id:?}: {cause}");
                self.gone.push(id);
            }
            _ => {}
        }
    }
}

fn assert_answer(net: &Net, id: StreamId, status: u16, body: &[u8]) {
    let state = &net.app.streams[&id];
    assert_eq!((state.status, &state.error), (status, &None), "{:?}: {id:?}", net.network);
    assert!(state.body == body, "{:?}: {id:?}: {} bytes", net.network, state.body.len());
}

#[test]
fn an_idle_connection_is_over_before_it_is_forgotten() {
    let mut net = Net::demo(Network::default());
    let conn = net.connect(SERVER);
    net.app.going.push(conn);
    net.servers[0].endpoint.close_all(ErrorCode::H3_NO_ERROR, b"");
    net.run_until("the end", |net| !net.app.gone.is_empty());
    // It continues draining (RFC 9000 section 10.2), and is reported once.
    assert_eq!((net.client.connection_count(), net.client.handshake_count()), (1, 0));
    net.run_until("the last of it", |net| net.client.connection_count() == 0);
    assert_eq!(net.app.gone, [conn]);
}

#[test]
fn small_messages_are_read_without_a_peek() {
    let mut net = Net::demo(Network::default());
    let conn = net.connect(SERVER);
    // With GREASE frames, which only a peek gets past.
    let first = net.get(conn, "/");
    net.run_until("the first response", |net| net.app.streams[&first].is_over());
    let before = peek_count();
    let gets: Vec<_> = (0..20).map(|_| net.get(conn, "/")).collect();
    let echoes: Vec<_> = (0..20).map(|n| net.request(conn, &head(Method::POST, "/api/echo"), &[n; 20], None)).collect();
    net.run_until("all responses", |net| gets.iter().chain(&echoes).all(|id| net.app.streams[id].is_over()));
    assert!(gets.iter().all(|id| net.app.streams[id].status == 200));
    for (n, id) in (0..20).zip(&echoes) {
        assert_eq!(net.app.streams[id].body, [n; 20]);
    }
    assert_eq!(peek_count() - before, 0);
}

#[test]
fn requests_with_bodies_both_ways_and_trailers() {
    for seed in 1..=6 {
        let mut net = Net::demo(Network { seed, ..BAD });
        let conn = net.connect(SERVER);
        let body = payload(100_000);
        let sizes = [0, 1, 1_000, LARGE];
        let down: Vec<_> = sizes.iter().map(|n| net.get(conn, &format!("/stream/{n}"))).collect();
        let echo = net.request(conn, &head(Method::POST, "/api/echo"), &body, None);
        let trailers = HeaderMap::from_iter([("x-of-ours".parse().unwrap(), HeaderValue::from_static("yes"))]);
        let trailed = net.request(conn, &head(Method::POST, "/trailers/demo"), &body, Some(trailers));
        let none = net.get(conn, "/nowhere");
        net.finish_all();
        for (id, size) in down.iter().zip(sizes) {
            assert_answer(&net, *id, 200, &payload(size));
            assert_eq!(net.app.streams[id].trailers["x-checksum"].len(), 64, "seed {seed}");
        }
        assert_answer(&net, echo, 200, &body);
        assert_answer(&net, trailed, 200, b"request trailers:\nx-of-ours: yes\n");
        assert_eq!(net.app.streams[&trailed].trailers["x-demo"], "trailers");
        assert_answer(&net, none, 404, b"404 Not Found\n");
        net.run_until("nothing is left", |net| net.client.stream_count() + net.server().stream_count() == 0);
        assert_eq!(net.server().stats().requests, 7);
    }
}

/// More requests than the server allows at a time: each gets its turn.
#[test]
fn requests_wait_for_credit() {
    // As many as streams, which the server rejects none of.
    let settings = |config: &mut ServerConfig| config.transport.max_streams_bidi = config.webtransport.max_streams;
    let network = Network { seed: 7, ..BAD };
    let mut net = Net::with(network, demo::router(None).expect("routes"), settings, |_| {});
    let conn = net.connect(SERVER);
    let all: Vec<_> = (0..1500).map(|_| net.get(conn, "/")).collect();
    net.finish_all();
    for id in all {
        assert_answer(&net, id, 200, b"Hello, HTTP/3!\n");
    }
}

#[test]
fn sessions_with_streams_from_both_sides() {
    for seed in 1..=6 {
        let mut net = Net::demo(Network { seed, ..BAD });
        let conn = net.connect(SERVER);
        // No more than may overtake the response.
        let session = net.session(conn, "/wt/echo?open=10");
        let text = |n: usize| format!("stream {n} ").repeat(n * n);
        let bidi: Vec<_> = (0..30).map(|n| net.open(session, true, text(n).as_bytes())).collect();
        for n in 0..30 {
            net.open(session, false, text(n).as_bytes());
        }
        let from_server = |net: &Net, bidi: bool| {
            let theirs = net.app.streams.iter().filter(|(id, _)| !id.is_from_client() && id.is_bidi() == bidi);
            theirs.map(|(id, _)| *id).collect::<Vec<_>>()
        };
        net.run_until("the server's streams", |net| {
            from_server(net, true).len() == 10 && from_server(net, false).len() == 30
        });
        net.finish_all();
        let mut greetings: Vec<_> = from_server(&net, true).iter().map(|id| net.app.streams[id].body.clone()).collect();
        let mut expected: Vec<_> = (0..10).map(|n| format!("server stream {n}\nand back").into_bytes()).collect();
        greetings.sort();
        expected.sort();
        assert!(greetings == expected, "seed {seed}: the streams of the server's own");
        for (n, id) in bidi.iter().enumerate() {
            let state = &net.app.streams[id];
            assert_eq!((&state.error, String::from_utf8_lossy(&state.body)), (&None, text(n).into()), "seed {seed}");
        }
        let mut answers: Vec<_> = from_server(&net, false).iter().map(|id| net.app.streams[id].body.clone()).collect();
        let mut expected: Vec<_> = (0..30).map(|n| text(n).into_bytes()).collect();
        answers.sort();
        expected.sort();
        assert!(answers == expected, "seed {seed}: the answers on streams of the server's");
        // All of them may be in one packet, which may be lost.
        let mut datagrams = 0;
        net.run_until("a datagram", |net| {
            let mut session = net.client.session(net::now(), session).expect("a session");
            datagrams += usize::from(session.send_datagram(b"ping").is_ok());
            !net.app.datagrams.is_empty()
        });
        assert!(net.app.datagrams.len() <= datagrams, "seed {seed}: {} for {datagrams}", net.app.datagrams.len());
        assert!(net.app.datagrams.iter().all(|payload| payload == "ping"), "seed {seed}");
        let mut open = net.client.session(net::now(), session).expect("a session");
        open.close(77, "the end");
        net.run_until("the close", |net| net.server().session_count() == 0 && net.client.session_count() == 0);
        let end = net.app.ended.take().expect("an end");
        assert_eq!(end, SessionEnd { by: EndedBy::Us, code: 77, reason: "the end".to_owned() });
    }
}

/// Closes at once, in the same flight as its response.
struct Closing;

impl SessionHandler for Closing {
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        s.close(5, "at once");
        Ok(())
    }
}

#[test]
fn a_session_that_the_server_closes() {
    for seed in 1..=6 {
        let router = Router::new().webtransport("/close", |req| req.accept(Closing));
        let mut net = Net::new(Network { seed, ..BAD }, router);
        let conn = net.connect(SERVER);
        let mut request = head(Method::CONNECT, "/close");
        request.protocol = Some("webtransport".to_owned());
        let id = net.request(conn, &request, b"", None);
        net.app.streams.remove(&id);
        net.run_until("the close", |net| net.app.ended.is_some());
        let end = net.app.ended.take().expect("an end");
        assert_eq!(end, SessionEnd { by: EndedBy::Peer, code: 5, reason: "at once".to_owned() }, "seed {seed}");
    }
}

/// The server goes away while requests are under way: requests that it did not process are sent again to another one,
/// and the rest is answered.
#[test]
fn goaway_and_a_second_server() {
    for seed in 1..=6 {
        let mut net = Net::demo(Network { seed, ..BAD });
        net.servers.push(side(OTHER_SERVER, demo::router(None).expect("routes"), |_| {}));
        let conn = net.connect(SERVER);
        let first: Vec<_> = (0..10).map(|_| net.get(conn, "/slow?delay=30")).collect();
        net.run_until("requests that run", |net| net.servers[0].endpoint.stats().requests >= 5);
        let second: Vec<_> = (0..10).map(|_| net.get(conn, "/")).collect();
        net.servers[0].endpoint.shutdown();
        net.run_until("the server's GOAWAY", |net| net.app.going.contains(&conn));
        assert_eq!(net.client.request(conn, &head(Method::GET, "/"), true), Err(RequestError::GoingAway));
        net.finish_all();
        let rejected = StreamError::Reset(ErrorCode::H3_REQUEST_REJECTED);
        let all = || first.iter().chain(&second);
        let (done, again): (Vec<_>, Vec<_>) = all().partition(|id| net.app.streams[id].error.is_none());
        for id in &again {
            assert_eq!(net.app.streams[id].error, Some(rejected.clone()), "seed {seed}");
        }
        assert!(done.iter().all(|id| net.app.streams[id].status == 200), "seed {seed}");
        assert!(done.len() >= 5, "seed {seed}: {} were answered", done.len());
        // Nothing was done twice, and nothing was lost.
        assert_eq!(net.servers[0].endpoint.stats().requests, done.len() as u64, "seed {seed}");
        let other = net.connect(OTHER_SERVER);
        let retried: Vec<_> = again.iter().map(|_| net.get(other, "/")).collect();
        net.finish_all();
        for id in retried {
            assert_answer(&net, id, 200, b"Hello, HTTP/3!\n");
        }
    }
}

/// A request that is cancelled while both directions run.
#[test]
fn cancelling_resets_and_stops() {
    for seed in 1..=6 {
        let mut net = Net::demo(Network { seed, ..BAD });
        net.app.ignoring = true;
        let conn = net.connect(SERVER);
        let id = net.request(conn, &head(Method::POST, "/api/echo"), &payload(20_000_000), None);
        net.run_until("the answer's head", |net| net.app.streams[&id].status == 200);
        net.run_until("a full window", |net| net.servers[0].endpoint.stats().bytes_out > 50_000);
        net.client.stream(net::now(), id).expect("a stream").reset(ErrorCode::H3_REQUEST_CANCELLED);
        net.client.release(net::now(), id);
        net.app.streams.remove(&id);
        // quiche forgets the stream on our side only if the server's reset overtakes the acknowledgement of ours.
        net.run_until("the end", |net| net.server().stream_count() == 0);
        let (resets, stops) = net.server().given_up_by_peers();
        assert!(resets > 0 && stops > 0, "seed {seed}: {resets} RESET_STREAM and {stops} STOP_SENDING");
        assert_eq!(net.servers[0].app.running(), 0);
        net.app.ignoring = false;
        let next = net.get(conn, "/");
        net.finish_all();
        assert_answer(&net, next, 200, b"Hello, HTTP/3!\n");
    }
}
