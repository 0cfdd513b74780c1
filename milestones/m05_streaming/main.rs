//! Milestone 5: bodies larger than memory, in both directions.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Parser;
use data_encoding::HEXLOWER;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use mio_quiche::{Echo, Progress, Recv, Request, Response, Result, Router, Server, Stream, StreamHandler};
use ring::digest;

#[path = "../exit.rs"]
mod exit;
#[path = "../settings.rs"]
mod settings;

/// Serves downloads of any length, and hashes uploads.
#[derive(Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    listen: String,
}

const CHUNK: u64 = 64 * 1024;

/// Byte `n` of a download: its offset in words of eight bytes, so that a misplaced byte shows in a hex dump.
fn byte_at(n: u64) -> u8 {
    (n & !7).to_be_bytes()[n as usize & 7]
}

/// Sends `total` bytes, and keeps one chunk of them.
struct Download {
    /// Bytes generated so far.
    made: u64,
    total: u64,
    /// Those that quiche did not take yet.
    chunk: Bytes,
}

impl StreamHandler for Download {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        loop {
            if self.chunk.is_empty() {
                let end = self.total.min(self.made + CHUNK);
                self.chunk = (self.made..end).map(byte_at).collect();
                self.made = end;
            }
            if self.made == self.total {
                let done = s.finish_with(&mut self.chunk)?;
                return Ok(if done { Progress::Done } else { Progress::Pending });
            }
            s.write_bytes(&mut self.chunk)?;
            if !self.chunk.is_empty() {
                // There is room again when the client reads, or the network delivers.
                return Ok(Progress::Pending);
            }
        }
    }
}

/// Hashes the request's body, and answers with the hash.
struct Upload {
    bytes: u64,
    hash: digest::Context,
    answer: Option<Bytes>,
}

impl StreamHandler for Upload {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        while self.answer.is_none() {
            match s.read_chunk(CHUNK as usize)? {
                Recv::Data(bytes) => {
                    self.bytes += bytes.len() as u64;
                    self.hash.update(&bytes);
                }
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => {
                    let sha256 = HEXLOWER.encode(self.hash.clone().finish().as_ref());
                    let json = serde_json::json!({ "bytes": self.bytes, "sha256": sha256 });
                    if let Some(head) = s.head_mut() {
                        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    }
                    self.answer = Some(format!("{json}\n").into());
                }
            }
        }
        let done = s.finish_with(self.answer.get_or_insert_default())?;
        Ok(if done { Progress::Done } else { Progress::Pending })
    }
}

fn download(req: &Request, res: Response) -> Response {
    match req.param("bytes").and_then(|n| n.parse().ok()) {
        Some(total) => res
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, total)
            .stream(Download { made: 0, total, chunk: Bytes::new() }),
        None => res.status(400).text("the number of bytes must be a number\n"),
    }
}

fn upload(_req: &Request, res: Response) -> Response {
    res.stream(Upload { bytes: 0, hash: digest::Context::new(&digest::SHA256), answer: None })
}

fn main() -> ExitCode {
    env_logger::init();
    exit::code(serve(&Args::parse()))
}

fn serve(args: &Args) -> Result<()> {
    let router = Router::new()
        .get("/download/:bytes", download)
        .put("/upload", upload)
        .post("/echo", |_req, res| res.stream(Echo::default()));
    let mut server = settings::with_certificate(|config| Server::bind(&args.listen, config, router))?;
    println!("listening on {}", server.local_addr());
    server.run()
}
