//! The client: requests and sessions on the same engine and the same loop as the server.

mod alt_svc;
mod error;
mod pool;
mod request;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::datagrams::DatagramHandler;
use super::exchange::Progress;
use super::session::{Session, SessionHandler};
use super::sessions::Sessions;
use crate::config::ClientConfig;
use crate::endpoint::{CloseCause, ClosedBy, Endpoint, Event, RequestError};
use crate::error::{ErrorCode, Result, StreamError};
use crate::h3::ResponseHead;
use crate::net::{self, EventLoop, Lookups, UdpSocket, Waker};
use crate::quic::table::{ConnId, StreamId};
use crate::stats::Stats;
pub use alt_svc::AltService;
pub use error::ClientError;
use pool::Pool;
pub(crate) use request::Origin;
pub use request::{ClientRequest, Fetched, ResponseHandler, SessionOptions};
use waiting::{AskedSession, Running, Waiting};

/// What [`Client::fetch`] takes at most, in bytes.
const MAX_FETCH: u64 = 64 * 1024 * 1024;
/// Rounds of engine and handlers in one turn before packets go out.
const MAX_ROUNDS_PER_TURN: usize = 4;

/// A client of HTTP/3 and WebTransport on one UDP socket, run by the thread that owns it.
///
/// Blocking, for one request at a time:
///
/// ```no_run
/// use mio_quiche::{Client, ClientConfig};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let mut client = Client::new(ClientConfig::default())?;
///     let response = client.get("https://example.com/")?;
///     println!("{}: {} bytes", response.status, response.body.len());
///     Ok(())
/// }
/// ```
///
/// For many at a time, [`start`](Client::start) requests with handlers and [`run`](Client::run) them.
pub struct Client {
    event_loop: EventLoop,
    endpoint: Endpoint,
    config: ClientConfig,
    pool: Pool,
    waiting: VecDeque<Waiting>,
    running: BTreeMap<StreamId, Running>,
    sessions: Sessions,
    /// Sessions that are asked for.
    asked: BTreeMap<StreamId, AskedSession>,
    waiting_datagrams: Vec<(Origin, Box<dyn DatagramHandler>)>,
    /// Connections for QUIC datagrams.
    datagrams: BTreeMap<ConnId, Box<dyn DatagramHandler>>,
    next_id: u64,
    signals: usize,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (waiting, running) = (self.waiting.len(), self.running.len());
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("waiting", &waiting)
            .field("running", &running)
            .finish_non_exhaustive()
    }
}

impl Drop for Client {
    /// Servers are told, so that they need not wait for their idle timeout.
    fn drop(&mut self) {
        self.close();
    }
}

/// Names a request of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

impl Client {
    /// A client; binds a UDP socket, for IPv6 and IPv4 where the system has both.
    ///
    /// # Errors
    /// A wrong setting, or what the system says of the socket.
    pub fn new(config: ClientConfig) -> Result<Self> {
        let endpoint = Endpoint::client(&config, net::now())?;
        let event_loop = EventLoop::new(any_socket(config.transport.socket_buffer)?, config.handle_signals)?;
        let lookups = Lookups::new(config.resolver.clone(), event_loop.waker());
        Ok(Client {
            pool: Pool::new(lookups, config.connect_timeout),
            event_loop,
            endpoint,
            config,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            sessions: Sessions::default(),
            asked: BTreeMap::new(),
            waiting_datagrams: Vec::new(),
            datagrams: BTreeMap::new(),
            next_id: 0,
            signals: 0,
        })
    }

    /// GET, and waits for the whole response.
    ///
    /// # Errors
    /// As [`fetch`](Client::fetch).
    pub fn get(&mut self, url: &str) -> std::result::Result<Fetched, ClientError> {
        self.fetch(ClientRequest::get(url)?)
    }

    /// Sends a request and waits for the whole response, of at most 64 MiB.
    ///
    /// # Errors
    /// Whatever kept the response from coming. An error status is a response.
    pub fn fetch(&mut self, request: ClientRequest) -> std::result::Result<Fetched, ClientError> {
        let (done, result) = mpsc::channel();
        let (body, unsent) = (request.body.clone(), request.body.clone());
        let (received, trailers) = (BytesMut::new(), HeaderMap::new());
        let collect = request::Collect { body, unsent, max: MAX_FETCH, head: None, received, trailers, done };
        let id = self.start(request, collect);
        loop {
            match result.try_recv() {
                Ok(result) => return result,
                Err(mpsc::TryRecvError::Disconnected) => return Err(ClientError::Cancelled),
                Err(mpsc::TryRecvError::Empty) => {}
            }
            if let Err(error) = self.turn(None) {
                self.cancel(id);
                return Err(error.into());
            }
            if self.signals > 0 {
                self.cancel(id);
            }
        }
    }

    /// Starts a request. It moves on in [`turn`](Client::turn) and [`run`](Client::run).
    pub fn start(&mut self, request: ClientRequest, handler: impl ResponseHandler + 'static) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let deadline = request.timeout.map(|timeout| net::now() + timeout);
        let handler = Box::new(handler);
        self.waiting.push_back(Waiting::Request(Running {
            id,
            request,
            handler,
            deadline,
            retries: 0,
            responded: false,
        }));
        id
    }

    /// Asks for a WebTransport session, on a connection of its own. The handler is told whether it
    /// [opened](SessionHandler::opened) or [failed](SessionHandler::failed).
    pub fn open_session(&mut self, request: SessionOptions, handler: impl SessionHandler + 'static) {
        let request = request.into_request();
        let deadline = request.timeout.map(|timeout| net::now() + timeout);
        self.waiting.push_back(Waiting::Session(AskedSession { request, handler: Box::new(handler), deadline }));
    }

    /// Opens a connection of its own for QUIC datagrams (RFC 9221) that are not HTTP's, with one of the
    /// [application protocols](crate::TransportConfig::alpn) of the settings: the handler is told whether it
    /// [opened](DatagramHandler::opened) or [failed](DatagramHandler::failed), sends by the handle that it is lent, and
    /// [closes](crate::Datagrams::close) the connection by it. Of the URL, host and port count. To send outside of the
    /// handler's calls, there is [`Endpoint::datagrams`].
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub fn open_datagrams(
        &mut self,
        url: &str,
        handler: impl DatagramHandler + 'static,
    ) -> std::result::Result<(), ClientError> {
        self.waiting_datagrams.push((ClientRequest::get(url)?.origin, Box::new(handler)));
        Ok(())
    }

    /// Runs a request's handler although nothing came for it, as when what it sends, or where it writes, is ready.
    pub fn wake(&mut self, id: RequestId) {
        if let Some(stream) = self.running.iter().find(|(_, running)| running.id == id).map(|(stream, _)| *stream) {
            self.poll(net::now(), stream, None);
        }
    }

    /// Uses a session outside of its handler's calls, as after a [wake](Client::waker). An error closes the session.
    /// False if it has ended.
    pub fn with_session(&mut self, id: StreamId, call: impl FnOnce(&mut Session<'_>) -> Result<()>) -> bool {
        let open = self.sessions.has(id);
        if open {
            self.sessions.with(net::now(), id, &mut self.endpoint, |_, s| call(s));
        }
        open
    }

    /// Gives a request up: the server is told by RESET_STREAM and STOP_SENDING.
    pub fn cancel(&mut self, id: RequestId) {
        self.give_up(id, ClientError::Cancelled);
    }

    /// Runs until nothing is left to do: no request, no session and no connection for datagrams.
    ///
    /// # Errors
    /// What the system reports about the socket.
    pub fn run(&mut self) -> Result<()> {
        while self.is_busy() && self.signals == 0 {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Whether a request, a session or a connection for datagrams is under way.
    pub fn is_busy(&self) -> bool {
        let requests = self.waiting.is_empty() && self.running.is_empty();
        let sessions = self.asked.is_empty() && self.sessions.is_empty();
        let datagrams = self.waiting_datagrams.is_empty() && self.datagrams.is_empty();
        !(requests && sessions && datagrams)
    }

    /// Signals that came, when the settings say that they are handled.
    pub fn signals(&self) -> usize {
        self.signals
    }

    /// A handle that ends a turn's sleep from another thread.
    pub fn waker(&self) -> Waker {
        self.event_loop.waker()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.endpoint.stats()
    }

    /// The address of our socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.event_loop.local_addr()
    }

    /// The engine, for what this type has no call for.
    pub fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// Whether connections that are open resumed an earlier session.
    pub fn resumed(&self) -> bool {
        self.pool.conns.keys().any(|id| self.endpoint.is_resumed(*id))
    }

    /// A session that a later client can resume with a server, if one is known.
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub fn ticket(&self, url: &str) -> std::result::Result<Option<Vec<u8>>, ClientError> {
        let origin = ClientRequest::get(url)?.origin;
        let known = self.pool.conns.iter().filter(|(_, c)| c.origin == origin);
        let fresh = known.filter_map(|(id, _)| self.endpoint.ticket(*id)).next().map(<[u8]>::to_vec);
        Ok(fresh.or_else(|| self.pool.tickets.get(&origin).cloned()))
    }

    /// Resumes an earlier session when a connection to this server is made.
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub fn set_ticket(&mut self, url: &str, ticket: Vec<u8>) -> std::result::Result<(), ClientError> {
        self.pool.tickets.insert(ClientRequest::get(url)?.origin, ticket);
        Ok(())
    }

    /// The alternative services that are known, to be given to a later client: those that servers named, where the
    /// [settings](ClientConfig::alt_svc) let them, and those that were added.
    pub fn alternatives(&self) -> Vec<AltService> {
        self.pool.alternatives.list(net::wall_clock())
    }

    /// Adds an alternative service, behind those that are known for its origin. New connections are made to the first one
    /// that can be reached, and to the origin if there is none.
    pub fn add_alternative(&mut self, service: AltService) {
        self.pool.alternatives.add(service);
    }

    /// Moves every connection to a new socket with another port (RFC 9000 section 9).
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn migrate(&mut self) -> Result<()> {
        self.event_loop.replace_socket(any_socket(self.config.transport.socket_buffer)?)?;
        let local = self.event_loop.local_addr();
        for id in self.pool.conns.keys() {
            if let Err(e) = self.endpoint.migrate(*id, local) {
                log::debug!("{id:?}: cannot move: {e}");
            }
        }
        Ok(())
    }

    /// Closes every connection and sends what says so, as dropping the client does.
    pub fn close(&mut self) {
        for id in self.pool.conns.keys() {
            self.endpoint.close(*id, ErrorCode::H3_NO_ERROR, b"");
        }
        let now = net::now();
        self.endpoint.drive(now);
        // Whoever does not hear it notices by its idle timeout.
        let _ = self.event_loop.transmit(&mut self.endpoint);
    }

    /// One turn of the loop: waits for something to happen, at most until `until`, and deals with it.
    ///
    /// # Errors
    /// What the system reports about the socket.
    pub fn turn(&mut self, until: Option<Instant>) -> Result<()> {
        let now = net::now();
        self.send_waiting(now);
        let idle = !self.endpoint.has_work() || self.event_loop.is_blocked();
        let deadline = match idle {
            true => {
                let running = self.running.values().filter_map(|running| running.deadline);
                let asked = self.asked.values().filter_map(|asked| asked.deadline);
                let waiting = self.waiting.iter().filter_map(Waiting::deadline);
                let deadlines = running.chain(asked).chain(waiting).min();
                let all = [self.endpoint.next_timeout(), self.pool.next_timeout(), deadlines, until];
                all.into_iter().flatten().min()
            }
            false => Some(now),
        };
        let wakeup = self.event_loop.wait(now, deadline)?;
        // The terminal that goes away ends it as Ctrl-C does.
        self.signals += wakeup.signals + usize::from(wakeup.hangup);
        let now = net::now();
        while wakeup.error
            && let Some(ip) = self.event_loop.socket().unreachable()
        {
            self.on_unreachable(now, ip);
        }
        self.event_loop.receive_at_local(now, &mut self.endpoint);
        self.endpoint.handle_timeouts(now);
        for _ in 0..MAX_ROUNDS_PER_TURN {
            self.endpoint.drive(now);
            self.dispatch_all(now);
            self.send_waiting(now);
            if !self.endpoint.needs_drive() {
                break;
            }
        }
        self.event_loop.transmit(&mut self.endpoint)?;
        if self.endpoint.needs_drive() {
            // The first flight of a resumed session has left: what can go with it shall not wait for the answer.
            self.endpoint.drive(now);
            self.dispatch_all(now);
            self.send_waiting(now);
            self.endpoint.drive(now);
            self.event_loop.transmit(&mut self.endpoint)?;
        }
        self.dispatch_all(now);
        for (origin, error) in self.pool.advance(now, self.event_loop.local_addr(), &mut self.endpoint) {
            self.fail_waiting(&origin, &error);
        }
        self.expire(now);
        Ok(())
    }

    fn dispatch_all(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            self.dispatch(now, event);
        }
    }

    fn dispatch(&mut self, now: Instant, event: Event) {
        let endpoint = &mut self.endpoint;
        match event {
            Event::Connected(id) => self.pool.on_connected(id, endpoint),
            // In the first flight of a resumed session, or when there is room again.
            Event::RequestsPossible(id) => self.pool.on_possible(id, endpoint),
            Event::Informational(id, head) => {
                if let Some(running) = self.running.get_mut(&id) {
                    running.handler.informational(&head);
                }
            }
            Event::Response(id, head) => self.on_response(now, id, &head),
            Event::Ready(id) if self.sessions.has_stream(id) => self.sessions.on_ready(now, id, endpoint),
            Event::Ready(id) => self.poll(now, id, None),
            Event::Datagram(id, payload) if self.sessions.has(id) => {
                self.sessions.on_datagram(now, id, payload, endpoint);
            }
            Event::Datagram(id, payload) => self.poll(now, id, Some(payload)),
            Event::SessionStream { session, stream } => self.sessions.on_stream(now, session, stream, endpoint),
            Event::StreamsAvailable(id) => self.sessions.on_streams_available(now, id, endpoint),
            Event::SessionDraining(id) => self.sessions.on_draining(now, id, endpoint),
            Event::SessionClosed(id, end) => {
                self.sessions.on_closed(now, id, &end);
                self.pool.ended(now, id.conn, &mut self.endpoint);
            }
            Event::GoingAway(id) => {
                if let Some(origin) = self.pool.on_leaving(id, endpoint) {
                    self.fail_waiting(&origin, &RequestError::GoingAway.into());
                }
            }
            Event::Closed(id, cause) => self.on_closed(now, id, &cause),
            Event::QuicDatagram(id, payload) => {
                if let (Some(handler), Some(mut datagrams)) = (self.datagrams.get_mut(&id), endpoint.datagrams(id)) {
                    handler.datagram(&mut datagrams, payload);
                }
            }
            // Of servers only.
            Event::Request(_) | Event::SessionRequest(_) => {}
        }
    }

    fn on_response(&mut self, now: Instant, id: StreamId, head: &ResponseHead) {
        let misdirected = !self.pool.on_response(id.conn, head, self.config.alt_svc);
        if self.asked.contains_key(&id) {
            return self.on_session_response(now, id, head);
        }
        let Some(running) = self.running.get_mut(&id) else { return };
        if misdirected && !running.request.has_body {
            // To be sent again, to the origin.
            return self.end(now, id, Err(StreamError::Reset(ErrorCode::H3_REQUEST_REJECTED).into()));
        }
        running.responded = true;
        let Some(mut stream) = self.endpoint.stream(now, id) else { return };
        match running.handler.response(&mut stream, head) {
            Err(error) => self.end(now, id, Err(error.into())),
            Ok(()) => self.poll(now, id, None),
        }
    }

    fn on_session_response(&mut self, now: Instant, id: StreamId, head: &ResponseHead) {
        let Some(AskedSession { request, mut handler, .. }) = self.asked.remove(&id) else { return };
        handler.response(head);
        if head.status.is_success() {
            self.sessions.begin(now, id, request.head.path.clone(), handler, &mut self.endpoint);
            return;
        }
        handler.failed(&ClientError::Refused(head.status));
        self.leave_asked(now, id);
    }

    fn poll(&mut self, now: Instant, id: StreamId, datagram: Option<Bytes>) {
        if self.asked.contains_key(&id) {
            return self.poll_asked(now, id);
        }
        let Some(running) = self.running.get_mut(&id) else { return };
        let Some(mut stream) = self.endpoint.stream(now, id) else { return };
        let handler = &mut running.handler;
        let taken = datagram.map_or(Ok(()), |payload| handler.datagram(&mut stream, payload));
        match taken.and_then(|()| handler.poll(&mut stream)) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Done) => self.end(now, id, Ok(())),
            Err(error) => self.end(now, id, Err(error.into())),
        }
    }

    /// A request for a session that failed before its answer.
    fn poll_asked(&mut self, now: Instant, id: StreamId) {
        let Some(mut stream) = self.endpoint.stream(now, id) else { return };
        if let Err(error) = stream.read(&mut [0]) {
            if let Some(mut asked) = self.asked.remove(&id) {
                asked.handler.failed(&error.into());
            }
            self.leave_asked(now, id);
        }
    }

    /// A session that was asked for does not come.
    fn leave_asked(&mut self, now: Instant, id: StreamId) {
        self.endpoint.release(now, id);
        self.pool.ended(now, id.conn, &mut self.endpoint);
    }

    /// A request is over.
    fn end(&mut self, now: Instant, id: StreamId, result: std::result::Result<(), ClientError>) {
        let Some(mut running) = self.running.remove(&id) else { return };
        if result.is_err()
            && let Some(mut stream) = self.endpoint.stream(now, id)
        {
            stream.reset(ErrorCode::H3_REQUEST_CANCELLED);
        }
        self.endpoint.release(now, id);
        self.pool.ended(now, id.conn, &mut self.endpoint);
        let again = matches!(&result, Err(error) if error.is_unprocessed());
        if again && running.may_restart() {
            log::debug!("{id:?}: not processed, sent again");
            if let Some(pooled) = self.pool.conns.get_mut(&id.conn) {
                pooled.closed_to_new = true;
            }
            self.waiting.push_back(Waiting::Request(running));
            return;
        }
        running.handler.finished(result);
    }

    fn give_up(&mut self, id: RequestId, error: ClientError) {
        let now = net::now();
        if let Some(stream) = self.running.iter().find(|(_, running)| running.id == id).map(|(stream, _)| *stream) {
            return self.end(now, stream, Err(error));
        }
        let mine = |waiting: &Waiting| matches!(waiting, Waiting::Request(running) if running.id == id);
        if let Some(position) = self.waiting.iter().position(mine)
            && let Some(waiting) = self.waiting.remove(position)
        {
            waiting.fail(error);
        }
    }

    /// Nobody is there: attempts at this address are given up at once, and not after their time. (ICMP is not to be
    /// trusted further than that: connections that stand are left alone, RFC 9000 section 21.1.1.4.)
    fn on_unreachable(&mut self, now: Instant, ip: IpAddr) {
        for id in self.pool.unreachable(now, ip, &self.endpoint) {
            log::debug!("{id:?}: {ip} cannot be reached");
            self.endpoint.close(id, ErrorCode::H3_NO_ERROR, b"");
            self.on_closed(now, id, &error::unreachable());
        }
    }

    fn on_closed(&mut self, now: Instant, id: ConnId, cause: &CloseCause) {
        if let (Some(pooled), Some(ticket)) = (self.pool.conns.get(&id), self.endpoint.ticket(id)) {
            self.pool.tickets.insert(pooled.origin.clone(), ticket.to_vec());
        }
        self.sessions.on_connection_closed(now, id, cause);
        if let Some(mut handler) = self.datagrams.remove(&id) {
            handler.closed(id, cause);
        }
        let was_ready = self.pool.conns.get(&id).is_some_and(|pooled| pooled.ready);
        if let Some(origin) = self.pool.on_leaving(id, &mut self.endpoint) {
            self.fail_waiting(&origin, &ClientError::Closed(cause.clone()));
        }
        let failed = self.pool.on_closed(now, id, cause);
        let (first, last) = (StreamId { conn: id, id: 0 }, StreamId { conn: id, id: u64::MAX });
        let cut: Vec<StreamId> = self.running.range(first..=last).map(|(id, _)| *id).collect();
        for stream in cut {
            let Some(mut running) = self.running.remove(&stream) else { continue };
            // RFC 9110 section 9.2.2: the server closed a connection that was kept, maybe before it saw the request.
            let polite = cause.by == ClosedBy::Peer && cause.application && cause.code == ErrorCode::H3_NO_ERROR;
            let again = polite && running.request.head.method.is_idempotent() && !running.responded;
            if again && running.may_restart() {
                self.waiting.push_back(Waiting::Request(running));
            } else {
                running.handler.finished(Err(ClientError::Closed(cause.clone())));
            }
        }
        let asked: Vec<StreamId> = self.asked.range(first..=last).map(|(id, _)| *id).collect();
        for stream in asked {
            if let Some(mut asked) = self.asked.remove(&stream) {
                asked.handler.failed(&ClientError::Closed(cause.clone()));
            }
        }
        let Some((origin, cause)) = failed.filter(|_| !was_ready) else { return };
        let host = origin.to_string();
        let is_timeout = cause.by == ClosedBy::IdleTimeout || cause.reason == "handshake timeout";
        let seconds = self.config.connect_timeout.as_secs_f64();
        let error = match is_timeout {
            true => ClientError::ConnectTimeout { host, seconds },
            false => ClientError::Handshake { host, cause },
        };
        self.fail_waiting(&origin, &error);
    }
}

/// A socket for IPv6 and IPv4, or for IPv4 where the system has nothing else.
fn any_socket(buffer: usize) -> Result<UdpSocket> {
    let v6 = UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), buffer);
    let socket = v6.or_else(|_| UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), buffer))?;
    if let Err(e) = socket.keep_errors() {
        log::debug!("what cannot be reached is found out by waiting: {e}");
    }
    Ok(socket)
}
