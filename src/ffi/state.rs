//! What an engine and its callers share: objects by id, events for the caller, commands for the engine.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;

use super::code::{MQ_ERR_ENDED, MQ_ERR_FULL, MQ_ERR_GONE, MQ_ERR_ID, MQ_ERR_STATE, Outcome, because, fail};
use super::command::Command;
use super::event::Event;
use super::stream::Stream;
use crate::transport::table::{ConnId, StreamId};

/// Commands that wait at most; further ones are refused.
const MAX_COMMANDS: usize = 16 * 1024;
/// HTTP and QUIC datagrams that wait for the caller at most; further ones are dropped, as the network may do.
const MAX_DATAGRAMS: usize = 16 * 1024;

/// Bytes of payloads that wait for the caller; above that, the engine pauses and datagrams are dropped.
const MAX_PAYLOADS: usize = 64 * 1024 * 1024;

/// What an id names.
#[derive(Debug)]
pub(super) enum Object {
    /// A connection, once there is one.
    Connection(Option<ConnId>),
    Stream(Box<Stream>),
    Session(Session),
}

/// A WebTransport session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) parent: u64,
    /// Its CONNECT stream, once there is one.
    pub(super) at: Option<StreamId>,
    pub(super) state: SessionState,
    /// The largest datagram at the moment, if known.
    pub(super) max_datagram: Option<usize>,
    /// Streams that wait to be opened.
    pub(super) opening: usize,
}

impl Session {
    pub(super) fn new(parent: u64, at: Option<StreamId>, state: SessionState) -> Self {
        Session { parent, at, state, max_datagram: None, opening: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    /// A client asks; it is to be accepted or rejected.
    Requested,
    /// The answer is on its way.
    Opening,
    Open,
    /// The caller has closed it.
    Closing,
}

/// Bounds that settings name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of a stream that wait to be read.
    pub(super) read_buffer: usize,
    /// Bytes of a stream that wait to be sent.
    pub(super) write_buffer: usize,
    /// Events that wait; above that the engine pauses.
    pub(super) events: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { read_buffer: 256 * 1024, write_buffer: 256 * 1024, events: 64 * 1024 }
    }
}

/// The state of an engine, behind a lock that nobody holds for long.
#[derive(Debug)]
pub(super) struct State {
    objects: HashMap<u64, Object, BuildHasherDefault<IdHasher>>,
    next_id: u64,
    pub(super) bounds: Bounds,
    events: VecDeque<Event>,
    /// Bytes of their payloads.
    payloads: usize,
    /// Datagrams among them.
    datagrams: usize,
    /// The payloads of the latest batch.
    lent: Vec<Bytes>,
    /// The chunk that was lent last of each stream, since then.
    lent_chunks: HashMap<u64, Bytes, BuildHasherDefault<IdHasher>>,
    pub(super) commands: VecDeque<Command>,
    /// Streams that the engine has to look at.
    pub(super) dirty: Vec<u64>,
    /// The engine sleeps until it is woken.
    pub(super) sleeps: bool,
    /// The caller has been told of events, and has not taken all of them.
    pub(super) signalled: bool,
    /// A thread is in `mq_poll`.
    pub(super) polled: bool,
    /// `mq_stop` wants the engine to end.
    pub(super) stopping: bool,
    /// The engine has ended.
    pub(super) ended: bool,
}

impl State {
    pub(super) fn new(bounds: Bounds) -> Self {
        State {
            objects: HashMap::default(),
            next_id: 1,
            bounds,
            events: VecDeque::new(),
            payloads: 0,
            datagrams: 0,
            lent: Vec::new(),
            lent_chunks: HashMap::default(),
            commands: VecDeque::new(),
            dirty: Vec::new(),
            sleeps: false,
            signalled: false,
            polled: false,
            stopping: false,
            ended: false,
        }
    }

    /// Gives something an id, which is never given again.
    pub(super) fn insert(&mut self, object: Object) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.objects.insert(id, object);
        id
    }

    /// Lets an id name something else.
    pub(super) fn replace(&mut self, id: u64, object: Object) {
        self.objects.insert(id, object);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Object> {
        self.objects.remove(&id)
    }

    pub(super) fn object(&mut self, id: u64) -> Option<&mut Object> {
        self.objects.get_mut(&id)
    }

    pub(super) fn get_stream(&mut self, id: u64) -> Option<&mut Stream> {
        match self.objects.get_mut(&id) {
            Some(Object::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(super) fn get_session(&mut self, id: u64) -> Option<&mut Session> {
        match self.objects.get_mut(&id) {
            Some(Object::Session(session)) => Some(session),
            _ => None,
        }
    }

    /// What a caller's id names.
    pub(super) fn find(&mut self, id: u64) -> Outcome<&mut Object> {
        if self.ended {
            return fail(MQ_ERR_ENDED);
        }
        let was_given = (1..self.next_id).contains(&id);
        match self.objects.get_mut(&id) {
            Some(object) => Ok(object),
            None => fail(if was_given { MQ_ERR_GONE } else { MQ_ERR_ID }),
        }
    }

    pub(super) fn stream(&mut self, id: u64) -> Outcome<&mut Stream> {
        match self.find(id)? {
            Object::Stream(stream) => Ok(stream),
            _ => fail(MQ_ERR_ID),
        }
    }

    pub(super) fn session(&mut self, id: u64) -> Outcome<&mut Session> {
        match self.find(id)? {
            Object::Session(session) => Ok(session),
            _ => fail(MQ_ERR_ID),
        }
    }

    pub(super) fn connection(&mut self, id: u64) -> Outcome<ConnId> {
        match self.find(id)? {
            Object::Connection(Some(conn)) => Ok(*conn),
            Object::Connection(None) => because(MQ_ERR_STATE, "the connection is not open"),
            _ => fail(MQ_ERR_ID),
        }
    }

    /// Lets the engine look at a stream.
    pub(super) fn mark(&mut self, id: u64) {
        if let Some(stream) = self.get_stream(id)
            && !std::mem::replace(&mut stream.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    /// Whether there is something for the engine to do.
    pub(super) fn has_work(&self) -> bool {
        !self.commands.is_empty() || !self.dirty.is_empty() || self.stopping
    }

    /// Passes a command to the engine.
    pub(super) fn command(&mut self, command: Command) -> Outcome<()> {
        if self.ended {
            return fail(MQ_ERR_ENDED);
        }
        if self.commands.len() >= MAX_COMMANDS {
            return fail(MQ_ERR_FULL);
        }
        self.commands.push_back(command);
        Ok(())
    }

    /// The engine has ended: nothing is left but its events.
    pub(super) fn end(&mut self, event: Event) {
        self.ended = true;
        self.objects.clear();
        self.commands.clear();
        self.dirty.clear();
        self.push(event);
    }

    pub(super) fn push(&mut self, event: Event) {
        self.payloads += event.data.len();
        self.events.push_back(event);
    }

    /// How many events wait.
    pub(super) fn event_count(&self) -> usize {
        self.events.len()
    }

    /// Puts an event where the queue ended when it had `count` events.
    pub(super) fn push_after(&mut self, count: usize, event: Event) {
        self.payloads += event.data.len();
        self.events.insert(count, event);
    }

    /// Passes a datagram on, or drops it if many wait. Returns whether it was taken.
    pub(super) fn push_datagram(&mut self, event: Event) -> bool {
        let fits = self.datagrams < MAX_DATAGRAMS && self.payloads < MAX_PAYLOADS;
        if fits {
            self.datagrams += 1;
            self.push(event);
        }
        fits
    }

    /// Whether so many events wait that the engine has to pause.
    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= self.bounds.events || self.payloads >= MAX_PAYLOADS
    }

    /// Takes an event's payload, which stays where it is until [`forget_lent`](State::forget_lent).
    pub(super) fn lend(&mut self, payload: Bytes) {
        if !payload.is_empty() {
            self.lent.push(payload);
        }
    }

    /// As [`lend`](State::lend), with the bytes of a stream, and at most until the next of it.
    pub(super) fn lend_chunk(&mut self, id: u64, chunk: Bytes) {
        self.lent_chunks.insert(id, chunk);
    }

    /// Takes back what was lent.
    pub(super) fn forget_lent(&mut self) {
        self.lent.clear();
        self.lent_chunks.clear();
    }

    /// The next event that still means something.
    pub(super) fn front(&mut self) -> Option<&Event> {
        while let Some(event) = self.events.front() {
            if !event.needs_object() || self.objects.contains_key(&event.id) {
                break;
            }
            self.pop();
        }
        self.events.front()
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.payloads -= event.data.len();
        if event.is_datagram() {
            self.datagrams -= 1;
        }
        Some(event)
    }
}

/// Ids count up: they need no more than being spread.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0 << 8 | u64::from(byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

#[cfg(test)]
mod tests {
    use super::super::code::{MQ_ERR_GONE, MQ_ERR_ID};
    use super::super::event::{MQ_EVENT_CLOSED, MQ_EVENT_DATAGRAM, MQ_EVENT_READABLE};
    use super::super::stream::{Kind, Stream};
    use super::*;

    fn state() -> (State, u64) {
        let mut state = State::new(Bounds::default());
        let id = state.insert(Object::Stream(Box::new(Stream::new(Kind::Response, 0, true, true))));
        (state, id)
    }

    #[test]
    fn an_id_is_given_once() {
        let (mut state, id) = state();
        assert!(state.stream(id).is_ok());
        assert_eq!(state.session(id).unwrap_err().code, MQ_ERR_ID, "of another kind");
        state.remove(id);
        assert_eq!(state.stream(id).unwrap_err().code, MQ_ERR_GONE);
        assert_eq!(state.stream(id + 1).unwrap_err().code, MQ_ERR_ID, "never given");
        assert_eq!(state.stream(0).unwrap_err().code, MQ_ERR_ID);
        assert_ne!(state.insert(Object::Stream(Box::new(Stream::new(Kind::Response, 0, true, true)))), id);
    }

    #[test]
    fn events_of_what_is_gone_are_left_out() {
        let (mut state, id) = state();
        state.push(Event::new(MQ_EVENT_READABLE, id));
        state.push(Event::new(MQ_EVENT_CLOSED, id));
        state.remove(id);
        assert_eq!(state.front().unwrap().kind, MQ_EVENT_CLOSED);
    }

    #[test]
    fn datagrams_are_bounded_apart_from_other_events() {
        let (mut state, id) = state();
        let taken = (0..MAX_DATAGRAMS + 7).filter(|_| state.push_datagram(Event::new(MQ_EVENT_DATAGRAM, id))).count();
        assert_eq!(taken, MAX_DATAGRAMS);
        state.pop().unwrap();
        assert!(state.push_datagram(Event::new(MQ_EVENT_DATAGRAM, id)));
        assert!(!state.push_datagram(Event::new(MQ_EVENT_DATAGRAM, id)));
    }

    #[test]
    fn payloads_are_bounded_in_bytes() {
        let (mut state, id) = state();
        let event = || Event::new(MQ_EVENT_CLOSED, id).data(vec![0; MAX_PAYLOADS / 4]);
        (0..3).for_each(|_| state.push(event()));
        assert!(!state.is_full());
        state.push_after(1, event());
        assert!(state.is_full() && !state.push_datagram(Event::new(MQ_EVENT_DATAGRAM, id)));
        state.pop().unwrap();
        assert!(!state.is_full() && state.push_datagram(Event::new(MQ_EVENT_DATAGRAM, id)));
        assert_eq!(state.event_count(), 4);
    }

    #[test]
    fn commands_are_bounded() {
        let (mut state, _) = state();
        let taken = (0..MAX_COMMANDS + 1).take_while(|_| state.command(Command::Reload).is_ok()).count();
        assert_eq!(taken, MAX_COMMANDS);
        state.ended = true;
        assert_eq!(state.command(Command::Reload).unwrap_err().code, MQ_ERR_ENDED);
    }
}
