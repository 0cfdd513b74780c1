//! The driver of a client: the library's client, with handlers that note down what they are told.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use super::driver::{Driver, Raw};
use super::stream::Stream;
use crate::app::{
    self, Client as LibraryClient, ClientError, ClientRequest, DatagramHandler, Progress, RequestId, ResponseHandler,
    SessionHandler, SessionOptions, StreamHandler,
};
use crate::config::ClientConfig;
use crate::endpoint::{self, CloseCause, Datagrams, Endpoint, Event};
use crate::error::{ConfigError, Result, SessionError};
use crate::h3::ResponseHead;
use crate::net::{self, Waker};
use crate::observe::prometheus::Snapshot;
use crate::transport::table::{ConnId, StreamId};
use crate::wt::SessionEnd;

/// Time for requests and sessions to end after a shutdown has begun.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// What handlers were told in a turn.
type Notes = Rc<RefCell<Vec<Raw>>>;

pub(super) struct Client {
    client: LibraryClient,
    notes: Notes,
    requests: HashMap<u64, Request>,
    max_redirects: usize,
    /// When a shutdown closes what is left, once it has begun.
    deadline: Option<Instant>,
}

/// A request that the library's client runs.
struct Request {
    id: RequestId,
    is_done: Rc<Cell<bool>>,
}

impl Client {
    pub(super) fn new(config: ClientConfig) -> Result<Self> {
        let max_redirects = config.max_redirects;
        let client = LibraryClient::new(config)?;
        Ok(Client { client, notes: Notes::default(), requests: HashMap::new(), max_redirects, deadline: None })
    }
}

impl Driver for Client {
    fn endpoint(&mut self) -> &mut Endpoint {
        self.client.endpoint()
    }

    fn local_addr(&self) -> SocketAddr {
        self.client.local_addr()
    }

    fn waker(&self) -> Waker {
        self.client.waker()
    }

    fn turn(&mut self, until: Option<Instant>, raw: &mut Vec<Raw>) -> Result<()> {
        // What commands have noted is told at once.
        let until = if self.notes.borrow().is_empty() { until } else { Some(net::now()) };
        self.client.turn(until.into_iter().chain(self.deadline).min())?;
        raw.append(&mut self.notes.borrow_mut());
        for raw in raw {
            if let Raw::Failed { id, .. } = raw {
                self.requests.remove(id);
            }
        }
        Ok(())
    }

    fn release(&mut self, now: Instant, id: u64, stream: &Stream, session: Option<StreamId>) {
        if let Some(request) = self.requests.remove(&id) {
            if stream.released || stream.at.is_none() {
                return self.client.cancel(request.id);
            }
            request.is_done.set(true);
            return self.client.wake(request.id);
        }
        let Some(at) = stream.at else { return };
        let released = session.is_some_and(|session| {
            self.client.with_session(session, |s| {
                s.release(at);
                Ok(())
            })
        });
        if !released {
            self.client.endpoint().release(now, at);
        }
    }

    fn request(&mut self, id: u64, request: ClientRequest) {
        let is_done = Rc::<Cell<bool>>::default();
        let handler =
            RequestNotes { id, notes: Rc::clone(&self.notes), is_done: Rc::clone(&is_done), responded: false };
        let request = self.client.start(request.max_redirects(self.max_redirects), handler);
        self.requests.insert(id, Request { id: request, is_done });
    }

    fn connect(&mut self, id: u64, options: SessionOptions) {
        self.client
            .open_session(options, SessionNotes { id, notes: Rc::clone(&self.notes), head: None, is_open: false });
    }

    fn open_datagrams(&mut self, id: u64, url: &str) {
        let handler = DatagramNotes { id, notes: Rc::clone(&self.notes) };
        if let Err(error) = self.client.open_datagrams(url, handler) {
            self.notes.borrow_mut().push(Raw::Failed { id, error });
        }
    }

    // The function for it returns an error on a client.
    fn accept(&mut self, _: Instant, _: StreamId, _: HeaderMap) -> Result<(), SessionError> {
        Err(SessionError::Closed)
    }

    fn open_stream(&mut self, _: Instant, session: StreamId, bidi: bool) -> Result<StreamId, SessionError> {
        let mut opened = Err(SessionError::Closed);
        self.client.with_session(session, |s| {
            opened = if bidi { s.open_bidi() } else { s.open_uni() };
            Ok(())
        });
        opened
    }

    fn close_session(&mut self, _: Instant, at: StreamId, code: u32, reason: &str) {
        self.client.with_session(at, |s| {
            s.close(code, reason);
            Ok(())
        });
    }

    fn drain_session(&mut self, _: Instant, at: StreamId) {
        self.client.with_session(at, |s| {
            s.drain();
            Ok(())
        });
    }

    fn shutdown(&mut self, now: Instant) {
        self.deadline.get_or_insert(now + SHUTDOWN_TIMEOUT);
    }

    fn is_shut_down(&mut self) -> bool {
        let Some(deadline) = self.deadline else { return false };
        let is_over = !self.client.is_busy() || net::now() >= deadline;
        if is_over {
            self.stop();
        }
        is_over
    }

    fn stop(&mut self) {
        self.client.close();
    }

    fn reload(&mut self) -> Result<(), ConfigError> {
        self.client.endpoint().reload()
    }

    fn snapshot(&mut self) -> Snapshot {
        let endpoint = self.client.endpoint();
        Snapshot {
            stats: endpoint.stats(),
            distributions: endpoint.distributions(),
            connections: endpoint.connection_count(),
            handshakes: endpoint.handshake_count(),
            sessions: endpoint.session_count(),
            shutting_down: self.deadline.is_some(),
            ..Snapshot::default()
        }
    }
}

/// The handler of a request.
struct RequestNotes {
    id: u64,
    notes: Notes,
    /// The caller needs nothing more.
    is_done: Rc<Cell<bool>>,
    responded: bool,
}

impl RequestNotes {
    fn note(&self, raw: Raw) {
        self.notes.borrow_mut().push(raw);
    }
}

impl ResponseHandler for RequestNotes {
    fn informational(&mut self, head: &ResponseHead) {
        self.note(Raw::Informational { id: self.id, head: head.clone() });
    }

    fn response(&mut self, s: &mut endpoint::Stream<'_>, head: &ResponseHead) -> Result<()> {
        self.responded = true;
        self.note(Raw::Sent { id: self.id, at: s.id() });
        self.note(Raw::Response { id: self.id, head: head.clone() });
        Ok(())
    }

    fn poll(&mut self, s: &mut endpoint::Stream<'_>) -> Result<Progress> {
        if self.is_done.get() {
            return Ok(Progress::Done);
        }
        if !self.responded {
            // It takes nothing: only an error is of interest, after which the request may be sent again.
            s.read(&mut [0])?;
        }
        self.note(Raw::Sent { id: self.id, at: s.id() });
        Ok(Progress::Pending)
    }

    fn datagram(&mut self, s: &mut endpoint::Stream<'_>, payload: Bytes) -> Result<()> {
        self.note(Raw::Sent { id: self.id, at: s.id() });
        self.note(Raw::Event(Event::Datagram(s.id(), payload)));
        Ok(())
    }

    fn finished(&mut self, result: std::result::Result<(), ClientError>) {
        if let Err(error) = result {
            self.note(Raw::Failed { id: self.id, error });
        }
    }
}

/// The handler of a session.
struct SessionNotes {
    id: u64,
    notes: Notes,
    head: Option<ResponseHead>,
    is_open: bool,
}

impl SessionNotes {
    fn note(&self, raw: Raw) -> Result<()> {
        self.notes.borrow_mut().push(raw);
        Ok(())
    }
}

impl SessionHandler for SessionNotes {
    fn response(&mut self, head: &ResponseHead) {
        self.head = Some(head.clone());
    }

    fn failed(&mut self, error: &ClientError) {
        let _ = self.note(Raw::Failed { id: self.id, error: error.clone() });
    }

    fn opened(&mut self, s: &mut app::Session<'_>) -> Result<()> {
        self.is_open = true;
        let head = self.head.take();
        self.note(Raw::SessionOpened { id: self.id, at: s.id(), head })
    }

    fn datagram(&mut self, s: &mut app::Session<'_>, payload: Bytes) -> Result<()> {
        self.note(Raw::Event(Event::Datagram(s.id(), payload)))
    }

    fn stream(&mut self, s: &mut app::Session<'_>, id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        self.note(Raw::Event(Event::SessionStream { session: s.id(), stream: id }))?;
        Ok(None)
    }

    fn ready(&mut self, _: &mut app::Session<'_>, id: StreamId) -> Result<()> {
        self.note(Raw::Event(Event::Ready(id)))
    }

    fn streams_available(&mut self, s: &mut app::Session<'_>) -> Result<()> {
        self.note(Raw::Event(Event::StreamsAvailable(s.id())))
    }

    fn draining(&mut self, s: &mut app::Session<'_>) -> Result<()> {
        self.note(Raw::Event(Event::SessionDraining(s.id())))
    }

    fn closed(&mut self, id: StreamId, end: &SessionEnd) {
        if !self.is_open {
            let head = self.head.take();
            let _ = self.note(Raw::SessionOpened { id: self.id, at: id, head });
        }
        let _ = self.note(Raw::Event(Event::SessionClosed(id, end.clone())));
    }
}

/// The handler of a connection for QUIC datagrams.
struct DatagramNotes {
    id: u64,
    notes: Notes,
}

impl DatagramHandler for DatagramNotes {
    fn opened(&mut self, datagrams: &mut Datagrams<'_>) {
        self.notes.borrow_mut().push(Raw::DatagramsOpened { id: self.id, conn: datagrams.id() });
    }

    fn datagram(&mut self, datagrams: &mut Datagrams<'_>, payload: Bytes) {
        self.notes.borrow_mut().push(Raw::Event(Event::QuicDatagram(datagrams.id(), payload)));
    }

    fn closed(&mut self, id: ConnId, cause: &CloseCause) {
        self.notes.borrow_mut().push(Raw::Event(Event::Closed(id, cause.clone())));
    }

    fn failed(&mut self, error: &ClientError) {
        self.notes.borrow_mut().push(Raw::Failed { id: self.id, error: error.clone() });
    }
}
