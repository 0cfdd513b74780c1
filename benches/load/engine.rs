//! The connections and the loop that drives them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Events, Interest, Poll, Token};
use quiche::h3;
use quiche::{BufFactory, ConnectionId, RecvInfo};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

use crate::Result;
use crate::exchange::{Exchange, Exchanges};
use crate::message::{self, Answer, Statuses};
use crate::plan::Plan;
use crate::process::cpu_seconds;
use crate::report::Tally;
use crate::udp::{Inbox, Udp};

/// A connection whose stream data is `Bytes`, so that an upload is not copied on its way to the packets.
pub(crate) type Quic = quiche::Connection<BytesFactory>;

/// Length of our connection ids: the connection's index, then four random bytes.
const CID_LEN: usize = 8;

/// Handshakes at a time, few enough not to overflow the server's receive buffer.
const MAX_OPENING: usize = 32;

/// Batches taken from one socket per turn.
const MAX_BATCHES: usize = 4;

/// Body bytes handed to quiche, or taken from it, at a time.
const CHUNK: usize = 256 << 10;

/// Makes quiche's stream buffers of `Bytes`.
#[derive(Clone, Debug, Default)]
pub(crate) struct BytesFactory;

impl BufFactory for BytesFactory {
    type Buf = Bytes;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(buf: &[u8]) -> Bytes {
        Bytes::copy_from_slice(buf)
    }

    fn dgram_buf_from_slice(buf: &[u8]) -> Vec<u8> {
        buf.into()
    }
}

struct Conn {
    quic: Quic,
    cid: [u8; CID_LEN],
    begun: Instant,
    h3: Option<h3::Connection>,
    socket: usize,
    exchanges: Exchanges,
    started: u64,
    /// Some request is not sent completely.
    is_sending: bool,
    /// The server wants no more requests.
    goaway: bool,
    dirty: bool,
    lost: bool,
    /// It is closed as planned; once that is sent, another takes its place.
    finished: bool,
}

/// All connections, their sockets and the counters.
pub(crate) struct Engine {
    plan: Plan,
    config: quiche::Config,
    h3_config: h3::Config,
    /// The head of every request.
    request: Bytes,
    poll: Poll,
    sockets: Vec<Udp>,
    /// Whether a socket may hold packets.
    readable: Vec<bool>,
    inbox: Inbox,
    conns: Vec<Conn>,
    /// When each connection's timer is due; beside `conns`, as every turn reads all of it.
    deadlines: Vec<Option<Instant>>,
    /// Connections to drive and to flush in this turn.
    dirty: Vec<usize>,
    established: usize,
    lost: usize,
    /// TLS sessions to resume.
    tickets: VecDeque<Vec<u8>>,
    /// Requests that may still be started.
    budget: u64,
    block: Bytes,
    scratch: Box<[u8]>,
    statuses: Statuses,
    hash: Option<digest::Context>,
    tally: Tally,
    begun: Instant,
    cpu: (f64, Option<f64>),
}

impl Engine {
    pub(crate) fn new(plan: Plan) -> Result<Self> {
        let poll = Poll::new()?;
        let mut sockets = Vec::new();
        for index in 0..plan.sockets.clamp(1, plan.connections) {
            let mut udp = Udp::connect(plan.peer)?;
            poll.registry().register(&mut udp.io, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            sockets.push(udp);
        }

        Ok(Self {
            config: plan.config()?,
            h3_config: h3::Config::new()?,
            request: message::request(&plan.authority, &plan.path, plan.upload)?,
            poll,
            readable: vec![true; sockets.len()],
            sockets,
            inbox: Inbox::new(),
            conns: Vec::new(),
            deadlines: Vec::new(),
            dirty: Vec::new(),
            established: 0,
            lost: 0,
            tickets: VecDeque::new(),
            budget: 0,
            block: vec![0; CHUNK].into(),
            scratch: vec![0; CHUNK].into(),
            statuses: Statuses::default(),
            hash: plan.sha256.then(|| digest::Context::new(&digest::SHA256)),
            tally: Tally::new(),
            begun: Instant::now(),
            cpu: (0.0, None),
            plan,
        })
    }

    /// Opens all connections; an error when one fails.
    pub(crate) fn open(&mut self) -> Result<()> {
        self.turns(None, |e| e.established == e.plan.connections || e.lost > 0)?;
        self.tally.failure.take().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Starts the clock and the requests.
    pub(crate) fn begin(&mut self) {
        self.budget = self.plan.requests;
        for index in 0..self.conns.len() {
            self.mark(index);
        }
        self.cpu = self.cpu_now();
        self.begun = Instant::now();
    }

    /// Turns the loop until all requests are answered or `duration` is over.
    pub(crate) fn load(&mut self, duration: Option<Duration>) -> Result<()> {
        let until = duration.map(|d| self.begun + d);
        self.turns(until, |e| e.tally.answers() + e.tally.errors >= e.plan.requests || e.all_lost())
    }

    /// Whether nothing has failed yet.
    pub(crate) fn is_fine(&self) -> bool {
        self.tally.failure.is_none()
    }

    /// Keeps the connections open for `duration`, or until one is lost.
    pub(crate) fn hold(&mut self, duration: Duration) -> Result<()> {
        self.turns(Some(Instant::now() + duration), |e| e.lost > 0)
    }

    /// Seconds and CPU seconds, ours and the server's, since `begin`.
    pub(crate) fn elapsed(&self) -> (f64, f64, Option<f64>) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (client, server) = self.cpu_now();
        (seconds, client - self.cpu.0, server.zip(self.cpu.1).map(|(now, then)| now - then))
    }

    /// The digest of all body bytes, if it was asked for.
    pub(crate) fn sha256(&mut self) -> Option<String> {
        let digest = self.hash.take()?.finish();
        Some(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Packets that were sent and declared lost.
    pub(crate) fn packets_lost(&self) -> usize {
        self.conns.iter().map(|conn| conn.quic.stats().lost).sum()
    }

    /// Tells the server that we leave and returns the counters.
    pub(crate) fn close(mut self) -> Tally {
        for index in 0..self.conns.len() {
            let conn = &mut self.conns[index];
            conn.lost = true;
            // An error means that it is closed already.
            let _ = conn.quic.close(true, h3::WireErrorCode::NoError as u64, b"");
            self.mark(index);
        }
        // Nor does it matter if the server is gone by now.
        let _ = self.transmit();
        self.tally
    }

    fn cpu_now(&self) -> (f64, Option<f64>) {
        let servers: Vec<f64> = self.plan.server_pids.iter().copied().filter_map(cpu_seconds).collect();
        let server = (!servers.is_empty()).then(|| servers.iter().sum());
        (cpu_seconds(std::process::id()).unwrap_or(0.0), server)
    }

    fn all_lost(&self) -> bool {
        self.lost == self.conns.len()
    }

    fn mark(&mut self, index: usize) {
        if !std::mem::replace(&mut self.conns[index].dirty, true) {
            self.dirty.push(index);
        }
    }

    /// Turns the loop until `done`, or until that time has come.
    fn turns(&mut self, until: Option<Instant>, done: impl Fn(&Self) -> bool) -> Result<()> {
        let mut events = Events::with_capacity(64);
        loop {
            while self.conns.len() < self.plan.connections
                && self.conns.len() < self.established + self.lost + MAX_OPENING
            {
                self.connect()?;
            }
            let now = Instant::now();
            for n in 0..self.dirty.len() {
                self.drive(self.dirty[n], now)?;
            }
            self.transmit()?;
            if done(self) || until.is_some_and(|until| now >= until) {
                return Ok(());
            }
            if !self.plan.gather.is_zero() {
                std::thread::sleep(self.plan.gather);
            }
            self.wait(&mut events, until)?;
            self.receive()?;
            self.expire();
        }
    }

    fn connect(&mut self) -> Result<()> {
        let index = self.conns.len();
        let conn = self.new_conn(index)?;
        self.conns.push(conn);
        self.deadlines.push(None);
        self.mark(index);
        Ok(())
    }

    fn new_conn(&mut self, index: usize) -> Result<Conn> {
        let socket = index % self.sockets.len();
        let mut cid = [0; CID_LEN];
        cid[..4].copy_from_slice(&u32::try_from(index)?.to_be_bytes());
        SystemRandom::new().fill(&mut cid[4..]).map_err(|_| "no random bytes")?;
        let mut quic = quiche::connect_with_buffer_factory(
            self.plan.server_name.as_deref(),
            &ConnectionId::from_ref(&cid),
            self.sockets[socket].local,
            self.plan.peer,
            &mut self.config,
        )?;
        if let Some(ticket) = self.tickets.pop_front() {
            quic.set_session(&ticket)?;
        }
        Ok(Conn {
            quic,
            cid,
            begun: Instant::now(),
            h3: None,
            socket,
            exchanges: Exchanges::default(),
            started: 0,
            is_sending: false,
            goaway: false,
            dirty: false,
            lost: false,
            finished: false,
        })
    }

    /// Closes a connection that has made its requests, and keeps its TLS session.
    fn leave(&mut self, index: usize) {
        let Conn { quic, exchanges, started, finished, lost, .. } = &mut self.conns[index];
        if *finished || *lost || *started < self.plan.requests_per_connection || exchanges.open > 0 {
            return;
        }
        self.tally.resumed += u64::from(quic.is_resumed());
        if self.plan.resume {
            self.tickets.extend(quic.session().map(<[u8]>::to_vec));
        }
        *finished = true;
        // An error means that it is closed already.
        let _ = quic.close(true, h3::WireErrorCode::NoError as u64, b"");
    }

    /// All HTTP/3 work of one connection, once per turn.
    fn drive(&mut self, index: usize, now: Instant) -> Result<()> {
        let conn = &mut self.conns[index];
        if conn.h3.is_none() {
            if !conn.quic.is_established() {
                return Ok(());
            }
            conn.h3 = Some(h3::Connection::with_transport(&mut conn.quic, &self.h3_config)?);
            self.established += 1;
        }
        self.read_answers(index, now);
        self.start_requests(index, now);

        let Conn { quic, exchanges, is_sending, .. } = &mut self.conns[index];
        if *is_sending {
            *is_sending = false;
            for (stream, exchange) in exchanges.iter_mut() {
                self.tally.sent += exchange.send(quic, stream, &self.block);
                *is_sending |= !exchange.is_sent();
            }
        }
        if self.plan.reconnect {
            self.leave(index);
        }
        Ok(())
    }

    /// Reads all readable streams: the requests' here, the control streams by quiche.
    fn read_answers(&mut self, index: usize, now: Instant) {
        let Self { conns, tally, scratch, hash, statuses, plan, .. } = self;
        let Conn { quic, h3, exchanges, goaway, begun, .. } = &mut conns[index];
        let mut control = false;
        for stream in quic.readable() {
            if !stream.is_multiple_of(4) {
                control = true;
                continue;
            }
            let mut finished = false;
            let mut failure = None;
            while !finished {
                let (len, fin) = match quic.stream_recv(stream, scratch) {
                    Ok(read) => read,
                    Err(quiche::Error::Done) => break,
                    Err(e) => {
                        finished = true;
                        failure = Some(format!("answer broken off: {e:?}"));
                        break;
                    }
                };
                finished = fin;
                let Some(exchange) = exchanges.get(stream) else {
                    continue;
                };
                let read = exchange.answer.read(&scratch[..len], statuses, |body| {
                    tally.received += body.len() as u64;
                    if let Some(hash) = hash {
                        hash.update(body);
                    }
                });
                if let Err(what) = read {
                    failure.get_or_insert(what);
                }
                // A read that did not fill the buffer has emptied the stream.
                if len < scratch.len() {
                    break;
                }
            }
            if !finished && failure.is_none() {
                continue;
            }
            // What still comes after a failure is read and dropped.
            let Some(exchange) = exchanges.take(stream) else {
                continue;
            };
            let status = exchange.answer.status.unwrap_or(0);
            if let Some(what) = failure {
                tally.fail(1, || what);
            } else if !exchange.answer.is_complete() {
                tally.fail(1, || format!("answer {status} cut short"));
            } else if !exchange.is_sent() {
                tally.fail(1, || format!("answer {status} with {} bytes still to send", exchange.body));
            } else {
                *tally.statuses.entry(status).or_default() += 1;
                tally.latency.add(now - if plan.reconnect { *begun } else { exchange.begun });
            }
        }

        // quiche would read request streams too, so it may be called only now, when they are empty.
        while let Some(h3) = h3.as_mut().filter(|_| control) {
            match h3.poll(quic) {
                Ok((_, h3::Event::GoAway)) => *goaway = true,
                Ok(_) => (),
                // Done; after any other error quiche closes the connection, which `transmit` counts.
                Err(_) => break,
            }
        }
        if *goaway && exchanges.open == 0 {
            tally.fail(0, || "server sent GOAWAY".into());
            // An error means that it is closed already.
            let _ = quic.close(true, h3::WireErrorCode::NoError as u64, b"");
        }
    }

    /// Fills a connection up with requests.
    fn start_requests(&mut self, index: usize, now: Instant) {
        let Conn { quic, exchanges, started, is_sending, goaway, .. } = &mut self.conns[index];
        while exchanges.open < self.plan.streams
            && self.budget > 0
            && *started < self.plan.requests_per_connection
            && quic.peer_streams_left_bidi() > 0
            && !*goaway
            && !quic.is_draining()
            // The streams before have taken all there is to send.
            && !*is_sending
        {
            let mut exchange =
                Exchange { begun: now, answer: Answer::default(), head: self.request.clone(), body: self.plan.upload };
            self.tally.sent += exchange.send(quic, exchanges.next_stream(), &self.block);
            *is_sending = !exchange.is_sent();
            exchanges.push(exchange);
            self.budget -= 1;
            *started += 1;
        }
    }

    /// Sends what the dirty connections have to send and sees which are lost.
    fn transmit(&mut self) -> Result<()> {
        let mut blocked = Vec::new();
        for index in std::mem::take(&mut self.dirty) {
            if self.flush(index)? && self.conns[index].finished {
                self.conns[index] = self.new_conn(index)?;
                self.flush(index)?;
            }
            let conn = &mut self.conns[index];
            if conn.dirty {
                blocked.push(index);
                continue;
            }
            if !conn.lost && (conn.quic.is_closed() || conn.quic.is_draining()) {
                conn.lost = true;
                self.lost += 1;
                let open = conn.exchanges.open as u64;
                self.tally.fail(open.max(1), || format!("connection lost: {}", cause(&conn.quic)));
            }
        }
        self.dirty = blocked;
        Ok(())
    }

    /// Sends all that a connection has to send; false, and it stays dirty, when the socket would block.
    fn flush(&mut self, index: usize) -> Result<bool> {
        let conn = &mut self.conns[index];
        let sent = self.sockets[conn.socket].flush(&mut conn.quic).map_err(|e| self.plan.explain(e))?;
        conn.dirty = !sent;
        if sent {
            self.deadlines[index] = conn.quic.timeout_instant();
        }
        Ok(sent)
    }

    /// Sleeps until a packet, a timer or `until`.
    fn wait(&mut self, events: &mut Events, until: Option<Instant>) -> io::Result<()> {
        let timeout = if self.readable.contains(&true) {
            Some(Duration::ZERO)
        } else {
            let next = self.deadlines.iter().copied().flatten().chain(until).min();
            next.map(|next| next.saturating_duration_since(Instant::now()))
        };
        match self.poll.poll(events, timeout) {
            Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e),
            _ => (),
        }
        for event in &*events {
            // A writable event needs no more than this wake-up: blocked connections are still dirty.
            self.readable[event.token().0] |= event.is_readable();
        }
        Ok(())
    }

    /// Hands what the sockets hold to the connections.
    fn receive(&mut self) -> Result<()> {
        let Self { sockets, readable, inbox, conns, dirty, plan, .. } = self;
        for (udp, readable) in sockets.iter().zip(readable) {
            let info = RecvInfo { from: plan.peer, to: udp.local };
            for _ in 0..MAX_BATCHES {
                if !*readable {
                    break;
                }
                let more = inbox.receive(udp, |packet| {
                    let found = connection_of(packet).and_then(|cid| {
                        let index = usize::try_from(u32::from_be_bytes(cid.first_chunk().copied()?)).ok()?;
                        conns.get_mut(index).filter(|conn| conn.cid == cid).map(|conn| (index, conn))
                    });
                    // Others are of a connection that has given its place to another.
                    if let Some((index, conn)) = found {
                        // An error has closed the connection, which `transmit` counts.
                        let _ = conn.quic.recv(packet, info);
                        if !std::mem::replace(&mut conn.dirty, true) {
                            dirty.push(index);
                        }
                    }
                });
                *readable = more.map_err(|e| plan.explain(e))?;
            }
        }
        Ok(())
    }

    /// Runs the timers that are due.
    fn expire(&mut self) {
        let now = Instant::now();
        for index in 0..self.deadlines.len() {
            if self.deadlines[index].is_some_and(|deadline| deadline <= now) {
                self.conns[index].quic.on_timeout();
                self.mark(index);
            }
        }
    }
}

/// The destination connection id of a packet.
fn connection_of(packet: &[u8]) -> Option<[u8; CID_LEN]> {
    let long_header = packet.first()? & 0x80 != 0;
    packet.get(if long_header { 6 } else { 1 }..)?.first_chunk().copied()
}

/// Why a connection is closed.
fn cause(quic: &Quic) -> String {
    let closed = |who: &str, error: &quiche::ConnectionError| {
        let layer = if error.is_app { "HTTP/3" } else { "QUIC" };
        let reason = String::from_utf8_lossy(&error.reason);
        format!("closed by the {who}, {layer} code {:#x} {reason}", error.error_code)
    };
    match (quic.peer_error(), quic.local_error()) {
        (Some(error), _) => closed("server", error),
        (_, Some(error)) => closed("client", error),
        _ if quic.is_timed_out() => "idle timeout".into(),
        _ => "reset by the server".into(),
    }
}
