//! WebTransport over the seeded network. The client is quiche's, with streams and capsules written by hand.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::config::Drafts;
use crate::error::ErrorCode;
use crate::wire::capsule::{self, Capsule, Decoder};
use crate::wire::{datagram, varint};

/// The SETTINGS of a client with WebTransport.
pub(super) const DRAFT02: (u64, u64) = (0x2b60_3742, 1);

/// A client with a session on stream 0.
pub(super) struct Client {
    pub(super) sim: Sim,
    pub(super) next_bidi: u64,
    pub(super) next_uni: u64,
    /// Data received on each stream of the session, and whether it has ended.
    pub(super) got: BTreeMap<u64, (Vec<u8>, bool)>,
    pub(super) resets: BTreeMap<u64, u64>,
    pub(super) datagrams: BTreeSet<Vec<u8>>,
}

pub(super) fn options(network: Network) -> Options {
    Options {
        network,
        server: Box::new(|config| {
            config.webtransport.enabled = true;
            config.webtransport.max_streams = 100;
            config.webtransport.linger = Duration::from_millis(300);
        }),
        client: Box::new(|config| config.enable_dgram(true, 100, 100)),
        ..Options::default()
    }
}

impl Client {
    pub(super) fn open(options: Options, path: &str, settings: &[(u64, u64)]) -> Self {
        let mut client = Self::ask(options, path, settings, &[]);
        // A field section of one static entry: `:status: 200`, after GREASE frames.
        const STATUS_200: u8 = 0xc0 | 25;
        client.run_until("the answer", |c| {
            c.frames().iter().any(|(kind, head)| *kind == 1 && head.contains(&STATUS_200))
        });
        client
    }

    /// Requests a session, with further fields.
    pub(super) fn ask(options: Options, path: &str, settings: &[(u64, u64)], fields: &[(&str, &str)]) -> Self {
        let mut sim = Sim::new(options);
        sim.run_until("the handshake", |sim| sim.client.is_established());
        let mut config = h3::Config::new().expect("a configuration");
        config.set_additional_settings(settings.to_vec()).expect("settings");
        let before = sim.client.peer_streams_left_uni();
        let mut h3 = h3::Connection::with_transport(&mut sim.client, &config).expect("HTTP/3");
        let opened = before - sim.client.peer_streams_left_uni();
        let head = [(":method", "CONNECT"), (":protocol", "webtransport"), (":scheme", "https")];
        let list = [&head[..], &[(":authority", "localhost"), (":path", path)], fields].concat();
        let list: Vec<_> = list.iter().map(|(n, v)| h3::Header::new(n.as_bytes(), v.as_bytes())).collect();
        assert_eq!(h3.send_request(&mut sim.client, &list, false), Ok(0));
        // quiche::h3 would read the session's streams, so it is not polled any more.
        let (got, resets, datagrams) = Default::default();
        Client { sim, next_bidi: 4, next_uni: 2 + 4 * opened, got, resets, datagrams }
    }

    /// The frames received on the CONNECT stream.
    pub(super) fn frames(&self) -> Vec<(u64, &[u8])> {
        let mut bytes = self.got.get(&0).map_or(&[][..], |(bytes, _)| bytes);
        let mut frames = Vec::new();
        while let Some((kind, n)) = varint::read(bytes) {
            let Some((len, m)) = varint::read(&bytes[n..]) else { break };
            let Some(payload) = bytes.get(n + m..n + m + len as usize) else { break };
            frames.push((kind, payload));
            bytes = &bytes[n + m + len as usize..];
        }
        frames
    }

    /// Opens a stream of the session, once there is credit for it, and sends its first bytes.
    pub(super) fn stream(&mut self, bidi: bool, data: &[u8], fin: bool) -> u64 {
        self.run_until("stream credit", |c| match bidi {
            true => c.sim.client.peer_streams_left_bidi() > 0,
            false => c.sim.client.peer_streams_left_uni() > 0,
        });
        let next = if bidi { &mut self.next_bidi } else { &mut self.next_uni };
        let id = std::mem::replace(next, *next + 4);
        let mut bytes = Vec::new();
        varint::put(&mut bytes, if bidi { 0x41 } else { 0x54 });
        bytes.push(0);
        bytes.extend_from_slice(data);
        self.write(id, &bytes, fin);
        id
    }

    pub(super) fn write(&mut self, id: u64, mut data: &[u8], fin: bool) {
        loop {
            match self.sim.client.stream_send(id, data, fin) {
                Ok(n) if n == data.len() => return,
                Ok(n) => data = &data[n..],
                Err(quiche::Error::Done) => {}
                Err(e) => panic!("stream {id}: {e}"),
            }
            let mut before = Some(());
            self.run_until("room", |_| before.take().is_none());
        }
    }

    /// Sends a capsule in a DATA frame on the CONNECT stream.
    pub(super) fn capsule(&mut self, capsule: &[u8], fin: bool) {
        let mut frame = vec![0];
        varint::put(&mut frame, capsule.len() as u64);
        frame.extend_from_slice(capsule);
        self.write(0, &frame, fin);
    }

    /// The capsules received on the CONNECT stream.
    pub(super) fn capsules(&self) -> Vec<Capsule> {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for (_, mut payload) in self.frames().into_iter().filter(|(kind, _)| *kind == 0) {
            while let Some(capsule) = decoder.next(&mut payload).expect("a capsule") {
                found.push(capsule);
            }
        }
        found
    }

    pub(super) fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Client) -> bool) {
        let deadline = net::now() + TIMEOUT;
        loop {
            self.take_in();
            if done(self) {
                return;
            }
            let open: Vec<_> = self.got.iter().filter(|(_, (_, fin))| !fin).map(|(id, _)| id).collect();
            assert!(net::now() < deadline, "{what} took too long; {:?}; open {open:?}", self.sim.network);
            assert!(
                !self.sim.client.is_closed(),
                "closed while waiting for {what}: {:?}",
                self.sim.client.peer_error()
            );
            if !self.sim.step() {
                self.sim.sleep();
            }
        }
    }

    pub(super) fn take_in(&mut self) {
        let mut buf = [0; 4096];
        for id in self.sim.client.readable() {
            // Control and QPACK streams of the server.
            if id & 3 == 3 && id < 19 {
                continue;
            }
            let (bytes, all) = self.got.entry(id).or_default();
            loop {
                match self.sim.client.stream_recv(id, &mut buf) {
                    Ok((n, fin)) => {
                        bytes.extend_from_slice(&buf[..n]);
                        *all |= fin;
                    }
                    Err(quiche::Error::StreamReset(code)) => {
                        self.resets.insert(id, code);
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
        while let Ok(frame) = self.sim.client.dgram_recv_buf() {
            let (flow, payload) = datagram::parse(frame.into()).expect("a datagram");
            assert_eq!(flow, 0);
            self.datagrams.insert(payload.to_vec());
        }
    }

    pub(super) fn is_whole(&self, id: u64) -> bool {
        self.got.get(&id).is_some_and(|(_, all)| *all)
    }

    pub(super) fn bytes(&self, id: u64) -> &[u8] {
        &self.got[&id].0
    }

    /// The data of the server's unidirectional streams of the session, sorted.
    pub(super) fn answers(&self) -> Vec<Vec<u8>> {
        let uni = self.got.iter().filter(|(id, _)| **id & 3 == 3);
        let mut answers: Vec<_> =
            uni.map(|(_, (bytes, _))| bytes.strip_prefix(b"\x40\x54\0").expect("header").to_vec()).collect();
        answers.sort();
        answers
    }

    pub(super) fn server_streams(&self) -> usize {
        self.sim.server.stream_count()
    }
}

fn bad_network(seed: u64) -> Network {
    Network { seed, loss: 5, duplicate: 3, reorder: 10 }
}

#[test]
fn everything_comes_back_whatever_the_network_does() {
    for seed in 1..=6 {
        let mut client = Client::open(options(bad_network(seed)), "/wt/echo?open=2", &[DRAFT02]);
        let streams: Vec<u64> = (0..60).map(|n| client.stream(true, &payload(n * 97), true)).collect();
        let unis: Vec<Vec<u8>> = (0..30).map(|n| format!("uni {n:02} {}", "u".repeat(n * 50)).into_bytes()).collect();
        for data in &unis {
            client.stream(false, data, true);
        }
        client.run_until("all echoes", |c| streams.iter().all(|id| c.is_whole(*id)));
        for (n, id) in streams.iter().enumerate() {
            assert_eq!(client.bytes(*id), payload(n * 97), "stream {id}");
        }
        client.run_until("all answers", |c| c.got.iter().filter(|(id, (_, all))| **id & 3 == 3 && *all).count() == 30);
        assert_eq!(client.answers(), unis);
        for (id, greeting) in [(1, "server stream 0\n"), (5, "server stream 1\n")] {
            client.write(id, b"hello", true);
            client.run_until("the echo on a server's stream", |c| c.is_whole(id));
            assert_eq!(client.bytes(id), format!("\x40\x41\0{greeting}hello").as_bytes());
        }
        client.run_until("datagrams", |c| {
            let _ = c.sim.client.dgram_send(&datagram::build(0, b"ping"));
            c.datagrams.contains(&b"ping"[..])
        });
        let mut close = Vec::new();
        capsule::put_close(&mut close, 77, "enough");
        client.capsule(&close, true);
        client.run_until("the end", |c| c.is_whole(0));
        client.run_until("nothing left behind", |c| c.server_streams() == 0);
        let stats = client.sim.server.stats();
        assert_eq!((stats.sessions_opened, stats.sessions_closed, stats.capsules_close), (1, 1, 1));
        assert_eq!((stats.session_streams_in, stats.session_streams_out), (90, 32));
        let per_session = client.sim.server.distributions().session_streams;
        assert_eq!((per_session.count(), per_session.sum()), (1, 90 + 32));
        assert_eq!(client.sim.server.session_count(), 0);
    }
}

#[test]
fn a_lost_end_that_stands_alone_is_sent_again() {
    for seed in 1..=10 {
        let network = Network { seed, loss: 25, ..Network::default() };
        let mut client = Client::open(options(network), "/wt/echo", &[DRAFT02]);
        let streams: Vec<u64> = (0..20).map(|n| client.stream(true, &payload(10 + n), false)).collect();
        // The echo is in flight or acknowledged when the FIN is written.
        client.run_until("echoes", |c| streams.iter().all(|id| c.got.get(id).is_some_and(|(b, _)| b.len() >= 10)));
        for &id in &streams {
            client.write(id, b"", true);
        }
        client.run_until("every end", |c| streams.iter().all(|id| c.is_whole(*id)));
    }
}

#[test]
fn stream_credit_comes_back() {
    let mut client = Client::open(options(Network::default()), "/wt/echo", &[DRAFT02]);
    for n in 0..300u32 {
        client.stream(true, &n.to_be_bytes(), true);
        client.stream(false, &n.to_be_bytes(), true);
        let reset = client.stream(true, b"given up", false);
        client.sim.step();
        let _ = client.sim.client.stream_shutdown(reset, quiche::Shutdown::Write, ErrorCode::webtransport(n).0);
        let _ = client.sim.client.stream_shutdown(reset, quiche::Shutdown::Read, ErrorCode::webtransport(n).0);
    }
    client.run_until("all answers", |c| c.got.iter().filter(|(id, (_, all))| **id & 3 == 3 && *all).count() == 300);
    assert_eq!(client.sim.server.stats().session_streams_in, 900);
    client.run_until("nothing left behind", |c| c.server_streams() == 1);
}

/// A FIN of its own would cost a round trip, and quiche 0.30 loses it when a copy of the bytes is acknowledged after it.
#[test]
fn an_end_in_the_turn_of_the_last_bytes_comes_with_them() {
    let mut client = Client::open(options(Network::default()), "/wt/echo", &[DRAFT02]);
    client.stream(false, b"all of it", true);
    let answer = |c: &Client| c.got.iter().find(|(_, (bytes, _))| bytes.ends_with(b"all of it")).map(|(_, got)| got.1);
    client.run_until("the bytes", |c| answer(c).is_some());
    assert_eq!(answer(&client), Some(true));
}

#[test]
fn flow_control_of_sessions_is_obeyed_and_granted() {
    let mut options = options(bad_network(7));
    options.server = Box::new(|config| {
        config.webtransport.enabled = true;
        config.webtransport.drafts = Drafts::All;
        config.webtransport.initial_max_data = 1000;
        config.webtransport.max_session_streams = 4;
    });
    // The client allows 300 bytes, one bidirectional stream and no unidirectional one.
    let settings = [DRAFT02, (0x2b61, 300), (0x2b65, 1), (0x2b64, 0)];
    let mut client = Client::open(options, "/wt/echo?open=2", &settings);
    let id = client.stream(true, &payload(800), true);
    client.run_until("as much as we allow", |c| {
        c.got.get(&id).map_or(0, |(b, _)| b.len()) + c.got.get(&1).map_or(0, |(b, _)| b.len().saturating_sub(3)) == 300
    });
    client.run_until("what the server asks for", |c| c.capsules().contains(&Capsule::DataBlocked));
    let granted = client.capsules();
    assert!(granted.contains(&Capsule::MaxData(1800)), "{granted:?}");
    assert!(granted.contains(&Capsule::StreamsBlocked), "{granted:?}");
    assert!(!client.got.contains_key(&5), "only one stream of the server's");
    let mut more = Vec::new();
    capsule::put_max_data(&mut more, 5000);
    capsule::put_max_streams(&mut more, true, 2);
    client.capsule(&more, false);
    client.run_until("the rest", |c| c.is_whole(id) && c.got.contains_key(&5));
    assert_eq!(client.bytes(id), payload(800));
    // Four streams at a time are allowed, and one has ended: MAX_STREAMS grows as they end.
    for _ in 0..20 {
        let id = client.stream(true, b"x", true);
        client.run_until("an echo", |c| c.is_whole(id));
    }
    let streams = client.capsules().into_iter().filter(|c| matches!(c, Capsule::MaxStreams { bidi: true, .. })).count();
    assert!(streams >= 5, "{streams} MAX_STREAMS capsules");
    // A limit that shrinks is an error of the session.
    let mut less = Vec::new();
    capsule::put_max_data(&mut less, 4999);
    client.capsule(&less, false);
    client.run_until("the reset", |c| c.resets.contains_key(&0));
    assert_eq!(client.resets[&0], ErrorCode::WT_FLOW_CONTROL_ERROR.0);
}

#[test]
fn more_data_than_a_session_may_send_ends_it() {
    let mut options = options(Network::default());
    options.server = Box::new(|config| {
        config.webtransport.enabled = true;
        config.webtransport.drafts = Drafts::All;
        config.webtransport.initial_max_data = 1000;
    });
    let settings = [DRAFT02, (0x2b61, 1 << 20), (0x2b65, 10), (0x2b64, 10)];
    // The server reads nothing for a while, so it grants nothing.
    let mut client = Client::open(options, "/wt/hash?pause=20000", &settings);
    client.stream(true, &payload(1000), false);
    client.run_until("the stream", |c| c.sim.server.stats().session_streams_in == 1);
    client.stream(true, b"x", false);
    // Nothing more comes from the client.
    client.run_until("the reset", |c| c.resets.contains_key(&0));
    assert_eq!(client.resets[&0], ErrorCode::WT_FLOW_CONTROL_ERROR.0);
}

#[test]
fn a_connection_that_has_only_had_sessions_is_closed() {
    let mut client = Client::open(options(Network::default()), "/wt/echo", &[DRAFT02]);
    client.write(0, b"", true);
    client.run_until("the end", |c| c.is_whole(0));
    client.run_until("the close", |c| c.sim.client.peer_error().is_some());
    let error = client.sim.client.peer_error().expect("an error");
    assert_eq!((error.is_app, error.error_code, &*error.reason), (true, 0x100, &b"no session left"[..]));
}

#[test]
fn a_session_without_traffic_is_closed() {
    let mut options = options(Network::default());
    options.server = Box::new(|config| {
        config.webtransport.enabled = true;
        config.webtransport.idle_timeout = Some(Duration::from_millis(300));
    });
    let began = net::now();
    let mut client = Client::open(options, "/wt/echo", &[DRAFT02]);
    client.run_until("the end", |c| c.is_whole(0));
    assert!(elapsed(began) >= Duration::from_millis(300));
    let close = Capsule::Close { code: 0, reason: "idle timeout".to_owned() };
    assert_eq!(client.capsules(), [close]);
}

#[test]
fn a_shutdown_drains_sessions_and_closes_them() {
    let mut client = Client::open(options(Network::default()), "/wt/echo", &[DRAFT02]);
    client.sim.server.shutdown();
    client.run_until("the DRAIN capsule", |c| c.capsules() == [Capsule::Drain]);
    let id = client.stream(true, b"still works", true);
    client.run_until("an echo", |c| c.is_whole(id));
    client.sim.server.close_sessions(net::now(), 9, "shutting down");
    client.run_until("the end", |c| c.is_whole(0));
    let close = Capsule::Close { code: 9, reason: "shutting down".to_owned() };
    assert_eq!(client.capsules(), [Capsule::Drain, close]);
    client.write(0, b"", true);
    client.run_until("the close of the connection", |c| c.sim.client.peer_error().is_some());
    assert!(client.sim.server.is_shut_down());
}
