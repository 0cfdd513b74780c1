//! Initial packets without a connection (RFC 9000 section 17.2.2). With them a server closes connections that it does
//! not or cannot accept: quiche writes no close before its first flight, and a connection would cost a TLS handshake.
//! And it distinguishes packets of clients from noise, by their AEAD tag.

use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;

use super::cid::Cid;
use crate::wire::packet::{LongPacket, take_long};

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
/// The length bits of a varint of two bytes (RFC 9000 section 16).
const TWO_BYTES: u16 = 0x4000;
const MAX_REASON: usize = 63;

/// The content of a close.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Close<'a> {
    /// An error code of QUIC (RFC 9000 section 20.1), below 2^14.
    pub(crate) code: u64,
    /// At most 63 bytes.
    pub(crate) reason: &'a str,
    /// The number of the packet: of Initial packets that the connection sent before.
    pub(crate) number: u8,
}

/// The datagram that closes the connection of a client which wrote to `odcid` from `client_cid`. It needs no padding,
/// as it elicits no acknowledgement (RFC 9000 section 14.1). `None` for other versions than 1.
pub(super) fn close(version: u32, odcid: &[u8], client_cid: &[u8], scid: Cid, close: Close<'_>) -> Option<Vec<u8>> {
    let Close { code, reason, number } = close;
    // One byte is the whole varint of a length (RFC 9000 section 16).
    if version != VERSION_1 || code >= 1 << 14 || reason.len() > MAX_REASON {
        return None;
    }
    let [high, low] = (code as u16 | TWO_BYTES).to_be_bytes();
    let frame_type = 0;
    let mut payload = vec![CONNECTION_CLOSE, high, low, frame_type, reason.len() as u8];
    payload.extend_from_slice(reason.as_bytes());
    seal(&Keys::new(odcid, "server in")?, client_cid, &scid.0, number, payload)
}

/// An Initial packet of version 1 without a token.
fn seal(keys: &Keys, dcid: &[u8], scid: &[u8], number: u8, mut payload: Vec<u8>) -> Option<Vec<u8>> {
    let mut packet = vec![FIRST_BYTE];
    packet.extend_from_slice(&VERSION_1.to_be_bytes());
    for cid in [dcid, scid] {
        packet.push(u8::try_from(cid.len()).ok()?);
        packet.extend_from_slice(cid);
    }
    let token_len = 0;
    packet.push(token_len);
    let len = 1 + payload.len() + TAG_LEN;
    packet.extend_from_slice(&(len as u16 | TWO_BYTES).to_be_bytes());
    let number_at = packet.len();
    packet.push(number);
    let nonce = keys.nonce(number.into());
    let tag = keys.packet.seal_in_place_separate_tag(nonce, Aad::from(&packet), &mut payload).ok()?;
    packet.extend_from_slice(&payload);
    packet.extend_from_slice(tag.as_ref());

    let [mask, number_mask, ..] = keys.mask(&packet, number_at)?;
    packet[0] ^= mask & 0x0f;
    packet[number_at] ^= number_mask;
    Some(packet)
}

/// Whether a datagram begins with an Initial packet of version 1 whose AEAD tag is valid: it comes from a client,
/// unchanged. `dcid` is its destination id.
pub(super) fn is_authentic(datagram: &[u8], dcid: &[u8]) -> bool {
    open(datagram, dcid).is_some()
}

fn open(datagram: &[u8], dcid: &[u8]) -> Option<()> {
    let LongPacket { bytes, number_at } = take_long(&mut &*datagram)?;
    let mut packet = bytes.to_vec();

    let keys = Keys::new(dcid, "client in")?;
    let mask = keys.mask(&packet, number_at)?;
    packet[0] ^= mask[0] & 0x0f;
    let payload_at = number_at + usize::from(packet[0] & 0x03) + 1;
    let number_bytes = packet.get_mut(number_at..payload_at)?;
    let mut number = 0;
    for (byte, mask) in number_bytes.iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
        number = number << 8 | u64::from(*byte);
    }
    let (header, payload) = packet.split_at_mut_checked(payload_at)?;
    keys.packet.open_in_place(keys.nonce(number), Aad::from(&*header), payload).ok().map(drop)
}

/// An Initial packet of a client with any payload, in a datagram of `len` bytes.
#[cfg(test)]
pub(crate) fn client_packet(dcid: &[u8], scid: &[u8], number: u8, payload: &[u8], len: usize) -> Vec<u8> {
    let keys = Keys::new(dcid, "client in").expect("keys");
    let mut packet = seal(&keys, dcid, scid, number, payload.to_vec()).expect("a packet");
    packet.resize(len, 0);
    packet
}

/// The keys of one side's Initial packets.
struct Keys {
    packet: LessSafeKey,
    iv: [u8; NONCE_LEN],
    header: HeaderProtectionKey,
}

impl Keys {
    /// For the destination id of the client's first packet, or of the first one after a Retry. `side` is the label of
    /// the side that sends.
    fn new(dcid: &[u8], side: &str) -> Option<Self> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &SALT_V1).extract(dcid);
        let secret: [u8; 32] = expand_label(&secret, side)?;
        let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret);
        let (key, header): ([u8; 16], [u8; 16]) =
            (expand_label(&secret, "quic key")?, expand_label(&secret, "quic hp")?);
        Some(Keys {
            packet: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?),
            iv: expand_label(&secret, "quic iv")?,
            header: HeaderProtectionKey::new(&AES_128, &header).ok()?,
        })
    }

    /// RFC 9001 section 5.3.
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// What protects the first byte and the packet number at `number_at` (RFC 9001 section 5.4.2).
    fn mask(&self, packet: &[u8], number_at: usize) -> Option<[u8; 5]> {
        let sample = packet.get(number_at + 4..number_at + 4 + AES_128.sample_len())?;
        self.header.new_mask(sample).ok()
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
        assert_eq!(Keys::new(&dcid, "server in").unwrap().iv, expand_label(&secret, "quic iv").unwrap());
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
        let said = |code, reason| Close { code, reason, number: 0 };
        let mut packet = close(header.version, &header.dcid, &header.scid, Cid([7; 16]), said(0x178, "no")).unwrap();
        assert_eq!(packet.len(), 1 + 4 + (1 + 5) + (1 + 16) + 1 + 2 + (1 + 7 + 16));
        client.recv(&mut packet, quiche::RecvInfo { from: peer, to: local }).unwrap();
        let error = client.peer_error().expect("a close");
        assert_eq!((error.is_app, error.error_code, &*error.reason), (false, 0x178, &b"no"[..]));
        assert!(client.is_draining());
        assert_eq!(close(2, &header.dcid, &header.scid, Cid([7; 16]), said(0xb, "")), None);
        assert_eq!(close(1, &header.dcid, &header.scid, Cid([7; 16]), said(1 << 14, "")), None);
        assert_eq!(close(1, &header.dcid, &header.scid, Cid([7; 16]), said(0xb, &"x".repeat(64))), None);
    }

    #[test]
    fn a_clients_packet_is_told_from_one_that_was_changed() {
        let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).unwrap();
        config.set_application_protos(&[b"h3"]).unwrap();
        let (local, peer) = ("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:443".parse().unwrap());
        let scid = quiche::ConnectionId::from_ref(&[9; 5]);
        let mut client = quiche::connect(Some("localhost"), &scid, local, peer, &mut config).unwrap();
        let mut packet = vec![0; 1500];
        let (len, _) = client.send(&mut packet).unwrap();
        packet.truncate(len);
        let dcid = quiche::Header::from_slice(&mut packet.clone(), 0).unwrap().dcid.to_vec();
        assert!(is_authentic(&packet, &dcid));
        assert!(is_authentic(&[&packet[..], &[0; 100]].concat(), &dcid), "something may follow");
        for at in (0..len).step_by(7) {
            let mut changed = packet.clone();
            // A bit that header protection covers, where the first byte has others.
            changed[at] ^= 1;
            assert!(!is_authentic(&changed, &dcid), "byte {at}");
            assert!(!is_authentic(&packet[..at], &dcid), "{at} bytes");
        }
        assert!(is_authentic(&client_packet(&[1; 8], &[], 200, &[0, 0, 1], 1200), &[1; 8]));
        assert!(!is_authentic(&[], &[]));
        let huge_length = [&[0xc0, 0, 0, 0, 1, 0, 0, 0][..], &[0xff; 8]].concat();
        assert!(!is_authentic(&huge_length, &[]));
    }
}
