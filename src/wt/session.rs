//! One session: what lives on its CONNECT stream.

use std::time::Instant;

use super::flow::Flow;
use crate::quic::timers::Armed;
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

/// A session's state.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) decoder: Decoder,
    /// Capsules to be sent.
    pub(crate) out: Vec<u8>,
    /// Present when both sides asked for flow control.
    pub(crate) flow: Option<Box<Flow>>,
    /// It has ended; its streams are cut off a little later.
    pub(crate) end: Option<SessionEnd>,
    /// A stream could not be opened: the application wants to know when one can.
    pub(crate) wants_streams: bool,
    /// Streams of the peer's that are open.
    pub(crate) peer_streams: usize,
    pub(crate) last_active: Instant,
    /// When a stream was given up last, by RESET_STREAM or STOP_SENDING.
    pub(crate) last_cut: Option<Instant>,
    pub(crate) armed: Armed,
}

impl SessionState {
    pub(crate) fn new(now: Instant, flow: Option<Flow>) -> Self {
        SessionState {
            decoder: Decoder::default(),
            out: Vec::new(),
            flow: flow.map(Box::new),
            end: None,
            wants_streams: false,
            peer_streams: 0,
            last_active: now,
            last_cut: None,
            armed: Armed::default(),
        }
    }
}
