//! Wire formats besides HTTP/3 frames: variable-length integers, capsules, HTTP datagrams, the numbers of WebTransport,
//! and the stream data in QUIC packets. Parses any bytes without a panic; independent of connections.

pub(crate) mod capsule;
pub(crate) mod code;
pub(crate) mod datagram;
pub(crate) mod frame;
pub(crate) mod packet;
pub(crate) mod varint;
