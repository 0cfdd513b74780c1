//! Flow control of a session (draft-ietf-webtrans-http3 section 5), on top of QUIC's, if both sides enabled it.

use std::time::{Duration, Instant};

use crate::config::SessionLimits;
use crate::wire::capsule;

/// A limit and its use, for one resource in one direction.
#[derive(Clone, Copy, Debug)]
struct Credit {
    max: u64,
    used: u64,
}

/// A session's limits in both directions.
#[derive(Debug)]
pub(crate) struct Flow {
    window: SessionLimits,
    recv_data: Credit,
    recv_bidi: Credit,
    recv_uni: Credit,
    send_data: Credit,
    send_bidi: Credit,
    send_uni: Credit,
    /// The peer's streams that have ended.
    finished_bidi: u64,
    finished_uni: u64,
    /// The limits reported last to the peer as blocking.
    data_blocked_at: Option<u64>,
    bidi_blocked_at: Option<u64>,
    uni_blocked_at: Option<u64>,
    check: Check,
}

/// When to count the unread bytes. quiche can only count by walking all chunks, so this is done only when enough
/// bytes have arrived to exceed the limit, and rarely.
#[derive(Clone, Copy, Debug, Default)]
struct Check {
    /// Unread bytes at the last count.
    waiting: u64,
    /// Bytes that arrived on the connection since then.
    since: u64,
    not_before: Option<Instant>,
}

/// Minimum time between two counts.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// RFC 9000 section 4.6: more streams than this cannot be numbered.
const MAX_STREAMS: u64 = 1 << 60;

/// A violated limit of the session, or one that does not grow: WT_FLOW_CONTROL_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowError;

impl Flow {
    pub(crate) fn new(ours: SessionLimits, theirs: SessionLimits) -> Self {
        let credit = |max| Credit { max, used: 0 };
        Flow {
            window: ours,
            recv_data: credit(ours.data),
            recv_bidi: credit(ours.bidi),
            recv_uni: credit(ours.uni),
            send_data: credit(theirs.data),
            send_bidi: credit(theirs.bidi),
            send_uni: credit(theirs.uni),
            finished_bidi: 0,
            finished_uni: 0,
            data_blocked_at: None,
            bidi_blocked_at: None,
            uni_blocked_at: None,
            check: Check::default(),
        }
    }

    /// Bytes that may be sent now.
    pub(crate) fn sendable(&self) -> u64 {
        self.send_data.max - self.send_data.used
    }

    pub(crate) fn on_sent(&mut self, bytes: u64) {
        self.send_data.used += bytes;
    }

    /// The limit blocks a writer: notifies the peer once per limit.
    pub(crate) fn on_blocked(&mut self, out: &mut Vec<u8>) {
        let max = self.send_data.max;
        if self.data_blocked_at.replace(max) != Some(max) {
            capsule::put_data_blocked(out, max);
        }
    }

    /// Uses credit of the peer for one local stream; false if there is none.
    pub(crate) fn open(&mut self, bidi: bool, out: &mut Vec<u8>) -> bool {
        let credit = if bidi { &mut self.send_bidi } else { &mut self.send_uni };
        if credit.used < credit.max {
            credit.used += 1;
            return true;
        }
        let max = credit.max;
        let told = if bidi { &mut self.bidi_blocked_at } else { &mut self.uni_blocked_at };
        if told.replace(max) != Some(max) {
            capsule::put_streams_blocked(out, bidi, max);
        }
        false
    }

    /// Whether the peer's credit allows another local stream.
    pub(crate) fn can_open(&self, bidi: bool) -> bool {
        let credit = if bidi { &self.send_bidi } else { &self.send_uni };
        credit.used < credit.max
    }

    /// The peer opened a stream.
    pub(crate) fn on_stream(&mut self, bidi: bool) -> Result<(), FlowError> {
        let credit = if bidi { &mut self.recv_bidi } else { &mut self.recv_uni };
        credit.used += 1;
        if credit.used <= credit.max { Ok(()) } else { Err(FlowError) }
    }

    /// A peer's stream has ended: when half of the window is used up, the peer gets more.
    pub(crate) fn on_stream_over(&mut self, bidi: bool, out: &mut Vec<u8>) {
        let (credit, finished, window) = match bidi {
            true => (&mut self.recv_bidi, &mut self.finished_bidi, self.window.bidi),
            false => (&mut self.recv_uni, &mut self.finished_uni, self.window.uni),
        };
        *finished += 1;
        let max = *finished + window;
        if max - credit.max > window / 2 {
            credit.max = max;
            capsule::put_max_streams(out, bidi, max);
        }
    }

    /// The application read bytes: when half of the window is used up, the peer gets more.
    pub(crate) fn on_read(&mut self, bytes: u64, out: &mut Vec<u8>) {
        self.recv_data.used += bytes;
        let max = self.recv_data.used + self.window.data;
        if max - self.recv_data.max > self.window.data / 2 {
            self.recv_data.max = max;
            capsule::put_max_data(out, max);
        }
    }

    /// `bytes` arrived on the connection. Returns whether [`check_received`](Flow::check_received) is due.
    pub(crate) fn needs_check(&mut self, now: Instant, bytes: u64) -> bool {
        self.check.since += bytes;
        self.may_be_exceeded() && self.check.not_before.is_none_or(|at| at <= now)
    }

    /// When a check is due that came too early after the one before.
    pub(crate) fn postponed_check(&self) -> Option<Instant> {
        self.check.not_before.filter(|_| self.may_be_exceeded())
    }

    fn may_be_exceeded(&self) -> bool {
        self.recv_data.used + self.check.waiting + self.check.since > self.recv_data.max
    }

    /// Checks the total received: bytes read, and the `waiting` ones.
    pub(crate) fn check_received(&mut self, now: Instant, waiting: u64) -> Result<(), FlowError> {
        self.check = Check { waiting, since: 0, not_before: Some(now + CHECK_INTERVAL) };
        if self.recv_data.used + waiting > self.recv_data.max { Err(FlowError) } else { Ok(()) }
    }

    /// MAX_DATA.
    pub(crate) fn on_max_data(&mut self, max: u64) -> Result<(), FlowError> {
        grow(&mut self.send_data, max)
    }

    /// MAX_STREAMS.
    pub(crate) fn on_max_streams(&mut self, bidi: bool, max: u64) -> Result<(), FlowError> {
        if max > MAX_STREAMS {
            return Err(FlowError);
        }
        grow(if bidi { &mut self.send_bidi } else { &mut self.send_uni }, max)
    }
}

fn grow(credit: &mut Credit, max: u64) -> Result<(), FlowError> {
    if max <= credit.max {
        return Err(FlowError);
    }
    credit.max = max;
    Ok(())
}

#[cfg(test)]
#[path = "flow_property_tests.rs"]
mod property_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::capsule::{Capsule, Decoder};

    fn flow() -> Flow {
        Flow::new(SessionLimits { data: 100, bidi: 4, uni: 2 }, SessionLimits { data: 10, bidi: 1, uni: 0 })
    }

    fn capsules(out: &mut Vec<u8>) -> Vec<Capsule> {
        let bytes = std::mem::take(out);
        let (mut decoder, mut rest, mut found) = (Decoder::default(), &bytes[..], Vec::new());
        while let Some(capsule) = decoder.next(&mut rest).unwrap() {
            found.push(capsule);
        }
        found
    }

    #[test]
    fn what_the_peer_allows_is_obeyed_and_asked_for() {
        let (mut flow, mut out) = (flow(), Vec::new());
        assert_eq!(flow.sendable(), 10);
        flow.on_sent(10);
        assert_eq!(flow.sendable(), 0);
        flow.on_blocked(&mut out);
        flow.on_blocked(&mut out);
        assert_eq!(capsules(&mut out), [Capsule::DataBlocked], "once per limit");
        assert_eq!(flow.on_max_data(10), Err(FlowError), "a limit that does not grow");
        assert_eq!(flow.on_max_data(30), Ok(()));
        assert_eq!(flow.sendable(), 20);
        assert!(flow.open(true, &mut out) && out.is_empty());
        assert!(!flow.open(true, &mut out) && !flow.open(false, &mut out));
        assert!(!flow.open(true, &mut out) && !flow.can_open(true));
        assert_eq!(capsules(&mut out), [Capsule::StreamsBlocked, Capsule::StreamsBlocked], "once per kind and limit");
        assert_eq!(flow.on_max_streams(false, 1), Ok(()));
        assert!(flow.open(false, &mut out));
        assert_eq!(flow.on_max_streams(true, 1), Err(FlowError), "an equal limit");
        assert_eq!(flow.on_max_streams(true, MAX_STREAMS + 1), Err(FlowError));
        assert_eq!(flow.on_max_streams(true, MAX_STREAMS), Ok(()));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn what_we_allow_grows_with_use_and_is_enforced() {
        let (mut flow, mut out, now) = (flow(), Vec::new(), Instant::now());
        assert!(!flow.needs_check(now, 100), "cannot be too many");
        assert!(flow.needs_check(now, 1));
        assert_eq!(flow.check_received(now, 100), Ok(()));
        assert_eq!(flow.postponed_check(), None);
        assert!(!flow.needs_check(now, 1000), "just counted");
        assert_eq!(flow.postponed_check(), Some(now + CHECK_INTERVAL));
        assert!(flow.needs_check(now + CHECK_INTERVAL, 0));
        assert_eq!(flow.check_received(now, 101), Err(FlowError));
        flow.on_read(50, &mut out);
        assert!(out.is_empty());
        flow.on_read(1, &mut out);
        assert_eq!(capsules(&mut out), [Capsule::MaxData(151)]);
        assert_eq!(flow.check_received(now, 100), Ok(()));
        assert_eq!(flow.check_received(now, 101), Err(FlowError));
        for _ in 0..2 {
            assert_eq!(flow.on_stream(false), Ok(()));
        }
        flow.on_stream_over(false, &mut out);
        assert!(out.is_empty());
        flow.on_stream_over(false, &mut out);
        assert_eq!(capsules(&mut out), [Capsule::MaxStreams { bidi: false, max: 4 }]);
        for _ in 0..4 {
            assert_eq!(flow.on_stream(true), Ok(()));
        }
        assert_eq!(flow.on_stream(true), Err(FlowError));
    }
}
