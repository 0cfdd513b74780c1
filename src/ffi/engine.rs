//! The engine's side: commands and data of callers go to the endpoint, and what happens there becomes events.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use super::code::{MQ_ERR_CONFIG, MQ_ERR_SYSTEM};
use super::command::Command;
use super::driver::Driver;
use super::event::{
    Event, MQ_EVENT_ABORTED, MQ_EVENT_ENDED, MQ_EVENT_METRICS, MQ_EVENT_RELOADED, MQ_EVENT_SESSION_OPENED,
    MQ_EVENT_STATS, MQ_EVENT_STREAM_OPENED,
};
use super::pump::pump;
use super::shared::Shared;
use super::state::{Object, Session, SessionState, State};
use super::stream::{Received, Sent};
use crate::error::SessionError;
use crate::net;
use crate::observe::prometheus;
use crate::transport::table::{ConnId, StreamId};

/// Runs a driver for callers.
pub(super) struct Engine<D> {
    pub(super) driver: D,
    shared: Arc<Shared>,
    pub(super) places: Places,
    /// Streams that the peer does not allow yet, by session.
    opening: HashMap<u64, VecDeque<(u64, bool)>>,
    pub(super) allow_origins: Vec<String>,
    date: Date,
}

/// The caller's ids by where things are.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) conns: HashMap<ConnId, u64>,
    /// Streams, and sessions by their CONNECT stream.
    pub(super) streams: BTreeMap<StreamId, u64>,
}

/// The value of `date` fields, made once in a second.
#[derive(Debug)]
struct Date {
    second: u64,
    value: HeaderValue,
}

impl Date {
    fn at(&mut self, wall: SystemTime) -> &HeaderValue {
        let second = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            if let Ok(value) = HeaderValue::from_str(&httpdate::fmt_http_date(wall)) {
                self.value = value;
            }
        }
        &self.value
    }
}

impl<D: Driver> Engine<D> {
    pub(super) fn new(driver: D, shared: Arc<Shared>, allow_origins: Vec<String>) -> Self {
        let date = Date { second: 0, value: HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT") };
        let (places, opening) = Default::default();
        Engine { driver, shared, places, opening, allow_origins, date }
    }

    /// One turn: takes what callers want, sleeps until `until` at most, runs the endpoint, and passes on what happened.
    /// Returns false if there is no other.
    pub(super) fn step(&mut self, until: Option<Instant>) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if state.ended || state.stopping {
            return false;
        }
        self.apply(&mut state);
        // Whoever polls in this thread wants what there is.
        let has_events = state.front().is_some() && !shared.is_threaded();
        // A shutdown with nothing to wait for wakes nobody.
        let until = if has_events || self.driver.is_shut_down() { Some(net::now()) } else { until };
        state.sleeps = true;
        shared.signal(state);

        let mut raw = Vec::new();
        let turned = self.driver.turn(until, &mut raw);

        let mut state = shared.lock();
        state.sleeps = false;
        for raw in raw {
            self.deliver(&mut state, raw);
        }
        self.pump_all(&mut state);
        match turned {
            Ok(()) if self.driver.is_shut_down() => self.end(&mut state, Event::new(MQ_EVENT_ENDED, 0)),
            Ok(()) => {}
            Err(error) => {
                self.end(&mut state, Event::new(MQ_EVENT_ENDED, 0).failure(MQ_ERR_SYSTEM, error.to_string()));
            }
        }
        let goes_on = !state.ended;
        shared.signal(state);
        goes_on
    }

    /// Takes what callers want.
    fn apply(&mut self, state: &mut State) {
        while let Some(command) = state.commands.pop_front() {
            self.command(state, command);
        }
        self.pump_all(state);
    }

    fn end(&mut self, state: &mut State, event: Event) {
        state.end(event);
        self.places = Places::default();
    }

    fn command(&mut self, state: &mut State, command: Command) {
        let now = net::now();
        match command {
            Command::Request { id, request } => self.driver.request(id, *request),
            Command::Connect { id, options } => self.driver.connect(id, *options),
            Command::OpenDatagrams { id, url } => self.driver.open_datagrams(id, &url),
            Command::Accept { id, headers } => {
                let Some(Session { at: Some(at), parent, .. }) = state.get_session(id) else { return };
                let (at, parent) = (*at, *parent);
                match self.driver.accept(now, at, headers) {
                    Ok(()) => {
                        self.on_session_open(state, now, id, at);
                        state.push(Event::new(MQ_EVENT_SESSION_OPENED, id).parent(parent).code(200));
                    }
                    Err(_) => self.end_session(state, id, None),
                }
            }
            Command::OpenStream { id, session, bidi } => {
                let queue = self.opening.entry(session).or_default();
                queue.push_back((id, bidi));
                self.open_streams(state, session);
            }
            Command::Datagram { id, payload } => {
                let at = match state.object(id) {
                    Some(Object::Stream(stream)) => stream.at,
                    Some(Object::Session(session)) => session.at,
                    _ => None,
                };
                if let Some(at) = at
                    && let Err(error) = self.driver.endpoint().send_datagram(at, &payload)
                {
                    log::debug!("{at:?}: a datagram is dropped: {error}");
                    let max = self.driver.endpoint().session(now, at).and_then(|session| session.max_datagram_len());
                    if let Some(session) = state.get_session(id) {
                        session.max_datagram = max;
                    }
                }
            }
            Command::QuicDatagram { id, payload } => {
                if let Some(Object::Connection(Some(conn))) = state.object(id)
                    && let Some(mut datagrams) = self.driver.endpoint().datagrams(*conn)
                    && let Err(error) = datagrams.send(&payload)
                {
                    log::debug!("{conn:?}: a datagram is dropped: {error}");
                }
            }
            Command::Drain { id } => {
                if let Some(Session { at: Some(at), .. }) = state.get_session(id) {
                    self.driver.drain_session(now, *at);
                }
            }
            Command::CloseSession { id, code, reason } => {
                if let Some(Session { at: Some(at), .. }) = state.get_session(id) {
                    self.driver.close_session(now, *at, code, &reason);
                }
            }
            Command::CloseConnection { id, code, reason } => {
                if let Some(Object::Connection(Some(conn))) = state.object(id) {
                    self.driver.endpoint().close(*conn, crate::error::ErrorCode(code), &reason);
                }
            }
            Command::Shutdown => self.driver.shutdown(now),
            Command::Reload => {
                let event = Event::new(MQ_EVENT_RELOADED, 0);
                state.push(match self.driver.reload() {
                    Ok(()) => event,
                    Err(error) => event.failure(MQ_ERR_CONFIG, error.to_string()),
                });
            }
            Command::Stats => {
                let json = super::stats::to_json(&self.driver.snapshot());
                state.push(Event::new(MQ_EVENT_STATS, 0).data(json));
            }
            Command::Metrics => {
                let text = prometheus::encode(self.driver.snapshot());
                state.push(Event::new(MQ_EVENT_METRICS, 0).data(text));
            }
        }
    }

    /// A session has opened: streams may be opened in it.
    pub(super) fn on_session_open(&mut self, state: &mut State, now: Instant, id: u64, at: StreamId) {
        let max_datagram = self.driver.endpoint().session(now, at).and_then(|session| session.max_datagram_len());
        if let Some(session) = state.get_session(id) {
            (session.at, session.max_datagram) = (Some(at), max_datagram);
            match session.state {
                SessionState::Opening => session.state = SessionState::Open,
                // The caller has given it up meanwhile.
                SessionState::Closing => self.driver.close_session(now, at, 0, ""),
                SessionState::Requested | SessionState::Open => {}
            }
        }
        self.places.streams.insert(at, id);
        self.open_streams(state, id);
    }

    /// Opens the streams that wait, as far as the peer allows.
    pub(super) fn open_streams(&mut self, state: &mut State, session: u64) {
        let at = match state.get_session(session) {
            Some(Session { at, state: SessionState::Open, .. }) => *at,
            Some(_) => return,
            None => None,
        };
        let Some(queue) = self.opening.get_mut(&session) else { return };
        let now = net::now();
        // A limit on one kind does not hold the other up.
        let mut full = [false; 2];
        let mut left = VecDeque::new();
        for (id, bidi) in queue.drain(..) {
            let Some(stream) = state.get_stream(id) else { continue };
            if full[usize::from(bidi)] {
                left.push_back((id, bidi));
                continue;
            }
            match at.ok_or(SessionError::Closed).and_then(|at| self.driver.open_stream(now, at, bidi)) {
                Ok(at) => {
                    stream.at = Some(at);
                    self.places.streams.insert(at, id);
                    state.push(Event::new(MQ_EVENT_STREAM_OPENED, id).parent(session));
                    state.mark(id);
                }
                Err(SessionError::StreamLimit) => {
                    full[usize::from(bidi)] = true;
                    left.push_back((id, bidi));
                }
                Err(_) => {
                    state.remove(id);
                    state.push(Event::new(MQ_EVENT_ABORTED, id).parent(session));
                }
            }
        }
        if let Some(session) = state.get_session(session) {
            session.opening = left.len();
        }
        match left.is_empty() {
            true => drop(self.opening.remove(&session)),
            false => *queue = left,
        }
    }

    /// Passes on the data of every stream with some.
    fn pump_all(&mut self, state: &mut State) {
        if state.dirty.is_empty() {
            return;
        }
        let now = net::now();
        for id in std::mem::take(&mut state.dirty) {
            self.pump_one(state, now, id);
        }
    }

    /// Passes on the data of a stream, and releases it when it is over.
    pub(super) fn pump_one(&mut self, state: &mut State, now: Instant, id: u64) {
        let bounds = state.bounds;
        let Some(stream) = state.get_stream(id) else { return };
        stream.dirty = false;
        if let Some(at) = stream.at
            && let Some(mut engine) = self.driver.endpoint().stream(now, at)
        {
            let date = self.date.at(net::wall_clock());
            let events = pump(id, stream, &mut engine, bounds, date);
            let is_over = stream.is_over();
            events.into_iter().for_each(|event| state.push(event));
            if is_over {
                self.release(state, now, id);
            }
            return;
        }
        let (is_open, has_place) = (stream.receiving.state == Received::Open, stream.at.is_some());
        if stream.is_over() {
            self.release(state, now, id);
        } else if has_place && (is_open || stream.sending.state == Sent::Open) {
            // The engine has dropped it.
            let parent = stream.parent;
            self.release(state, now, id);
            state.push(Event::new(MQ_EVENT_ABORTED, id).parent(parent));
        }
    }

    /// Forgets a stream.
    fn release(&mut self, state: &mut State, now: Instant, id: u64) {
        let Some(Object::Stream(stream)) = state.remove(id) else { return };
        if let Some(at) = stream.at {
            self.places.streams.remove(&at);
        }
        let session = state.get_session(stream.parent).and_then(|session| session.at);
        self.driver.release(now, id, &stream, session);
    }

    /// The streams of a session that opens no more.
    pub(super) fn forget_opening(&mut self, session: u64) -> impl Iterator<Item = u64> + use<D> {
        self.opening.remove(&session).unwrap_or_default().into_iter().map(|(id, _)| id)
    }

    /// Ends the engine at once.
    pub(super) fn stop(&mut self) {
        self.driver.stop();
    }
}
