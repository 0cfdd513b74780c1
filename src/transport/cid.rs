//! Connection ids.
//!
//! Every local id is the output of an HMAC under a random key made at start-up. So the table's keys are
//! unpredictable (a peer cannot aim for collisions), and the id of a new connection follows from the destination id
//! that the client chose: retransmitted Initial packets find the connection without a second table.
//!
//! Stateless reset tokens follow from the ids under a key that may survive a restart. The ids themselves never do: with
//! the same ids in two processes, a client could make one of them reveal the reset token of another client's connection
//! (RFC 9000 section 21.11).

use std::hash::{BuildHasherDefault, Hasher};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Length of local connection ids in bytes.
pub(crate) const CID_LEN: usize = 16;

/// Length of the ids in Retry packets: together with a reset token, longer ones would not always fit in the transport
/// parameters (`transport/reset.rs`).
pub(crate) const RETRY_CID_LEN: usize = 8;

/// A worker's place among those of a server. Its ids name it, in their last byte: the table's hash uses the first ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: u8,
    /// At least 1.
    pub(crate) count: u8,
}

impl Place {
    /// That of a server's only worker.
    pub(crate) const ONLY: Place = Place { index: 0, count: 1 };

    /// Makes an id one of this worker's.
    fn mark(self, mut cid: Cid) -> Cid {
        let last = &mut cid.0[CID_LEN - 1];
        let first_of_row = *last - *last % self.count;
        *last = first_of_row.checked_add(self.index).unwrap_or_else(|| first_of_row - self.count + self.index);
        cid
    }
}

/// A local connection id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cid(pub(crate) [u8; CID_LEN]);

impl Cid {
    /// The id in `bytes`, if they have the length of a local id.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Cid> {
        bytes.try_into().ok().map(Cid)
    }

    pub(crate) fn to_quiche(self) -> quiche::ConnectionId<'static> {
        quiche::ConnectionId::from_vec(self.0.to_vec())
    }
}

impl std::hash::Hash for Cid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// Uses the first eight bytes as the hash, as ids in the table are HMAC output already.
#[derive(Default, Debug)]
pub(crate) struct CidHasher(u64);

impl Hasher for CidHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*head);
        }
    }
}

pub(crate) type CidBuildHasher = BuildHasherDefault<CidHasher>;

/// Makes connection ids.
#[derive(Debug)]
pub(crate) struct CidGenerator {
    key: hmac::Key,
    reset_key: hmac::Key,
    place: Place,
    issued: u64,
}

impl CidGenerator {
    /// A generator of random ids of a worker, whose reset tokens are made with `reset_key`. `None` if the system provides
    /// no random numbers.
    pub(crate) fn new(random: &SystemRandom, reset_key: [u8; 32], place: Place) -> Option<Self> {
        let mut ids = [0; 32];
        random.fill(&mut ids).ok()?;
        let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Some(CidGenerator { key: key(&ids), reset_key: key(&reset_key), place, issued: 0 })
    }

    /// The id of the connection whose client chose `dcid` for its first packets.
    pub(crate) fn derive(&self, dcid: &[u8]) -> Cid {
        self.place.mark(hash(&self.key, b"initial", dcid))
    }

    /// Another id and its stateless reset token (RFC 9000 section 10.3).
    pub(crate) fn next(&mut self) -> (Cid, u128) {
        self.issued += 1;
        let cid = self.place.mark(hash(&self.key, b"further", &self.issued.to_be_bytes()));
        (cid, self.reset_token(&cid))
    }

    /// An id for a Retry packet, which the client uses until the server's next packet.
    pub(crate) fn next_for_retry(&mut self) -> [u8; RETRY_CID_LEN] {
        let (Cid(cid), _) = self.next();
        let mut short = [0; RETRY_CID_LEN];
        short.copy_from_slice(&cid[..RETRY_CID_LEN]);
        short
    }

    /// The stateless reset token of a local id, also of one that another process with the same key made.
    pub(crate) fn reset_token(&self, cid: &Cid) -> u128 {
        u128::from_be_bytes(hash(&self.reset_key, b"reset", &cid.0).0)
    }
}

fn hash(key: &hmac::Key, purpose: &[u8], data: &[u8]) -> Cid {
    let mut context = hmac::Context::with_key(key);
    context.update(&[purpose.len() as u8]);
    context.update(purpose);
    context.update(data);
    let tag = context.sign();
    let mut cid = [0; CID_LEN];
    cid.copy_from_slice(&tag.as_ref()[..CID_LEN]);
    Cid(cid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_per_dcid_and_never_repeat() {
        let mut a = CidGenerator::new(&SystemRandom::new(), [1; 32], Place::ONLY).unwrap();
        let b = CidGenerator::new(&SystemRandom::new(), [1; 32], Place::ONLY).unwrap();
        assert_eq!(a.derive(b"dcid"), a.derive(b"dcid"));
        assert_ne!(a.derive(b"dcid"), a.derive(b"dcie"));
        assert_ne!(a.derive(b"dcid"), b.derive(b"dcid"), "another process has another key");
        let (first, token) = a.next();
        let (second, other) = a.next();
        assert_ne!(first, second);
        assert_ne!(token, other);
        assert_eq!(Cid::from_slice(&[0; 15]), None);
    }

    #[test]
    fn the_ids_of_two_processes_with_one_key_differ_and_their_reset_tokens_are_understood() {
        let generator = |reset_key| CidGenerator::new(&SystemRandom::new(), reset_key, Place::ONLY).unwrap();
        let (mut a, mut b, other) = (generator([1; 32]), generator([1; 32]), generator([2; 32]));
        let ((cid, token), (theirs, _)) = (a.next(), b.next());
        assert_ne!(cid, theirs);
        assert_eq!(b.reset_token(&cid), token);
        assert_ne!(other.reset_token(&cid), token);
        assert_eq!(a.reset_token(&a.derive(b"dcid")), b.reset_token(&a.derive(b"dcid")));
    }
}
