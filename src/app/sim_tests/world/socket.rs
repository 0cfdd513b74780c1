//! The socket of a simulated host: like the event loop's, it keeps data that does not fit.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::endpoint::{Endpoint, Transmit};
use crate::net;
use crate::turn::DatagramIo;

/// Runs sent in one turn at most.
const MAX_RUNS_PER_TURN: usize = 256;

/// Makes a socket full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full {
    /// After this many runs of datagrams.
    pub(crate) every: u32,
    pub(crate) lasts: Duration,
}

pub(crate) struct Socket {
    pub(crate) addr: SocketAddr,
    pub(super) inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(super) outbox: Vec<(SocketAddr, Vec<u8>)>,
    pub(crate) full: Option<Full>,
    /// Datagrams sent.
    pub(crate) sent: u64,
    /// Times that it was full.
    pub(crate) blocked: u64,
    runs: u32,
    full_until: Option<Instant>,
    asleep_until: Option<Instant>,
    unsent: Option<Transmit>,
    buf: Vec<u8>,
}

impl Socket {
    pub(super) fn new(addr: SocketAddr) -> Self {
        Socket {
            addr,
            inbox: VecDeque::new(),
            outbox: Vec::new(),
            full: None,
            sent: 0,
            blocked: 0,
            runs: 0,
            full_until: None,
            asleep_until: None,
            unsent: None,
            buf: vec![0; 65_507],
        }
    }

    /// Its host gets no processor for a while.
    pub(super) fn sleep(&mut self, time: Duration) {
        self.asleep_until = Some(net::now() + time);
    }

    /// Until when its host gets no processor.
    pub(super) fn asleep_until(&self, now: Instant) -> Option<Instant> {
        self.asleep_until.filter(|until| *until > now)
    }

    /// When its host must run.
    pub(super) fn wake_at(&self, now: Instant, endpoint: &Endpoint, until: Option<Instant>) -> Option<Instant> {
        match self.unsent {
            Some(_) => [self.full_until, endpoint.next_timeout(), until].into_iter().flatten().min(),
            None if endpoint.has_work() || !self.inbox.is_empty() => Some(now),
            None => [endpoint.next_timeout(), until].into_iter().flatten().min(),
        }
    }

    /// Returns false if it is full.
    fn send(&mut self, transmit: Transmit) -> bool {
        if self.full_until.is_some_and(|until| until > net::now()) {
            return false;
        }
        self.full_until = None;
        self.runs += 1;
        for packet in self.buf[..transmit.len].chunks(transmit.segment) {
            self.outbox.push((transmit.to, packet.to_vec()));
            self.sent += 1;
        }
        if let Some(full) = self.full.filter(|full| self.runs.is_multiple_of(full.every)) {
            self.full_until = Some(net::now() + full.lasts);
        }
        true
    }
}

impl DatagramIo for Socket {
    fn receive(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for (from, mut data) in self.inbox.drain(..) {
            endpoint.recv(now, &mut data, from, self.addr);
        }
    }

    fn transmit(&mut self, endpoint: &mut Endpoint) -> io::Result<bool> {
        if let Some(transmit) = self.unsent {
            if !self.send(transmit) {
                return Ok(false);
            }
            self.unsent = None;
        }
        for _ in 0..MAX_RUNS_PER_TURN {
            let Some(transmit) = endpoint.poll_transmit(net::now(), &mut self.buf, 16) else { return Ok(true) };
            if !self.send(transmit) {
                self.unsent = Some(transmit);
                self.blocked += 1;
                return Ok(false);
            }
        }
        Ok(false)
    }
}
