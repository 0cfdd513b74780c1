//! A connection's WebTransport sessions: requests for them, their capsules, their streams, and their end.

use std::time::{Duration, Instant};

use super::conn::{Conn, push_ready};
use super::stream::Kind;
use super::{Core, Event, Stream, qlog};
use crate::error::{ErrorCode, SessionError, StreamError};
use crate::h3::{Recv, Request, ResponseHead, abort};
use crate::quic::table::{ConnId, StreamId};
use crate::quic::timers::TimerKey;
use crate::wire::capsule::{self, Capsule};
use crate::wt::{EndedBy, Flow, Owner, PeerSupport, SessionEnd, SessionState};
use http::{HeaderMap, StatusCode};

/// Chromium loses the code and reason of a close when resets or STOP_SENDING of the session's streams come in the same
/// flight, in whichever order; and its page crashes when the end of the CONNECT stream does while a stream is in use.
const RESET_DELAY: Duration = Duration::from_millis(20);
/// Capsules that may wait for room on a CONNECT stream; a peer that reads none is cut off.
const MAX_CAPSULES: usize = 16 * 1024;

impl Conn {
    /// Looks at the peer's SETTINGS once they came. A peer that does no WebTransport is not looked at again.
    pub(super) fn learn_settings(&mut self, now: Instant, core: &mut Core) {
        let (Some(wt), Some(h3)) = (&mut self.wt, &self.h3) else { return };
        if wt.peer.is_some() {
            return;
        }
        let Some(settings) = h3.peer_settings_raw() else { return };
        let mut peer = PeerSupport::of(settings);
        peer.offered &= h3.dgram_enabled_by_peer(&self.quic);
        wt.peer = Some(peer);
        let waiting = std::mem::take(&mut wt.waiting);
        if !peer.offered {
            let unsorted: Vec<u64> = wt.unsorted().collect();
            self.wt = None;
            for stream in unsorted {
                abort(&mut self.quic, stream, ErrorCode::H3_REQUEST_INCOMPLETE);
            }
        }
        for request in waiting {
            self.on_session_request(now, request.stream_id(), Box::new(request), core);
        }
    }

    /// An extended CONNECT for a session (RFC 9220).
    pub(super) fn on_session_request(&mut self, now: Instant, id: StreamId, request: Box<Request>, core: &mut Core) {
        let settings = &core.settings.webtransport;
        let limits = settings.limits();
        let Some(wt) = &mut self.wt else {
            return self.refuse_session(now, id, ErrorCode::WT_REQUIREMENTS_NOT_MET, core);
        };
        let Some(peer) = wt.peer else {
            wt.waiting.push(*request);
            return;
        };
        let flow = limits.any() && peer.limits.any();
        match wt.sessions.len() + wt.offered.len() >= settings.max_sessions {
            // Without flow control the client cannot know better, and may ask again elsewhere.
            true if !flow => self.refuse_session(now, id, ErrorCode::H3_REQUEST_REJECTED, core),
            true => self.answer_session(now, id, StatusCode::TOO_MANY_REQUESTS, core),
            false if core.sessions >= settings.max_sessions_total => {
                self.answer_session(now, id, StatusCode::TOO_MANY_REQUESTS, core);
            }
            false => {
                wt.offered.push(id.id);
                core.events.push_back(Event::SessionRequest(request));
            }
        }
    }

    fn refuse_session(&mut self, now: Instant, id: StreamId, code: ErrorCode, core: &mut Core) {
        core.stats.sessions_rejected += 1;
        log::debug!("{id:?}: a session is refused with {code}");
        self.cut_off(id.id, code);
        self.streams.remove(&id.id);
        self.bury_session(now, id, core);
    }

    fn answer_session(&mut self, now: Instant, id: StreamId, status: StatusCode, core: &mut Core) {
        self.answer(now, id, status, core);
        self.release(now, id, core);
    }

    pub(super) fn accept_session(
        &mut self,
        now: Instant,
        id: StreamId,
        headers: HeaderMap,
        core: &mut Core,
    ) -> Result<(), SessionError> {
        let ours = core.settings.webtransport.limits();
        let (Some(wt), Some(state)) = (&mut self.wt, self.streams.get_mut(&id.id)) else {
            return Err(SessionError::Closed);
        };
        if !state.is_connect() || wt.sessions.contains_key(&id.id) {
            return Err(SessionError::Closed);
        }
        let flow = wt.peer.filter(|peer| ours.any() && peer.limits.any()).map(|peer| Flow::new(ours, peer.limits));
        wt.offered.retain(|offered| *offered != id.id);
        wt.sessions.insert(id.id, SessionState::new(now, flow));
        wt.had_session = true;
        core.stats.sessions_opened += 1;
        core.sessions += 1;
        qlog::session(&mut self.quic, "session_opened", id.id, None);
        log::debug!("{id:?}: session opened");
        let Some(mut stream) = self.http_stream(now, id, core) else { return Err(SessionError::Closed) };
        stream.set_head(ResponseHead { status: StatusCode::OK, headers });
        if stream.send_staged_head().is_err() {
            self.end_session(now, id, SessionEnd { by: EndedBy::Connection, code: 0, reason: String::new() }, core);
            return Err(SessionError::Closed);
        }
        self.deliver_early(now, id, core);
        self.arm_idle_timer(id, core);
        // No capsule is processed before the answer, so there may be some by now.
        self.read_capsules(now, id, core);
        Ok(())
    }

    /// Hands over what came before the session.
    pub(super) fn deliver_early(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        let Some(wt) = &mut self.wt else { return };
        let (streams, datagrams) = wt.early.take(id.id);
        for arrival in streams {
            self.on_arrival(now, id.conn, arrival, core);
        }
        for payload in datagrams {
            self.deliver_datagram(now, id, payload, core);
        }
    }

    pub(super) fn deliver_datagram(&mut self, now: Instant, id: StreamId, payload: bytes::Bytes, core: &mut Core) {
        if let Some(session) = self.session_mut(id.id) {
            session.last_active = now;
            core.events.push_back(Event::Datagram(id, payload));
        }
    }

    pub(super) fn keep_datagram(&mut self, flow: u64, payload: bytes::Bytes, core: &mut Core) {
        let dropped = self.wt.as_mut().is_none_or(|wt| wt.early.keep_datagram(flow, payload));
        core.stats.datagram_frames_dropped += u64::from(dropped);
    }

    /// Reads what came on a session's CONNECT stream.
    pub(super) fn read_capsules(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        let mut buf = [0; 2048];
        while self.has_session(id.id) {
            let Some(mut stream) = self.http_stream(now, id, core) else { return };
            match stream.read(&mut buf) {
                Ok(Recv::Data(n)) => self.on_capsule_bytes(now, id, &buf[..n], core),
                Ok(Recv::Blocked) => return,
                Ok(Recv::Finished) => {
                    let whole = self.session_mut(id.id).is_none_or(|s| s.decoder.finish().is_ok());
                    if !whole {
                        return self.fail_session(now, id, ErrorCode::H3_MESSAGE_ERROR, "truncated capsule", core);
                    }
                    let end = SessionEnd { by: EndedBy::Peer, code: 0, reason: String::new() };
                    return self.end_session(now, id, end, core);
                }
                Err(error) => {
                    let by = if matches!(error, StreamError::Reset(_)) { EndedBy::Peer } else { EndedBy::Connection };
                    return self.end_session(now, id, SessionEnd { by, code: 0, reason: String::new() }, core);
                }
            }
        }
    }

    fn on_capsule_bytes(&mut self, now: Instant, id: StreamId, mut bytes: &[u8], core: &mut Core) {
        loop {
            let Some(session) = self.session_mut(id.id) else { return };
            session.last_active = now;
            match session.decoder.next(&mut bytes) {
                Ok(Some(capsule)) => self.on_capsule(now, id, capsule, !bytes.is_empty(), core),
                Ok(None) => return,
                Err(error) => {
                    let reason = error.to_string();
                    return self.fail_session(now, id, ErrorCode::H3_MESSAGE_ERROR, &reason, core);
                }
            }
        }
    }

    fn on_capsule(&mut self, now: Instant, id: StreamId, capsule: Capsule, more: bool, core: &mut Core) {
        core.count_capsule(&capsule);
        let Some(session) = self.session_mut(id.id) else { return };
        let flow = session.flow.as_deref_mut();
        let grown = match (capsule, flow) {
            (Capsule::Close { .. }, _) if more => {
                let reason = "data behind a CLOSE capsule";
                return self.fail_session(now, id, ErrorCode::H3_MESSAGE_ERROR, reason, core);
            }
            (Capsule::Close { code, reason }, _) => {
                return self.end_session(now, id, SessionEnd { by: EndedBy::Peer, code, reason }, core);
            }
            (Capsule::Drain, _) => {
                core.events.push_back(Event::SessionDraining(id));
                return;
            }
            (Capsule::Datagram(payload), _) => return self.deliver_datagram(now, id, payload, core),
            (Capsule::MaxData(max), Some(flow)) => flow.on_max_data(max),
            (Capsule::MaxStreams { bidi, max }, Some(flow)) => flow.on_max_streams(bidi, max),
            _ => return,
        };
        if grown.is_err() {
            let reason = "a limit that does not grow";
            return self.fail_session(now, id, ErrorCode::WT_FLOW_CONTROL_ERROR, reason, core);
        }
        let Some(wt) = &mut self.wt else { return };
        for (&stream, state) in wt.streams.iter_mut().filter(|(_, s)| s.session == id.id && s.wants_write) {
            push_ready(&mut state.announced, StreamId { conn: id.conn, id: stream }, core);
        }
    }

    /// With flow control, what came in all must keep to the limit.
    pub(super) fn check_flow(&mut self, now: Instant, conn: ConnId, core: &mut Core) {
        let Some(wt) = &self.wt else { return };
        let mut broken = Vec::new();
        for (&session, state) in wt.sessions.iter().filter(|(_, s)| s.end.is_none()) {
            let Some(flow) = &state.flow else { continue };
            let streams = wt.streams.iter().filter(|(_, s)| s.session == session);
            let waiting = streams.map(|(&stream, _)| self.quic.stream_readable_len(stream, usize::MAX) as u64).sum();
            if flow.check_received(waiting).is_err() {
                broken.push(session);
            }
        }
        for session in broken {
            let id = StreamId { conn, id: session };
            self.fail_session(now, id, ErrorCode::WT_FLOW_CONTROL_ERROR, "more data than allowed", core);
        }
    }

    /// The session's CONNECT stream broke a rule.
    pub(super) fn fail_session(&mut self, now: Instant, id: StreamId, code: ErrorCode, reason: &str, core: &mut Core) {
        log::debug!("{id:?}: {reason}");
        core.stats.sessions_failed += 1;
        self.cut_off(id.id, code);
        if let Some(state) = self.streams.get_mut(&id.id) {
            state.fail(StreamError::Closed);
        }
        let end = SessionEnd { by: EndedBy::Connection, code: 0, reason: reason.to_owned() };
        self.end_session(now, id, end, core);
    }

    pub(super) fn close_session(&mut self, now: Instant, id: StreamId, code: u32, reason: &str, core: &mut Core) {
        let Some(session) = self.session_mut(id.id) else { return };
        let mut out = std::mem::take(&mut session.out);
        capsule::put_close(&mut out, code, reason);
        session.out = out;
        let end = SessionEnd { by: EndedBy::Us, code, reason: reason.to_owned() };
        self.end_session(now, id, end, core);
    }

    /// The session has ended: tells the application and ends our half of the CONNECT stream. Never STOP_SENDING there:
    /// browsers would lose code and reason.
    fn end_session(&mut self, now: Instant, id: StreamId, end: SessionEnd, core: &mut Core) {
        let Some(session) = self.session_mut(id.id) else { return };
        let by_us = end.by == EndedBy::Us;
        session.end = Some(end.clone());
        core.sessions -= 1;
        core.stats.sessions_closed += 1;
        qlog::session_closed(&mut self.quic, id.id, &end);
        core.events.push_back(Event::SessionClosed(id, end));
        self.flush_capsules(now, id, !by_us, core);
        if by_us {
            if let Some(session) = self.wt.as_mut().and_then(|wt| wt.sessions.get_mut(&id.id)) {
                core.timers.arm(TimerKey::Stream(id), &mut session.armed, now + RESET_DELAY);
            }
        } else {
            self.bury_session(now, id, core);
        }
    }

    /// Sends capsules that wait; with `fin`, behind those of an ended session the end of the stream.
    fn flush_capsules(&mut self, now: Instant, id: StreamId, fin: bool, core: &mut Core) {
        let Some(session) = self.wt.as_mut().and_then(|wt| wt.sessions.get_mut(&id.id)) else { return };
        let over = session.end.is_some();
        let held_until = session.last_cut.map(|at| at + RESET_DELAY).filter(|at| over && *at > now);
        if let Some(at) = held_until.filter(|_| !session.out.is_empty()) {
            core.timers.arm(TimerKey::Stream(id), &mut session.armed, at);
            return;
        }
        let mut out = bytes::Bytes::from(std::mem::take(&mut session.out));
        let Some(mut stream) = self.http_stream(now, id, core) else { return };
        let sent = match over {
            _ if !stream.is_sending() => Ok(true),
            true if fin => stream.finish_with(&mut out),
            _ => stream.write_bytes(&mut out).map(|_| true),
        };
        let rest = out.len();
        if sent.is_ok()
            && let Some(session) = self.wt.as_mut().and_then(|wt| wt.sessions.get_mut(&id.id))
        {
            session.out = out.into();
            if over && (rest > 0 || !fin) {
                return;
            }
        }
        if over {
            // The peer's half is read to its end and thrown away.
            if let Some(state) = self.streams.get_mut(&id.id) {
                state.released = true;
            }
            self.finish_released(now, id, core);
        } else if rest > MAX_CAPSULES {
            self.fail_session(now, id, ErrorCode::H3_EXCESSIVE_LOAD, "the peer reads no capsules", core);
        }
    }

    /// Cuts off what is left of a session's streams, and remembers that it has ended.
    fn bury_session(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        let Some(wt) = &mut self.wt else { return };
        let streams: Vec<u64> = wt.streams.iter().filter(|(_, s)| s.session == id.id).map(|(&s, _)| s).collect();
        let (early, datagrams) = wt.early.take(id.id);
        core.stats.datagram_frames_dropped += datagrams.len() as u64;
        wt.bury(id.id);
        for stream in streams {
            if let Some(Stream(Kind::Session { mut stream, stops_left })) =
                self.stream(now, StreamId { conn: id.conn, id: stream }, core)
            {
                stream.reset(ErrorCode::WT_SESSION_GONE, stops_left);
                stream.state.released = true;
            }
            self.settle_session_stream(now, StreamId { conn: id.conn, id: stream }, core);
        }
        for arrival in early {
            self.refuse_stream(arrival.stream, ErrorCode::WT_SESSION_GONE);
        }
    }

    /// The CONNECT stream is over. If no session came of it, what came early for one is refused.
    pub(super) fn on_connect_over(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        if self.wt.as_ref().is_some_and(|wt| !wt.sessions.contains_key(&id.id) && wt.owner(id.id) == Owner::Unknown) {
            core.stats.sessions_rejected += 1;
            self.bury_session(now, id, core);
        }
    }

    pub(super) fn on_session_timeout(&mut self, now: Instant, at: Instant, id: StreamId, core: &mut Core) {
        let Some(wt) = &mut self.wt else { return };
        if let Some(state) = wt.streams.get_mut(&id.id) {
            if state.armed.fired(at) {
                push_ready(&mut state.announced, id, core);
            }
            return;
        }
        let Some(session) = wt.sessions.get_mut(&id.id) else { return };
        if !session.armed.fired(at) {
            return;
        }
        match (&session.end, core.settings.webtransport.idle_timeout) {
            // The close has not left yet.
            (Some(_), _) if !session.out.is_empty() => {
                self.flush_capsules(now, id, false, core);
                if let Some(session) = self.wt.as_mut().and_then(|wt| wt.sessions.get_mut(&id.id)) {
                    core.timers.arm(TimerKey::Stream(id), &mut session.armed, now + RESET_DELAY);
                }
            }
            (Some(_), _) => {
                self.flush_capsules(now, id, true, core);
                self.bury_session(now, id, core);
            }
            (None, Some(timeout)) if now >= session.last_active + timeout => {
                self.close_session(now, id, 0, "idle timeout", core);
            }
            (None, _) => self.arm_idle_timer(id, core),
        }
    }

    fn arm_idle_timer(&mut self, id: StreamId, core: &mut Core) {
        if let (Some(timeout), Some(session)) =
            (core.settings.webtransport.idle_timeout, self.wt.as_mut().and_then(|wt| wt.sessions.get_mut(&id.id)))
        {
            core.timers.arm(TimerKey::Stream(id), &mut session.armed, session.last_active + timeout);
        }
    }

    /// What is left to do for sessions after quiche::h3 was polled.
    pub(super) fn drive_sessions(&mut self, now: Instant, conn: ConnId, received: bool, core: &mut Core) {
        // They may have come together with requests for sessions.
        self.learn_settings(now, core);
        if received {
            self.note_session_resets(conn, core);
            for stream in std::mem::take(&mut self.flags.held) {
                self.continue_held(now, StreamId { conn, id: stream }, core);
            }
        }
        let Some(wt) = &mut self.wt else { return };
        let (bidi, uni) = (self.quic.peer_streams_left_bidi(), self.quic.peer_streams_left_uni());
        let mut with_capsules = Vec::new();
        for (&session, state) in &mut wt.sessions {
            let id = StreamId { conn, id: session };
            // Which kind was wanted is not known: the application just tries again.
            if state.wants_streams && state.end.is_none() && (bidi > 0 || uni > 0) && received {
                state.wants_streams = false;
                core.events.push_back(Event::StreamsAvailable(id));
            }
            if !state.out.is_empty() {
                with_capsules.push(id);
            }
        }
        for id in with_capsules {
            self.flush_capsules(now, id, false, core);
        }
    }

    pub(super) fn has_session(&self, session: u64) -> bool {
        self.wt.as_ref().is_some_and(|wt| wt.sessions.get(&session).is_some_and(|s| s.end.is_none()))
    }

    pub(super) fn session_mut(&mut self, session: u64) -> Option<&mut SessionState> {
        self.wt.as_mut()?.sessions.get_mut(&session).filter(|session| session.end.is_none())
    }

    pub(super) fn open_sessions(&self) -> Vec<u64> {
        let sessions = self.wt.iter().flat_map(|wt| &wt.sessions);
        sessions.filter(|(_, session)| session.end.is_none()).map(|(&id, _)| id).collect()
    }

    /// Asks for every session to be ended soon.
    pub(super) fn drain_sessions(&mut self) {
        for session in self.open_sessions() {
            if let Some(session) = self.session_mut(session) {
                capsule::put_drain(&mut session.out);
            }
        }
    }

    /// The connection is over, and its sessions with it.
    pub(super) fn forget_sessions(&mut self, core: &mut Core) {
        let open = self.open_sessions().len();
        core.sessions -= open;
        core.stats.sessions_closed += open as u64;
        self.wt = None;
    }

    /// Datagrams that overtook their request.
    pub(super) fn deliver_early_datagrams(&mut self, id: StreamId, core: &mut Core) {
        let Some(wt) = &mut self.wt else { return };
        let (streams, datagrams) = wt.early.take(id.id);
        core.events.extend(datagrams.into_iter().map(|payload| Event::Datagram(id, payload)));
        for arrival in streams {
            self.refuse_stream(arrival.stream, ErrorCode::WT_SESSION_GONE);
        }
    }
}

impl Core {
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
