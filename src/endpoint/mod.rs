//! The engine: datagrams and time in; datagrams, a deadline and events out. No socket, no clock, no callbacks.

mod accept;
mod client;
mod conn;
mod datagram;
mod event;
mod paths;
mod qlog;
mod requests;
mod session;
mod session_streams;
mod sessions;
mod stalls;
mod stream;
mod transmit;

use std::collections::VecDeque;
use std::fs::File;
use std::net::SocketAddr;
use std::time::Instant;

use quiche::RecvInfo;
use ring::rand::SystemRandom;

use crate::config::{ClientConfig, EndpointConfig, ServerConfig};
use crate::error::{ConfigError, ErrorCode};
use crate::quic::cid::{Cid, CidGenerator};
use crate::quic::table::{ConnId, StreamId, Table};
use crate::quic::timers::{TimerKey, Timers};
use crate::quic::token::TokenKey;
use crate::stats::Stats;
use client::Trust;
pub use client::{RequestError, RequestHead};
use conn::{Conn, Role};
pub use datagram::Datagrams;
pub use event::{CloseCause, ClosedBy, Event};
pub use session::Session;
pub use stream::Stream;
pub use transmit::Transmit;

/// All connections of one UDP socket.
///
/// **Mutate, drain, mutate:** after [`recv`](Endpoint::recv), [`handle_timeouts`](Endpoint::handle_timeouts) or any
/// use of a [`Stream`], call [`drive`](Endpoint::drive) and take every [event](Endpoint::poll_event), until there is no
/// more; then send what [`poll_transmit`](Endpoint::poll_transmit) gives, and sleep until
/// [`next_timeout`](Endpoint::next_timeout).
///
/// quiche reads the clock itself where it measures round trips, so `now` should be the real time.
pub struct Endpoint {
    table: Table<Box<Conn>>,
    core: Core,
}

/// What all connections share.
pub(crate) struct Core {
    role: Role,
    pub(crate) settings: EndpointConfig,
    /// What a client asks of a server's certificate.
    trust: Trust,
    pub(crate) quic: quiche::Config,
    pub(crate) h3: quiche::h3::Config,
    pub(crate) keylog: Option<File>,
    pub(crate) cids: CidGenerator,
    pub(crate) tokens: TokenKey,
    pub(crate) timers: Timers<TimerKey>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) stats: Stats,
    /// Connections to look at in the next `drive`.
    dirty: VecDeque<ConnId>,
    /// Connections with something to send, maybe.
    sending: VecDeque<ConnId>,
    /// Retry and Version Negotiation packets.
    stateless: VecDeque<(Vec<u8>, Transmit)>,
    handshakes: usize,
    /// Sessions that are open.
    pub(crate) sessions: usize,
    draining: bool,
    /// Changes to the table that a connection asks for while it is borrowed from it.
    cid_changes: Vec<(ConnId, CidChange)>,
}

#[derive(Debug)]
pub(crate) enum CidChange {
    Added(Cid),
    Retired(Cid),
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Core { stats, handshakes, draining, .. } = &self.core;
        let mut out = f.debug_struct("Endpoint");
        out.field("connections", &self.table.len()).field("handshakes", handshakes).field("draining", draining);
        out.field("stats", stats).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint that accepts connections.
    ///
    /// # Errors
    /// The first setting that is wrong or whose file cannot be used.
    pub fn server(settings: ServerConfig, now: Instant) -> Result<Self, ConfigError> {
        Self::new(Role::Server, settings.into_endpoint()?, Trust::default(), now)
    }

    /// An endpoint that makes connections, by [`connect`](Endpoint::connect).
    ///
    /// # Errors
    /// The first setting that is wrong or whose file cannot be used.
    pub fn client(config: &ClientConfig, now: Instant) -> Result<Self, ConfigError> {
        Self::new(Role::Client, config.to_endpoint()?, Trust::of(config), now)
    }

    fn new(role: Role, settings: EndpointConfig, trust: Trust, now: Instant) -> Result<Self, ConfigError> {
        let random = SystemRandom::new();
        let no_random = || ConfigError::NoRandom;
        let quic = settings.to_quiche()?;
        settings.transport.prepare_qlog_dir()?;
        Ok(Endpoint {
            table: Table::new(),
            core: Core {
                role,
                trust,
                quic,
                h3: settings.to_h3()?,
                keylog: settings.transport.open_keylog()?,
                cids: CidGenerator::new(&random).ok_or_else(no_random)?,
                tokens: TokenKey::new(&random, now, settings.retry_token_lifetime).ok_or_else(no_random)?,
                settings,
                timers: Timers::new(),
                events: VecDeque::new(),
                stats: Stats::default(),
                dirty: VecDeque::new(),
                sending: VecDeque::new(),
                stateless: VecDeque::new(),
                handshakes: 0,
                sessions: 0,
                draining: false,
                cid_changes: Vec::new(),
            },
        })
    }

    /// Takes in one UDP datagram that came from `from` to our address `to`. Its bytes are decrypted in place.
    pub fn recv(&mut self, now: Instant, datagram: &mut [u8], from: SocketAddr, to: SocketAddr) {
        self.core.stats.datagrams_in += 1;
        self.core.stats.bytes_in += datagram.len() as u64;
        let Some(id) = self.route(now, datagram, from, to) else { return };
        let Some(conn) = self.table.get_mut(id) else { return };
        if let Err(e) = conn.quic.recv(datagram, RecvInfo { from, to })
            && e != quiche::Error::Done
        {
            self.core.stats.refused_packets += 1;
            log::debug!("{id:?}: a packet was refused: {e}");
        }
        conn.flags.repoll = true;
        conn.received = true;
        self.core.mark(conn, id);
    }

    /// Runs what is due. To be called every turn, whether or not datagrams came.
    pub fn handle_timeouts(&mut self, now: Instant) {
        while let Some((at, key)) = self.core.timers.pop_due(now) {
            let id = match key {
                TimerKey::Conn(id) => id,
                TimerKey::Stream(stream) => stream.conn,
            };
            let Some(conn) = self.table.get_mut(id) else { continue };
            match key {
                TimerKey::Conn(_) if conn.armed.fired(at) => conn.on_timeout(now, id, &mut self.core),
                TimerKey::Conn(_) => continue,
                TimerKey::Stream(stream) => conn.on_stream_timeout(now, at, stream, &mut self.core),
            }
            self.core.mark(conn, id);
        }
    }

    /// Runs HTTP/3 on every connection that something happened to, and makes [events](Endpoint::poll_event) of it.
    pub fn drive(&mut self, now: Instant) {
        for _ in 0..self.core.dirty.len() {
            let Some(id) = self.core.dirty.pop_front() else { break };
            let Some(conn) = self.table.get_mut(id) else { continue };
            conn.dirty = false;
            conn.drive(now, id, &mut self.core);
            if !std::mem::replace(&mut conn.sending, true) {
                self.core.sending.push_back(id);
            }
        }
        for (id, change) in self.core.cid_changes.drain(..) {
            match change {
                CidChange::Added(cid) => self.table.add_cid(id, cid),
                CidChange::Retired(cid) => self.table.remove_cid(id, &cid),
            }
        }
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

    /// When [`handle_timeouts`](Endpoint::handle_timeouts) has something to do at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.core.timers.next()
    }

    /// Whether there is something to drive, to take or to send at once.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let core = &self.core;
        !(core.dirty.is_empty() && core.sending.is_empty() && core.stateless.is_empty() && core.events.is_empty())
    }

    /// Whether [`drive`](Endpoint::drive) has something to do.
    #[must_use]
    pub fn needs_drive(&self) -> bool {
        !self.core.dirty.is_empty()
    }

    /// A stream to read and write, unless it or its connection is gone.
    pub fn stream(&mut self, now: Instant, id: StreamId) -> Option<Stream<'_>> {
        let conn = self.table.get_mut(id.conn)?;
        self.core.mark(conn, id.conn);
        conn.stream(now, id, &mut self.core)
    }

    /// Tells that the application is through with a stream. What it did not send is cut off, what it did not read is
    /// thrown away.
    pub fn release(&mut self, now: Instant, id: StreamId) {
        if let Some(conn) = self.table.get_mut(id.conn) {
            conn.release(now, id, &mut self.core);
            self.core.mark(conn, id.conn);
        }
    }

    /// Closes a connection with an application error code (RFC 9000 section 10.2).
    pub fn close(&mut self, id: ConnId, code: ErrorCode, reason: &[u8]) {
        if let Some(conn) = self.table.get_mut(id) {
            // Fails when it is closed already.
            let _ = conn.quic.close(true, code.0, reason);
            self.core.mark(conn, id);
        }
    }

    /// Closes every connection with an application error code.
    pub fn close_all(&mut self, code: ErrorCode, reason: &[u8]) {
        for id in self.table.ids().collect::<Vec<_>>() {
            self.close(id, code, reason);
        }
    }

    /// Reads certificate, keys and the settings of TLS anew, for the connections to come. When one of the files cannot be
    /// used everything stays as it was.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn reload(&mut self) -> Result<(), ConfigError> {
        self.core.quic = self.core.settings.to_quiche()?;
        Ok(())
    }

    /// Stops taking connections, sends GOAWAY on each (RFC 9114 section 5.2) and closes it when its last response is
    /// through.
    pub fn shutdown(&mut self) {
        self.core.draining = true;
        for id in self.table.ids().collect::<Vec<_>>() {
            if let Some(conn) = self.table.get_mut(id) {
                conn.go_away();
                self.core.mark(conn, id);
            }
        }
    }

    /// Whether every connection is closed, and the packet that says so is sent.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        !self.has_work() && self.table.ids().all(|id| self.table.get(id).is_none_or(|conn| conn.is_over()))
    }

    /// Handshakes under way.
    #[must_use]
    pub fn handshake_count(&self) -> usize {
        self.core.handshakes
    }

    /// Whether a shutdown is under way.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.core.draining
    }

    /// Connections in the table.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.table.len()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.stats
    }

    /// Connection ids in the table, for tests of leaks.
    #[cfg(test)]
    pub(crate) fn cid_count(&self) -> usize {
        self.table.cid_count()
    }

    /// Streams that peers reset and that they stopped.
    #[cfg(test)]
    pub(crate) fn given_up_by_peers(&self) -> (u64, u64) {
        let stats = self.table.ids().filter_map(|id| self.table.get(id)).map(|conn| conn.quic.stats());
        stats.fold((0, 0), |sum, s| (sum.0 + s.reset_stream_count_remote, sum.1 + s.stopped_stream_count_remote))
    }

    /// Streams of all connections that are not forgotten, for tests of leaks.
    #[cfg(test)]
    pub(crate) fn stream_count(&self) -> usize {
        self.table.ids().filter_map(|id| self.table.get(id)).map(|conn| conn.stream_count()).sum()
    }
}

impl Core {
    /// Puts a connection on the list of those to drive.
    fn mark(&mut self, conn: &mut Conn, id: ConnId) {
        if !std::mem::replace(&mut conn.dirty, true) {
            self.dirty.push_back(id);
        }
    }
}
