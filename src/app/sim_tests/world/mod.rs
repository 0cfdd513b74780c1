//! Servers, clients and peers, each at its own address, on a [`Network`] driven by a seed.
//!
//! ```ignore
//! let mut world = World::new(seed, Link { loss: 5, ..Link::LAN });
//! let peer = world.peer(|_| {});
//! let id = world.peers[peer].get("/stream/100000");
//! world.run_until("the answer", |world| world.peers[peer].is_through());
//! assert!(world.peers[peer].answers[&id].body == payload(100_000));
//! ```

mod client;
mod clients;
mod idle;
mod impairments;
mod moves;
mod network;
mod peer;
mod sessions;
mod sharing;
mod socket;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::{SERVER, TIMEOUT, addr, payload, server_config};
use crate::app::Router;
use crate::app::demo;
use crate::app::serving::App;
use crate::config::{ClientConfig, ServerConfig};
use crate::endpoint::Endpoint;
use crate::net;
use crate::turn::turn;
use client::Client;
use network::{Link, Network};
use peer::Peer;
use socket::{Full, Socket};

/// How many seeds each test runs with: `SIM_SEEDS`, or a few.
fn seeds() -> RangeInclusive<u64> {
    let count = std::env::var("SIM_SEEDS").ok().map(|count| count.parse().expect("SIM_SEEDS is a number"));
    1..=count.unwrap_or(2)
}

struct Server {
    endpoint: Endpoint,
    app: App,
    socket: Socket,
}

impl Server {
    fn new(addr: SocketAddr, router: Router, change: impl Fn(&mut ServerConfig)) -> Self {
        let mut config = server_config();
        change(&mut config);
        config.webtransport.enabled |= router.has_sessions();
        let endpoint = Endpoint::server(config, net::now(), net::wall_clock()).expect("an endpoint");
        Server { endpoint, app: App::new(router, vec!["*".to_owned()], || {}), socket: Socket::new(addr) }
    }
}

struct World {
    seed: u64,
    /// The link of every client and peer.
    link: Link,
    network: Network,
    servers: Vec<Server>,
    clients: Vec<Client>,
    peers: Vec<Peer>,
    /// Servers and our clients get no processor for up to this time after each turn.
    naps: Duration,
}

impl World {
    /// A world with one server of the demo's routes, whose own link is perfect. All other hosts have `link`.
    fn new(seed: u64, link: Link) -> Self {
        Self::with(seed, link, |_| {})
    }

    /// As [`new`](World::new), with settings for the server.
    fn with(seed: u64, link: Link, change: impl Fn(&mut ServerConfig)) -> Self {
        // Shown when the test fails.
        eprintln!("seed {seed}: {link:?}");
        let network = Network::new(seed);
        let (servers, clients, peers) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = World { seed, link, network, servers, clients, peers, naps: Duration::ZERO };
        world.server(SERVER, demo::router(None).expect("routes"), change);
        world
    }

    /// Adds a server.
    fn server(&mut self, at: &str, router: Router, change: impl Fn(&mut ServerConfig)) -> usize {
        self.network.attach(addr(at), Link::PERFECT);
        self.servers.push(Server::new(addr(at), router, change));
        self.servers.len() - 1
    }

    /// Adds a client of quiche, which connects to the first server, and waits for its handshake.
    fn peer(&mut self, change: impl Fn(&mut quiche::Config)) -> usize {
        let index = self.begin_peer(change);
        self.run_until("the handshake", |world| world.peers[index].h3.is_some());
        index
    }

    /// As [`peer`](World::peer), without its handshake.
    fn begin_peer(&mut self, change: impl Fn(&mut quiche::Config)) -> usize {
        let at = self.next_addr();
        self.network.attach(at, self.link);
        self.peers.push(Peer::new(self.seed, at, self.servers[0].socket.addr, change));
        self.peers.len() - 1
    }

    /// Adds our client. `localhost` is the first server, unless its `hosts` are changed.
    fn client(&mut self, change: impl Fn(&mut ClientConfig)) -> usize {
        let at = self.next_addr();
        self.network.attach(at, self.link);
        let mut client = Client::new(at, change);
        client.hosts.insert("localhost".to_owned(), vec![self.servers[0].socket.addr]);
        self.clients.push(client);
        self.clients.len() - 1
    }

    /// Moves our client to another port, and closes the one before. False if it has no connection id for that.
    fn migrate(&mut self, client: usize) -> bool {
        let Client { endpoint, core, socket, .. } = &mut self.clients[client];
        if core.can_migrate(endpoint).is_err() {
            return false;
        }
        self.network.detach(socket.addr);
        socket.addr.set_port(socket.addr.port() + 1);
        self.network.attach(socket.addr, self.link);
        core.migrate(socket.addr, endpoint);
        true
    }

    fn next_addr(&self) -> SocketAddr {
        let number = self.peers.len() + self.clients.len();
        SocketAddr::from(([192, 0, 2, 100 + number as u8], 5000))
    }

    /// One turn of all hosts. Returns when the next one is due.
    fn step(&mut self) -> Option<Instant> {
        let now = net::now();
        while let Some((host, flight)) = self.network.deliver(now) {
            let packet = (flight.from, flight.data);
            let mut sockets = self.servers.iter_mut().map(|server| &mut server.socket);
            if let Some(socket) = sockets.find(|socket| socket.addr == host) {
                socket.inbox.push_back(packet);
            } else if let Some(client) = self.clients.iter_mut().find(|client| client.socket.addr == host) {
                client.socket.inbox.push_back(packet);
            } else if let Some(peer) = self.peers.iter_mut().find(|peer| peer.addr == host) {
                peer.inbox.push_back(packet);
            }
        }
        let mut next = Vec::new();
        for Server { endpoint, app, socket } in &mut self.servers {
            if let Some(until) = socket.asleep_until(now) {
                next.push(Some(until));
                continue;
            }
            turn(now, socket, endpoint, app).expect("no socket that fails");
            for (to, data) in socket.outbox.drain(..) {
                self.network.send(now, socket.addr, to, data);
            }
            socket.sleep(self.network.part(self.naps));
            next.push(socket.wake_at(now, endpoint, None));
        }
        for client in &mut self.clients {
            if let Some(until) = client.socket.asleep_until(now) {
                next.push(Some(until));
                continue;
            }
            let until = client.turn(now);
            for (to, data) in client.socket.outbox.drain(..) {
                self.network.send(now, client.socket.addr, to, data);
            }
            client.socket.sleep(self.network.part(self.naps));
            next.push(client.socket.wake_at(now, &client.endpoint, until));
        }
        for peer in &mut self.peers {
            for (to, data) in peer.turn() {
                self.network.send(now, peer.addr, to, data);
            }
            next.push(peer.wake_at());
        }
        next.push(self.network.next_arrival());
        next.into_iter().flatten().min()
    }

    /// Lets time and packets pass until `done`.
    fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut World) -> bool) {
        let deadline = net::now() + TIMEOUT;
        while !done(self) {
            let (seed, link, counts) = (self.seed, self.link, &self.network.counts);
            assert!(net::now() < deadline, "{what} took too long; seed {seed}, {link:?}, {counts:?}");
            for peer in &self.peers {
                let (ours, theirs) = (peer.quic.local_error(), peer.quic.peer_error());
                assert!(!peer.quic.is_closed(), "closed while waiting for {what}: {ours:?} {theirs:?}; seed {seed}");
            }
            let next = self.step();
            let wait = next.map(|at| at.saturating_duration_since(net::now())).unwrap_or_default();
            if !wait.is_zero() {
                std::thread::sleep(wait.min(Duration::from_millis(20)));
            }
        }
    }

    /// Lets time and packets pass for a while.
    fn run_for(&mut self, time: Duration) {
        let until = net::now() + time;
        self.run_until("the time", |_| net::now() >= until);
    }
}
