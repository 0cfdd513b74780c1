//! The server: the event loop's turns, and events turned into handler calls.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{DATE, HeaderValue};
use http::{Method, StatusCode};

use super::admin::Admin;
use super::mailbox::{self, Mailbox, Message};
use super::origin;
use super::panics::{self, catch};
use super::response::{Answer, Body, Collect, Later, Reply, Response};
use super::router::Router;
use super::session::{SessionDecision, SessionResponse};
use super::sessions::Sessions;
use super::stream_handler::{Progress, SendWhole, StreamHandler};
use crate::config::ServerConfig;
use crate::endpoint::{Endpoint, Event, Stream};
use crate::error::{Error, ErrorCode, Result, StreamError};
use crate::h3::{Request, ResponseHead};
use crate::net::{self, EventLoop, UdpSocket, Waker};
#[cfg(feature = "admin")]
use crate::observe::prometheus::Snapshot;
use crate::stats::{PanicCounts, ResponseCounts, Stats};
use crate::transport::table::{ConnId, StreamId};
use crate::turn::Application;

/// Time for sessions to end by themselves in a shutdown, unless half of the
/// [shutdown timeout](ServerConfig::shutdown_timeout) is shorter.
const SESSION_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP/3 server on one UDP socket, run by the thread that calls [`run`](Server::run).
///
/// ```no_run
/// use mio_quiche::{Router, Server, ServerConfig};
///
/// fn main() -> mio_quiche::Result<()> {
///     let app = Router::new().get("/", |_req, res| res.text("Hello, HTTP/3!\n"));
///     Server::bind("[::]:4433", ServerConfig::from_pem("certs/cert.pem", "certs/key.pem")?, app)?.run()
/// }
/// ```
#[derive(Debug)]
pub struct Server {
    event_loop: EventLoop,
    endpoint: Endpoint,
    app: App,
    admin: Option<Admin>,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    shutdown_timeout: Duration,
}

/// Stops a server from another thread.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    waker: Waker,
}

impl ServerHandle {
    /// Begins a graceful shutdown, as SIGTERM does.
    ///
    /// # Errors
    /// The error of the system when the loop cannot be woken.
    pub fn shutdown(&self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        Ok(self.waker.wake()?)
    }

    /// Reloads certificate, private key and ticket key for new connections, as SIGHUP does. If a file cannot be used,
    /// the error is logged and nothing changes.
    ///
    /// # Errors
    /// The error of the system when the loop cannot be woken.
    pub fn reload(&self) -> Result<()> {
        self.reload.store(true, Ordering::Release);
        Ok(self.waker.wake()?)
    }
}

impl Server {
    /// Binds the UDP address, such as `[::]:4433` for IPv6 and IPv4 (or IPv4 alone, where the system has no IPv6), and
    /// checks settings and routes.
    ///
    /// # Errors
    /// An address that cannot be parsed or bound, an invalid setting, or a conflict between routes.
    pub fn bind(addr: &str, mut config: ServerConfig, router: Router) -> Result<Self> {
        router.check()?;
        config.webtransport.enabled |= router.has_sessions();
        let addr: SocketAddr = addr.parse().map_err(|_| crate::error::ConfigError::Range {
            setting: "the address to listen on",
            value: format!("'{addr}'"),
            expected: "ADDRESS:PORT, such as 127.0.0.1:4433 or [::]:4433",
        })?;
        let (shutdown_timeout, admin) = (config.shutdown_timeout, Admin::asked_for(&config));
        let (signals, buffer) = (config.handle_signals, config.transport.socket_buffer);
        let mut allow_origins = config.webtransport.allow_origins.clone();
        let endpoint = Endpoint::server(config, net::now(), net::wall_clock())?;
        let event_loop = EventLoop::new(UdpSocket::bind(addr, buffer)?, signals)?;
        let admin = admin.map(|asked| Admin::open(asked, &event_loop)).transpose()?;
        allow_origins.extend(admin.iter().flat_map(Admin::origins));
        let app = App::new(router, allow_origins, mailbox::waking(event_loop.waker()));
        Ok(Server { event_loop, endpoint, app, admin, stop: Arc::default(), reload: Arc::default(), shutdown_timeout })
    }

    /// The address that the server listens on, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.event_loop.local_addr()
    }

    /// The address of the admin port, if [`ServerConfig::admin`] is set.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::local_addr)
    }

    /// A handle that stops the server from another thread.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { stop: self.stop.clone(), reload: self.reload.clone(), waker: self.event_loop.waker() }
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.endpoint.stats()
    }

    #[cfg(feature = "admin")]
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            stats: self.endpoint.stats(),
            responses: self.app.responses.clone(),
            panics: self.app.panics(),
            connections: self.endpoint.connection_count(),
            handshakes: self.endpoint.handshake_count(),
            sessions: self.endpoint.session_count(),
            shutting_down: self.endpoint.is_shutting_down(),
        }
    }

    /// Serves until a shutdown: after SIGINT, SIGTERM or [`ServerHandle::shutdown`] it takes no new requests, lets
    /// the running ones end (for at most [`ServerConfig::shutdown_timeout`]), closes every connection and returns. A
    /// second signal makes it return at once.
    ///
    /// # Errors
    /// An error of the socket.
    pub fn run(&mut self) -> Result<()> {
        let mut signals = 0;
        let mut shutdown_deadline: Option<Instant> = None;
        let mut session_deadline: Option<Instant> = None;
        loop {
            let now = net::now();
            let until = [shutdown_deadline, session_deadline].into_iter().flatten().min();
            let wakeup = self.event_loop.sleep(now, &self.endpoint, until)?;
            let now = net::now();
            signals += wakeup.signals;
            if wakeup.hangup || (wakeup.waker && self.reload.swap(false, Ordering::AcqRel)) {
                let read = self.endpoint.reload().map_err(Error::from);
                match read.and_then(|()| self.admin.as_ref().map_or(Ok(()), Admin::reload)) {
                    Ok(()) => log::info!("certificate and keys reloaded"),
                    Err(e) => log::error!("certificate and keys were not reloaded: {e}"),
                }
            }
            if wakeup.user1 {
                match self.endpoint.reopen_logs() {
                    Ok(()) => log::info!("key log opened again"),
                    Err(e) => log::error!("the key log stays as it is: {e}"),
                }
            }
            let must_stop = signals > 0 || (wakeup.waker && self.stop.load(Ordering::Acquire));
            if must_stop && shutdown_deadline.is_none() {
                log::info!("shutting down: {} connections open", self.endpoint.connection_count());
                shutdown_deadline = Some(now + self.shutdown_timeout);
                session_deadline = Some(now + SESSION_SHUTDOWN_TIMEOUT.min(self.shutdown_timeout / 2));
                self.endpoint.shutdown();
            }
            if signals > 1 {
                log::info!("second signal: stopping at once");
                return Ok(());
            }
            if session_deadline.is_some_and(|at| at <= now) {
                session_deadline = None;
                self.endpoint.close_sessions(now, 0, "shutting down");
            }
            self.turn(now)?;
            #[cfg(feature = "admin")]
            if let Some(admin) = self.admin.as_ref().filter(|_| wakeup.waker) {
                admin.answer(|| self.snapshot());
            }
            if let Some(deadline) = shutdown_deadline {
                if self.endpoint.is_shut_down() {
                    return Ok(());
                }
                if now >= deadline {
                    log::warn!("{} connections did not end in time", self.endpoint.connection_count());
                    // So that no client waits for responses that will not come.
                    self.endpoint.close_all(ErrorCode::H3_NO_ERROR, b"shutting down");
                    self.turn(now)?;
                    return Ok(());
                }
            }
        }
    }

    fn turn(&mut self, now: Instant) -> Result<()> {
        Ok(self.event_loop.turn(now, &mut self.endpoint, &mut self.app)?)
    }
}

/// Turns the engine's events into handler calls.
pub(crate) struct App {
    router: Router,
    running: BTreeMap<StreamId, Running>,
    sessions: Sessions,
    /// Connections on which a QUIC datagram arrived.
    datagram_conns: HashSet<ConnId>,
    allow_origins: Vec<String>,
    mailbox: Mailbox,
    responses: ResponseCounts,
    panics: PanicCounts,
    /// The current second, and its `date` field.
    date: (u64, HeaderValue),
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("router", &self.router).field("running", &self.running.len()).finish()
    }
}

struct Running {
    request: Box<Request>,
    handler: Sender,
    began: Instant,
}

/// The handler of a response body. A body in memory is by far the most frequent, and needs no box.
enum Sender {
    Whole(SendWhole),
    Handler(Box<dyn StreamHandler>),
    /// Somebody else makes the response.
    Later(Later),
    /// The request's body is read first. With what the handler set before.
    Collect(Collect, ResponseHead),
}

impl Sender {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        match self {
            Sender::Whole(response) => response.poll(s),
            Sender::Handler(handler) => catch(|| handler.poll(s))?,
            Sender::Later(_) => Ok(Progress::Pending),
            Sender::Collect(collect, _) => Ok(if collect.poll(s)? { Progress::Done } else { Progress::Pending }),
        }
    }

    fn datagram(&mut self, s: &mut Stream<'_>, payload: Bytes) -> Result<()> {
        match self {
            Sender::Whole(_) | Sender::Later(_) | Sender::Collect(..) => Ok(()),
            Sender::Handler(handler) => catch(|| handler.datagram(s, payload))?,
        }
    }
}

impl App {
    /// `wake` ends the sleep of the loop that runs this.
    pub(crate) fn new(router: Router, allow_origins: Vec<String>, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let date = (0, HeaderValue::from_static(""));
        let mailbox = Mailbox::new(wake);
        App {
            router,
            running: BTreeMap::new(),
            sessions: Sessions::of_server(mailbox.post()),
            datagram_conns: HashSet::new(),
            allow_origins,
            mailbox,
            responses: ResponseCounts::default(),
            panics: PanicCounts::default(),
            date,
        }
    }

    /// Number of responses that are not finished.
    #[cfg(test)]
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether nothing is left: no response, session or stream of one.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.sessions.is_idle() && self.datagram_conns.is_empty()
    }

    /// Panics of handlers so far.
    pub(super) fn panics(&self) -> PanicCounts {
        self.panics.clone().sum(self.sessions.panics())
    }

    /// A handler panicked, for which nobody else logs it.
    fn panicked(&mut self, route: Option<&str>, error: &Error) {
        panics::count(&mut self.panics, route, error);
        log::error!("{}: {error}", route.unwrap_or("-"));
    }

    /// The response that a handler made, or that for its panic.
    fn made(&mut self, request: &Request, made: Result<Response>) -> Response {
        made.unwrap_or_else(|error| {
            self.panicked(request.pattern(), &error);
            Response::plain(StatusCode::INTERNAL_SERVER_ERROR)
        })
    }

    fn on_quic_datagram(&mut self, id: ConnId, payload: Bytes, endpoint: &mut Endpoint) {
        let (Some(handler), Some(mut datagrams)) = (&mut self.router.datagrams, endpoint.datagrams(id)) else { return };
        let is_new = self.datagram_conns.insert(id);
        let called = catch(|| {
            if is_new {
                handler.opened(&mut datagrams);
            }
            handler.datagram(&mut datagrams, payload);
        });
        if let Err(error) = called {
            self.panicked(None, &error);
        }
    }

    fn on_request(&mut self, now: Instant, mut request: Box<Request>, endpoint: &mut Endpoint) {
        let made = catch(|| self.router.call(&mut request));
        let response = self.made(&request, made);
        self.respond(now, request, now, response, endpoint);
    }

    fn on_session_request(&mut self, now: Instant, mut request: Box<Request>, endpoint: &mut Endpoint) {
        if !origin::is_allowed(&request, &self.allow_origins) {
            let origin = request.header("origin").unwrap_or("none").to_owned();
            log::info!("{:?}: session rejected because of its origin: {origin}", request.stream_id());
            let body = format!("origin {origin} is not allowed here\n");
            return self.respond(now, request, now, Response::default().status(403).text(body), endpoint);
        }
        let response = catch(|| self.router.open_session(&mut request)).unwrap_or_else(|error| {
            self.panicked(request.pattern(), &error);
            SessionResponse::reject(Response::plain(StatusCode::INTERNAL_SERVER_ERROR))
        });
        match response.0 {
            SessionDecision::Accept(handler, headers) => self.sessions.accept(now, request, handler, headers, endpoint),
            SessionDecision::Reject(response) => self.respond(now, request, now, *response, endpoint),
        }
    }

    /// Begins the response to a request that came at `began`.
    fn respond(
        &mut self,
        now: Instant,
        request: Box<Request>,
        began: Instant,
        mut response: Response,
        endpoint: &mut Endpoint,
    ) {
        let id = request.stream_id();
        response.complete(&request);
        response.head.headers.entry(DATE).or_insert_with(|| self.date.now());
        let Response { head, body } = response;
        let handler = match body {
            Body::Collect(collect) if !collect.allows(request.content_length()) => {
                let response = Response::plain(StatusCode::PAYLOAD_TOO_LARGE);
                return self.respond(now, request, began, response, endpoint);
            }
            Body::Collect(collect) => Sender::Collect(collect, head),
            Body::Later(start) => return self.answer_later(now, request, began, head, start, endpoint),
            // RFC 9110 section 9.3.2: the response to GET, without its body.
            _ if request.method() == Method::HEAD => Sender::Whole(SendWhole { head: Some(head), body: Bytes::new() }),
            Body::Bytes(body) => Sender::Whole(SendWhole { head: Some(head), body }),
            Body::Handler(handler) => {
                let Some(mut stream) = endpoint.stream(now, id) else { return };
                stream.set_head(head);
                Sender::Handler(handler)
            }
        };
        let running = Running { request, handler, began };
        self.run(now, id, running, None, endpoint);
    }

    fn answer_later(
        &mut self,
        now: Instant,
        request: Box<Request>,
        began: Instant,
        head: ResponseHead,
        start: Box<dyn FnOnce(Reply)>,
        endpoint: &mut Endpoint,
    ) {
        let id = request.stream_id();
        let route = request.pattern().map(str::to_owned);
        let mailbox = self.mailbox.clone();
        let (later, reply) = Later::new(head, move |answer| mailbox.reply(id, answer));
        self.run(now, id, Running { request, handler: Sender::Later(later), began }, None, endpoint);
        if let Err(error) = catch(|| start(reply)) {
            self.panicked(route.as_deref(), &error);
        }
    }

    /// The body of a request is whole.
    fn on_body(&mut self, now: Instant, running: Running, endpoint: &mut Endpoint) {
        let Running { request, handler: Sender::Collect(collect, head), began } = running else { return };
        let made = catch(|| collect.finish(&request, Response { head, ..Response::default() }));
        let response = self.made(&request, made);
        self.respond(now, request, began, response, endpoint);
    }

    /// A response that was promised is there, or will not be.
    fn on_reply(&mut self, now: Instant, id: StreamId, answer: Option<Answer>, endpoint: &mut Endpoint) {
        // The client may be gone.
        let Some(Running { request, handler: Sender::Later(later), began }) = self.running.remove(&id) else {
            return;
        };
        let head = later.head.clone();
        let response = match answer {
            Some(answer) => {
                let made = catch(|| answer(Response { head, ..Response::default() }));
                self.made(&request, made)
            }
            None => {
                log::error!("{id:?}: {}: the reply was dropped unanswered", request.pattern().unwrap_or("-"));
                Response::plain(StatusCode::INTERNAL_SERVER_ERROR)
            }
        };
        self.respond(now, request, began, response, endpoint);
    }

    fn on_datagram(&mut self, now: Instant, id: StreamId, payload: Bytes, endpoint: &mut Endpoint) {
        if let Some(running) = self.running.remove(&id) {
            self.run(now, id, running, Some(payload), endpoint);
        }
    }

    fn on_ready(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        if let Some(running) = self.running.remove(&id) {
            self.run(now, id, running, None, endpoint);
        }
    }

    fn run(
        &mut self,
        now: Instant,
        id: StreamId,
        mut running: Running,
        datagram: Option<Bytes>,
        endpoint: &mut Endpoint,
    ) {
        let Some(mut stream) = endpoint.stream(now, id) else { return };
        // A handler that waits for something else would not notice that the peer stopped the stream.
        let cancelled = stream.send_failure().map_or(Ok(()), |error| Err(Error::Stream(error)));
        let handler = &mut running.handler;
        let needs_body = matches!(handler, Sender::Collect(..));
        let taken = cancelled.and_then(|()| datagram.map_or(Ok(()), |payload| handler.datagram(&mut stream, payload)));
        let result = taken.and_then(|()| handler.poll(&mut stream)).and_then(|progress| {
            if progress == Progress::Done && stream.is_sending() && !needs_body {
                stream.finish()?;
            }
            Ok(progress)
        });
        let error = match result {
            Ok(Progress::Pending) => {
                self.running.insert(id, running);
                return;
            }
            Ok(Progress::Done) if needs_body => return self.on_body(now, running, endpoint),
            Ok(Progress::Done) => None,
            Err(error) => {
                let route = running.request.pattern();
                panics::count(&mut self.panics, route, &error);
                self.fail(&mut stream, route, &error);
                Some(error)
            }
        };
        self.responses.count(running.request.pattern(), stream.status());
        running.log(now, stream.status(), stream.sent(), error.as_ref());
        endpoint.release(now, id);
    }

    /// Sends an error response if the head was not sent yet; otherwise the release resets the stream.
    fn fail(&mut self, stream: &mut Stream<'_>, route: Option<&str>, error: &Error) {
        let status = match error {
            Error::Stream(StreamError::BodyTooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Stream(StreamError::Reset(_) | StreamError::Stopped(_) | StreamError::Malformed(_)) => {
                return stream.reset(ErrorCode::H3_REQUEST_CANCELLED);
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if !matches!(error, Error::Stream(_)) || matches!(error, Error::Stream(StreamError::Misuse(_))) {
            log::error!("{:?}: {}: {error}", stream.id(), route.unwrap_or("-"));
        }
        if !stream.is_sending() && stream.send_failure().is_none() {
            // The response is complete, such as a 204 whose handler wrote a body.
            return;
        }
        if stream.is_answered() || !stream.is_sending() {
            return stream.reset(ErrorCode::H3_INTERNAL_ERROR);
        }
        let Response { mut head, body } = Response::plain(status);
        head.headers.insert(DATE, self.date.now());
        if let Body::Bytes(mut body) = body {
            // If even this does not fit, the release resets the stream.
            let _ = stream.respond(&head, &mut body);
        }
    }

    fn on_closed(&mut self, now: Instant, conn: ConnId, cause: &crate::endpoint::CloseCause) {
        self.sessions.on_connection_closed(now, conn, cause);
        if self.datagram_conns.remove(&conn)
            && let Some(handler) = &mut self.router.datagrams
            && let Err(error) = catch(|| handler.closed(conn, cause))
        {
            self.panicked(None, &error);
        }
        let (first, last) = (StreamId { conn, id: 0 }, StreamId { conn, id: u64::MAX });
        let cut: Vec<StreamId> = self.running.range(first..=last).map(|(id, _)| *id).collect();
        for id in cut {
            if let Some(running) = self.running.remove(&id) {
                log::debug!("{id:?}: {cause}");
                self.responses.count(running.request.pattern(), None);
                running.log(now, None, 0, Some(&Error::Stream(StreamError::Closed)));
            }
        }
    }
}

impl Application for App {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Request(request) => self.on_request(now, request, endpoint),
            Event::Ready(id) if self.sessions.has_stream(id) => self.sessions.on_ready(now, id, endpoint),
            Event::Ready(id) => self.on_ready(now, id, endpoint),
            Event::Closed(id, cause) => self.on_closed(now, id, &cause),
            Event::Connected(_) => {}
            // Events of clients only.
            Event::RequestsPossible(_) | Event::Informational(..) | Event::Response(..) | Event::GoingAway(_) => {}
            Event::SessionRequest(request) => self.on_session_request(now, request, endpoint),
            Event::SessionStream { session, stream } => self.sessions.on_stream(now, session, stream, endpoint),
            Event::Datagram(id, payload) if self.sessions.has(id) => {
                self.sessions.on_datagram(now, id, payload, endpoint);
            }
            Event::Datagram(id, payload) => self.on_datagram(now, id, payload, endpoint),
            Event::QuicDatagram(id, payload) => self.on_quic_datagram(id, payload, endpoint),
            Event::StreamsAvailable(id) => self.sessions.on_streams_available(now, id, endpoint),
            Event::SessionDraining(id) => self.sessions.on_draining(now, id, endpoint),
            Event::SessionClosed(id, end) => self.sessions.on_closed(now, id, &end),
        }
    }

    fn on_round(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for message in self.mailbox.take() {
            match message {
                Message::Reply(id, answer) => self.on_reply(now, id, answer, endpoint),
                Message::Session(id, call) => self.sessions.on_call(now, id, call, endpoint),
            }
        }
    }
}

impl Running {
    /// The access log. Logs addresses of clients only at debug level.
    fn log(&self, now: Instant, status: Option<StatusCode>, sent: u64, error: Option<&Error>) {
        const TARGET: &str = "mio_quiche::access";
        if !log::log_enabled!(target: TARGET, log::Level::Info) {
            return;
        }
        let request = &self.request;
        let route = request.pattern().unwrap_or("-");
        let status = status.map_or(0, |s| s.as_u16());
        let ms = (now - self.began).as_secs_f64() * 1e3;
        let outcome = error.map(|e| format!(" ({e})")).unwrap_or_default();
        let (method, stream) = (request.method(), request.stream_id());
        log::info!(target: TARGET, "{method} {route} {status} {sent} bytes {ms:.1} ms{outcome}");
        log::debug!(target: TARGET, "{stream:?} from {}: {method} {}", request.peer_addr(), request.head.target);
    }
}

trait Clock {
    fn now(&mut self) -> HeaderValue;
}

impl Clock for (u64, HeaderValue) {
    /// The time of day as a `date` field (RFC 9110 section 6.6.1), made once a second.
    fn now(&mut self) -> HeaderValue {
        let time = net::wall_clock();
        let second = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        if second != self.0 {
            // An HTTP date is always ASCII.
            let value = HeaderValue::try_from(httpdate::fmt_http_date(time));
            *self = (second, value.unwrap_or(HeaderValue::from_static("")));
        }
        self.1.clone()
    }
}
