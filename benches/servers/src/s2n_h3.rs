//! The traits of h3 for s2n-quic, for which there is no crate.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use s2n_quic::application;
use s2n_quic::connection::{self, BidirectionalStreamAcceptor, Handle, ReceiveStreamAcceptor};
use s2n_quic::stream::{self, BidirectionalStream, ReceiveStream};

/// A connection.
pub(crate) struct Connection {
    opener: Opener,
    bidi: BidirectionalStreamAcceptor,
    uni: ReceiveStreamAcceptor,
}

impl Connection {
    pub(crate) fn new(connection: s2n_quic::Connection) -> Self {
        let (handle, acceptor) = connection.split();
        let (bidi, uni) = acceptor.split();
        Self { opener: Opener(handle), bidi, uni }
    }
}

impl<B: Buf> quic::Connection<B> for Connection {
    type RecvStream = RecvHalf;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<RecvHalf, ConnectionErrorIncoming>> {
        let stream = ready!(self.uni.poll_accept_receive_stream(cx));
        Poll::Ready(accepted(stream).map(RecvHalf))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bidi, ConnectionErrorIncoming>> {
        let stream = ready!(self.bidi.poll_accept_bidirectional_stream(cx));
        Poll::Ready(accepted(stream).map(Bidi::new))
    }

    fn opener(&self) -> Opener {
        self.opener.clone()
    }
}

impl<B: Buf> quic::OpenStreams<B> for Connection {
    type BidiStream = Bidi;
    type SendStream = SendHalf;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bidi, StreamErrorIncoming>> {
        quic::OpenStreams::<B>::poll_open_bidi(&mut self.opener, cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendHalf, StreamErrorIncoming>> {
        quic::OpenStreams::<B>::poll_open_send(&mut self.opener, cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        quic::OpenStreams::<B>::close(&mut self.opener, code, reason);
    }
}

/// Opens streams.
#[derive(Clone)]
pub(crate) struct Opener(Handle);

impl<B: Buf> quic::OpenStreams<B> for Opener {
    type BidiStream = Bidi;
    type SendStream = SendHalf;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bidi, StreamErrorIncoming>> {
        let stream = ready!(self.0.poll_open_bidirectional_stream(cx));
        Poll::Ready(stream.map(Bidi::new).map_err(|e| lost(&e)))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendHalf, StreamErrorIncoming>> {
        let stream = ready!(self.0.poll_open_send_stream(cx));
        Poll::Ready(stream.map(SendHalf::new).map_err(|e| lost(&e)))
    }

    fn close(&mut self, code: Code, _reason: &[u8]) {
        self.0.close(application_code(code.value()));
    }
}

/// A stream in both directions.
pub(crate) struct Bidi {
    send: SendHalf,
    recv: RecvHalf,
}

impl Bidi {
    fn new(stream: BidirectionalStream) -> Self {
        let (recv, send) = stream.split();
        Self { send: SendHalf::new(send), recv: RecvHalf(recv) }
    }
}

impl<B: Buf> quic::BidiStream<B> for Bidi {
    type SendStream = SendHalf;
    type RecvStream = RecvHalf;

    fn split(self) -> (SendHalf, RecvHalf) {
        (self.send, self.recv)
    }
}

impl<B: Buf> quic::SendStream<B> for Bidi {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        quic::SendStream::<B>::poll_ready(&mut self.send, cx)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        quic::SendStream::<B>::poll_finish(&mut self.send, cx)
    }

    fn reset(&mut self, code: u64) {
        quic::SendStream::<B>::reset(&mut self.send, code);
    }

    fn send_id(&self) -> StreamId {
        quic::SendStream::<B>::send_id(&self.send)
    }
}

impl quic::RecvStream for Bidi {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.recv.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

/// The sending half of a stream.
pub(crate) struct SendHalf {
    stream: stream::SendStream,
    /// What h3 has handed over and s2n-quic has not taken yet.
    unsent: Bytes,
}

impl SendHalf {
    fn new(stream: stream::SendStream) -> Self {
        Self { stream, unsent: Bytes::new() }
    }
}

impl<B: Buf> quic::SendStream<B> for SendHalf {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if !self.unsent.is_empty() {
            ready!(self.stream.poll_send(&mut self.unsent, cx)).map_err(stream_error)?;
        }
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        let mut data = data.into();
        // A copy, as quinn makes one, too.
        self.unsent = data.copy_to_bytes(data.remaining());
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        ready!(quic::SendStream::<B>::poll_ready(self, cx))?;
        Poll::Ready(self.stream.finish().map_err(stream_error))
    }

    fn reset(&mut self, code: u64) {
        // An error means that the stream is over.
        let _ = self.stream.reset(application_code(code));
    }

    fn send_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

/// The receiving half of a stream.
pub(crate) struct RecvHalf(ReceiveStream);

impl quic::RecvStream for RecvHalf {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.0.poll_receive(cx).map_err(stream_error)
    }

    fn stop_sending(&mut self, code: u64) {
        // An error means that the stream is over.
        let _ = self.0.stop_sending(application_code(code));
    }

    fn recv_id(&self) -> StreamId {
        id(self.0.id())
    }
}

fn id(id: u64) -> StreamId {
    id.try_into().expect("an id of a stream has at most 62 bits")
}

fn application_code(code: u64) -> application::Error {
    application::Error::new(code).expect("codes of HTTP/3 have at most 62 bits")
}

/// A stream that was accepted; none: the connection was closed without an error.
fn accepted<T>(stream: connection::Result<Option<T>>) -> Result<T, ConnectionErrorIncoming> {
    let no_error = Code::H3_NO_ERROR.value();
    stream.map_err(|e| connection_error(&e))?.ok_or(ConnectionErrorIncoming::ApplicationClose { error_code: no_error })
}

fn connection_error(error: &connection::Error) -> ConnectionErrorIncoming {
    match *error {
        connection::Error::Application { error, .. } => {
            ConnectionErrorIncoming::ApplicationClose { error_code: error.into() }
        }
        connection::Error::IdleTimerExpired { .. } => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn lost(error: &connection::Error) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: connection_error(error) }
}

fn stream_error(error: stream::Error) -> StreamErrorIncoming {
    match error {
        stream::Error::StreamReset { error, .. } => StreamErrorIncoming::StreamTerminated { error_code: error.into() },
        stream::Error::ConnectionError { error, .. } => lost(&error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
