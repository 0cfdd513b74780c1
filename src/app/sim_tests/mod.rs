//! The whole server without a socket: quiche's client, a network that loses, doubles and reorders by a seed, and the
//! endpoint with the demo's handlers. quiche reads the real clock, so time passes for real, a few milliseconds a loss.

mod bodies;
mod budgets;
mod certificates;
mod client;
mod errors;
mod faults;
mod handles;
mod later;
mod limits;
mod metrics;
mod offload;
mod overload;
mod panics;
mod requests;
mod sessions;
mod topics;
mod world;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quiche::h3::{self, NameValue};

use super::cert::DevCert;
use super::serving::App;
use super::{Router, demo};
use crate::config::{ClientConfig, ServerConfig};
use crate::endpoint::Endpoint;
use crate::net;
use crate::turn::{DatagramIo, turn};

const CLIENT: &str = "192.0.2.1:5000";
const SERVER: &str = "192.0.2.2:4433";
/// Time limit for whatever has to happen, on a busy machine, too. Tests of shorter limits set them.
const TIMEOUT: Duration = Duration::from_secs(120);

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// xorshift64*: the same numbers for the same seed.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// True in `percent` of 100 cases.
    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Network {
    seed: u64,
    loss: u64,
    duplicate: u64,
    reorder: u64,
}

/// The response on one request stream.
#[derive(Default, Debug)]
struct Answer {
    heads: Vec<Vec<(String, String)>>,
    body: Vec<u8>,
    finished: bool,
    reset: Option<u64>,
}

impl Answer {
    fn is_over(&self) -> bool {
        self.finished || self.reset.is_some()
    }

    fn status(&self) -> &str {
        self.field(":status").unwrap_or("none")
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.heads.iter().flatten().find(|(n, _)| n == name).map(|(_, v)| &**v)
    }
}

struct Sim {
    server: Endpoint,
    app: App,
    client: quiche::Connection,
    h3: Option<h3::Connection>,
    answers: BTreeMap<u64, Answer>,
    /// Bodies not sent completely: the rest, and whether the FIN follows.
    bodies: BTreeMap<u64, Vec<u8>>,
    /// Reads response bodies as they arrive.
    reading: bool,
    rng: Rng,
    network: Network,
    to_server: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    /// Loses everything to the client, for tests that need to lose a certain packet.
    cut: bool,
}

struct Options {
    network: Network,
    server: Box<dyn Fn(&mut ServerConfig)>,
    client: Box<dyn Fn(&mut quiche::Config)>,
    router: Router,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            network: Network::default(),
            server: Box::new(|_| {}),
            client: Box::new(|_| {}),
            router: demo::router(None).expect("routes"),
        }
    }
}

fn server_config() -> ServerConfig {
    let mut config = ServerConfig::new(vec![DevCert::generate(&[]).expect("a certificate").certificate()]);
    config.handle_signals = false;
    (config.transport.handshake_timeout, config.transport.idle_timeout) = (TIMEOUT, 2 * TIMEOUT);
    config
}

/// The settings of a client of ours.
fn our_client_config() -> ClientConfig {
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    (config.connect_timeout, config.transport.handshake_timeout) = (TIMEOUT, TIMEOUT);
    config.transport.idle_timeout = 2 * TIMEOUT;
    config
}

fn client_config() -> quiche::Config {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).expect("a configuration");
    config.set_application_protos(&[b"h3"]).expect("a protocol");
    config.verify_peer(false);
    config.set_max_idle_timeout(2 * TIMEOUT.as_millis() as u64);
    config.set_initial_max_data(10_000_000);
    config.set_initial_max_stream_data_bidi_local(1_000_000);
    config.set_initial_max_stream_data_bidi_remote(1_000_000);
    config.set_initial_max_stream_data_uni(1_000_000);
    config.set_initial_max_streams_bidi(100);
    config.set_initial_max_streams_uni(100);
    config.set_active_connection_id_limit(4);
    config
}

impl Sim {
    fn new(options: Options) -> Self {
        let Options { network, server, client, router } = options;
        eprintln!("{network:?}");
        let mut settings = server_config();
        server(&mut settings);
        let mut config = client_config();
        client(&mut config);
        let mut rng = Rng::new(network.seed);
        let scid: [u8; 16] = std::array::from_fn(|_| rng.next() as u8);
        let scid = quiche::ConnectionId::from_ref(&scid);
        let client = quiche::connect(Some("localhost"), &scid, addr(CLIENT), addr(SERVER), &mut config);
        Sim {
            server: Endpoint::server(settings, net::now(), net::wall_clock()).expect("an endpoint"),
            app: App::new(router, vec!["*".to_owned()], || {}),
            client: client.expect("a client"),
            h3: None,
            answers: BTreeMap::new(),
            bodies: BTreeMap::new(),
            reading: true,
            rng,
            network,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            cut: false,
        }
    }

    fn connected(options: Options) -> Self {
        let mut sim = Sim::new(options);
        sim.connect();
        sim
    }

    /// Connects, and waits for HTTP/3.
    fn connect(&mut self) {
        self.run_until("the handshake", |sim| sim.client.is_established());
        let config = h3::Config::new().expect("a configuration");
        self.h3 = Some(h3::Connection::with_transport(&mut self.client, &config).expect("HTTP/3"));
    }

    fn get(&mut self, path: &str) -> u64 {
        self.request("GET", path, &[], b"")
    }

    fn post(&mut self, path: &str, body: &[u8]) -> u64 {
        self.request("POST", path, &[], body)
    }

    fn request(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> u64 {
        let mut list = vec![(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
        list.extend(fields);
        self.send(&list, body)
    }

    /// Sends a head, without an end.
    fn open(&mut self, method: &str, path: &str) -> u64 {
        let list = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
        let list = list.map(|(n, v)| h3::Header::new(n.as_bytes(), v.as_bytes()));
        let h3 = self.h3.as_mut().expect("connected");
        let id = h3.send_request(&mut self.client, &list, false).expect("room for a request");
        self.answers.insert(id, Answer::default());
        id
    }

    /// Sends any field section.
    fn send(&mut self, list: &[(&str, &str)], body: &[u8]) -> u64 {
        let list: Vec<_> = list.iter().map(|(n, v)| h3::Header::new(n.as_bytes(), v.as_bytes())).collect();
        let h3 = self.h3.as_mut().expect("connected");
        let id = h3.send_request(&mut self.client, &list, body.is_empty()).expect("room for a request");
        self.answers.insert(id, Answer::default());
        if !body.is_empty() {
            self.bodies.insert(id, body.to_vec());
        }
        id
    }

    fn finish_all(&mut self) {
        self.run_until("all answers", |sim| sim.answers.values().all(Answer::is_over));
    }

    /// Lets time and packets pass until `done`.
    fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Sim) -> bool) {
        let deadline = net::now() + TIMEOUT;
        while !done(self) {
            assert!(net::now() < deadline, "{what} took too long; {:?}; {:?}", self.network, self.answers.keys());
            assert!(!self.client.is_closed(), "closed while waiting for {what}: {:?}", self.client.peer_error());
            if !self.step() {
                self.sleep();
            }
        }
    }

    /// One turn of both sides. Returns false if nothing moved.
    fn step(&mut self) -> bool {
        self.client_turn();
        self.server_turn();
        let moved = !(self.to_server.is_empty() && self.to_client.is_empty()) || self.server.has_work();
        for mut packet in std::mem::take(&mut self.to_server) {
            self.server.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
        }
        for mut packet in std::mem::take(&mut self.to_client) {
            let info = quiche::RecvInfo { from: addr(SERVER), to: addr(CLIENT) };
            // Packets that the client rejects show in its responses.
            let _ = self.client.recv(&mut packet, info);
        }
        moved
    }

    /// Sleeps until the next timer.
    fn sleep(&mut self) {
        let server = self.server.next_timeout().map(|at| at.saturating_duration_since(net::now()));
        let wait = [server, self.client.timeout()].into_iter().flatten().min();
        std::thread::sleep(wait.unwrap_or_default().clamp(Duration::from_micros(50), Duration::from_millis(100)));
        if self.client.timeout() == Some(Duration::ZERO) {
            self.client.on_timeout();
        }
    }

    fn server_turn(&mut self) {
        let Sim { server, app, rng, network, to_client, cut, .. } = self;
        let mut io = Wire::new(addr(SERVER), |to, packet| {
            if to == addr(CLIENT) && !*cut {
                pass(network, rng, to_client, packet);
            }
        });
        turn(net::now(), &mut io, server, app).expect("no socket that fails");
    }

    fn client_turn(&mut self) {
        if let Some(h3) = &mut self.h3 {
            poll_answers(&mut self.client, h3, &mut self.answers, self.reading);
            send_bodies(&mut self.client, h3, &mut self.bodies);
        }
        let mut buf = [0; 1500];
        while let Ok((n, _)) = self.client.send(&mut buf) {
            pass(&self.network, &mut self.rng, &mut self.to_server, &buf[..n]);
        }
    }
}

/// Sends bodies as far as credit allows.
fn send_bodies(quic: &mut quiche::Connection, h3: &mut h3::Connection, bodies: &mut BTreeMap<u64, Vec<u8>>) {
    bodies.retain(|&id, rest| {
        match h3.send_body(quic, id, rest, true) {
            Ok(n) => drop(rest.drain(..n)),
            Err(h3::Error::Done) => {}
            // The server stopped it.
            Err(_) => rest.clear(),
        }
        !rest.is_empty()
    });
}

/// Processes responses, and their bodies if `reading`.
fn poll_answers(
    quic: &mut quiche::Connection,
    h3: &mut h3::Connection,
    answers: &mut BTreeMap<u64, Answer>,
    reading: bool,
) {
    while let Ok((id, event)) = h3.poll(quic) {
        let Some(answer) = answers.get_mut(&id) else { continue };
        match event {
            h3::Event::Headers { list, .. } => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                answer.heads.push(list.iter().map(|f| (text(f.name()), text(f.value()))).collect());
            }
            h3::Event::Finished => answer.finished = true,
            h3::Event::Reset(code) => answer.reset = Some(code),
            _ => {}
        }
    }
    if !reading {
        return;
    }
    let mut buf = [0; 16_384];
    for (&id, answer) in answers.iter_mut().filter(|(_, answer)| !answer.is_over()) {
        while let Ok(n) = h3.recv_body(quic, id, &mut buf) {
            answer.body.extend_from_slice(&buf[..n]);
        }
    }
}

/// What an endpoint sends, packet by packet. Received datagrams are passed to it elsewhere.
struct Wire<F> {
    from: SocketAddr,
    send: F,
}

impl<F: FnMut(SocketAddr, &[u8])> Wire<F> {
    fn new(from: SocketAddr, send: F) -> Self {
        Wire { from, send }
    }
}

impl<F: FnMut(SocketAddr, &[u8])> DatagramIo for Wire<F> {
    fn receive(&mut self, _: Instant, _: &mut Endpoint) {}

    fn transmit(&mut self, endpoint: &mut Endpoint) -> io::Result<bool> {
        let mut buf = vec![0; 65_507];
        while let Some(transmit) = endpoint.poll_transmit(net::now(), &mut buf, 64) {
            assert_eq!(transmit.from, self.from);
            for packet in buf[..transmit.len].chunks(transmit.segment) {
                (self.send)(transmit.to, packet);
            }
        }
        Ok(true)
    }
}

fn pass(network: &Network, rng: &mut Rng, queue: &mut VecDeque<Vec<u8>>, packet: &[u8]) {
    if rng.percent(network.loss) {
        return;
    }
    for _ in 0..1 + u64::from(rng.percent(network.duplicate)) {
        match rng.percent(network.reorder) {
            true => queue.push_front(packet.to_vec()),
            false => queue.push_back(packet.to_vec()),
        }
    }
}

/// The content of the demo's `/stream/:bytes`.
fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

fn elapsed(since: Instant) -> Duration {
    net::now() - since
}
