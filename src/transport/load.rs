//! Memory that a peer makes quiche hold, which quiche neither limits nor reports.
//!
//! - Each piece of received data (a STREAM or CRYPTO frame) is kept separately until it is read, with some 200 bytes of
//!   overhead. Pieces of one byte with gaps between them fill a window of 1 MiB with 100 MiB. Their
//!   frames are counted in packets that quiche has [decrypted](super::decrypted).
//! - Each sent packet is kept until it is acknowledged, with all ranges of its ACK frame. A peer that acknowledges
//!   nothing, and leaves gaps in its packet numbers, makes that grow by 2 KB for each of its own packets.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Instant;

use super::buf::Quic;
use super::decrypted::payloads;
use crate::wire::frame;

/// Data up to this size, in bytes, is a small piece.
const SMALL: usize = 128;
/// Maximum small pieces held: 3 MiB.
const MAX_HELD: f64 = 16_384.0;
/// Maximum small pieces held during a handshake: browsers split a ClientHello into some ten.
const MAX_HELD_IN_HANDSHAKE: f64 = 256.0;
/// Small pieces assumed to be freed per second: quiche does not report it.
const RETURNED_PER_SECOND: f64 = 1000.0;
/// With this many unread bytes on a stream, small pieces count as well.
const UNREAD: usize = 4 * 1024;
/// Streams in a datagram whose unread bytes are counted, which takes time: the others are assumed to be like them.
const MAX_COUNTED: usize = 4;
/// One of this many datagrams is inspected. A peer cannot predict which.
const SAMPLE: u32 = 8;
/// Datagrams between checks for acknowledgements.
const DATAGRAMS_PER_CHECK: u32 = 256;
/// Checks between those for incomplete heads.
const CHECKS_PER_HEADS_CHECK: u32 = 8;
/// Maximum packets sent without any acknowledgement, 8 MiB: more than a window of data.
const MAX_UNACKNOWLEDGED: usize = 4096;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Small pieces of streams that cannot be read.
    Pieces,
    /// Small pieces of the TLS handshake.
    HandshakePieces,
    /// Packets that the peer does not acknowledge.
    Unacknowledged,
    /// Streams that were aborted.
    Aborted,
}

impl Excess {
    /// The reason for the close.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Excess::Pieces => "too many small pieces of streams that cannot be read",
            Excess::HandshakePieces => "too many small pieces of a handshake",
            Excess::Unacknowledged => "too many packets without an acknowledgement",
            Excess::Aborted => "too many aborted streams",
        }
    }
}

/// Memory that a peer makes quiche hold. Boxed once there is something to observe.
#[derive(Debug)]
pub(super) struct Load {
    /// The state of a random number generator (xorshift).
    random: u32,
    /// Since the last check for acknowledgements.
    datagrams: u32,
    held: Option<Box<Held>>,
}

/// The state before quiche processes a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// Datagrams that this one is a sample of.
    weight: u32,
    in_handshake: bool,
    /// Packets that quiche had accepted, if the peer is observed.
    accepted: Option<usize>,
}

#[derive(Debug, Default)]
struct Held {
    /// Present once there were some.
    pieces: Option<Pieces>,
    /// At the last progress of acknowledgements: the bytes acknowledged, and the packets sent.
    acked_bytes: u64,
    sent: usize,
    checks: u32,
    is_heads_check_due: bool,
    /// Pieces were added since the last check.
    has_more: bool,
}

impl Load {
    pub(super) fn new() -> Self {
        let random = RandomState::new().build_hasher().finish() as u32;
        Load { random: random.max(1), datagrams: 0, held: None }
    }

    /// A datagram arrived. `None` if it is not inspected.
    pub(super) fn before(&mut self, quic: &Quic) -> Option<Before> {
        self.datagrams += 1;
        let in_handshake = !quic.is_established();
        let weight = if in_handshake { 1 } else { SAMPLE };
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let is_observed = self.held.as_ref().is_some_and(|held| held.pieces.is_some());
        let before = || Before { weight, in_handshake, accepted: is_observed.then(|| quic.stats().recv) };
        self.random.is_multiple_of(weight).then(before)
    }

    /// quiche has processed a datagram, and decrypted it in place.
    pub(super) fn after(&mut self, quic: &Quic, datagram: &[u8], before: Before) {
        if before.in_handshake && quic.is_established() {
            // It has read all of its pieces.
            return;
        }
        let pieces = held_pieces(quic, datagram);
        if pieces == 0 {
            return;
        }
        let held = self.held.get_or_insert_default();
        let counted = held.pieces.get_or_insert_default();
        // Datagrams of others are not the peer's fault; they cause no more than the observation.
        if before.accepted.is_some_and(|accepted| quic.stats().recv > accepted) {
            counted.count += f64::from(before.weight) * pieces as f64;
            held.has_more = true;
        }
    }

    /// Whether there is something to [check](Load::check). Called for each datagram.
    pub(super) fn is_due(&self) -> bool {
        self.datagrams >= DATAGRAMS_PER_CHECK || self.held.as_ref().is_some_and(|held| held.has_more)
    }

    /// The small pieces held now, and the increase since the last call.
    pub(super) fn pieces(&mut self, now: Instant) -> (f64, f64) {
        let Some(pieces) = self.held.as_mut().and_then(|held| held.pieces.as_mut()) else { return (0.0, 0.0) };
        let count = pieces.at(now);
        (count, count - std::mem::replace(&mut pieces.reported, count))
    }

    /// Whether some 2 MB of datagrams have arrived since this was last true.
    pub(super) fn take_heads_check(&mut self) -> bool {
        self.held.as_mut().is_some_and(|held| std::mem::take(&mut held.is_heads_check_due))
    }

    /// The limit that is exceeded, if any.
    pub(super) fn check(&mut self, quic: &Quic, now: Instant) -> Option<Excess> {
        if self.datagrams >= DATAGRAMS_PER_CHECK {
            self.datagrams = 0;
            let held = self.held.get_or_insert_default();
            held.checks = held.checks.wrapping_add(1);
            held.is_heads_check_due |= held.checks.is_multiple_of(CHECKS_PER_HEADS_CHECK);
            if held.is_unacknowledged(quic) {
                return Some(Excess::Unacknowledged);
            }
        }
        let held = self.held.as_mut()?;
        held.has_more = false;
        let pieces = held.pieces.as_mut()?;
        let (limit, excess) = match quic.is_established() {
            true => (MAX_HELD, Excess::Pieces),
            false => (MAX_HELD_IN_HANDSHAKE, Excess::HandshakePieces),
        };
        (pieces.at(now) > limit).then_some(excess)
    }
}

#[derive(Debug, Default)]
struct Pieces {
    count: f64,
    /// When it was computed.
    at: Option<Instant>,
    /// The count at the last call of [`pieces`](Load::pieces).
    reported: f64,
}

impl Held {
    fn is_unacknowledged(&mut self, quic: &Quic) -> bool {
        let stats = quic.stats();
        if stats.acked_bytes != self.acked_bytes {
            (self.acked_bytes, self.sent) = (stats.acked_bytes, stats.sent);
        }
        stats.sent - self.sent > MAX_UNACKNOWLEDGED
    }
}

impl Pieces {
    fn at(&mut self, now: Instant) -> f64 {
        let elapsed = self.at.replace(now).map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.count = (self.count - elapsed * RETURNED_PER_SECOND).max(0.0);
        self.count
    }
}

/// The small pieces in a decrypted datagram that quiche holds.
fn held_pieces(quic: &Quic, datagram: &[u8]) -> usize {
    let mut counted = 0;
    let mut is_held = |stream| {
        // All of it was read: this was sent again.
        if quic.stream_finished(stream) {
            return false;
        }
        if counted >= MAX_COUNTED {
            return true;
        }
        let readable = quic.stream_readable_len(stream, UNREAD);
        counted += usize::from(readable >= UNREAD);
        // If nothing can be read, the new piece was not the next one.
        readable == 0 || readable >= UNREAD
    };
    // quiche keeps an empty piece only for its FIN.
    let small = payloads(datagram).flat_map(frame::pieces).filter(|piece| (1..=SMALL).contains(&piece.data.len()));
    small.filter(|piece| piece.stream.is_none_or(&mut is_held)).count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transport::cid::CID_LEN;

    #[test]
    fn a_piece_of_a_stream_that_quiche_dropped_is_not_held() {
        let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).expect("a configuration");
        let (id, addr) = (quiche::ConnectionId::from_ref(&[7; 8]), "127.0.0.1:1".parse().expect("an address"));
        let quic: Quic = quiche::connect_with_buffer_factory(None, &id, addr, addr, &mut config).expect("a client");
        // STREAM frames in a packet that was decrypted, and in one of the handshake a CRYPTO frame.
        let header = [&[0x40][..], &[7; CID_LEN], &[0]].concat();
        let packet = |frames: &[u8]| [&header, frames, &[0; 16]].concat();
        assert_eq!(held_pieces(&quic, &packet(&[0x0b, 0x04, 0x01, b'x'])), 0);
        assert_eq!(held_pieces(&quic, &packet(&[0x06, 0x00, 0x01, b'x'])), 1);
    }

    #[test]
    fn pieces_are_taken_as_given_back_with_time() {
        let now = crate::net::now();
        let mut pieces = Pieces { count: 3000.0, ..Pieces::default() };
        assert_eq!(pieces.at(now), 3000.0);
        assert_eq!(pieces.at(now + Duration::from_millis(500)), 2500.0);
        assert_eq!(pieces.at(now + Duration::from_secs(60)), 0.0);
    }
}
