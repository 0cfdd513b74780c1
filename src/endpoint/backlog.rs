//! Datagrams postponed to the next turn, so that they do not delay those of other connections: datagrams of connections
//! that have used their share of the turn, and first packets over a limit.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use super::route::Route;
use crate::transport::table::ConnId;

/// New streams and HTTP/3 events (other than ends) of a connection that are processed in one turn.
pub(super) const SHARE_OF_TURN: u32 = 100;
/// Handshakes that begin in one turn: the server signs in each. (Without other work, turns are short.)
const HANDSHAKES_PER_TURN: usize = 2;
/// Postponed first packets that are processed in one turn: most of them may not begin a handshake.
const FIRST_PACKETS_PER_TURN: usize = 64;
/// Maximum datagrams that wait: of one connection, of all connections, and first packets.
const MAX_OF_ONE: usize = 1024;
const MAX_OF_ALL: usize = 4096;
const MAX_FIRST_PACKETS: usize = 4096;

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) datagram: Vec<u8>,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

#[derive(Debug)]
pub(super) struct Backlog {
    by_conn: HashMap<ConnId, VecDeque<(Route, Waiting)>>,
    len: usize,
    first_packets: VecDeque<Waiting>,
    /// Handshakes that may still begin in this turn.
    handshakes: usize,
}

impl Backlog {
    pub(super) fn new() -> Self {
        Backlog { by_conn: HashMap::new(), len: 0, first_packets: VecDeque::new(), handshakes: HANDSHAKES_PER_TURN }
    }

    /// Keeps a datagram. False if it must be dropped.
    pub(super) fn keep(&mut self, route: Route, datagram: &[u8], from: SocketAddr, to: SocketAddr) -> bool {
        if self.len >= MAX_OF_ALL {
            return false;
        }
        let of_one = self.by_conn.entry(route.conn).or_default();
        if of_one.len() >= MAX_OF_ONE {
            return false;
        }
        of_one.push_back((route, Waiting { datagram: datagram.to_vec(), from, to }));
        self.len += 1;
        true
    }

    /// The next datagram of a connection.
    pub(super) fn take(&mut self, conn: ConnId) -> Option<(Route, Waiting)> {
        if self.len == 0 {
            return None;
        }
        let of_one = self.by_conn.get_mut(&conn)?;
        let next = of_one.pop_front();
        self.len -= usize::from(next.is_some());
        if of_one.is_empty() {
            self.by_conn.remove(&conn);
        }
        next
    }

    /// A turn begins. Returns how many [first packets](Backlog::take_first_packet) to process.
    pub(super) fn begin_turn(&mut self) -> usize {
        self.handshakes = HANDSHAKES_PER_TURN;
        self.first_packets.len().min(FIRST_PACKETS_PER_TURN)
    }

    /// The next first packet, if its handshake may begin.
    pub(super) fn take_first_packet(&mut self) -> Option<Waiting> {
        if self.handshakes == 0 {
            return None;
        }
        self.first_packets.pop_front()
    }

    /// Whether a handshake may begin in this turn, which then counts.
    pub(super) fn takes_handshake(&mut self) -> bool {
        let takes = self.handshakes > 0;
        self.handshakes -= usize::from(takes);
        takes
    }

    /// Keeps a first packet. False if it must be dropped.
    pub(super) fn keep_first_packet(&mut self, datagram: &[u8], from: SocketAddr, to: SocketAddr) -> bool {
        let keeps = self.first_packets.len() < MAX_FIRST_PACKETS;
        if keeps {
            self.first_packets.push_back(Waiting { datagram: datagram.to_vec(), from, to });
        }
        keeps
    }

    pub(super) fn has_first_packets(&self) -> bool {
        !self.first_packets.is_empty()
    }

    /// A connection has ended.
    pub(super) fn forget(&mut self, conn: ConnId) {
        if let Some(of_one) = self.by_conn.remove(&conn) {
            self.len -= of_one.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(index: u32) -> Route {
        Route { conn: ConnId { index, generation: 0 }, to_our_id: true }
    }

    fn keep(backlog: &mut Backlog, index: u32, datagram: &[u8]) -> bool {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        backlog.keep(route(index), datagram, addr, addr)
    }

    #[test]
    fn datagrams_keep_their_order_and_are_bounded() {
        let mut backlog = Backlog::new();
        for conn in 0..6 {
            let kept = (0..1100u16).filter(|n| keep(&mut backlog, conn, &n.to_be_bytes())).count();
            assert_eq!(kept, if conn < 4 { MAX_OF_ONE } else { 0 }, "{conn}");
        }
        for conn in 0..6 {
            match conn % 2 {
                0 => backlog.forget(route(conn).conn),
                _ => {
                    let taken: Vec<_> = std::iter::from_fn(|| backlog.take(route(conn).conn)).collect();
                    let numbers =
                        taken.iter().map(|(_, waiting)| u16::from_be_bytes([waiting.datagram[0], waiting.datagram[1]]));
                    assert!(numbers.eq(0..if conn < 4 { MAX_OF_ONE as u16 } else { 0 }), "{conn}");
                }
            }
        }
        assert_eq!((backlog.len, backlog.by_conn.len()), (0, 0));
    }
}
