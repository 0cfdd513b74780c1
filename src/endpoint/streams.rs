//! The one table of a connection's streams.
//!
//! A stream that quiche has and this side still uses has exactly one entry, its current kind:
//!
//! ```text
//! Classifying -> Http -> Request ----> (removed)
//!      |-> Buffered -> Session ------> (removed)
//!      |      `-> Discarding --------> (removed)
//!      `-> Discarding ---------------> (removed)
//! ```
//!
//! A stream of ours enters as a request or as a session's; a bidirectional one that is refused is removed at once. A
//! connection without sessions classifies nothing: its streams enter as requests. `transport/gone.rs` remembers removed
//! streams that quiche still holds.

use crate::h3::RequestState;
use crate::transport::table::StreamMap;
use crate::wt::{PartialHeader, SessionStreamState};

/// The kind of a stream. The large kinds are boxed, as the streams that every idle connection has are `Http`.
#[derive(Debug)]
pub(super) enum StreamState {
    /// Its header, which determines the kind, is not complete.
    Classifying(PartialHeader),
    /// It names a session that is not open yet; with `fin` it ends after its header.
    Buffered { session: u64, fin: bool },
    /// quiche::h3 has it, and has reported no request on it.
    Http,
    /// A request and its response.
    Request(Box<RequestState>),
    /// A stream of a session.
    Session(Box<SessionStreamState>),
    /// Its data is discarded.
    Discarding,
}

/// The table, with counts that would otherwise need a scan.
#[derive(Debug, Default)]
pub(super) struct Streams {
    map: StreamMap<StreamState>,
    /// Those of kind `Http`, in order. Every idle connection has some, which do not need the map.
    http: Vec<u64>,
    requests: u32,
    of_sessions: u32,
}

impl Streams {
    pub(super) fn get(&self, stream: u64) -> Option<&StreamState> {
        const HTTP: StreamState = StreamState::Http;
        self.map.get(&stream).or_else(|| self.http.binary_search(&stream).is_ok().then_some(&HTTP))
    }

    /// The request on a stream.
    pub(super) fn request(&self, stream: u64) -> Option<&RequestState> {
        match self.map.get(&stream)? {
            StreamState::Request(state) => Some(state),
            _ => None,
        }
    }

    pub(super) fn request_mut(&mut self, stream: u64) -> Option<&mut RequestState> {
        match self.map.get_mut(&stream)? {
            StreamState::Request(state) => Some(state),
            _ => None,
        }
    }

    /// A stream of a session.
    pub(super) fn of_session(&self, stream: u64) -> Option<&SessionStreamState> {
        match self.map.get(&stream)? {
            StreamState::Session(state) => Some(state),
            _ => None,
        }
    }

    pub(super) fn of_session_mut(&mut self, stream: u64) -> Option<&mut SessionStreamState> {
        match self.map.get_mut(&stream)? {
            StreamState::Session(state) => Some(state),
            _ => None,
        }
    }

    /// Inserts a stream, or changes its kind.
    pub(super) fn insert(&mut self, stream: u64, state: StreamState) {
        if matches!(state, StreamState::Http) {
            self.remove(stream);
            let at = self.http.partition_point(|&other| other < stream);
            self.http.insert(at, stream);
            return;
        }
        if let Ok(at) = self.http.binary_search(&stream) {
            self.http.remove(at);
        }
        self.count(&state, true);
        if let Some(old) = self.map.insert(stream, state) {
            self.count(&old, false);
        }
    }

    pub(super) fn remove(&mut self, stream: u64) -> Option<StreamState> {
        if let Ok(at) = self.http.binary_search(&stream) {
            self.http.remove(at);
            return Some(StreamState::Http);
        }
        let state = self.map.remove(&stream)?;
        self.count(&state, false);
        Some(state)
    }

    /// Frees the memory if there are no streams: an idle connection needs none.
    pub(super) fn trim(&mut self) {
        if self.map.is_empty() && self.map.capacity() > 0 {
            self.map = StreamMap::default();
        }
    }

    /// No stream is classified any more.
    pub(super) fn forget_http(&mut self) {
        self.http = Vec::new();
    }

    fn count(&mut self, state: &StreamState, entered: bool) {
        let count = match state {
            StreamState::Request(_) => &mut self.requests,
            StreamState::Session(_) | StreamState::Discarding => &mut self.of_sessions,
            _ => return,
        };
        match entered {
            true => *count += 1,
            false => *count -= 1,
        }
    }

    /// Whether a request's head was received on a stream, or it is not a request's stream.
    pub(super) fn is_past_head(&self, stream: u64) -> bool {
        self.get(stream).is_some_and(|state| !matches!(state, StreamState::Http | StreamState::Classifying(_)))
    }

    /// Requests that have not ended.
    pub(super) fn requests(&self) -> usize {
        self.requests as usize
    }

    /// Streams of sessions, and those that are discarded.
    pub(super) fn of_sessions(&self) -> usize {
        self.of_sessions as usize
    }

    pub(super) fn iter_requests(&mut self) -> impl Iterator<Item = (u64, &mut RequestState)> {
        self.map.iter_mut().filter_map(|(&stream, state)| match state {
            StreamState::Request(state) => Some((stream, &mut **state)),
            _ => None,
        })
    }

    pub(super) fn iter_sessions(&mut self) -> impl Iterator<Item = (u64, &mut SessionStreamState)> {
        self.map.iter_mut().filter_map(|(&stream, state)| match state {
            StreamState::Session(state) => Some((stream, &mut **state)),
            _ => None,
        })
    }

    /// All streams but those that quiche::h3 keeps to itself.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn open_count(&self) -> usize {
        self.map.len()
    }

    /// Streams whose header is not complete.
    pub(super) fn classifying(&self) -> Vec<u64> {
        let classifying = self.map.iter().filter(|(_, state)| matches!(state, StreamState::Classifying(_)));
        classifying.map(|(&stream, _)| stream).collect()
    }
}

#[cfg(test)]
#[path = "streams_property_tests.rs"]
mod property_tests;
