//! The close of a connection that was never made: an Initial packet with CONNECTION_CLOSE (RFC 9000 sections 8.1.2 and
//! 17.2.2). quiche writes none before its first flight, and a connection of its own would cost a TLS handshake.

use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;

use super::cid::Cid;

/// RFC 9001 section 5.2.
const SALT_V1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f,
    0x0a,
];
const VERSION_1: u32 = 1;
/// A long header with the fixed bit, the type Initial and a packet number of one byte.
const FIRST_BYTE: u8 = 0xc0;
/// CONNECTION_CLOSE with an error code of QUIC.
const CONNECTION_CLOSE: u8 = 0x1c;
const TAG_LEN: usize = 16;
const MAX_REASON: usize = 63;

/// The datagram that closes the connection of a client which wrote to `odcid` from `client_cid`. It needs no padding, as
/// it elicits no acknowledgement (RFC 9000 section 14.1). `None` for other versions than 1.
pub(super) fn close(
    version: u32,
    odcid: &[u8],
    client_cid: &[u8],
    scid: Cid,
    code: u8,
    reason: &str,
) -> Option<Vec<u8>> {
    // One byte is the whole varint of a code, or of a length (RFC 9000 section 16).
    if version != VERSION_1 || code >= 0x40 || reason.len() > MAX_REASON {
        return None;
    }
    let keys = Keys::of_server(odcid)?;
    let frame_type = 0;
    let mut payload = vec![CONNECTION_CLOSE, code, frame_type, reason.len() as u8];
    payload.extend_from_slice(reason.as_bytes());

    let mut packet = vec![FIRST_BYTE];
    packet.extend_from_slice(&version.to_be_bytes());
    for cid in [client_cid, &scid.0] {
        packet.push(u8::try_from(cid.len()).ok()?);
        packet.extend_from_slice(cid);
    }
    let token_len = 0;
    packet.push(token_len);
    const TWO_BYTES: u16 = 0x4000;
    let len = 1 + payload.len() + TAG_LEN;
    packet.extend_from_slice(&(len as u16 | TWO_BYTES).to_be_bytes());
    // Nothing else is sent, so its number is always 0, and the nonce is the IV.
    let number_at = packet.len();
    packet.push(0);
    let nonce = Nonce::assume_unique_for_key(keys.iv);
    let tag = keys.packet.seal_in_place_separate_tag(nonce, Aad::from(&packet), &mut payload).ok()?;
    packet.extend_from_slice(&payload);
    packet.extend_from_slice(tag.as_ref());

    // RFC 9001 section 5.4.2.
    let sample = packet.get(number_at + 4..number_at + 4 + AES_128.sample_len())?;
    let [mask, number_mask, ..] = keys.header.new_mask(sample).ok()?;
    packet[0] ^= mask & 0x0f;
    packet[number_at] ^= number_mask;
    Some(packet)
}

/// The keys of a server's Initial packets.
struct Keys {
    packet: LessSafeKey,
    iv: [u8; NONCE_LEN],
    header: HeaderProtectionKey,
}

impl Keys {
    /// For the destination id of the client's first packet, or of the first one after a Retry.
    fn of_server(dcid: &[u8]) -> Option<Self> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &SALT_V1).extract(dcid);
        let secret: [u8; 32] = expand_label(&secret, "server in")?;
        let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret);
        let (key, header): ([u8; 16], [u8; 16]) =
            (expand_label(&secret, "quic key")?, expand_label(&secret, "quic hp")?);
        Some(Keys {
            packet: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?),
            iv: expand_label(&secret, "quic iv")?,
            header: HeaderProtectionKey::new(&AES_128, &header).ok()?,
        })
    }
}

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1).
fn expand_label<const N: usize>(secret: &hkdf::Prk, label: &str) -> Option<[u8; N]> {
    struct Len(usize);
    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    const PREFIX: &[u8] = b"tls13 ";
    let label_len = [(PREFIX.len() + label.len()) as u8];
    let info = [&(N as u16).to_be_bytes()[..], &label_len, PREFIX, label.as_bytes(), &[0]];
    let mut out = [0; N];
    secret.expand(&info, Len(N)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn keys_are_those_of_rfc_9001_appendix_a_1() {
        let dcid = HEXLOWER.decode(b"8394c8f03e515708").unwrap();
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &SALT_V1).extract(&dcid);
        let server: [u8; 32] = expand_label(&secret, "server in").unwrap();
        let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
        assert_eq!(hex(&server), "3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b");
        let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &server);
        assert_eq!(hex(&expand_label::<16>(&secret, "quic key").unwrap()), "cf3a5331653c364c88f0f379b6067e37");
        assert_eq!(hex(&expand_label::<12>(&secret, "quic iv").unwrap()), "0ac1493ca1905853b0bba03e");
        assert_eq!(hex(&expand_label::<16>(&secret, "quic hp").unwrap()), "c206b8d9b9f0f37644430b490eeaa314");
        assert_eq!(Keys::of_server(&dcid).unwrap().iv, expand_label(&secret, "quic iv").unwrap());
    }

    #[test]
    fn a_client_takes_the_close_of_a_server_that_keeps_no_state() {
        let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).unwrap();
        config.set_application_protos(&[b"h3"]).unwrap();
        let (local, peer) = ("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:443".parse().unwrap());
        let scid = quiche::ConnectionId::from_ref(&[9; 5]);
        let mut client = quiche::connect(Some("localhost"), &scid, local, peer, &mut config).unwrap();
        let mut first = vec![0; 1500];
        let (len, _) = client.send(&mut first).unwrap();
        let header = quiche::Header::from_slice(&mut first[..len], 0).unwrap();
        let mut packet = close(header.version, &header.dcid, &header.scid, Cid([7; 16]), 0xb, "no").unwrap();
        assert_eq!(packet.len(), 1 + 4 + (1 + 5) + (1 + 16) + 1 + 2 + (1 + 6 + 16));
        client.recv(&mut packet, quiche::RecvInfo { from: peer, to: local }).unwrap();
        let error = client.peer_error().expect("a close");
        assert_eq!((error.is_app, error.error_code, &*error.reason), (false, 0xb, &b"no"[..]));
        assert!(client.is_draining());
        assert_eq!(close(2, &header.dcid, &header.scid, Cid([7; 16]), 0xb, ""), None);
        assert_eq!(close(1, &header.dcid, &header.scid, Cid([7; 16]), 0x40, ""), None);
        assert_eq!(close(1, &header.dcid, &header.scid, Cid([7; 16]), 0xb, &"x".repeat(64)), None);
    }
}
