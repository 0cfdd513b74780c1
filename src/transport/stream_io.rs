//! A connection's streams: reading, writing, ending and aborting them.

use bytes::{Bytes, BytesMut};
use quiche::Shutdown;

use super::buf::{Buf, Unacked, take_front};
use super::connection::Transport;
use super::peek::{Peeked, peek};
use super::signals::{self, Signals};
use super::{defer, gone};
use crate::error::ErrorCode;

/// Maximum bytes read from quiche per call.
const MAX_CHUNK: usize = 64 * 1024;

/// Why a read returned no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// No data now.
    Pending,
    /// The peer reset the stream with this code.
    Reset(u64),
    /// quiche has dropped the stream.
    Gone,
}

/// Why a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// The peer stopped the stream with this code.
    Stopped(u64),
    /// quiche has dropped the stream.
    Gone,
}

/// A [peek](Transport::peek) consumed data: quiche does not behave as expected, and the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeekFailed;

impl Transport {
    /// Streams with something to read that are not [deferred](Transport::defer).
    pub(crate) fn readable(&self) -> impl Iterator<Item = u64> + use<> {
        self.quic.readable()
    }

    /// The first bytes of a stream, without consuming them; `None` if there are none.
    pub(crate) fn peek(&mut self, stream: u64) -> Result<Option<Peeked>, PeekFailed> {
        peek(&mut self.quic, stream).map_err(|()| PeekFailed)
    }

    /// Hides a readable stream from quiche::h3, until it turns from not readable to readable.
    pub(crate) fn defer(&mut self, stream: u64, priority: Option<(u8, bool)>) -> Result<(), PeekFailed> {
        match defer::defer(&mut self.quic, stream, priority.unwrap_or(defer::DEFAULT_PRIORITY)) {
            true => Ok(()),
            false => Err(PeekFailed),
        }
    }

    /// Shows a deferred stream to quiche::h3 again.
    pub(crate) fn restore(&mut self, stream: u64) {
        defer::restore(&mut self.quic, stream);
    }

    /// Reads into `buf`, which must not be empty: how many bytes, and whether the stream has ended.
    pub(crate) fn read(&mut self, stream: u64, buf: &mut [u8]) -> Result<(usize, bool), ReadError> {
        // quiche keeps a stale entry for a stream with only a FIN that is read into nothing.
        debug_assert!(!buf.is_empty(), "an empty read");
        let read = self.quic.stream_recv(stream, buf).map_err(read_error)?;
        self.note_use(read.0);
        Ok(read)
    }

    /// Reads at most `max` bytes into a new buffer.
    pub(crate) fn read_chunk(&mut self, stream: u64, max: usize) -> Result<(Bytes, bool), ReadError> {
        let available = self.quic.stream_readable_len(stream, max.clamp(1, MAX_CHUNK));
        let mut buf = BytesMut::with_capacity(available.max(1));
        let room = bytes::BufMut::limit(&mut buf, available.max(1));
        let (_, fin) = self.quic.stream_recv_buf(stream, room).map_err(read_error)?;
        self.note_use(available);
        Ok((buf.freeze(), fin))
    }

    /// Reads at most `max` bytes and discards them.
    pub(crate) fn discard(&mut self, stream: u64, max: usize) -> Result<(usize, bool), ReadError> {
        self.quic.stream_discard(stream, max).map_err(read_error)
    }

    /// Bytes that can be read, counted up to `max`.
    pub(crate) fn readable_len(&self, stream: u64, max: usize) -> usize {
        self.quic.stream_readable_len(stream, max)
    }

    /// Whether a stream exists that is not read to its end.
    pub(crate) fn is_unfinished(&self, stream: u64) -> bool {
        !self.quic.stream_finished(stream)
    }

    /// Whether only a FIN or a reset is left to read.
    pub(crate) fn is_at_end(&self, stream: u64) -> bool {
        signals::is_at_end(&self.quic, stream)
    }

    /// Writes bytes without copying them, and leaves the rest in `data`. The FIN is sent with the last ones
    /// if `fin` is set and all are accepted.
    pub(crate) fn write(
        &mut self,
        stream: u64,
        data: &mut Bytes,
        fin: bool,
        unacked: &mut Unacked,
    ) -> Result<usize, WriteError> {
        if self.write_limit.is_reached(&self.quic) {
            return Ok(0);
        }
        self.write_past_limit(stream, data, fin, unacked)
    }

    /// Writes the few bytes that a stream begins with. They are not subject to the [`WriteLimit`](super::write_limit):
    /// quiche learns of a new stream only by a write.
    pub(crate) fn write_header(
        &mut self,
        stream: u64,
        data: &mut Bytes,
        unacked: &mut Unacked,
    ) -> Result<usize, WriteError> {
        self.write_past_limit(stream, data, false, unacked)
    }

    fn write_past_limit(
        &mut self,
        stream: u64,
        data: &mut Bytes,
        fin: bool,
        unacked: &mut Unacked,
    ) -> Result<usize, WriteError> {
        let buf = Buf::share(data).tracked(unacked);
        match self.quic.stream_send_zc(stream, buf, fin) {
            Ok((taken, _)) => {
                self.write_limit.on_written(taken);
                if taken > 0 {
                    unacked.on_written(self.quic.stats().sent);
                }
                take_front(data, taken);
                Ok(taken)
            }
            Err(e) => self.write_error(stream, e).map(|()| 0),
        }
    }

    /// Writes a FIN after all bytes are acknowledged, or, `with_last`, while the last ones are in no packet yet: quiche
    /// never retransmits a lost FIN that is sent alone when data before it is acknowledged after the FIN was written.
    /// True once it is written.
    pub(crate) fn write_fin(&mut self, stream: u64, unacked: &Unacked, with_last: bool) -> Result<bool, WriteError> {
        if !(unacked.is_empty() || with_last && unacked.is_unsent(self.quic.stats().sent)) {
            return Ok(false);
        }
        match self.quic.stream_send(stream, b"", true) {
            Ok(_) => Ok(true),
            Err(e) => self.write_error(stream, e).map(|()| false),
        }
    }

    /// `Done` means that there is no credit now, unless quiche has dropped the stream.
    fn write_error(&mut self, stream: u64, error: quiche::Error) -> Result<(), WriteError> {
        match error {
            quiche::Error::Done if !gone::is_gone(&mut self.quic, stream) => Ok(()),
            quiche::Error::StreamStopped(code) => Err(WriteError::Stopped(code)),
            _ => Err(WriteError::Gone),
        }
    }

    /// Bytes that a write would accept now.
    pub(crate) fn capacity(&mut self, stream: u64) -> Option<usize> {
        self.quic.stream_capacity(stream).ok()
    }

    /// Whether streams that wait can be written again although [`poll_writable`](Transport::poll_writable) does not say so.
    pub(crate) fn take_refused(&mut self) -> bool {
        self.write_limit.take_refused()
    }

    /// The next stream that can be written.
    pub(crate) fn poll_writable(&mut self) -> Option<u64> {
        self.quic.stream_writable_next()
    }

    /// Sends RESET_STREAM (RFC 9000 section 19.4).
    pub(crate) fn reset(&mut self, stream: u64, code: ErrorCode) {
        // Fails only if the direction has already ended.
        let _ = self.quic.stream_shutdown(stream, Shutdown::Write, code.0);
    }

    /// Sends STOP_SENDING (RFC 9000 section 19.5).
    pub(crate) fn stop(&mut self, stream: u64, code: ErrorCode) {
        let _ = self.quic.stream_shutdown(stream, Shutdown::Read, code.0);
    }

    /// As [`stop`](Transport::stop), for a stream whose sending side is not reset as well. False when too many were stopped
    /// already.
    pub(crate) fn stop_only(&mut self, stream: u64, code: ErrorCode) -> bool {
        let may = self.stop_credit.take();
        if may {
            self.stop(stream, code);
        }
        may
    }

    /// Resets and stops a stream, and remembers it until quiche drops it.
    pub(crate) fn abort(&mut self, stream: u64, code: ErrorCode) {
        self.reset(stream, code);
        self.stop(stream, code);
        self.retired.abort(&self.quic, stream);
    }

    /// A stream whose receiving side ended with an error, and whose sending side ended well.
    pub(crate) fn retire_aborted(&mut self, stream: u64) {
        self.retired.abort(&self.quic, stream);
    }

    /// A stream has ended in both directions.
    pub(crate) fn retire(&mut self, stream: u64) {
        self.retired.finish(&mut self.quic, stream);
    }

    /// Whether this side has retired a stream that may have existed.
    pub(crate) fn is_retired(&mut self, stream: u64) -> bool {
        self.retired.contains(stream) || gone::is_gone(&mut self.quic, stream)
    }

    /// As [`is_retired`](Transport::is_retired), without asking quiche.
    pub(crate) fn is_known_retired(&self, stream: u64) -> bool {
        self.retired.contains(stream)
    }

    /// Bytes received in all.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.quic.stats().recv_bytes
    }

    /// Bytes that the peer has acknowledged in all, with the headers of packets.
    pub(crate) fn acked_bytes(&self) -> u64 {
        self.quic.stats().acked_bytes
    }

    /// Whether everything sent on ended streams is acknowledged.
    pub(crate) fn is_acked(&mut self) -> bool {
        self.retired.is_acked(&mut self.quic)
    }

    /// Forgets streams that quiche has dropped.
    pub(crate) fn sweep(&mut self) {
        self.retired.sweep(&mut self.quic, &mut self.h3);
    }

    /// Streams aborted and not dropped by quiche.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn aborted_count(&self) -> usize {
        self.retired.aborted()
    }

    /// Urgency and incremental flag in quiche's terms.
    pub(crate) fn set_priority(&mut self, stream: u64, (urgency, incremental): (u8, bool)) {
        // Fails only for a stream that quiche has dropped.
        let _ = self.quic.stream_priority(stream, urgency, incremental);
    }

    /// Makes a stream incremental, so that it does not [stall](super::stall) others.
    pub(crate) fn share_priority(&mut self, stream: u64, urgency: u8) {
        self.set_priority(stream, self.stall.shared_priority(urgency));
    }

    /// Streams of a kind that the peer still allows.
    pub(crate) fn streams_left(&self, bidi: bool) -> u64 {
        match bidi {
            true => self.quic.peer_streams_left_bidi(),
            false => self.quic.peer_streams_left_uni(),
        }
    }

    /// The id of the next local stream for a session; must be used at once.
    pub(crate) fn take_stream_id(&mut self, bidi: bool) -> u64 {
        self.ids.take(bidi)
    }

    /// Which of RESET_STREAM and STOP_SENDING have come since the last call.
    pub(crate) fn take_signals(&mut self) -> Signals {
        self.counters.take(&self.quic)
    }

    /// The code that the peer stopped a stream with.
    pub(crate) fn stopped(&mut self, stream: u64) -> Option<u64> {
        signals::stopped(&mut self.quic, stream)
    }

    /// Watches a stream's receiving side for an end that quiche does not report.
    pub(crate) fn watch_fin(&mut self, stream: u64) {
        self.unseen_fins.watch(stream);
    }

    /// Watched streams that have ended unreported. Checks a bounded number.
    pub(crate) fn poll_unseen_fins(&mut self) -> Vec<u64> {
        self.unseen_fins.look(&self.quic)
    }

    /// Whether watched streams are still unchecked since the last packet.
    pub(crate) fn has_unseen_fins(&self) -> bool {
        self.unseen_fins.is_pending()
    }
}

fn read_error(error: quiche::Error) -> ReadError {
    match error {
        quiche::Error::Done => ReadError::Pending,
        quiche::Error::StreamReset(code) => ReadError::Reset(code),
        _ => ReadError::Gone,
    }
}
