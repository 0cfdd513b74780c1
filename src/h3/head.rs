//! Types shared by reading and responding.

use http::{HeaderMap, HeaderValue, StatusCode};

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

/// A number as a field value, with one allocation less than `HeaderValue::from`.
pub(crate) fn decimal(n: u64) -> HeaderValue {
    // Digits are always valid.
    HeaderValue::from_str(itoa::Buffer::new().format(n)).unwrap_or_else(|_| HeaderValue::from(n))
}
