//! `transport/`: Retry tokens, and packets without a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use super::input::Input;
use crate::net;
use crate::transport::cid::{CID_LEN, Cid};
use crate::transport::initial::Close;
use crate::transport::packet::{LongHeader, MIN_INITIAL_DATAGRAM, invariants, is_supported, version_negotiation};
use crate::transport::token::{TokenCheck, TokenKey};

/// QUIC's longest connection id in version 1 (RFC 9000 section 17.2).
const MAX_CID: usize = 20;

/// A Retry token: only one that was sealed for this client, and has not expired, is valid.
pub fn token(input: &[u8]) {
    const LIFETIME: Duration = Duration::from_secs(15);
    let now = net::now();
    let mut input = Input::new(input);
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(input.u16()) << 16);
    let key = TokenKey::new(input.array(), now, wall, LIFETIME);
    let ip = match input.byte() & 1 {
        0 => IpAddr::V4(Ipv4Addr::from(input.array::<4>())),
        _ => IpAddr::V6(Ipv6Addr::from(input.array::<16>())),
    };
    let peer = SocketAddr::new(ip, input.u16());
    let mut id = || {
        let id = input.short();
        &id[..id.len().min(MAX_CID)]
    };
    let (scid, odcid) = (id(), id());
    let token = key.seal(now, peer, odcid, scid);
    assert_eq!(key.open(now + LIFETIME, peer, scid, &token), TokenCheck::Valid(odcid.to_vec()));
    let is_valid =
        |at, peer, scid: &[u8], token: &[u8]| matches!(key.open(at, peer, scid, token), TokenCheck::Valid(_));
    assert!(!is_valid(now + LIFETIME + Duration::from_millis(1), peer, scid, &token), "expired");
    let other = SocketAddr::new(ip, peer.port().wrapping_add(1 + input.u16() % 1000));
    assert!(!is_valid(now, other, scid, &token), "another port");
    let other = input.short();
    let other = &other[..other.len().min(MAX_CID)];
    assert!(other == scid || !is_valid(now, peer, other, &token), "another connection id");
    let mut forged = token.clone();
    forged[usize::from(input.byte()) % token.len()] ^= input.byte().max(1);
    assert!(!is_valid(now, peer, scid, &forged), "a byte was changed");
    assert!(!is_valid(now, peer, scid, &token[..usize::from(input.byte()) % token.len()]), "cut");
    let rest = input.rest();
    assert!(rest == token || !is_valid(now, peer, scid, rest), "made up");
    assert!(rest.is_empty() || !is_valid(now, peer, scid, &[&token, rest].concat()), "something follows");
}

/// The header of a datagram's first packet: what every version has in common, and what version 1 has; the replies to
/// it.
pub fn packet(input: &[u8]) {
    let mut datagram = input.to_vec();
    let header = LongHeader::parse(&mut datagram);
    assert_eq!(datagram, input, "reading a header changes nothing");
    let Some((version, dcid, scid)) = invariants(input) else {
        // A packet with a short header has no more than a first byte and an id.
        assert!(header.is_none() || input[0] & 0x80 == 0);
        return;
    };
    assert!(dcid.len() <= 255 && scid.len() <= 255 && dcid.len() + scid.len() + 7 <= input.len());
    if let Some(packet) = version_negotiation(dcid, scid) {
        assert!(packet.len() <= MIN_INITIAL_DATAGRAM, "larger than what it answers");
        assert_eq!(invariants(&packet), Some((0, scid, dcid)), "the ids change places (RFC 8999 section 6)");
    }
    let Some(header) = header.filter(|_| input[0] & 0x80 != 0) else { return };
    assert_eq!(header.dcid(), dcid);
    // A Retry packet has one, too.
    assert!(header.token().is_empty() || header.is_initial() || input[0] & 0x30 == 0x30);
    if is_supported(version) && header.is_initial() && dcid.len() <= MAX_CID && scid.len() <= MAX_CID {
        let chosen = Cid([7; CID_LEN]);
        let close = Close { code: 2, reason: "no", number: 0 };
        let replies = [header.retry(&chosen.0, header.token()), header.close(chosen, close)];
        for packet in replies.into_iter().flatten() {
            assert!(packet.len() <= MIN_INITIAL_DATAGRAM, "larger than what it answers");
            assert_eq!(invariants(&packet), Some((version, scid, &chosen.0[..])));
        }
    }
}
