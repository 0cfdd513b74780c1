//! A connection's part of a turn of the loop, in one fixed order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::backlog::SHARE_OF_TURN;
use super::closing::Reason;
use super::connection::Connection;
use super::core::{CidChange, Cx, Role};
use super::event::Event;
use super::qlog;
use super::streams::StreamState;
use crate::error::{ErrorCode, StreamError};
use crate::h3::StreamEnd;
use crate::transport::Http3Event;
use crate::transport::timers::TimerKey;
use crate::wt::Sessions;

/// Connection ids that a peer holds at a time: one in use, the others for migration.
const ACTIVE_CIDS: usize = 4;
/// Interval of the checks for FINs that quiche does not report, if there are too many streams for one check.
const UNSEEN_FIN_INTERVAL: Duration = Duration::from_millis(10);

impl Connection {
    /// Receives a UDP datagram, which is decrypted in place.
    pub(super) fn recv(
        &mut self,
        cx: &mut Cx<'_>,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        to_our_id: bool,
    ) {
        if !self.transport.recv(datagram, from, to, to_our_id) {
            cx.core.stats.refused_packets += 1;
        }
        self.on_received(cx, datagram);
        self.mark(cx);
    }

    /// A UDP datagram arrived. Session streams are classified before the next one: quiche drops the unread bytes
    /// of a stream when its RESET_STREAM arrives, and with them its header.
    fn on_received(&mut self, cx: &mut Cx<'_>, datagram: &[u8]) {
        self.turn.received = true;
        self.keep_alive.on_received(cx.now);
        self.progress.on_received(cx.now, cx.core.settings.request_timeout);
        if self.transport.is_load_check_due() {
            self.check_load(cx);
        }
        if self.sessions.is_some() {
            self.classify_streams(cx, Some(datagram));
        }
    }

    /// Handshake, HTTP/3, sessions, writable streams, the end, datagrams, connection ids and paths, in this order.
    pub(super) fn drive(&mut self, cx: &mut Cx<'_>) {
        self.advance_handshake(cx);
        let received = std::mem::take(&mut self.turn.received);
        cx.core.stats.malformed_requests += self.followups.take_malformed();
        if self.transport.has_http3() {
            if received {
                self.note_signals(cx);
            }
            if self.sessions.is_some() {
                self.classify_streams(cx, None);
            }
            self.poll_http3(cx);
            for stream in self.transport.take_unread() {
                self.notify_ready(cx, stream);
            }
            if self.sessions.is_some() {
                self.drive_sessions(cx, received);
            }
            self.check_aborted(cx);
            self.check_heads(cx);
            self.poll_writable(cx);
            self.note_unseen_fins(cx);
            if received {
                self.continue_requests(cx);
                self.transport.sweep();
                self.streams.trim();
            }
            let (next, requests) = (self.requests.next, self.streams.requests());
            self.closing.advance(cx.now, &mut self.transport, next, requests);
        }
        if received {
            self.poll_datagrams(cx);
            self.poll_cids_and_paths(cx);
        }
    }

    fn advance_handshake(&mut self, cx: &mut Cx<'_>) {
        let progress = self.handshake.advance(&self.transport, cx);
        if progress.begins {
            self.begin_http3(cx);
            if !progress.completed && self.role == Role::Client && self.transport.has_http3() {
                cx.emit(Event::RequestsPossible(cx.conn));
            }
        }
        if !progress.completed {
            return;
        }
        if self.role == Role::Client {
            let verified =
                cx.core.verifier.verify(self.transport.peer_certificate(), self.requests.server_ip.as_deref().copied());
            if let Err(reason) = verified {
                log::debug!("{:?}: {reason}", cx.conn);
                // RFC 8446 section 6: the alert for a bad certificate, as a QUIC error (RFC 9001 section 4.8).
                const BAD_CERTIFICATE: u64 = 0x100 + 42;
                return self.transport.close_transport(BAD_CERTIFICATE, reason.as_bytes());
            }
        }
        self.turn.received = true;
        log::debug!("{:?}: handshake with {} complete", cx.conn, self.transport.peer_addr());
        cx.emit(Event::Connected(cx.conn));
    }

    fn begin_http3(&mut self, cx: &mut Cx<'_>) {
        let protocol = self.transport.application_proto();
        if protocol != b"h3" {
            return log::debug!("{:?}: speaks {:?}, not HTTP/3", cx.conn, String::from_utf8_lossy(protocol));
        }
        let settings = &cx.core.settings;
        let max_uni = settings.transport.max_streams_uni.max(settings.webtransport.max_streams);
        if !self.transport.begin_http3(&cx.core.h3, max_uni) {
            return;
        }
        if settings.webtransport.is_on() {
            self.sessions = Some(Box::new(Sessions::new(self.role == Role::Server, max_uni)));
        }
        self.turn.received = true;
    }

    fn poll_http3(&mut self, cx: &mut Cx<'_>) {
        while !self.turn.postponed {
            let Some((stream, event)) = self.transport.poll_http3() else { return };
            let is_end = matches!(event, Http3Event::Finished);
            self.on_http3_event(cx, stream, event);
            if !is_end {
                self.note_work(cx);
            }
        }
    }

    /// A new stream was classified, or an event handled.
    pub(super) fn note_work(&mut self, cx: &mut Cx<'_>) {
        self.turn.work += 1;
        if self.turn.work >= SHARE_OF_TURN && !std::mem::replace(&mut self.turn.postponed, true) {
            cx.core.postponed.push(cx.conn);
        }
    }

    fn on_http3_event(&mut self, cx: &mut Cx<'_>, stream: u64, event: Http3Event) {
        let request = match self.streams.get(stream) {
            // quiche::h3 cannot distinguish a foreign stream from one that merely ended.
            Some(StreamState::Session(_) | StreamState::Buffered { .. } | StreamState::Discarding) => return,
            Some(StreamState::Request(state)) => Some((state.awaits_response(), state.has_trailers())),
            _ => None,
        };
        match event {
            Http3Event::Headers { .. } if self.is_signal_misplaced(cx, stream) => {}
            Http3Event::Headers { list, more_frames } if self.role == Role::Client => {
                self.on_response_fields(cx, stream, &list, more_frames);
            }
            Http3Event::Headers { list, .. } if request.is_some() => self.on_trailers(cx, stream, &list),
            Http3Event::Headers { list, more_frames } => self.on_request(cx, stream, &list, more_frames),
            Http3Event::Data if request.is_some_and(|(awaits_response, _)| awaits_response) => {
                log::debug!("{:?}: DATA before HEADERS", cx.id(stream));
                self.transport.close(ErrorCode::H3_FRAME_UNEXPECTED, b"DATA before HEADERS");
            }
            Http3Event::Data if request.is_some_and(|(_, has_trailers)| has_trailers) => {
                self.close_for_trailers(cx, stream);
            }
            Http3Event::Data => self.notify_ready(cx, stream),
            Http3Event::Finished => self.on_finished(cx, stream),
            Http3Event::Reset(code) => {
                cx.core.stats.cancelled_streams += 1;
                if let Some(state) = self.streams.request_mut(stream) {
                    // Stopped ones were counted.
                    self.requests.aborted += i32::from(state.is_sending());
                    state.on_reset(code);
                    self.notify_ready(cx, stream);
                } else {
                    self.requests.aborted += 1;
                    self.note_used(stream);
                    self.abort_stream(cx, stream, ErrorCode::H3_REQUEST_CANCELLED);
                }
            }
            Http3Event::PriorityUpdate => self.on_priority_update(cx, stream),
            Http3Event::GoAway if self.role == Role::Client => self.on_goaway(cx, stream),
            // A client's GOAWAY is about pushes, which are never sent.
            Http3Event::GoAway => {}
        }
    }

    /// Nothing may follow trailers (RFC 9114 section 4.1); quiche::h3 does not check this.
    pub(super) fn close_for_trailers(&mut self, cx: &mut Cx<'_>, stream: u64) {
        log::debug!("{:?}: a frame behind trailers", cx.id(stream));
        self.transport.close(ErrorCode::H3_FRAME_UNEXPECTED, b"frame behind trailers");
    }

    /// Notifies the application that a stream is ready, or continues a released stream.
    pub(super) fn notify_ready(&mut self, cx: &mut Cx<'_>, stream: u64) {
        match self.streams.get(stream) {
            Some(StreamState::Request(_)) if self.has_session(stream) => self.read_capsules(cx, stream),
            Some(StreamState::Request(state)) if state.released => self.finish_released(cx, stream),
            // Capsules wait until the session is accepted.
            Some(StreamState::Request(state)) if state.is_connect() => {}
            Some(StreamState::Request(_)) => {
                if let Some(state) = self.streams.request_mut(stream) {
                    cx.notify_ready(&mut state.ready_queued, stream);
                }
            }
            Some(StreamState::Session(state)) if state.released => self.settle_session_stream(cx, stream),
            Some(StreamState::Session(_)) => {
                if let Some(state) = self.streams.of_session_mut(stream) {
                    cx.notify_ready(&mut state.ready_queued, stream);
                }
            }
            Some(StreamState::Discarding) => self.discard(cx, stream),
            _ => {}
        }
    }

    /// The application took a `Ready` event.
    pub(super) fn on_ready_taken(&mut self, stream: u64) {
        if let Some(state) = self.streams.request_mut(stream) {
            state.ready_queued = false;
        } else if let Some(state) = self.streams.of_session_mut(stream) {
            state.ready_queued = false;
        }
    }

    /// Checks for streams that the peer stopped or reset.
    fn note_signals(&mut self, cx: &mut Cx<'_>) {
        let signals = self.transport.take_signals();
        let Connection { transport, streams, requests, .. } = self;
        if signals.stops {
            for (stream, state) in streams.iter_requests().filter(|(_, state)| state.is_sending()) {
                if let Some(code) = transport.stopped(stream) {
                    cx.core.stats.cancelled_streams += 1;
                    requests.aborted += 1;
                    state.on_stopped(code);
                    cx.notify_ready(&mut state.ready_queued, stream);
                }
            }
            for (stream, state) in streams.iter_sessions().filter(|(_, state)| state.is_sending() || state.fin_pending)
            {
                if let Some(code) = transport.stopped(stream) {
                    cx.core.stats.cancelled_streams += 1;
                    state.on_stopped(code);
                    cx.notify_ready(&mut state.ready_queued, stream);
                }
            }
        }
        if signals.resets {
            let reset =
                streams.iter_sessions().filter(|(stream, state)| state.is_receiving() && transport.is_at_end(*stream));
            let reset: Vec<u64> = reset.map(|(stream, _)| stream).collect();
            for stream in reset {
                self.notify_ready(cx, stream);
            }
        }
    }

    /// Notifies streams that wait for credit to write.
    fn poll_writable(&mut self, cx: &mut Cx<'_>) {
        if !self.followups.has_waiting() {
            return;
        }
        let mut refused = match self.transport.take_refused() {
            true => self.followups.waiting().collect(),
            false => Vec::new(),
        };
        while let Some(stream) = refused.pop().or_else(|| self.transport.poll_writable()) {
            if !self.followups.stop_waiting(stream) {
                continue;
            }
            if let Some(mut handle) = self.session_stream(cx, stream) {
                // If it fails, the peer stopped the stream, and the application is notified.
                let _ = handle.flush();
            } else if let Some(mut handle) = self.http_stream(cx, stream)
                && handle.flush_queued() == Ok(false)
            {
                continue;
            }
            if self.sessions.as_ref().is_some_and(|sessions| sessions.map.contains_key(&stream)) {
                self.flush_capsules(cx, stream);
            }
            self.notify_ready(cx, stream);
        }
    }

    fn note_unseen_fins(&mut self, cx: &mut Cx<'_>) {
        for stream in self.transport.poll_unseen_fins() {
            if let Some(state) = self.streams.of_session_mut(stream) {
                state.on_unseen_fin();
                self.notify_ready(cx, stream);
            } else if self.streams.request(stream).is_some() {
                self.on_finished(cx, stream);
            }
        }
    }

    /// The application released a stream: an unfinished sending side is reset, unread data is discarded.
    pub(super) fn release(&mut self, cx: &mut Cx<'_>, stream: u64) {
        if self.session_of(stream).is_some() {
            return self.release_session_stream(cx, stream);
        }
        if self.sessions.as_ref().is_some_and(|sessions| sessions.map.contains_key(&stream)) {
            // No effect if it is already closed.
            return self.close_session(cx, stream, 0, "");
        }
        let Some(state) = self.streams.request_mut(stream) else { return };
        state.released = true;
        let is_connect = state.is_connect();
        let code = match self.role {
            // The rest of a response is not needed.
            Role::Client if !state.is_complete() && !is_connect => Some(ErrorCode::H3_REQUEST_CANCELLED),
            _ if state.is_sending() => Some(ErrorCode::H3_INTERNAL_ERROR),
            _ => None,
        };
        if let Some(code) = code {
            state.fail(StreamError::Closed);
            self.transport.abort(stream, code);
        }
        if is_connect {
            self.on_connect_over(cx, stream);
        }
        self.finish_released(cx, stream);
    }

    /// Discards the rest of a body that nobody reads, and removes the stream when both directions are over.
    pub(super) fn finish_released(&mut self, cx: &mut Cx<'_>, stream: u64) {
        let Some(mut handle) = self.http_stream(cx, stream) else { return };
        handle.discard();
        if !handle.state.is_complete() {
            return;
        }
        match handle.state.end() {
            StreamEnd::Whole => {
                self.note_completed();
                self.transport.retire(stream);
            }
            // Resetting the response as well could lose it for a client that only aborted its own body.
            StreamEnd::Answered => self.transport.retire_aborted(stream),
            StreamEnd::Aborted if !self.transport.is_retired(stream) => {
                self.transport.abort(stream, ErrorCode::H3_REQUEST_CANCELLED);
            }
            StreamEnd::Aborted => {}
        }
        self.remove_stream(cx, stream);
    }

    /// Aborts a stream that the application does not know.
    pub(super) fn abort_stream(&mut self, cx: &mut Cx<'_>, stream: u64, code: ErrorCode) {
        self.transport.abort(stream, code);
        self.remove_stream(cx, stream);
    }

    fn poll_cids_and_paths(&mut self, cx: &mut Cx<'_>) {
        while let Some(cid) = self.transport.poll_retired_cid() {
            cx.core.cid_changes.push((cx.conn, CidChange::Retired(cid)));
        }
        while let Some(cid) = self.transport.issue_cid(&mut cx.core.cids, ACTIVE_CIDS) {
            cx.core.cid_changes.push((cx.conn, CidChange::Added(cid)));
        }
        while let Some(migrated) = self.transport.poll_migrated() {
            cx.core.stats.migrations += 1;
            qlog::migrated(&mut self.transport, migrated.peer);
            log::debug!("{:?}: the peer is at {}", cx.conn, migrated.peer);
        }
    }

    /// Begins a graceful shutdown.
    pub(super) fn go_away(&mut self, cx: &mut Cx<'_>) {
        if self.closing.begin(Reason::ShuttingDown) {
            self.drain_sessions(cx);
        }
        if !self.transport.has_http3() || self.role == Role::Client {
            self.transport.close(ErrorCode::H3_NO_ERROR, b"shutting down");
        }
    }

    /// Handles a deadline that passed. Returns false if there is nothing to do yet.
    pub(super) fn on_timeout(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut acted = self.turn.deferred.as_ref().is_some_and(|deferred| deferred.due() <= cx.now);
        if self.transport.check_stall(cx.now, self.requests.next) {
            acted = true;
            self.unblock(cx);
        }
        if self.closing.has_lingered(cx.now) && self.closing.begin(Reason::NoSessionLeft) {
            log::debug!("{:?}: all sessions have ended", cx.conn);
        }
        acted |= self.closing.is_due(cx.now) || self.progress.is_due(cx.now);
        if self.ping_due(cx).is_some_and(|at| at <= cx.now) {
            self.keep_alive.on_ping(cx.now);
            self.transport.ping();
            acted = true;
        }
        if self.transport.on_timeout(cx.now) {
            self.turn.received = true;
            acted = true;
        }
        if self.handshake.is_late(cx.now, &self.transport) {
            cx.core.stats.handshake_timeouts += 1;
            log::debug!("{:?}: no handshake in time", cx.conn);
            self.handshake.end(&self.transport, cx);
            self.transport.close_transport(0, b"handshake timeout");
            acted = true;
        }
        acted || self.transport.has_unseen_fins()
    }

    /// Ends the handshake in favour of another client's.
    pub(super) fn give_way(&mut self, cx: &mut Cx<'_>) {
        const CONNECTION_REFUSED: u64 = 0x2;
        self.handshake.end(&self.transport, cx);
        self.transport.close_transport(CONNECTION_REFUSED, b"too many handshakes");
    }

    /// Nothing is in flight although there are open streams: ensures that no stream blocks others, and
    /// aborts streams whose head never fits.
    fn unblock(&mut self, cx: &mut Cx<'_>) {
        let mut waiting = Vec::new();
        for (stream, state) in
            self.streams.iter_requests().filter(|(_, state)| state.is_sending() || state.has_queued_section())
        {
            self.transport.share_priority(stream, state.priority.for_quiche().0);
            if state.has_queued_section() {
                waiting.push(stream);
            }
        }
        for stream in waiting {
            // The acknowledgement that makes room may have come in this very turn: only what still does not fit is
            // stuck.
            let sent = self.http_stream(cx, stream).is_none_or(|mut handle| handle.flush_queued() != Ok(false));
            if !sent && let Some(limit) = self.transport.stuck_head_limit(stream) {
                log::warn!("{:?}: a head is larger than the {limit} bytes of the congestion window", cx.id(stream));
                if let Some(mut handle) = self.http_stream(cx, stream) {
                    handle.reset(ErrorCode::H3_INTERNAL_ERROR);
                }
            }
            self.notify_ready(cx, stream);
        }
    }

    /// A stream's or a session's deadline has passed.
    pub(super) fn on_stream_timeout(&mut self, cx: &mut Cx<'_>, stream: u64) {
        let (armed, queued) = match self.streams.request_mut(stream) {
            Some(state) => (&mut state.armed, &mut state.ready_queued),
            None => match self.streams.of_session_mut(stream) {
                Some(state) => (&mut state.armed, &mut state.ready_queued),
                None => return,
            },
        };
        armed.fired();
        cx.notify_ready(queued, stream);
    }

    /// After everything was sent: arms the timer. Returns true if the connection has ended and can be dropped.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>) -> bool {
        let is_gone = self.transport.is_closed();
        if is_gone || self.transport.is_draining() && !self.has_streams() {
            self.report_closed(cx);
        }
        if is_gone {
            self.cancel_deadlines(cx);
            return true;
        }
        if !self.turn.postponed {
            self.turn.work = 0;
        }
        self.check_progress(cx);
        if !self.closing.reported {
            self.samples.take_if_due(&self.transport, cx);
        }
        self.closing.linger(cx.now, self.has_only_had_sessions(), cx.core.settings.webtransport.linger);
        self.transport.arm_stall_check(cx.now);
        let deadlines = [
            self.transport.timeout(),
            self.handshake.deadline(),
            self.turn.deferred.as_ref().map(|deferred| deferred.due()),
            self.closing.deadline(cx.now),
            self.transport.stall_deadline(),
            self.transport.unsent_close_deadline(cx.now),
            self.ping_due(cx),
            self.progress.deadline(),
            self.transport.has_unseen_fins().then(|| cx.now + UNSEEN_FIN_INTERVAL),
        ];
        if let Some(at) = deadlines.into_iter().flatten().min() {
            cx.core.timers.arm(TimerKey::Conn(cx.conn), &mut self.turn.armed, at);
        }
        false
    }

    /// The connection will be dropped; its sessions are forgotten already.
    fn cancel_deadlines(&mut self, cx: &mut Cx<'_>) {
        cx.core.timers.cancel(TimerKey::Conn(cx.conn), &mut self.turn.armed);
        for (stream, state) in self.streams.iter_requests() {
            cx.core.timers.cancel(TimerKey::Stream(cx.id(stream)), &mut state.armed);
        }
        for (stream, state) in self.streams.iter_sessions() {
            cx.core.timers.cancel(TimerKey::Stream(cx.id(stream)), &mut state.armed);
        }
    }

    /// The connection has ended, and its sessions with it. Data is readable while it drains (RFC 9000 section 10.2);
    /// without streams there is no need to wait.
    fn report_closed(&mut self, cx: &mut Cx<'_>) {
        self.handshake.end(&self.transport, cx);
        self.forget_sessions(cx);
        if !std::mem::replace(&mut self.closing.reported, true) {
            self.samples.take(&self.transport, cx);
            let cause = self.transport.close_cause();
            log::debug!("{:?}: {cause}", cx.conn);
            cx.emit(Event::Closed(cx.conn, cause));
        }
    }

    fn has_streams(&self) -> bool {
        self.streams.requests() > 0 || self.streams.of_sessions() > 0 || self.has_sessions()
    }

    pub(super) fn has_sessions(&self) -> bool {
        self.sessions.as_ref().is_some_and(|sessions| !sessions.map.is_empty())
    }

    /// When a PING is due, while anything is outstanding or if the settings want one at all times.
    fn ping_due(&self, cx: &Cx<'_>) -> Option<Instant> {
        let interval = cx.core.settings.keep_alive;
        let outstanding = self.streams.requests() > 0 || self.has_sessions();
        let alive = (outstanding || interval.is_some()) && !self.transport.is_over() && self.transport.is_established();
        let idle_timeout = cx.core.settings.transport.idle_timeout;
        alive.then(|| self.keep_alive.due(interval, self.transport.idle_timeout(idle_timeout)))
    }

    fn has_only_had_sessions(&self) -> bool {
        let had_session = self.sessions.as_ref().is_some_and(|sessions| sessions.had_session);
        had_session && !self.requests.had_request && !self.has_streams()
    }

    /// Schedules the connection to be driven again in this turn or the next.
    pub(super) fn mark(&mut self, cx: &mut Cx<'_>) {
        if !std::mem::replace(&mut self.turn.dirty, true) {
            cx.core.dirty.push_back(cx.conn);
        }
    }
}
