//! Keeps streams out of quiche's list of readable streams, which quiche::h3 goes through.

use super::buf::Quic;

/// Urgency and incremental flag that quiche gives a new stream.
pub(super) const DEFAULT_PRIORITY: (u8, bool) = (127, true);

/// Removes a stream from the list. False if that failed.
///
/// quiche pops only the front of its list, so the stream is made the most urgent for that moment. It returns when it
/// turns from not readable to readable.
pub(super) fn defer(quic: &mut Quic, stream: u64, (urgency, incremental): (u8, bool)) -> bool {
    if !quic.stream_readable(stream) {
        return true;
    }
    // Fails only for a stream that quiche has dropped.
    let _ = quic.stream_priority(stream, 0, false);
    let popped = quic.stream_readable_next();
    let _ = quic.stream_priority(stream, urgency, incremental);
    popped == Some(stream)
}

/// Puts a stream with data back on the list: an empty read moves an incremental stream to its end.
pub(super) fn restore(quic: &mut Quic, stream: u64) {
    if quic.stream_readable_len(stream, 1) > 0 {
        let _ = quic.stream_recv(stream, &mut []);
    }
}
