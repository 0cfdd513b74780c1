//! One side of the connection: an engine with its application, or a peer that writes by hand.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use super::client::Client;
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::fuzz::peer::Peer;
use crate::turn::{Application, DatagramIo, turn};

/// The address of datagrams that no client of ours sends.
pub(super) const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), 9);
/// Maximum datagrams in flight in one direction; more are lost.
const MAX_IN_FLIGHT: usize = 500;

/// A datagram in flight.
#[derive(Clone)]
pub(super) struct Datagram {
    pub(super) bytes: Vec<u8>,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

/// The datagrams in flight in one direction.
#[derive(Default)]
pub(super) struct Link {
    pub(super) datagrams: VecDeque<Datagram>,
    /// Bytes that were sent to the stranger.
    pub(super) to_stranger: usize,
}

impl Link {
    /// A datagram is sent.
    fn send(&mut self, datagram: Datagram) {
        if datagram.to == STRANGER {
            self.to_stranger += datagram.bytes.len();
        }
        self.push(datagram);
    }

    pub(super) fn push(&mut self, datagram: Datagram) {
        if self.datagrams.len() < MAX_IN_FLIGHT {
            self.datagrams.push_back(datagram);
        }
    }
}

/// An engine, and its expected counters.
pub(super) struct Engine<A> {
    pub(super) endpoint: Endpoint,
    pub(super) app: A,
    received: u64,
    sent: u64,
}

impl<A: Application> Engine<A> {
    pub(super) fn new(endpoint: Endpoint, app: A) -> Self {
        Engine { endpoint, app, received: 0, sent: 0 }
    }

    pub(super) fn recv(&mut self, now: Instant, mut datagram: Datagram) {
        self.received += 1;
        self.endpoint.recv(now, &mut datagram.bytes, datagram.from, datagram.to);
    }

    pub(super) fn turn(&mut self, now: Instant, out: &mut Link) {
        let mut io = Out { now, link: out, sent: 0 };
        turn(now, &mut io, &mut self.endpoint, &mut self.app).expect("no socket that fails");
        self.sent += io.sent;
    }

    /// Invariants after every turn.
    pub(super) fn check(&self) {
        let (endpoint, stats) = (&self.endpoint, self.endpoint.stats());
        assert_eq!((stats.datagrams_in, stats.datagrams_out), (self.received, self.sent));
        assert!(stats.handshakes <= stats.connections && endpoint.handshake_count() <= endpoint.connection_count());
        let open = stats.sessions_opened.checked_sub(stats.sessions_closed).expect("more sessions closed than opened");
        assert_eq!(open, endpoint.session_count() as u64, "sessions");
        // As the settings say: requests, the streams of sessions, and as many aborted ones.
        let connections = endpoint.connection_count();
        assert!(endpoint.stream_count() <= connections * 5000, "{} streams", endpoint.stream_count());
        assert!(endpoint.session_count() <= connections * 16, "{} sessions", endpoint.session_count());
        assert!(endpoint.cid_count() <= connections * 16, "{} connection ids", endpoint.cid_count());
        // A session has a deadline for a while after its end, and counts against the limit as long.
        let owners = connections * (1 + 16) + endpoint.stream_count();
        assert!(endpoint.timer_count() <= owners, "{} deadlines for {owners} owners", endpoint.timer_count());
    }

    /// Invariants when all connections have ended.
    pub(super) fn check_empty(&self) {
        let (endpoint, stats) = (&self.endpoint, self.endpoint.stats());
        assert_eq!((endpoint.connection_count(), endpoint.handshake_count()), (0, 0), "connections, handshakes");
        assert_eq!((endpoint.stream_count(), endpoint.session_count()), (0, 0), "streams, sessions");
        assert_eq!((endpoint.cid_count(), endpoint.timer_count()), (0, 0), "connection ids, deadlines");
        assert!(!endpoint.has_work());
        assert_eq!(stats.sessions_opened, stats.sessions_closed);
    }
}

struct Out<'a> {
    now: Instant,
    link: &'a mut Link,
    sent: u64,
}

impl DatagramIo for Out<'_> {
    fn receive(&mut self, _: Instant, _: &mut Endpoint) {}

    fn transmit(&mut self, endpoint: &mut Endpoint) -> io::Result<bool> {
        const MAX_RUNS: usize = 256;
        let mut buf = vec![0; 16 * 1500];
        for _ in 0..MAX_RUNS {
            let Some(run) = endpoint.poll_transmit(self.now, &mut buf, 16) else { return Ok(true) };
            for packet in buf[..run.len].chunks(run.segment) {
                self.sent += 1;
                self.link.send(Datagram { bytes: packet.to_vec(), from: run.from, to: run.to });
            }
        }
        Ok(false)
    }
}

pub(super) enum ServerSide {
    Engine(Box<Engine<App>>),
    Raw(Box<Peer>),
}

pub(super) enum ClientSide {
    Engine(Box<Engine<Client>>),
    Raw(Box<Peer>),
}

/// The packets that a peer sends.
pub(super) fn raw_turn(peer: &mut Peer, out: &mut Link) {
    peer.on_timeout();
    peer.read_all();
    while let Some((bytes, from, to)) = peer.send() {
        out.send(Datagram { bytes, from, to });
    }
}
