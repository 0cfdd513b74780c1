//! The sans-I/O part of the client: requests and sessions on the connections of a pool.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::alt_svc::AltService;
use super::error::{self, ClientError};
use super::pool::{Pool, Question};
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
use crate::error::{ErrorCode, Result, StreamError};
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
            pool: Pool::new(config.connect_timeout, local, wall),
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            sessions: Sessions::of_client(mailbox.as_loop()),
            mailbox,
            deliveries,
            pending: BTreeMap::new(),
            waiting_datagrams: Vec::new(),
            datagrams: BTreeMap::new(),
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
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let deadline = request.timeout.map(|timeout| now + timeout);
        let running = Running { id, request, handler, deadline, retries: 0, responded: false };
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

    pub(in crate::app) fn wake(&mut self, now: Instant, id: RequestId, endpoint: &mut Endpoint) {
        if let Some(stream) = self.stream_of(id) {
            self.poll(now, stream, None, endpoint);
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

    pub(in crate::app) fn cancel(&mut self, now: Instant, id: RequestId, endpoint: &mut Endpoint) {
        let error = ClientError::Cancelled;
        if let Some(stream) = self.stream_of(id) {
            return self.end(now, stream, Err(error), endpoint);
        }
        let mine = |waiting: &Waiting| matches!(waiting, Waiting::Request(running) if running.id == id);
        if let Some(position) = self.waiting.iter().position(mine)
            && let Some(waiting) = self.waiting.remove(position)
        {
            waiting.fail(error);
        }
    }

    /// Whether a request, a session or a connection for datagrams is under way.
    pub(in crate::app) fn is_busy(&self) -> bool {
        let requests = self.waiting.is_empty() && self.running.is_empty();
        let sessions = self.pending.is_empty() && self.sessions.is_empty();
        let datagrams = self.waiting_datagrams.is_empty() && self.datagrams.is_empty();
        !(requests && sessions && datagrams)
    }

    pub(in crate::app) fn add_alternative(&mut self, service: AltService) {
        self.pool.alternatives.add(service);
    }

    /// Whether every connection can move now.
    pub(in crate::app) fn can_migrate(&self, endpoint: &Endpoint) -> bool {
        self.pool.conns.keys().all(|id| endpoint.can_migrate(*id))
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
    pub(in crate::app) fn begin_turn(&mut self, now: Instant, wall: SystemTime, endpoint: &mut Endpoint) {
        self.pool.wall = wall;
        self.send_waiting(now, endpoint);
    }

    /// When [`end_turn`](ClientCore::end_turn) must be called at the latest.
    pub(in crate::app) fn next_timeout(&self) -> Option<Instant> {
        let running = self.running.values().filter_map(|running| running.deadline);
        let pending = self.pending.values().filter_map(|pending| pending.deadline);
        let waiting = self.waiting.iter().filter_map(Waiting::deadline);
        running.chain(pending).chain(waiting).chain(self.pool.next_timeout()).min()
    }

    /// Advances the connection attempts, and fails whatever timed out.
    pub(in crate::app) fn end_turn(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for (origin, error) in self.pool.advance(now, endpoint) {
            self.fail_waiting(&origin, &error);
        }
        self.expire(now, endpoint);
    }

    /// The next host to look up.
    pub(in crate::app) fn poll_question(&mut self) -> Option<Question> {
        self.pool.questions.pop_front()
    }

    /// The answer to a question, by its id: the host's addresses, or an error.
    pub(in crate::app) fn on_answer(&mut self, now: Instant, id: u64, answer: io::Result<Vec<SocketAddr>>) {
        if let Some((origin, error)) = self.pool.on_answer(now, id, answer) {
            self.fail_waiting(&origin, &error);
        }
    }

    /// An address is unreachable: attempts at it end at once instead of at their timeout. (ICMP is not trusted further
    /// than that: established connections are left alone, RFC 9000 section 21.1.1.4.)
    pub(in crate::app) fn on_unreachable(&mut self, now: Instant, ip: IpAddr, endpoint: &mut Endpoint) {
        for id in self.pool.unreachable(now, ip, endpoint) {
            log::debug!("{id:?}: {ip} cannot be reached");
            endpoint.close(id, ErrorCode::H3_NO_ERROR, b"");
            self.on_closed(now, id, &error::unreachable(), endpoint);
        }
    }

    fn on_response(&mut self, now: Instant, id: StreamId, head: &ResponseHead, endpoint: &mut Endpoint) {
        let misdirected = !self.pool.on_response(id.conn, head, self.learns_alternatives);
        if self.pending.contains_key(&id) {
            return self.on_session_response(now, id, head, endpoint);
        }
        let Some(running) = self.running.get_mut(&id) else { return };
        if misdirected && !running.request.has_body {
            // It is sent again, to the origin.
            return self.end(now, id, Err(StreamError::Reset(ErrorCode::H3_REQUEST_REJECTED).into()), endpoint);
        }
        running.responded = true;
        let Some(mut stream) = endpoint.stream(now, id) else { return };
        match running.handler.response(&mut stream, head) {
            Err(error) => self.end(now, id, Err(error.into()), endpoint),
            Ok(()) => self.poll(now, id, None, endpoint),
        }
    }

    fn on_session_response(&mut self, now: Instant, id: StreamId, head: &ResponseHead, endpoint: &mut Endpoint) {
        let Some(PendingSession { request, mut handler, .. }) = self.pending.remove(&id) else { return };
        handler.response(head);
        if head.status.is_success() {
            self.sessions.begin(now, id, request.head.path.clone(), handler, endpoint);
            return;
        }
        handler.failed(&ClientError::Refused(head.status));
        self.leave_asked(now, id, endpoint);
    }

    pub(super) fn poll(&mut self, now: Instant, id: StreamId, datagram: Option<Bytes>, endpoint: &mut Endpoint) {
        if self.pending.contains_key(&id) {
            return self.poll_asked(now, id, endpoint);
        }
        let Some(running) = self.running.get_mut(&id) else { return };
        let Some(mut stream) = endpoint.stream(now, id) else { return };
        let handler = &mut running.handler;
        let taken = datagram.map_or(Ok(()), |payload| handler.datagram(&mut stream, payload));
        match taken.and_then(|()| handler.poll(&mut stream)) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Done) => self.end(now, id, Ok(()), endpoint),
            Err(error) => self.end(now, id, Err(error.into()), endpoint),
        }
    }

    /// A request for a session failed before its response.
    fn poll_asked(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        let Some(mut stream) = endpoint.stream(now, id) else { return };
        if let Err(error) = stream.read(&mut [0]) {
            if let Some(mut pending) = self.pending.remove(&id) {
                pending.handler.failed(&error.into());
            }
            self.leave_asked(now, id, endpoint);
        }
    }

    /// The server did not open a session.
    pub(super) fn leave_asked(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        endpoint.release(now, id);
        self.pool.ended(now, id.conn, endpoint);
    }

    /// A request has ended.
    pub(super) fn end(
        &mut self,
        now: Instant,
        id: StreamId,
        result: std::result::Result<(), ClientError>,
        endpoint: &mut Endpoint,
    ) {
        let Some(mut running) = self.running.remove(&id) else { return };
        if result.is_err()
            && let Some(mut stream) = endpoint.stream(now, id)
        {
            stream.reset(ErrorCode::H3_REQUEST_CANCELLED);
        }
        endpoint.release(now, id);
        self.pool.ended(now, id.conn, endpoint);
        // After the head of a response, a retry would append to what has been received.
        let again = matches!(&result, Err(error) if error.is_unprocessed()) && !running.responded;
        if again && running.may_restart() {
            log::debug!("{id:?}: not processed, sent again");
            if !self.pool.limit(id.conn)
                && let Some(pooled) = self.pool.conns.get_mut(&id.conn)
            {
                pooled.closed_to_new = true;
            }
            self.waiting.push_back(Waiting::Request(running));
            return;
        }
        running.handler.finished(result);
    }

    fn on_ready(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        if self.sessions.has_stream(id) {
            self.sessions.on_ready(now, id, endpoint);
        } else {
            self.poll(now, id, None, endpoint);
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

    fn on_closed(&mut self, now: Instant, id: ConnId, cause: &CloseCause, endpoint: &mut Endpoint) {
        if let (Some(pooled), Some(ticket)) = (self.pool.conns.get(&id), endpoint.ticket(id)) {
            self.pool.tickets.insert(pooled.origin.clone(), ticket.to_vec());
        }
        self.sessions.on_connection_closed(now, id, cause);
        if let Some(mut handler) = self.datagrams.remove(&id) {
            handler.closed(id, cause);
        }
        let was_ready = self.pool.conns.get(&id).is_some_and(|pooled| pooled.ready);
        if let Some(origin) = self.pool.on_leaving(id, endpoint) {
            self.fail_waiting(&origin, &ClientError::Closed(cause.clone()));
        }
        let failed = self.pool.on_closed(now, id, cause);
        let (first, last) = (StreamId { conn: id, id: 0 }, StreamId { conn: id, id: u64::MAX });
        let cut: Vec<StreamId> = self.running.range(first..=last).map(|(id, _)| *id).collect();
        for stream in cut {
            let Some(mut running) = self.running.remove(&stream) else { continue };
            // RFC 9110 section 9.2.2: the server closed a persistent connection, possibly before it saw the request, or
            // has restarted.
            let polite = cause.by == ClosedBy::Peer && cause.application && cause.code == ErrorCode::H3_NO_ERROR;
            let may_repeat = polite || cause.by == ClosedBy::StatelessReset;
            let again = may_repeat && running.request.head.method.is_idempotent() && !running.responded;
            if again && running.may_restart() {
                self.waiting.push_back(Waiting::Request(running));
            } else {
                running.handler.finished(Err(ClientError::Closed(cause.clone())));
            }
        }
        let pending: Vec<StreamId> = self.pending.range(first..=last).map(|(id, _)| *id).collect();
        for stream in pending {
            if let Some(mut pending) = self.pending.remove(&stream) {
                pending.handler.failed(&ClientError::Closed(cause.clone()));
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
        self.fail_waiting(&origin, &error);
    }
}

impl Drop for ClientCore {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

impl Application for ClientCore {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Connected(id) => self.pool.on_connected(id, endpoint),
            // In the first flight of a resumed session, or when there is credit again.
            Event::RequestsPossible(id) => self.pool.on_possible(id, endpoint),
            Event::Informational(id, head) => {
                if let Some(running) = self.running.get_mut(&id) {
                    running.handler.informational(&head);
                }
            }
            Event::Response(id, head) => self.on_response(now, id, &head, endpoint),
            Event::Ready(id) => self.on_ready(now, id, endpoint),
            Event::Datagram(id, payload) if self.sessions.has(id) => {
                self.sessions.on_datagram(now, id, payload, endpoint);
            }
            Event::Datagram(id, payload) => self.poll(now, id, Some(payload), endpoint),
            Event::SessionStream { session, stream } => self.sessions.on_stream(now, session, stream, endpoint),
            Event::StreamsAvailable(id) => self.sessions.on_streams_available(now, id, endpoint),
            Event::SessionTimer(id) => self.sessions.on_timer(now, id, endpoint),
            Event::SessionDraining(id) => self.sessions.on_draining(now, id, endpoint),
            Event::SessionClosed(id, end) => {
                self.sessions.on_closed(now, id, &end);
                self.pool.ended(now, id.conn, endpoint);
            }
            Event::GoingAway(id) => {
                if let Some(origin) = self.pool.on_leaving(id, endpoint) {
                    self.fail_waiting(&origin, &RequestError::GoingAway.into());
                }
            }
            Event::Closed(id, cause) => self.on_closed(now, id, &cause, endpoint),
            Event::QuicDatagram(id, payload) => {
                if let (Some(handler), Some(mut datagrams)) = (self.datagrams.get_mut(&id), endpoint.datagrams(id)) {
                    handler.datagram(&mut datagrams, payload);
                }
            }
            // Events of servers only.
            Event::Request(_) | Event::SessionRequest(_) => {}
        }
    }

    fn on_round(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for message in self.mailbox.take() {
            match message {
                Message::Session(id, call) => self.sessions.on_call(now, id, call, endpoint),
                Message::Wake(id) => self.on_ready(now, id, endpoint),
                Message::News(topic) => self.deliveries.begin(&topic),
                // A client defers no responses.
                Message::Reply(..) | Message::Call(()) => {}
            }
        }
        self.deliver(now, endpoint);
        self.send_waiting(now, endpoint);
    }
}
