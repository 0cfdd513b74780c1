//! Streaming handlers.

use std::sync::Arc;

use bytes::Bytes;

use crate::endpoint::Stream;
use crate::error::{PostError, Result};
use crate::h3::{Recv, ResponseHead};
use crate::transport::table::StreamId;

/// The result of [`StreamHandler::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not done yet: call again when the stream is ready.
    Pending,
    /// Done. A response that was not finished is finished; the rest of the request's body is discarded.
    Done,
}

/// A handler that reads and writes a stream step by step, and keeps its state between the steps.
///
/// ```
/// use mio_quiche::{Progress, Recv, Result, Stream, StreamHandler};
///
/// /// Counts the bytes of the request's body.
/// #[derive(Default)]
/// struct Count(u64);
///
/// impl StreamHandler for Count {
///     fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
///         let mut buf = [0; 4096];
///         loop {
///             match s.read(&mut buf)? {
///                 Recv::Data(n) => self.0 += n as u64,
///                 Recv::Pending => return Ok(Progress::Pending),
///                 Recv::Finished => break,
///             }
///         }
///         s.finish_with(&mut format!("{} bytes\n", self.0).into())?;
///         Ok(Progress::Done)
///     }
/// }
/// ```
pub trait StreamHandler {
    /// Called whenever either direction may progress; runs until it would block. Spurious calls are possible. When the
    /// client cancels the request, the handler is dropped.
    ///
    /// # Errors
    /// Any error ends the stream: with a 500 if the response's head was not sent yet (413 for
    /// [`StreamError::BodyTooLarge`](crate::StreamError::BodyTooLarge), and the response of an
    /// [`HttpError`](crate::HttpError)), otherwise with a reset of the stream. A stream of a session is reset with the code of the peer's RESET_STREAM or STOP_SENDING, or with 0.
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress>;

    /// The server shuts down: a response without an end should finish soon. By default nothing changes, and the shutdown
    /// waits for the response until [`shutdown_timeout`](crate::ServerConfig::shutdown_timeout).
    /// [`poll`](StreamHandler::poll) is called afterwards. Not called for streams of sessions.
    fn draining(&mut self) {}

    /// An HTTP datagram (RFC 9297) arrived for this request. By default it is dropped. [`poll`](StreamHandler::poll) is
    /// called afterwards.
    ///
    /// # Errors
    /// As [`poll`](StreamHandler::poll).
    fn datagram(&mut self, s: &mut Stream<'_>, payload: Bytes) -> Result<()> {
        let _ = (s, payload);
        Ok(())
    }
}

impl<F: FnMut(&mut Stream<'_>) -> Result<Progress>> StreamHandler for F {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        self(s)
    }
}

/// A handle of a stream for other threads: see [`Response::stream_with`](crate::Response::stream_with) and
/// [`Session::stream_handle`](crate::Session::stream_handle).
///
/// It only wakes the stream's handler. Data goes to the handler by a channel or the like, which also tells the other
/// side when the handler is gone.
#[derive(Clone)]
pub struct StreamHandle {
    id: StreamId,
    wake: Arc<dyn Fn() -> Result<(), PostError> + Send + Sync>,
}

impl std::fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

impl StreamHandle {
    pub(super) fn new(id: StreamId, wake: impl Fn() -> Result<(), PostError> + Send + Sync + 'static) -> Self {
        StreamHandle { id, wake: Arc::new(wake) }
    }

    /// The stream's id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Makes the stream ready, unless it has ended: its handler is called on the loop's thread.
    ///
    /// # Errors
    /// [`PostError`].
    pub fn wake(&self) -> Result<(), PostError> {
        (self.wake)()
    }
}

/// Echoes every byte of a request's body, or of a stream of a session, as it arrives.
///
/// It reads one chunk ahead, so that the FIN is sent with the last chunk.
#[derive(Debug, Default)]
pub struct Echo {
    chunk: Bytes,
    ahead: Bytes,
    finished: bool,
}

/// Bytes read per call.
const CHUNK: usize = 64 * 1024;

impl Echo {
    /// Reads the next chunk; it is empty when none is available.
    fn next(&mut self, s: &mut Stream<'_>) -> Result<Bytes> {
        if !self.finished {
            match s.read_chunk(CHUNK)? {
                Recv::Data(chunk) => return Ok(chunk),
                Recv::Pending => {}
                Recv::Finished => self.finished = true,
            }
        }
        Ok(Bytes::new())
    }
}

impl StreamHandler for Echo {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        loop {
            if self.chunk.is_empty() {
                self.chunk = std::mem::take(&mut self.ahead);
            }
            if self.chunk.is_empty() {
                self.chunk = self.next(s)?;
            }
            if self.ahead.is_empty() {
                self.ahead = self.next(s)?;
            }
            if self.finished && self.ahead.is_empty() {
                return Ok(match s.finish_with(&mut self.chunk)? {
                    true => Progress::Done,
                    false => Progress::Pending,
                });
            }
            s.write_bytes(&mut self.chunk)?;
            if !self.chunk.is_empty() || self.ahead.is_empty() {
                return Ok(Progress::Pending);
            }
        }
    }
}

/// Sends a response whose body is in memory.
pub(crate) struct SendWhole {
    /// Present until it is sent.
    pub(crate) head: Option<ResponseHead>,
    pub(crate) body: Bytes,
}

impl StreamHandler for SendWhole {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let is_sent = match self.head.take() {
            Some(head) => s.respond(&head, &mut self.body),
            None => s.finish_with(&mut self.body),
        };
        Ok(match is_sent? {
            true => Progress::Done,
            false => Progress::Pending,
        })
    }
}
