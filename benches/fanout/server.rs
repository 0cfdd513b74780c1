//! The servers: the same program on a topic, and on wtransport with a broadcast channel.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mio_quiche::{Router, Server, Session, SessionHandler, Topic};
use tokio::sync::broadcast;
use wtransport::endpoint::IncomingSession;

use crate::{Result, wtransport_server};

const MESSAGE: [u8; 100] = [7; 100];

/// Joins the topic, and sends each message as a datagram: what a handler does unless it says otherwise.
struct Member(Topic);

impl SessionHandler for Member {
    fn opened(&mut self, s: &mut Session<'_>) -> mio_quiche::Result<()> {
        s.join(&self.0, 0);
        Ok(())
    }
}

pub(crate) fn ours(listen: SocketAddr, cert: PathBuf, key: PathBuf, rate: u32) -> Result<()> {
    let topic = Topic::new();
    let joined = topic.clone();
    let router = Router::new().webtransport("/fan", move |req| req.accept(Member(joined.clone())));
    let mut config = mio_quiche::ServerConfig::from_pem(cert, key)?;
    config.webtransport.allow_origins = vec!["*".to_owned()];
    let mut server = Server::bind(&listen.to_string(), config, router)?;
    println!("listening on {}", server.local_addr());
    if rate > 0 {
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(1) / rate);
                topic.publish(&MESSAGE[..]);
            }
        });
    }
    Ok(server.run()?)
}

pub(crate) async fn wtransport(listen: SocketAddr, cert: PathBuf, key: PathBuf, rate: u32) -> Result<()> {
    let endpoint = wtransport_server::bind(listen, cert, key).await?;
    let (sender, _) = broadcast::channel(256);
    if rate > 0 {
        let sender = sender.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(1) / rate);
                // An error is that nobody is there.
                let _ = sender.send(&MESSAGE[..]);
            }
        });
    }
    loop {
        let incoming = endpoint.accept().await;
        // An error is a client that left or misbehaved; the others go on.
        tokio::spawn(member(incoming, sender.subscribe()));
    }
}

async fn member(incoming: IncomingSession, mut messages: broadcast::Receiver<&'static [u8]>) -> Result<()> {
    let session = incoming.await?.accept().await?;
    loop {
        match messages.recv().await {
            Ok(message) => session.send_datagram(message)?,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}
