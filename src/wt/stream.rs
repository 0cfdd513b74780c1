//! A stream of a session: bytes both ways, without frames.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use quiche::Shutdown;

use super::filter::is_bidi;
use super::session::SessionState;
use crate::error::{ErrorCode, StreamError};
use crate::h3::{Flags, Half, Priority, Recv};
use crate::quic;
use crate::quic::table::StreamId;
use crate::quic::timers::{Armed, TimerKey, Timers};
use crate::wire::{code, varint};

/// What the engine keeps for a stream of a session.
#[derive(Debug)]
pub(crate) struct WtState {
    /// The session's id: its CONNECT stream.
    pub(crate) session: u64,
    pub(crate) recv: Half,
    pub(crate) send: Half,
    received: u64,
    sent: u64,
    /// Opened by the peer.
    pub(crate) from_peer: bool,
    /// Signal and session id that are still to be sent, on a stream of ours.
    header: Bytes,
    /// Alive in every buffer that quiche has not dropped, as it does when the peer acknowledged it.
    unacked: Arc<()>,
    /// The end is to be sent when all before it is acknowledged.
    pub(crate) fin_held: bool,
    priority: Option<Priority>,
    pub(crate) wants_write: bool,
    pub(crate) announced: bool,
    pub(crate) released: bool,
    pub(crate) armed: Armed,
}

const NO_RECV: StreamError = StreamError::Misuse("a unidirectional stream of ours has nothing to read");
const NO_SEND: StreamError = StreamError::Misuse("a unidirectional stream of the peer's cannot be written");

impl WtState {
    /// A stream of the peer's.
    pub(crate) fn arrived(stream: u64, session: u64, fin: bool) -> Self {
        let send = if is_bidi(stream) { Half::Open } else { Half::Failed(NO_SEND) };
        let recv = if fin { Half::Finished } else { Half::Open };
        Self::new(session, recv, send, true, Bytes::new())
    }

    /// A stream of ours.
    pub(crate) fn opened(stream: u64, session: u64) -> Self {
        let recv = if is_bidi(stream) { Half::Open } else { Half::Failed(NO_RECV) };
        let mut header = Vec::with_capacity(10);
        varint::put(&mut header, if is_bidi(stream) { code::BIDI_SIGNAL } else { code::UNI_TYPE });
        varint::put(&mut header, session);
        Self::new(session, recv, Half::Open, false, header.into())
    }

    /// One that is read to its end and forgotten.
    pub(super) fn draining(stream: u64) -> Self {
        let mut state = Self::arrived(stream, u64::MAX, false);
        (state.send, state.released) = (Half::Failed(StreamError::Closed), true);
        state
    }

    fn new(session: u64, recv: Half, send: Half, from_peer: bool, header: Bytes) -> Self {
        WtState {
            session,
            recv,
            send,
            received: 0,
            sent: 0,
            from_peer,
            header,
            unacked: Arc::new(()),
            fin_held: false,
            priority: None,
            wants_write: false,
            announced: false,
            released: false,
            armed: Armed::default(),
        }
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.send == Half::Open
    }

    /// Nothing is left to do in either direction.
    pub(crate) fn is_complete(&self) -> bool {
        self.recv != Half::Open && self.send != Half::Open && !self.fin_held
    }

    /// The end, which waits for what is before it, can be sent.
    pub(crate) fn fin_is_due(&self) -> bool {
        self.fin_held && self.header.is_empty() && Arc::strong_count(&self.unacked) == 1
    }

    pub(crate) fn on_stopped(&mut self, code: u64) {
        // An end that is held is no longer wanted either.
        if self.send == Half::Open || std::mem::take(&mut self.fin_held) {
            self.send = Half::Failed(StreamError::Stopped(ErrorCode(code)));
            self.header = Bytes::new();
        }
    }

    pub(super) fn quiche_priority(&self) -> (u8, bool) {
        // Always incremental: quiche 0.30 could come to a halt at a stream that is not, see `Conn::extra_sends`.
        self.priority.map_or(super::filter::DEFAULT_PRIORITY, |p| (p.quiche_urgency(), true))
    }
}

/// A buffer that quiche holds until the peer acknowledged it.
struct Tracked {
    bytes: Bytes,
    _unacked: Arc<()>,
}

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A borrowed handle to a stream of a session.
pub(crate) struct WtStream<'a> {
    pub(crate) id: StreamId,
    pub(crate) now: Instant,
    pub(crate) quic: &'a mut quic::Connection,
    pub(crate) state: &'a mut WtState,
    /// `None` when the session is gone.
    pub(crate) session: Option<&'a mut SessionState>,
    pub(crate) flags: &'a mut Flags,
    pub(crate) timers: &'a mut Timers<TimerKey>,
}

type StreamResult<T> = Result<T, StreamError>;

/// Bytes taken from quiche at once at most.
const MAX_CHUNK: usize = 64 * 1024;
/// Bytes of a stream that are thrown away before the peer is asked to stop.
const MAX_DISCARD: u64 = 1024 * 1024;

impl WtStream<'_> {
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
        match &self.state.recv {
            Half::Open => {}
            Half::Finished => return Ok(Recv::Finished),
            Half::Failed(error) => return Err(error.clone()),
        }
        // quiche keeps a stale entry for a stream with only a FIN that is read into nothing.
        if buf.is_empty() {
            return Ok(Recv::Data(0));
        }
        let (n, fin) = match self.quic.stream_recv(self.id.id, buf) {
            Ok(got) => got,
            Err(quiche::Error::Done) => return Ok(Recv::Blocked),
            Err(quiche::Error::StreamReset(code)) => {
                let error = StreamError::Reset(ErrorCode(code));
                self.state.recv = Half::Failed(error.clone());
                return Err(error);
            }
            Err(_) => {
                self.state.recv = Half::Failed(StreamError::Closed);
                return Err(StreamError::Closed);
            }
        };
        if fin {
            self.state.recv = Half::Finished;
        }
        self.state.received += n as u64;
        if let Some(session) = self.session.as_deref_mut() {
            session.last_active = self.now;
            if let Some(flow) = &mut session.flow {
                flow.on_read(n as u64, &mut session.out);
            }
        }
        Ok(if n == 0 && fin { Recv::Finished } else { Recv::Data(n) })
    }

    pub(crate) fn read_chunk(&mut self, max: usize) -> StreamResult<Recv<Bytes>> {
        let available = self.quic.stream_readable_len(self.id.id, max.min(MAX_CHUNK));
        let mut buf = BytesMut::zeroed(available.max(1));
        Ok(match self.read(&mut buf)? {
            Recv::Data(n) => {
                buf.truncate(n);
                Recv::Data(buf.freeze())
            }
            Recv::Blocked => Recv::Blocked,
            Recv::Finished => Recv::Finished,
        })
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> StreamResult<usize> {
        self.send_half()?;
        // No more is copied than will be taken.
        let room = self.quic.stream_capacity(self.id.id).unwrap_or(data.len()).min(data.len());
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
        if allowed > 0 {
            let part = Tracked { bytes: data.slice(..allowed), _unacked: self.state.unacked.clone() };
            taken = self.send(Bytes::from_owner(part), false)?;
            data.advance(taken);
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
            && self.quic.stream_capacity(self.id.id).is_ok_and(|room| room >= data.len());
        if !fits {
            self.write_bytes(data)?;
            return Ok(false);
        }
        self.send(std::mem::take(data), true)?;
        self.state.send = Half::Finished;
        Ok(true)
    }

    /// Ends what we send. quiche may never send a lost FIN again that stands alone behind data that is acknowledged
    /// later, so the FIN waits until all data is.
    pub(crate) fn finish(&mut self) -> StreamResult<()> {
        self.send_half()?;
        self.state.send = Half::Finished;
        self.state.fin_held = true;
        self.flush()?;
        if self.state.fin_held {
            self.flags.held.push(self.id.id);
        }
        Ok(())
    }

    /// Sends what was kept back. To be called when the stream can be written, or something was acknowledged.
    pub(crate) fn flush(&mut self) -> StreamResult<()> {
        self.flush_header()?;
        if self.state.fin_is_due() {
            match self.quic.stream_send(self.id.id, b"", true) {
                Ok(_) => self.state.fin_held = false,
                Err(quiche::Error::Done) => self.want_write(),
                Err(e) => return Err(self.send_failed(e)),
            }
        }
        Ok(())
    }

    /// Gives up both directions.
    pub(crate) fn reset(&mut self, code: ErrorCode, stops_left: &mut u64) {
        self.reset_send(code);
        self.stop(code, stops_left);
    }

    /// Gives up what we send.
    pub(crate) fn reset_send(&mut self, code: ErrorCode) {
        if self.state.send != Half::Open && !self.state.fin_held {
            return;
        }
        // Fails only where the direction is over already.
        let _ = self.quic.stream_shutdown(self.id.id, Shutdown::Write, code.0);
        self.note_cut();
        self.state.send = Half::Failed(StreamError::Closed);
        self.state.fin_held = false;
        self.state.header = Bytes::new();
    }

    /// Asks the peer to send no more. quiche never frees a stream that was only stopped, so there is a limit on that:
    /// beyond it the stream is left open, to be read and thrown away.
    pub(crate) fn stop(&mut self, code: ErrorCode, stops_left: &mut u64) {
        if self.state.recv != Half::Open {
            return;
        }
        let also_reset = matches!(&self.state.send, Half::Failed(error) if *error != NO_SEND);
        if !also_reset && *stops_left == 0 {
            return;
        }
        *stops_left -= u64::from(!also_reset);
        // Fails only where the direction is over already.
        let _ = self.quic.stream_shutdown(self.id.id, Shutdown::Read, code.0);
        self.note_cut();
        self.state.recv = Half::Failed(StreamError::Closed);
    }

    pub(crate) fn set_priority(&mut self, priority: Priority) {
        self.state.priority = Some(priority);
        let (urgency, incremental) = self.state.quiche_priority();
        // Fails only for a stream that is gone.
        let _ = self.quic.stream_priority(self.id.id, urgency, incremental);
    }

    /// Reads what comes and throws it away.
    pub(crate) fn discard(&mut self, stops_left: &mut u64) {
        let mut sink = [0; 16 * 1024];
        while let Ok(Recv::Data(_)) = self.read(&mut sink) {
            if self.state.received > MAX_DISCARD && *stops_left > 0 {
                self.stop(ErrorCode::WT_SESSION_GONE, stops_left);
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

    /// Signal and session id stand in front of everything. True once they are sent.
    fn flush_header(&mut self) -> StreamResult<bool> {
        if self.state.header.is_empty() {
            return Ok(true);
        }
        let part = Tracked { bytes: self.state.header.clone(), _unacked: self.state.unacked.clone() };
        let taken = match self.quic.stream_send_zc(self.id.id, Bytes::from_owner(part), false) {
            Ok((taken, _)) => taken,
            Err(quiche::Error::Done) => 0,
            Err(e) => return Err(self.send_failed(e)),
        };
        self.state.header.advance(taken);
        if !self.state.header.is_empty() {
            self.want_write();
        }
        Ok(self.state.header.is_empty())
    }

    /// How much of `wanted` bytes the session's flow control lets pass.
    fn allowed(&mut self, wanted: usize) -> usize {
        let Some(session) = self.session.as_deref_mut() else { return wanted };
        let Some(flow) = &mut session.flow else { return wanted };
        let allowed = usize::try_from(flow.sendable()).unwrap_or(wanted).min(wanted);
        if allowed < wanted {
            flow.on_blocked(&mut session.out);
        }
        allowed
    }

    fn send(&mut self, data: Bytes, fin: bool) -> StreamResult<usize> {
        let taken = match self.quic.stream_send_zc(self.id.id, data, fin) {
            Ok((taken, _)) => taken,
            Err(quiche::Error::Done) => 0,
            Err(e) => return Err(self.send_failed(e)),
        };
        self.state.sent += taken as u64;
        if let Some(session) = self.session.as_deref_mut() {
            session.last_active = self.now;
            if let Some(flow) = &mut session.flow {
                flow.on_sent(taken as u64);
            }
        }
        Ok(taken)
    }

    fn send_failed(&mut self, error: quiche::Error) -> StreamError {
        let error = match error {
            quiche::Error::StreamStopped(code) => StreamError::Stopped(ErrorCode(code)),
            _ => StreamError::Closed,
        };
        self.state.send = Half::Failed(error.clone());
        self.state.fin_held = false;
        self.state.header = Bytes::new();
        error
    }

    fn note_cut(&mut self) {
        if let Some(session) = self.session.as_deref_mut() {
            session.last_cut = Some(self.now);
        }
    }

    fn want_write(&mut self) {
        self.state.wants_write = true;
        self.flags.blocked = true;
    }
}
