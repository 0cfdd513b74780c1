//! A client's side of requests: sending them, and their responses.

use http::Method;

use super::client::{RequestError, RequestHead};
use super::connection::Connection;
use super::core::{Cx, Role};
use super::event::Event;
use crate::error::{ErrorCode, StreamError, Violation};
use crate::h3::{Priority, RequestState, field, validate_response};
use crate::transport::table::StreamId;
use crate::transport::{Header, HeaderRef, NameValue, RequestRefused};

/// Informational responses accepted before a final one.
const MAX_INFORMATIONAL: u8 = 32;

impl Connection {
    pub(super) fn request(&mut self, cx: &mut Cx<'_>, head: &RequestHead, end: bool) -> Result<StreamId, RequestError> {
        let is_session = head.protocol.is_some();
        if self.transport.is_over() || self.role == Role::Server {
            return Err(RequestError::Closed);
        }
        if self.requests.going_away {
            return Err(RequestError::GoingAway);
        }
        if !self.transport.has_http3() {
            if self.handshake.has_begun() {
                return Err(RequestError::NoHttp3);
            }
            self.requests.wanted = true;
            return Err(RequestError::Blocked);
        }
        if is_session {
            // RFC 9220: not before the server's SETTINGS enable extended CONNECT.
            if self.transport.peer_settings().is_none() {
                (self.requests.wanted, self.requests.settings_wanted) = (true, true);
                return Err(RequestError::Blocked);
            }
            if self.sessions.is_none() || !self.transport.takes_extended_connect() {
                return Err(RequestError::NoWebTransport);
            }
        }
        let fields = fields(head);
        let end = end && !is_session;
        let stream = self.transport.send_request(&fields, end).map_err(|refused| match refused {
            RequestRefused::Blocked => {
                self.requests.wanted = true;
                RequestError::Blocked
            }
            RequestRefused::GoingAway => RequestError::GoingAway,
            RequestRefused::IdsTaken => RequestError::HasSessions,
            RequestRefused::TooLarge { limit } => {
                let size = fields.iter().map(|f| f.name().len() + f.value().len()).sum();
                RequestError::HeadTooLarge { size, limit }
            }
            RequestRefused::Invalid => RequestError::Head,
        })?;
        if is_session {
            // So that it does not block its session's streams.
            self.transport.set_priority(stream, (Priority::default().for_quiche().0, true));
        }
        self.requests.had_request |= !is_session;
        self.insert_request(stream, RequestState::sent(head.method == Method::HEAD, end, is_session));
        cx.core.stats.requests += 1;
        Ok(cx.id(stream))
    }

    /// Reports that requests can be sent again. Packets arrived, so there may be credit.
    pub(super) fn continue_requests(&mut self, cx: &mut Cx<'_>) {
        if self.role == Role::Server || !self.requests.wanted {
            return;
        }
        let known = !self.requests.settings_wanted || self.transport.peer_settings().is_some();
        if known && self.transport.streams_left(true) > 0 {
            (self.requests.wanted, self.requests.settings_wanted) = (false, false);
            cx.emit(Event::RequestsPossible(cx.conn));
        }
    }

    /// Handles the head of a response, an informational one, or trailers.
    pub(super) fn on_response_fields(&mut self, cx: &mut Cx<'_>, stream: u64, list: &[Header], more: bool) {
        let Some(state) = self.streams.request_mut(stream) else { return };
        if !state.awaits_response() {
            return self.on_trailers(cx, stream, list);
        }
        let head = match validate_response(list, &cx.core.settings.head_limits) {
            Ok(head) => head,
            Err(violation) => return self.fail(cx, stream, violation),
        };
        if head.status.is_informational() {
            if state.on_informational() > MAX_INFORMATIONAL || !more {
                let violation = if more { Violation::TooManyInformational } else { Violation::Incomplete };
                return self.fail(cx, stream, violation);
            }
            return cx.emit(Event::Informational(cx.id(stream), Box::new(head)));
        }
        let is_connect = state.is_connect();
        if let Err(violation) = state.on_response(&head) {
            return self.fail(cx, stream, violation);
        }
        let opens = is_connect && head.status.is_success();
        if is_connect && !opens {
            state.connect_refused();
        }
        if !more && let Err(violation) = state.on_finished() {
            return self.fail(cx, stream, violation);
        }
        if opens {
            self.open_session(cx, stream);
        }
        cx.emit(Event::Response(cx.id(stream), Box::new(head)));
        if opens {
            self.deliver_buffered(cx, stream);
            self.read_capsules(cx, stream);
        } else {
            self.notify_ready(cx, stream);
        }
    }

    /// GOAWAY: requests from a stream on were not processed, and may be sent again elsewhere.
    pub(super) fn on_goaway(&mut self, cx: &mut Cx<'_>, first: u64) {
        log::debug!("{:?}: the server goes away; requests from stream {first} on were not processed", cx.conn);
        self.requests.going_away = true;
        cx.emit(Event::GoingAway(cx.conn));
        let rejected =
            self.streams.iter_requests().filter(|(stream, state)| *stream >= first && state.awaits_response());
        for (stream, state) in rejected {
            state.fail(StreamError::Reset(ErrorCode::H3_REQUEST_REJECTED));
            cx.notify_ready(&mut state.ready_queued, stream);
        }
    }
}

fn fields(head: &RequestHead) -> Vec<HeaderRef<'_>> {
    let mut fields = vec![HeaderRef::new(b":method", head.method.as_str().as_bytes())];
    if let Some(protocol) = &head.protocol {
        fields.push(HeaderRef::new(b":protocol", protocol.as_bytes()));
    }
    fields.push(HeaderRef::new(b":scheme", head.scheme.as_bytes()));
    fields.push(HeaderRef::new(b":authority", head.authority.as_bytes()));
    fields.push(HeaderRef::new(b":path", head.path.as_bytes()));
    let usable = head.headers.iter().filter(|(name, _)| !crate::h3::is_hop_by_hop(name));
    fields.extend(usable.map(field));
    fields
}
