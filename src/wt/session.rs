//! One session: the state of its CONNECT stream.

use std::time::Instant;

use bytes::Bytes;

use super::flow::Flow;
use crate::transport::Unacked;
use crate::transport::timers::Armed;
use crate::wire::capsule::Decoder;

/// Who ended a WebTransport session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// This side closed it.
    Us,
    /// The peer closed it.
    Peer,
    /// Its connection ended, or its CONNECT stream was reset.
    Connection,
}

/// How a WebTransport session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// Who ended it.
    pub by: EndedBy,
    /// The application's code; 0 when none was given.
    pub code: u32,
    /// The reason, at most 1024 bytes; empty when none was given.
    pub reason: String,
}

impl std::fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.by {
            EndedBy::Us => write!(f, "closed by us with code {}", self.code)?,
            EndedBy::Peer => write!(f, "closed by the peer with code {}", self.code)?,
            EndedBy::Connection => f.write_str("ended with its connection")?,
        }
        match self.reason.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.reason.escape_debug()),
        }
    }
}

/// When a stream was aborted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abort {
    pub(crate) at: Instant,
    /// The bytes that the peer had acknowledged by then.
    pub(crate) acked: u64,
}

/// A session's state.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) decoder: Decoder,
    /// Capsules to send.
    pub(crate) out: Vec<u8>,
    /// Present if both sides enabled flow control.
    pub(crate) flow: Option<Box<Flow>>,
    /// It has ended. After a close by us its streams are aborted a little later.
    pub(crate) end: Option<SessionEnd>,
    pub(crate) ended_at: Instant,
    /// When this side's CLOSE capsule was sent.
    pub(crate) close_sent_at: Option<Instant>,
    /// Whether the peer has acknowledged the CLOSE capsule.
    pub(crate) close_unacked: Option<Unacked>,
    /// Bytes of the CONNECT stream that were read but not processed.
    pub(crate) unparsed: Bytes,
    /// A bidirectional stream could not be opened: notify the application when one can.
    pub(crate) wants_bidi: bool,
    /// As above, for unidirectional streams.
    pub(crate) wants_uni: bool,
    /// Streams that either side opened.
    pub(crate) streams: u64,
    /// Open bidirectional streams of the peer.
    pub(crate) peer_bidi: usize,
    /// Open unidirectional streams of the peer.
    pub(crate) peer_uni: usize,
    pub(crate) last_active: Instant,
    /// When a stream was last aborted by RESET_STREAM or STOP_SENDING.
    pub(crate) last_abort: Option<Abort>,
    /// When the application wants to be called.
    pub(crate) wake_at: Option<Instant>,
    pub(crate) armed: Armed,
}

impl SessionState {
    pub(crate) fn new(now: Instant, flow: Option<Flow>) -> Self {
        SessionState {
            decoder: Decoder::default(),
            out: Vec::new(),
            flow: flow.map(Box::new),
            end: None,
            ended_at: now,
            close_sent_at: None,
            close_unacked: None,
            unparsed: Bytes::new(),
            wants_bidi: false,
            wants_uni: false,
            streams: 0,
            peer_bidi: 0,
            peer_uni: 0,
            last_active: now,
            last_abort: None,
            wake_at: None,
            armed: Armed::default(),
        }
    }

    /// The peer's open streams of a kind.
    pub(crate) fn peer_streams(&mut self, bidi: bool) -> &mut usize {
        if bidi { &mut self.peer_bidi } else { &mut self.peer_uni }
    }

    /// A peer's stream has ended: its credit returns.
    pub(crate) fn on_stream_over(&mut self, bidi: bool) {
        if let Some(flow) = &mut self.flow {
            flow.on_stream_over(bidi, &mut self.out);
        }
    }

    /// Whether the session's own flow control allows opening a stream.
    pub(crate) fn can_open(&self, bidi: bool) -> bool {
        self.flow.as_ref().is_none_or(|flow| flow.can_open(bidi))
    }
}
