//! What a connection keeps for WebTransport.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::BuildHasherDefault;

use super::early::{EARLY_STREAMS, Early};
use super::filter::{DEFAULT_PRIORITY, Opening};
use super::session::SessionState;
use super::stream::WtState;
use crate::config::{self, SessionLimits};
use crate::h3::Request;
use crate::quic;
use crate::quic::table::{StreamHasher, StreamMap};

/// Ended sessions that are remembered, so that what comes late for them is told from what comes early.
const REMEMBERED: usize = 64;
/// Streams known to be HTTP's before it is looked which of them are gone.
const MIN_SWEEP: usize = 64;

/// Sessions, their streams, and what is needed to tell them from HTTP's.
#[derive(Debug)]
pub(crate) struct WtConn {
    pub(super) is_server: bool,
    pub(super) opening: StreamMap<Opening>,
    /// Streams that quiche::h3 has.
    pub(super) http: HashSet<u64, BuildHasherDefault<StreamHasher>>,
    /// Requests whose head was read, and nothing of what is behind it.
    pub(super) watched: Vec<u64>,
    sweep_at: usize,
    /// Streams of sessions.
    pub(crate) streams: StreamMap<WtState>,
    pub(crate) sessions: BTreeMap<u64, SessionState>,
    pub(crate) early: Early,
    /// Requests for sessions that the application was told of.
    pub(crate) offered: Vec<u64>,
    /// CONNECT requests that came before the peer's SETTINGS.
    pub(crate) waiting: Vec<Request>,
    gone: VecDeque<u64>,
    next_bidi: u64,
    next_uni: u64,
    /// What the peer's SETTINGS say, once they came.
    pub(crate) peer: Option<PeerSupport>,
    pub(crate) resets_seen: u64,
    /// Unidirectional streams that may still be stopped: quiche never gives the credit of one back.
    pub(crate) stops_left: u64,
    /// A session was accepted on this connection.
    pub(crate) had_session: bool,
}

/// Whom a session id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A session that is open.
    Open,
    /// One that has ended.
    Gone,
    /// A stream that may become a session.
    Unknown,
    /// No bidirectional stream of the client's: H3_ID_ERROR.
    Invalid,
}

/// What the peer's SETTINGS say about WebTransport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerSupport {
    /// Any draft's way to say that the peer does WebTransport.
    pub(crate) offered: bool,
    pub(crate) limits: SessionLimits,
}

impl PeerSupport {
    pub(crate) fn of(settings: &[(u64, u64)]) -> Self {
        let value = |id| settings.iter().find(|(setting, _)| *setting == id).map_or(0, |(_, value)| *value);
        let offers = [
            config::SETTING_ENABLE_DRAFT02,
            config::SETTING_MAX_SESSIONS_DRAFT07,
            config::SETTING_MAX_SESSIONS_DRAFT13,
            config::SETTING_ENABLED_DRAFT15,
        ];
        PeerSupport {
            offered: offers.into_iter().any(|id| value(id) > 0),
            limits: SessionLimits {
                data: value(config::SETTING_INITIAL_MAX_DATA),
                bidi: value(config::SETTING_INITIAL_MAX_STREAMS_BIDI),
                uni: value(config::SETTING_INITIAL_MAX_STREAMS_UNI),
            },
        }
    }
}

impl WtConn {
    /// `uni_opened` are the unidirectional streams that quiche::h3 opened, `max_uni` those that the peer may open.
    pub(crate) fn new(is_server: bool, uni_opened: u64, max_uni: u64) -> Self {
        // RFC 9000 section 2.1. A client's requests take the first bidirectional streams, see `Conn::request`.
        let (first_bidi, first_uni) = if is_server { (1, 3) } else { (0, 2) };
        WtConn {
            is_server,
            opening: StreamMap::default(),
            http: HashSet::default(),
            watched: Vec::new(),
            sweep_at: MIN_SWEEP,
            streams: StreamMap::default(),
            sessions: BTreeMap::new(),
            // A client has asked for its sessions, and a server may open streams in the flight of its answer.
            early: Early::new(if is_server { EARLY_STREAMS } else { max_uni as usize }),
            offered: Vec::new(),
            waiting: Vec::new(),
            gone: VecDeque::new(),
            next_bidi: first_bidi,
            next_uni: first_uni + 4 * uni_opened,
            peer: None,
            resets_seen: 0,
            stops_left: max_uni / 2,
            had_session: false,
        }
    }

    /// Whom `session`, from a stream's header or a datagram, names.
    pub(crate) fn owner(&self, session: u64) -> Owner {
        match session {
            _ if !session.is_multiple_of(4) => Owner::Invalid,
            _ if self.sessions.get(&session).is_some_and(|s| s.end.is_none()) => Owner::Open,
            _ if self.sessions.contains_key(&session) || self.gone.contains(&session) => Owner::Gone,
            _ => Owner::Unknown,
        }
    }

    /// Remembers that `session` has ended, or was refused.
    pub(crate) fn bury(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.offered.retain(|offered| *offered != session);
        if !self.gone.contains(&session) {
            self.gone.push_back(session);
        }
        if self.gone.len() > REMEMBERED {
            self.gone.pop_front();
        }
    }

    /// A request took the stream `stream` of ours: those of sessions come behind it.
    pub(crate) fn on_request(&mut self, stream: u64) {
        self.next_bidi = self.next_bidi.max(stream + 4);
        self.http.insert(stream);
    }

    /// The id of the next stream of ours; to be [used](WtConn::opened) if it could be opened.
    pub(crate) fn next_stream(&self, bidi: bool) -> u64 {
        if bidi { self.next_bidi } else { self.next_uni }
    }

    pub(crate) fn opened(&mut self, bidi: bool) {
        *(if bidi { &mut self.next_bidi } else { &mut self.next_uni }) += 4;
    }

    /// Reads and throws away what comes on a stream of the peer's.
    pub(crate) fn drain(&mut self, stream: u64) {
        self.streams.insert(stream, WtState::draining(stream));
    }

    pub(super) fn priority_of(&self, stream: u64) -> (u8, bool) {
        self.streams.get(&stream).map_or(DEFAULT_PRIORITY, |state| state.quiche_priority())
    }

    /// Forgets HTTP's streams that are gone.
    pub(crate) fn sweep(&mut self, quic: &mut quic::Connection) {
        if self.http.len() >= self.sweep_at {
            self.http.retain(|&stream| match stream & 2 {
                0 => !quic::is_collected(quic, stream),
                // Unidirectional streams of HTTP/3 last as long as the connection, but for a few of GREASE.
                _ => true,
            });
            self.sweep_at = MIN_SWEEP.max(2 * self.http.len());
        }
    }

    /// Whether nothing of WebTransport is left here.
    pub(crate) fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.streams.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_draft_says_in_its_own_way_that_it_does_webtransport() {
        let none = SessionLimits { data: 0, bidi: 0, uni: 0 };
        assert_eq!(PeerSupport::of(&[(0x33, 1), (8, 1)]), PeerSupport { offered: false, limits: none });
        for setting in [(0x2b60_3742, 1), (0xc671_706a, 4), (0x14e9_cd29, 1), (0x2c7c_f000, 1)] {
            assert!(PeerSupport::of(&[(0x33, 1), setting]).offered, "{setting:x?}");
        }
        assert!(!PeerSupport::of(&[(0x2b60_3742, 0)]).offered);
        let limits = PeerSupport::of(&[(0x2b61, 10), (0x2b65, 3), (0x2b64, 2)]).limits;
        assert_eq!(limits, SessionLimits { data: 10, bidi: 3, uni: 2 });
    }

    #[test]
    fn ended_sessions_are_remembered_for_a_while() {
        let mut wt = WtConn::new(true, 4, 100);
        assert_eq!(wt.next_stream(true), 1);
        assert_eq!(wt.next_stream(false), 19, "behind control, QPACK and GREASE streams");
        assert_eq!(wt.owner(4), Owner::Unknown);
        assert_eq!([1, 2, 3, 5].map(|id| wt.owner(id)), [Owner::Invalid; 4]);
        wt.bury(0);
        assert_eq!(wt.owner(0), Owner::Gone);
        for n in 1..=REMEMBERED as u64 {
            wt.bury(4 * n);
        }
        assert_eq!(wt.gone.len(), REMEMBERED);
        assert_eq!(wt.owner(0), Owner::Unknown);
    }
}
