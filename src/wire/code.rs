//! The code points that mark streams of WebTransport sessions (draft-ietf-webtrans-http3 section 4).

/// First varint of a bidirectional stream of a session.
pub(crate) const BIDI_SIGNAL: u64 = 0x41;
/// Type of a unidirectional stream of a session.
pub(crate) const UNI_TYPE: u64 = 0x54;
/// Smallest first byte of the two in any of their encodings: they do not fit into a varint of one byte.
pub(crate) const SIGNAL_FIRST: u8 = 0x40;
