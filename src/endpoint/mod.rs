//! The sans-I/O engine: datagrams and time in; datagrams, a deadline and events out. No socket, clock or callbacks.

mod accept;
mod backlog;
mod client;
mod closing;
mod connection;
mod core;
mod datagram;
mod datagrams;
mod drive;
mod event;
mod first_flight;
mod handshake;
mod handshakes;
mod keep_alive;
mod log_failures;
mod logs;
mod outgoing;
mod overload;
mod prefix;
mod progress;
mod qlog;
#[cfg(feature = "qlog")]
mod qlog_files;
mod rates;
mod refused;
mod requests;
mod responses;
mod route;
mod samples;
mod session;
mod session_streams;
mod sessions;
mod shares;
mod slow_clients;
mod stateless;
mod stream;
mod streams;
mod transmit;
mod verify;
mod workers;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use ring::rand::SystemRandom;

use self::backlog::{Backlog, Waiting};
use self::core::{CidChange, Core, Cx, Role};
use crate::config::{ClientConfig, EndpointConfig, ServerConfig};
use crate::error::{ConfigError, ErrorCode};
use crate::stats::{Distributions, Stats};
use crate::transport::TokenRoom;
use crate::transport::cid::CidGenerator;
use crate::transport::table::{ConnId, StreamId, Table};
use crate::transport::timers::{TimerKey, Timers};
use crate::transport::token::TokenKey;
pub use crate::transport::{CloseCause, ClosedBy};
pub use client::{RequestError, RequestHead};
use connection::Connection;
pub use datagrams::Datagrams;
pub use event::Event;
use first_flight::FailedFlights;
use handshakes::Handshakes;
use logs::Logs;
pub use outgoing::Transmit;
pub use refused::RefusedRequest;
pub use session::Session;
use shares::Shares;
use stateless::Stateless;
pub use stream::Stream;
use verify::ServerVerifier;
use workers::Worker;
#[cfg(feature = "workers")]
pub(crate) use workers::Workers;

/// All connections of one UDP socket.
///
/// **Mutate, drain, mutate:** after [`recv`](Endpoint::recv), [`handle_timeouts`](Endpoint::handle_timeouts) or any
/// use of a [`Stream`], call [`drive`](Endpoint::drive) and take every [event](Endpoint::poll_event), until there is no
/// more; then send what [`poll_transmit`](Endpoint::poll_transmit) returns, and sleep until
/// [`next_timeout`](Endpoint::next_timeout), or not at all while it [has work](Endpoint::has_work): what is beyond a
/// connection's share of a turn waits for the next one, which `handle_timeouts` begins.
///
/// quiche reads the clock itself where it measures round trips, so `now` should be the real time.
///
/// A loop of your own, on a socket of your own:
///
/// ```no_run
/// use std::net::UdpSocket;
/// use std::time::Duration;
///
/// use http::{HeaderMap, StatusCode};
/// use mio_quiche::endpoint::Event;
/// use mio_quiche::{Endpoint, ResponseHead, ServerConfig, net};
///
/// fn main() -> mio_quiche::Result<()> {
///     let config = ServerConfig::from_pem("certs/cert.pem", "certs/key.pem")?;
///     let mut endpoint = Endpoint::server(config, net::now(), net::wall_clock())?;
///     let socket = UdpSocket::bind("127.0.0.1:4433")?;
///     let local = socket.local_addr()?;
///     let mut buf = vec![0; 65536];
///     loop {
///         let now = net::now();
///         let deadline = if endpoint.has_work() { Some(now) } else { endpoint.next_timeout() };
///         // No time limit of a socket is 0.
///         socket.set_read_timeout(deadline.map(|at| (at - now).max(Duration::from_millis(1))))?;
///         // An error is that there is no datagram.
///         let received = socket.recv_from(&mut buf);
///         let now = net::now();
///         if let Ok((len, from)) = received {
///             endpoint.recv(now, &mut buf[..len], from, local);
///         }
///         endpoint.end_batch(now, false);
///         endpoint.handle_timeouts(now);
///         while endpoint.needs_drive() {
///             endpoint.drive(now);
///             while let Some(event) = endpoint.poll_event() {
///                 if let Event::Request(request) = event {
///                     let id = request.stream_id();
///                     if let Some(mut stream) = endpoint.stream(now, id) {
///                         stream.set_head(ResponseHead { status: StatusCode::OK, headers: HeaderMap::new() });
///                         // There is room for this much; an error is that the client is gone.
///                         let _ = stream.finish_with(&mut "Hello, HTTP/3!\n".into());
///                     }
///                     endpoint.release(now, id);
///                 }
///             }
///         }
///         while let Some(transmit) = endpoint.poll_transmit(now, &mut buf, 1) {
///             socket.send_to(&buf[..transmit.len], transmit.to)?;
///         }
///     }
/// }
/// ```
///
/// [`net::EventLoop`](crate::net::EventLoop) does this with batches of datagrams, pacing, signals and wake-ups, and
/// [`turn`](crate::turn) has the order of its steps for any other source of datagrams.
pub struct Endpoint {
    table: Table<Box<Connection>>,
    core: Core,
    /// The time passed to the latest call.
    now: Instant,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Core { stats, handshakes, shutting_down, .. } = &self.core;
        let mut out = f.debug_struct("Endpoint");
        out.field("connections", &self.table.len())
            .field("handshakes", &handshakes.len())
            .field("shutting_down", shutting_down);
        out.field("stats", stats).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// A server endpoint, which accepts connections. `wall` is the time of day at `now`: Retry tokens expire by it, so
    /// that servers with the same [host key](ServerConfig::host_key) agree.
    ///
    /// # Errors
    /// The first setting that is invalid or whose file cannot be used.
    pub fn server(settings: ServerConfig, now: Instant, wall: SystemTime) -> Result<Self, ConfigError> {
        let settings = settings.into_endpoint()?;
        let worker = Worker::single(&settings, now);
        Self::new(Role::Server, settings, ServerVerifier::default(), worker, now, wall)
    }

    /// The endpoint of a server's worker.
    ///
    /// # Errors
    /// A file of the settings that cannot be used.
    #[cfg(feature = "workers")]
    pub(crate) fn of_worker(workers: &Workers, index: u8, now: Instant, wall: SystemTime) -> Result<Self, ConfigError> {
        let (settings, worker) = workers.get(index);
        Self::new(Role::Server, settings, ServerVerifier::default(), worker, now, wall)
    }

    /// A client endpoint, which opens connections by [`connect`](Endpoint::connect).
    ///
    /// # Errors
    /// The first setting that is invalid or whose file cannot be used.
    pub fn client(config: &ClientConfig, now: Instant) -> Result<Self, ConfigError> {
        // A client makes no Retry tokens.
        let wall = SystemTime::UNIX_EPOCH;
        let settings = config.to_endpoint()?;
        let worker = Worker::single(&settings, now);
        Self::new(Role::Client, settings, ServerVerifier::new(config), worker, now, wall)
    }

    fn new(
        role: Role,
        settings: EndpointConfig,
        verifier: ServerVerifier,
        worker: Worker,
        now: Instant,
        wall: SystemTime,
    ) -> Result<Self, ConfigError> {
        let (reset_key, retry_key) = (settings.host_key.derive("stateless reset"), settings.host_key.derive("retry"));
        let mut quic = settings.to_quiche()?;
        let token_room = match role {
            Role::Server => TokenRoom::in_settings(&mut quic),
            Role::Client => TokenRoom::default(),
        };
        if role == Role::Server && !(token_room.fits(true) && token_room.fits(false)) {
            log::warn!(
                "the initial windows are so large that not every connection can be given a stateless reset token"
            );
        }
        let core = Core {
            role,
            verifier,
            quic,
            token_room,
            h3: settings.to_h3()?,
            logs: Logs::open(&settings.transport, &worker)?,
            cids: CidGenerator::new(&SystemRandom::new(), reset_key, worker.place()).ok_or(ConfigError::NoRandom)?,
            tokens: TokenKey::new(retry_key, now, wall, settings.retry_token_lifetime),
            settings,
            timers: Timers::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
            distributions: Distributions::default(),
            dirty: VecDeque::new(),
            postponed: Vec::new(),
            backlog: Backlog::new(),
            sending: VecDeque::new(),
            stateless: Stateless::new(),
            worker,
            failed: FailedFlights::default(),
            handshakes: Handshakes::default(),
            shares: Shares::default(),
            held_pieces: 0.0,
            recounted_at: now,
            sessions: 0,
            shutting_down: false,
            cid_changes: Vec::new(),
        };
        Ok(Endpoint { table: Table::new(), core, now })
    }

    /// Receives one UDP datagram from `from` to the local address `to`. Its bytes are decrypted in place.
    pub fn recv(&mut self, now: Instant, datagram: &mut [u8], from: SocketAddr, to: SocketAddr) {
        self.now = now;
        self.core.stats.datagrams_in += 1;
        self.core.stats.bytes_in += datagram.len() as u64;
        self.take_in(now, datagram, from, to);
    }

    fn take_in(&mut self, now: Instant, datagram: &mut [u8], from: SocketAddr, to: SocketAddr) {
        let Some(route) = self.route(now, datagram, from, to) else { return };
        let Some(conn) = self.table.get_mut(route.conn) else { return };
        if !self.core.shares.takes(route.conn, || conn.transport.use_so_far()) {
            self.core.stats.dropped_over_share += 1;
            return;
        }
        if conn.turn.postponed {
            let kept = self.core.backlog.keep(route, datagram, from, to);
            self.core.stats.dropped_over_share += u64::from(!kept);
            return;
        }
        let mut cx = Cx { now, conn: route.conn, core: &mut self.core };
        conn.recv(&mut cx, datagram, from, to, route.to_our_id);
    }

    /// Ends a batch of [received](Endpoint::recv) datagrams. `more`: the socket may hold more. While the socket is not
    /// found empty over a hundred datagrams, a server drops those of connections that exceed their share without making
    /// progress, so that others are served.
    pub fn end_batch(&mut self, now: Instant, more: bool) {
        if self.core.role == Role::Server {
            self.core.shares.on_batch(now, self.core.stats.datagrams_in, more);
            self.recount_pieces(now);
        }
    }

    /// Begins a turn: runs the timers that are due, and continues the work that the last turn postponed. Call it every
    /// turn, even if no datagrams arrived.
    pub fn handle_timeouts(&mut self, now: Instant) {
        self.now = now;
        for id in std::mem::take(&mut self.core.postponed) {
            self.with(now, id, |conn, _| (conn.turn.postponed, conn.turn.work) = (false, 0));
        }
        for _ in 0..self.core.backlog.begin_turn() {
            let Some(Waiting { mut datagram, from, to }) = self.core.backlog.take_first_packet() else { break };
            self.take_in(now, &mut datagram, from, to);
        }
        while let Some(key) = self.core.timers.pop_due(now) {
            let id = match key {
                TimerKey::Conn(id) => id,
                TimerKey::Stream(stream) | TimerKey::Session(stream) => stream.conn,
            };
            let Some(conn) = self.table.get_mut(id) else { continue };
            let mut cx = Cx { now, conn: id, core: &mut self.core };
            match key {
                TimerKey::Conn(_) => {
                    conn.turn.armed.fired();
                    if !conn.on_timeout(&mut cx) {
                        // The deadline was postponed.
                        if conn.settle(&mut cx) {
                            self.remove(id);
                        }
                        continue;
                    }
                }
                TimerKey::Stream(stream) => conn.on_stream_timeout(&mut cx, stream.id),
                TimerKey::Session(session) => conn.on_session_timeout(&mut cx, session.id),
            }
            conn.mark(&mut cx);
        }
    }

    /// Runs HTTP/3 on every connection with activity, and queues [events](Endpoint::poll_event).
    pub fn drive(&mut self, now: Instant) {
        self.now = now;
        for _ in 0..self.core.dirty.len() {
            let Some(id) = self.core.dirty.pop_front() else { break };
            let Some(conn) = self.table.get_mut(id) else { continue };
            conn.turn.dirty = false;
            let mut cx = Cx { now, conn: id, core: &mut self.core };
            conn.drive(&mut cx);
            // Only then, as quiche::h3 goes through all readable streams for each event.
            while !conn.turn.postponed
                && let Some((route, Waiting { mut datagram, from, to })) = cx.core.backlog.take(id)
            {
                conn.recv(&mut cx, &mut datagram, from, to, route.to_our_id);
            }
            if !std::mem::replace(&mut conn.turn.sending, true) {
                self.core.sending.push_back(id);
            }
        }
        for (id, change) in self.core.cid_changes.drain(..) {
            match change {
                CidChange::Added(cid) => self.table.add_cid(id, cid),
                CidChange::Retired(cid) => self.table.remove_cid(id, &cid),
            }
        }
        self.core.worker.update(self.table.len(), self.core.handshakes.len());
    }

    /// The next event. Events wait in a queue that is empty between turns.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.core.events.pop_front()?;
        if let Event::Ready(stream) = &event
            && let Some(conn) = self.table.get_mut(stream.conn)
        {
            conn.on_ready_taken(stream.id);
        }
        Some(event)
    }

    /// When [`handle_timeouts`](Endpoint::handle_timeouts) must be called at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.core.timers.next()
    }

    /// Whether there is something to drive, poll or send at once, or to continue with in the next turn.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let core = &self.core;
        let is_idle = core.dirty.is_empty() && core.postponed.is_empty() && core.sending.is_empty();
        !(is_idle && core.stateless.is_empty() && core.events.is_empty()) || core.backlog.has_first_packets()
    }

    /// Whether [`drive`](Endpoint::drive) has something to do in this turn.
    #[must_use]
    pub fn needs_drive(&self) -> bool {
        !self.core.dirty.is_empty()
    }

    /// A stream to read and write, unless it or its connection has ended.
    pub fn stream(&mut self, now: Instant, id: StreamId) -> Option<Stream<'_>> {
        self.mark(id.conn);
        self.table.get_mut(id.conn)?.stream(now, id, &mut self.core)
    }

    /// Releases a stream: an unfinished sending side is reset, and unread data is discarded. Releasing the
    /// CONNECT stream of a session closes the session.
    pub fn release(&mut self, now: Instant, id: StreamId) {
        self.with(now, id.conn, |conn, cx| conn.release(cx, id.id));
    }

    /// Closes a connection with an application error code (RFC 9000 section 10.2).
    pub fn close(&mut self, id: ConnId, code: ErrorCode, reason: &[u8]) {
        self.with(self.now, id, |conn, _| conn.transport.close(code, reason));
    }

    /// Closes every connection with an application error code.
    pub fn close_all(&mut self, code: ErrorCode, reason: &[u8]) {
        for id in self.table.ids().collect::<Vec<_>>() {
            self.close(id, code, reason);
        }
    }

    /// Reloads certificate, keys and TLS settings for new connections. If one of the files cannot be
    /// used, nothing changes.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn reload(&mut self) -> Result<(), ConfigError> {
        self.core.quic = self.core.settings.to_quiche()?;
        Ok(())
    }

    /// Opens the [key log](crate::TransportConfig::keylog) again, after it was renamed or removed. If it cannot be
    /// opened, the old file stays in use.
    ///
    /// # Errors
    /// The path that cannot be opened.
    pub fn reopen_logs(&mut self) -> Result<(), ConfigError> {
        self.core.logs.reopen(&self.core.settings.transport)
    }

    /// Stops accepting connections, sends GOAWAY on each (RFC 9114 section 5.2) and closes it three probe timeouts
    /// later, or after its last response. A client, which has no requests to expect, closes at once.
    pub fn shutdown(&mut self) {
        self.core.shutting_down = true;
        for id in self.table.ids().collect::<Vec<_>>() {
            self.with(self.now, id, |conn, cx| conn.go_away(cx));
        }
    }

    /// Whether every connection is closed and its close was sent.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        !self.has_work() && self.table.ids().all(|id| self.table.get(id).is_none_or(|conn| conn.transport.is_over()))
    }

    /// Handshakes in progress.
    #[must_use]
    pub fn handshake_count(&self) -> usize {
        self.core.handshakes.len()
    }

    /// Whether a graceful shutdown is in progress.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.core.shutting_down
    }

    /// Connections in the table.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.table.len()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { log_failures: self.core.logs.failures(), ..self.core.stats }
    }

    /// The distributions.
    #[must_use]
    pub fn distributions(&self) -> Distributions {
        self.core.distributions
    }

    /// Calls a connection, and schedules it to be driven.
    fn with<T>(&mut self, now: Instant, id: ConnId, call: impl FnOnce(&mut Connection, &mut Cx<'_>) -> T) -> Option<T> {
        let conn = self.table.get_mut(id)?;
        let mut cx = Cx { now, conn: id, core: &mut self.core };
        conn.mark(&mut cx);
        Some(call(conn, &mut cx))
    }

    /// Schedules a connection to be driven.
    fn mark(&mut self, id: ConnId) {
        self.with(self.now, id, |_, _| {});
    }

    fn remove(&mut self, id: ConnId) {
        let Some(mut conn) = self.table.remove(id) else { return };
        self.core.backlog.forget(id);
        let (pieces, more) = conn.transport.held_pieces(self.now);
        self.core.held_pieces += more - pieces;
    }

    /// Connection ids in the table, for tests of leaks.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn cid_count(&self) -> usize {
        self.table.cid_count()
    }

    /// What is known of every connection's paths, for tests of forged packets.
    #[cfg(test)]
    pub(crate) fn path_state(&self) -> String {
        let conns = self.table.ids().filter_map(|id| self.table.get(id));
        conns.map(|conn| conn.transport.path_state()).collect()
    }

    /// Armed deadlines, for tests of leaks.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn timer_count(&self) -> usize {
        self.core.timers.len()
    }

    /// Streams that peers reset, and streams that they stopped.
    #[cfg(test)]
    pub(crate) fn given_up_by_peers(&self) -> (u64, u64) {
        let counts = self.table.ids().filter_map(|id| self.table.get(id)).map(|conn| conn.transport.signal_counts());
        counts.fold((0, 0), |sum, (resets, stops)| (sum.0 + resets, sum.1 + stops))
    }

    /// Streams of all connections that are not over and forgotten, but for HTTP/3's own; for tests of leaks.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn stream_count(&self) -> usize {
        self.table.ids().filter_map(|id| self.table.get(id)).map(|conn| conn.stream_count()).sum()
    }
}
