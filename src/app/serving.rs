//! The application of a server: events turned into handler calls.

use std::collections::{BTreeMap, HashSet};
use std::time::{Instant, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, HeaderValue};
use http::{Method, StatusCode};

use super::access_log::{self, Entry, OpenAccessLog, Subject};
use super::deliveries::{DELIVERIES_PER_ROUND, Deliveries};
use super::http_error::answer;
use super::job;
use super::mailbox::{Mailbox, Message};
use super::offload::Pool;
use super::origin::allows_origin;
use super::panics::{self, catch};
use super::response::{Answer, Body, Collect, Later, Reply, Response};
use super::router::Router;
use super::server_context::{ServerCall, ServerContext};
use super::session::{SessionDecision, SessionResponse};
use super::sessions::Sessions;
use super::stream_handler::{Progress, SendWhole, StreamHandler};
use super::topic::Delivery;
use crate::config::OFFLOAD_THREADS;
use crate::endpoint::{Endpoint, Event, Stream};
use crate::error::{Error, ErrorCode, HttpError, Result, StreamError};
use crate::h3::{Request, ResponseHead, decimal};
use crate::net;
use crate::stats::{PanicCounts, RequestDurations, ResponseCounts};
use crate::transport::table::{ConnId, StreamId};
use crate::turn::Application;

/// Turns the engine's events into handler calls.
pub(crate) struct App {
    router: Router,
    running: BTreeMap<StreamId, Running>,
    sessions: Sessions,
    /// Connections on which a QUIC datagram arrived.
    datagram_conns: HashSet<ConnId>,
    allow_origins: Vec<String>,
    mailbox: Mailbox<ServerCall>,
    deliveries: Deliveries,
    pool: Pool,
    /// The server shuts down.
    is_draining: bool,
    responses: ResponseCounts,
    durations: RequestDurations,
    panics: PanicCounts,
    access_log: Option<OpenAccessLog>,
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
    progress: Progressed,
}

/// How far a response has come.
#[derive(Clone, Copy, Default)]
struct Progressed {
    /// That of the head, once it was sent.
    status: Option<StatusCode>,
    sent: u64,
    received: u64,
}

impl Progressed {
    fn of(stream: &Stream<'_>) -> Self {
        let status = stream.status().filter(|_| stream.is_answered());
        Progressed { status, sent: stream.sent(), received: stream.received() }
    }
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
    /// The handler may change the head.
    fn streaming(handler: Box<dyn StreamHandler>, head: ResponseHead, stream: Option<Stream<'_>>) -> Self {
        if let Some(mut stream) = stream {
            stream.set_head(head);
        }
        Sender::Handler(handler)
    }

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
            sessions: Sessions::of_server(mailbox.as_loop()),
            deliveries: Deliveries::new(mailbox.as_loop()),
            pool: Pool::new(OFFLOAD_THREADS),
            is_draining: false,
            datagram_conns: HashSet::new(),
            allow_origins,
            mailbox,
            responses: ResponseCounts::default(),
            durations: RequestDurations::default(),
            panics: PanicCounts::default(),
            access_log: None,
            date,
        }
    }

    pub(super) fn mailbox(&self) -> &Mailbox<ServerCall> {
        &self.mailbox
    }

    /// Responses so far.
    pub(super) fn responses(&self) -> ResponseCounts {
        self.responses.clone()
    }

    /// Durations of the requests that have ended.
    pub(super) fn durations(&self) -> RequestDurations {
        self.durations
    }

    /// Counts and logs a response that is complete or was given up.
    fn ended(&mut self, running: &Running, progress: Progressed, error: Option<&Error>) {
        // Later than the turn's time, as handlers run within turns.
        let duration = net::now().saturating_duration_since(running.began);
        self.responses.count(running.request.pattern(), progress.status);
        self.durations.0.observe_duration(duration);
        let Progressed { status, sent, received } = progress;
        let (subject, sent, received) = (Subject::Request(&running.request), Some(sent), Some(received));
        let error = error.map(Error::to_string);
        access_log::log(self.access_log.as_ref(), &Entry { subject, status, sent, received, duration, error });
    }

    /// Sets the threads for blocking work, before there is any.
    pub(super) fn set_pool(&mut self, pool: Pool) {
        self.pool = pool;
    }

    pub(super) fn set_access_log(&mut self, log: Option<OpenAccessLog>) {
        self.sessions.set_access_log(log.clone());
        self.access_log = log;
    }

    /// Opens the access log's file again.
    pub(super) fn reopen_access_log(&self) {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
    }

    /// The server shuts down: tells the handlers.
    pub(super) fn drain(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.is_draining = true;
        for id in self.running.keys().copied().collect::<Vec<_>>() {
            self.drain_one(now, id, endpoint);
        }
    }

    fn drain_one(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        let Some(Running { request, handler: Sender::Handler(handler), .. }) = self.running.get_mut(&id) else {
            return;
        };
        if let Err(error) = catch(|| handler.draining()) {
            let route = request.pattern().map(str::to_owned);
            self.panicked(route.as_deref(), &error);
        }
        self.on_ready(now, id, endpoint);
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

    /// The response that follows one whose head was begun before.
    fn continued(
        &mut self,
        request: &Request,
        head: ResponseHead,
        make: impl FnOnce(Response) -> std::result::Result<Response, HttpError>,
    ) -> Response {
        let begun = head.headers.clone();
        let made = catch(|| answer(make(Response { head, ..Response::default() }), request.pattern(), begun));
        self.made(request, made)
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
        if !allows_origin(&request, &self.allow_origins) {
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
        let Response { head, body, max_body } = response;
        if let Some(limit) = max_body {
            if request.content_length().is_some_and(|len| len > limit) {
                return self.respond(now, request, began, Response::plain(StatusCode::PAYLOAD_TOO_LARGE), endpoint);
            }
            if let Some(mut stream) = endpoint.stream(now, id) {
                stream.set_max_body(limit);
            }
        }
        let handler = match body {
            Body::Collect(collect) if !collect.allows(request.content_length()) => {
                let response = Response::plain(StatusCode::PAYLOAD_TOO_LARGE);
                return self.respond(now, request, began, response, endpoint);
            }
            Body::Collect(collect) => Sender::Collect(collect, head),
            Body::Later(start) => return self.answer_later(now, request, began, head, start, endpoint),
            Body::Offload(job, capacity) => match self.pool.check(capacity) {
                Ok(()) => {
                    let reply = self.promise(now, request, began, head, endpoint);
                    return job::start(&self.pool, job, reply);
                }
                Err(error) => {
                    log::warn!("{}: {error}", request.pattern().unwrap_or("-"));
                    let response = Response::plain(StatusCode::SERVICE_UNAVAILABLE);
                    return self.respond(now, request, began, response, endpoint);
                }
            },
            // RFC 9110 section 9.3.2: the response to GET, without its body.
            _ if request.method() == Method::HEAD => Sender::Whole(SendWhole { head: Some(head), body: Bytes::new() }),
            Body::Bytes(body) => Sender::Whole(SendWhole { head: Some(head), body }),
            Body::Handler(handler) => Sender::streaming(handler, head, endpoint.stream(now, id)),
            Body::Make(make) => match catch(|| make(id, self.mailbox.as_loop(), &self.pool)) {
                Ok(handler) => Sender::streaming(handler, head, endpoint.stream(now, id)),
                Err(error) => {
                    self.panicked(request.pattern(), &error);
                    let response = Response::plain(StatusCode::INTERNAL_SERVER_ERROR);
                    return self.respond(now, request, began, response, endpoint);
                }
            },
        };
        self.run(now, id, Running::new(request, handler, began), None, endpoint);
        if self.is_draining {
            self.drain_one(now, id, endpoint);
        }
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
        let route = request.pattern().map(str::to_owned);
        let reply = self.promise(now, request, began, head, endpoint);
        if let Err(error) = catch(|| start(reply)) {
            self.panicked(route.as_deref(), &error);
        }
    }

    /// Waits for the answer of a [`Reply`].
    fn promise(
        &mut self,
        now: Instant,
        request: Box<Request>,
        began: Instant,
        head: ResponseHead,
        endpoint: &mut Endpoint,
    ) -> Reply {
        let id = request.stream_id();
        let mailbox = self.mailbox.clone();
        let (later, reply) = Later::new(head, move |answer| mailbox.reply(id, answer));
        self.run(now, id, Running::new(request, Sender::Later(later), began), None, endpoint);
        reply
    }

    /// The body of a request is whole.
    fn on_body(&mut self, now: Instant, running: Running, endpoint: &mut Endpoint) {
        let Running { request, handler: Sender::Collect(collect, head), began, .. } = running else { return };
        let response = self.continued(&request, head, |res| collect.finish(&request, res));
        self.respond(now, request, began, response, endpoint);
    }

    /// A response that was promised is there, or will not be.
    fn on_reply(&mut self, now: Instant, id: StreamId, answer: Option<Answer>, endpoint: &mut Endpoint) {
        // The client may be gone.
        let Some(Running { request, handler: Sender::Later(later), began, .. }) = self.running.remove(&id) else {
            return;
        };
        let head = later.head.clone();
        let response = match answer {
            Some(answer) => self.continued(&request, head, answer),
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
        if self.sessions.has_stream(id) {
            self.sessions.on_ready(now, id, endpoint);
        } else if let Some(running) = self.running.remove(&id) {
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
                running.progress = Progressed::of(&stream);
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
        let progress = Progressed { status: stream.status(), ..Progressed::of(&stream) };
        self.ended(&running, progress, error.as_ref());
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
        let own = match error {
            Error::Handler(inner) if !stream.is_answered() => inner.downcast_ref::<HttpError>(),
            _ => None,
        };
        let is_logged = !matches!(error, Error::Stream(_)) || matches!(error, Error::Stream(StreamError::Misuse(_)));
        if is_logged && own.is_none() {
            log::error!("{:?}: {}: {error}", stream.id(), route.unwrap_or("-"));
        }
        if !stream.is_sending() && stream.send_failure().is_none() {
            // The response is complete, such as a 204 whose handler wrote a body.
            return;
        }
        if stream.is_answered() || !stream.is_sending() {
            return stream.reset(ErrorCode::H3_INTERNAL_ERROR);
        }
        let Response { mut head, body, .. } = match own {
            Some(error) => error.respond(route, stream.head_mut().map(|head| head.headers.clone()).unwrap_or_default()),
            None => Response::plain(status),
        };
        head.headers.insert(DATE, self.date.now());
        if let Body::Bytes(mut body) = body {
            head.headers.insert(CONTENT_LENGTH, decimal(body.len() as u64));
            // If even this does not fit, the release resets the stream.
            let _ = stream.respond(&head, &mut body);
        }
    }

    fn on_call(&mut self, now: Instant, call: ServerCall, endpoint: &mut Endpoint) {
        let mut context = ServerContext { now, endpoint, sessions: &mut self.sessions };
        if let Err(error) = catch(|| call(&mut context)) {
            self.panicked(None, &error);
        }
    }

    /// Passes messages of topics to their members.
    fn deliver(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for _ in 0..DELIVERIES_PER_ROUND {
            match self.deliveries.next() {
                Some((topic, Delivery::Message(id, message))) => {
                    self.sessions.on_message(now, id, &topic, message, endpoint);
                }
                Some((_, Delivery::Feed(id))) => self.on_ready(now, id, endpoint),
                None => return,
            }
        }
        self.mailbox.wake();
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
                self.ended(&running, running.progress, Some(&Error::Stream(StreamError::Closed)));
            }
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

impl Application for App {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Request(request) => self.on_request(now, request, endpoint),
            Event::Refused(refused) => {
                if let Some(log) = &self.access_log {
                    log.write(&Entry::refused(&refused));
                }
            }
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
            Event::SessionTimer(id) => self.sessions.on_timer(now, id, endpoint),
            Event::SessionDraining(id) => self.sessions.on_draining(now, id, endpoint),
            Event::SessionClosed(id, end) => self.sessions.on_closed(now, id, &end),
        }
    }

    fn on_round(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for message in self.mailbox.take() {
            match message {
                Message::Reply(id, answer) => self.on_reply(now, id, answer, endpoint),
                Message::Session(id, call) => self.sessions.on_call(now, id, call, endpoint),
                Message::Wake(id) => self.on_ready(now, id, endpoint),
                Message::News(topic) => self.deliveries.begin(&topic),
                Message::Call(call) => self.on_call(now, call, endpoint),
            }
        }
        self.deliver(now, endpoint);
    }
}

impl Running {
    fn new(request: Box<Request>, handler: Sender, began: Instant) -> Self {
        Running { request, handler, began, progress: Progressed::default() }
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
