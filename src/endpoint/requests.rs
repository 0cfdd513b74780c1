//! A server's side of requests: their heads, their ends, and the answers that the engine gives itself.

use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use quiche::h3::{self, NameValue};

use super::conn::{Conn, GoAway, Role, push_ready};
use super::{Core, Event};
use crate::error::{ErrorCode, StreamError, Violation};
use crate::h3::{Priority, Request, ResponseHead, StreamState, plain_answer, validate_request, validate_trailers};
use crate::quic::is_collected;
use crate::quic::table::StreamId;

impl Conn {
    pub(super) fn on_request(&mut self, now: Instant, id: StreamId, list: &[h3::Header], more: bool, core: &mut Core) {
        self.next_request = self.next_request.max(id.id + 4);
        if matches!(self.goaway, GoAway::Sent { limit } if id.id >= limit) {
            core.stats.rejected_requests += 1;
            return self.cut_off(id.id, ErrorCode::H3_REQUEST_REJECTED);
        }
        let extended_connect = core.settings.webtransport.is_on();
        let head = match validate_request(list, &core.settings.request_limits, extended_connect) {
            Ok(head) => head,
            Err(violation) => return self.on_malformed(now, id, list, violation, core),
        };
        let update = self.h3.as_mut().and_then(|h3| h3.take_last_priority_update(id.id).ok());
        let field = || head.headers.get("priority").map(|v| v.as_bytes().to_vec());
        let priority = update.or_else(field).and_then(|v| Priority::parse(&v)).unwrap_or_default();
        let mut state = StreamState::new(&head, priority);
        if !more && let Err(violation) = state.on_finished() {
            return self.on_malformed(now, id, list, violation, core);
        }
        core.stats.requests += 1;
        self.streams.insert(id.id, state);
        let is_early = self.quic.is_in_early_data();
        core.stats.early_requests += u64::from(is_early);
        let request = Box::new(Request::new(head, id, self.peer, is_early));
        if is_early && !request.method().is_safe() {
            // RFC 8470 section 5.2: what can be replayed must not change anything.
            self.answer(now, id, StatusCode::TOO_EARLY, core);
            return self.release(now, id, core);
        }
        match request.protocol() {
            Some("webtransport" | "webtransport-h3") => self.on_session_request(now, id, request, core),
            // RFC 9220 section 3: a protocol that is not known.
            Some(_) => {
                self.answer(now, id, StatusCode::NOT_IMPLEMENTED, core);
                self.release(now, id, core);
            }
            None => {
                self.had_request = true;
                core.events.push_back(Event::Request(request));
                self.deliver_early_datagrams(id, core);
            }
        }
    }

    pub(super) fn on_malformed(
        &mut self,
        now: Instant,
        id: StreamId,
        list: &[h3::Header],
        violation: Violation,
        core: &mut Core,
    ) {
        core.stats.malformed_requests += 1;
        log::debug!("{id:?}: {violation}");
        let Some(status) = violation.status() else {
            return self.cut_off(id.id, violation.code());
        };
        let is_head = list.iter().any(|f| f.name() == b":method" && f.value() == b"HEAD");
        self.streams.insert(id.id, StreamState::unread(is_head));
        self.answer(now, id, status, core);
        self.release(now, id, core);
    }

    pub(super) fn answer(&mut self, now: Instant, id: StreamId, status: StatusCode, core: &mut Core) {
        let Some(mut stream) = self.http_stream(now, id, core) else { return };
        let (headers, body): (_, Bytes) = plain_answer(status);
        stream.set_head(ResponseHead { status, headers });
        // An answer of a few bytes that does not fit now is not worth a queue: the release cuts the stream off.
        let _ = stream.finish_with(&mut { body });
    }

    pub(super) fn on_trailers(&mut self, id: StreamId, list: &[h3::Header], core: &mut Core) {
        let Some(state) = self.streams.get_mut(&id.id) else { return };
        match validate_trailers(list) {
            Ok(trailers) => state.on_trailers(trailers),
            Err(violation) => self.fail(id, violation, core),
        }
    }

    pub(super) fn on_finished(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        let Some(state) = self.streams.get_mut(&id.id) else {
            // The head never came, unless we are through with the stream.
            if self.role == Role::Server && !self.is_known(id.id) {
                self.next_request = self.next_request.max(id.id + 4);
                core.stats.malformed_requests += 1;
                self.cut_off(id.id, Violation::Incomplete.code());
            }
            return;
        };
        match state.on_finished() {
            Ok(false) => {}
            Ok(true) => self.announce(now, id, core),
            Err(violation) => self.fail(id, violation, core),
        }
    }

    /// Resets a stream whose message is malformed, and lets its handler know.
    pub(super) fn fail(&mut self, id: StreamId, violation: Violation, core: &mut Core) {
        core.stats.malformed_requests += 1;
        log::debug!("{id:?}: {violation}");
        self.cut_off(id.id, violation.code());
        let Some(state) = self.streams.get_mut(&id.id) else { return };
        state.fail(StreamError::Malformed(violation));
        push_ready(&mut state.announced, id, core);
    }

    pub(super) fn on_priority_update(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        // One that comes before its request is taken with the request.
        if !self.streams.contains_key(&id.id) {
            return;
        }
        let value = self.h3.as_mut().and_then(|h3| h3.take_last_priority_update(id.id).ok());
        if let Some(priority) = value.and_then(|v| Priority::parse(&v))
            && let Some(mut stream) = self.http_stream(now, id, core)
        {
            stream.set_priority(priority);
        }
    }

    /// Whether a stream without a state is one that we are through with.
    pub(super) fn is_known(&mut self, stream: u64) -> bool {
        self.cut.contains(&stream) || self.left.contains(&stream) || is_collected(&mut self.quic, stream)
    }
}
