//! HTTP/3 messages on request streams, without the connection-wide state that `quiche::h3` keeps for them.
//!
//! A client that sends one and the same request needs to encode it only once, and of the answers it wants no more than
//! status and length. That halves the client's work per request; the control streams remain `quiche::h3`'s.

use bytes::Bytes;
use quiche::h3::{self, NameValue, qpack};

use crate::Result;

/// Frame types (RFC 9114, section 7.2).
const DATA: u64 = 0;
const HEADERS: u64 = 1;

/// Longest HEADERS frame taken from the server.
const MAX_HEADERS: u64 = 16 << 10;

/// Encodes the HEADERS frame of a request and, for a body of `upload` bytes, the header of its one DATA frame.
pub(crate) fn request(authority: &str, path: &str, upload: u64) -> Result<Bytes> {
    let method = if upload > 0 { "POST" } else { "GET" };
    let length = upload.to_string();
    let mut headers = vec![
        (":method", method),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
        ("user-agent", "load"),
    ];
    if upload > 0 {
        headers.push(("content-length", &length));
    }
    // Generous: five short fields and the URL, uncompressed.
    let mut block = vec![0; 256 + authority.len() + path.len()];
    let len = qpack::Encoder::new().encode(&headers, &mut block)?;

    let mut out = Vec::new();
    put_varint(&mut out, HEADERS);
    put_varint(&mut out, len as u64);
    out.extend(&block[..len]);
    if upload > 0 {
        put_varint(&mut out, DATA);
        put_varint(&mut out, upload);
    }
    Ok(out.into())
}

/// Turns header blocks into status codes, and mostly by finding that it is the same block as the last one.
#[derive(Default)]
pub(crate) struct Statuses {
    block: Vec<u8>,
    status: Option<u16>,
}

impl Statuses {
    /// The status in `block`; `None` when it has none, as in trailers.
    fn of(&mut self, block: &[u8]) -> std::result::Result<Option<u16>, String> {
        if block != self.block {
            let list = qpack::Decoder::new()
                .decode(block, MAX_HEADERS * 4)
                .map_err(|e| format!("answer with undecodable headers: {e:?}"))?;
            self.status = status(&list);
            self.block.clear();
            self.block.extend(block);
        }
        Ok(self.status)
    }
}

fn status(list: &[h3::Header]) -> Option<u16> {
    let field = list.iter().find(|field| field.name() == b":status")?;
    str::from_utf8(field.value()).ok()?.parse().ok()
}

/// Reads one answer as it comes in.
#[derive(Default)]
pub(crate) struct Answer {
    /// The last status seen, so the final one after interim ones.
    pub(crate) status: Option<u16>,
    /// Bytes left of a frame whose header was read, and whether they are body.
    left: u64,
    is_body: bool,
    /// The begin of a frame header or of a HEADERS frame that is not all here yet.
    partial: Vec<u8>,
}

impl Answer {
    /// Takes the next bytes of the stream and hands those of the body to `body`.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        statuses: &mut Statuses,
        body: impl FnMut(&[u8]),
    ) -> std::result::Result<(), String> {
        if self.partial.is_empty() {
            return self.frames(bytes, statuses, body);
        }
        let mut all = std::mem::take(&mut self.partial);
        all.extend(bytes);
        self.frames(&all, statuses, body)
    }

    /// Whether the stream may end here.
    pub(crate) fn is_complete(&self) -> bool {
        self.status.is_some_and(|status| status >= 200) && self.left == 0 && self.partial.is_empty()
    }

    fn frames(
        &mut self,
        mut bytes: &[u8],
        statuses: &mut Statuses,
        mut body: impl FnMut(&[u8]),
    ) -> std::result::Result<(), String> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let (now, rest) = bytes.split_at(bytes.len().min(self.left as usize));
                if self.is_body {
                    body(now);
                }
                self.left -= now.len() as u64;
                bytes = rest;
                continue;
            }
            let Some((kind, len, payload)) = frame(bytes) else {
                self.partial = bytes.into();
                break;
            };
            if kind != HEADERS {
                self.is_body = kind == DATA;
                self.left = len;
                bytes = payload;
            } else if len > MAX_HEADERS {
                return Err(format!("answer with {len} bytes of headers"));
            } else if let Some((block, rest)) = payload.split_at_checked(len as usize) {
                self.status = statuses.of(block)?.or(self.status);
                bytes = rest;
            } else {
                self.partial = bytes.into();
                break;
            }
        }
        Ok(())
    }
}

/// Type and length of the frame that `bytes` begin with, and what follows these.
fn frame(bytes: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (kind, rest) = varint(bytes)?;
    let (len, rest) = varint(rest)?;
    Some((kind, len, rest))
}

/// A variable-length integer (RFC 9000, section 16) and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let (number, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let value = number[1..].iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, rest))
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend((value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend((value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend((value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}
