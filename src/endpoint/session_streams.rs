//! The streams of WebTransport sessions, opened by either side, from their first bytes to their removal.

use std::cell::LazyCell;

use super::connection::Connection;
use super::core::{Cx, Role};
use super::event::Event;
use super::qlog;
use super::streams::StreamState;
use crate::error::{ErrorCode, SessionError, StreamError};
use crate::h3::Half;
use crate::transport::table::StreamId;
use crate::transport::{Opening, Openings, PeekFailed};
use crate::wire::code;
use crate::wt::{
    Abort, Classification, Named, PartialHeader, SessionStreamState, classify, has_signal_next, is_bidi,
    is_http_stream_type,
};

/// Streams of sessions that are delivered in one drive.
const ARRIVALS_PER_DRIVE: usize = 64;
/// Bytes of a stream without an owner discarded per call.
const DISCARD_AT_ONCE: usize = 64 * 1024;

impl Connection {
    /// Defers the streams of sessions from quiche::h3. Call it after each datagram, with that, and before HTTP/3 is
    /// polled.
    pub(super) fn classify_streams(&mut self, cx: &mut Cx<'_>, datagram: Option<&[u8]>) {
        self.learn_settings(cx);
        if self.sessions.is_none() {
            return;
        }
        let openings = LazyCell::new(|| datagram.map(Openings::of));
        for stream in self.transport.readable() {
            let opening = || openings.as_ref()?.get(stream);
            if self.classify_stream(cx, stream, opening).is_err() {
                log::error!("{:?}: quiche does not behave as expected: a peek consumed a stream", cx.conn);
                return self.transport.close(ErrorCode::H3_INTERNAL_ERROR, b"");
            }
        }
    }

    /// `opening` is the beginning of a stream that began in the latest datagram, if known.
    fn classify_stream(
        &mut self,
        cx: &mut Cx<'_>,
        stream: u64,
        opening: impl FnOnce() -> Option<Opening>,
    ) -> Result<(), PeekFailed> {
        match self.streams.get(stream) {
            None if self.is_from_peer(stream) && !self.transport.is_known_retired(stream) => {
                let opening = opening();
                self.note_opening(stream, opening);
                self.look_at(cx, stream, PartialHeader::default(), opening.map(|opening| opening.first))
            }
            None | Some(StreamState::Http) => Ok(()),
            Some(StreamState::Classifying(header)) => {
                let header = *header;
                self.look_at(cx, stream, header, None)
            }
            Some(StreamState::Request(state)) => {
                // The head of a request was read, so its beginning is over.
                let opening = if state.awaits_response() { opening() } else { None };
                if state.is_signal_possible && !self.note_opening(stream, opening) {
                    self.is_signal_misplaced(cx, stream);
                }
                Ok(())
            }
            Some(StreamState::Session(state)) => {
                let priority = state.priority();
                self.transport.defer(stream, priority)?;
                self.notify_ready(cx, stream);
                Ok(())
            }
            Some(StreamState::Buffered { .. }) => self.transport.defer(stream, None),
            Some(StreamState::Discarding) => {
                self.transport.defer(stream, None)?;
                self.discard(cx, stream);
                Ok(())
            }
        }
    }

    fn look_at(
        &mut self,
        cx: &mut Cx<'_>,
        stream: u64,
        header: PartialHeader,
        first: Option<u8>,
    ) -> Result<(), PeekFailed> {
        self.note_work(cx);
        match classify(&mut self.transport, stream, header, first)? {
            Classification::Http => {
                self.streams.insert(stream, StreamState::Http);
                if !header.is_empty() {
                    self.transport.restore(stream);
                }
            }
            Classification::Session { session, fin } => {
                self.transport.defer(stream, None)?;
                self.streams.insert(stream, StreamState::Buffered { session, fin });
                if let Some(sessions) = &mut self.sessions {
                    sessions.arrivals.push_back(stream);
                }
                self.turn.received = true;
            }
            Classification::Incomplete(header) => {
                self.transport.defer(stream, None)?;
                self.streams.insert(stream, StreamState::Classifying(header));
            }
            // A GREASE stream that arrived in pieces, for example, is discarded like any unknown one.
            Classification::Foreign(kind) if !is_bidi(stream) && !is_http_stream_type(kind) => {
                self.transport.defer(stream, None)?;
                self.streams.insert(stream, StreamState::Discarding);
                self.discard(cx, stream);
            }
            Classification::Foreign(_) | Classification::Ended => {
                self.abort_stream(cx, stream, ErrorCode::H3_REQUEST_INCOMPLETE);
            }
        }
        Ok(())
    }

    /// Notes what a stream's beginning shows. Returns whether that is no signal.
    fn note_opening(&mut self, stream: u64, opening: Option<Opening>) -> bool {
        let (Some(opening), Some(sessions)) = (opening, &mut self.sessions) else { return false };
        if opening.behind_head.is_some_and(|kind| kind < code::SIGNAL_FIRST) {
            sessions.note_followed_head(stream);
        }
        let is_other = opening.first < code::SIGNAL_FIRST;
        if is_other && let Some(state) = self.streams.request_mut(stream) {
            state.is_signal_possible = false;
        }
        is_other
    }

    fn is_from_peer(&self, stream: u64) -> bool {
        const SERVER_INITIATED: u64 = 1;
        (stream & SERVER_INITIATED != 0) == (self.role == Role::Client)
    }

    /// The head of a message was read: it must not be followed by the signal of a session's stream, which is
    /// only allowed at the start of a stream. (A signal after further frames cannot be seen, and is skipped by
    /// quiche::h3 like a frame of an unknown type.) Retries while there is no data.
    pub(super) fn is_signal_misplaced(&mut self, cx: &mut Cx<'_>, stream: u64) -> bool {
        let Some(sessions) = &mut self.sessions else { return false };
        if sessions.take_followed_head(stream) {
            if let Some(state) = self.streams.request_mut(stream) {
                state.is_signal_possible = false;
            }
            return false;
        }
        // A failing peek is certain to be noticed by the next stream that is classified.
        let found = has_signal_next(&mut self.transport, stream).unwrap_or(Some(false));
        if let Some(state) = self.streams.request_mut(stream) {
            state.is_signal_possible = found.is_none();
        }
        if found == Some(true) {
            log::debug!("{:?}: the signal of a session's stream within a request", cx.conn);
            self.transport.close(ErrorCode::H3_FRAME_ERROR, b"misplaced WebTransport signal");
        }
        found == Some(true)
    }

    /// Delivers streams whose header has arrived, a bounded number per call.
    pub(super) fn deliver_arrivals(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..ARRIVALS_PER_DRIVE {
            let arrival = self.sessions.as_mut().and_then(|sessions| sessions.arrivals.pop_front());
            let Some(stream) = arrival else { return };
            self.on_arrival(cx, stream);
        }
        if self.sessions.as_ref().is_some_and(|sessions| !sessions.arrivals.is_empty()) {
            self.mark(cx);
        }
    }

    /// A peer's stream names a session.
    pub(super) fn on_arrival(&mut self, cx: &mut Cx<'_>, stream: u64) {
        let Some(&StreamState::Buffered { session, fin }) = self.streams.get(stream) else { return };
        let Some(sessions) = &mut self.sessions else { return };
        match sessions.named(session) {
            Named::Invalid => {
                log::debug!("{:?}: stream {stream} names {session} as its session", cx.conn);
                self.transport.close(ErrorCode::H3_ID_ERROR, b"invalid session id");
            }
            Named::Closed => self.refuse_stream(cx, stream, ErrorCode::WT_SESSION_GONE),
            // Refused once the session is finished.
            Named::Closing | Named::Unknown => {
                if let Some(oldest) = sessions.buffered.keep_stream(stream, session) {
                    cx.core.stats.session_streams_rejected += 1;
                    self.refuse_stream(cx, oldest, ErrorCode::WT_BUFFERED_STREAM_REJECTED);
                }
            }
            Named::Open => self.on_session_stream(cx, session, stream, fin),
        }
    }

    fn on_session_stream(&mut self, cx: &mut Cx<'_>, session: u64, stream: u64, fin: bool) {
        let bidi = is_bidi(stream);
        let Some(state) = self.session_mut(session) else { return };
        state.last_active = cx.now;
        if state.flow.as_mut().is_some_and(|flow| flow.on_stream(bidi).is_err()) {
            self.refuse_stream(cx, stream, ErrorCode::WT_SESSION_GONE);
            return self.fail_session(cx, session, ErrorCode::WT_FLOW_CONTROL_ERROR, "more streams than allowed");
        }
        if *state.peer_streams(bidi) >= cx.core.settings.webtransport.max_session_streams {
            cx.core.stats.session_streams_rejected += 1;
            state.on_stream_over(bidi);
            let abort = Abort { at: cx.now, acked: self.transport.acked_bytes() };
            if let Some(state) = self.session_mut(session) {
                state.last_abort = Some(abort);
            }
            return self.refuse_stream(cx, stream, ErrorCode::H3_EXCESSIVE_LOAD);
        }
        *state.peer_streams(bidi) += 1;
        state.streams += 1;
        cx.core.stats.session_streams_in += 1;
        self.streams.insert(stream, StreamState::Session(Box::new(SessionStreamState::arrived(stream, session, fin))));
        if !fin {
            self.transport.watch_fin(stream);
        }
        qlog::session(&mut self.transport, "stream_arrived", session, Some(stream));
        cx.emit(Event::SessionStream { session: cx.id(session), stream: cx.id(stream) });
    }

    /// Aborts a peer's stream that no session accepts.
    pub(super) fn refuse_stream(&mut self, cx: &mut Cx<'_>, stream: u64, code: ErrorCode) {
        if is_bidi(stream) {
            self.abort_stream(cx, stream, code);
        } else if self.transport.stop_only(stream, code) {
            self.remove_stream(cx, stream);
        } else {
            self.streams.insert(stream, StreamState::Discarding);
            self.discard(cx, stream);
        }
    }

    /// Discards the data of a stream, and removes the stream at its end.
    pub(super) fn discard(&mut self, cx: &mut Cx<'_>, stream: u64) {
        loop {
            match self.transport.discard(stream, DISCARD_AT_ONCE) {
                Ok((_, false)) => {}
                Err(crate::transport::ReadError::Pending) => return,
                Ok((_, true)) | Err(_) => {
                    self.remove_stream(cx, stream);
                    return;
                }
            }
        }
    }

    /// Opens a stream.
    pub(super) fn open_stream(&mut self, cx: &mut Cx<'_>, session: u64, bidi: bool) -> Result<StreamId, SessionError> {
        let left = self.transport.streams_left(bidi);
        let Some(state) = self.session_mut(session) else { return Err(SessionError::Closed) };
        if left == 0 || !state.flow.as_mut().is_none_or(|flow| flow.open(bidi, &mut state.out)) {
            *(if bidi { &mut state.wants_bidi } else { &mut state.wants_uni }) = true;
            return Err(SessionError::StreamLimit);
        }
        state.last_active = cx.now;
        state.streams += 1;
        let stream = self.transport.take_stream_id(bidi);
        self.streams.insert(stream, StreamState::Session(Box::new(SessionStreamState::opened(stream, session))));
        cx.core.stats.session_streams_out += 1;
        qlog::session(&mut self.transport, "stream_opened", session, Some(stream));
        if let Some(mut handle) = self.session_stream(cx, stream) {
            // The header is sent with the first bytes, or later if there is no credit now.
            let _ = handle.flush();
        }
        if bidi {
            self.transport.watch_fin(stream);
        }
        Ok(cx.id(stream))
    }

    /// Sends FINs that waited until all data before them was acknowledged.
    pub(super) fn continue_fins(&mut self, cx: &mut Cx<'_>) {
        for stream in self.followups.take_pending_fins() {
            let Some(mut handle) = self.session_stream(cx, stream) else { continue };
            // If it fails, the peer stopped the stream, which has then ended.
            let _ = handle.flush();
            match handle.state.fin_pending {
                true => self.followups.defer_fin(stream),
                false => self.settle_session_stream(cx, stream),
            }
        }
    }

    pub(super) fn release_session_stream(&mut self, cx: &mut Cx<'_>, stream: u64) {
        if let Some(mut handle) = self.session_stream(cx, stream) {
            handle.state.released = true;
            if handle.state.is_sending() {
                handle.reset_send(ErrorCode::webtransport(0));
            }
        }
        self.settle_session_stream(cx, stream);
    }

    /// Discards the rest of a released stream, and removes it when both directions are over.
    pub(super) fn settle_session_stream(&mut self, cx: &mut Cx<'_>, stream: u64) {
        let Some(mut handle) = self.session_stream(cx, stream) else { return };
        if !handle.state.released {
            return;
        }
        handle.discard();
        if !handle.state.is_complete() {
            return;
        }
        let Some(StreamState::Session(state)) = self.remove_stream(cx, stream) else { return };
        if state.from_peer
            && let Some(session) = self.sessions.as_mut().and_then(|s| s.map.get_mut(&state.session))
        {
            let bidi = is_bidi(stream);
            *session.peer_streams(bidi) -= 1;
            session.on_stream_over(bidi);
        }
        // A peer's unidirectional stream has nothing to acknowledge.
        if !matches!(state.send, Half::Failed(StreamError::Misuse(_))) {
            self.transport.retire(stream);
        }
    }
}
