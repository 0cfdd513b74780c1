//! One request under way, or one stream of a session.

use std::time::Instant;

use bytes::Bytes;
use mio_quiche::{ErrorCode, Recv, Stream, StreamError};

/// A request, or its equivalent in a session.
pub(super) struct Request {
    pub(super) slot: usize,
    /// When it was due.
    pub(super) since: Instant,
    pub(super) begun: Instant,
    /// Not part of the warm-up.
    pub(super) counts: bool,
    pub(super) status: u16,
    pub(super) received: u64,
    /// Bytes that are still to be sent.
    pub(super) left: u64,
    pub(super) ended: bool,
}

impl Request {
    /// Sends what is left of `body`, or else of zeros. Returns true when everything is sent and read.
    pub(super) fn advance(
        &mut self,
        stream: &mut Stream<'_>,
        body: Option<&Bytes>,
        block: &Bytes,
        scratch: &mut [u8],
    ) -> Result<bool, StreamError> {
        while !self.ended {
            let mut piece = match body {
                Some(body) => body.slice(body.len().saturating_sub(self.left as usize)..),
                None => block.slice(..self.left.min(block.len() as u64) as usize),
            };
            let len = piece.len();
            let last = len as u64 == self.left;
            self.ended = match last {
                true => stream.finish_with(&mut piece)?,
                false => stream.write_bytes(&mut piece).map(|_| false)?,
            };
            self.left -= (len - piece.len()) as u64;
            if last || !piece.is_empty() {
                break;
            }
        }
        loop {
            match stream.read(scratch)? {
                Recv::Data(n) => self.received += n as u64,
                Recv::Pending => return Ok(false),
                Recv::Finished => return Ok(true),
            }
        }
    }
}

pub(super) fn kind(error: &StreamError) -> &'static str {
    match error {
        StreamError::Reset(code) if *code == ErrorCode::H3_REQUEST_REJECTED => "rejected",
        StreamError::Reset(_) => "reset",
        StreamError::Stopped(_) => "stopped",
        StreamError::Malformed(_) => "malformed",
        _ => "connection",
    }
}
