//! Capsules (RFC 9297 section 3) and those of WebTransport, parsed incrementally.

use bytes::Bytes;

use super::varint;

const DATAGRAM: u64 = 0x00;
const CLOSE: u64 = 0x2843;
const DRAIN: u64 = 0x78ae;
const MAX_DATA: u64 = 0x190b_4d3d;
const MAX_STREAM_DATA: u64 = 0x190b_4d3e;
const MAX_STREAMS_BIDI: u64 = 0x190b_4d3f;
const MAX_STREAMS_UNI: u64 = 0x190b_4d40;
const DATA_BLOCKED: u64 = 0x190b_4d41;
const STREAM_DATA_BLOCKED: u64 = 0x190b_4d42;
const STREAMS_BLOCKED_BIDI: u64 = 0x190b_4d43;
const STREAMS_BLOCKED_UNI: u64 = 0x190b_4d44;

/// Maximum length of the reason in a CLOSE capsule, in bytes.
pub(crate) const MAX_REASON: usize = 1024;
/// Bytes of a DATAGRAM capsule that are kept; a larger one would not fit into a QUIC datagram either.
const MAX_DATAGRAM: u64 = 65_535;
/// RFC 9000 section 4.6: more streams than this cannot be numbered.
const MAX_STREAMS: u64 = 1 << 60;

/// A capsule, with the types known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Capsule {
    /// An HTTP datagram on the stream itself.
    Datagram(Bytes),
    /// The session ends.
    Close { code: u32, reason: String },
    /// The session should be ended soon.
    Drain,
    /// Bytes that may be sent on the session's streams in all.
    MaxData(u64),
    /// Streams that may be opened in all.
    MaxStreams { bidi: bool, max: u64 },
    /// The peer would send more bytes.
    DataBlocked,
    /// The peer would open more streams.
    StreamsBlocked,
    /// An unknown capsule, skipped.
    Unknown(u64),
}

/// The fault of a capsule: the message is malformed (RFC 9297 section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CapsuleError {
    #[error("the stream ended within a capsule")]
    Truncated,
    #[error("capsule {0:#x} has an invalid length")]
    Length(u64),
    #[error("the reason of a CLOSE capsule is longer than 1024 bytes")]
    ReasonTooLong,
    #[error("the reason of a CLOSE capsule is not UTF-8")]
    ReasonNotUtf8,
    #[error("capsule {0:#x} has a malformed value")]
    Value(u64),
    #[error("capsule {0:#x} is not allowed over HTTP/3")]
    Prohibited(u64),
}

#[derive(Debug, Default)]
enum State {
    /// Type and length, as far as received.
    #[default]
    Header,
    /// The value of a known capsule.
    Value { kind: u64, missing: usize },
    /// The rest of an unknown one.
    Skip { missing: u64 },
}

/// Reads capsules from a byte stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
    /// The header or the value, as far as received. Bounded by the largest known capsule.
    buffer: Vec<u8>,
}

impl Decoder {
    /// Consumes bytes from the front of `input` until a capsule is complete. `None` if more bytes are needed.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Capsule>, CapsuleError> {
        loop {
            match &mut self.state {
                State::Header => {
                    let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
                    *input = rest;
                    self.buffer.push(byte);
                    let Some((kind, kind_len)) = varint::read(&self.buffer) else { continue };
                    let Some((len, _)) = varint::read(&self.buffer[kind_len..]) else { continue };
                    self.buffer.clear();
                    if !is_known(kind) {
                        self.state = State::Skip { missing: len };
                        return Ok(Some(Capsule::Unknown(kind)));
                    }
                    self.state = State::Value { kind, missing: check_length(kind, len)? };
                }
                State::Value { kind, missing } => {
                    let (now, rest) = input.split_at(input.len().min(*missing));
                    *input = rest;
                    self.buffer.extend_from_slice(now);
                    *missing -= now.len();
                    if *missing > 0 {
                        return Ok(None);
                    }
                    let kind = *kind;
                    self.state = State::Header;
                    return parse(kind, &std::mem::take(&mut self.buffer)).map(Some);
                }
                State::Skip { missing } => {
                    let now = (input.len() as u64).min(*missing);
                    *input = &input[now as usize..];
                    *missing -= now;
                    if *missing > 0 {
                        return Ok(None);
                    }
                    self.state = State::Header;
                }
            }
        }
    }

    /// The stream ended: an error in the middle of a capsule.
    pub(crate) fn finish(&self) -> Result<(), CapsuleError> {
        match (&self.state, self.buffer.is_empty()) {
            (State::Header, true) | (State::Skip { missing: 0 }, _) => Ok(()),
            _ => Err(CapsuleError::Truncated),
        }
    }
}

fn is_known(kind: u64) -> bool {
    matches!(kind, DATAGRAM | CLOSE | DRAIN | MAX_DATA..=STREAMS_BLOCKED_UNI)
}

fn check_length(kind: u64, len: u64) -> Result<usize, CapsuleError> {
    let ok = match kind {
        DATAGRAM => len <= MAX_DATAGRAM,
        CLOSE if len > 4 + MAX_REASON as u64 => return Err(CapsuleError::ReasonTooLong),
        CLOSE => len >= 4,
        DRAIN => len == 0,
        MAX_STREAM_DATA | STREAM_DATA_BLOCKED => return Err(CapsuleError::Prohibited(kind)),
        _ => (1..=8).contains(&len),
    };
    if ok { Ok(len as usize) } else { Err(CapsuleError::Length(kind)) }
}

fn parse(kind: u64, value: &[u8]) -> Result<Capsule, CapsuleError> {
    let number = || match varint::read(value) {
        Some((number, len)) if len == value.len() => Ok(number),
        _ => Err(CapsuleError::Value(kind)),
    };
    let streams = || number().and_then(|n| if n <= MAX_STREAMS { Ok(n) } else { Err(CapsuleError::Value(kind)) });
    Ok(match kind {
        DATAGRAM => Capsule::Datagram(Bytes::copy_from_slice(value)),
        CLOSE => {
            let (code, reason) = value.split_first_chunk().ok_or(CapsuleError::Length(kind))?;
            let reason = std::str::from_utf8(reason).map_err(|_| CapsuleError::ReasonNotUtf8)?;
            Capsule::Close { code: u32::from_be_bytes(*code), reason: reason.to_owned() }
        }
        DRAIN => Capsule::Drain,
        MAX_DATA => Capsule::MaxData(number()?),
        // A value that is too large is an error of the session, not of the message.
        MAX_STREAMS_BIDI | MAX_STREAMS_UNI => Capsule::MaxStreams { bidi: kind == MAX_STREAMS_BIDI, max: number()? },
        DATA_BLOCKED => number().map(|_| Capsule::DataBlocked)?,
        STREAMS_BLOCKED_BIDI | STREAMS_BLOCKED_UNI => streams().map(|_| Capsule::StreamsBlocked)?,
        _ => Capsule::Unknown(kind),
    })
}

/// Appends a CLOSE capsule; the reason is truncated at a character boundary.
pub(crate) fn put_close(out: &mut Vec<u8>, code: u32, reason: &str) {
    let mut len = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(len) {
        len -= 1;
    }
    let reason = &reason[..len];
    varint::put(out, CLOSE);
    varint::put(out, 4 + reason.len() as u64);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Appends a DRAIN capsule.
pub(crate) fn put_drain(out: &mut Vec<u8>) {
    varint::put(out, DRAIN);
    varint::put(out, 0);
}

/// Appends a MAX_DATA capsule.
pub(crate) fn put_max_data(out: &mut Vec<u8>, max: u64) {
    put_number(out, MAX_DATA, max);
}

/// Appends a MAX_STREAMS capsule.
pub(crate) fn put_max_streams(out: &mut Vec<u8>, bidi: bool, max: u64) {
    put_number(out, if bidi { MAX_STREAMS_BIDI } else { MAX_STREAMS_UNI }, max);
}

/// Appends a DATA_BLOCKED capsule.
pub(crate) fn put_data_blocked(out: &mut Vec<u8>, at: u64) {
    put_number(out, DATA_BLOCKED, at);
}

/// Appends a STREAMS_BLOCKED capsule.
pub(crate) fn put_streams_blocked(out: &mut Vec<u8>, bidi: bool, at: u64) {
    put_number(out, if bidi { STREAMS_BLOCKED_BIDI } else { STREAMS_BLOCKED_UNI }, at);
}

fn put_number(out: &mut Vec<u8>, kind: u64, value: u64) {
    varint::put(out, kind);
    varint::put(out, varint::len(value) as u64);
    varint::put(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in_chunks(bytes: &[u8], chunk: usize) -> Result<Vec<Capsule>, CapsuleError> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for mut part in bytes.chunks(chunk.max(1)) {
            while let Some(capsule) = decoder.next(&mut part)? {
                out.push(capsule);
            }
        }
        decoder.finish().map(|()| out)
    }

    #[test]
    fn capsules_are_the_same_however_they_are_split() {
        let mut bytes = vec![0x21, 3, 1, 2, 3]; // reserved, as Chromium begins with
        put_max_data(&mut bytes, 1 << 40);
        put_max_streams(&mut bytes, true, 7);
        put_max_streams(&mut bytes, false, 1 << 60);
        put_data_blocked(&mut bytes, 9);
        put_streams_blocked(&mut bytes, false, 9);
        bytes.extend_from_slice(b"\x00\x05hello\x00\x00");
        put_drain(&mut bytes);
        bytes.extend_from_slice(&[0xc0, 0, 0, 0, 0, 0, 0x28, 0x43, 0x40, 0x07, 0, 0, 1, 0, b'b', b'y', b'e']);
        let expected = [
            Capsule::Unknown(0x21),
            Capsule::MaxData(1 << 40),
            Capsule::MaxStreams { bidi: true, max: 7 },
            Capsule::MaxStreams { bidi: false, max: 1 << 60 },
            Capsule::DataBlocked,
            Capsule::StreamsBlocked,
            Capsule::Datagram(Bytes::from_static(b"hello")),
            Capsule::Datagram(Bytes::new()),
            Capsule::Drain,
            Capsule::Close { code: 256, reason: "bye".to_owned() },
        ];
        for chunk in 1..=bytes.len() {
            assert_eq!(read_in_chunks(&bytes, chunk).as_deref(), Ok(&expected[..]), "chunks of {chunk}");
        }
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            let (mut first, mut second) = bytes.split_at(cut);
            let mut out = Vec::new();
            for part in [&mut first, &mut second] {
                while let Some(capsule) = decoder.next(part).unwrap() {
                    out.push(capsule);
                }
            }
            assert_eq!(out, expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_malformed_is_told() {
        let close = |len: usize, filler: u8| {
            let mut bytes = vec![0x68, 0x43];
            varint::put(&mut bytes, len as u64);
            bytes.resize(bytes.len() + len, filler);
            read_in_chunks(&bytes, 100)
        };
        let max_length = Capsule::Close { code: 0x6161_6161, reason: "a".repeat(MAX_REASON) };
        assert_eq!(close(4 + MAX_REASON, b'a'), Ok(vec![max_length]));
        assert_eq!(close(5 + MAX_REASON, b'a'), Err(CapsuleError::ReasonTooLong));
        assert_eq!(close(3, b'a'), Err(CapsuleError::Length(CLOSE)));
        assert_eq!(close(5, 0xff), Err(CapsuleError::ReasonNotUtf8));
        let numbered = |kind: u64, value: &[u8]| {
            let mut bytes = Vec::new();
            varint::put(&mut bytes, kind);
            varint::put(&mut bytes, value.len() as u64);
            bytes.extend_from_slice(value);
            read_in_chunks(&bytes, 3)
        };
        assert_eq!(numbered(DRAIN, b"x"), Err(CapsuleError::Length(DRAIN)));
        assert_eq!(numbered(MAX_DATA, b""), Err(CapsuleError::Length(MAX_DATA)));
        assert_eq!(numbered(MAX_DATA, b"\x40"), Err(CapsuleError::Value(MAX_DATA)));
        assert_eq!(numbered(MAX_DATA, b"\x01\x01"), Err(CapsuleError::Value(MAX_DATA)));
        let too_many = [0xd0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(numbered(STREAMS_BLOCKED_UNI, &too_many), Err(CapsuleError::Value(STREAMS_BLOCKED_UNI)));
        assert_eq!(numbered(MAX_STREAM_DATA, b"\x01\x01"), Err(CapsuleError::Prohibited(MAX_STREAM_DATA)));
        assert_eq!(numbered(STREAM_DATA_BLOCKED, b"\x01"), Err(CapsuleError::Prohibited(STREAM_DATA_BLOCKED)));
        let mut bytes = Vec::new();
        put_close(&mut bytes, 1, "reason");
        for cut in 1..bytes.len() {
            assert_eq!(read_in_chunks(&bytes[..cut], 2), Err(CapsuleError::Truncated), "cut at {cut}");
        }
        let huge = [0x21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(read_in_chunks(&huge, 1), Err(CapsuleError::Truncated), "skipped, not kept");
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let mut bytes = Vec::new();
        put_close(&mut bytes, 7, &"\u{e9}".repeat(600));
        let expected = Capsule::Close { code: 7, reason: "\u{e9}".repeat(512) };
        assert_eq!(read_in_chunks(&bytes, 64), Ok(vec![expected]));
        bytes.clear();
        put_close(&mut bytes, 7, &format!("a{}", "\u{e9}".repeat(600)));
        let expected = Capsule::Close { code: 7, reason: format!("a{}", "\u{e9}".repeat(511)) };
        assert_eq!(read_in_chunks(&bytes, 64), Ok(vec![expected]));
    }
}
