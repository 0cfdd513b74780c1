//! Connection ids.
//!
//! Every local id is the output of an HMAC under a random key made at start-up. So the table's keys are
//! unpredictable (a peer cannot aim for collisions), and the id of a new connection follows from the destination id
//! that the client chose: retransmitted Initial packets find the connection without a second table.

use std::hash::{BuildHasherDefault, Hasher};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Length of local connection ids in bytes.
pub(crate) const CID_LEN: usize = 16;

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
    issued: u64,
}

impl CidGenerator {
    /// A generator with a random key, or `None` if the system provides no random numbers.
    pub(crate) fn new(random: &SystemRandom) -> Option<Self> {
        let mut key = [0; 32];
        random.fill(&mut key).ok()?;
        Some(CidGenerator { key: hmac::Key::new(hmac::HMAC_SHA256, &key), issued: 0 })
    }

    /// The id of the connection whose client chose `dcid` for its first packets.
    pub(crate) fn derive(&self, dcid: &[u8]) -> Cid {
        self.hash(b"initial", dcid)
    }

    /// A further id and its stateless reset token (RFC 9000 section 10.3).
    pub(crate) fn next(&mut self) -> (Cid, u128) {
        self.issued += 1;
        let cid = self.hash(b"further", &self.issued.to_be_bytes());
        (cid, u128::from_be_bytes(self.hash(b"reset", &cid.0).0))
    }

    fn hash(&self, purpose: &[u8], data: &[u8]) -> Cid {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[purpose.len() as u8]);
        context.update(purpose);
        context.update(data);
        let tag = context.sign();
        let mut cid = [0; CID_LEN];
        cid.copy_from_slice(&tag.as_ref()[..CID_LEN]);
        Cid(cid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_per_dcid_and_never_repeat() {
        let mut a = CidGenerator::new(&SystemRandom::new()).unwrap();
        let b = CidGenerator::new(&SystemRandom::new()).unwrap();
        assert_eq!(a.derive(b"dcid"), a.derive(b"dcid"));
        assert_ne!(a.derive(b"dcid"), a.derive(b"dcie"));
        assert_ne!(a.derive(b"dcid"), b.derive(b"dcid"), "another process has another key");
        let (first, token) = a.next();
        let (second, other) = a.next();
        assert_ne!(first, second);
        assert_ne!(token, other);
        assert_eq!(Cid::from_slice(&[0; 15]), None);
    }
}
