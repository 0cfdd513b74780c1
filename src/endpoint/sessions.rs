//! A connection's WebTransport sessions: requests for them, their capsules, and their end.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::connection::Connection;
use super::core::{Core, Cx, Role};
use super::event::Event;
use super::qlog;
use super::refused::RefusedRequest;
use crate::error::{ErrorCode, SessionError, StreamError};
use crate::h3::{Recv, Request, ResponseHead};
use crate::transport::Unacked;
use crate::transport::timers::TimerKey;
use crate::wire::capsule::{self, Capsule};
use crate::wt::{Abort, EndedBy, Flow, PeerSupport, SessionEnd, SessionState};

/// Chromium loses the code and reason of a close if RESET_STREAM or STOP_SENDING of its streams arrive in the same
/// flight, in any order; and its page crashes if the FIN of the CONNECT stream does while a stream is in use. What follows
/// waits so long, and until the peer has acknowledged what it follows: a busy browser reads several flights at once.
const RESET_DELAY: Duration = Duration::from_millis(20);
/// Time for the peer to acknowledge an abort before a CLOSE capsule is sent after it.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for a CLOSE capsule to be sent before the CONNECT stream is reset instead.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of capsules that may wait on a CONNECT stream; the session of a peer that does not read them fails.
const MAX_CAPSULES: usize = 16 * 1024;
/// Capsules of one session that are processed in one drive.
const CAPSULES_PER_DRIVE: usize = 128;

impl Connection {
    /// Reads the peer's SETTINGS once they have arrived. Without WebTransport in them, it stops checking.
    pub(super) fn learn_settings(&mut self, cx: &mut Cx<'_>) {
        let Some(sessions) = self.sessions.as_mut().filter(|sessions| sessions.peer.is_none()) else { return };
        let Some(settings) = self.transport.peer_settings() else { return };
        let mut peer = PeerSupport::of(settings);
        // Only draft-02 to draft-08 require a setting of clients; later ones HTTP datagrams (draft-12 section 3.1).
        peer.offered |= self.role == Role::Server;
        peer.offered &= self.transport.has_http_datagrams();
        sessions.peer = Some(peer);
        if peer.offered && self.role == Role::Server {
            self.transport.skip_grease_frames();
        }
        let pending = std::mem::take(&mut sessions.pending);
        if !peer.offered {
            self.sessions = None;
            self.streams.forget_http();
            // Their headers are partly consumed, so quiche::h3 cannot read them.
            for stream in self.streams.classifying() {
                self.abort_stream(cx, stream, ErrorCode::H3_REQUEST_INCOMPLETE);
            }
        }
        for request in pending {
            self.on_session_request(cx, Box::new(request));
        }
    }

    /// An extended CONNECT for a session (RFC 9220).
    pub(super) fn on_session_request(&mut self, cx: &mut Cx<'_>, request: Box<Request>) {
        let stream = request.stream_id().id;
        let settings = &cx.core.settings.webtransport;
        let limits = settings.limits();
        let Some(sessions) = &mut self.sessions else {
            return self.refuse_session(cx, &request, ErrorCode::WT_REQUIREMENTS_NOT_MET);
        };
        let Some(peer) = sessions.peer else {
            sessions.pending.push(*request);
            return;
        };
        let flow = limits.any() && peer.limits.any();
        match sessions.map.len() + sessions.offered.len() >= settings.max_sessions {
            // Without flow control the client cannot know the limit, and may retry elsewhere.
            true if !flow => self.refuse_session(cx, &request, ErrorCode::H3_REQUEST_REJECTED),
            true => self.refuse(cx, &request, StatusCode::TOO_MANY_REQUESTS),
            false if cx.core.sessions >= settings.max_sessions_total => {
                self.refuse(cx, &request, StatusCode::TOO_MANY_REQUESTS);
            }
            false => {
                sessions.offered.push(stream);
                cx.emit(Event::SessionRequest(request));
            }
        }
    }

    fn refuse_session(&mut self, cx: &mut Cx<'_>, request: &Request, code: ErrorCode) {
        let stream = request.stream_id().id;
        cx.core.stats.sessions_rejected += 1;
        log::debug!("{:?}: a session is refused with {code}", cx.id(stream));
        self.abort_stream(cx, stream, code);
        self.retire_session(cx, stream);
        if cx.core.settings.reports_refusals {
            let refused = RefusedRequest { code: Some(code), ..RefusedRequest::of(request) };
            self.report_refusal(cx, refused, None);
        }
    }

    /// Inserts a session: this side or the server accepted a request for it.
    pub(super) fn open_session(&mut self, cx: &mut Cx<'_>, stream: u64) {
        let ours = cx.core.settings.webtransport.limits();
        let Some(sessions) = &mut self.sessions else { return };
        let both = sessions.peer.filter(|peer| ours.any() && peer.limits.any());
        let flow = both.map(|peer| Flow::new(ours, peer.limits));
        sessions.offered.retain(|offered| *offered != stream);
        sessions.map.insert(stream, SessionState::new(cx.now, flow));
        sessions.had_session = true;
        cx.core.stats.sessions_opened += 1;
        cx.core.sessions += 1;
        qlog::session(&mut self.transport, "session_opened", stream, None);
        log::debug!("{:?}: session opened", cx.id(stream));
        self.arm_session_timer(cx, stream);
    }

    pub(super) fn accept_session(
        &mut self,
        cx: &mut Cx<'_>,
        stream: u64,
        headers: HeaderMap,
    ) -> Result<(), SessionError> {
        let is_pending = self.streams.request(stream).is_some_and(|state| state.is_connect());
        let Some(sessions) = &self.sessions else { return Err(SessionError::Closed) };
        if !is_pending || sessions.map.contains_key(&stream) {
            return Err(SessionError::Closed);
        }
        self.open_session(cx, stream);
        let Some(mut handle) = self.http_stream(cx, stream) else { return Err(SessionError::Closed) };
        handle.set_head(ResponseHead { status: StatusCode::OK, headers });
        if handle.send_staged_head().is_err() {
            self.end_session(cx, stream, EndedBy::Connection, 0, "");
            return Err(SessionError::Closed);
        }
        self.deliver_buffered(cx, stream);
        // Capsules are not processed before the response, so some may be waiting.
        self.read_capsules(cx, stream);
        Ok(())
    }

    /// Delivers streams and datagrams buffered for the session.
    pub(super) fn deliver_buffered(&mut self, cx: &mut Cx<'_>, session: u64) {
        let Some(sessions) = &mut self.sessions else { return };
        let (streams, datagrams) = sessions.buffered.take(session);
        for stream in streams {
            self.on_arrival(cx, stream);
        }
        for payload in datagrams {
            self.deliver_datagram(cx, session, payload);
        }
    }

    pub(super) fn deliver_datagram(&mut self, cx: &mut Cx<'_>, session: u64, payload: Bytes) {
        if let Some(state) = self.session_mut(session) {
            state.last_active = cx.now;
            cx.emit(Event::Datagram(cx.id(session), payload));
        }
    }

    pub(super) fn buffer_datagram(&mut self, cx: &mut Cx<'_>, session: u64, payload: Bytes) {
        let dropped = self.sessions.as_mut().is_none_or(|s| s.buffered.keep_datagram(session, payload));
        cx.core.stats.datagram_frames_dropped += u64::from(dropped);
    }

    /// Delivers datagrams that overtook their request. Buffered streams are aborted, as it is not a session.
    pub(super) fn deliver_buffered_datagrams(&mut self, cx: &mut Cx<'_>, stream: u64) {
        let Some(sessions) = &mut self.sessions else { return };
        let (streams, datagrams) = sessions.buffered.take(stream);
        for payload in datagrams {
            cx.emit(Event::Datagram(cx.id(stream), payload));
        }
        for stream in streams {
            self.refuse_stream(cx, stream, ErrorCode::WT_SESSION_GONE);
        }
    }

    /// Reads a session's CONNECT stream, a bounded part of it per call.
    pub(super) fn read_capsules(&mut self, cx: &mut Cx<'_>, session: u64) {
        let mut left = CAPSULES_PER_DRIVE;
        while let Some(state) = self.session_mut(session) {
            let mut bytes = std::mem::take(&mut state.unparsed);
            if bytes.is_empty() {
                let Some(mut handle) = self.http_stream(cx, session) else { return };
                match handle.read_chunk(2048) {
                    Ok(Recv::Data(chunk)) => bytes = chunk,
                    Ok(Recv::Pending) => return,
                    Ok(Recv::Finished) => return self.on_connect_finished(cx, session),
                    Err(error) => {
                        let reset = matches!(error, StreamError::Reset(_));
                        let by = if reset { EndedBy::Peer } else { EndedBy::Connection };
                        return self.end_session(cx, session, by, 0, "");
                    }
                }
            }
            self.on_capsule_bytes(cx, session, &mut bytes, &mut left);
            if bytes.is_empty() {
                continue;
            }
            // The rest waits, so that other sessions get their share.
            let Some(state) = self.session_mut(session) else { return };
            state.unparsed = bytes;
            self.mark(cx);
            return;
        }
    }

    fn on_connect_finished(&mut self, cx: &mut Cx<'_>, session: u64) {
        let whole = self.session_mut(session).is_none_or(|state| state.decoder.finish().is_ok());
        match whole {
            true => self.end_session(cx, session, EndedBy::Peer, 0, ""),
            false => self.fail_session(cx, session, ErrorCode::H3_MESSAGE_ERROR, "truncated capsule"),
        }
    }

    /// Processes capsules from the front of `bytes`, at most `left`.
    fn on_capsule_bytes(&mut self, cx: &mut Cx<'_>, session: u64, bytes: &mut Bytes, left: &mut usize) {
        while *left > 0 {
            let Some(state) = self.session_mut(session) else { return bytes.clear() };
            state.last_active = cx.now;
            let mut input = &bytes[..];
            let next = state.decoder.next(&mut input);
            let taken = bytes.len() - input.len();
            bytes::Buf::advance(bytes, taken);
            match next {
                Ok(Some(capsule)) => self.on_capsule(cx, session, capsule, !bytes.is_empty()),
                Ok(None) => return,
                Err(error) => {
                    return self.fail_session(cx, session, ErrorCode::H3_MESSAGE_ERROR, &error.to_string());
                }
            }
            *left -= 1;
        }
    }

    fn on_capsule(&mut self, cx: &mut Cx<'_>, session: u64, capsule: Capsule, more: bool) {
        cx.core.count_capsule(&capsule);
        let Some(state) = self.session_mut(session) else { return };
        let grown = match (capsule, state.flow.as_deref_mut()) {
            (Capsule::Close { .. }, _) if more => {
                let reason = "data behind a CLOSE capsule";
                return self.fail_session(cx, session, ErrorCode::H3_MESSAGE_ERROR, reason);
            }
            (Capsule::Close { code, reason }, _) => {
                return self.end_session(cx, session, EndedBy::Peer, code, &reason);
            }
            (Capsule::Drain, _) => return cx.emit(Event::SessionDraining(cx.id(session))),
            (Capsule::Datagram(payload), _) => return self.deliver_datagram(cx, session, payload),
            (Capsule::MaxData(max), Some(flow)) => flow.on_max_data(max),
            (Capsule::MaxStreams { bidi, max }, Some(flow)) => flow.on_max_streams(bidi, max),
            _ => return,
        };
        if grown.is_err() {
            let reason = "a limit that does not grow or is too large";
            return self.fail_session(cx, session, ErrorCode::WT_FLOW_CONTROL_ERROR, reason);
        }
        let waiting: Vec<u64> = self.followups.waiting().collect();
        for stream in waiting {
            if self.session_of(stream) == Some(session) {
                self.notify_ready(cx, stream);
            }
        }
    }

    /// Checks the flow control limit on received data.
    fn check_flow(&mut self, cx: &mut Cx<'_>) {
        let Some(sessions) = &mut self.sessions else { return };
        let received = self.transport.received_bytes();
        let bytes = received - std::mem::replace(&mut sessions.received, received);
        let (mut due, mut postponed) = (Vec::new(), Vec::new());
        for (&session, state) in sessions.map.iter_mut().filter(|(_, s)| s.end.is_none()) {
            let Some(flow) = &mut state.flow else { continue };
            if flow.needs_check(cx.now, bytes) {
                due.push(session);
            } else if flow.postponed_check().is_some() {
                postponed.push(session);
            }
        }
        for session in postponed {
            // Nothing more may come.
            self.arm_session_timer(cx, session);
        }
        for session in due {
            let Connection { transport, streams, sessions, .. } = self;
            let mine = streams.iter_sessions().filter(|(_, state)| state.session == session);
            let waiting = mine.map(|(stream, _)| transport.readable_len(stream, usize::MAX) as u64).sum();
            let state = sessions.as_mut().and_then(|sessions| sessions.open_mut(session));
            let Some(flow) = state.and_then(|state| state.flow.as_mut()) else { continue };
            if flow.check_received(cx.now, waiting).is_err() {
                self.fail_session(cx, session, ErrorCode::WT_FLOW_CONTROL_ERROR, "more data than allowed");
            }
        }
    }

    /// The session broke a rule: its CONNECT stream is reset.
    pub(super) fn fail_session(&mut self, cx: &mut Cx<'_>, session: u64, code: ErrorCode, reason: &str) {
        log::debug!("{:?}: {reason}", cx.id(session));
        cx.core.stats.sessions_failed += 1;
        self.transport.abort(session, code);
        if let Some(state) = self.streams.request_mut(session) {
            state.fail(StreamError::Closed);
        }
        self.end_session(cx, session, EndedBy::Connection, 0, reason);
    }

    /// Closes a session with a code and a reason.
    pub(super) fn close_session(&mut self, cx: &mut Cx<'_>, session: u64, code: u32, reason: &str) {
        let Some(state) = self.session_mut(session) else { return };
        capsule::put_close(&mut state.out, code, reason);
        self.end_session(cx, session, EndedBy::Us, code, reason);
    }

    /// The session has ended. After a local close the CLOSE capsule must arrive first: the FIN of the CONNECT
    /// stream and the resets of the session's streams follow a little later. A close sends no STOP_SENDING on the CONNECT
    /// stream, as browsers would lose code and reason.
    fn end_session(&mut self, cx: &mut Cx<'_>, session: u64, by: EndedBy, code: u32, reason: &str) {
        let Some(state) = self.session_mut(session) else { return };
        let end = SessionEnd { by, code, reason: reason.to_owned() };
        state.end = Some(end.clone());
        state.ended_at = cx.now;
        cx.core.count_ended_session(state.streams);
        qlog::session_closed(&mut self.transport, session, &end);
        cx.emit(Event::SessionClosed(cx.id(session), end));
        match by {
            EndedBy::Us => self.continue_close(cx, session),
            EndedBy::Peer | EndedBy::Connection => self.finish_session(cx, session),
        }
    }

    /// Sends the CLOSE capsule of a session closed locally, then its FIN and resets.
    fn continue_close(&mut self, cx: &mut Cx<'_>, session: u64) {
        self.flush_capsules(cx, session);
        let Some(state) = self.sessions.as_mut().and_then(|sessions| sessions.map.get_mut(&session)) else { return };
        let gives_up = cx.now >= state.ended_at + CLOSE_TIMEOUT;
        let end_at = match state.close_sent_at {
            Some(at) if state.close_unacked.as_ref().is_none_or(Unacked::is_empty) || gives_up => at + RESET_DELAY,
            Some(_) => cx.now + RESET_DELAY,
            None if gives_up => {
                self.transport.abort(session, ErrorCode::H3_REQUEST_CANCELLED);
                if let Some(state) = self.streams.request_mut(session) {
                    state.fail(StreamError::Closed);
                }
                return self.finish_session(cx, session);
            }
            None => cx.now + RESET_DELAY,
        };
        if cx.now >= end_at {
            return self.finish_session(cx, session);
        }
        cx.core.timers.arm(TimerKey::Session(cx.id(session)), &mut state.armed, end_at);
    }

    /// Finishes a session's CONNECT stream, discards the rest of the peer's data, and aborts the session's streams.
    fn finish_session(&mut self, cx: &mut Cx<'_>, session: u64) {
        if let Some(mut handle) = self.http_stream(cx, session) {
            if handle.is_sending() {
                // Fails if the peer stopped it.
                let _ = handle.finish();
            }
            handle.state.released = true;
        }
        self.finish_released(cx, session);
        self.retire_session(cx, session);
    }

    /// Sends queued capsules.
    pub(super) fn flush_capsules(&mut self, cx: &mut Cx<'_>, session: u64) {
        let Some(state) = self.sessions.as_mut().and_then(|sessions| sessions.map.get_mut(&session)) else { return };
        if state.out.is_empty() {
            return;
        }
        let is_open = state.end.is_none();
        // A close too soon after an abort is deferred to its timer.
        let is_recent = |abort: Abort| abort.at + RESET_DELAY > cx.now || abort.acked == self.transport.acked_bytes();
        if !is_open && cx.now < state.ended_at + ABORT_TIMEOUT && state.last_abort.is_some_and(is_recent) {
            return;
        }
        let mut out = Bytes::from(std::mem::take(&mut state.out));
        let unacked = (!is_open).then(|| state.close_unacked.take().unwrap_or_default());
        let written = match self.http_stream(cx, session) {
            Some(mut handle) if handle.is_sending() => match &unacked {
                Some(unacked) => handle.write_tracked(&mut out, unacked).is_ok(),
                None => handle.write_bytes(&mut out).is_ok(),
            },
            _ => false,
        };
        let Some(state) = self.sessions.as_mut().and_then(|sessions| sessions.map.get_mut(&session)) else { return };
        if !written {
            // The peer stopped the stream.
            out.clear();
        }
        let rest = out.len();
        state.out = out.into();
        state.close_unacked = unacked;
        if !is_open && rest == 0 {
            state.close_sent_at = Some(cx.now);
        }
        if is_open && rest > MAX_CAPSULES {
            self.fail_session(cx, session, ErrorCode::H3_EXCESSIVE_LOAD, "the peer reads no capsules");
        }
    }

    /// Aborts a session's remaining streams, and remembers that it was closed.
    fn retire_session(&mut self, cx: &mut Cx<'_>, session: u64) {
        let Some(sessions) = &mut self.sessions else { return };
        let (buffered, datagrams) = sessions.buffered.take(session);
        cx.core.stats.datagram_frames_dropped += datagrams.len() as u64;
        if let Some(mut state) = sessions.retire(session) {
            cx.core.timers.cancel(TimerKey::Session(cx.id(session)), &mut state.armed);
        }
        let mine = self.streams.iter_sessions().filter(|(_, state)| state.session == session);
        let mine: Vec<u64> = mine.map(|(stream, _)| stream).collect();
        for stream in mine {
            if let Some(mut handle) = self.session_stream(cx, stream) {
                handle.reset(ErrorCode::WT_SESSION_GONE);
                handle.state.released = true;
            }
            self.settle_session_stream(cx, stream);
        }
        for stream in buffered {
            self.refuse_stream(cx, stream, ErrorCode::WT_SESSION_GONE);
        }
    }

    /// A CONNECT stream was released. If it did not become a session, streams buffered for it are aborted.
    pub(super) fn on_connect_over(&mut self, cx: &mut Cx<'_>, stream: u64) {
        if self.sessions.as_ref().is_some_and(|sessions| sessions.named(stream) == crate::wt::Named::Unknown) {
            cx.core.stats.sessions_rejected += 1;
            self.retire_session(cx, stream);
        }
    }

    /// A session's deadline has passed.
    pub(super) fn on_session_timeout(&mut self, cx: &mut Cx<'_>, session: u64) {
        let Some(state) = self.sessions.as_mut().and_then(|sessions| sessions.map.get_mut(&session)) else { return };
        state.armed.fired();
        if state.end.is_some() {
            return self.continue_close(cx, session);
        }
        let idle_since = state.last_active;
        if cx.core.settings.webtransport.idle_timeout.is_some_and(|timeout| cx.now >= idle_since + timeout) {
            return self.close_session(cx, session, 0, "idle timeout");
        }
        if state.wake_at.take_if(|at| *at <= cx.now).is_some() {
            cx.core.events.push_back(Event::SessionTimer(cx.id(session)));
        }
        self.check_flow(cx);
        self.arm_session_timer(cx, session);
    }

    /// The application wants to be called at a time.
    pub(super) fn wake_session_at(&mut self, cx: &mut Cx<'_>, session: u64, at: Instant) {
        if let Some(state) = self.session_mut(session) {
            state.wake_at = Some(at);
            self.arm_session_timer(cx, session);
        }
    }

    fn arm_session_timer(&mut self, cx: &mut Cx<'_>, session: u64) {
        let timeout = cx.core.settings.webtransport.idle_timeout;
        let id = cx.id(session);
        let Some(state) = self.session_mut(session) else { return };
        let idle_at = timeout.map(|timeout| state.last_active + timeout);
        let check_at = state.flow.as_ref().and_then(|flow| flow.postponed_check());
        if let Some(at) = idle_at.into_iter().chain(state.wake_at).chain(check_at).min() {
            cx.core.timers.arm(TimerKey::Session(id), &mut state.armed, at);
        }
    }

    /// Drives the sessions, after quiche::h3 was polled.
    pub(super) fn drive_sessions(&mut self, cx: &mut Cx<'_>, received: bool) {
        // They may have arrived together with requests for sessions.
        self.learn_settings(cx);
        self.deliver_arrivals(cx);
        if received {
            self.check_flow(cx);
            self.continue_fins(cx);
        }
        let (bidi, uni) = (self.transport.streams_left(true) > 0, self.transport.streams_left(false) > 0);
        let Some(sessions) = &mut self.sessions else { return };
        sessions.forget_followed_heads();
        let (mut with_capsules, mut unparsed) = (Vec::new(), Vec::new());
        for (&session, state) in &mut sessions.map {
            let wants =
                state.wants_bidi && bidi && state.can_open(true) || state.wants_uni && uni && state.can_open(false);
            if wants && state.end.is_none() {
                (state.wants_bidi, state.wants_uni) = (false, false);
                cx.core.events.push_back(Event::StreamsAvailable(cx.id(session)));
            }
            if !state.out.is_empty() {
                with_capsules.push(session);
            }
            if !state.unparsed.is_empty() {
                unparsed.push(session);
            }
        }
        for session in unparsed {
            self.read_capsules(cx, session);
        }
        for session in with_capsules {
            self.flush_capsules(cx, session);
        }
    }

    pub(super) fn has_session(&self, session: u64) -> bool {
        self.sessions.as_ref().is_some_and(|s| s.map.get(&session).is_some_and(|s| s.end.is_none()))
    }

    pub(super) fn session_mut(&mut self, session: u64) -> Option<&mut SessionState> {
        self.sessions.as_mut()?.open_mut(session)
    }

    /// The ids of the open sessions.
    pub(super) fn open_sessions(&self) -> Vec<u64> {
        self.sessions.as_ref().map(|sessions| sessions.open_ids()).unwrap_or_default()
    }

    /// Asks the peer to end every session soon.
    pub(super) fn drain_sessions(&mut self, cx: &mut Cx<'_>) {
        for session in self.open_sessions() {
            if let Some(state) = self.session_mut(session) {
                capsule::put_drain(&mut state.out);
            }
        }
        self.mark(cx);
    }

    /// The connection has ended, and its sessions with it.
    pub(super) fn forget_sessions(&mut self, cx: &mut Cx<'_>) {
        let Some(sessions) = self.sessions.take() else { return };
        for (session, mut state) in sessions.map {
            cx.core.timers.cancel(TimerKey::Session(cx.id(session)), &mut state.armed);
            if state.end.is_none() {
                cx.core.count_ended_session(state.streams);
            }
        }
    }
}

impl Core {
    fn count_ended_session(&mut self, streams: u64) {
        self.sessions -= 1;
        self.stats.sessions_closed += 1;
        self.distributions.session_streams.observe(streams);
    }

    fn count_capsule(&mut self, capsule: &Capsule) {
        let stats = &mut self.stats;
        *match capsule {
            Capsule::Close { .. } => &mut stats.capsules_close,
            Capsule::Drain => &mut stats.capsules_drain,
            Capsule::Datagram(_) => &mut stats.capsules_datagram,
            Capsule::Unknown(_) => &mut stats.capsules_unknown,
            _ => &mut stats.capsules_flow_control,
        } += 1;
    }
}
