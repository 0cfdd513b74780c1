//! Retry tokens (RFC 9000 section 8.1.2): sealed by an AEAD, bound to the client's address and to the connection id
//! from the Retry packet, and valid for a short time.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::cid::Cid;

/// The first byte of our tokens, to distinguish a token of another server from a forged one.
const KIND_RETRY: u8 = b'R';

/// The result of checking a client's token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenCheck {
    /// Sealed by us, for this client, in time. Holds the destination connection id of its very first packet.
    Valid(Vec<u8>),
    /// From another server: treated as no token (RFC 9000 section 8.1.3).
    Foreign,
    /// Looks like ours but is forged, expired or another client's.
    Invalid,
}

/// Seals and opens Retry tokens.
#[derive(Debug)]
pub(crate) struct TokenKey {
    key: LessSafeKey,
    random: SystemRandom,
    epoch: Instant,
    lifetime: Duration,
}

impl TokenKey {
    /// A random key, or `None` if the system provides no random numbers.
    pub(crate) fn new(random: &SystemRandom, epoch: Instant, lifetime: Duration) -> Option<Self> {
        let mut key = [0; 16];
        random.fill(&mut key).ok()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?);
        Some(TokenKey { key, random: random.clone(), epoch, lifetime })
    }

    /// A token for the client at `peer` that first wrote to `odcid` and must write to `scid` next.
    pub(crate) fn seal(&self, now: Instant, peer: SocketAddr, odcid: &[u8], scid: &Cid) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let expiry = now + self.lifetime - self.epoch;
        let mut sealed = (expiry.as_millis() as u64).to_be_bytes().to_vec();
        sealed.extend_from_slice(odcid);
        let aad = Aad::from(aad(peer, scid));
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        let mut token = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        token.push(KIND_RETRY);
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&sealed);
        Some(token)
    }

    /// Checks the token of a client at `peer` that writes to `scid`.
    pub(crate) fn open(&self, now: Instant, peer: SocketAddr, scid: &Cid, token: &[u8]) -> TokenCheck {
        let Some((&KIND_RETRY, rest)) = token.split_first() else { return TokenCheck::Foreign };
        let Some((nonce, sealed)) = rest.split_first_chunk() else { return TokenCheck::Invalid };
        let mut sealed = sealed.to_vec();
        let aad = Aad::from(aad(peer, scid));
        let Ok(opened) = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut sealed) else {
            return TokenCheck::Invalid;
        };
        match opened.split_first_chunk() {
            Some((expiry, odcid)) if (now - self.epoch).as_millis() as u64 <= u64::from_be_bytes(*expiry) => {
                TokenCheck::Valid(odcid.to_vec())
            }
            _ => TokenCheck::Invalid,
        }
    }
}

fn aad(peer: SocketAddr, scid: &Cid) -> Vec<u8> {
    let mut aad = match peer.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    aad.extend_from_slice(&peer.port().to_be_bytes());
    aad.extend_from_slice(&scid.0);
    aad
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_client_its_id_and_its_time_only() {
        let now = Instant::now();
        let key = TokenKey::new(&SystemRandom::new(), now, Duration::from_secs(15)).unwrap();
        let peer: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let (scid, other) = (Cid([7; 16]), Cid([8; 16]));
        let token = key.seal(now, peer, b"original", &scid).unwrap();
        let valid = TokenCheck::Valid(b"original".to_vec());
        assert_eq!(key.open(now, peer, &scid, &token), valid);
        assert_eq!(key.open(now + Duration::from_secs(15), peer, &scid, &token), valid);
        assert_eq!(key.open(now + Duration::from_millis(15_001), peer, &scid, &token), TokenCheck::Invalid);
        assert_eq!(key.open(now, "192.0.2.2:1000".parse().unwrap(), &scid, &token), TokenCheck::Invalid);
        assert_eq!(key.open(now, "192.0.2.1:1001".parse().unwrap(), &scid, &token), TokenCheck::Invalid);
        assert_eq!(key.open(now, peer, &other, &token), TokenCheck::Invalid);
        for at in 1..token.len() {
            let mut forged = token.clone();
            forged[at] ^= 1;
            assert_eq!(key.open(now, peer, &scid, &forged), TokenCheck::Invalid, "byte {at}");
            assert_eq!(key.open(now, peer, &scid, &token[..at]), TokenCheck::Invalid, "cut at {at}");
        }
        assert_eq!(key.open(now, peer, &scid, b""), TokenCheck::Foreign);
        assert_eq!(key.open(now, peer, &scid, b"foreign"), TokenCheck::Foreign);
        let restarted = TokenKey::new(&SystemRandom::new(), now, Duration::from_secs(15)).unwrap();
        assert_eq!(restarted.open(now, peer, &scid, &token), TokenCheck::Invalid);
    }
}
