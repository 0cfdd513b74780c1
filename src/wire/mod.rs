//! What goes over the wire beside QUIC and HTTP/3 frames: variable-length integers, capsules, HTTP datagrams and the
//! numbers of WebTransport. Reads any bytes without a panic; knows no connection.

pub(crate) mod capsule;
pub(crate) mod code;
pub(crate) mod datagram;
pub(crate) mod varint;
