//! What a request gets, whatever the stack.

use bytes::Bytes;

/// The body of `GET /`.
pub(crate) const SMALL: &[u8] = b"Hello, HTTP/3!\n";

/// Bytes that are handed to the stack at a time.
pub(crate) const CHUNK: usize = 64 << 10;

static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// The answer to a request.
pub(crate) enum Answer {
    Small,
    /// So many zeros.
    Stream(u64),
    /// Nothing, once the request's body is read.
    Read,
    NotFound,
}

impl Answer {
    pub(crate) fn to(is_post: bool, path: &str) -> Self {
        if is_post {
            return Self::Read;
        }
        match path.strip_prefix("/stream/").map(str::parse) {
            Some(Ok(len)) => Self::Stream(len),
            None if path == "/" => Self::Small,
            _ => Self::NotFound,
        }
    }

    pub(crate) fn status(&self) -> u16 {
        if matches!(self, Self::NotFound) { 404 } else { 200 }
    }

    /// The pieces of the body.
    pub(crate) fn body(&self) -> impl Iterator<Item = Bytes> + use<> {
        let (small, zeros) = match self {
            Self::Small => (Some(Bytes::from_static(SMALL)), 0),
            Self::Stream(len) => (None, *len),
            Self::Read | Self::NotFound => (None, 0),
        };
        let chunk = CHUNK as u64;
        let pieces = (0..zeros.div_ceil(chunk)).map(move |n| {
            let len = (zeros - n * chunk).min(chunk);
            Bytes::from_static(&ZEROS[..len as usize])
        });
        small.into_iter().chain(pieces)
    }

    pub(crate) fn content_length(&self) -> u64 {
        match self {
            Self::Small => SMALL.len() as u64,
            Self::Stream(len) => *len,
            Self::Read | Self::NotFound => 0,
        }
    }
}
