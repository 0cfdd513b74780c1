//! A connection's state of its WebTransport sessions.

use std::collections::{BTreeMap, VecDeque};

use super::buffered::{Buffered, MAX_STREAMS};
use super::peer::PeerSupport;
use super::session::SessionState;
use crate::h3::Request;

/// Closed sessions remembered, to distinguish late streams and datagrams from early ones.
const MAX_CLOSED_SESSIONS: usize = 64;
/// Heads in a turn of which it is remembered what follows them.
const MAX_FOLLOWED_HEADS: usize = 64;

/// The sessions of a connection, open and pending.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) map: BTreeMap<u64, SessionState>,
    pub(crate) buffered: Buffered,
    /// Requests for sessions that the application has not answered.
    pub(crate) offered: Vec<u64>,
    /// Requests for sessions that arrived before the peer's SETTINGS.
    pub(crate) pending: Vec<Request>,
    closed: VecDeque<u64>,
    /// Streams of sessions whose arrival is not processed yet.
    pub(crate) arrivals: VecDeque<u64>,
    /// Streams whose head was seen to be followed by a frame other than the signal of a session's stream.
    followed_heads: Vec<u64>,
    /// The peer's SETTINGS, once they have arrived.
    pub(crate) peer: Option<PeerSupport>,
    /// Bytes received on the connection until flow control was checked last.
    pub(crate) received: u64,
    /// A session was opened on this connection.
    pub(crate) had_session: bool,
}

/// What a session id refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A session that is open.
    Open,
    /// One that has ended, and whose CONNECT stream is not finished.
    Closing,
    /// One that was closed or refused.
    Closed,
    /// A stream that may become a session.
    Unknown,
    /// Not a bidirectional stream of the client: H3_ID_ERROR.
    Invalid,
}

impl Sessions {
    /// On a client, `max_streams` is the server's limit: it may open streams in the flight of its response.
    pub(crate) fn new(is_server: bool, max_streams: u64) -> Self {
        Sessions {
            map: BTreeMap::new(),
            buffered: Buffered::new(if is_server { MAX_STREAMS } else { max_streams as usize }),
            offered: Vec::new(),
            pending: Vec::new(),
            closed: VecDeque::new(),
            arrivals: VecDeque::new(),
            followed_heads: Vec::new(),
            peer: None,
            received: 0,
            had_session: false,
        }
    }

    /// What `session`, from a stream's header or a datagram, refers to.
    pub(crate) fn named(&self, session: u64) -> Named {
        match session {
            _ if !session.is_multiple_of(4) => Named::Invalid,
            _ => match self.map.get(&session) {
                Some(session) if session.end.is_none() => Named::Open,
                Some(_) => Named::Closing,
                None if self.closed.contains(&session) => Named::Closed,
                None => Named::Unknown,
            },
        }
    }

    /// A session that is open.
    pub(crate) fn open_mut(&mut self, session: u64) -> Option<&mut SessionState> {
        self.map.get_mut(&session).filter(|session| session.end.is_none())
    }

    /// The ids of the open sessions.
    pub(crate) fn open_ids(&self) -> Vec<u64> {
        self.map.iter().filter(|(_, session)| session.end.is_none()).map(|(&id, _)| id).collect()
    }

    /// Remembers for this turn that what follows a head is known, and is allowed.
    pub(crate) fn note_followed_head(&mut self, stream: u64) {
        if self.followed_heads.len() < MAX_FOLLOWED_HEADS {
            self.followed_heads.push(stream);
        }
    }

    /// Whether that is known. It is for one head of a stream.
    pub(crate) fn take_followed_head(&mut self, stream: u64) -> bool {
        let at = self.followed_heads.iter().position(|id| *id == stream);
        at.map(|at| self.followed_heads.swap_remove(at)).is_some()
    }

    /// Forgets what was known in this turn.
    pub(crate) fn forget_followed_heads(&mut self) {
        self.followed_heads = Vec::new();
    }

    /// Remembers that `session` was closed or refused.
    pub(crate) fn retire(&mut self, session: u64) -> Option<SessionState> {
        self.offered.retain(|offered| *offered != session);
        if !self.closed.contains(&session) {
            self.closed.push_back(session);
        }
        if self.closed.len() > MAX_CLOSED_SESSIONS {
            self.closed.pop_front();
        }
        self.map.remove(&session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_head_is_known_once_and_in_one_turn() {
        let mut sessions = Sessions::new(true, 100);
        sessions.note_followed_head(4);
        assert_eq!([0, 4, 4].map(|stream| sessions.take_followed_head(stream)), [false, true, false]);
        (0..100).for_each(|stream| sessions.note_followed_head(stream));
        let known = (0..100).filter(|stream| sessions.take_followed_head(*stream)).count();
        assert_eq!(known, MAX_FOLLOWED_HEADS);
        sessions.note_followed_head(4);
        sessions.forget_followed_heads();
        assert!(!sessions.take_followed_head(4));
    }

    #[test]
    fn closed_sessions_are_remembered_for_a_while() {
        let mut sessions = Sessions::new(true, 100);
        assert_eq!(sessions.named(4), Named::Unknown);
        assert_eq!([1, 2, 3, 5].map(|id| sessions.named(id)), [Named::Invalid; 4]);
        sessions.retire(0);
        assert_eq!(sessions.named(0), Named::Closed);
        for n in 1..=MAX_CLOSED_SESSIONS as u64 {
            sessions.retire(4 * n);
        }
        assert_eq!(sessions.closed.len(), MAX_CLOSED_SESSIONS);
        assert_eq!(sessions.named(0), Named::Unknown);
    }
}
