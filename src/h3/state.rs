//! The engine's state of a request stream.

use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::head::ResponseHead;
use super::priority::Priority;
use super::validate::{Head, content_length};
use crate::error::{ErrorCode, StreamError, Violation};
use crate::transport::timers::Armed;
use crate::transport::{Header, Section};

/// One direction of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Open,
    Finished,
    Failed(StreamError),
}

/// Field sections, and the FIN, that wait for credit.
#[derive(Debug, Default)]
pub(super) struct Queued {
    pub(super) sections: Vec<(Section, Vec<Header>)>,
    pub(super) fin: bool,
}

/// A request stream, on either side.
#[derive(Debug)]
pub(crate) struct RequestState {
    pub(super) recv: Half,
    pub(super) send: Half,
    pub(super) declared: Option<u64>,
    pub(super) received: u64,
    /// The application's limit on the body.
    pub(crate) max_body: Option<u64>,
    pub(super) sent: u64,
    pub(super) staged: Option<Box<ResponseHead>>,
    pub(super) queued: Option<Box<Queued>>,
    pub(super) trailers: Option<Box<HeaderMap>>,
    pub(crate) priority: Priority,
    pub(super) status: Option<StatusCode>,
    /// A field section was sent.
    pub(super) head_sent: bool,
    /// The response ends with its head: one to HEAD, or one whose status has no content.
    pub(super) bodiless: bool,
    pub(super) expects_continue: bool,
    /// A request sent here was HEAD, whose response has no content.
    sent_head: bool,
    /// The received response has no content, whatever its `content-length` says (RFC 9110 section 6.4.1).
    pub(super) contentless: bool,
    /// A request sent here whose final response has not arrived.
    awaits_response: bool,
    informational: u8,
    /// An extended CONNECT: capsules follow its head, and its datagrams belong to a session.
    connect: bool,
    /// The signal of a session's stream, which is not allowed here, may follow.
    pub(crate) is_signal_possible: bool,
    /// A `Ready` event for the stream is in the queue.
    pub(crate) ready_queued: bool,
    /// The application released the stream.
    pub(crate) released: bool,
    /// Body bytes discarded since the release.
    pub(super) discarded: u64,
    pub(crate) armed: Armed,
}

impl RequestState {
    /// The state of a request with a valid head. `more`: a body can follow.
    pub(crate) fn new(head: &Head, priority: Priority, more: bool) -> Self {
        let is_continue = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        RequestState {
            declared: head.content_length,
            expects_continue: more && head.headers.get_all(EXPECT).iter().any(is_continue),
            connect: head.protocol.is_some(),
            priority,
            ..Self::unread(head.method == Method::HEAD)
        }
    }

    /// The state of a request that the engine answers itself.
    pub(crate) fn unread(bodiless: bool) -> Self {
        RequestState {
            recv: Half::Open,
            send: Half::Open,
            declared: None,
            received: 0,
            max_body: None,
            sent: 0,
            staged: None,
            queued: None,
            trailers: None,
            priority: Priority::default(),
            status: None,
            head_sent: false,
            bodiless,
            expects_continue: false,
            sent_head: false,
            contentless: false,
            awaits_response: false,
            informational: 0,
            connect: false,
            is_signal_possible: false,
            ready_queued: false,
            released: false,
            discarded: 0,
            armed: Armed::default(),
        }
    }

    /// The state of a request sent here, after its head.
    pub(crate) fn sent(is_head: bool, end: bool, connect: bool) -> Self {
        RequestState {
            awaits_response: true,
            connect,
            status: Some(StatusCode::OK),
            head_sent: true,
            send: if end { Half::Finished } else { Half::Open },
            sent_head: is_head,
            ..Self::unread(false)
        }
    }

    /// Whether the final response to a request sent here is still outstanding.
    pub(crate) fn awaits_response(&self) -> bool {
        self.awaits_response
    }

    /// Counts informational responses.
    pub(crate) fn on_informational(&mut self) -> u8 {
        self.informational = self.informational.saturating_add(1);
        self.informational
    }

    /// Notes the final response to a request sent here.
    pub(crate) fn on_response(&mut self, head: &ResponseHead) -> Result<(), Violation> {
        self.awaits_response = false;
        // RFC 9110 section 9.3.6: capsules follow, and `content-length` is ignored.
        let is_tunnel = self.connect && head.status.is_success();
        self.contentless = !is_tunnel && (self.sent_head || matches!(head.status.as_u16(), 204 | 304));
        self.declared = match is_tunnel || self.contentless {
            true => None,
            false => content_length(head.headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes))?,
        };
        Ok(())
    }

    /// The server rejected a session: an ordinary body follows.
    pub(crate) fn connect_refused(&mut self) {
        self.connect = false;
    }

    /// The peer's FIN was reached. False if that was known already; an error if the body is not as long as declared.
    pub(crate) fn on_finished(&mut self) -> Result<bool, Violation> {
        if self.recv != Half::Open {
            return Ok(false);
        }
        if self.awaits_response {
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

    /// Whether trailers have arrived, after which nothing may follow (RFC 9114 section 4.1).
    pub(crate) fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// Whether a field section waits for credit.
    pub(crate) fn has_queued_section(&self) -> bool {
        self.queued.as_ref().is_some_and(|queued| !queued.sections.is_empty())
    }

    /// Fails both directions, e.g. if the message is malformed.
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

    /// The body bytes received and sent.
    pub(crate) fn moved(&self) -> (u64, u64) {
        (self.received, self.sent)
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.send == Half::Open
    }

    /// Whether both directions have ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.recv != Half::Open && self.send != Half::Open && self.queued.is_none()
    }

    /// How it ended, once it is complete.
    pub(crate) fn end(&self) -> StreamEnd {
        match (&self.recv, &self.send) {
            (Half::Finished, Half::Finished) => StreamEnd::Whole,
            (_, Half::Finished) => StreamEnd::Answered,
            _ => StreamEnd::Aborted,
        }
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// Both messages were complete.
    Whole,
    /// The sent message was complete, the received one was not.
    Answered,
    /// The sent message was not complete.
    Aborted,
}
