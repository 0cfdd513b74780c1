//! The sans-I/O part of the client: requests and sessions on the connections of a pool.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::StatusCode;

use super::alt_svc::AltService;
#[cfg(feature = "cookies")]
use super::cookies::Cookies;
use super::error::{self, ClientError};
use super::handler::{Cx, Handler};
use super::pool::{Pool, Question};
use super::redirect;
use super::request::{ClientRequest, Origin, RequestId, ResponseHandler};
use super::waiting::{PendingSession, Running, Waiting};
use crate::app::datagrams::DatagramHandler;
use crate::app::deliveries::{DELIVERIES_PER_ROUND, Deliveries};
use crate::app::mailbox::{Mailbox, Message};
use crate::app::session::{Session, SessionHandler};
use crate::app::sessions::Sessions;
use crate::app::stream_handler::Progress;
use crate::app::topic::Delivery;
use crate::config::ClientConfig;
use crate::endpoint::{CloseCause, ClosedBy, Endpoint, Event, RequestError};
use crate::error::{ErrorCode, MigrateError, Result, StreamError};
use crate::h3::ResponseHead;
use crate::transport::table::{ConnId, StreamId};
use crate::turn::Application;

/// The state of a client on its endpoint, which it borrows in each call.
///
/// A turn is: [`begin_turn`](ClientCore::begin_turn), a sleep until [`next_timeout`](ClientCore::next_timeout) at most,
/// the endpoint's [turn](crate::turn::turn) with this as its application, [`end_turn`](ClientCore::end_turn).
/// [`poll_question`](ClientCore::poll_question) returns the hosts to look up; [`on_answer`](ClientCore::on_answer)
/// takes their addresses.
pub(in crate::app) struct ClientCore {
    pub(super) pool: Pool,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) running: BTreeMap<StreamId, Running>,
    pub(super) sessions: Sessions,
    mailbox: Mailbox<()>,
    deliveries: Deliveries,
    /// Sessions that the server has not answered yet.
    pub(super) pending: BTreeMap<StreamId, PendingSession>,
    pub(super) waiting_datagrams: Vec<(Origin, Box<dyn DatagramHandler>)>,
    /// Connections for QUIC datagrams.
    pub(super) datagrams: BTreeMap<ConnId, Box<dyn DatagramHandler>>,
    #[cfg(feature = "cookies")]
    pub(super) cookies: Option<Cookies>,
    /// Whether to learn alternatives from responses.
    learns_alternatives: bool,
    next_id: u64,
}

impl std::fmt::Debug for ClientCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (waiting, running) = (self.waiting.len(), self.running.len());
        f.debug_struct("ClientCore").field("waiting", &waiting).field("running", &running).finish_non_exhaustive()
    }
}

impl ClientCore {
    /// `local` is the address of the socket, `wall` the time of day. `wake` ends the sleep of the loop that runs this.
    pub(in crate::app) fn new(
        config: &ClientConfig,
        local: SocketAddr,
        wall: SystemTime,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let mailbox = Mailbox::new(wake);
        let deliveries = Deliveries::new(mailbox.as_loop());
        ClientCore {
            pool: Pool::new(config, local, wall),
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            sessions: Sessions::of_client(mailbox.as_loop()),
            mailbox,
            deliveries,
            pending: BTreeMap::new(),
            waiting_datagrams: Vec::new(),
            datagrams: BTreeMap::new(),
            #[cfg(feature = "cookies")]
            cookies: config.cookies.then(Cookies::default),
            learns_alternatives: config.alt_svc,
            next_id: 0,
        }
    }

    pub(in crate::app) fn start(
        &mut self,
        now: Instant,
        request: ClientRequest,
        handler: Box<dyn ResponseHandler>,
    ) -> RequestId {
        self.begin(now, request, Handler::Owned(handler))
    }

    pub(super) fn begin(&mut self, now: Instant, request: ClientRequest, handler: Handler) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let deadline = request.timeout.map(|timeout| now + timeout);
        let running = Running { id, request, handler, deadline, retries: 0, redirects: 0, responded: false };
        self.waiting.push_back(Waiting::Request(running));
        id
    }

    pub(in crate::app) fn open_session(
        &mut self,
        now: Instant,
        request: ClientRequest,
        handler: Box<dyn SessionHandler>,
    ) {
        let deadline = request.timeout.map(|timeout| now + timeout);
        self.waiting.push_back(Waiting::Session(PendingSession { request, handler, deadline }));
    }

    pub(in crate::app) fn open_datagrams(&mut self, request: ClientRequest, handler: Box<dyn DatagramHandler>) {
        self.waiting_datagrams.push((request.origin, handler));
    }

    pub(in crate::app) fn wake(&mut self, id: RequestId, cx: &mut Cx<'_>) {
        if let Some(stream) = self.stream_of(id) {
            self.poll(stream, None, cx);
        }
    }

    fn stream_of(&self, id: RequestId) -> Option<StreamId> {
        self.running.iter().find(|(_, running)| running.id == id).map(|(stream, _)| *stream)
    }

    pub(in crate::app) fn with_session(
        &mut self,
        now: Instant,
        id: StreamId,
        endpoint: &mut Endpoint,
        call: impl FnOnce(&mut Session<'_>) -> Result<()>,
    ) -> bool {
        let open = self.sessions.has(id);
        if open {
            self.sessions.with(now, id, None, endpoint, |_, s| call(s));
        }
        open
    }

    pub(in crate::app) fn cancel(&mut self, id: RequestId, cx: &mut Cx<'_>) {
        let error = ClientError::Cancelled;
        if let Some(stream) = self.stream_of(id) {
            return self.end(stream, Err(error), cx);
        }
        let mine = |waiting: &Waiting| matches!(waiting, Waiting::Request(running) if running.id == id);
        if let Some(position) = self.waiting.iter().position(mine)
            && let Some(waiting) = self.waiting.remove(position)
        {
            waiting.fail(error, cx);
        }
    }

    /// Whether a request, a session or a connection for datagrams is under way.
    pub(in crate::app) fn is_busy(&self) -> bool {
        let requests = self.waiting.is_empty() && self.running.is_empty();
        let sessions = self.pending.is_empty() && self.sessions.is_empty();
        let datagrams = self.waiting_datagrams.is_empty() && self.datagrams.is_empty();
        !(requests && sessions && datagrams)
    }

    #[cfg(test)]
    pub(in crate::app) fn connection_count(&self) -> usize {
        self.pool.conns.len()
    }

    pub(in crate::app) fn add_alternative(&mut self, service: AltService) {
        self.pool.alternatives.add(service);
    }

    /// Whether every connection can move now.
    pub(in crate::app) fn can_migrate(&self, endpoint: &Endpoint) -> Result<(), MigrateError> {
        if !self.pool.conns.keys().all(|id| endpoint.allows_migration(*id)) {
            return Err(MigrateError::Forbidden);
        }
        let all = self.pool.conns.keys().all(|id| endpoint.can_migrate(*id));
        all.then_some(()).ok_or(MigrateError::NoConnectionId)
    }

    /// Moves every connection to another local address.
    pub(in crate::app) fn migrate(&mut self, local: SocketAddr, endpoint: &mut Endpoint) {
        self.pool.local = local;
        for id in self.pool.conns.keys() {
            if let Err(e) = endpoint.migrate(*id, local) {
                log::debug!("{id:?}: cannot move: {e}");
            }
        }
    }

    /// Closes every connection.
    pub(in crate::app) fn close(&self, endpoint: &mut Endpoint) {
        for id in self.pool.conns.keys() {
            endpoint.close(*id, ErrorCode::H3_NO_ERROR, b"");
        }
    }

    /// Updates the time of day, and sends waiting requests where there is credit.
    pub(in crate::app) fn begin_turn(&mut self, wall: SystemTime, cx: &mut Cx<'_>) {
        self.pool.wall = wall;
        self.send_waiting(cx);
    }

    /// When [`end_turn`](ClientCore::end_turn) must be called at the latest.
    pub(in crate::app) fn next_timeout(&self) -> Option<Instant> {
        let running = self.running.values().filter_map(|running| running.deadline);
        let pending = self.pending.values().filter_map(|pending| pending.deadline);
        let waiting = self.waiting.iter().filter_map(Waiting::deadline);
        running.chain(pending).chain(waiting).chain(self.pool.next_timeout()).min()
    }

    /// Advances the connection attempts, and fails whatever timed out.
    pub(in crate::app) fn end_turn(&mut self, cx: &mut Cx<'_>) {
        for (origin, error) in self.pool.advance(cx.now, cx.endpoint) {
            self.fail_waiting(&origin, &error, cx);
        }
        self.expire(cx);
    }

    /// The next host to look up.
    pub(in crate::app) fn poll_question(&mut self) -> Option<Question> {
        self.pool.questions.pop_front()
    }

    /// The answer to a question, by its id: the host's addresses, or an error.
    pub(in crate::app) fn on_answer(&mut self, id: u64, answer: io::Result<Vec<SocketAddr>>, cx: &mut Cx<'_>) {
        if let Some((origin, error)) = self.pool.on_answer(cx.now, id, answer) {
            self.fail_waiting(&origin, &error, cx);
        }
    }

    /// An address is unreachable: attempts at it end at once instead of at their timeout. (ICMP is not trusted further
    /// than that: established connections are left alone, RFC 9000 section 21.1.1.4.)
    pub(in crate::app) fn on_unreachable(&mut self, ip: IpAddr, cx: &mut Cx<'_>) {
        for id in self.pool.unreachable(cx.now, ip, cx.endpoint) {
            log::debug!("{id:?}: {ip} cannot be reached");
            cx.endpoint.close(id, ErrorCode::H3_NO_ERROR, b"");
            self.on_closed(id, &error::unreachable(), cx);
        }
    }

    fn on_response(&mut self, id: StreamId, head: &ResponseHead, cx: &mut Cx<'_>) {
        let misdirected = !self.pool.on_response(id.conn, head, self.learns_alternatives);
        if self.pending.contains_key(&id) {
            return self.on_session_response(id, head, cx);
        }
        let Some(running) = self.running.get_mut(&id) else { return };
        if misdirected && !running.request.has_body {
            // It is sent again, to the origin.
            return self.end(id, Err(StreamError::Reset(ErrorCode::H3_REQUEST_REJECTED).into()), cx);
        }
        #[cfg(feature = "cookies")]
        if let Some(cookies) = &mut self.cookies {
            cookies.learn(&running.request.url, &head.headers);
        }
        if running.request.max_redirects.is_some_and(|max| max > 0)
            && let Some(location) = redirect::target(head)
        {
            return self.redirect(id, head.status, &location, cx);
        }
        running.responded = true;
        let Cx { now, endpoint, lent } = cx;
        let Some(mut stream) = endpoint.stream(*now, id) else { return };
        match running.handler.with(lent, |handler| handler.response(&mut stream, head)) {
            Some(Ok(())) => self.poll(id, None, cx),
            Some(Err(error)) => self.end(id, Err(error.into()), cx),
            None => self.end(id, Err(ClientError::Cancelled), cx),
        }
    }

    fn redirect(&mut self, id: StreamId, status: StatusCode, location: &str, cx: &mut Cx<'_>) {
        let Some(mut running) = self.running.remove(&id) else { return };
        cx.endpoint.release(cx.now, id);
        self.pool.ended(cx.now, id.conn, cx.endpoint);
        match running.follow(status, location, cx) {
            Ok(()) => {
                log::debug!("{id:?}: {status}, redirected to {}", running.request.url());
                self.waiting.push_back(Waiting::Request(running));
            }
            Err(error) => running.handler.finished(&mut cx.lent, Err(error)),
        }
    }

    fn on_session_response(&mut self, id: StreamId, head: &ResponseHead, cx: &mut Cx<'_>) {
        let Some(PendingSession { request, mut handler, .. }) = self.pending.remove(&id) else { return };
        handler.response(head);
        if head.status.is_success() {
            self.sessions.begin(cx.now, id, request.head.path.clone(), handler, cx.endpoint);
            return;
        }
        handler.failed(&ClientError::Refused(head.status));
        self.leave_asked(id, cx);
    }

    pub(super) fn poll(&mut self, id: StreamId, datagram: Option<Bytes>, cx: &mut Cx<'_>) {
        if self.pending.contains_key(&id) {
            return self.poll_asked(id, cx);
        }
        let Some(running) = self.running.get_mut(&id) else { return };
        let Cx { now, endpoint, lent } = cx;
        let Some(mut stream) = endpoint.stream(*now, id) else { return };
        let polled = running.handler.with(lent, |handler| {
            let taken = datagram.map_or(Ok(()), |payload| handler.datagram(&mut stream, payload));
            taken.and_then(|()| handler.poll(&mut stream))
        });
        match polled {
            Some(Ok(Progress::Pending)) => {}
            Some(Ok(Progress::Done)) => self.end(id, Ok(()), cx),
            Some(Err(error)) => self.end(id, Err(error.into()), cx),
            None => self.end(id, Err(ClientError::Cancelled), cx),
        }
    }

    /// A request for a session failed before its response.
    fn poll_asked(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let Some(mut stream) = cx.endpoint.stream(cx.now, id) else { return };
        if let Err(error) = stream.read(&mut [0]) {
            if let Some(mut pending) = self.pending.remove(&id) {
                pending.handler.failed(&error.into());
            }
            self.leave_asked(id, cx);
        }
    }

    /// The server did not open a session.
    pub(super) fn leave_asked(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        cx.endpoint.release(cx.now, id);
        self.pool.ended(cx.now, id.conn, cx.endpoint);
    }

    /// A request has ended.
    pub(super) fn end(&mut self, id: StreamId, result: std::result::Result<(), ClientError>, cx: &mut Cx<'_>) {
        let Some(mut running) = self.running.remove(&id) else { return };
        if result.is_err()
            && let Some(mut stream) = cx.endpoint.stream(cx.now, id)
        {
            stream.reset(ErrorCode::H3_REQUEST_CANCELLED);
        }
        cx.endpoint.release(cx.now, id);
        self.pool.ended(cx.now, id.conn, cx.endpoint);
        // After the head of a response, a retry would append to what has been received.
        let again = matches!(&result, Err(error) if error.is_unprocessed()) && !running.responded;
        if again && running.may_restart(cx) {
            log::debug!("{id:?}: not processed, sent again");
            if !self.pool.limit(id.conn)
                && let Some(pooled) = self.pool.conns.get_mut(&id.conn)
            {
                pooled.closed_to_new = true;
            }
            self.waiting.push_back(Waiting::Request(running));
            return;
        }
        running.handler.finished(&mut cx.lent, result);
    }

    fn on_ready(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        if self.sessions.has_stream(id) {
            self.sessions.on_ready(cx.now, id, cx.endpoint);
        } else {
            self.poll(id, None, cx);
        }
    }

    /// What other threads and topics have for the loop.
    fn take_messages(&mut self, cx: &mut Cx<'_>) {
        for message in self.mailbox.take() {
            match message {
                Message::Session(id, call) => self.sessions.on_call(cx.now, id, call, cx.endpoint),
                Message::Wake(id) => self.on_ready(id, cx),
                Message::News(topic) => self.deliveries.begin(&topic),
                // A client defers no responses.
                Message::Reply(..) | Message::Call(()) => {}
            }
        }
        for _ in 0..DELIVERIES_PER_ROUND {
            match self.deliveries.next() {
                Some((topic, Delivery::Message(id, message))) => {
                    self.sessions.on_message(cx.now, id, &topic, message, cx.endpoint);
                }
                Some((_, Delivery::Feed(id))) => self.on_ready(id, cx),
                None => return,
            }
        }
        self.mailbox.wake();
    }

    fn on_closed(&mut self, id: ConnId, cause: &CloseCause, cx: &mut Cx<'_>) {
        if let (Some(pooled), Some(ticket)) = (self.pool.conns.get(&id), cx.endpoint.ticket(id)) {
            self.pool.tickets.insert(pooled.origin.clone(), ticket.to_vec());
        }
        self.sessions.on_connection_closed(cx.now, id, cause);
        if let Some(mut handler) = self.datagrams.remove(&id) {
            handler.closed(id, cause);
        }
        let pooled = self.pool.conns.get(&id);
        let was_ready = pooled.is_some_and(|pooled| pooled.ready);
        let error = match pooled.filter(|_| error::refuses_client(cause)) {
            Some(pooled) => ClientError::Handshake { host: pooled.origin.to_string(), cause: cause.clone() },
            None => ClientError::Closed(cause.clone()),
        };
        if let Some(origin) = self.pool.on_leaving(id, cx.endpoint) {
            self.fail_waiting(&origin, &error, cx);
        }
        let failed = self.pool.on_closed(cx.now, id, cause);
        let (first, last) = (StreamId { conn: id, id: 0 }, StreamId { conn: id, id: u64::MAX });
        let cut: Vec<StreamId> = self.running.range(first..=last).map(|(id, _)| *id).collect();
        for stream in cut {
            let Some(mut running) = self.running.remove(&stream) else { continue };
            // RFC 9110 section 9.2.2: the server closed a persistent connection, possibly before it saw the request, or
            // has restarted.
            let polite = cause.by == ClosedBy::Peer && cause.application && cause.code == ErrorCode::H3_NO_ERROR;
            let may_repeat = polite || cause.by == ClosedBy::StatelessReset;
            let again = may_repeat && running.request.head.method.is_idempotent() && !running.responded;
            if again && running.may_restart(cx) {
                self.waiting.push_back(Waiting::Request(running));
            } else {
                running.handler.finished(&mut cx.lent, Err(error.clone()));
            }
        }
        let pending: Vec<StreamId> = self.pending.range(first..=last).map(|(id, _)| *id).collect();
        for stream in pending {
            if let Some(mut pending) = self.pending.remove(&stream) {
                pending.handler.failed(&error);
            }
        }
        let Some((origin, cause)) = failed.filter(|_| !was_ready) else { return };
        let host = origin.to_string();
        let is_timeout = cause.by == ClosedBy::IdleTimeout || cause.reason == "handshake timeout";
        let seconds = self.pool.connect_timeout.as_secs_f64();
        let error = match is_timeout {
            true => ClientError::ConnectTimeout { host, seconds },
            false => ClientError::Handshake { host, cause },
        };
        self.fail_waiting(&origin, &error, cx);
    }

    /// The application of a turn, with a handler that is lent for it.
    pub(in crate::app) fn lend<'c, 'h>(&'c mut self, lent: Option<&'h mut dyn ResponseHandler>) -> Lending<'c, 'h> {
        Lending { core: self, lent }
    }

    fn on_event(&mut self, event: Event, cx: &mut Cx<'_>) {
        let now = cx.now;
        match event {
            Event::Connected(id) => self.pool.on_connected(id, cx.endpoint),
            // In the first flight of a resumed session, or when there is credit again.
            Event::RequestsPossible(id) => self.pool.on_possible(id, cx.endpoint),
            Event::Informational(id, head) => {
                if let Some(running) = self.running.get_mut(&id) {
                    running.handler.with(&mut cx.lent, |handler| handler.informational(&head));
                }
            }
            Event::Response(id, head) => self.on_response(id, &head, cx),
            Event::Ready(id) => self.on_ready(id, cx),
            Event::Datagram(id, payload) if self.sessions.has(id) => {
                self.sessions.on_datagram(now, id, payload, cx.endpoint);
            }
            Event::Datagram(id, payload) => self.poll(id, Some(payload), cx),
            Event::SessionStream { session, stream } => self.sessions.on_stream(now, session, stream, cx.endpoint),
            Event::StreamsAvailable(id) => self.sessions.on_streams_available(now, id, cx.endpoint),
            Event::SessionTimer(id) => self.sessions.on_timer(now, id, cx.endpoint),
            Event::SessionDraining(id) => self.sessions.on_draining(now, id, cx.endpoint),
            Event::SessionClosed(id, end) => {
                self.sessions.on_closed(now, id, &end);
                self.pool.ended(now, id.conn, cx.endpoint);
            }
            Event::GoingAway(id) => {
                if let Some(origin) = self.pool.on_leaving(id, cx.endpoint) {
                    self.fail_waiting(&origin, &RequestError::GoingAway.into(), cx);
                }
            }
            Event::Closed(id, cause) => self.on_closed(id, &cause, cx),
            Event::QuicDatagram(id, payload) => {
                let datagrams = cx.endpoint.datagrams(id);
                if let (Some(handler), Some(mut datagrams)) = (self.datagrams.get_mut(&id), datagrams) {
                    handler.datagram(&mut datagrams, payload);
                }
            }
            // Events of servers only.
            Event::Request(_) | Event::Refused(_) | Event::SessionRequest(_) => {}
        }
    }
}

impl Drop for ClientCore {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

/// A client in a turn of the loop.
pub(in crate::app) struct Lending<'c, 'h> {
    pub(in crate::app) core: &'c mut ClientCore,
    lent: Option<&'h mut dyn ResponseHandler>,
}

impl Lending<'_, '_> {
    pub(in crate::app) fn with(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        call: impl FnOnce(&mut ClientCore, &mut Cx<'_>),
    ) {
        let lent = self.lent.as_mut().map(|handler| &mut **handler as &mut dyn ResponseHandler);
        call(self.core, &mut Cx { now, endpoint, lent });
    }
}

impl Application for Lending<'_, '_> {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        self.with(now, endpoint, |core, cx| core.on_event(event, cx));
    }

    fn on_round(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.with(now, endpoint, |core, cx| {
            core.take_messages(cx);
            core.send_waiting(cx);
        });
    }
}
