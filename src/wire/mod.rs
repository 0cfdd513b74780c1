//! Wire formats besides QUIC and HTTP/3 frames: variable-length integers, capsules, HTTP datagrams and the numbers of
//! WebTransport. Parses any bytes without a panic; independent of connections.

pub(crate) mod capsule;
pub(crate) mod code;
pub(crate) mod datagram;
pub(crate) mod varint;
