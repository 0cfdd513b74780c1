//! One thread, one `mio::Poll`: the socket, signals and a waker.

use std::io;
use std::net::SocketAddr;
#[cfg(feature = "workers")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;

use super::socket::{Datagram, UdpSocket};
use super::waker::Waker;
#[cfg(feature = "workers")]
use super::workers::Workers;
use crate::endpoint::{Endpoint, Event, Transmit};
use crate::error::Result;
use crate::stats::LoopStats;
use crate::turn::{self, Application, DatagramIo};

const SOCKET: Token = Token(0);
const SIGNALS: Token = Token(1);
const WAKER: Token = Token(2);

/// GSO runs sent in one turn at most, so that receiving gets its share.
const MAX_RUNS_PER_TURN: usize = 256;

/// The reason for the end of a sleep of the loop. Readiness of datagrams is part of the socket's state, not of this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wakeup {
    /// Number of SIGINT and SIGTERM received.
    pub signals: usize,
    /// SIGHUP was received.
    pub hangup: bool,
    /// SIGUSR1 was received, by a server's loop.
    pub user1: bool,
    /// The socket has errors, of some destination.
    pub error: bool,
    /// [`Waker::wake`] was called.
    pub waker: bool,
}

/// The event loop of one socket: it sleeps, and runs turns of an endpoint on demand.
///
/// Your own loop around an [`Endpoint`]:
///
/// ```no_run
/// use std::time::Instant;
///
/// use mio_quiche::endpoint::Event;
/// use mio_quiche::net::{self, EventLoop, UdpSocket};
/// use mio_quiche::{Endpoint, ErrorCode, ServerConfig};
///
/// fn main() -> mio_quiche::Result<()> {
///     let config = ServerConfig::from_pem("certs/cert.pem", "certs/key.pem")?;
///     let socket = UdpSocket::bind("[::]:4433".parse().expect("an address"), config.transport.socket_buffer)?;
///     let mut event_loop = EventLoop::new(socket, true)?;
///     let mut endpoint = Endpoint::server(config, net::now(), net::wall_clock())?;
///     let mut app = |now: Instant, event: Event, endpoint: &mut Endpoint| {
///         if let Event::Request(request) = event {
///             let id = request.stream_id();
///             if let Some(mut stream) = endpoint.stream(now, id) {
///                 stream.reset(ErrorCode::H3_REQUEST_REJECTED);
///             }
///             endpoint.release(now, id);
///         }
///     };
///     while !(endpoint.is_shutting_down() && endpoint.is_shut_down()) {
///         let wakeup = event_loop.sleep(net::now(), &endpoint, None)?;
///         if wakeup.signals > 0 {
///             endpoint.shutdown();
///         }
///         event_loop.turn(net::now(), &mut endpoint, &mut app)?;
///     }
///     Ok(())
/// }
/// ```
///
/// Use the endpoint (write to a stream, close a connection) between the sleep and the turn, or in the [`Application`]
/// during the turn. The turn then runs the engine and sends. An endpoint that is used after its turn has work, so the
/// next sleep ends at once.
pub struct EventLoop {
    poll: Poll,
    events: Events,
    socket: UdpSocket,
    signals: Option<Signals>,
    waker: Waker,
    /// The socket may have more datagrams: epoll is edge-triggered and reports new ones only.
    readable: bool,
    /// A run that did not fit into the socket; it is at the front of the send buffer.
    unsent: Option<Transmit>,
    /// The endpoint is a client, whose connections know the local side by the socket's address only.
    for_client: bool,
    /// The workers of the server, and the number of this one.
    #[cfg(feature = "workers")]
    workers: Option<(Arc<Workers>, u8)>,
    /// Without the socket's part.
    stats: LoopStats,
    /// When the turn began that has not ended.
    turn_began: Option<Instant>,
}

impl std::fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop").field("socket", &self.socket).field("unsent", &self.unsent).finish_non_exhaustive()
    }
}

impl EventLoop {
    /// A loop for a server endpoint, around `socket`; with `signals`, SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 wake
    /// it instead of ending the process.
    ///
    /// # Errors
    /// An error of the system.
    pub fn new(socket: UdpSocket, signals: bool) -> Result<Self> {
        Self::with_role(socket, signals, false)
    }

    /// As [`new`](EventLoop::new), for a client endpoint; SIGUSR1 and SIGUSR2 end the process.
    ///
    /// # Errors
    /// An error of the system.
    pub fn for_client(socket: UdpSocket, signals: bool) -> Result<Self> {
        Self::with_role(socket, signals, true)
    }

    fn with_role(mut socket: UdpSocket, signals: bool, for_client: bool) -> Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut socket.io, SOCKET, Interest::READABLE)?;
        let signals = match signals {
            true => {
                let caught = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];
                let mut signals = Signals::new(&caught[..if for_client { 3 } else { 5 }])?;
                poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
                Some(signals)
            }
            false => None,
        };
        let waker = Waker::new(mio::Waker::new(poll.registry(), WAKER)?);
        let events = Events::with_capacity(64);
        Ok(EventLoop {
            poll,
            events,
            socket,
            signals,
            waker,
            readable: true,
            unsent: None,
            for_client,
            #[cfg(feature = "workers")]
            workers: None,
            stats: LoopStats::default(),
            turn_began: None,
        })
    }

    /// Makes this the loop of one of a server's workers.
    #[cfg(feature = "workers")]
    pub(crate) fn join(&mut self, workers: Arc<Workers>, index: u8) {
        workers.set_waker(index, self.waker());
        self.workers = Some((workers, index));
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// The socket.
    pub fn socket(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    /// What the loop has done so far. The length of a turn counts once the next sleep begins.
    pub fn stats(&self) -> LoopStats {
        LoopStats { receive_calls: self.socket.receive_calls, ..self.stats }
    }

    /// A handle that ends the loop's sleep from another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sleeps until a datagram, a signal, a [wake](Waker::wake), a timer of the endpoint, or `until`. Does not sleep at
    /// all while the endpoint has something to do.
    ///
    /// # Errors
    /// An error of the system.
    pub fn sleep(&mut self, now: Instant, endpoint: &Endpoint, until: Option<Instant>) -> io::Result<Wakeup> {
        if let Some(began) = self.turn_began.take() {
            self.stats.turns.observe_duration(now.saturating_duration_since(began));
        }
        // Data that waits for a full socket is not a reason to wake.
        let idle = !endpoint.has_work() || self.is_blocked();
        let deadline = match idle {
            true => [endpoint.next_timeout(), until].into_iter().flatten().min(),
            false => Some(now),
        };
        self.wait(now, deadline)
    }

    /// One turn of the endpoint and its application: receives, runs the timers, the engine and the application, and
    /// sends. Call it after every [sleep](EventLoop::sleep), whatever ended it.
    ///
    /// # Errors
    /// An error of the socket.
    pub fn turn(&mut self, now: Instant, endpoint: &mut Endpoint, app: &mut impl Application) -> io::Result<()> {
        self.turn_began.get_or_insert(now);
        if let Some(due) = endpoint.next_timeout().filter(|due| *due <= now) {
            self.stats.timer_lag.observe_duration(now - due);
        }
        let mut timed = Timed { app, began: None, spent: Duration::ZERO };
        let result = turn::turn(now, self, endpoint, &mut timed);
        // The last events of a turn have no round of their own.
        timed.end();
        self.stats.handlers.observe_duration(timed.spent);
        result
    }

    /// Sleeps until an event, at most until `deadline`, or not at all if datagrams already wait.
    ///
    /// # Errors
    /// An error of the system.
    pub fn wait(&mut self, now: Instant, deadline: Option<Instant>) -> io::Result<Wakeup> {
        let deadline = if self.readable { Some(now) } else { deadline };
        self.poll(now, deadline)
    }

    /// As [`wait`](EventLoop::wait), but sleeps even if datagrams wait: for a caller that does not receive while it [is
    /// blocked](EventLoop::is_blocked).
    ///
    /// # Errors
    /// An error of the system.
    pub fn wait_writable(&mut self, now: Instant, deadline: Option<Instant>) -> io::Result<Wakeup> {
        self.poll(now, deadline)
    }

    fn poll(&mut self, now: Instant, deadline: Option<Instant>) -> io::Result<Wakeup> {
        let timeout = deadline.map(|at| at.saturating_duration_since(now));
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(Wakeup::default()),
            other => other?,
        }
        let mut wakeup = Wakeup::default();
        for event in &self.events {
            match event.token() {
                SOCKET => {
                    self.readable |= event.is_readable() || event.is_error();
                    wakeup.error |= event.is_error();
                }
                SIGNALS => {
                    for signal in self.signals.iter_mut().flat_map(|signals| signals.pending()) {
                        match signal {
                            SIGHUP => wakeup.hangup = true,
                            SIGUSR1 => wakeup.user1 = true,
                            SIGUSR2 => {}
                            _ => wakeup.signals += 1,
                        }
                    }
                }
                _ => wakeup.waker = true,
            }
        }
        Ok(wakeup)
    }

    /// Replaces the loop's socket. Datagrams that wait in the old one are lost.
    ///
    /// # Errors
    /// An error of the system.
    pub fn replace_socket(&mut self, mut socket: UdpSocket) -> io::Result<()> {
        socket.receive_calls.add(&self.socket.receive_calls);
        self.poll.registry().deregister(&mut self.socket.io)?;
        self.poll.registry().register(&mut socket.io, SOCKET, Interest::READABLE)?;
        (self.socket, self.readable, self.unsent) = (socket, true, None);
        Ok(())
    }

    /// Passes every waiting datagram to `each`, up to a bound: for protocols other than QUIC.
    pub fn receive_each(&mut self, each: impl FnMut(Datagram<'_>)) {
        if !self.readable {
            return;
        }
        match self.socket.receive(each) {
            Ok(more) => self.readable = more,
            // Errors of one destination (ICMP) are reported here, too; the next turn continues.
            Err(e) => log::debug!("receiving failed: {e}"),
        }
    }

    /// Sends what `next` writes to the front of the given buffer, until it has no more: for protocols other than QUIC.
    /// `next` gets the number of segments that may be sent at once. Data that does not fit into the socket is kept and
    /// sent first in the next call. Sends up to a bound; returns true if nothing is left.
    ///
    /// # Errors
    /// An error of the socket; errors of one destination are logged and ignored.
    pub fn transmit_each(&mut self, mut next: impl FnMut(&mut [u8], usize) -> Option<Transmit>) -> io::Result<bool> {
        if let Some(transmit) = self.unsent {
            if !self.send(transmit) {
                return Ok(false);
            }
            self.unsent = None;
            self.poll.registry().reregister(&mut self.socket.io, SOCKET, Interest::READABLE)?;
            self.readable = true;
        }
        for _ in 0..MAX_RUNS_PER_TURN {
            let segments = self.socket.max_segments();
            let Some(transmit) = next(&mut self.socket.send_buffer, segments) else {
                return Ok(true);
            };
            if !self.send(transmit) {
                self.unsent = Some(transmit);
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().reregister(&mut self.socket.io, SOCKET, interest)?;
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Whether the socket is full, so that sending must wait.
    pub fn is_blocked(&self) -> bool {
        self.unsent.is_some()
    }

    /// False if the socket is full.
    fn send(&mut self, transmit: Transmit) -> bool {
        let sent = self.socket.send(&transmit, &self.socket.send_buffer);
        self.stats.send_calls.count(&sent);
        match sent {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => false,
            // Equivalent to a loss on the path, which QUIC repairs.
            Err(e) => {
                log::debug!("sending to {} failed: {e}", transmit.to);
                true
            }
        }
    }
}

impl DatagramIo for EventLoop {
    fn receive(&mut self, now: Instant, endpoint: &mut Endpoint) {
        #[cfg(feature = "workers")]
        if let Some((workers, index)) = self.workers.clone() {
            workers.take(index, |data, from, to| endpoint.recv(now, data, from, to));
            self.receive_each(|d| match workers.other_for(d.data, index) {
                None => endpoint.recv(now, d.data, d.from, d.to),
                Some(other) => workers.pass(other, d),
            });
            return endpoint.end_batch(now, self.readable);
        }
        let local = self.for_client.then(|| self.local_addr());
        self.receive_each(|d| endpoint.recv(now, d.data, d.from, local.unwrap_or(d.to)));
        endpoint.end_batch(now, self.readable);
    }

    fn transmit(&mut self, endpoint: &mut Endpoint) -> io::Result<bool> {
        // Reads the clock for each run: a packet that quiche releases "now" must not look like one for later.
        self.transmit_each(|buf, segments| endpoint.poll_transmit(super::now(), buf, segments))
    }
}

/// An application, and the time in it. Reads the clock twice a round, not for each event.
struct Timed<'a, A> {
    app: &'a mut A,
    /// When the application was called first in this round.
    began: Option<Instant>,
    spent: Duration,
}

impl<A> Timed<'_, A> {
    fn begin(&mut self) {
        self.began.get_or_insert_with(super::now);
    }

    fn end(&mut self) {
        if let Some(began) = self.began.take() {
            self.spent += super::now().saturating_duration_since(began);
        }
    }
}

impl<A: Application> Application for Timed<'_, A> {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        self.begin();
        self.app.on_event(now, event, endpoint);
    }

    fn on_round(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.begin();
        self.app.on_round(now, endpoint);
        self.end();
    }
}
