//! The plan of a session, and its progress.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio_quiche::{EndedBy, SessionEnd, StreamId};

use super::content::Content;
use super::input::Input;
use crate::cli::Failure;

/// Concurrent streams of each kind.
const MAX_RUNNING: u64 = 64;
/// Datagrams that may wait for their echo at a time.
const WINDOW: usize = 64;
/// After this time without an echo, waiting datagrams no longer hold up further ones.
const STALE: Duration = Duration::from_millis(250);
/// After this time without an echo, waiting datagrams count as lost.
const LOST: Duration = Duration::from_secs(1);
/// After this time without news, no answer to the last typed line is expected.
const QUIET: Duration = Duration::from_millis(300);
/// After this time without news, missing answers are no longer expected.
const SILENT: Duration = Duration::from_secs(3);
/// Datagrams of the server kept for the report.
const MAX_KEPT: usize = 1000;
/// Typed lines that wait for their stream.
const MAX_TYPED: usize = 64;
/// The longest latency recorded, in nanoseconds; longer ones are clamped.
const MAX_NANOS: u64 = 3_600_000_000_000;
/// Significant digits of the latencies.
const DIGITS: u8 = 3;

pub(super) type Shared = Rc<RefCell<State>>;

/// The plan, from the command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) datagrams: u64,
    pub(super) bidi: u64,
    pub(super) uni: u64,
    /// Minimum time that the session stays open.
    pub(super) wait: Duration,
    /// Show data as it arrives.
    pub(super) shows: bool,
    /// Lines to send are typed.
    pub(super) typed: bool,
    /// The server must close the session.
    pub(super) expect_close: bool,
}

pub(super) struct Datagrams {
    pub(super) sent: u64,
    pub(super) back: u64,
    pub(super) wrong: u64,
    pub(super) rtt: Histogram<u64>,
    pub(super) waiting: BTreeMap<u64, Instant>,
    pub(super) last: Instant,
}

/// Streams opened locally.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) opened: u64,
    /// Streams that have ended in any way.
    pub(super) over: u64,
    /// Streams whose content was echoed.
    pub(super) equal: u64,
    pub(super) bytes: u64,
    /// From the first one opened to the end of the last one.
    pub(super) seconds: f64,
    began: Option<Instant>,
}

impl Streams {
    pub(super) fn open(&mut self, now: Instant) -> u64 {
        self.began.get_or_insert(now);
        self.opened += 1;
        self.opened - 1
    }

    pub(super) fn end(&mut self, now: Instant) {
        self.over += 1;
        self.progress(now);
    }

    fn progress(&mut self, now: Instant) {
        self.seconds = self.began.map_or(0.0, |began| (now - began).as_secs_f64());
    }
}

/// A stream that the server opened, unless it answers one of ours.
#[derive(Debug)]
pub(super) struct PeerStream {
    pub(super) is_bidi: bool,
    pub(super) bytes: u64,
    /// The first bytes received.
    pub(super) text: Vec<u8>,
}

/// The purpose of the next stream.
pub(super) enum Next {
    Input,
    Typed(bool),
    Bidi,
    Uni,
}

pub(super) struct State {
    pub(super) plan: Plan,
    pub(super) content: Content,
    pub(super) began: Instant,
    pub(super) session: Option<StreamId>,
    pub(super) opened: Option<Instant>,
    pub(super) subprotocol: Option<String>,
    pub(super) failure: Option<Failure>,
    pub(super) end: Option<SessionEnd>,
    pub(super) datagrams: Datagrams,
    pub(super) other_datagrams: Vec<Vec<u8>>,
    pub(super) bidi: Streams,
    pub(super) uni: Streams,
    /// The server's unidirectional streams that may be answers.
    answered: HashMap<u64, u64>,
    pub(super) peer: Vec<PeerStream>,
    pub(super) peer_open: usize,
    /// Data received on the open ones.
    pub(super) peer_open_bytes: u64,
    pub(super) problems: Vec<String>,
    pub(super) last: Instant,
    /// The peer allows no more streams for now.
    pub(super) blocked: bool,
    /// Typed lines not sent yet; true for a bidirectional stream.
    pub(super) typed: VecDeque<(Vec<u8>, bool)>,
    /// Standard input, until its stream is open.
    pub(super) input: Option<Input>,
    /// Standard input that gets a stream only if it is not empty.
    pub(super) piped: Option<Input>,
    pub(super) input_stream: Option<StreamId>,
    /// Open streams of typed lines or standard input.
    pub(super) asking: usize,
    /// More lines may be typed.
    pub(super) listening: bool,
    /// The code and reason of the close.
    pub(super) close: (u32, String),
    /// `/close` was typed.
    pub(super) closing: bool,
}

impl State {
    pub(super) fn new(
        plan: Plan,
        size: u64,
        close: (u32, String),
        now: Instant,
    ) -> Result<Shared, hdrhistogram::CreationError> {
        let datagrams = Datagrams {
            sent: 0,
            back: 0,
            wrong: 0,
            rtt: Histogram::new_with_max(MAX_NANOS, DIGITS)?,
            waiting: BTreeMap::new(),
            last: now,
        };
        Ok(Rc::new(RefCell::new(State {
            plan,
            content: Content::new(size),
            began: now,
            session: None,
            opened: None,
            subprotocol: None,
            failure: None,
            end: None,
            datagrams,
            other_datagrams: Vec::new(),
            bidi: Streams::default(),
            uni: Streams::default(),
            answered: HashMap::new(),
            peer: Vec::new(),
            peer_open: 0,
            peer_open_bytes: 0,
            problems: Vec::new(),
            last: now,
            blocked: false,
            typed: VecDeque::new(),
            input: None,
            piped: None,
            input_stream: None,
            asking: 0,
            listening: false,
            close,
            closing: false,
        })))
    }

    /// Whether another typed line can wait for its stream.
    pub(super) fn may_type(&self) -> bool {
        self.listening && self.typed.len() < MAX_TYPED
    }

    pub(super) fn type_line(&mut self, mut line: Vec<u8>, bidi: bool) {
        line.push(b'\n');
        self.typed.push_back((line, bidi));
    }

    /// Looks for the first bytes of an input that may be empty.
    pub(super) fn take_piped(&mut self) {
        let Some(mut input) = self.piped.take() else { return };
        match input.next() {
            Ok(first) => {
                input.put_back(first);
                (self.input, self.listening) = (Some(input), false);
            }
            Err(TryRecvError::Empty) => self.piped = Some(input),
            Err(TryRecvError::Disconnected) => self.listening = false,
        }
    }

    pub(super) fn problem(&mut self, what: String) {
        self.problems.push(what);
    }

    pub(super) fn lost(&self) -> u64 {
        self.datagrams.sent - self.datagrams.back - self.datagrams.wrong
    }

    /// Whether `pump` has something to send.
    pub(super) fn may_send(&self, now: Instant) -> bool {
        !self.blocked && self.next_stream().is_some() || self.may_send_datagram(now)
    }

    pub(super) fn next_stream(&self) -> Option<Next> {
        if self.input.is_some() {
            Some(Next::Input)
        } else if let Some((_, bidi)) = self.typed.front() {
            Some(Next::Typed(*bidi))
        } else if self.may_open(&self.bidi, self.plan.bidi) {
            Some(Next::Bidi)
        } else {
            self.may_open(&self.uni, self.plan.uni).then_some(Next::Uni)
        }
    }

    pub(super) fn may_open(&self, streams: &Streams, planned: u64) -> bool {
        streams.opened < planned && streams.opened - streams.over < MAX_RUNNING
    }

    pub(super) fn may_send_datagram(&self, now: Instant) -> bool {
        let datagrams = &self.datagrams;
        datagrams.sent < self.plan.datagrams && (datagrams.waiting.len() < WINDOW || now >= datagrams.last + STALE)
    }

    pub(super) fn on_datagram(&mut self, now: Instant, payload: &[u8]) -> bool {
        let (number, content) = (self.content.number(payload), &self.content);
        let datagrams = &mut self.datagrams;
        let known = match content.head_len() {
            8 => datagrams.waiting.get_key_value(&number),
            _ => datagrams.waiting.iter().find(|(n, _)| content.has_number(**n, number)),
        };
        let Some((n, sent)) = known.map(|(n, sent)| (*n, *sent)).filter(|_| payload.len() >= content.head_len()) else {
            return false;
        };
        datagrams.waiting.remove(&n);
        datagrams.last = now;
        if payload.len() as u64 == content.size() && content.differs(n, 0, payload).is_none() {
            datagrams.back += 1;
            datagrams.rtt.saturating_record((now - sent).as_nanos() as u64);
        } else {
            datagrams.wrong += 1;
            self.problem(format!("datagram {n} came back changed"));
        }
        true
    }

    /// Keeps an unsolicited datagram, up to a bound.
    pub(super) fn keep_datagram(&mut self, payload: &[u8]) {
        if self.other_datagrams.len() < MAX_KEPT {
            self.other_datagrams.push(payload.to_vec());
        }
    }

    /// Whether a unidirectional stream of the server that began with `number` can answer one of ours.
    pub(super) fn may_answer(&self, number: u64) -> bool {
        let asked = match self.content.head_len() {
            8 => u64::from(number < self.uni.opened),
            _ => (0..self.uni.opened).filter(|n| self.content.has_number(*n, number)).count() as u64,
        };
        asked > self.answered.get(&number).copied().unwrap_or(0)
    }

    pub(super) fn answered(&mut self, now: Instant, number: u64) {
        *self.answered.entry(number).or_default() += 1;
        self.uni.equal += 1;
        self.uni.bytes += self.content.size();
        self.uni.progress(now);
    }

    /// `Ok` when everything is done, or was waited for long enough. Otherwise the time of the next check, if any.
    pub(super) fn is_done(&self, now: Instant) -> std::result::Result<(), Option<Instant>> {
        let Some(opened) = self.opened else { return Err(None) };
        let mut until: Vec<Instant> = Vec::new();
        let (plan, datagrams) = (&self.plan, &self.datagrams);
        if datagrams.sent < plan.datagrams {
            return Err(Some(datagrams.last + STALE));
        }
        if self.bidi.over < plan.bidi || self.uni.over < plan.uni || self.asking > 0 {
            return Err(None);
        }
        let asking = self.asking > 0 && !self.closing;
        if asking || self.listening || !self.typed.is_empty() || self.input.is_some() {
            return Err(None);
        }
        if plan.typed {
            until.push(self.last + if self.asking > 0 { LOST } else { QUIET });
        }
        if !datagrams.waiting.is_empty() {
            until.push(datagrams.last + LOST);
        }
        if self.uni.equal < plan.uni {
            until.push(self.last + SILENT);
        }
        if self.peer_open > 0 {
            until.push(self.last + LOST);
        }
        until.push(opened + plan.wait);
        match until.into_iter().filter(|at| *at > now).max() {
            Some(at) => Err(Some(at)),
            None => Ok(()),
        }
    }

    /// Records what is missing at the end.
    pub(super) fn conclude(&mut self) {
        let by_peer = self.end.as_ref().is_some_and(|end| end.by == EndedBy::Peer);
        if self.plan.expect_close && by_peer {
            return;
        }
        let (uni, planned) = (&self.uni, self.plan.uni);
        let missing = |streams: &Streams, planned: u64| planned.saturating_sub(streams.over);
        let mut found = Vec::new();
        if missing(&self.bidi, self.plan.bidi) > 0 {
            let all = self.plan.bidi;
            found.push(format!("{} of {all} bidirectional streams did not end", missing(&self.bidi, all)));
        }
        if missing(uni, planned) > 0 {
            found.push(format!("{} of {planned} unidirectional streams were not sent", missing(uni, planned)));
        } else if uni.equal < planned {
            found.push(format!("{} of {planned} unidirectional streams were not answered", planned - uni.equal));
        }
        let datagrams = &self.datagrams;
        if datagrams.sent < self.plan.datagrams {
            found.push(format!(
                "{} of {} datagrams were not sent",
                self.plan.datagrams - datagrams.sent,
                self.plan.datagrams
            ));
        } else if datagrams.sent > 0 && datagrams.back == 0 && datagrams.wrong == 0 {
            found.push(format!("none of {} datagrams came back", datagrams.sent));
        }
        self.problems.extend(found);
    }
}
