//! Packets without a connection: their headers, and the replies to them.

use super::cid::{CID_LEN, Cid};
use super::initial;

/// A datagram with an Initial packet that elicits an ACK has at least this size in bytes (RFC 9000 section 14.1).
pub(crate) const MIN_INITIAL_DATAGRAM: usize = 1200;

/// A packet with a long header (RFC 9000 section 17.2).
#[derive(Debug)]
pub(crate) struct LongHeader {
    header: quiche::Header<'static>,
}

impl LongHeader {
    /// Reads the header of a datagram's first packet.
    pub(crate) fn parse(datagram: &mut [u8]) -> Option<Self> {
        quiche::Header::from_slice(datagram, CID_LEN).ok().map(|header| LongHeader { header })
    }

    pub(crate) fn is_initial(&self) -> bool {
        self.header.ty == quiche::Type::Initial
    }

    pub(crate) fn is_handshake(&self) -> bool {
        self.header.ty == quiche::Type::Handshake
    }

    /// The destination connection id.
    pub(crate) fn dcid(&self) -> &[u8] {
        &self.header.dcid
    }

    /// The token of an Initial packet, or nothing.
    pub(crate) fn token(&self) -> &[u8] {
        self.header.token.as_deref().unwrap_or_default()
    }

    /// A Retry packet (RFC 9000 section 17.2.5) that makes the client continue with `scid` and `token`.
    pub(crate) fn retry(&self, scid: &[u8], token: &[u8]) -> Option<Vec<u8>> {
        let LongHeader { header } = self;
        let new_scid = quiche::ConnectionId::from_ref(scid);
        packet(|out| quiche::retry(&header.scid, &header.dcid, &new_scid, token, header.version, out))
    }

    /// An Initial packet that closes the connection which this Initial packet asks for, with an error code of QUIC.
    pub(crate) fn close(&self, scid: Cid, code: u8, reason: &str) -> Option<Vec<u8>> {
        let LongHeader { header } = self;
        initial::close(header.version, &header.dcid, &header.scid, scid, code, reason)
    }
}

/// Whether quiche supports the version.
pub(crate) fn is_supported(version: u32) -> bool {
    quiche::version_is_supported(version)
}

/// A Version Negotiation packet (RFC 9000 section 17.2.1) for a client whose packet had these connection ids.
pub(crate) fn version_negotiation(dcid: &[u8], scid: &[u8]) -> Option<Vec<u8>> {
    let (dcid, scid) = (quiche::ConnectionId::from_ref(dcid), quiche::ConnectionId::from_ref(scid));
    packet(|out| quiche::negotiate_version(&scid, &dcid, out))
}

fn packet(write: impl FnOnce(&mut [u8]) -> quiche::Result<usize>) -> Option<Vec<u8>> {
    let mut packet = vec![0; MIN_INITIAL_DATAGRAM];
    let len = write(&mut packet).ok()?;
    packet.truncate(len);
    Some(packet)
}

/// Version, destination and source connection id of a long header: what every version of QUIC has in the same place
/// (RFC 8999 section 5.1).
pub(crate) fn invariants(datagram: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (version, rest) = datagram.get(1..)?.split_first_chunk()?;
    let (dcid, rest) = rest.split_first().and_then(|(len, rest)| rest.split_at_checked(usize::from(*len)))?;
    let (scid, _) = rest.split_first().and_then(|(len, rest)| rest.split_at_checked(usize::from(*len)))?;
    Some((u32::from_be_bytes(*version), dcid, scid))
}
