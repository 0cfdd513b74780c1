//! The load generator. It uses the engine directly, without the client's pool and handlers.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio_quiche::endpoint::Event;
use mio_quiche::net;
use mio_quiche::turn::Application;
use mio_quiche::{
    ClientError, ClientRequest, ConnId, DatagramError, Endpoint, ErrorCode, RequestError, RequestHead, SessionError,
    StreamError, StreamId,
};

use super::request::{Request, kind};
use super::schedule::Schedule;
use super::slot::Slot;
use super::tally::Tally;
use crate::cli::Failure;

/// Body bytes written or read per call.
const CHUNK: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Http { upload: u64 },
    Datagrams,
    Streams,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Mode::Http { .. } => "http",
            Mode::Datagrams => "wt datagram",
            Mode::Streams => "wt stream",
        }
    }
}

#[derive(Clone)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    /// The request to repeat, or the one for a session.
    pub(super) request: ClientRequest,
    pub(super) connections: usize,
    /// Concurrent requests on each connection.
    pub(super) streams: usize,
    pub(super) rate: Option<f64>,
    /// The body to send; otherwise it is zeros.
    pub(super) body: Option<Bytes>,
    pub(super) size: usize,
    pub(super) timeout: Duration,
}

pub(super) struct Engine {
    pub(super) plan: Plan,
    pub(super) head: RequestHead,
    pub(super) host: String,
    /// The local address.
    pub(super) local: SocketAddr,
    pub(super) connect_timeout: Duration,
    /// The server's addresses; several until one has answered.
    pub(super) addresses: Vec<SocketAddr>,
    /// Trial connections that find an address that answers.
    pub(super) racing: HashMap<ConnId, SocketAddr>,
    pub(super) slots: Vec<Slot>,
    pub(super) by_conn: HashMap<ConnId, usize>,
    pub(super) requests: HashMap<StreamId, Request>,
    pub(super) datagrams: HashMap<u64, Request>,
    pub(super) next_datagram: u64,
    /// Slots with credit for a request.
    pub(super) free: VecDeque<usize>,
    pub(super) schedule: Option<Schedule>,
    pub(super) counting: bool,
    /// Requests that may still be started.
    pub(super) budget: u64,
    pub(super) tally: Tally,
    pub(super) last_end: Option<Instant>,
    pub(super) block: Bytes,
    pub(super) scratch: Vec<u8>,
    pub(super) failure: Option<Failure>,
}

impl Engine {
    pub(super) fn new(
        plan: Plan,
        host: String,
        addresses: Vec<SocketAddr>,
        local: SocketAddr,
        connect_timeout: Duration,
    ) -> Result<Self, Failure> {
        let tally = Tally::new().map_err(|e| Failure::Runtime(e.to_string()))?;
        Ok(Engine {
            head: plan.request.head().clone(),
            slots: std::iter::repeat_with(Slot::default).take(plan.connections).collect(),
            block: vec![0; CHUNK.max(plan.size)].into(),
            plan,
            host,
            local,
            connect_timeout,
            addresses,
            racing: HashMap::new(),
            by_conn: HashMap::new(),
            requests: HashMap::new(),
            datagrams: HashMap::new(),
            next_datagram: 0,
            free: VecDeque::new(),
            schedule: None,
            counting: false,
            budget: 0,
            tally,
            last_end: None,
            scratch: vec![0; CHUNK],
            failure: None,
        })
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn into_tally(self) -> Tally {
        self.tally
    }

    /// End of the last request, or of the run.
    pub(super) fn last_end(&self) -> Option<Instant> {
        self.last_end
    }

    /// Starts the measurement.
    pub(super) fn begin(&mut self) -> Result<(), hdrhistogram::CreationError> {
        self.tally = Tally::new()?;
        self.counting = true;
        self.last_end = None;
        Ok(())
    }

    /// Allows `count` requests, or any number. On a schedule the first one is due at `began`.
    pub(super) fn plan_load(&mut self, count: Option<u64>, began: Instant) {
        self.budget = count.unwrap_or(u64::MAX);
        self.schedule = self.plan.rate.map(|rate| Schedule::new(rate, began));
        for slot in 0..self.slots.len() {
            self.list(slot);
        }
    }

    /// Scheduled requests not done at the end must be counted.
    pub(super) fn give_up_rest(&mut self, until: Option<Instant>) {
        let now = net::now();
        self.budget = 0;
        if !self.counting {
            return;
        }
        if self.plan.rate.is_none() {
            if let Some(until) = until.filter(|until| *until <= now) {
                self.last_end = Some(until.max(self.last_end.unwrap_or(until)));
            }
            return;
        }
        let open = self.requests.values().chain(self.datagrams.values()).filter(|request| request.counts);
        let mut ages: Vec<(Duration, u64)> = open.map(|request| (now - request.since, 1)).collect();
        ages.extend(self.schedule.iter_mut().flat_map(|schedule| schedule.give_up(now)));
        for (age, count) in ages {
            self.tally.record(age, count);
            self.tally.error("unfinished", count, || "not finished at the end".to_owned());
        }
    }

    /// Notes the requests that are due.
    pub(super) fn schedule(&mut self, now: Instant, until: Option<Instant>) {
        if let Some(schedule) = &mut self.schedule {
            schedule.advance(now, until, self.budget);
        }
    }

    /// The next due time of the schedule.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.schedule?.next(self.budget)
    }

    /// Requests that are due, or under way.
    pub(super) fn open_requests(&self) -> usize {
        let waiting = self.schedule.map_or(0, |schedule| schedule.waiting());
        self.requests.len() + self.datagrams.len() + usize::try_from(waiting).unwrap_or(usize::MAX / 2)
    }

    /// Whether a connection can be loaded at once.
    fn may_start(&self) -> bool {
        match &self.schedule {
            Some(schedule) => schedule.waiting() > 0,
            None => self.budget > 0,
        }
    }

    pub(super) fn list(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.slots[slot].listed, true) {
            self.free.push_back(slot);
        }
    }

    /// Starts requests where there is credit.
    pub(super) fn start(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while self.may_start() {
            let Some(index) = self.free.pop_front() else { return };
            let slot = &mut self.slots[index];
            slot.listed = false;
            // In a closed loop a connection is filled up at once; on a schedule they take turns.
            loop {
                let slot = &self.slots[index];
                let room = slot.ready && !slot.blocked && !slot.going && slot.active < self.plan.streams;
                if !room || !self.may_start() {
                    break;
                }
                let since = self.schedule.and_then(|schedule| schedule.first()).unwrap_or(now);
                if !self.start_one(now, index, since, endpoint) {
                    break;
                }
                match &mut self.schedule {
                    Some(schedule) => {
                        schedule.start_one();
                        self.list(index);
                        break;
                    }
                    None => self.budget -= 1,
                }
            }
        }
    }

    /// Starts one on a connection. False if there is no credit.
    fn start_one(&mut self, now: Instant, index: usize, since: Instant, endpoint: &mut Endpoint) -> bool {
        let slot = &mut self.slots[index];
        let Some(conn) = slot.conn else { return false };
        let (mode, size) = (self.plan.mode, self.plan.size);
        let (counts, begun) = (self.counting, now);
        let request =
            |left| Request { slot: index, since, begun, counts, status: 0, received: 0, left, ended: left == 0 };
        match mode {
            Mode::Http { upload } => match endpoint.request(conn, &self.head, upload == 0) {
                Ok(id) => {
                    self.requests.insert(id, request(upload));
                    self.began(index);
                    if upload > 0 {
                        self.advance(now, id, endpoint);
                    }
                    return true;
                }
                Err(RequestError::Blocked) => slot.blocked = true,
                Err(RequestError::GoingAway | RequestError::Closed) => slot.going = true,
                Err(error) => self.failure = Some(Failure::Runtime(error.to_string())),
            },
            Mode::Streams => {
                let Some(mut session) = slot.session.and_then(|id| endpoint.session(now, id)) else {
                    return false;
                };
                match session.open_bidi() {
                    Ok(id) => {
                        self.requests.insert(id, Request { ended: false, ..request(size as u64) });
                        self.began(index);
                        self.advance(now, id, endpoint);
                        return true;
                    }
                    Err(SessionError::StreamLimit) => slot.blocked = true,
                    Err(_) => slot.ready = false,
                }
            }
            Mode::Datagrams => {
                let Some(id) = slot.session else { return false };
                let number = self.next_datagram;
                self.scratch[..8].copy_from_slice(&number.to_be_bytes());
                match endpoint.send_datagram(id, &self.scratch[..size]) {
                    Ok(()) => {
                        self.next_datagram += 1;
                        self.datagrams.insert(number, request(0));
                        self.began(index);
                        if counts {
                            self.tally.bytes_out += size as u64;
                        }
                        return true;
                    }
                    // Retried when something comes back.
                    Err(DatagramError::QueueFull) => {}
                    Err(error) => self.failure = Some(Failure::Runtime(error.to_string())),
                }
            }
        }
        false
    }

    fn began(&mut self, index: usize) {
        self.slots[index].active += 1;
        self.tally.started += u64::from(self.counting);
    }

    /// Writes and reads as much of a stream as possible.
    fn advance(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let result = match endpoint.stream(now, id) {
            Some(mut stream) => {
                let body = self.plan.body.as_ref();
                request.advance(&mut stream, body, &self.block, &mut self.scratch)
            }
            None => Err(StreamError::Closed),
        };
        let wrong = match result {
            Ok(false) => return,
            Ok(true) if self.plan.mode == Mode::Streams && request.received != self.plan.size as u64 => {
                Some(("wrong", format!("a stream came back with {} bytes", request.received)))
            }
            Ok(true) => None,
            Err(error) => Some((kind(&error), error.to_string())),
        };
        endpoint.release(now, id);
        if let Some(request) = self.requests.remove(&id) {
            self.over(now, endpoint, request, wrong);
        }
    }

    /// A request has ended, with or without an error.
    pub(super) fn over(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        request: Request,
        wrong: Option<(&'static str, String)>,
    ) {
        let Request { slot: index, since, counts, status, received, .. } = request;
        self.slots[index].active -= 1;
        self.list(index);
        if self.slots[index].going {
            self.leave_if_idle(index, endpoint);
        }
        if !counts {
            return;
        }
        self.tally.bytes_in += received;
        self.tally.bytes_out += match self.plan.mode {
            Mode::Http { upload } => upload - request.left,
            Mode::Streams => self.plan.size as u64 - request.left,
            Mode::Datagrams => 0,
        };
        match wrong {
            None => self.tally.answer(status, now - since),
            Some((kind, what)) => self.tally.error(kind, 1, || what),
        }
        self.last_end = Some(now);
    }

    /// Fails requests that timed out.
    pub(super) fn expire(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let timeout = self.plan.timeout;
        let late = |request: &Request| now - request.begun >= timeout;
        let streams: Vec<StreamId> = self.requests.iter().filter(|(_, r)| late(r)).map(|(id, _)| *id).collect();
        for id in streams {
            if let Some(mut stream) = endpoint.stream(now, id) {
                let is_http = matches!(self.plan.mode, Mode::Http { .. });
                stream.reset(if is_http { ErrorCode::H3_REQUEST_CANCELLED } else { ErrorCode::webtransport(0) });
            }
            endpoint.release(now, id);
            if let Some(request) = self.requests.remove(&id) {
                self.over(
                    now,
                    endpoint,
                    request,
                    Some(("timeout", format!("no answer within {} s", timeout.as_secs_f64()))),
                );
            }
        }
        let datagrams: Vec<u64> = self.datagrams.iter().filter(|(_, r)| late(r)).map(|(number, _)| *number).collect();
        for number in datagrams {
            if let Some(request) = self.datagrams.remove(&number) {
                self.over(now, endpoint, request, Some(("lost", "a datagram did not come back".to_owned())));
            }
        }
    }
}

impl Application for Engine {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Ready(id) => self.advance(now, id, endpoint),
            Event::Response(id, head) => match self.requests.get_mut(&id) {
                Some(request) => request.status = head.status.as_u16(),
                None if head.status.is_success() => self.on_session(id),
                None => self.failure = Some(ClientError::Refused(head.status).into()),
            },
            Event::Datagram(_, payload) => {
                let number = payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
                let Some(request) = number.and_then(|number| self.datagrams.remove(&number)) else { return };
                let whole = payload.len() == self.plan.size;
                let received = payload.len() as u64;
                let wrong = (!whole).then(|| ("wrong", format!("a datagram came back with {received} bytes")));
                self.over(now, endpoint, Request { received, ..request }, wrong);
            }
            Event::Connected(id) => self.on_connected(id, endpoint),
            Event::RequestsPossible(id) => {
                let Some(&index) = self.by_conn.get(&id) else { return };
                self.slots[index].blocked = false;
                match self.slots[index].ready {
                    true => self.list(index),
                    false => self.ask_for_session(index, endpoint),
                }
            }
            Event::StreamsAvailable(id) => {
                let Some(&index) = self.by_conn.get(&id.conn) else { return };
                self.slots[index].blocked = false;
                self.list(index);
            }
            Event::SessionStream { stream, .. } => endpoint.release(now, stream),
            Event::SessionClosed(id, end) if self.by_conn.contains_key(&id.conn) => {
                self.failure = Some(Failure::Runtime(format!("a session was {end}")));
            }
            Event::GoingAway(id) => {
                let Some(&index) = self.by_conn.get(&id) else { return };
                self.slots[index].going = true;
                self.leave_if_idle(index, endpoint);
            }
            Event::Closed(id, cause) => self.on_closed(now, id, &cause, endpoint),
            _ => {}
        }
    }

    fn on_round(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.start(now, endpoint);
    }
}
