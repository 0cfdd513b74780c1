//! A server's side of requests: their heads, their ends, and the engine's own responses.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::connection::Connection;
use super::core::{Cx, Role};
use super::event::Event;
use super::refused::RefusedRequest;
use super::streams::StreamState;
use crate::config::EndpointConfig;
use crate::error::{ErrorCode, StreamError, Violation};
use crate::h3::{Priority, Request, RequestState, ResponseHead, plain_response, validate_request, validate_trailers};
use crate::transport::{Header, NameValue};

impl Connection {
    /// A request stream was used.
    pub(super) fn note_used(&mut self, stream: u64) {
        self.requests.next = self.requests.next.max(stream + 4);
    }

    /// Inserts a request.
    pub(super) fn insert_request(&mut self, stream: u64, mut state: RequestState) {
        if state.is_receiving() {
            self.transport.watch_fin(stream);
            // What is there already was looked at when the head was read; later it may be in the middle of a body.
            state.is_signal_possible = self.sessions.is_some() && self.transport.readable_len(stream, 1) == 0;
        }
        self.streams.insert(stream, StreamState::Request(Box::new(state)));
    }

    pub(super) fn on_request(&mut self, cx: &mut Cx<'_>, stream: u64, list: &[Header], more: bool) {
        self.note_used(stream);
        if self.closing.rejects(stream) {
            return self.reject(cx, stream, list);
        }
        if self.has_too_many_requests(&cx.core.settings) {
            log::debug!("{:?}: rejected, as the connection has too many requests (max_streams_bidi)", cx.id(stream));
            return self.reject(cx, stream, list);
        }
        let settings = &cx.core.settings;
        let head = match validate_request(list, &settings.head_limits, settings.webtransport.is_on()) {
            Ok(head) => head,
            Err(violation) => return self.on_malformed(cx, stream, list, violation),
        };
        let update = self.transport.take_priority_update(stream);
        let priority = update.or_else(|| priority_field(list)).and_then(|value| Priority::parse(&value));
        let mut state = RequestState::new(&head, priority.unwrap_or_default(), more);
        if !more && let Err(violation) = state.on_finished() {
            return self.on_malformed(cx, stream, list, violation);
        }
        cx.core.stats.requests += 1;
        self.transport.note_use(0);
        self.insert_request(stream, state);
        let is_early = self.transport.is_in_early_data();
        cx.core.stats.early_requests += u64::from(is_early);
        let (peer, is_resumed) = (self.transport.peer_addr(), self.transport.is_resumed());
        let request = Box::new(Request::new(head, cx.id(stream), peer, is_early, is_resumed));
        if is_early && !request.method().is_safe() {
            // RFC 8470 section 5.2: requests that can be replayed must be safe.
            return self.refuse(cx, &request, StatusCode::TOO_EARLY);
        }
        if !cx.is_within_rate(self.transport.peer_addr()) {
            cx.core.stats.rate_limited_requests += 1;
            log::debug!("{:?}: more requests in a second than max_request_rate", cx.id(stream));
            return self.refuse(cx, &request, StatusCode::TOO_MANY_REQUESTS);
        }
        match request.protocol() {
            Some("webtransport" | "webtransport-h3") => self.on_session_request(cx, request),
            // RFC 9220 section 3: an unknown protocol.
            Some(_) => self.refuse(cx, &request, StatusCode::NOT_IMPLEMENTED),
            None => {
                self.requests.had_request = true;
                cx.emit(Event::Request(request));
                self.deliver_buffered_datagrams(cx, stream);
            }
        }
    }

    /// Whether there is no room for another request. With WebTransport, QUIC lets the client open more streams, as
    /// those of sessions count, too.
    fn has_too_many_requests(&self, settings: &EndpointConfig) -> bool {
        let sessions = self.sessions.as_ref().map_or(0, |sessions| sessions.map.len());
        let requests = self.streams.requests().saturating_sub(sessions) as u64;
        let max_requests = settings.transport.max_streams_bidi;
        settings.webtransport.is_on() && max_requests < settings.webtransport.max_streams && requests >= max_requests
    }

    fn reject(&mut self, cx: &mut Cx<'_>, stream: u64, list: &[Header]) {
        cx.core.stats.rejected_requests += 1;
        self.abort_unprocessed(cx, stream, list);
    }

    /// Resets a request that was not processed, so that the client may send it again (RFC 9114 section 4.1.1). `list` is
    /// its head, as far as it has one.
    pub(super) fn abort_unprocessed(&mut self, cx: &mut Cx<'_>, stream: u64, list: &[Header]) {
        let code = ErrorCode::H3_REQUEST_REJECTED;
        self.abort_stream(cx, stream, code);
        if cx.core.settings.reports_refusals {
            let rejected = RefusedRequest::from_list(cx.id(stream), self.transport.peer_addr(), list);
            self.report_refusal(cx, RefusedRequest { code: Some(code), ..rejected }, None);
        }
    }

    fn on_malformed(&mut self, cx: &mut Cx<'_>, stream: u64, list: &[Header], violation: Violation) {
        cx.core.stats.malformed_requests += 1;
        self.requests.aborted += 1;
        log::debug!("{:?}: {violation}", cx.id(stream));
        let sent = match violation.status() {
            Some(status) => {
                let is_head = list.iter().any(|f| f.name() == b":method" && f.value() == b"HEAD");
                self.insert_request(stream, RequestState::unread(is_head));
                self.respond(cx, stream, status, plain_response(status, Some(&violation)))
            }
            None => {
                self.abort_stream(cx, stream, violation.code());
                None
            }
        };
        self.report_malformed(cx, stream, list, violation, sent);
    }

    fn report_malformed(
        &self,
        cx: &mut Cx<'_>,
        stream: u64,
        list: &[Header],
        violation: Violation,
        sent: Option<(StatusCode, u64)>,
    ) {
        if cx.core.settings.reports_refusals {
            let code = Some(violation.code()).filter(|_| sent.is_none());
            let refused = RefusedRequest::from_list(cx.id(stream), self.transport.peer_addr(), list);
            self.report_refusal(cx, RefusedRequest { code, violation: Some(violation), ..refused }, sent);
        }
    }

    /// Responds to a request with a status and a line of text, and releases it.
    pub(super) fn refuse(&mut self, cx: &mut Cx<'_>, request: &Request, status: StatusCode) {
        let sent = self.respond(cx, request.stream_id().id, status, plain_response(status, None));
        if cx.core.settings.reports_refusals {
            self.report_refusal(cx, RefusedRequest::of(request), sent);
        }
    }

    pub(super) fn report_refusal(&self, cx: &mut Cx<'_>, refused: RefusedRequest, sent: Option<(StatusCode, u64)>) {
        let (status, sent) = sent.map_or((None, 0), |(status, sent)| (Some(status), sent));
        let (is_early, is_resumed) = (self.transport.is_in_early_data(), self.transport.is_resumed());
        let refused = RefusedRequest { status, sent, is_early, is_resumed, ..refused };
        cx.emit(Event::Refused(Box::new(refused)));
    }

    /// Returns the status and the body's bytes if they were sent.
    fn respond(
        &mut self,
        cx: &mut Cx<'_>,
        stream: u64,
        status: StatusCode,
        (headers, body): (HeaderMap, Bytes),
    ) -> Option<(StatusCode, u64)> {
        let sent = self.http_stream(cx, stream).and_then(|mut handle| {
            // If such a small response does not fit now, the release aborts the stream. The body of one to HEAD is refused.
            let _ = handle.respond(&ResponseHead { status, headers }, &mut { body });
            Some((status, handle.sent())).filter(|_| handle.is_answered())
        });
        self.release(cx, stream);
        sent
    }

    pub(super) fn on_trailers(&mut self, cx: &mut Cx<'_>, stream: u64, list: &[Header]) {
        let Some(state) = self.streams.request_mut(stream) else { return };
        if state.has_trailers() {
            return self.close_for_trailers(cx, stream);
        }
        match validate_trailers(list, &cx.core.settings.head_limits) {
            Ok(trailers) => state.on_trailers(trailers),
            Err(violation) => self.fail(cx, stream, violation),
        }
    }

    /// The peer's FIN was reached.
    pub(super) fn on_finished(&mut self, cx: &mut Cx<'_>, stream: u64) {
        let Some(state) = self.streams.request_mut(stream) else {
            // The head is missing, unless this side has retired the stream.
            let is_request = stream.is_multiple_of(4) && self.role == Role::Server;
            if is_request && !self.transport.is_retired(stream) {
                self.note_used(stream);
                cx.core.stats.malformed_requests += 1;
                self.requests.aborted += 1;
                self.abort_stream(cx, stream, Violation::Incomplete.code());
                self.report_malformed(cx, stream, &[], Violation::Incomplete, None);
            }
            return;
        };
        match state.on_finished() {
            Ok(false) => {}
            Ok(true) => self.notify_ready(cx, stream),
            Err(violation) => self.fail(cx, stream, violation),
        }
    }

    /// Aborts a stream whose message is malformed, and notifies its handler.
    pub(super) fn fail(&mut self, cx: &mut Cx<'_>, stream: u64, violation: Violation) {
        cx.core.stats.malformed_requests += 1;
        self.requests.aborted += 1;
        log::debug!("{:?}: {violation}", cx.id(stream));
        self.transport.abort(stream, violation.code());
        let Some(state) = self.streams.request_mut(stream) else { return };
        state.fail(StreamError::Malformed(violation));
        cx.notify_ready(&mut state.ready_queued, stream);
    }

    pub(super) fn on_priority_update(&mut self, cx: &mut Cx<'_>, stream: u64) {
        // A PRIORITY_UPDATE that precedes its request is applied with the request.
        if self.streams.request(stream).is_none() {
            return;
        }
        let value = self.transport.take_priority_update(stream);
        if let Some(priority) = value.and_then(|v| Priority::parse(&v))
            && let Some(mut handle) = self.http_stream(cx, stream)
        {
            handle.set_priority(priority);
        }
    }
}

/// The `priority` field (RFC 9218 section 5). Several lines are one dictionary (RFC 9651 section 4.2).
fn priority_field(list: &[Header]) -> Option<Vec<u8>> {
    let lines = list.iter().filter(|field| field.name() == b"priority").map(NameValue::value);
    lines.fold(None, |joined, line| {
        Some(match joined {
            None => line.to_vec(),
            Some(before) => [&before[..], line].join(&b", "[..]),
        })
    })
}
