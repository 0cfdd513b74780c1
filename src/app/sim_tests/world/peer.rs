//! A client made of quiche only, without our code.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use quiche::h3;

use crate::app::sim_tests::{Answer, Rng, client_config, poll_answers, send_bodies};
use crate::net;

pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) quic: quiche::Connection,
    pub(crate) h3: Option<h3::Connection>,
    pub(crate) answers: BTreeMap<u64, Answer>,
    pub(super) inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    /// It gets no processor before.
    pub(crate) asleep_until: Option<Instant>,
    bodies: BTreeMap<u64, Vec<u8>>,
}

impl Peer {
    pub(super) fn new(seed: u64, addr: SocketAddr, server: SocketAddr, change: impl Fn(&mut quiche::Config)) -> Self {
        let mut config = client_config();
        change(&mut config);
        let mut rng = Rng::new(seed ^ u64::from(addr.port()) << 32);
        let scid: [u8; 16] = std::array::from_fn(|_| rng.next() as u8);
        let scid = quiche::ConnectionId::from_ref(&scid);
        let quic = quiche::connect(Some("localhost"), &scid, addr, server, &mut config).expect("a client");
        let (answers, inbox, bodies) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        Peer { addr, quic, h3: None, answers, inbox, asleep_until: None, bodies }
    }

    pub(crate) fn get(&mut self, path: &str) -> u64 {
        self.request("GET", path, b"")
    }

    /// Sends a request, once it is connected.
    pub(crate) fn request(&mut self, method: &str, path: &str, body: &[u8]) -> u64 {
        let list = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
        let list = list.map(|(name, value)| h3::Header::new(name.as_bytes(), value.as_bytes()));
        let h3 = self.h3.as_mut().expect("connected");
        let id = h3.send_request(&mut self.quic, &list, body.is_empty()).expect("room for a request");
        self.answers.insert(id, Answer::default());
        if !body.is_empty() {
            self.bodies.insert(id, body.to_vec());
        }
        id
    }

    pub(crate) fn is_through(&self) -> bool {
        self.answers.values().all(Answer::is_over)
    }

    /// One turn; returns the datagrams to send.
    pub(super) fn turn(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        if self.asleep_until.is_some_and(|until| until > net::now()) {
            return Vec::new();
        }
        for (from, mut data) in self.inbox.drain(..) {
            // Rejected packets show in its responses.
            let _ = self.quic.recv(&mut data, quiche::RecvInfo { from, to: self.addr });
        }
        if self.quic.timeout().is_some_and(|timeout| timeout.is_zero()) {
            self.quic.on_timeout();
        }
        if self.h3.is_none() && self.quic.is_established() {
            let config = h3::Config::new().expect("a configuration");
            self.h3 = Some(h3::Connection::with_transport(&mut self.quic, &config).expect("HTTP/3"));
        }
        if let Some(h3) = &mut self.h3 {
            poll_answers(&mut self.quic, h3, &mut self.answers, true);
            send_bodies(&mut self.quic, h3, &mut self.bodies);
        }
        let (mut buf, mut out) = ([0; 1500], Vec::new());
        while let Ok((n, info)) = self.quic.send(&mut buf) {
            out.push((info.to, buf[..n].to_vec()));
        }
        out
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        let asleep_until = self.asleep_until.filter(|until| *until > net::now());
        asleep_until.or_else(|| self.quic.timeout().map(|timeout| net::now() + timeout))
    }
}
