//! Milestone 8: WebTransport sessions, with a handler of our own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::ExitCode;

use bytes::Bytes;
use clap::Parser;
use mio_quiche::app::cert::CertInfo;
use mio_quiche::{Echo, Error, Result, Router, Server, Session, SessionEnd, SessionHandler, StreamHandler, StreamId};

#[path = "../exit.rs"]
mod exit;
#[path = "../settings.rs"]
mod settings;

/// Receives visits by WebTransport.
#[derive(Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    listen: String,
    /// Serve a page here, over TCP, from which a browser may visit
    #[arg(long, value_name = "ADDR:PORT")]
    admin: Option<SocketAddr>,
}

/// Limit on a text that is read, and on unsent data, in bytes.
const MAX: usize = 4096;

/// One session.
#[derive(Default)]
struct Visit {
    /// A unidirectional stream that we opened, and the data that did not fit yet.
    news: Option<StreamId>,
    unsent: Vec<u8>,
    /// Data received so far on streams that are read to their end.
    texts: HashMap<StreamId, Vec<u8>>,
    name: String,
    notes: u32,
}

impl Visit {
    fn say(&mut self, s: &mut Session<'_>, line: &str) -> Result<()> {
        let Some(mut news) = self.news.and_then(|id| s.stream(id)) else { return Ok(()) };
        self.unsent.extend_from_slice(line.as_bytes());
        self.unsent.drain(..news.write(&self.unsent)?);
        if self.unsent.len() <= MAX { Ok(()) } else { Err(Error::handler("the visitor does not read the news")) }
    }
}

impl SessionHandler for Visit {
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        self.news = Some(s.open_uni()?);
        // Our bidirectional stream is the guest book: it is empty until the visitor writes to it.
        s.open_bidi()?;
        self.say(s, "welcome, please sign the guest book\n")
    }

    fn datagram(&mut self, s: &mut Session<'_>, payload: Bytes) -> Result<()> {
        // If it cannot be sent back now, it is lost, as on the network.
        s.send_datagram(&payload).or(Ok(()))
    }

    /// The visitor opened a stream: a bidirectional one is echoed, a unidirectional one is a note, which `ready` reads.
    fn stream(&mut self, _s: &mut Session<'_>, id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        Ok(if id.is_bidi() { Some(Box::new(Echo::default())) } else { None })
    }

    fn ready(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<()> {
        if self.news == Some(id) {
            return self.say(s, "");
        }
        let text = self.texts.entry(id).or_default();
        let Some(mut stream) = s.stream(id) else { return Ok(()) };
        // An error ends the stream, not the visit.
        if !stream.read_to_end(text, MAX).inspect_err(|_| drop(self.texts.remove(&id)))? {
            return Ok(());
        }
        let text = self.texts.remove(&id).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).trim_end().to_owned();
        if id.is_bidi() {
            // The end of our half confirms that the name was read.
            stream.finish()?;
            self.name = text;
        } else if text == "bye" {
            s.close(self.notes, &format!("goodbye, {}", self.name));
        } else {
            self.notes += 1;
            self.say(s, &format!("note {} has {} bytes\n", self.notes, text.len()))?;
        }
        s.release(id);
        Ok(())
    }

    fn closed(&mut self, _: StreamId, end: &SessionEnd) {
        println!("{:?} left: {end}", self.name);
    }
}

fn main() -> ExitCode {
    env_logger::init();
    exit::code(serve(&Args::parse()))
}

fn serve(args: &Args) -> Result<()> {
    let router = Router::new().get("/", |_req, res| res.text("Hello, HTTP/3!\n")).webtransport("/visit", |req| {
        println!("{:?}: a visit from {}", req.stream_id(), req.origin().unwrap_or("nowhere"));
        req.accept(Visit::default())
    });
    let (mut server, hash) = settings::with_certificate(|mut config| {
        config.admin = args.admin;
        let cert = CertInfo::of(&config.certificates[0]).map_err(Error::handler)?;
        Ok((Server::bind(&args.listen, config, router)?, cert.sha256_base64()))
    })?;
    println!("listening on {}", server.local_addr());
    server.admin_addr().inspect(|page| println!("a page is on http://{page}/"));
    println!("hash = \"{hash}\"; url = \"https://{}/visit\"", server.local_addr());
    server.run()
}
