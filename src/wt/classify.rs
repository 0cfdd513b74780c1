//! Which new streams of the peer belong to WebTransport sessions (draft-ietf-webtrans-http3 sections 4.2 and 4.3).

use crate::transport::{PEEK, PeekFailed, ReadError, Transport};
use crate::wire::{code, varint};

/// The bytes read of an incomplete header: signal or type, and session id.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartialHeader {
    bytes: [u8; PEEK],
    len: usize,
}

/// The classification of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Classification {
    /// It belongs to quiche::h3, untouched.
    Http,
    /// It belongs to the session that it names. Its header was read; with `fin` the stream ends after it.
    Session { session: u64, fin: bool },
    /// More bytes are needed.
    Incomplete(PartialHeader),
    /// It ended, or was reset, within its header.
    Ended,
    /// Another frame or stream type, whose first bytes arrived in pieces and were consumed.
    Foreign(u64),
}

/// Classifies a readable stream. `header` holds the bytes that earlier calls have read. `first` is its first byte, if
/// that is known without a peek.
///
/// # Errors
/// If quiche consumed data in a peek.
pub(crate) fn classify(
    transport: &mut Transport,
    stream: u64,
    mut header: PartialHeader,
    first: Option<u8>,
) -> Result<Classification, PeekFailed> {
    let wanted = if is_bidi(stream) { code::BIDI_SIGNAL } else { code::UNI_TYPE };
    // The usual case: the header is in one piece, or the stream is not a session's.
    if header.len == 0 {
        if first.is_some_and(|first| first < code::SIGNAL_FIRST) {
            return Ok(Classification::Http);
        }
        let Some(peeked) = transport.peek(stream)? else { return Ok(Classification::Http) };
        if let Some((kind, kind_len)) = varint::read(peeked.bytes()) {
            if kind != wanted {
                return Ok(Classification::Http);
            }
            if let Some((session, len)) = varint::read(&peeked.bytes()[kind_len..]) {
                let mut consumed = [0; PEEK];
                return Ok(match transport.read(stream, &mut consumed[..kind_len + len]) {
                    Ok((_, fin)) => Classification::Session { session, fin },
                    Err(_) => Classification::Ended,
                });
            }
        }
    }
    loop {
        // `40 xx` encodes the same value as `xx` for xx < 0x40, so quiche::h3 loses nothing without the first byte.
        if header.bytes() == [0x40] && transport.peek(stream)?.is_some_and(|peeked| peeked.bytes()[0] < 0x40) {
            return Ok(Classification::Http);
        }
        let mut byte = [0];
        let fin = match transport.read(stream, &mut byte) {
            Ok((1, fin)) => fin,
            Ok((_, true)) => return Ok(Classification::Ended),
            Ok(_) | Err(ReadError::Pending) => return Ok(Classification::Incomplete(header)),
            Err(_) => return Ok(Classification::Ended),
        };
        header.bytes[header.len] = byte[0];
        header.len += 1;
        if let Some((kind, len)) = varint::read(header.bytes()) {
            if kind != wanted {
                return Ok(Classification::Foreign(kind));
            }
            if let Some((session, _)) = varint::read(&header.bytes()[len..]) {
                return Ok(Classification::Session { session, fin });
            }
        }
        if fin {
            return Ok(Classification::Ended);
        }
    }
}

/// Whether the signal of a session's stream comes next on a request stream, where it is not allowed. `None`
/// while there is nothing to read.
///
/// # Errors
/// As [`classify`].
pub(crate) fn has_signal_next(transport: &mut Transport, stream: u64) -> Result<Option<bool>, PeekFailed> {
    let peeked = transport.peek(stream)?;
    Ok(peeked.map(|peeked| varint::read(peeked.bytes()).is_some_and(|(kind, _)| kind == code::BIDI_SIGNAL)))
}

impl PartialHeader {
    /// Whether nothing was read yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Whether a stream of type `kind` belongs to HTTP/3 itself: control, push and the two of QPACK (RFC 9114 section 6.2,
/// RFC 9204 section 4.2).
pub(crate) fn is_http_stream_type(kind: u64) -> bool {
    kind <= 3
}

pub(crate) fn is_bidi(stream: u64) -> bool {
    stream & 2 == 0
}
