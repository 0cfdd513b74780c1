//! Milestone 7: HTTP datagrams, which belong to a request.

use std::collections::BTreeSet;
use std::process::ExitCode;

use bytes::Bytes;
use clap::Parser;
use mio_quiche::{DatagramError, Progress, Recv, Request, Response, Result, Router, Server, Stream, StreamHandler};

#[path = "../exit.rs"]
mod exit;
#[path = "../settings.rs"]
mod settings;

/// Measures loss: sends numbered datagrams back, and lists at the end those that never arrived.
#[derive(Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    listen: String,
}

/// The longest measurement: the memory of each needs a bound.
const MAX: u32 = 1000;

/// One measurement, of datagrams numbered from 0.
struct Probe {
    count: u32,
    seen: BTreeSet<u32>,
    answer: Option<Bytes>,
}

impl StreamHandler for Probe {
    /// The body: until it ends, datagrams are accepted.
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let mut sink = [0; 1024];
        while self.answer.is_none() {
            match s.read(&mut sink)? {
                Recv::Data(_) => {}
                Recv::Pending => {
                    // The head is sent before the body: the client may begin.
                    s.send_head()?;
                    return Ok(Progress::Pending);
                }
                Recv::Finished => self.answer = Some(self.summary(s)),
            }
        }
        let done = s.finish_with(self.answer.get_or_insert_default())?;
        Ok(if done { Progress::Done } else { Progress::Pending })
    }

    /// Datagrams arrive beside the body, and perhaps not in order.
    fn datagram(&mut self, s: &mut Stream<'_>, payload: Bytes) -> Result<()> {
        let number = std::str::from_utf8(&payload).ok().and_then(|text| text.parse().ok());
        let Some(number) = number.filter(|number| *number < self.count) else { return Ok(()) };
        self.seen.insert(number);
        match s.send_datagram(&payload) {
            // Lost here or lost on the network: the client must expect both.
            Err(DatagramError::QueueFull) => Ok(()),
            sent => Ok(sent?),
        }
    }
}

impl Probe {
    fn summary(&self, s: &Stream<'_>) -> Bytes {
        let missing: Vec<u32> = (0..self.count).filter(|number| !self.seen.contains(number)).collect();
        println!("{:?}: {} of {} came", s.id(), self.seen.len(), self.count);
        format!("{}\n", serde_json::json!({ "came": self.seen.len(), "missing": missing })).into()
    }
}

fn probe(req: &Request, res: Response) -> Response {
    match req.param("count").and_then(|count| count.parse().ok()).filter(|count| *count <= MAX) {
        Some(count) => {
            res.header("content-type", "application/json").stream(Probe { count, seen: BTreeSet::new(), answer: None })
        }
        None => res.status(400).text(format!("the number of datagrams must be 0 to {MAX}\n")),
    }
}

fn main() -> ExitCode {
    env_logger::init();
    exit::code(serve(&Args::parse()))
}

fn serve(args: &Args) -> Result<()> {
    let router = Router::new().get("/probe/:count", probe).post("/probe/:count", probe);
    let mut server = settings::with_certificate(|config| Server::bind(&args.listen, config, router))?;
    println!("listening on {}", server.local_addr());
    server.run()?;
    let stats = server.stats();
    println!("total: {} datagrams came, {} were dropped", stats.datagram_frames_in, stats.datagram_frames_dropped);
    Ok(())
}
