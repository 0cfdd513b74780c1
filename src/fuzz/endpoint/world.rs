//! Both sides, the network between them, and the clock.

use std::time::Duration;

use super::client::Client;
use super::script;
use super::side::{ClientSide, Datagram, Engine, Link, STRANGER, ServerSide, raw_turn};
use crate::app::{App, demo};
use crate::config::{Drafts, RetryPolicy};
use crate::endpoint::Endpoint;
use crate::error::ErrorCode;
use crate::fuzz::input::Input;
use crate::fuzz::peer::{CLIENT, Peer, SERVER};
use crate::fuzz::settings;
use crate::net;

/// Time that a turn takes.
const TURN: Duration = Duration::from_millis(1);

pub(super) struct World<'a> {
    server: ServerSide,
    client: ClientSide,
    to_server: Link,
    to_client: Link,
    advance: &'a dyn Fn(Duration),
    /// A NAT has mapped the client to another port: this many above its own.
    rebound: u16,
    /// Bytes that arrived from the stranger.
    from_stranger: usize,
}

impl<'a> World<'a> {
    /// Two peers, and settings, by the input's first two bytes.
    pub(super) fn new(input: &mut Input<'_>, advance: &'a dyn Fn(Duration)) -> Self {
        let (peers, flags) = (input.byte() % 3, input.byte());
        let is_set = |bit: u8| flags >> bit & 1 != 0;
        let (mut server, mut client) = (settings::server(), settings::client());
        server.webtransport.enabled = !is_set(0);
        if is_set(1) {
            (server.webtransport.drafts, client.webtransport.drafts) = (Drafts::All, Drafts::All);
            (server.webtransport.initial_max_data, client.webtransport.initial_max_data) = (1000, 1000);
        }
        if is_set(2) {
            server.retry = RetryPolicy::On;
        }
        for transport in [&mut server.transport, &mut client.transport] {
            transport.pacing = is_set(3);
            if is_set(4) {
                (transport.initial_max_data, transport.initial_max_stream_data) = (20_000, 2_000);
            }
            if is_set(5) {
                (transport.max_streams_bidi, transport.max_streams_uni) = (3, 4);
            }
            if is_set(6) {
                transport.datagram_queue = None;
            }
        }
        if is_set(7) {
            server.max_request_body = Some(1000);
        }
        let now = net::now();
        let server = match peers {
            2 => ServerSide::Raw(Box::new(Peer::server(server))),
            _ => {
                let app = App::new(demo::router(None).expect("routes"), vec!["*".to_owned()], || {});
                ServerSide::Engine(Box::new(Engine::new(
                    Endpoint::server(server, now, net::wall_clock()).expect("settings"),
                    app,
                )))
            }
        };
        let client = match peers {
            1 => ClientSide::Raw(Box::new(Peer::client(&client))),
            _ => {
                let mut endpoint = Endpoint::client(&client, now).expect("settings");
                let mut app = Client::default();
                app.connect(now, &mut endpoint);
                ClientSide::Engine(Box::new(Engine::new(endpoint, app)))
            }
        };
        let (to_server, to_client) = (Link::default(), Link::default());
        World { server, client, to_server, to_client, advance, rebound: 0, from_stranger: 0 }
    }

    pub(super) fn handshake(&mut self) {
        self.turn();
        self.exchange(6);
    }

    /// Both sides run once.
    fn turn(&mut self) {
        (self.advance)(TURN);
        let now = net::now();
        match &mut self.client {
            ClientSide::Engine(engine) => engine.turn(now, &mut self.to_server),
            ClientSide::Raw(peer) => raw_turn(peer, &mut self.to_server),
        }
        match &mut self.server {
            ServerSide::Engine(engine) => engine.turn(now, &mut self.to_client),
            ServerSide::Raw(peer) => raw_turn(peer, &mut self.to_client),
        }
    }

    /// Delivers everything, so many times.
    fn exchange(&mut self, rounds: usize) {
        for _ in 0..rounds {
            while let Some(datagram) = self.to_server.datagrams.pop_front() {
                self.deliver_to_server(datagram);
            }
            while let Some(datagram) = self.to_client.datagrams.pop_front() {
                self.deliver_to_client(datagram);
            }
            self.turn();
        }
    }

    fn deliver_to_server(&mut self, mut datagram: Datagram) {
        log::debug!("to the server: {} bytes from {}", datagram.bytes.len(), datagram.from);
        if datagram.from == STRANGER {
            self.from_stranger += datagram.bytes.len();
        } else {
            let port = datagram.from.port().wrapping_add(self.rebound);
            datagram.from.set_port(port);
        }
        match &mut self.server {
            ServerSide::Engine(engine) => engine.recv(net::now(), datagram),
            // One path: with two active ones, quiche adds up windows until the sum overflows.
            ServerSide::Raw(peer) => peer.recv(&mut datagram.bytes, CLIENT, SERVER),
        }
    }

    fn deliver_to_client(&mut self, mut datagram: Datagram) {
        log::debug!("to the client: {} bytes to {}", datagram.bytes.len(), datagram.to);
        if datagram.to == STRANGER {
            return;
        }
        let port = datagram.to.port().wrapping_sub(self.rebound);
        datagram.to.set_port(port);
        match &mut self.client {
            ClientSide::Engine(engine) => engine.recv(net::now(), datagram),
            ClientSide::Raw(peer) => peer.recv(&mut datagram.bytes, datagram.from, datagram.to),
        }
    }

    /// One step of the script.
    pub(super) fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0..=5 => self.act(input),
            6 => self.exchange(1),
            7 => self.exchange(4),
            8 => {
                const TIMES: [u64; 8] = [1, 5, 10, 25, 100, 1000, 5000, 31_000];
                (self.advance)(Duration::from_millis(input.choose(&TIMES)));
            }
            9 => self.make_up(input),
            10 => self.act_on_server(input),
            11 => self.rebound = u16::from(input.byte() % 4),
            _ => self.tamper(input),
        }
        self.turn();
    }

    /// A client does something, or the server of one that is ours.
    fn act(&mut self, input: &mut Input<'_>) {
        match (&mut self.client, &mut self.server) {
            (ClientSide::Raw(client), _) => script::act(client, true, input),
            (ClientSide::Engine(_), ServerSide::Raw(server)) if input.byte() & 1 != 0 => {
                script::act(server, false, input);
            }
            (ClientSide::Engine(client), _) => client.app.act(net::now(), &mut client.endpoint, input),
        }
    }

    fn act_on_server(&mut self, input: &mut Input<'_>) {
        let ServerSide::Engine(engine) = &mut self.server else { return };
        match input.byte() % 8 {
            0 => engine.endpoint.shutdown(),
            1 => engine.endpoint.close_sessions(net::now(), 9, "end"),
            2 => engine.endpoint.close_all(ErrorCode::H3_NO_ERROR, b"end"),
            3 => engine.endpoint.reload().expect("the same files"),
            _ => {}
        }
    }

    /// A datagram in flight is delivered early, lost, duplicated, changed, truncated, or sent from another address.
    fn tamper(&mut self, input: &mut Input<'_>) {
        let (what, at, offset) = (input.byte(), usize::from(input.byte()), usize::from(input.u16()));
        let is_for_server = what & 1 != 0;
        let link = if is_for_server { &mut self.to_server } else { &mut self.to_client };
        let at = at % link.datagrams.len().max(1);
        let Some(mut datagram) = link.datagrams.remove(at) else { return };
        let offset = offset % datagram.bytes.len().max(1);
        match what / 2 % 8 {
            0 => return,
            1 => link.push(datagram.clone()),
            2 => datagram.bytes.truncate(offset),
            3 => datagram.bytes[offset] ^= input.byte().max(1),
            4 => {
                datagram.bytes.truncate(offset);
                datagram.bytes.extend_from_slice(input.short());
            }
            5 if is_for_server => {
                link.push(datagram.clone());
                datagram.from = STRANGER;
            }
            _ => {}
        }
        match is_for_server {
            true => self.deliver_to_server(datagram),
            false => self.deliver_to_client(datagram),
        }
    }

    /// A forged datagram.
    fn make_up(&mut self, input: &mut Input<'_>) {
        let kind = input.byte();
        let mut bytes = match kind & 6 {
            0 => input.short().to_vec(),
            // The version, and what follows it.
            2 => [&[0xc0, 0, 0, 0, 1], input.short()].concat(),
            4 => [&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a], input.short()].concat(),
            _ => [&[0x40], input.short()].concat(),
        };
        if kind & 8 != 0 {
            bytes.resize(1200, 0);
        }
        let is_for_server = kind & 1 != 0;
        let from = match (is_for_server, kind & 16) {
            (true, 0) => CLIENT,
            (true, _) => STRANGER,
            (false, _) => SERVER,
        };
        match is_for_server {
            true => self.deliver_to_server(Datagram { bytes, from, to: SERVER }),
            false => {
                let to = (CLIENT.ip(), CLIENT.port().wrapping_add(self.rebound)).into();
                self.deliver_to_client(Datagram { bytes, from, to });
            }
        }
    }

    /// Invariants at any time.
    pub(super) fn check(&self) {
        if let ServerSide::Engine(engine) = &self.server {
            engine.check();
            let (received, sent) = (self.from_stranger, self.to_client.to_stranger);
            assert!(sent <= 3 * received, "{sent} bytes to who sent {received}");
        }
        if let ClientSide::Engine(engine) = &self.client {
            engine.check();
        }
    }

    /// Closes everything, and checks that nothing is left.
    pub(super) fn end(mut self) {
        if let ClientSide::Engine(engine) = &mut self.client {
            engine.endpoint.close_all(ErrorCode::H3_NO_ERROR, b"end");
        }
        if let ServerSide::Engine(engine) = &mut self.server {
            engine.endpoint.close_all(ErrorCode::H3_NO_ERROR, b"end");
        }
        // Longer than the time limits of handshakes, and three probe timeouts after some losses.
        const MINUTES: usize = 5;
        for _ in 0..MINUTES {
            self.exchange(2);
            (self.advance)(Duration::from_secs(60));
        }
        self.exchange(2);
        self.check();
        if let ClientSide::Engine(engine) = &self.client {
            engine.check_empty();
            assert_eq!(engine.app.closed, engine.app.opened, "an end for each connection");
        }
        if let ServerSide::Engine(engine) = &self.server {
            engine.check_empty();
            assert!(engine.app.is_idle(), "{:?}", engine.app);
        }
    }
}
