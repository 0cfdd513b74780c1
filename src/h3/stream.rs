//! A request stream: reading the request's body, writing the response.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use quiche::Shutdown;
use quiche::h3;

use super::priority::Priority;
use super::state::{Flags, Half, HeadKind, StreamState};
use crate::config::MAX_RESPONSE_HEAD;
use crate::error::{ErrorCode, StreamError, Violation};
use crate::quic;
use crate::quic::table::StreamId;
use crate::quic::timers::{TimerKey, Timers};

/// What reading a stream gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recv<T = usize> {
    /// Data: how many bytes, or the bytes.
    Data(T),
    /// Nothing now. The stream becomes ready when there is more.
    Blocked,
    /// The peer has sent everything.
    Finished,
}

/// A response's status and header fields.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
}

/// A borrowed handle to a request stream.
pub(crate) struct HttpStream<'a> {
    pub(crate) id: StreamId,
    pub(crate) now: Instant,
    pub(crate) quic: &'a mut quic::Connection,
    pub(crate) h3: &'a mut h3::Connection,
    pub(crate) state: &'a mut StreamState,
    pub(crate) flags: &'a mut Flags,
    pub(crate) timers: &'a mut Timers<TimerKey>,
    pub(crate) max_body: Option<u64>,
}

impl std::fmt::Debug for HttpStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpStream").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

type StreamResult<T> = std::result::Result<T, StreamError>;

/// Bytes of a released stream's body that are thrown away before the peer is told to stop.
const MAX_DISCARD: u64 = 16 * 1024 * 1024;

impl HttpStream<'_> {
    /// Makes the stream ready at `at`, whether or not data moves. It may be ready before, too.
    pub(crate) fn wake_at(&mut self, at: Instant) {
        self.timers.arm(TimerKey::Stream(self.id), &mut self.state.armed, at);
    }

    /// Body bytes read so far.
    pub(crate) fn received(&self) -> u64 {
        self.state.received
    }

    /// Body bytes written so far.
    pub(crate) fn sent(&self) -> u64 {
        self.state.sent
    }

    /// Reads body bytes into `buf`.
    ///
    /// # Errors
    /// [`StreamError::Reset`] when the peer gave up, [`StreamError::Malformed`] when the body does not fit its
    /// `content-length`, [`StreamError::BodyTooLarge`] over the configured limit.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> StreamResult<Recv> {
        self.read_with(|h3, quic, id| match ends_now(quic, id) {
            true => Err(h3::Error::Done),
            false => h3.recv_body(quic, id, buf),
        })
    }

    /// Reads at most `max` body bytes into a buffer of their own, for passing on without a copy.
    ///
    /// # Errors
    /// As [`read`](HttpStream::read).
    pub(crate) fn read_chunk(&mut self, max: usize) -> StreamResult<Recv<Bytes>> {
        let mut buf = BytesMut::new();
        let got = self.read_with(|h3, quic, id| match ends_now(quic, id) {
            true => Err(h3::Error::Done),
            false => {
                buf.resize(quic.stream_readable_len(id, max).max(1), 0);
                h3.recv_body(quic, id, &mut buf)
            }
        })?;
        Ok(match got {
            Recv::Data(n) => {
                buf.truncate(n);
                Recv::Data(buf.freeze())
            }
            Recv::Blocked => Recv::Blocked,
            Recv::Finished => Recv::Finished,
        })
    }

    fn read_with(
        &mut self,
        read: impl FnOnce(&mut h3::Connection, &mut quic::Connection, u64) -> h3::Result<usize>,
    ) -> StreamResult<Recv> {
        match &self.state.recv {
            Half::Open => {}
            Half::Finished => return Ok(Recv::Finished),
            Half::Failed(error) => return Err(error.clone()),
        }
        if self.state.is_awaiting() {
            // Whatever comes now is no body.
            return Ok(Recv::Blocked);
        }
        if self.state.expects_continue && !self.state.head_sent {
            self.state.expects_continue = false;
            self.send_informational(StatusCode::CONTINUE, &HeaderMap::new())?;
        }
        match read(self.h3, self.quic, self.id.id) {
            Ok(n) => {
                self.flags.repoll = true;
                self.state.received += n as u64;
                self.check_body_length()?;
                Ok(Recv::Data(n))
            }
            Err(h3::Error::TransportError(quiche::Error::StreamReset(code))) => {
                let error = StreamError::Reset(ErrorCode(code));
                self.state.recv = Half::Failed(error.clone());
                Err(error)
            }
            // Anything else closes the connection from within quiche, and the event for that follows.
            Err(_) => {
                if self.quic.stream_readable_len(self.id.id, 1) > 0 {
                    self.flags.repoll = true;
                    self.flags.unread.push(self.id.id);
                }
                Ok(Recv::Blocked)
            }
        }
    }

    fn check_body_length(&mut self) -> StreamResult<()> {
        let received = self.state.received;
        if let Some(declared) = self.state.declared.filter(|declared| received > *declared) {
            let violation = Violation::ContentLengthMismatch { declared, received };
            self.flags.malformed += 1;
            self.abort(violation.code());
            let error = StreamError::Malformed(violation);
            (self.state.recv, self.state.send) = (Half::Failed(error.clone()), Half::Failed(error.clone()));
            return Err(error);
        }
        match self.max_body {
            Some(limit) if received > limit => {
                let error = StreamError::BodyTooLarge { limit };
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// The request's trailer fields (RFC 9110 section 6.5), known when reading gave [`Recv::Finished`].
    pub(crate) fn trailers(&self) -> Option<&HeaderMap> {
        self.state.trailers.as_deref()
    }

    /// The response's head, as long as it can be changed: until the first byte of the body, the end, or an error.
    pub(crate) fn head_mut(&mut self) -> Option<&mut ResponseHead> {
        self.state.staged.as_deref_mut()
    }

    /// Lays the response's final head ready; it leaves with the first write or the end, in one packet with it. To be
    /// called once, before either; the router does it for its handlers.
    pub(crate) fn set_head(&mut self, head: ResponseHead) {
        self.state.staged = Some(Box::new(head));
    }

    /// Sends the head that was laid ready, with nothing behind it yet.
    pub(crate) fn send_staged_head(&mut self) -> StreamResult<()> {
        self.start_body().map(drop)
    }

    /// The status sent, or laid ready.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.state.status.or_else(|| self.state.staged.as_ref().map(|head| head.status))
    }

    /// Whether the final head has left, so that the status is no longer open.
    pub(crate) fn is_answered(&self) -> bool {
        self.state.status.is_some()
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.state.is_sending()
    }

    /// Why nothing can be sent any more, if the peer stopped the stream or it was cut off.
    pub(crate) fn send_failure(&self) -> Option<StreamError> {
        match &self.state.send {
            Half::Failed(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Sends an informational response (RFC 9110 section 15.2), such as 103 with `link` fields, in front of the final
    /// one.
    ///
    /// # Errors
    /// [`StreamError::Misuse`] when the status is not 1xx or the final head has left.
    pub(crate) fn send_informational(&mut self, status: StatusCode, headers: &HeaderMap) -> StreamResult<()> {
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(StreamError::Misuse("an informational response needs a status of 100 or 102 to 199"));
        }
        if self.state.status.is_some() {
            return Err(StreamError::Misuse("the final response head has been sent"));
        }
        self.send_half()?;
        self.send_head(HeadKind::Informational, Some(status), headers, false)
    }

    /// Writes body bytes, and says how many were taken; when that is not all, the stream becomes ready as soon as
    /// there is room again.
    ///
    /// # Errors
    /// [`StreamError::Stopped`] when the peer does not want more, [`StreamError::Misuse`] after the end.
    pub(crate) fn write(&mut self, data: &[u8]) -> StreamResult<usize> {
        if !self.start_body()? || data.is_empty() {
            return Ok(0);
        }
        let result = self.h3.send_body(self.quic, self.id.id, data, false);
        self.wrote(result, data.len())
    }

    /// Writes body bytes without copying them, and leaves in `data` what was not taken.
    ///
    /// # Errors
    /// As [`write`](HttpStream::write).
    pub(crate) fn write_bytes(&mut self, data: &mut Bytes) -> StreamResult<usize> {
        if data.is_empty() || !self.start_body()? {
            return Ok(0);
        }
        self.write_zc(data, false)
    }

    /// Writes the last body bytes and ends the stream with them. True once all are taken; otherwise to be called
    /// again with what is left in `data` when the stream is ready.
    ///
    /// # Errors
    /// As [`write`](HttpStream::write).
    pub(crate) fn finish_with(&mut self, data: &mut Bytes) -> StreamResult<bool> {
        if data.is_empty() {
            return self.finish().map(|()| true);
        }
        if !self.start_body()? {
            return Ok(false);
        }
        self.write_zc(data, true)?;
        let done = data.is_empty();
        if done {
            self.state.send = Half::Finished;
        }
        Ok(done)
    }

    /// Ends the response. The end is kept and sent later if there is no room for it.
    ///
    /// # Errors
    /// As [`write`](HttpStream::write).
    pub(crate) fn finish(&mut self) -> StreamResult<()> {
        self.send_half()?;
        if let Some(head) = self.state.staged.take() {
            self.state.send = Half::Finished;
            return self.send_head(HeadKind::Final, Some(head.status), &head.headers, true);
        }
        if self.state.status.is_none() {
            return Err(StreamError::Misuse("a response needs a head before its end"));
        }
        self.state.send = Half::Finished;
        if self.state.bodiless {
            return Ok(());
        }
        if self.state.queued.is_some() || !self.send_fin()? {
            self.state.queued.get_or_insert_default().fin = true;
            self.want_write();
        }
        Ok(())
    }

    /// Ends the response with trailer fields (RFC 9110 section 6.5).
    ///
    /// # Errors
    /// As [`write`](HttpStream::write).
    pub(crate) fn finish_with_trailers(&mut self, trailers: &HeaderMap) -> StreamResult<()> {
        self.start_body()?;
        self.state.send = Half::Finished;
        if self.state.bodiless {
            return Ok(());
        }
        self.send_head(HeadKind::Trailers, None, trailers, true)
    }

    /// Gives up: resets what we send and asks the peer to stop (RFC 9114 section 4.1.1).
    pub(crate) fn reset(&mut self, code: ErrorCode) {
        self.abort(code);
        self.state.fail(StreamError::Closed);
    }

    /// Changes the priority of the response (RFC 9218).
    pub(crate) fn set_priority(&mut self, priority: Priority) {
        self.state.priority = priority;
        // Fails only for a stream that is gone.
        let _ = self.quic.stream_priority(self.id.id, priority.quiche_urgency(), priority.incremental);
    }

    /// Both directions at once: quiche never frees a stream of which only the reading half was stopped after the
    /// answer was acknowledged.
    pub(crate) fn abort(&mut self, code: ErrorCode) {
        abort(self.quic, self.id.id, code);
        self.state.queued = None;
        self.state.staged = None;
    }

    fn send_half(&self) -> StreamResult<()> {
        match &self.state.send {
            Half::Open => Ok(()),
            Half::Finished => Err(StreamError::Misuse("the response has ended")),
            Half::Failed(error) => Err(error.clone()),
        }
    }

    /// Sends what must stand in front of the body; false if the body has to wait for that.
    fn start_body(&mut self) -> StreamResult<bool> {
        self.send_half()?;
        if let Some(head) = self.state.staged.take() {
            self.send_head(HeadKind::Final, Some(head.status), &head.headers, false)?;
        }
        if self.state.status.is_none() {
            return Err(StreamError::Misuse("a response needs a head before its body"));
        }
        if self.state.bodiless {
            self.state.send = Half::Finished;
            return Err(StreamError::Misuse("a response to HEAD has no body"));
        }
        if self.state.queued.is_some() {
            self.want_write();
            return Ok(false);
        }
        Ok(true)
    }

    fn write_zc(&mut self, data: &mut Bytes, fin: bool) -> StreamResult<usize> {
        let before = data.len();
        let result = self.h3.send_body_zc(self.quic, self.id.id, data, fin);
        // quiche leaves the taken bytes in place when it took them all.
        if matches!(result, Ok(n) if n == before) {
            data.clear();
        }
        self.wrote(result, before)
    }

    fn wrote(&mut self, result: h3::Result<usize>, asked: usize) -> StreamResult<usize> {
        let taken = match result {
            Ok(n) => n,
            Err(h3::Error::Done | h3::Error::StreamBlocked) => 0,
            Err(e) => return Err(self.send_failed(e)),
        };
        self.state.sent += taken as u64;
        if taken < asked {
            self.want_write();
        }
        Ok(taken)
    }

    fn send_failed(&mut self, error: h3::Error) -> StreamError {
        let error = match error {
            h3::Error::TransportError(quiche::Error::StreamStopped(code)) => StreamError::Stopped(ErrorCode(code)),
            _ => StreamError::Closed,
        };
        self.state.send = Half::Failed(error.clone());
        self.state.queued = None;
        error
    }

    fn want_write(&mut self) {
        self.state.wants_write = true;
        self.flags.blocked = true;
    }

    /// An empty DATA frame carries the FIN: a FIN of its own that gets lost may never be sent again by quiche 0.30.
    fn send_fin(&mut self) -> StreamResult<bool> {
        match self.h3.send_body(self.quic, self.id.id, b"", true) {
            Ok(_) => Ok(true),
            Err(h3::Error::Done | h3::Error::StreamBlocked) => Ok(false),
            Err(e) => Err(self.send_failed(e)),
        }
    }

    fn send_head(
        &mut self,
        kind: HeadKind,
        status: Option<StatusCode>,
        headers: &HeaderMap,
        fin: bool,
    ) -> StreamResult<()> {
        if kind == HeadKind::Final {
            self.state.status = status;
        }
        let fin = fin || (kind == HeadKind::Final && self.state.bodiless);
        if fin {
            self.state.send = Half::Finished;
        }
        let mut fields = Vec::with_capacity(headers.len() + 1);
        if let Some(status) = &status {
            fields.push(h3::HeaderRef::new(b":status", status.as_str().as_bytes()));
        }
        fields.extend(headers.iter().map(field));
        let size = fields.iter().map(|f| h3::NameValue::name(f).len() + h3::NameValue::value(f).len() + 32).sum();
        if size > MAX_RESPONSE_HEAD {
            self.abort(ErrorCode::H3_INTERNAL_ERROR);
            self.state.fail(StreamError::Closed);
            return Err(StreamError::HeadTooLarge { size, limit: MAX_RESPONSE_HEAD });
        }
        let sent = match self.state.queued.is_some() {
            true => false,
            false => self.send_fields(kind, &fields, fin)?,
        };
        if !sent {
            let queued = self.state.queued.get_or_insert_default();
            let owned = |f: &h3::HeaderRef<'_>| h3::Header::new(h3::NameValue::name(f), h3::NameValue::value(f));
            queued.heads.push((kind, fields.iter().map(owned).collect()));
            queued.fin = fin;
            self.want_write();
        }
        Ok(())
    }

    fn send_fields<T: h3::NameValue>(&mut self, kind: HeadKind, fields: &[T], fin: bool) -> StreamResult<bool> {
        let id = self.id.id;
        let result = match (self.state.head_sent, kind) {
            (false, _) => self.h3.send_response(self.quic, id, fields, fin),
            (true, kind) => self.h3.send_additional_headers(self.quic, id, fields, kind == HeadKind::Trailers, fin),
        };
        match result {
            Ok(()) => {
                self.state.head_sent = true;
                let p = self.state.priority;
                // quiche::h3 sets its default; fails only for a stream that is gone.
                let incremental = p.incremental || self.state.is_connect();
                let _ = self.quic.stream_priority(id, p.quiche_urgency(), incremental);
                Ok(true)
            }
            Err(h3::Error::StreamBlocked | h3::Error::Done) => Ok(false),
            Err(e) => Err(self.send_failed(e)),
        }
    }

    /// Sends what waits in front of the body. True when nothing waits any more.
    pub(crate) fn flush_queued(&mut self) -> StreamResult<bool> {
        let Some(mut queued) = self.state.queued.take() else { return Ok(true) };
        while let Some((kind, fields)) = queued.heads.first() {
            let fin = queued.fin && queued.heads.len() == 1;
            if !self.send_fields(*kind, fields, fin)? {
                self.state.queued = Some(queued);
                self.want_write();
                return Ok(false);
            }
            queued.heads.remove(0);
            if fin {
                return Ok(true);
            }
        }
        if queued.fin && !self.send_fin()? {
            self.state.queued = Some(queued);
            self.want_write();
            return Ok(false);
        }
        Ok(true)
    }

    /// Throws away body bytes that nobody reads, as the stream's credit only returns when all are read.
    pub(crate) fn discard(&mut self) {
        let mut sink = [0; 16 * 1024];
        while self.state.recv == Half::Open {
            match self.h3.recv_body(self.quic, self.id.id, &mut sink) {
                Ok(n) => {
                    self.flags.repoll = true;
                    self.state.received += n as u64;
                    self.state.discarded += n as u64;
                }
                Err(h3::Error::TransportError(quiche::Error::StreamReset(code))) => self.state.on_reset(code),
                Err(_) => break,
            }
            if self.state.discarded > MAX_DISCARD {
                self.abort(ErrorCode::H3_NO_ERROR);
                self.state.fail(StreamError::Closed);
            }
        }
        // The answer has left already: what the body's length should have been no longer matters.
        self.state.declared = None;
    }
}

/// Whether all that is left to read is a FIN or a reset, which `poll` tells. On a stream with nothing to read at all,
/// quiche::h3 must still be asked: it tells of more data only after that.
fn ends_now(quic: &quic::Connection, id: u64) -> bool {
    quic.stream_readable(id) && quic.stream_readable_len(id, 1) == 0
}

/// Resets and stops a stream.
pub(crate) fn abort(quic: &mut quic::Connection, id: u64, code: ErrorCode) {
    // Each fails only where the direction is over already.
    let _ = quic.stream_shutdown(id, Shutdown::Write, code.0);
    let _ = quic.stream_shutdown(id, Shutdown::Read, code.0);
}

fn field<'a>((name, value): (&'a HeaderName, &'a HeaderValue)) -> h3::HeaderRef<'a> {
    h3::HeaderRef::new(name.as_str().as_bytes(), value.as_bytes())
}
