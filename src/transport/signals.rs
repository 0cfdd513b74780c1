//! RESET_STREAM and STOP_SENDING frames received.
//!
//! quiche raises no edge for a STOP_SENDING once the stream's writable mark was taken, nor for a RESET_STREAM on a stream
//! that has unread data or is [deferred](super::defer). It counts both, so a changed counter means that it is worth
//! asking each stream.

use super::buf::Quic;

/// Frames received until the last check, modulo 2^32.
#[derive(Debug, Default)]
pub(super) struct Counters {
    stops: u32,
    resets: u32,
}

/// Frames received since the last check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// STOP_SENDING frames.
    pub(crate) stops: bool,
    /// RESET_STREAM frames.
    pub(crate) resets: bool,
}

impl Counters {
    pub(super) fn take(&mut self, quic: &Quic) -> Signals {
        let stats = quic.stats();
        let (stops, resets) = (stats.stopped_stream_count_remote as u32, stats.reset_stream_count_remote as u32);
        let signals = Signals { stops: stops != self.stops, resets: resets != self.resets };
        (self.stops, self.resets) = (stops, resets);
        signals
    }
}

/// The code of the STOP_SENDING frame for a stream.
pub(super) fn stopped(quic: &mut Quic, stream: u64) -> Option<u64> {
    match quic.stream_capacity(stream) {
        Err(quiche::Error::StreamStopped(code)) => Some(code),
        _ => None,
    }
}

/// Whether a stream has a FIN or a reset to read, and no data before it.
pub(super) fn is_at_end(quic: &Quic, stream: u64) -> bool {
    quic.stream_readable(stream) && quic.stream_readable_len(stream, 1) == 0
}
