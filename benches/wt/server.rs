//! What `/wt/echo` of `mio-quiche serve` does, on wtransport.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use wtransport::endpoint::IncomingSession;
use wtransport::{Connection, RecvStream, SendStream};

use crate::{Result, wtransport_server};

/// Serves until it is killed.
pub(crate) async fn run(listen: SocketAddr, cert: PathBuf, key: PathBuf) -> Result<()> {
    let endpoint = wtransport_server::bind(listen, cert, key).await?;
    loop {
        let incoming = endpoint.accept().await;
        // An error is a client that left or misbehaved; the others go on.
        tokio::spawn(async move { session(incoming).await });
    }
}

async fn session(incoming: IncomingSession) -> Result<()> {
    let session = Arc::new(incoming.await?.accept().await?);
    tokio::try_join!(datagrams(&session), bidi(&session), uni(&session))?;
    Ok(())
}

async fn datagrams(session: &Connection) -> Result<()> {
    loop {
        let datagram = session.receive_datagram().await?;
        session.send_datagram(datagram.payload())?;
    }
}

async fn bidi(session: &Connection) -> Result<()> {
    loop {
        let (send, recv) = session.accept_bi().await?;
        tokio::spawn(echo(send, recv));
    }
}

async fn uni(session: &Arc<Connection>) -> Result<()> {
    loop {
        let recv = session.accept_uni().await?;
        let session = Arc::clone(session);
        tokio::spawn(async move { echo(session.open_uni().await?.await?, recv).await });
    }
}

async fn echo(mut send: SendStream, mut recv: RecvStream) -> Result<()> {
    let mut buf = vec![0; 64 << 10];
    while let Some(len) = recv.read(&mut buf).await? {
        send.write_all(&buf[..len]).await?;
    }
    Ok(send.finish().await?)
}
