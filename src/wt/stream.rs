//! A stream of a session: bytes both ways, without frames.

use std::time::Instant;

use bytes::Bytes;

use super::classify::is_bidi;
use super::session::{Abort, SessionState};
use crate::error::{ErrorCode, StreamError};
use crate::h3::{Followups, Half, Priority, Recv};
use crate::transport::table::StreamId;
use crate::transport::timers::{Armed, TimerKey, Timers};
use crate::transport::{ReadError, Transport, Unacked, WriteError};
use crate::wire::{code, varint};

/// The engine's state of a stream of a session.
#[derive(Debug)]
pub(crate) struct SessionStreamState {
    /// The session's id: its CONNECT stream.
    pub(crate) session: u64,
    pub(crate) recv: Half,
    pub(crate) send: Half,
    received: u64,
    sent: u64,
    /// Opened by the peer.
    pub(crate) from_peer: bool,
    /// Signal and session id not sent yet, on a local stream.
    header: Bytes,
    unacked: Unacked,
    /// A FIN is pending until all data before it is acknowledged.
    pub(crate) fin_pending: bool,
    priority: Option<Priority>,
    /// A `Ready` event for the stream is in the queue.
    pub(crate) ready_queued: bool,
    /// The application released the stream.
    pub(crate) released: bool,
    pub(crate) armed: Armed,
}

const NO_RECV: StreamError = StreamError::Misuse("a unidirectional stream opened locally cannot be read");
const NO_SEND: StreamError = StreamError::Misuse("a unidirectional stream of the peer cannot be written");

impl SessionStreamState {
    /// A stream opened by the peer.
    pub(crate) fn arrived(stream: u64, session: u64, fin: bool) -> Self {
        let send = if is_bidi(stream) { Half::Open } else { Half::Failed(NO_SEND) };
        let recv = if fin { Half::Finished } else { Half::Open };
        Self::new(session, recv, send, true, Bytes::new())
    }

    /// A stream opened locally.
    pub(crate) fn opened(stream: u64, session: u64) -> Self {
        let recv = if is_bidi(stream) { Half::Open } else { Half::Failed(NO_RECV) };
        let mut header = Vec::with_capacity(10);
        varint::put(&mut header, if is_bidi(stream) { code::BIDI_SIGNAL } else { code::UNI_TYPE });
        varint::put(&mut header, session);
        Self::new(session, recv, Half::Open, false, header.into())
    }

    fn new(session: u64, recv: Half, send: Half, from_peer: bool, header: Bytes) -> Self {
        SessionStreamState {
            session,
            recv,
            send,
            received: 0,
            sent: 0,
            from_peer,
            header,
            unacked: Unacked::default(),
            fin_pending: false,
            priority: None,
            ready_queued: false,
            released: false,
            armed: Armed::default(),
        }
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.send == Half::Open
    }

    pub(crate) fn is_receiving(&self) -> bool {
        self.recv == Half::Open
    }

    /// The peer's FIN arrived unreported, after bytes that were read.
    pub(crate) fn on_unseen_fin(&mut self) {
        if self.recv == Half::Open {
            self.recv = Half::Finished;
        }
    }

    /// Whether both directions have ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.recv != Half::Open && self.send != Half::Open && !self.fin_pending
    }

    pub(crate) fn on_stopped(&mut self, code: u64) {
        // A pending FIN is dropped as well.
        if self.send == Half::Open || std::mem::take(&mut self.fin_pending) {
            self.send = Half::Failed(StreamError::Stopped(ErrorCode(code)));
            self.header = Bytes::new();
        }
    }

    /// The priority that was set, in quiche's terms. Always incremental: quiche 0.30 could stall at a stream that is
    /// not.
    pub(crate) fn priority(&self) -> Option<(u8, bool)> {
        self.priority.map(|priority| (priority.for_quiche().0, true))
    }
}

/// A borrowed handle to a stream of a session.
pub(crate) struct SessionStream<'a> {
    pub(crate) id: StreamId,
    pub(crate) now: Instant,
    pub(crate) transport: &'a mut Transport,
    pub(crate) state: &'a mut SessionStreamState,
    /// `None` if the session has ended.
    pub(crate) session: Option<&'a mut SessionState>,
    pub(crate) followups: &'a mut Followups,
    pub(crate) timers: &'a mut Timers<TimerKey>,
}

type StreamResult<T> = Result<T, StreamError>;

/// Bytes of a stream that are discarded before STOP_SENDING.
const MAX_DISCARD: u64 = 1024 * 1024;
const DISCARD_AT_ONCE: usize = 64 * 1024;

impl SessionStream<'_> {
    pub(crate) fn wake_at(&mut self, at: Instant) {
        self.timers.arm(TimerKey::Stream(self.id), &mut self.state.armed, at);
    }

    pub(crate) fn received(&self) -> u64 {
        self.state.received
    }

    pub(crate) fn sent(&self) -> u64 {
        self.state.sent
    }

    pub(crate) fn read(&mut self, buf: &mut [u8]) -> StreamResult<Recv> {
        if let Some(recv) = self.before_read()? {
            return Ok(recv);
        }
        if buf.is_empty() {
            return Ok(Recv::Data(0));
        }
        let read = self.transport.read(self.id.id, buf);
        Ok(match self.on_read(read, |n| *n)? {
            Recv::Data(n) => Recv::Data(n),
            Recv::Pending => Recv::Pending,
            Recv::Finished => Recv::Finished,
        })
    }

    pub(crate) fn read_chunk(&mut self, max: usize) -> StreamResult<Recv<Bytes>> {
        match self.before_read()? {
            Some(Recv::Finished) => return Ok(Recv::Finished),
            Some(_) => return Ok(Recv::Pending),
            None => {}
        }
        let read = self.transport.read_chunk(self.id.id, max);
        self.on_read(read, Bytes::len)
    }

    /// The result of a read that needs no call of quiche, if known.
    fn before_read(&self) -> StreamResult<Option<Recv>> {
        match &self.state.recv {
            Half::Open => Ok(None),
            Half::Finished => Ok(Some(Recv::Finished)),
            Half::Failed(error) => Err(error.clone()),
        }
    }

    fn on_read<T>(&mut self, read: Result<(T, bool), ReadError>, len: impl Fn(&T) -> usize) -> StreamResult<Recv<T>> {
        let (data, fin) = match read {
            Ok(read) => read,
            Err(ReadError::Pending) => return Ok(Recv::Pending),
            Err(ReadError::Reset(code)) => return Err(self.recv_failed(StreamError::Reset(ErrorCode(code)))),
            Err(ReadError::Gone) => return Err(self.recv_failed(StreamError::Closed)),
        };
        if fin {
            self.state.recv = Half::Finished;
        }
        let n = len(&data);
        self.state.received += n as u64;
        if let Some(session) = self.session.as_deref_mut() {
            session.last_active = self.now;
            if let Some(flow) = &mut session.flow {
                flow.on_read(n as u64, &mut session.out);
            }
        }
        Ok(if n == 0 && fin { Recv::Finished } else { Recv::Data(data) })
    }

    fn recv_failed(&mut self, error: StreamError) -> StreamError {
        self.state.recv = Half::Failed(error.clone());
        error
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> StreamResult<usize> {
        self.send_half()?;
        // Copies only as much as will be accepted.
        let room = self.transport.capacity(self.id.id).unwrap_or(data.len()).min(data.len());
        let taken = self.write_bytes(&mut Bytes::copy_from_slice(&data[..room]))?;
        if taken < data.len() {
            self.want_write();
        }
        Ok(taken)
    }

    pub(crate) fn write_bytes(&mut self, data: &mut Bytes) -> StreamResult<usize> {
        self.send_half()?;
        if data.is_empty() {
            return Ok(0);
        }
        let allowed = if self.flush_header()? { self.allowed(data.len()) } else { 0 };
        let mut taken = 0;
        if allowed == data.len() {
            taken = self.send(data, false)?;
        } else if allowed > 0 {
            taken = self.send(&mut data.slice(..allowed), false)?;
            bytes::Buf::advance(data, taken);
        }
        if !data.is_empty() {
            self.want_write();
        }
        Ok(taken)
    }

    pub(crate) fn finish_with(&mut self, data: &mut Bytes) -> StreamResult<bool> {
        if data.is_empty() {
            return self.finish().map(|()| true);
        }
        self.send_half()?;
        let fits = self.flush_header()?
            && self.allowed(data.len()) == data.len()
            && self.transport.capacity(self.id.id).is_none_or(|room| room >= data.len());
        if !fits {
            self.write_bytes(data)?;
            return Ok(false);
        }
        self.send(data, true)?;
        if !data.is_empty() {
            self.want_write();
            return Ok(false);
        }
        self.state.send = Half::Finished;
        Ok(true)
    }

    /// Finishes the sending side, once all data before the FIN is acknowledged.
    pub(crate) fn finish(&mut self) -> StreamResult<()> {
        self.send_half()?;
        self.state.send = Half::Finished;
        self.state.fin_pending = true;
        self.flush()?;
        if self.state.fin_pending {
            self.followups.defer_fin(self.id.id);
        }
        Ok(())
    }

    /// Sends a pending header or FIN. Call it when the stream is writable, or something was acknowledged.
    pub(crate) fn flush(&mut self) -> StreamResult<()> {
        if self.flush_header()? && self.state.fin_pending {
            // Firefox does not see a stream whose header comes with the FIN.
            let with_last = self.state.sent > 0;
            let written = self.transport.write_fin(self.id.id, &self.state.unacked, with_last);
            self.state.fin_pending = !written.map_err(|error| self.send_failed(error))?;
        }
        Ok(())
    }

    /// Aborts both directions.
    pub(crate) fn reset(&mut self, code: ErrorCode) {
        self.reset_send(code);
        self.stop(code);
    }

    /// Resets the sending side.
    pub(crate) fn reset_send(&mut self, code: ErrorCode) {
        if self.state.send != Half::Open && !self.state.fin_pending {
            return;
        }
        self.transport.reset(self.id.id, code);
        self.note_abort();
        self.state.send = Half::Failed(StreamError::Closed);
        self.state.fin_pending = false;
        self.state.header = Bytes::new();
    }

    /// Sends STOP_SENDING. If no more streams may be stopped, the stream stays open and is discarded.
    pub(crate) fn stop(&mut self, code: ErrorCode) {
        if self.state.recv != Half::Open {
            return;
        }
        let also_reset = matches!(&self.state.send, Half::Failed(error) if *error != NO_SEND);
        let stopped = match also_reset {
            true => {
                self.transport.stop(self.id.id, code);
                true
            }
            false => self.transport.stop_only(self.id.id, code),
        };
        if stopped {
            self.note_abort();
            self.state.recv = Half::Failed(StreamError::Closed);
        }
    }

    pub(crate) fn set_priority(&mut self, priority: Priority) {
        self.state.priority = Some(priority);
        if let Some(priority) = self.state.priority() {
            self.transport.set_priority(self.id.id, priority);
        }
    }

    /// Discards received data.
    pub(crate) fn discard(&mut self) {
        while self.state.recv == Half::Open {
            let read = self.transport.discard(self.id.id, DISCARD_AT_ONCE);
            if !matches!(self.on_read(read, |n| *n), Ok(Recv::Data(_))) {
                return;
            }
            if self.state.received > MAX_DISCARD {
                self.stop(ErrorCode::WT_SESSION_GONE);
            }
        }
    }

    fn send_half(&self) -> StreamResult<()> {
        match &self.state.send {
            Half::Open => Ok(()),
            Half::Finished => Err(StreamError::Misuse("the stream has ended")),
            Half::Failed(error) => Err(error.clone()),
        }
    }

    /// Sends signal and session id before all data. Returns true once they are sent.
    fn flush_header(&mut self) -> StreamResult<bool> {
        if self.state.header.is_empty() {
            return Ok(true);
        }
        let mut header = std::mem::take(&mut self.state.header);
        let written = self.transport.write_header(self.id.id, &mut header, &mut self.state.unacked);
        self.state.header = header;
        written.map_err(|error| self.send_failed(error))?;
        if !self.state.header.is_empty() {
            self.want_write();
        }
        Ok(self.state.header.is_empty())
    }

    /// How much of `wanted` bytes the session's flow control allows.
    fn allowed(&mut self, wanted: usize) -> usize {
        let Some(session) = self.session.as_deref_mut() else { return wanted };
        let Some(flow) = &mut session.flow else { return wanted };
        let allowed = usize::try_from(flow.sendable()).unwrap_or(wanted).min(wanted);
        if allowed < wanted {
            flow.on_blocked(&mut session.out);
        }
        allowed
    }

    fn send(&mut self, data: &mut Bytes, fin: bool) -> StreamResult<usize> {
        let written = self.transport.write(self.id.id, data, fin, &mut self.state.unacked);
        let taken = written.map_err(|error| self.send_failed(error))?;
        self.state.sent += taken as u64;
        if let Some(session) = self.session.as_deref_mut() {
            session.last_active = self.now;
            if let Some(flow) = &mut session.flow {
                flow.on_sent(taken as u64);
            }
        }
        Ok(taken)
    }

    fn send_failed(&mut self, error: WriteError) -> StreamError {
        let error = match error {
            WriteError::Stopped(code) => StreamError::Stopped(ErrorCode(code)),
            WriteError::Gone => StreamError::Closed,
        };
        self.state.send = Half::Failed(error.clone());
        self.state.fin_pending = false;
        self.state.header = Bytes::new();
        error
    }

    fn note_abort(&mut self) {
        if let Some(session) = self.session.as_deref_mut() {
            session.last_abort = Some(Abort { at: self.now, acked: self.transport.acked_bytes() });
        }
    }

    fn want_write(&mut self) {
        self.followups.wait(self.id.id);
    }
}
