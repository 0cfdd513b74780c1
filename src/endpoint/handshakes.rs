//! Handshakes in progress, by the prefix of their address: a network that begins many must not lock others out.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use super::prefix::Prefix;
use crate::transport::table::ConnId;

/// The handshakes of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// The oldest of each prefix first.
    by_prefix: HashMap<Prefix, VecDeque<ConnId>>,
    count: usize,
}

impl Handshakes {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn begin(&mut self, peer: SocketAddr, id: ConnId) {
        self.by_prefix.entry(Prefix::of(peer)).or_default().push_back(id);
        self.count += 1;
    }

    /// The handshake with `peer` has ended.
    pub(super) fn end(&mut self, peer: SocketAddr, id: ConnId) {
        let prefix = Prefix::of(peer);
        let Some(of_prefix) = self.by_prefix.get_mut(&prefix) else { return };
        let Some(at) = of_prefix.iter().position(|other| *other == id) else { return };
        of_prefix.remove(at);
        self.count -= 1;
        if of_prefix.is_empty() {
            self.by_prefix.remove(&prefix);
        }
    }

    /// The handshake to drop for one with `peer`: the oldest of the prefix that has the most. None within the same
    /// prefix, or for a prefix that has as many: each handshake costs about a millisecond, and a peer could repeat that
    /// without end.
    pub(super) fn oldest_of_most(&self, peer: SocketAddr) -> Option<ConnId> {
        let own = self.by_prefix.get(&Prefix::of(peer)).map_or(0, VecDeque::len);
        let most = self.by_prefix.values().max_by_key(|ids| ids.len())?;
        most.front().copied().filter(|_| own + 1 < most.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> ConnId {
        ConnId { index, generation: 0 }
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_oldest_of_the_prefix_with_the_most_gives_way() {
        let mut handshakes = Handshakes::default();
        let (many, few) = (addr("192.0.2.1:1"), addr("198.51.100.1:1"));
        assert_eq!(handshakes.oldest_of_most(many), None);
        for n in 0..3 {
            handshakes.begin(addr(&format!("192.0.2.{n}:7")), id(n));
        }
        handshakes.begin(few, id(3));
        assert_eq!(handshakes.len(), 4);
        assert_eq!(handshakes.oldest_of_most(few), Some(id(0)));
        assert_eq!(handshakes.oldest_of_most(many), None, "not to one of its own");
        handshakes.end(many, id(0));
        assert_eq!(handshakes.oldest_of_most(addr("203.0.113.1:1")), Some(id(1)));
        handshakes.end(many, id(1));
        handshakes.end(many, id(1));
        assert_eq!(handshakes.len(), 2);
        assert_eq!(handshakes.oldest_of_most(few), None, "nor to one that has as many");
        handshakes.end(few, id(3));
        handshakes.end(many, id(2));
        assert!(handshakes.by_prefix.is_empty() && handshakes.len() == 0);
    }
}
