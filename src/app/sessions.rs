//! Turns events of sessions into calls of their handlers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::access_log::{Entry, OpenAccessLog, Subject};
use super::panics::{self, catch};
use super::session::{Changes, Session, SessionCall, SessionHandler, SessionLoop, Ties};
use super::stream_handler::{Progress, StreamHandler};
use super::topic::Topic;
use crate::endpoint::{CloseCause, Endpoint};
use crate::error::{Error, ErrorCode, Result};
use crate::h3::Request;
use crate::stats::PanicCounts;
use crate::transport::table::{ConnId, StreamId};
use crate::wt::{EndedBy, SessionEnd};

/// The code of the close when a session's handler fails.
const HANDLER_FAILED: u32 = 1;

/// The open sessions of a server or a client.
pub(super) struct Sessions {
    open: BTreeMap<StreamId, Running>,
    /// Streams of sessions: the handler of each, or `None` where the session's handler runs it.
    streams: BTreeMap<StreamId, (StreamId, Option<Box<dyn StreamHandler>>)>,
    /// On a server, whose loop survives them.
    panics: Option<PanicCounts>,
    access_log: Option<OpenAccessLog>,
    /// For handles and topics.
    the_loop: Arc<dyn SessionLoop>,
}

struct Running {
    handler: Box<dyn SessionHandler>,
    /// The route's pattern, or on a client the path: for the log.
    route: String,
    began: Instant,
    ties: Ties,
    /// For the access log, if there is one.
    request: Option<Box<Request>>,
}

impl Sessions {
    /// `the_loop` passes what handles want to the loop, which calls [`on_call`](Sessions::on_call).
    pub(super) fn of_client(the_loop: Arc<dyn SessionLoop>) -> Self {
        Sessions { open: BTreeMap::new(), streams: BTreeMap::new(), panics: None, access_log: None, the_loop }
    }

    pub(super) fn of_server(the_loop: Arc<dyn SessionLoop>) -> Self {
        Sessions { panics: Some(PanicCounts::default()), ..Sessions::of_client(the_loop) }
    }

    pub(super) fn set_access_log(&mut self, log: Option<OpenAccessLog>) {
        self.access_log = log;
    }

    /// The ids of the open sessions.
    pub(super) fn ids(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.open.keys().copied()
    }

    /// A topic has a message. The session may have left it.
    pub(super) fn on_message(
        &mut self,
        now: Instant,
        id: StreamId,
        topic: &Topic,
        message: Bytes,
        endpoint: &mut Endpoint,
    ) {
        if self.open.get(&id).is_some_and(|running| running.ties.has_joined(topic)) {
            self.with(now, id, None, endpoint, |handler, s| handler.published(s, topic, message));
        }
    }

    /// The time of a session's timer has come.
    pub(super) fn on_timer(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        self.with(now, id, None, endpoint, |handler, s| handler.woken(s));
    }

    /// What a handle wants. The session may have ended.
    pub(super) fn on_call(&mut self, now: Instant, id: StreamId, call: SessionCall, endpoint: &mut Endpoint) {
        self.with(now, id, None, endpoint, call);
    }

    /// Panics of a server's handlers so far.
    pub(super) fn panics(&self) -> Option<&PanicCounts> {
        self.panics.as_ref()
    }

    pub(super) fn has(&self, id: StreamId) -> bool {
        self.open.contains_key(&id)
    }

    pub(super) fn has_stream(&self, id: StreamId) -> bool {
        self.streams.contains_key(&id)
    }

    pub(super) fn accept(
        &mut self,
        now: Instant,
        request: Box<Request>,
        handler: Box<dyn SessionHandler>,
        headers: HeaderMap,
        endpoint: &mut Endpoint,
    ) {
        let id = request.stream_id();
        let route = request.pattern().unwrap_or("-").to_owned();
        if endpoint.accept_session(now, id, headers).is_err() {
            return endpoint.release(now, id);
        }
        let request = Some(request).filter(|_| self.access_log.is_some());
        self.insert(now, id, route, request, handler, endpoint);
    }

    /// A session is open.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        id: StreamId,
        route: String,
        handler: Box<dyn SessionHandler>,
        endpoint: &mut Endpoint,
    ) {
        self.insert(now, id, route, None, handler, endpoint);
    }

    fn insert(
        &mut self,
        now: Instant,
        id: StreamId,
        route: String,
        request: Option<Box<Request>>,
        handler: Box<dyn SessionHandler>,
        endpoint: &mut Endpoint,
    ) {
        log::info!("{id:?}: session {route} opened");
        self.open.insert(id, Running { handler, route, began: now, ties: Ties::default(), request });
        self.with(now, id, None, endpoint, |handler, s| handler.opened(s));
    }

    /// Whether no session is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether neither a session nor a stream of one is left.
    #[cfg(feature = "fuzzing")]
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.streams.is_empty()
    }

    pub(super) fn on_datagram(&mut self, now: Instant, id: StreamId, payload: Bytes, endpoint: &mut Endpoint) {
        self.with(now, id, None, endpoint, |handler, s| handler.datagram(s, payload));
    }

    pub(super) fn on_stream(&mut self, now: Instant, session: StreamId, id: StreamId, endpoint: &mut Endpoint) {
        self.streams.insert(id, (session, None));
        let mut stream_handler = None;
        self.with(now, session, Some(id), endpoint, |handler, s| {
            stream_handler = handler.stream(s, id)?;
            Ok(())
        });
        if let Some((_, slot)) = self.streams.get_mut(&id) {
            *slot = stream_handler;
            self.on_ready(now, id, endpoint);
        }
    }

    pub(super) fn on_ready(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        let Some((session, stream_handler)) = self.streams.get_mut(&id) else { return };
        let session = *session;
        let Some(stream_handler) = stream_handler else {
            return self.with(now, session, Some(id), endpoint, |handler, s| handler.ready(s, id));
        };
        let Some(mut stream) = endpoint.stream(now, id) else {
            self.streams.remove(&id);
            return;
        };
        let result = guard(&self.panics, || stream_handler.poll(&mut stream)).and_then(|progress| {
            if progress == Progress::Done && stream.is_sending() {
                stream.finish()?;
            }
            Ok(progress)
        });
        match result {
            Ok(Progress::Pending) => return,
            Ok(Progress::Done) => {}
            Err(error) => {
                let route = self.open.get(&session).map(|running| running.route.as_str());
                report(&mut self.panics, id, route, &error);
                let code = if let Error::Stream(error) = &error { error.session_code() } else { 0 };
                stream.reset(ErrorCode::webtransport(code));
            }
        }
        self.streams.remove(&id);
        endpoint.release(now, id);
    }

    pub(super) fn on_streams_available(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        self.with(now, id, None, endpoint, |handler, s| handler.streams_available(s));
    }

    pub(super) fn on_draining(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        self.with(now, id, None, endpoint, |handler, s| handler.draining(s));
    }

    pub(super) fn on_closed(&mut self, now: Instant, id: StreamId, end: &SessionEnd) {
        let Some(mut running) = self.open.remove(&id) else { return };
        let route = &running.route;
        let duration = now.saturating_duration_since(running.began);
        log::info!("{id:?}: session {route} {end} after {:.3} s", duration.as_secs_f64());
        if let (Some(log), Some(request)) = (&self.access_log, &running.request) {
            let error = (end.by == EndedBy::Connection).then(|| end.to_string());
            let status = Some(StatusCode::OK);
            log.write(&Entry {
                subject: Subject::Request(request),
                status,
                sent: None,
                received: None,
                duration,
                error,
            });
        }
        let (first, last) = (StreamId { id: 0, ..id }, StreamId { id: u64::MAX, ..id });
        let mine = self.streams.range(first..=last).filter(|(_, (session, _))| *session == id);
        for stream in mine.map(|(stream, _)| *stream).collect::<Vec<_>>() {
            self.streams.remove(&stream);
        }
        let called = guard(&self.panics, || {
            running.handler.closed(id, end);
            Ok(())
        });
        if let Err(error) = called {
            report(&mut self.panics, id, Some(&running.route), &error);
        }
    }

    /// A connection has ended, and its sessions with it.
    pub(super) fn on_connection_closed(&mut self, now: Instant, conn: ConnId, cause: &CloseCause) {
        let (first, last) = (StreamId { conn, id: 0 }, StreamId { conn, id: u64::MAX });
        let ended: Vec<StreamId> = self.open.range(first..=last).map(|(id, _)| *id).collect();
        for id in ended {
            let end = SessionEnd { by: EndedBy::Connection, code: 0, reason: cause.to_string() };
            self.on_closed(now, id, &end);
        }
    }

    /// Calls a session's handler, because of `stream` if that is given, and starts the stream handlers that it asked
    /// for.
    pub(super) fn with(
        &mut self,
        now: Instant,
        id: StreamId,
        stream: Option<StreamId>,
        endpoint: &mut Endpoint,
        call: impl FnOnce(&mut dyn SessionHandler, &mut Session<'_>) -> Result<()>,
    ) {
        let Some(running) = self.open.get_mut(&id) else { return };
        let Some(inner) = endpoint.session(now, id) else { return };
        let mut changes = Changes::default();
        let (ties, the_loop) = (&mut running.ties, &self.the_loop);
        let mut session = Session { inner, changes: &mut changes, ties, the_loop };
        if let Err(error) = guard(&self.panics, || call(&mut *running.handler, &mut session)) {
            report(&mut self.panics, id, Some(&running.route), &error);
            match (error, stream) {
                (Error::Stream(error), Some(stream)) => session.abort(stream, error.session_code()),
                // Of a stream that the handler still has.
                (Error::Stream(_), None) => {}
                _ => session.close(HANDLER_FAILED, ""),
            }
        }
        self.streams.extend(changes.opened.into_iter().map(|stream| (stream, (id, None))));
        for stream in changes.released {
            self.streams.remove(&stream);
        }
        for (stream, stream_handler) in changes.started {
            self.streams.insert(stream, (id, Some(stream_handler)));
            self.on_ready(now, stream, endpoint);
        }
    }
}

/// Calls a handler, whose panic is an error on a server.
fn guard<T>(panics: &Option<PanicCounts>, call: impl FnOnce() -> Result<T>) -> Result<T> {
    if panics.is_some() { catch(call)? } else { call() }
}

fn report(panics: &mut Option<PanicCounts>, id: StreamId, route: Option<&str>, error: &Error) {
    if let Some(panics) = panics {
        panics::count(panics, route, error);
    }
    match error {
        // The peer aborted a stream: not an error of the handler.
        Error::Stream(error) => log::debug!("{id:?}: {error}"),
        error => log::error!("{id:?}: {}: {error}", route.unwrap_or("-")),
    }
}
