//! Packets of a server without a connection: Version Negotiation, Retry, stateless resets, and the close of a
//! connection that was not accepted. They are bounded in number, and keep no state.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::outgoing::Transmit;
use crate::transport::cid::{Cid, RETRY_CID_LEN};
use crate::transport::initial::Close;
use crate::transport::packet::{LongHeader, version_negotiation};
use crate::transport::stateless_reset;

/// Maximum queued packets, so that a flood cannot exhaust memory.
const MAX_QUEUED: usize = 256;
/// Stateless resets per second: a server that restarts has to send one to each client; one costs some microseconds.
const RESETS_PER_SECOND: u32 = 10_000;
/// Closes of connections that are not accepted or whose first flight failed, in a second.
const CLOSES_PER_SECOND: u32 = 1_000;
/// Version Negotiation packets in a second (RFC 9000 section 6.1 lets a server limit them).
const VERSIONS_PER_SECOND: u32 = 10_000;

/// Why a connection is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    ShuttingDown,
    MaxConnections,
    InvalidToken,
}

impl Refusal {
    fn close(self) -> Close<'static> {
        const CONNECTION_REFUSED: u64 = 0x2;
        const INVALID_TOKEN: u64 = 0xb;
        let (code, reason) = match self {
            Refusal::ShuttingDown => (CONNECTION_REFUSED, "shutting down"),
            Refusal::MaxConnections => (CONNECTION_REFUSED, "too many connections"),
            Refusal::InvalidToken => (INVALID_TOKEN, ""),
        };
        Close { code, reason, number: 0 }
    }
}

/// Where a packet came from, and to which local address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

/// The packets to send, and how many more may be made.
#[derive(Debug)]
pub(super) struct Stateless {
    queue: VecDeque<(Vec<u8>, Transmit)>,
    resets: Budget,
    closes: Budget,
    versions: Budget,
}

impl Stateless {
    pub(super) fn new() -> Self {
        Stateless {
            queue: VecDeque::new(),
            resets: Budget::new(RESETS_PER_SECOND),
            closes: Budget::new(CLOSES_PER_SECOND),
            versions: Budget::new(VERSIONS_PER_SECOND),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<(Vec<u8>, Transmit)> {
        self.queue.pop_front()
    }

    /// Answers a packet of an unknown version, which had these connection ids. False if there were too many.
    pub(super) fn negotiate_version(&mut self, now: Instant, dcid: &[u8], scid: &[u8], asked: Asked) -> bool {
        self.versions.take(now) && self.push(version_negotiation(dcid, scid), asked)
    }

    /// Makes a client prove its address. False if there is no room.
    pub(super) fn retry(&mut self, header: &LongHeader, scid: [u8; RETRY_CID_LEN], token: &[u8], asked: Asked) -> bool {
        self.push(header.retry(&scid, token), asked)
    }

    /// Answers a packet of `trigger` bytes to an id with this token. False if the packet is too small to come from a
    /// connection, or there were too many.
    pub(super) fn reset(&mut self, now: Instant, trigger: usize, token: u128, asked: Asked) -> bool {
        let reset = stateless_reset(trigger, token);
        reset.is_some() && self.resets.take(now) && self.push(reset, asked)
    }

    /// Closes the connection that a client asks for, without making one. False if there were too many.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        header: &LongHeader,
        scid: Cid,
        refusal: Refusal,
        asked: Asked,
    ) -> bool {
        self.closes.take(now) && self.push(header.close(scid, refusal.close()), asked)
    }

    /// Sends a close of a connection that failed. False if there were too many.
    pub(super) fn close(&mut self, now: Instant, packet: Vec<u8>, asked: Asked) -> bool {
        self.closes.take(now) && self.push(Some(packet), asked)
    }

    fn push(&mut self, packet: Option<Vec<u8>>, asked: Asked) -> bool {
        let Some(packet) = packet.filter(|_| self.queue.len() < MAX_QUEUED) else { return false };
        let transmit = Transmit { from: asked.to, to: asked.from, len: packet.len(), segment: packet.len() };
        self.queue.push_back((packet, transmit));
        true
    }
}

/// A number of times in each second.
#[derive(Debug)]
struct Budget {
    per_second: u32,
    left: u32,
    ends: Option<Instant>,
}

impl Budget {
    fn new(per_second: u32) -> Self {
        Budget { per_second, left: 0, ends: None }
    }

    fn take(&mut self, now: Instant) -> bool {
        if self.ends.is_none_or(|ends| ends <= now) {
            self.left = self.per_second;
            self.ends = Some(now + Duration::from_secs(1));
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_there_again_in_the_next_second() {
        let now = Instant::now();
        let mut budget = Budget::new(2);
        let taken = |budget: &mut Budget, ms| budget.take(now + Duration::from_millis(ms));
        assert_eq!([0, 1, 2, 999].map(|ms| taken(&mut budget, ms)), [true, true, false, false]);
        assert_eq!([1000, 1001, 1999].map(|ms| taken(&mut budget, ms)), [true, true, false]);
    }

    #[test]
    fn the_queue_has_an_end() {
        let mut stateless = Stateless::new();
        let addr: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let asked = Asked { from: addr, to: addr };
        assert!((0..MAX_QUEUED).all(|_| stateless.push(Some(vec![1]), asked)));
        assert!(!stateless.push(Some(vec![1]), asked));
        assert!(stateless.pop().is_some() && stateless.push(Some(vec![1]), asked));
    }
}
