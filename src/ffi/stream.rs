//! A request, a response or a stream of a session, between the caller and the engine. No I/O here: the caller's calls
//! leave what `pump` passes on, and take what it has left.

use std::collections::VecDeque;
use std::mem::MaybeUninit;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderValue};

use super::code::{
    MQ_ERR_AGAIN, MQ_ERR_RESET, MQ_ERR_STATE, MQ_ERR_STOPPED, MQ_ERR_UNSUPPORTED, Outcome, because, fail,
};
use super::memory;
use crate::h3::ResponseHead;
use crate::transport::table::StreamId;

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// On a server: a request, and the response to it.
    Request {
        /// The response has no body.
        is_head: bool,
    },
    /// On a client.
    Response,
    /// Bytes of a session.
    Session,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) kind: Kind,
    /// The connection of a request, the session of a stream.
    pub(super) parent: u64,
    /// Where it is, once it is there.
    pub(super) at: Option<StreamId>,
    /// The engine will look at it.
    pub(super) dirty: bool,
    /// The caller does not need it any more.
    pub(super) released: bool,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    /// What the caller wants to end early, and the codes.
    pub(super) aborts: Aborts,
}

/// The receiving direction.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) chunks: VecDeque<Bytes>,
    /// Bytes in them.
    pub(super) len: usize,
    pub(super) state: Received,
    /// An event has told the caller, who has not read everything yet.
    pub(super) announced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// More may come.
    Open,
    /// Everything is here.
    Ended,
    /// The caller has read the end, or there is nothing to receive.
    Closed,
    /// Reset.
    Failed,
}

/// The sending direction.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) informational: VecDeque<ResponseHead>,
    pub(super) head: Option<ResponseHead>,
    /// A response that has no head yet.
    pub(super) needs_head: bool,
    /// There is no body to send, whatever the caller writes.
    pub(super) bodiless: bool,
    pub(super) chunks: VecDeque<Bytes>,
    /// Bytes in them.
    pub(super) len: usize,
    pub(super) end: Option<End>,
    pub(super) state: Sent,
    /// A write was cut, so the caller waits for room.
    pub(super) wants_room: bool,
}

/// How the sending direction ends.
#[derive(Debug)]
pub(super) enum End {
    Plain,
    Trailers(HeaderMap),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Open,
    /// The engine has everything, or there is nothing to send.
    Closed,
    /// Stopped.
    Failed,
}

/// What is to be aborted, with the codes of the application.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aborts {
    pub(super) both: Option<u64>,
    pub(super) send: Option<u64>,
    pub(super) receive: Option<u64>,
}

impl Stream {
    pub(super) fn new(kind: Kind, parent: u64, receives: bool, sends: bool) -> Self {
        Stream {
            kind,
            parent,
            at: None,
            dirty: false,
            released: false,
            receiving: Receiving {
                chunks: VecDeque::new(),
                len: 0,
                state: if receives { Received::Open } else { Received::Closed },
                announced: false,
            },
            sending: Sending {
                informational: VecDeque::new(),
                head: None,
                needs_head: matches!(kind, Kind::Request { .. }),
                bodiless: kind == Kind::Request { is_head: true },
                chunks: VecDeque::new(),
                len: 0,
                end: None,
                state: if sends { Sent::Open } else { Sent::Closed },
                wants_room: false,
            },
            aborts: Aborts::default(),
        }
    }

    /// Whether nothing is left to do, so that the id ends.
    pub(super) fn is_over(&self) -> bool {
        let sent = self.sending.state != Sent::Open;
        let received = matches!(self.receiving.state, Received::Closed | Received::Failed);
        self.released
            || match self.kind {
                // What is unread of a request is discarded once it has its response.
                Kind::Request { .. } => sent && (received || self.sending.state == Sent::Closed),
                Kind::Response => received,
                Kind::Session => sent && received,
            }
    }

    /// Queues an informational response.
    pub(super) fn inform(&mut self, head: ResponseHead) -> Outcome<()> {
        /// More make no sense before one response.
        const MOST: usize = 16;
        if !self.sending.needs_head || self.sending.informational.len() >= MOST {
            return because(MQ_ERR_STATE, "informational responses come before the response, and are few");
        }
        self.sending.informational.push_back(head);
        Ok(())
    }

    /// Queues the head of a response and the beginning of its body, of which at most `bound` bytes wait. With `end`, the
    /// body is all of it. Returns how many bytes were taken.
    pub(super) fn respond(&mut self, mut head: ResponseHead, body: &[u8], end: bool, bound: usize) -> Outcome<usize> {
        self.sending.check()?;
        if !std::mem::take(&mut self.sending.needs_head) {
            return because(MQ_ERR_STATE, "there is a response already");
        }
        let status = head.status.as_u16();
        let contentless = matches!(status, 204 | 205 | 304);
        if end && !contentless {
            head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(body.len()));
        }
        self.sending.bodiless |= contentless;
        self.sending.head = Some(head);
        self.write(body, end, bound)
    }

    /// Queues bytes to send, of which at most `bound` wait. With `end`, nothing follows. Returns how many were taken; the end
    /// counts only if all were.
    pub(super) fn write(&mut self, data: &[u8], end: bool, bound: usize) -> Outcome<usize> {
        let sending = &mut self.sending;
        sending.check()?;
        if sending.needs_head {
            return because(MQ_ERR_STATE, "a response begins with its head");
        }
        let room = bound.saturating_sub(sending.len);
        let taken = if sending.bodiless { data.len() } else { data.len().min(room) };
        if taken > 0 && !sending.bodiless {
            sending.chunks.push_back(Bytes::copy_from_slice(&data[..taken]));
            sending.len += taken;
        }
        if taken < data.len() {
            sending.wants_room = true;
            if taken == 0 {
                return fail(MQ_ERR_AGAIN);
            }
        } else if end {
            sending.end = Some(End::Plain);
        }
        Ok(taken)
    }

    /// Ends the sending direction.
    pub(super) fn finish(&mut self, trailers: HeaderMap) -> Outcome<()> {
        self.sending.check()?;
        if self.sending.needs_head {
            return because(MQ_ERR_STATE, "a response begins with its head");
        }
        self.sending.end = Some(match trailers.is_empty() {
            true => End::Plain,
            false if self.kind == Kind::Session => {
                return because(MQ_ERR_UNSUPPORTED, "a stream of a session has no trailers");
            }
            false => End::Trailers(trailers),
        });
        Ok(())
    }

    /// Takes received bytes: the number, or 0 at the end.
    pub(super) fn read(&mut self, room: &mut [MaybeUninit<u8>]) -> Outcome<usize> {
        let receiving = &mut self.receiving;
        receiving.check()?;
        let mut taken = 0;
        while let Some(chunk) = receiving.chunks.front_mut().filter(|_| taken < room.len()) {
            let copied = memory::fill(&mut room[taken..], chunk);
            taken += copied;
            receiving.len -= copied;
            if copied == chunk.len() {
                receiving.chunks.pop_front();
            } else {
                let _ = chunk.split_to(copied);
            }
        }
        self.after_read(taken, room.is_empty())
    }

    /// Takes the next received bytes without a copy; none at the end.
    pub(super) fn read_chunk(&mut self) -> Outcome<Bytes> {
        self.receiving.check()?;
        let chunk = self.receiving.chunks.pop_front().unwrap_or_default();
        self.receiving.len -= chunk.len();
        self.after_read(chunk.len(), false).map(|_| chunk)
    }

    fn after_read(&mut self, taken: usize, no_room: bool) -> Outcome<usize> {
        let receiving = &mut self.receiving;
        if taken > 0 {
            return Ok(taken);
        }
        match receiving.state {
            _ if no_room && receiving.len > 0 => fail(MQ_ERR_AGAIN),
            Received::Open => {
                receiving.announced = false;
                fail(MQ_ERR_AGAIN)
            }
            _ => {
                receiving.state = Received::Closed;
                Ok(0)
            }
        }
    }

    /// Ends both directions early.
    pub(super) fn abort(&mut self, code: u64) {
        self.aborts.both = Some(code);
        self.receiving.close();
        self.sending.close();
    }

    /// Ends the sending direction early, on a stream of a session.
    pub(super) fn abort_sending(&mut self, code: u64) -> Outcome<()> {
        self.must_be_of_session()?;
        self.sending.check()?;
        self.aborts.send = Some(code);
        self.sending.close();
        Ok(())
    }

    /// Ends the receiving direction early, on a stream of a session.
    pub(super) fn abort_receiving(&mut self, code: u64) -> Outcome<()> {
        self.must_be_of_session()?;
        self.receiving.check()?;
        self.aborts.receive = Some(code);
        self.receiving.close();
        Ok(())
    }

    fn must_be_of_session(&self) -> Outcome<()> {
        match self.kind {
            Kind::Session => Ok(()),
            _ => because(MQ_ERR_UNSUPPORTED, "a request and its response can only be aborted together, by mq_reset"),
        }
    }
}

impl Receiving {
    fn check(&self) -> Outcome<()> {
        match self.state {
            Received::Failed => fail(MQ_ERR_RESET),
            Received::Closed => because(MQ_ERR_STATE, "there is nothing more to receive"),
            Received::Open | Received::Ended => Ok(()),
        }
    }

    fn close(&mut self) {
        self.state = Received::Closed;
        self.chunks.clear();
        self.len = 0;
    }

    /// The peer has ended it early.
    pub(super) fn fail(&mut self) {
        self.close();
        self.state = Received::Failed;
    }
}

impl Sending {
    fn check(&self) -> Outcome<()> {
        match self.state {
            Sent::Failed => fail(MQ_ERR_STOPPED),
            Sent::Open if self.end.is_none() => Ok(()),
            _ => because(MQ_ERR_STATE, "the sending direction has ended"),
        }
    }

    fn close(&mut self) {
        self.state = Sent::Closed;
        self.drop_unsent();
    }

    fn drop_unsent(&mut self) {
        self.chunks.clear();
        self.len = 0;
        self.end = None;
        self.head = None;
        self.informational.clear();
    }

    /// The peer has ended it early.
    pub(super) fn fail(&mut self) {
        self.drop_unsent();
        self.state = Sent::Failed;
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn head(status: u16) -> ResponseHead {
        ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new() }
    }

    fn request(is_head: bool) -> Stream {
        Stream::new(Kind::Request { is_head }, 0, true, true)
    }

    fn read(stream: &mut Stream, cap: usize) -> Result<Vec<u8>, i32> {
        let mut room = vec![MaybeUninit::new(0); cap];
        let taken = stream.read(&mut room).map_err(|failure| failure.code)?;
        // SAFETY: all of it was initialized above.
        Ok(room[..taken].iter().map(|byte| unsafe { byte.assume_init() }).collect())
    }

    #[test]
    fn a_response_is_taken_up_to_the_bound() {
        let mut stream = request(false);
        assert_eq!(stream.write(b"x", false, 8).unwrap_err().code, MQ_ERR_STATE, "no head yet");
        assert_eq!(stream.respond(head(200), b"0123456789", true, 8).unwrap(), 8);
        assert_eq!(stream.sending.head.as_ref().unwrap().headers["content-length"], "10");
        assert!(stream.sending.end.is_none() && stream.sending.wants_room);
        assert_eq!(stream.write(b"89", true, 8).unwrap_err().code, MQ_ERR_AGAIN);
        (stream.sending.chunks, stream.sending.len) = Default::default();
        assert_eq!(stream.write(b"89", true, 8).unwrap(), 2);
        assert_eq!(stream.write(b"", false, 8).unwrap_err().code, MQ_ERR_STATE, "after the end");
        assert_eq!(stream.respond(head(200), b"", true, 8).unwrap_err().code, MQ_ERR_STATE);
    }

    #[test]
    fn a_response_without_a_body_takes_and_drops_it() {
        for (mut stream, status, length) in [(request(true), 200, Some("5")), (request(false), 304, None)] {
            assert_eq!(stream.respond(head(status), b"12345", true, 2).unwrap(), 5);
            let headers = &stream.sending.head.as_ref().unwrap().headers;
            assert_eq!(headers.get("content-length").map(|value| value.to_str().unwrap()), length);
            assert_eq!((stream.sending.len, stream.sending.chunks.len()), (0, 0));
        }
    }

    #[test]
    fn what_was_received_is_read_in_order_to_its_end() {
        let mut stream = request(false);
        assert_eq!(read(&mut stream, 4), Err(MQ_ERR_AGAIN));
        stream.receiving.chunks.extend([Bytes::from_static(b"abc"), Bytes::from_static(b"defg")]);
        (stream.receiving.len, stream.receiving.announced) = (7, true);
        assert_eq!(read(&mut stream, 0), Err(MQ_ERR_AGAIN), "no room");
        assert_eq!(read(&mut stream, 4).unwrap(), b"abcd");
        assert_eq!(stream.read_chunk().unwrap(), "efg");
        assert!(stream.receiving.announced);
        assert_eq!(read(&mut stream, 4), Err(MQ_ERR_AGAIN));
        assert!(!stream.receiving.announced, "the next event may come");
        stream.receiving.state = Received::Ended;
        assert_eq!(read(&mut stream, 4).unwrap(), b"");
        assert_eq!(read(&mut stream, 4), Err(MQ_ERR_STATE));
        assert!(!stream.is_over(), "the response is open");
    }

    #[test]
    fn directions_of_a_session_stream_end_apart() {
        let mut stream = Stream::new(Kind::Session, 0, true, true);
        assert!(stream.abort_sending(7).is_ok());
        assert_eq!(stream.write(b"x", false, 8).unwrap_err().code, MQ_ERR_STATE);
        assert!(!stream.is_over());
        assert!(stream.abort_receiving(8).is_ok());
        assert!(stream.is_over());
        assert_eq!((stream.aborts.send, stream.aborts.receive), (Some(7), Some(8)));
        assert_eq!(request(false).abort_sending(1).unwrap_err().code, MQ_ERR_UNSUPPORTED);
        let mut stopped = Stream::new(Kind::Session, 0, false, true);
        stopped.sending.fail();
        assert_eq!(stopped.write(b"x", false, 8).unwrap_err().code, MQ_ERR_STOPPED);
        assert!(stopped.is_over());
    }
}
