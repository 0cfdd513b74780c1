//! Types shared by reading and responding.

use http::{HeaderMap, StatusCode};

/// The result of reading a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recv<T = usize> {
    /// Data: how many bytes, or the bytes.
    Data(T),
    /// No data now. The stream becomes ready when there is more.
    Pending,
    /// The peer has finished the stream, and everything was read.
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
