//! First flights of clients that fail. quiche cannot send the error (`transport/untold.rs`), so a packet that needs no
//! connection carries it, and copies of the first packet are answered without another TLS handshake.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::stateless::Asked;
use crate::transport::cid::{Cid, CidBuildHasher};
use crate::transport::initial::Close;
use crate::transport::packet::LongHeader;

/// Maximum closes remembered, of about 80 bytes each.
const MAX_FAILED: usize = 1024;
/// A client sends its first packet again after 1, 3 and 7 seconds (RFC 9002 section 6.2).
const FAILED_LIFETIME: Duration = Duration::from_secs(10);

/// The data needed to close a connection that has sent nothing.
#[derive(Debug)]
pub(super) struct FirstFlight {
    pub(super) header: LongHeader,
    /// The connection's first id.
    pub(super) cid: Cid,
    pub(super) asked: Asked,
}

impl FirstFlight {
    /// The packet with the error, after `sent` other Initial packets.
    pub(super) fn close(&self, code: u64, sent: usize) -> Option<Vec<u8>> {
        // More than that are not sent before a first flight; the number has one byte.
        let number = u8::try_from(sent).ok()?;
        self.header.close(self.cid, Close { code, reason: "", number })
    }
}

/// The closes of connections whose first flight has failed, by the connections' first ids.
#[derive(Debug, Default)]
pub(super) struct FailedFlights {
    closes: HashMap<Cid, Vec<u8>, CidBuildHasher>,
    /// In the order of their ends.
    ends: VecDeque<(Instant, Cid)>,
}

impl FailedFlights {
    pub(super) fn insert(&mut self, now: Instant, cid: Cid, close: Vec<u8>) {
        self.expire(now);
        if self.ends.len() >= MAX_FAILED
            && let Some((_, oldest)) = self.ends.pop_front()
        {
            self.closes.remove(&oldest);
        }
        if self.closes.insert(cid, close).is_none() {
            self.ends.push_back((now + FAILED_LIFETIME, cid));
        }
    }

    pub(super) fn get(&mut self, now: Instant, cid: &Cid) -> Option<&Vec<u8>> {
        self.expire(now);
        self.closes.get(cid)
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, cid)) = self.ends.front().filter(|(end, _)| *end <= now) {
            self.closes.remove(cid);
            self.ends.pop_front();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn the_latest_failures_are_remembered_for_a_while() {
        let now = Instant::now();
        let cid = |n: u32| Cid(std::array::from_fn(|at| n.to_le_bytes()[at % 4]));
        let mut failed = FailedFlights::default();
        for n in 0..3000 {
            failed.insert(now, cid(n), vec![n as u8]);
        }
        assert_eq!((failed.closes.len(), failed.ends.len()), (MAX_FAILED, MAX_FAILED));
        assert_eq!(failed.get(now, &cid(1975)), None);
        assert_eq!(failed.get(now, &cid(1976)), Some(&vec![1976_u32 as u8]));
        assert_eq!(failed.get(now + FAILED_LIFETIME, &cid(2999)), None);
        assert_eq!((failed.closes.len(), failed.ends.len()), (0, 0));
    }
}
