//! HTTP/3 by the crate h3, over any QUIC that it knows.

use bytes::{Buf, Bytes};
use h3::quic;
use h3::server::{Connection, RequestStream};
use http::{Method, Request, Response};

use crate::Result;
use crate::answer::Answer;

/// Serves one connection until it ends.
pub(crate) async fn serve<C>(connection: C) -> Result<()>
where
    C: quic::Connection<Bytes> + Send + 'static,
    C::BidiStream: quic::BidiStream<Bytes> + Send + 'static,
{
    let mut connection = Connection::new(connection).await?;
    while let Some(resolver) = connection.accept().await? {
        tokio::spawn(async move {
            let (request, stream) = resolver.resolve_request().await?;
            respond(&request, stream).await
        });
    }
    Ok(())
}

async fn respond<S>(request: &Request<()>, mut stream: RequestStream<S, Bytes>) -> Result<()>
where
    S: quic::BidiStream<Bytes>,
{
    let answer = Answer::to(request.method() == Method::POST, request.uri().path());
    // To its end, even without a body: a stream that is dropped before is stopped with code 0, which h2load counts as a
    // failure.
    while let Some(mut piece) = stream.recv_data().await? {
        piece.advance(piece.remaining());
    }
    let head = Response::builder()
        .status(answer.status())
        .header("content-type", "text/plain")
        .header("content-length", answer.content_length())
        .body(())?;
    stream.send_response(head).await?;
    for piece in answer.body() {
        stream.send_data(piece).await?;
    }
    Ok(stream.finish().await?)
}
