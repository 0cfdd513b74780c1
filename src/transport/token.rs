//! Retry tokens (RFC 9000 section 8.1.2): authenticated, bound to the client's address and to the connection id from the
//! Retry packet, and valid for a short time. They are not encrypted: a client knows all that is in them.
//!
//! Their time is the time of day, so that a restarted server, or another one with the same key, understands them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::hmac;

/// The first bytes of our tokens, to distinguish a token of another kind of server from a forged one. One that a client
/// kept from such a server has them by chance once in 2^32.
const KIND: &[u8; 4] = b"mqR1";
/// Length of the HMAC in bytes.
const TAG_LEN: usize = 32;

/// The result of checking a client's token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenCheck {
    /// Made with our key, for this client, in time. Holds the destination connection id of its very first packet.
    Valid(Vec<u8>),
    /// From another kind of server: treated as no token (RFC 9000 section 8.1.3).
    Foreign,
    /// Looks like ours but is forged, expired or another client's.
    Invalid,
}

/// Makes and checks Retry tokens.
#[derive(Debug)]
pub(crate) struct TokenKey {
    key: hmac::Key,
    /// The same moment on the clock of `now` and since 1970.
    started: Instant,
    started_unix: Duration,
    lifetime: Duration,
}

impl TokenKey {
    /// `wall` is the time of day at `now`.
    pub(crate) fn new(key: [u8; 32], now: Instant, wall: SystemTime, lifetime: Duration) -> Self {
        TokenKey {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            started: now,
            started_unix: wall.duration_since(UNIX_EPOCH).unwrap_or_default(),
            lifetime,
        }
    }

    /// A token for the client at `peer` that first wrote to `odcid` and must write to `scid` next.
    pub(crate) fn seal(&self, now: Instant, peer: SocketAddr, odcid: &[u8], scid: &[u8]) -> Vec<u8> {
        let expiry = millis(self.unix(now).saturating_add(self.lifetime)).to_be_bytes();
        let tag = hmac::sign(&self.key, &authenticated(peer, scid, &expiry, odcid));
        [KIND, &expiry[..], odcid, tag.as_ref()].concat()
    }

    /// Checks the token of a client at `peer` that writes to `scid`.
    pub(crate) fn open(&self, now: Instant, peer: SocketAddr, scid: &[u8], token: &[u8]) -> TokenCheck {
        let Some(rest) = token.strip_prefix(KIND) else { return TokenCheck::Foreign };
        self.odcid(now, peer, scid, rest).map_or(TokenCheck::Invalid, |odcid| TokenCheck::Valid(odcid.to_vec()))
    }

    fn odcid<'a>(&self, now: Instant, peer: SocketAddr, scid: &[u8], token: &'a [u8]) -> Option<&'a [u8]> {
        let (expiry, rest) = token.split_first_chunk()?;
        let (odcid, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_LEN)?)?;
        hmac::verify(&self.key, &authenticated(peer, scid, expiry, odcid), tag).ok()?;
        (millis(self.unix(now)) <= u64::from_be_bytes(*expiry)).then_some(odcid)
    }

    fn unix(&self, now: Instant) -> Duration {
        self.started_unix.saturating_add(now.saturating_duration_since(self.started))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a token stands for. An address is the same one whether the socket is of IPv4 or of both.
fn authenticated(peer: SocketAddr, scid: &[u8], expiry: &[u8; 8], odcid: &[u8]) -> Vec<u8> {
    let ip = match peer.ip().to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    // An id has at most 20 bytes.
    let scid_len = [scid.len() as u8];
    [KIND, &ip.octets()[..], &peer.port().to_be_bytes(), expiry, &scid_len, scid, odcid].concat()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(15);

    fn wall(unix: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(unix)
    }

    #[test]
    fn a_token_is_good_for_its_client_its_id_and_its_time_only() {
        let now = Instant::now();
        let key = TokenKey::new([1; 32], now, wall(1_000_000), LIFETIME);
        let peer: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let (scid, other) = ([7; 8], [8; 8]);
        let token = key.seal(now, peer, b"original", &scid);
        let valid = TokenCheck::Valid(b"original".to_vec());
        assert_eq!(key.open(now, peer, &scid, &token), valid);
        assert_eq!(key.open(now, "[::ffff:192.0.2.1]:1000".parse().unwrap(), &scid, &token), valid);
        assert_eq!(key.open(now + LIFETIME, peer, &scid, &token), valid);
        assert_eq!(key.open(now + Duration::from_millis(15_001), peer, &scid, &token), TokenCheck::Invalid);
        assert_eq!(key.open(now, "192.0.2.2:1000".parse().unwrap(), &scid, &token), TokenCheck::Invalid);
        assert_eq!(key.open(now, "192.0.2.1:1001".parse().unwrap(), &scid, &token), TokenCheck::Invalid);
        assert_eq!(key.open(now, peer, &other, &token), TokenCheck::Invalid);
        for at in KIND.len()..token.len() {
            let mut forged = token.clone();
            forged[at] ^= 1;
            assert_eq!(key.open(now, peer, &scid, &forged), TokenCheck::Invalid, "byte {at}");
            assert_eq!(key.open(now, peer, &scid, &token[..at]), TokenCheck::Invalid, "cut at {at}");
        }
        for foreign in [&b""[..], b"foreign", &token[..KIND.len() - 1]] {
            assert_eq!(key.open(now, peer, &scid, foreign), TokenCheck::Foreign);
        }
    }

    #[test]
    fn another_process_with_the_key_takes_a_token_until_its_time_of_day() {
        let now = Instant::now();
        let peer: SocketAddr = "[2001:db8::1]:1000".parse().unwrap();
        let scid = [7; 8];
        let first = TokenKey::new([1; 32], now, wall(1_000_000), LIFETIME);
        let token = first.seal(now + Duration::from_secs(5), peer, b"original", &scid);
        // Its clock of `now` counts from elsewhere.
        let began = now + Duration::from_secs(777);
        let restarted = TokenKey::new([1; 32], began, wall(1_000_010), LIFETIME);
        let valid = TokenCheck::Valid(b"original".to_vec());
        assert_eq!(restarted.open(began, peer, &scid, &token), valid);
        assert_eq!(restarted.open(began + Duration::from_secs(10), peer, &scid, &token), valid);
        assert_eq!(restarted.open(began + Duration::from_millis(10_001), peer, &scid, &token), TokenCheck::Invalid);
        let other = TokenKey::new([2; 32], now, wall(1_000_000), LIFETIME);
        assert_eq!(other.open(now, peer, &scid, &token), TokenCheck::Invalid);
    }
}
