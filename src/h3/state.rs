//! What the engine keeps for a request stream.

use http::{HeaderMap, StatusCode};
use quiche::h3;

use super::priority::Priority;
use super::stream::ResponseHead;
use super::validate::{Head, content_length};
use crate::error::{ErrorCode, StreamError, Violation};
use crate::quic::timers::Armed;

/// One direction of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Open,
    Finished,
    Failed(StreamError),
}

/// What waits in front of the body because quiche had no room for it.
#[derive(Debug, Default)]
pub(super) struct Queued {
    pub(super) heads: Vec<(HeadKind, Vec<h3::Header>)>,
    pub(super) fin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadKind {
    Informational,
    Final,
    Trailers,
}

/// What the engine keeps for a stream.
#[derive(Debug)]
pub(crate) struct StreamState {
    pub(super) recv: Half,
    pub(super) send: Half,
    pub(super) declared: Option<u64>,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) staged: Option<Box<ResponseHead>>,
    pub(super) queued: Option<Box<Queued>>,
    pub(super) trailers: Option<Box<HeaderMap>>,
    pub(crate) priority: Priority,
    pub(super) status: Option<StatusCode>,
    /// quiche was given a head, so further ones are "additional".
    pub(super) head_sent: bool,
    /// A response to HEAD ends with its head.
    pub(super) bodiless: bool,
    pub(super) expects_continue: bool,
    /// A request of ours was HEAD, whose response has no body.
    asked_head: bool,
    /// A request of ours whose final response has not come.
    awaiting: bool,
    informational: u8,
    /// An extended CONNECT: what follows its head is no body, and its datagrams are a session's.
    connect: bool,
    /// A writer waits for room.
    pub(crate) wants_write: bool,
    /// A `Ready` event for the stream is in the queue.
    pub(crate) announced: bool,
    /// The application is through with the stream.
    pub(crate) released: bool,
    /// Body bytes thrown away since the release.
    pub(super) discarded: u64,
    pub(crate) armed: Armed,
}

/// What handles tell the connection.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    /// Some stream waits for room.
    pub(crate) blocked: bool,
    /// Body bytes were read, so quiche::h3 may have more to say.
    pub(crate) repoll: bool,
    /// Messages found malformed while their bodies were read.
    pub(crate) malformed: u64,
    /// Streams with something to read that quiche::h3 says nothing more of: it forgets to, behind an empty DATA frame.
    pub(crate) unread: Vec<u64>,
    /// Streams of sessions whose end waits until what is before it is acknowledged.
    pub(crate) held: Vec<u64>,
}

impl StreamState {
    /// The state of a request with a valid head.
    pub(crate) fn new(head: &Head, priority: Priority) -> Self {
        let expect = head.headers.get(http::header::EXPECT);
        StreamState {
            declared: head.content_length,
            expects_continue: expect.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue")),
            connect: head.protocol.is_some(),
            priority,
            ..Self::unread(head.method == http::Method::HEAD)
        }
    }

    /// The state of a request that the engine answers itself.
    pub(crate) fn unread(bodiless: bool) -> Self {
        StreamState {
            recv: Half::Open,
            send: Half::Open,
            declared: None,
            received: 0,
            sent: 0,
            staged: None,
            queued: None,
            trailers: None,
            priority: Priority::default(),
            status: None,
            head_sent: false,
            bodiless,
            expects_continue: false,
            asked_head: false,
            awaiting: false,
            informational: 0,
            connect: false,
            wants_write: false,
            announced: false,
            released: false,
            discarded: 0,
            armed: Armed::default(),
        }
    }

    /// The state of a request that we send. Its head has left.
    pub(crate) fn asked(is_head: bool, end: bool, connect: bool) -> Self {
        StreamState {
            awaiting: true,
            connect,
            status: Some(StatusCode::OK),
            head_sent: true,
            send: if end { Half::Finished } else { Half::Open },
            asked_head: is_head,
            ..Self::unread(false)
        }
    }

    /// Whether the final response to a request of ours is still to come.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.awaiting
    }

    /// Counts informational responses.
    pub(crate) fn on_informational(&mut self) -> u8 {
        self.informational = self.informational.saturating_add(1);
        self.informational
    }

    /// The final response to a request of ours.
    pub(crate) fn on_response(&mut self, head: &ResponseHead) -> Result<(), Violation> {
        self.awaiting = false;
        let bodiless = self.asked_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.declared = if bodiless { None } else { content_length(&head.headers)? };
        Ok(())
    }

    /// The session that was asked for is refused: what follows is an ordinary body.
    pub(crate) fn connect_refused(&mut self) {
        self.connect = false;
    }

    /// The peer's FIN was reached. False if that was known already; an error if the body is not as long as declared.
    pub(crate) fn on_finished(&mut self) -> Result<bool, Violation> {
        if self.recv != Half::Open {
            return Ok(false);
        }
        if self.awaiting {
            return Err(Violation::Incomplete);
        }
        if let Some(declared) = self.declared.filter(|declared| *declared != self.received) {
            return Err(Violation::ContentLengthMismatch { declared, received: self.received });
        }
        self.recv = Half::Finished;
        Ok(true)
    }

    pub(crate) fn on_reset(&mut self, code: u64) {
        if self.recv == Half::Open {
            self.recv = Half::Failed(StreamError::Reset(ErrorCode(code)));
        }
    }

    pub(crate) fn on_stopped(&mut self, code: u64) {
        if self.send == Half::Open {
            self.send = Half::Failed(StreamError::Stopped(ErrorCode(code)));
        }
    }

    pub(crate) fn on_trailers(&mut self, trailers: HeaderMap) {
        self.trailers = Some(Box::new(trailers));
    }

    /// Both directions fail at once, as when the message is malformed.
    pub(crate) fn fail(&mut self, error: StreamError) {
        for half in [&mut self.recv, &mut self.send] {
            if *half == Half::Open {
                *half = Half::Failed(error.clone());
            }
        }
    }

    pub(crate) fn is_connect(&self) -> bool {
        self.connect
    }

    /// HTTP datagrams belong to a stream until its receiving half is over (RFC 9297 section 2.1).
    pub(crate) fn takes_datagrams(&self) -> bool {
        self.recv == Half::Open && !self.connect && !self.released
    }

    pub(crate) fn is_receiving(&self) -> bool {
        self.recv == Half::Open
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.send == Half::Open
    }

    /// Nothing is left to do in either direction.
    pub(crate) fn is_complete(&self) -> bool {
        self.recv != Half::Open && self.send != Half::Open && self.queued.is_none()
    }

    /// How it ended, once it is complete.
    pub(crate) fn end(&self) -> StreamEnd {
        match (&self.recv, &self.send) {
            (Half::Finished, Half::Finished) => StreamEnd::Whole,
            (_, Half::Finished) => StreamEnd::Answered,
            _ => StreamEnd::Cut,
        }
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// Both messages were whole.
    Whole,
    /// The answer was whole, the request was not.
    Answered,
    /// The answer was not whole.
    Cut,
}
