//! A chat in fifty lines: what somebody writes comes to everybody, and newcomers see what was said before.

use mio_quiche::app::cert::CertInfo;
use mio_quiche::{Progress, Result, Router, Server, Session, SessionHandler, Stream, StreamHandler, StreamId, Topic};

#[path = "../settings.rs"]
mod settings;

/// Somebody in the room.
struct Guest(Topic);

impl SessionHandler for Guest {
    /// One stream to the guest has all that is said, in its order, beginning with the last hundred lines.
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        let id = s.open_uni()?;
        s.feed(id, &self.0, 100);
        Ok(())
    }

    /// Each stream from the guest is a line.
    fn stream(&mut self, _: &mut Session<'_>, _: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        let (room, mut line) = (self.0.clone(), Vec::new());
        Ok(Some(Box::new(move |s: &mut Stream<'_>| {
            if !s.read_to_end(&mut line, 1000)? {
                return Ok(Progress::Pending);
            }
            line.push(b'\n');
            room.publish(std::mem::take(&mut line));
            Ok(Progress::Done)
        })))
    }
}

/// Arguments: the address to listen on, and the origin of the page.
fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let listen = args.next().unwrap_or("127.0.0.1:4433".to_owned());
    let page = args.next().unwrap_or("http://localhost:8000".to_owned());
    let room = Topic::new();
    let router = Router::new().webtransport("/chat", move |req| req.accept(Guest(room.clone())));
    let (mut server, hash) = settings::with_certificate(|mut config| {
        config.webtransport.allow_origins = vec![page.clone()];
        let hash = CertInfo::of(&config.certificates[0])?.sha256_base64();
        Ok((Server::bind(&listen, config, router)?, hash))
    })?;
    println!("{page}/chat.html#https://{}/chat,{hash}", server.local_addr());
    server.run()
}
