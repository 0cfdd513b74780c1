//! The life of a session and of its streams, with quiche's client.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;

use super::*;
use crate::app::session::{Session, SessionHandler};
use crate::app::stream_handler::{Progress, StreamHandler};
use crate::endpoint::Stream;
use crate::error::{Error, Result, StreamError};
use crate::h3::Recv;
use crate::transport::table::StreamId;
use crate::wire::capsule::{self, Capsule};

/// Streams that are opened and aborted in one session. More than a session may have at a time.
const MANY: u64 = 3000;

/// Opens a stream of the session by hand, with nothing but its header.
fn open(client: &mut Client, bidi: bool, fin: bool) -> u64 {
    client.stream(bidi, b"", fin)
}

#[test]
fn a_stream_whose_end_and_stop_come_with_its_header_gives_its_place_back() {
    // S2
    let mut client = Client::open(with_server(|config| config.webtransport.max_streams = 1000), "/wt/echo", &[DRAFT02]);
    let code = ErrorCode::webtransport(7).0;
    for n in 0..MANY {
        let credit = client.within(SOON, |c| c.sim.client.peer_streams_left_bidi() > 0);
        let refused = client.sim.server.stats().session_streams_rejected;
        assert!(credit, "no credit after {n} of {MANY} streams, {refused} of which were refused");
        let id = open(&mut client, true, true);
        client.sim.client.stream_shutdown(id, quiche::Shutdown::Read, code).expect("an open stream");
        if n % 20 == 0 {
            client.sim.step();
        }
    }
    client.within(SOON, |c| c.sim.server.stats().session_streams_in == MANY && c.server_streams() == 1);
    let stats = client.sim.server.stats();
    assert_eq!((stats.session_streams_in, stats.session_streams_rejected), (MANY, 0));
    assert_eq!(client.server_streams(), 1, "only the CONNECT stream is left");
    let last = client.stream(true, b"still works", true);
    assert!(client.within(SOON, |c| c.is_whole(last)), "an echo after all of them");
}

/// Records the code with which reading of each of the peer's streams fails.
#[derive(Clone, Default)]
struct NoteResets(Rc<RefCell<Vec<u64>>>);

impl SessionHandler for NoteResets {
    fn stream(&mut self, _: &mut Session<'_>, _: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        let codes = Rc::clone(&self.0);
        let handler = move |s: &mut Stream<'_>| loop {
            match s.read(&mut [0; 100]) {
                Ok(Recv::Data(_)) => {}
                Ok(Recv::Pending) => return Ok(Progress::Pending),
                Ok(Recv::Finished) => return Ok(Progress::Done),
                Err(error) => {
                    if let StreamError::Reset(code) = error {
                        codes.borrow_mut().push(code.0);
                    }
                    return Err(Error::from(error));
                }
            }
        };
        Ok(Some(Box::new(handler)))
    }
}

fn resets_right_behind_headers(bidi: bool) {
    let handler = NoteResets::default();
    let codes = Rc::clone(&handler.0);
    let router = Router::new().webtransport("/wt", move |req| req.accept(handler.clone()));
    let options = Options { router, ..options(Network::default()) };
    let mut client = Client::open(options, "/wt", &[DRAFT02]);
    for n in 0..20 {
        let id = open(&mut client, bidi, false);
        // The header is in a packet of its own, which waits at the server when the reset comes.
        client.sim.client_turn();
        let code = ErrorCode::webtransport(n).0;
        client.sim.client.stream_shutdown(id, quiche::Shutdown::Write, code).expect("an open stream");
        client.sim.client_turn();
        assert!(client.sim.to_server.len() >= 2, "two packets");
        client.sim.step();
    }
    client.within(SOON, |_| codes.borrow().len() == 20);
    assert_eq!(client.sim.server.stats().session_streams_in, 20);
    let sent: Vec<u64> = (0..20).map(|n| ErrorCode::webtransport(n).0).collect();
    assert_eq!(*codes.borrow(), sent);
}

#[test]
fn a_bidirectional_stream_is_seen_though_its_reset_comes_in_the_same_turn() {
    // S3
    resets_right_behind_headers(true);
}

#[test]
fn a_unidirectional_stream_is_seen_though_its_reset_comes_in_the_same_turn() {
    // S3
    resets_right_behind_headers(false);
}

/// Sends this many DRAIN capsules for a datagram.
struct Drains(usize);

impl SessionHandler for Drains {
    fn datagram(&mut self, s: &mut Session<'_>, _: Bytes) -> Result<()> {
        for _ in 0..self.0 {
            s.drain();
        }
        Ok(())
    }
}

/// A session whose server has this many capsules to send, of which the client accepts 1000 bytes.
fn with_capsules_that_wait(count: usize) -> Client {
    let router = Router::new().webtransport("/wt", move |req| req.accept(Drains(count)));
    let client = |config: &mut quiche::Config| {
        config.enable_dgram(true, 100, 100);
        config.set_initial_max_stream_data_bidi_local(1000);
    };
    let options = Options { router, client: Box::new(client), ..with_server(|_| {}) };
    let mut client = Client::open(options, "/wt", &[DRAFT02]);
    client.sim.client.dgram_send(&crate::wire::datagram::build(0, b"drain")).expect("room for a datagram");
    for _ in 0..50 {
        client.pass_time();
    }
    client
}

/// Nothing is left of the session, and a shutdown closes the connection soon.
fn assert_forgotten(client: &mut Client) {
    client.within(SOON, |c| c.server_streams() == 0);
    assert_eq!((client.server_streams(), client.sim.server.session_count()), (0, 0));
    client.sim.server.shutdown();
    let began = net::now();
    client.within(SOON, |c| c.sim.server.is_shut_down());
    assert!(client.sim.server.is_shut_down(), "the shutdown has not ended after {:?}", elapsed(began));
}

#[test]
fn a_session_that_is_failed_while_capsules_wait_leaves_nothing_behind() {
    // S4: more than the server queues for a peer that does not read, so the session fails.
    let mut client = with_capsules_that_wait(8000);
    assert_eq!(client.connect_reset(), Some(ErrorCode::H3_EXCESSIVE_LOAD.0));
    // Fails when the stop that came with the reset has reset it already.
    let _ = client.sim.client.stream_shutdown(0, quiche::Shutdown::Write, ErrorCode::H3_REQUEST_CANCELLED.0);
    assert_forgotten(&mut client);
}

#[test]
fn a_session_that_the_peer_closes_while_capsules_wait_leaves_nothing_behind() {
    // S4
    let mut client = with_capsules_that_wait(1000);
    let mut close = Vec::new();
    capsule::put_close(&mut close, 7, "enough");
    let mut frame = vec![0, close.len() as u8];
    frame.extend_from_slice(&close);
    assert_eq!(client.sim.client.stream_send(0, &frame, true), Ok(frame.len()));
    for _ in 0..20 {
        client.pass_time();
    }
    // From here on the client reads.
    client.within(SOON, |c| c.is_whole(0));
    assert!(client.is_whole(0), "the server's end of the CONNECT stream");
    assert_forgotten(&mut client);
}

/// Notes its session's id.
#[derive(Clone, Default)]
struct NoteId(Rc<Cell<Option<StreamId>>>);

impl SessionHandler for NoteId {
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        self.0.set(Some(s.id()));
        Ok(())
    }

    fn stream(&mut self, _: &mut Session<'_>, _: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        // The handler has it, and leaves it open.
        Ok(None)
    }
}

/// A session, and its id at the server.
fn known_session(set: impl Fn(&mut ServerConfig) + 'static) -> (Client, StreamId) {
    let handler = NoteId::default();
    let id = Rc::clone(&handler.0);
    let router = Router::new().webtransport("/wt", move |req| req.accept(handler.clone()));
    let client = Client::open(Options { router, ..with_server(set) }, "/wt", &[DRAFT02]);
    (client, id.get().expect("it has opened"))
}

#[test]
fn a_session_in_which_only_the_server_sends_datagrams_is_not_idle() {
    // S8
    const IDLE: Duration = Duration::from_millis(1200);
    let (mut client, id) = known_session(|config| config.webtransport.idle_timeout = Some(IDLE));
    for n in 0..24_u8 {
        if let Some(mut session) = client.sim.server.session(net::now(), id) {
            session.send_datagram(&[n]).expect("room for a datagram");
        }
        client.go_on(IDLE / 12);
    }
    assert_eq!(client.capsules(), []);
    assert_eq!((client.datagrams.len(), client.sim.server.session_count()), (24, 1));
}

#[test]
fn releasing_an_open_session_closes_it() {
    // S9
    let (mut client, id) = known_session(|_| {});
    let (bidi, uni) = (client.stream(true, b"open", false), client.stream(false, b"open", false));
    client.run_until("the streams", |c| c.sim.server.stats().session_streams_in == 2);
    client.sim.server.release(net::now(), id);
    client.within(SOON, |c| c.is_whole(0) && c.resets.contains_key(&bidi));
    assert_eq!((client.is_whole(0), client.resets.get(&0)), (true, None), "a clean end");
    let clean = Capsule::Close { code: 0, reason: String::new() };
    assert!(client.capsules().iter().all(|capsule| *capsule == clean), "{:?}", client.capsules());
    assert_eq!(client.resets.get(&bidi), Some(&ErrorCode::WT_SESSION_GONE.0));
    let stopped = Err(quiche::Error::StreamStopped(ErrorCode::WT_SESSION_GONE.0));
    assert_eq!(client.sim.client.stream_send(uni, b"more", false), stopped);
    client.write(0, b"", true);
    client.within(SOON, |c| c.server_streams() == 0);
    assert_eq!((client.sim.server.session_count(), client.server_streams()), (0, 0));
}

#[test]
fn a_client_that_offers_only_datagrams_gets_its_session() {
    // S11: SETTINGS of webtransport-go 0.9, which has H3_DATAGRAM and nothing else.
    let mut client = Client::ask(options(Network::default()), "/wt/echo", &[], &[]);
    client.within(SOON, |c| c.sim.server.stats().sessions_opened == 1 || c.resets.contains_key(&0));
    assert_eq!(client.resets.get(&0), None, "the code of a refusal");
    assert_eq!(client.sim.server.session_count(), 1);
    let id = client.stream(true, b"hello", true);
    assert!(client.within(SOON, |c| c.is_whole(id)), "an echo");
    assert_eq!(client.bytes(id), b"hello");
}

#[test]
fn the_head_of_an_answer_to_connect_is_the_first_frame() {
    // S12
    let client = Client::open(options(Network::default()), "/wt/echo", &[DRAFT02]);
    let kinds: Vec<u64> = client.frames().iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds.first(), Some(&1), "frames {kinds:#x?}");
}

#[test]
fn capsules_before_the_answer_are_processed_after_it() {
    // S13
    let mut client = Client::ask(options(Network::default()), "/wt/echo", &[DRAFT02], &[]);
    let mut capsules = vec![0, 4];
    capsules.extend_from_slice(b"ping");
    capsule::put_close(&mut capsules, 7, "early");
    client.capsule(&capsules, true);
    assert!(client.within(SOON, |c| c.is_whole(0)), "the end");
    let stats = client.sim.server.stats();
    assert_eq!((stats.capsules_datagram, stats.capsules_close, stats.sessions_closed), (1, 1, 1));
    assert_eq!(client.frames().iter().filter(|(kind, _)| *kind == 1).count(), 1);
}

#[test]
fn a_session_is_refused_with_405_on_a_path_without_sessions() {
    // S13
    let mut sim = Sim::new(options(Network::default()));
    sim.run_until("the handshake", |sim| sim.client.is_established());
    let mut config = h3::Config::new().expect("a configuration");
    config.set_additional_settings(vec![DRAFT02]).expect("settings");
    sim.h3 = Some(h3::Connection::with_transport(&mut sim.client, &config).expect("HTTP/3"));
    let mut status = |path| {
        let head = [(":method", "CONNECT"), (":protocol", "webtransport"), (":scheme", "https")];
        let id = sim.send(&[&head[..], &[(":authority", "localhost"), (":path", path)]].concat(), b"");
        sim.within(SOON, |sim| !sim.answers[&id].heads.is_empty());
        sim.answers[&id].status().to_owned()
    };
    assert_eq!(["/nowhere", "/", "/api/users"].map(&mut status), ["404", "405", "405"]);
}

/// Longer than the server waits at least between a close and what aborts streams.
const BUSY: Duration = Duration::from_millis(80);

/// A session whose streams are reset and stopped, and which closes for a datagram.
struct RefusesAndCloses;

impl SessionHandler for RefusesAndCloses {
    fn stream(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        if let Some(mut stream) = s.stream(id) {
            stream.reset(ErrorCode::webtransport(0));
        }
        s.release(id);
        Ok(None)
    }

    fn datagram(&mut self, s: &mut Session<'_>, _: Bytes) -> Result<()> {
        s.close(7, "enough");
        Ok(())
    }
}

fn refuses_and_closes() -> Client {
    let router = Router::new().webtransport("/wt", |req| req.accept(RefusesAndCloses));
    let client = |config: &mut quiche::Config| config.enable_dgram(true, 100, 100);
    Client::open(Options { router, client: Box::new(client), ..with_server(|_| {}) }, "/wt", &[DRAFT02])
}

fn server_goes_on(client: &mut Client) {
    for mut packet in std::mem::take(&mut client.sim.to_server) {
        client.sim.server.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
    }
    client.sim.server_turn();
}

/// The server goes on while the client does nothing, as a browser on a busy machine. The client receives afterwards all
/// that was sent meanwhile.
fn client_is_busy(client: &mut Client) {
    client.sim.client_turn();
    let until = net::now() + BUSY;
    while net::now() < until {
        server_goes_on(client);
        std::thread::sleep(Duration::from_millis(1));
    }
    for mut packet in std::mem::take(&mut client.sim.to_client) {
        let info = quiche::RecvInfo { from: addr(SERVER), to: addr(CLIENT) };
        client.sim.client.recv(&mut packet, info).expect("a packet of the server");
    }
    client.take_in();
}

#[test]
fn a_close_waits_until_resets_before_it_have_arrived() {
    let mut client = refuses_and_closes();
    let id = client.stream(true, b"refused", false);
    client.sim.client.dgram_send(&crate::wire::datagram::build(0, b"close")).expect("room for a datagram");
    client_is_busy(&mut client);
    assert!(client.resets.contains_key(&id), "the reset");
    assert_eq!(client.capsules(), [], "in the flights of the reset");
    assert!(client.within(SOON, |c| c.is_whole(0)), "the end");
    assert_eq!(client.capsules(), [Capsule::Close { code: 7, reason: "enough".to_owned() }]);
}

#[test]
fn nothing_follows_a_close_until_it_has_arrived() {
    let mut client = refuses_and_closes();
    client.sim.client.dgram_send(&crate::wire::datagram::build(0, b"close")).expect("room for a datagram");
    client.sim.client_turn();
    server_goes_on(&mut client);
    // A stream that arrives after the server has closed.
    let late = client.stream(false, b"late", false);
    client_is_busy(&mut client);
    assert_eq!(client.capsules(), [Capsule::Close { code: 7, reason: "enough".to_owned() }]);
    assert!(!client.is_whole(0), "the end in the flights of the close");
    assert_eq!(client.sim.client.stream_send(late, b"more", false), Ok(4), "a stop in the flights of the close");
    assert!(client.within(SOON, |c| c.is_whole(0)), "the end");
    let stopped = Err(quiche::Error::StreamStopped(ErrorCode::WT_SESSION_GONE.0));
    assert!(client.within(SOON, |c| c.sim.client.stream_send(late, b"x", false) == stopped), "a stop");
}
