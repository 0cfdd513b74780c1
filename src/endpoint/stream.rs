//! One handle for every stream that an application reads and writes.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::datagram;
use crate::error::{DatagramError, ErrorCode, StreamError};
use crate::h3::{HttpStream, Priority, Recv, ResponseHead};
use crate::transport::table::StreamId;
use crate::wt::SessionStream;

/// A borrowed handle to a stream, valid for one call of a handler. Keep its [`StreamId`] between calls.
///
/// The same type serves the body of a request and of its response, and the streams of a WebTransport session. Writing
/// goes straight into quiche, up to the limits of flow control and congestion control: QUIC provides the backpressure.
///
/// Heads and trailers exist in HTTP only: they are empty on a stream of a session, and setting them is
/// [`StreamError::Misuse`].
#[derive(Debug)]
pub struct Stream<'a>(Kind<'a>);

enum Kind<'a> {
    Http(HttpStream<'a>),
    Session(SessionStream<'a>),
}

impl std::fmt::Debug for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Http(stream) => stream.fmt(f),
            Kind::Session(stream) => write!(f, "session stream {:?}: {:?}", stream.id, stream.state),
        }
    }
}

type StreamResult<T> = std::result::Result<T, StreamError>;

const NOT_HTTP: StreamError = StreamError::Misuse("a stream of a session has no heads and no trailers");

/// Calls a method that both kinds have.
macro_rules! either {
    ($this:expr, $stream:ident => $call:expr) => {
        match &mut $this.0 {
            Kind::Http($stream) => $call,
            Kind::Session($stream) => $call,
        }
    };
}

impl<'a> Stream<'a> {
    pub(super) fn of_request(stream: HttpStream<'a>) -> Self {
        Stream(Kind::Http(stream))
    }

    pub(super) fn of_session(stream: SessionStream<'a>) -> Self {
        Stream(Kind::Session(stream))
    }
}

impl Stream<'_> {
    /// The stream's id, to keep between calls.
    pub fn id(&self) -> StreamId {
        match &self.0 {
            Kind::Http(stream) => stream.id,
            Kind::Session(stream) => stream.id,
        }
    }

    /// The time of this turn of the event loop.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Kind::Http(stream) => stream.now,
            Kind::Session(stream) => stream.now,
        }
    }

    /// Whether it is a stream of a WebTransport session, not of a request.
    pub fn is_session_stream(&self) -> bool {
        matches!(self.0, Kind::Session(_))
    }

    /// Whether data that a client writes now is part of the first flight (0-RTT), where it can be replayed.
    pub fn is_early(&self) -> bool {
        match &self.0 {
            // Before the handshake is complete, every request is an early one.
            Kind::Http(stream) => !stream.transport.is_established(),
            Kind::Session(_) => false,
        }
    }

    /// Makes the stream ready at `at`, even without progress. It may also become ready earlier.
    pub fn wake_at(&mut self, at: Instant) {
        either!(self, stream => stream.wake_at(at));
    }

    /// Limits the body that is read, instead of [`max_request_body`](crate::ServerConfig::max_request_body): reading
    /// more returns [`StreamError::BodyTooLarge`]. No effect on a stream of a session.
    pub fn set_max_body(&mut self, bytes: u64) {
        if let Kind::Http(stream) = &mut self.0 {
            stream.state.max_body = Some(bytes);
        }
    }

    /// Bytes read so far.
    pub fn received(&self) -> u64 {
        match &self.0 {
            Kind::Http(stream) => stream.received(),
            Kind::Session(stream) => stream.received(),
        }
    }

    /// Bytes written so far.
    pub fn sent(&self) -> u64 {
        match &self.0 {
            Kind::Http(stream) => stream.sent(),
            Kind::Session(stream) => stream.sent(),
        }
    }

    /// Reads bytes into `buf`.
    ///
    /// # Errors
    /// [`StreamError::Reset`] if the peer reset it; for a request's body also [`StreamError::Malformed`] if it does
    /// not match its `content-length` and [`StreamError::BodyTooLarge`] over the configured limit.
    pub fn read(&mut self, buf: &mut [u8]) -> StreamResult<Recv> {
        either!(self, stream => stream.read(buf))
    }

    /// Reads at most `max` bytes into a new buffer, to pass on without a copy.
    ///
    /// # Errors
    /// As [`read`](Stream::read).
    pub fn read_chunk(&mut self, max: usize) -> StreamResult<Recv<Bytes>> {
        either!(self, stream => stream.read_chunk(max))
    }

    /// Appends the available data to `into`, for small bodies that are needed as a whole. Returns true once the stream
    /// has ended; otherwise call it again when the stream is ready.
    ///
    /// # Errors
    /// As [`read`](Stream::read), and [`StreamError::BodyTooLarge`] if there are more than `max` bytes.
    pub fn read_to_end(&mut self, into: &mut Vec<u8>, max: usize) -> StreamResult<bool> {
        loop {
            // One byte more than the limit, to also see the end.
            match self.read_chunk(max.saturating_sub(into.len()).saturating_add(1))? {
                Recv::Data(bytes) => into.extend_from_slice(&bytes),
                Recv::Pending => return Ok(false),
                Recv::Finished => return Ok(true),
            }
            if into.len() > max {
                return Err(StreamError::BodyTooLarge { limit: max as u64 });
            }
        }
    }

    /// The request's trailer fields (RFC 9110 section 6.5), known once reading returned [`Recv::Finished`].
    pub fn trailers(&self) -> Option<&HeaderMap> {
        match &self.0 {
            Kind::Http(stream) => stream.trailers(),
            Kind::Session(_) => None,
        }
    }

    /// The response's head, while it can be changed: until the first byte of the body, the end, or an error.
    pub fn head_mut(&mut self) -> Option<&mut ResponseHead> {
        match &mut self.0 {
            Kind::Http(stream) => stream.head_mut(),
            Kind::Session(_) => None,
        }
    }

    /// Stages the final response head; it is sent with the first write or the end, in the same packet. Must be
    /// called once, before either; the router does this for its handlers.
    pub fn set_head(&mut self, head: ResponseHead) {
        if let Kind::Http(stream) = &mut self.0 {
            stream.set_head(head);
        }
    }

    /// Sends a response whose body is in memory. Returns true once all of it is accepted; otherwise call
    /// [`finish_with`](Stream::finish_with) with the rest in `body` when the stream is ready.
    pub(crate) fn respond(&mut self, head: &ResponseHead, body: &mut Bytes) -> StreamResult<bool> {
        match &mut self.0 {
            Kind::Http(stream) => stream.respond(head, body),
            Kind::Session(_) => Err(NOT_HTTP),
        }
    }

    /// Sends an informational response (RFC 9110 section 15.2), such as 103 with `link` fields, before the final
    /// one.
    ///
    /// # Errors
    /// [`StreamError::Misuse`] if the status is not 1xx or the final head was sent.
    pub fn send_informational(&mut self, status: StatusCode, headers: &HeaderMap) -> StreamResult<()> {
        match &mut self.0 {
            Kind::Http(stream) => stream.send_informational(status, headers),
            Kind::Session(_) => Err(NOT_HTTP),
        }
    }

    /// Sends the response's head now, before the body.
    ///
    /// # Errors
    /// As [`write`](Stream::write).
    pub fn send_head(&mut self) -> StreamResult<()> {
        match &mut self.0 {
            Kind::Http(stream) => stream.send_staged_head(),
            Kind::Session(_) => Err(NOT_HTTP),
        }
    }

    /// Writes bytes, and returns how many were accepted; if not all, the stream becomes ready as soon as there is
    /// credit again.
    ///
    /// # Errors
    /// [`StreamError::Stopped`] if the peer stopped the stream, [`StreamError::Misuse`] after the end.
    pub fn write(&mut self, data: &[u8]) -> StreamResult<usize> {
        either!(self, stream => stream.write(data))
    }

    /// Writes bytes without copying them, and leaves the rest in `data`.
    ///
    /// # Errors
    /// As [`write`](Stream::write).
    pub fn write_bytes(&mut self, data: &mut Bytes) -> StreamResult<usize> {
        either!(self, stream => stream.write_bytes(data))
    }

    /// Writes the last bytes and finishes the stream. Returns true once all are accepted; otherwise call it again with
    /// the rest in `data` when the stream is ready.
    ///
    /// # Errors
    /// As [`write`](Stream::write).
    pub fn finish_with(&mut self, data: &mut Bytes) -> StreamResult<bool> {
        either!(self, stream => stream.finish_with(data))
    }

    /// Finishes the sending side. The FIN is sent later if there is no credit now. On a stream of a session it
    /// waits until all data is acknowledged, so [`finish_with`](Stream::finish_with) is faster.
    ///
    /// # Errors
    /// As [`write`](Stream::write).
    pub fn finish(&mut self) -> StreamResult<()> {
        either!(self, stream => stream.finish())
    }

    /// Finishes the response with trailer fields (RFC 9110 section 6.5).
    ///
    /// # Errors
    /// As [`write`](Stream::write).
    pub fn finish_with_trailers(&mut self, trailers: &HeaderMap) -> StreamResult<()> {
        match &mut self.0 {
            Kind::Http(stream) => stream.finish_with_trailers(trailers),
            Kind::Session(_) => Err(NOT_HTTP),
        }
    }

    /// Aborts both directions: RESET_STREAM and STOP_SENDING (RFC 9114 section 4.1.1). On a stream of
    /// a session `code` is an application code, made by [`ErrorCode::webtransport`].
    pub fn reset(&mut self, code: ErrorCode) {
        match &mut self.0 {
            Kind::Http(stream) => stream.reset(code),
            Kind::Session(stream) => stream.reset(code),
        }
    }

    /// Resets the sending side of a stream of a session (RFC 9000 section 19.4); reading continues.
    ///
    /// # Errors
    /// [`StreamError::Misuse`] on a request's stream, whose directions can only be aborted together.
    pub fn reset_send(&mut self, code: ErrorCode) -> StreamResult<()> {
        match &mut self.0 {
            Kind::Http(_) => Err(StreamError::Misuse("a response can only be aborted with its request, by reset")),
            Kind::Session(stream) => {
                stream.reset_send(code);
                Ok(())
            }
        }
    }

    /// Asks the peer to stop sending on a stream of a session (RFC 9000 section 19.5); writing continues.
    ///
    /// quiche never returns the credit of a stopped stream, so at most half of a connection's
    /// [streams](crate::TransportConfig::max_streams_uni) are stopped; data on others is discarded instead.
    ///
    /// # Errors
    /// [`StreamError::Misuse`] on a request's stream: just do not read its body.
    pub fn stop(&mut self, code: ErrorCode) -> StreamResult<()> {
        match &mut self.0 {
            Kind::Http(_) => Err(StreamError::Misuse("a request's body cannot be stopped: leave it unread")),
            Kind::Session(stream) => {
                stream.stop(code);
                Ok(())
            }
        }
    }

    /// Changes the priority of the sending side (RFC 9218).
    pub fn set_priority(&mut self, priority: Priority) {
        either!(self, stream => stream.set_priority(priority));
    }

    /// Sends an HTTP datagram (RFC 9297) that belongs to this request.
    ///
    /// # Errors
    /// If datagrams are off, it is too large, or too many wait. On a stream of a session, whose datagrams
    /// belong to the session, [`DatagramError::Closed`].
    pub fn send_datagram(&mut self, payload: &[u8]) -> Result<(), DatagramError> {
        match &mut self.0 {
            Kind::Http(stream) => datagram::send_http(stream.transport, stream.id.id, payload),
            Kind::Session(_) => Err(DatagramError::Closed),
        }
    }

    /// The status sent or staged.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match &self.0 {
            Kind::Http(stream) => stream.status(),
            Kind::Session(_) => None,
        }
    }

    /// Whether the final head was sent, so that the status can no longer change.
    pub(crate) fn is_answered(&self) -> bool {
        match &self.0 {
            Kind::Http(stream) => stream.is_answered(),
            Kind::Session(_) => true,
        }
    }

    /// Whether the sending side is open: neither finished, reset nor stopped.
    pub fn is_sending(&self) -> bool {
        match &self.0 {
            Kind::Http(stream) => stream.is_sending(),
            Kind::Session(stream) => stream.state.is_sending(),
        }
    }

    /// The error of the sending side, if the peer stopped the response or it was aborted.
    pub(crate) fn send_failure(&self) -> Option<StreamError> {
        match &self.0 {
            Kind::Http(stream) => stream.send_failure(),
            // The receiving side is open.
            Kind::Session(_) => None,
        }
    }
}
