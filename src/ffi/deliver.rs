//! What happened at the endpoint becomes events, and ids of new things.

use std::time::Instant;

use http::{HeaderMap, Method, StatusCode};

use super::code::Failure;
use super::driver::{Driver, Raw};
use super::engine::Engine;
use super::event::{
    Event, MQ_EVENT_ABORTED, MQ_EVENT_CLOSED, MQ_EVENT_CONNECTED, MQ_EVENT_DATAGRAM, MQ_EVENT_FAILED,
    MQ_EVENT_INFORMATIONAL, MQ_EVENT_QUIC_DATAGRAM, MQ_EVENT_REQUEST, MQ_EVENT_RESPONSE, MQ_EVENT_SESSION_CLOSED,
    MQ_EVENT_SESSION_DRAINING, MQ_EVENT_SESSION_OPENED, MQ_EVENT_SESSION_REQUEST, MQ_EVENT_STREAM, MQ_FLAG_APPLICATION,
    MQ_FLAG_BY_PEER, MQ_FLAG_EARLY, MQ_FLAG_END, MQ_FLAG_LOCAL, MQ_FLAG_UNI,
};
use super::fields;
use super::state::{Object, Session, SessionState, State};
use super::stream::{Kind, Received, Stream};
use crate::app::allows_origin;
use crate::endpoint::{self, CloseCause, ClosedBy};
use crate::h3::{Request, ResponseHead};
use crate::net;
use crate::transport::table::{ConnId, StreamId};
use crate::wt::{EndedBy, SessionEnd};

impl<D: Driver> Engine<D> {
    pub(super) fn deliver(&mut self, state: &mut State, raw: Raw) {
        let now = net::now();
        match raw {
            Raw::Event(event) => self.on_event(state, now, event),
            Raw::Sent { id, at } => {
                let Some(stream) = state.get_stream(id) else { return };
                if let Some(earlier) = stream.at.replace(at) {
                    self.places.streams.remove(&earlier);
                }
                self.places.streams.insert(at, id);
                state.mark(id);
            }
            Raw::Informational { id, head } => state.push(response(MQ_EVENT_INFORMATIONAL, id, &head)),
            Raw::Response { id, head } => self.on_response(state, now, id, &head),
            Raw::Failed { id, error } => {
                if let Some(stream) = state.get_stream(id)
                    && stream.receiving.state == Received::Ended
                {
                    // The response is here, whatever became of its connection.
                    if let Some(at) = stream.at.take() {
                        self.places.streams.remove(&at);
                    }
                    return;
                }
                let failure = Failure::from(&error);
                if let Some(object) = state.remove(id) {
                    if let Object::Stream(stream) = &object
                        && let Some(at) = stream.at
                    {
                        self.places.streams.remove(&at);
                    }
                    state.push(Event::new(MQ_EVENT_FAILED, id).failure(failure.code, failure.detail));
                }
                self.abort_opening(state, id);
            }
            Raw::DatagramsOpened { id, conn } => {
                if let Some(Object::Connection(place)) = state.object(id) {
                    *place = Some(conn);
                    self.places.conns.insert(conn, id);
                    self.announce_connection(state, id, conn);
                }
            }
            Raw::SessionOpened { id, at, head } => {
                self.on_session_open(state, now, id, at);
                let event = match head {
                    Some(head) => response(MQ_EVENT_SESSION_OPENED, id, &head),
                    None => Event::new(MQ_EVENT_SESSION_OPENED, id).code(200),
                };
                state.push(event);
            }
        }
    }

    fn on_event(&mut self, state: &mut State, now: Instant, event: endpoint::Event) {
        use endpoint::Event as Happened;
        match event {
            Happened::Connected(conn) => {
                self.connection(state, conn);
            }
            Happened::Request(request) => self.on_request(state, now, &request),
            Happened::SessionRequest(request) => self.on_session_request(state, now, &request),
            Happened::SessionStream { session, stream } => self.on_session_stream(state, now, session, stream),
            Happened::Datagram(at, payload) => {
                if let Some(id) = self.places.streams.get(&at) {
                    state.push_datagram(Event::new(MQ_EVENT_DATAGRAM, *id).data(payload));
                }
            }
            Happened::QuicDatagram(conn, payload) => {
                let id = self.connection(state, conn);
                state.push_datagram(Event::new(MQ_EVENT_QUIC_DATAGRAM, id).data(payload));
            }
            Happened::StreamsAvailable(at) => {
                if let Some(id) = self.places.streams.get(&at) {
                    self.open_streams(state, *id);
                }
            }
            Happened::SessionDraining(at) => {
                if let Some(id) = self.places.streams.get(&at) {
                    state.push(Event::new(MQ_EVENT_SESSION_DRAINING, *id));
                }
            }
            Happened::SessionClosed(at, end) => {
                if let Some(id) = self.places.streams.get(&at) {
                    self.end_session(state, *id, Some(&end));
                }
            }
            Happened::Ready(at) => {
                let Some(id) = self.places.streams.get(&at).copied() else { return };
                match state.get_session(id).map(|session| session.state) {
                    Some(SessionState::Requested) => self.check_request(state, now, id, at),
                    Some(_) => {}
                    None => state.mark(id),
                }
            }
            Happened::Closed(conn, cause) => self.on_closed(state, conn, &cause),
            // Timers are the caller's own. The rest comes to a client's handlers.
            _ => {}
        }
    }

    /// The id of a connection, which the caller is told of with the first thing that happens on it.
    fn connection(&mut self, state: &mut State, conn: ConnId) -> u64 {
        if let Some(id) = self.places.conns.get(&conn) {
            return *id;
        }
        let id = state.insert(Object::Connection(Some(conn)));
        self.places.conns.insert(conn, id);
        self.announce_connection(state, id, conn);
        id
    }

    fn announce_connection(&mut self, state: &mut State, id: u64, conn: ConnId) {
        let addr = self.driver.endpoint().peer_addr(conn).map(|addr| addr.to_string()).unwrap_or_default();
        state.push(Event::new(MQ_EVENT_CONNECTED, id).data(addr));
    }

    fn on_request(&mut self, state: &mut State, now: Instant, request: &Request) {
        let at = request.stream_id();
        let parent = self.connection(state, at.conn);
        let mut stream = Stream::new(Kind::Request { is_head: request.method() == Method::HEAD }, parent, true, true);
        stream.at = Some(at);
        // The event says whether there is a body, so another for what is there already comes after it.
        stream.receiving.announced = true;
        let id = state.insert(Object::Stream(Box::new(stream)));
        self.places.streams.insert(at, id);
        let first = state.event_count();
        self.pump_one(state, now, id);
        let mut flags = if request.is_early() { MQ_FLAG_EARLY } else { 0 };
        flags |= end_of_head(state, id);
        let event = Event::new(MQ_EVENT_REQUEST, id).parent(parent).flags(flags).data(request_fields(request));
        state.push_after(first, event);
    }

    fn on_response(&mut self, state: &mut State, now: Instant, id: u64, head: &ResponseHead) {
        let Some(stream) = state.get_stream(id) else { return };
        stream.receiving.announced = true;
        let first = state.event_count();
        self.pump_one(state, now, id);
        let event = response(MQ_EVENT_RESPONSE, id, head).flags(end_of_head(state, id));
        state.push_after(first, event);
    }

    fn on_session_request(&mut self, state: &mut State, now: Instant, request: &Request) {
        let at = request.stream_id();
        if !allows_origin(request, &self.allow_origins) {
            log::info!("{at:?}: session rejected because of its origin: {:?}", request.header("origin"));
            if let Some(mut stream) = self.driver.endpoint().stream(now, at) {
                stream.set_head(ResponseHead { status: StatusCode::FORBIDDEN, headers: HeaderMap::new() });
                // An error is that the client is gone.
                let _ = stream.finish_with(&mut "this origin is not allowed here\n".into());
            }
            return self.driver.endpoint().release(now, at);
        }
        let parent = self.connection(state, at.conn);
        let session = Session::new(parent, Some(at), SessionState::Requested);
        let id = state.insert(Object::Session(session));
        self.places.streams.insert(at, id);
        let event = Event::new(MQ_EVENT_SESSION_REQUEST, id).parent(parent).data(request_fields(request));
        state.push(event);
    }

    /// A client may withdraw its request for a session.
    fn check_request(&mut self, state: &mut State, now: Instant, id: u64, at: StreamId) {
        let failed = self.driver.endpoint().stream(now, at).is_none_or(|mut stream| stream.read(&mut [0]).is_err());
        if failed {
            self.driver.endpoint().release(now, at);
            let end = SessionEnd { by: EndedBy::Peer, code: 0, reason: String::new() };
            self.end_session(state, id, Some(&end));
        }
    }

    fn on_session_stream(&mut self, state: &mut State, now: Instant, session: StreamId, at: StreamId) {
        let Some(parent) = self.places.streams.get(&session).copied() else {
            return self.driver.endpoint().release(now, at);
        };
        let mut stream = Stream::new(Kind::Session, parent, true, at.is_bidi());
        stream.at = Some(at);
        let id = state.insert(Object::Stream(Box::new(stream)));
        self.places.streams.insert(at, id);
        let flags = if at.is_bidi() { 0 } else { MQ_FLAG_UNI };
        state.push(Event::new(MQ_EVENT_STREAM, id).parent(parent).flags(flags));
        self.pump_one(state, now, id);
    }

    /// Ends a session and its streams. Without an `end`, it ended with its connection.
    pub(super) fn end_session(&mut self, state: &mut State, id: u64, end: Option<&SessionEnd>) {
        if state.get_session(id).is_none() {
            return;
        }
        let Some(Object::Session(session)) = state.remove(id) else { return };
        self.abort_opening(state, id);
        if let Some(at) = session.at {
            self.places.streams.remove(&at);
            let (first, last) = (StreamId { id: 0, ..at }, StreamId { id: u64::MAX, ..at });
            let candidates: Vec<(StreamId, u64)> =
                self.places.streams.range(first..=last).map(|(at, id)| (*at, *id)).collect();
            for (at, stream) in candidates {
                if state.get_stream(stream).is_some_and(|stream| stream.parent == id) {
                    self.places.streams.remove(&at);
                    state.remove(stream);
                    state.push(Event::new(MQ_EVENT_ABORTED, stream).parent(id));
                }
            }
        }
        let event = Event::new(MQ_EVENT_SESSION_CLOSED, id).parent(session.parent);
        state.push(match end {
            Some(end) => {
                let flags = match end.by {
                    EndedBy::Us => MQ_FLAG_LOCAL,
                    EndedBy::Peer => MQ_FLAG_BY_PEER,
                    EndedBy::Connection => 0,
                };
                event.flags(flags).code(end.code.into()).data(end.reason.clone())
            }
            None => event,
        });
    }

    /// Streams that wait to be opened in a session that has ended.
    fn abort_opening(&mut self, state: &mut State, session: u64) {
        for stream in self.forget_opening(session) {
            if state.remove(stream).is_some() {
                state.push(Event::new(MQ_EVENT_ABORTED, stream).parent(session));
            }
        }
    }

    fn on_closed(&mut self, state: &mut State, conn: ConnId, cause: &CloseCause) {
        let (first, last) = (StreamId { conn, id: 0 }, StreamId { conn, id: u64::MAX });
        let left: Vec<u64> = self.places.streams.range(first..=last).map(|(_, id)| *id).collect();
        for id in &left {
            let end = SessionEnd { by: EndedBy::Connection, code: 0, reason: cause.to_string() };
            self.end_session(state, *id, Some(&end));
        }
        let left: Vec<(StreamId, u64)> = self.places.streams.range(first..=last).map(|(at, id)| (*at, *id)).collect();
        for (at, id) in left {
            self.places.streams.remove(&at);
            if let Some(Object::Stream(stream)) = state.remove(id) {
                state.push(Event::new(MQ_EVENT_ABORTED, id).parent(stream.parent));
            }
        }
        let Some(id) = self.places.conns.remove(&conn) else { return };
        state.remove(id);
        let mut flags = if cause.application { MQ_FLAG_APPLICATION } else { 0 };
        flags |= match cause.by {
            ClosedBy::Us => MQ_FLAG_LOCAL,
            ClosedBy::Peer | ClosedBy::StatelessReset => MQ_FLAG_BY_PEER,
            ClosedBy::IdleTimeout => 0,
        };
        state.push(Event::new(MQ_EVENT_CLOSED, id).flags(flags).code(cause.code.0).data(cause.to_string()));
    }
}

/// After the head of a message: whether it has no body. If it has one that is here, the caller is told.
fn end_of_head(state: &mut State, id: u64) -> u32 {
    let Some(stream) = state.get_stream(id) else { return 0 };
    let receiving = &mut stream.receiving;
    if receiving.state == Received::Ended && receiving.len == 0 {
        receiving.state = Received::Closed;
        if stream.is_over() {
            state.mark(id);
        }
        return MQ_FLAG_END;
    }
    let is_open = receiving.state == Received::Open;
    receiving.announced = !(is_open && receiving.len == 0);
    if receiving.announced && receiving.state != Received::Failed {
        let flags = if is_open { 0 } else { MQ_FLAG_END };
        state.push(Event::new(super::event::MQ_EVENT_READABLE, id).flags(flags));
    }
    0
}

/// The event of a response's head.
fn response(kind: u32, id: u64, head: &ResponseHead) -> Event {
    let status = head.status.as_u16();
    Event::new(kind, id).code(status.into()).data(fields::write(&[], &head.headers))
}

/// The fields of a request, with the pseudo-header fields in front.
fn request_fields(request: &Request) -> bytes::Bytes {
    let path = match request.query() {
        Some(query) => format!("{}?{query}", request.path()),
        None => request.path().to_owned(),
    };
    let all = [
        (":method", request.method().as_str()),
        (":scheme", request.scheme()),
        (":authority", request.authority()),
        (":path", &path),
        (":protocol", request.protocol().unwrap_or_default()),
    ];
    let given: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    fields::write(&given, request.headers())
}
