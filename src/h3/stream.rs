//! A request stream: reading the received body, writing the sent one.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::followups::Followups;
use super::head::{Recv, ResponseHead};
use super::priority::Priority;
use super::state::{Half, RequestState};
use crate::config::MAX_RESPONSE_HEAD;
use crate::error::{ErrorCode, StreamError, Violation};
use crate::transport::table::StreamId;
use crate::transport::timers::{TimerKey, Timers};
use crate::transport::{Header, HeaderRef, NameValue, ReadError, Section, Transport, Unacked, WriteError};

/// A borrowed handle to a request stream.
pub(crate) struct HttpStream<'a> {
    pub(crate) id: StreamId,
    pub(crate) now: Instant,
    pub(crate) transport: &'a mut Transport,
    pub(crate) state: &'a mut RequestState,
    pub(crate) followups: &'a mut Followups,
    pub(crate) timers: &'a mut Timers<TimerKey>,
    pub(crate) max_body: Option<u64>,
}

impl std::fmt::Debug for HttpStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpStream").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

type StreamResult<T> = std::result::Result<T, StreamError>;

/// RFC 9114 section 4.2.2: a field counts 32 bytes on top of its name and value.
const FIELD_OVERHEAD: usize = 32;
/// Bytes of a released stream's body that are discarded before STOP_SENDING.
const MAX_DISCARD: u64 = 16 * 1024 * 1024;

impl HttpStream<'_> {
    /// Makes the stream ready at `at`, even without progress. It may also become ready earlier.
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
    /// [`StreamError::Reset`] if the peer reset it, [`StreamError::Malformed`] if the body does not match its
    /// `content-length`, [`StreamError::BodyTooLarge`] over the configured limit.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> StreamResult<Recv> {
        if let Some(recv) = self.before_read()? {
            return Ok(recv);
        }
        let read = self.transport.read_body(self.id.id, buf);
        Ok(match self.on_read(read, |n| *n)? {
            Some(n) => Recv::Data(n),
            None => Recv::Pending,
        })
    }

    /// Reads at most `max` body bytes into a new buffer, to pass on without a copy.
    ///
    /// # Errors
    /// As [`read`](HttpStream::read).
    pub(crate) fn read_chunk(&mut self, max: usize) -> StreamResult<Recv<Bytes>> {
        match self.before_read()? {
            Some(Recv::Finished) => return Ok(Recv::Finished),
            Some(_) => return Ok(Recv::Pending),
            None => {}
        }
        let read = self.transport.read_body_chunk(self.id.id, max);
        Ok(match self.on_read(read, Bytes::len)? {
            Some(bytes) => Recv::Data(bytes),
            None => Recv::Pending,
        })
    }

    /// The result of a read that needs no call of quiche, if known.
    fn before_read(&mut self) -> StreamResult<Option<Recv>> {
        match &self.state.recv {
            Half::Open => {}
            Half::Finished => return Ok(Some(Recv::Finished)),
            Half::Failed(error) => return Err(error.clone()),
        }
        if self.state.awaits_response() {
            // Later data is not part of a body.
            return Ok(Some(Recv::Pending));
        }
        if self.state.expects_continue && !self.state.head_sent {
            self.state.expects_continue = false;
            self.send_informational(StatusCode::CONTINUE, &HeaderMap::new())?;
        }
        Ok(None)
    }

    fn on_read<T>(&mut self, read: Result<T, ReadError>, len: impl Fn(&T) -> usize) -> StreamResult<Option<T>> {
        match read {
            Ok(data) => {
                self.state.received += len(&data) as u64;
                self.check_body_length()?;
                Ok(Some(data))
            }
            Err(ReadError::Reset(code)) => {
                let error = StreamError::Reset(ErrorCode(code));
                self.state.recv = Half::Failed(error.clone());
                Err(error)
            }
            Err(ReadError::Pending | ReadError::Gone) => Ok(None),
        }
    }

    fn check_body_length(&mut self) -> StreamResult<()> {
        let received = self.state.received;
        let violation = match self.state.declared {
            _ if self.state.contentless && received > 0 => Some(Violation::UnexpectedContent),
            Some(declared) if received > declared => Some(Violation::ContentLengthMismatch { declared, received }),
            _ => None,
        };
        if let Some(violation) = violation {
            self.followups.note_malformed();
            self.abort(violation.code());
            let error = StreamError::Malformed(violation);
            (self.state.recv, self.state.send) = (Half::Failed(error.clone()), Half::Failed(error.clone()));
            return Err(error);
        }
        match self.state.max_body.or(self.max_body) {
            Some(limit) if received > limit => {
                let error = StreamError::BodyTooLarge { limit };
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// The request's trailer fields (RFC 9110 section 6.5), known once reading returned [`Recv::Finished`].
    pub(crate) fn trailers(&self) -> Option<&HeaderMap> {
        self.state.trailers.as_deref()
    }

    /// The response's head, while it can be changed: until the first byte of the body, the end, or an error.
    pub(crate) fn head_mut(&mut self) -> Option<&mut ResponseHead> {
        self.state.staged.as_deref_mut()
    }

    /// Stages the final response head; it is sent with the first write or the end, in the same packet. Must be
    /// called once, before either; the router does this for its handlers.
    pub(crate) fn set_head(&mut self, head: ResponseHead) {
        self.state.staged = Some(Box::new(head));
    }

    /// Sends the staged head, without a body yet.
    pub(crate) fn send_staged_head(&mut self) -> StreamResult<()> {
        self.send_staged()
    }

    /// The status sent or staged.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.state.status.or_else(|| self.state.staged.as_ref().map(|head| head.status))
    }

    /// Whether the final head was sent, so that the status can no longer change.
    pub(crate) fn is_answered(&self) -> bool {
        self.state.status.is_some()
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.state.is_sending()
    }

    /// The error of the sending side, if the peer stopped the stream or it was aborted.
    pub(crate) fn send_failure(&self) -> Option<StreamError> {
        match &self.state.send {
            Half::Failed(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Sends an informational response (RFC 9110 section 15.2), such as 103 with `link` fields, before the final
    /// one.
    ///
    /// # Errors
    /// [`StreamError::Misuse`] if the status is not 1xx or the final head was sent.
    pub(crate) fn send_informational(&mut self, status: StatusCode, headers: &HeaderMap) -> StreamResult<()> {
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(StreamError::Misuse("an informational response needs a status of 100 or 102 to 199"));
        }
        if self.state.status.is_some() {
            return Err(StreamError::Misuse("the final response head has been sent"));
        }
        self.send_half()?;
        self.send_section(Kind::Informational, Some(status), headers, false)
    }

    /// Writes body bytes, and returns how many were accepted; if not all, the stream becomes ready as soon as
    /// there is credit again.
    ///
    /// # Errors
    /// [`StreamError::Stopped`] if the peer stopped the stream, [`StreamError::Misuse`] after the end.
    pub(crate) fn write(&mut self, data: &[u8]) -> StreamResult<usize> {
        if !self.start_body()? || data.is_empty() {
            return Ok(0);
        }
        let written = self.transport.copy_body(self.id.id, data);
        self.on_written(written, data.len())
    }

    /// Writes body bytes without copying them, and leaves the rest in `data`.
    ///
    /// # Errors
    /// As [`write`](HttpStream::write).
    pub(crate) fn write_bytes(&mut self, data: &mut Bytes) -> StreamResult<usize> {
        if data.is_empty() || !self.start_body()? {
            return Ok(0);
        }
        self.write_shared(data, false)
    }

    /// As [`write_bytes`](HttpStream::write_bytes); `unacked` tracks when they are acknowledged.
    pub(crate) fn write_tracked(&mut self, data: &mut Bytes, unacked: &Unacked) -> StreamResult<usize> {
        if data.is_empty() || !self.start_body()? {
            return Ok(0);
        }
        let before = data.len();
        let written = self.transport.write_body_tracked(self.id.id, data, unacked);
        self.on_written(written, before)
    }

    /// Writes the last body bytes and finishes the stream. Returns true once all are accepted; otherwise call it
    /// again with the rest in `data` when the stream is ready.
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
        self.write_shared(data, true)?;
        let done = data.is_empty();
        if done {
            self.state.send = Half::Finished;
        }
        Ok(done)
    }

    /// Sends a response whose body is in memory, instead of one that is staged. Returns true once all of it is
    /// accepted; otherwise call [`finish_with`](HttpStream::finish_with) with the rest in `body` when the stream is
    /// ready.
    ///
    /// # Errors
    /// As [`write`](HttpStream::write).
    pub(crate) fn respond(&mut self, head: &ResponseHead, body: &mut Bytes) -> StreamResult<bool> {
        self.send_half()?;
        self.state.staged = None;
        self.send_section(Kind::Final, Some(head.status), &head.headers, body.is_empty())?;
        match body.is_empty() {
            true => Ok(true),
            false => self.finish_with(body),
        }
    }

    /// Finishes the response. The FIN is sent later if there is no credit now.
    ///
    /// # Errors
    /// As [`write`](HttpStream::write).
    pub(crate) fn finish(&mut self) -> StreamResult<()> {
        self.send_half()?;
        if let Some(head) = self.state.staged.take() {
            self.state.send = Half::Finished;
            return self.send_section(Kind::Final, Some(head.status), &head.headers, true);
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

    /// Finishes the response with trailer fields (RFC 9110 section 6.5).
    ///
    /// # Errors
    /// As [`write`](HttpStream::write).
    pub(crate) fn finish_with_trailers(&mut self, trailers: &HeaderMap) -> StreamResult<()> {
        self.start_body()?;
        self.state.send = Half::Finished;
        if self.state.bodiless {
            return Ok(());
        }
        self.send_section(Kind::Trailers, None, trailers, true)
    }

    /// Aborts the stream: RESET_STREAM and STOP_SENDING (RFC 9114 section 4.1.1).
    pub(crate) fn reset(&mut self, code: ErrorCode) {
        self.abort(code);
        self.state.fail(StreamError::Closed);
    }

    /// Changes the priority of the response (RFC 9218).
    pub(crate) fn set_priority(&mut self, priority: Priority) {
        self.state.priority = priority;
        self.transport.set_priority(self.id.id, priority.for_quiche());
    }

    /// Both directions at once: quiche never frees a stream of which only the receiving side was stopped after the
    /// response was acknowledged.
    pub(crate) fn abort(&mut self, code: ErrorCode) {
        self.transport.abort(self.id.id, code);
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

    fn send_staged(&mut self) -> StreamResult<()> {
        self.send_half()?;
        if let Some(head) = self.state.staged.take() {
            self.send_section(Kind::Final, Some(head.status), &head.headers, false)?;
        }
        match self.state.status {
            Some(_) => Ok(()),
            None => Err(StreamError::Misuse("a response needs a head before its body")),
        }
    }

    /// Sends the heads before the body; returns false if the body has to wait for them.
    fn start_body(&mut self) -> StreamResult<bool> {
        self.send_staged()?;
        if self.state.bodiless {
            return Err(StreamError::Misuse("a response to HEAD, and one with status 204, 205 or 304, has no body"));
        }
        if self.state.queued.is_some() {
            self.want_write();
            return Ok(false);
        }
        Ok(true)
    }

    fn write_shared(&mut self, data: &mut Bytes, fin: bool) -> StreamResult<usize> {
        let before = data.len();
        let written = self.transport.write_body(self.id.id, data, fin);
        self.on_written(written, before)
    }

    fn on_written(&mut self, written: Result<usize, WriteError>, wanted: usize) -> StreamResult<usize> {
        let taken = written.map_err(|error| self.send_failed(error))?;
        self.state.sent += taken as u64;
        if taken < wanted {
            self.want_write();
        }
        Ok(taken)
    }

    fn send_failed(&mut self, error: WriteError) -> StreamError {
        let error = match error {
            WriteError::Stopped(code) => StreamError::Stopped(ErrorCode(code)),
            WriteError::Gone => StreamError::Closed,
        };
        self.state.send = Half::Failed(error.clone());
        self.state.queued = None;
        error
    }

    fn want_write(&mut self) {
        self.followups.wait(self.id.id);
    }

    fn send_fin(&mut self) -> StreamResult<bool> {
        self.transport.end_body(self.id.id).map_err(|error| self.send_failed(error))
    }

    fn send_section(
        &mut self,
        kind: Kind,
        status: Option<StatusCode>,
        headers: &HeaderMap,
        fin: bool,
    ) -> StreamResult<()> {
        if kind == Kind::Final {
            self.state.status = status;
            // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
            self.state.bodiless |= status.is_some_and(|status| matches!(status.as_u16(), 204 | 205 | 304));
        }
        let fin = fin || (kind == Kind::Final && self.state.bodiless);
        if fin {
            self.state.send = Half::Finished;
        }
        let mut fields = Vec::with_capacity(headers.len() + 1);
        if let Some(status) = &status {
            fields.push(HeaderRef::new(b":status", status.as_str().as_bytes()));
        }
        fields.extend(headers.iter().map(field));
        let size = fields.iter().map(|f| f.name().len() + f.value().len() + FIELD_OVERHEAD).sum();
        if size > MAX_RESPONSE_HEAD {
            self.abort(ErrorCode::H3_INTERNAL_ERROR);
            self.state.fail(StreamError::Closed);
            return Err(StreamError::HeadTooLarge { size, limit: MAX_RESPONSE_HEAD });
        }
        let section = match (kind, self.state.head_sent || self.state.queued.is_some()) {
            (Kind::Trailers, _) => Section::Trailers,
            (_, false) => Section::First,
            (_, true) => Section::Further,
        };
        let sent = match self.state.queued.is_some() {
            true => false,
            false => self.send_fields(section, &fields, fin)?,
        };
        if !sent {
            let queued = self.state.queued.get_or_insert_default();
            queued.sections.push((section, fields.iter().map(|f| Header::new(f.name(), f.value())).collect()));
            queued.fin = fin;
            self.want_write();
        }
        Ok(())
    }

    fn send_fields<T: NameValue>(&mut self, section: Section, fields: &[T], fin: bool) -> StreamResult<bool> {
        let (urgency, incremental) = self.state.priority.for_quiche();
        // A CONNECT stream must not block its session's streams.
        let priority = (urgency, incremental || self.state.is_connect());
        let sent = self.transport.send_fields(self.id.id, section, fields, priority, fin);
        let sent = sent.map_err(|error| self.send_failed(error))?;
        self.state.head_sent |= sent;
        Ok(sent)
    }

    /// Sends queued field sections before the body. Returns true when none is left.
    pub(crate) fn flush_queued(&mut self) -> StreamResult<bool> {
        let Some(mut queued) = self.state.queued.take() else { return Ok(true) };
        while let Some((section, fields)) = queued.sections.first() {
            let fin = queued.fin && queued.sections.len() == 1;
            if !self.send_fields(*section, fields, fin)? {
                self.state.queued = Some(queued);
                self.want_write();
                return Ok(false);
            }
            queued.sections.remove(0);
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

    /// Discards unread body bytes, as the stream's credit returns only when all are read.
    pub(crate) fn discard(&mut self) {
        if self.state.recv == Half::Open && self.transport.readable_len(self.id.id, 1) > 0 {
            self.discard_readable();
        }
        // The response was sent already, so the declared length of the body no longer matters.
        self.state.declared = None;
    }

    fn discard_readable(&mut self) {
        let mut sink = [0; 16 * 1024];
        while self.state.recv == Half::Open {
            match self.transport.read_body(self.id.id, &mut sink) {
                Ok(n) => {
                    self.state.received += n as u64;
                    self.state.discarded += n as u64;
                }
                Err(ReadError::Reset(code)) => self.state.on_reset(code),
                Err(ReadError::Pending | ReadError::Gone) => break,
            }
            if self.state.discarded > MAX_DISCARD {
                self.abort(ErrorCode::H3_NO_ERROR);
                self.state.fail(StreamError::Closed);
            }
        }
    }
}

/// The kind of a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Informational,
    Final,
    Trailers,
}

/// A field as it is sent: white space around a value is not part of it (RFC 9110 section 5.5), and malformed to the
/// peer.
pub(crate) fn field<'a>((name, value): (&'a HeaderName, &'a HeaderValue)) -> HeaderRef<'a> {
    HeaderRef::new(name.as_str().as_bytes(), value.as_bytes().trim_ascii())
}
