//! Values that reading and answering have in common.

use http::{HeaderMap, StatusCode};

/// What reading a stream gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recv<T = usize> {
    /// Data: how many bytes, or the bytes.
    Data(T),
    /// Nothing now. The stream becomes ready when there is more.
    Pending,
    /// The peer has sent everything.
    Finished,
}

/// A response's status and header fields.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
}
