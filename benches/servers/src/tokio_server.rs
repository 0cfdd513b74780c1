//! tokio-quiche.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::net::UdpSocket;
use tokio_quiche::http3::driver::{InboundFrame, IncomingH3Headers, OutboundFrame, ServerH3Event};
use tokio_quiche::http3::settings::Http3Settings;
use tokio_quiche::metrics::DefaultMetrics;
use tokio_quiche::quiche::h3::{Header, NameValue};
use tokio_quiche::settings::{CertificateKind, Hooks, QuicSettings, TlsCertificatePaths};
use tokio_quiche::{ConnectionParams, ServerH3Driver, listen};

use crate::answer::Answer;
use crate::{Cli, Result};

pub(crate) async fn run(cli: &Cli) -> Result<()> {
    let path = |path: &std::path::Path| path.to_str().map(str::to_owned).ok_or("paths have to be UTF-8");
    let (cert, private_key) = (path(&cli.cert)?, path(&cli.key)?);
    let tls = TlsCertificatePaths { cert: &cert, private_key: &private_key, kind: CertificateKind::X509 };
    let params = ConnectionParams::new_server(QuicSettings::default(), tls, Hooks::default());
    let socket = UdpSocket::bind(cli.listen).await?;
    let addr = socket.local_addr()?;
    let mut listeners = listen([socket], params, DefaultMetrics)?;
    println!("listening on {addr}");
    while let Some(connection) = listeners[0].next().await {
        // An error is a client whose first packets were wrong.
        let Ok(connection) = connection else { continue };
        let (driver, mut controller) = ServerH3Driver::new(Http3Settings::default());
        connection.start(driver);
        tokio::spawn(async move {
            while let Some(event) = controller.event_receiver_mut().recv().await {
                if let ServerH3Event::Headers { incoming_headers, .. } = event {
                    tokio::spawn(respond(incoming_headers));
                }
            }
        });
    }
    Ok(())
}

async fn respond(request: IncomingH3Headers) -> Result<()> {
    let IncomingH3Headers { headers, mut send, mut recv, read_fin, .. } = request;
    let field = |name: &[u8]| headers.iter().find(|field| field.name() == name).map_or(&b""[..], NameValue::value);
    let answer = Answer::to(field(b":method") == b"POST", std::str::from_utf8(field(b":path"))?);
    if let Answer::Read = answer {
        let mut is_finished = read_fin;
        while !is_finished {
            match recv.recv().await {
                Some(InboundFrame::Body(_, fin)) => is_finished = fin,
                Some(InboundFrame::Datagram(_)) => (),
                None => return Ok(()),
            }
        }
    }
    let head = vec![
        Header::new(b":status", answer.status().to_string().as_bytes()),
        Header::new(b"content-type", b"text/plain"),
        Header::new(b"content-length", answer.content_length().to_string().as_bytes()),
    ];
    send.send(OutboundFrame::Headers(head, None)).await.map_err(|_| "the connection is gone")?;
    let mut pieces = answer.body().peekable();
    let mut is_finished = false;
    while !is_finished {
        let piece = pieces.next().unwrap_or_else(Bytes::new);
        is_finished = pieces.peek().is_none();
        send.send(OutboundFrame::Body(piece, is_finished)).await.map_err(|_| "the connection is gone")?;
    }
    Ok(())
}
