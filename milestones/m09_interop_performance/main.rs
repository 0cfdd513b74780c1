//! Milestone 9: a server on several threads, which tells at its end what each of them did, and what it cost.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;

use bytes::Bytes;
use clap::Parser;
use mio_quiche::{Echo, Error, Request, Response, Result, Router, Session, SessionHandler, StreamHandler, StreamId};
use mio_quiche::{Workers, WorkersHandle};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

#[path = "../exit.rs"]
mod exit;
#[path = "../settings.rs"]
mod settings;

/// Serves with several threads, and reports at the end what each did.
#[derive(Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    listen: String,
    /// Threads that serve, each with a socket of its own; 0: one for each processor
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
}

/// The longest download, in bytes.
const MAX: usize = 16 << 20;

/// A session whose streams are echoed.
struct Echoes;

impl SessionHandler for Echoes {
    fn stream(&mut self, _s: &mut Session<'_>, _id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        Ok(Some(Box::new(Echo::default())))
    }
}

/// A part of one text that all downloads share.
fn download(text: &Bytes, req: &Request, res: Response) -> Response {
    match req.param("bytes").and_then(|n| n.parse().ok()) {
        Some(n @ 0..=MAX) => res.bytes("text/plain", text.slice(..n)),
        _ => res.status(400).text(format!("the number of bytes must be 0 to {MAX}\n")),
    }
}

/// The routes of a worker, on its thread.
fn router(text: &Bytes) -> Router {
    let (text, worker) = (text.clone(), thread::current().name().unwrap_or_default().to_owned());
    Router::new()
        .get("/", |_req, res| res.text("Hello, HTTP/3!\n"))
        .get("/worker", move |_req, res| res.text(worker.clone()))
        .get("/download/:bytes", move |req, res| download(&text, req, res))
        .post("/echo", |_req, res| res.stream(Echo::default()))
        .webtransport("/echoes", |req| req.accept(Echoes))
}

/// What the report tells of each worker: counts, CPU time per request, and datagrams per system call.
const COLUMNS: [&str; 8] =
    ["connections", "moved", "requests", "us/request", "received", "received/call", "sent", "sent/call"];

fn report(admin: SocketAddr, workers: &WorkersHandle) -> Result<()> {
    // As Prometheus would.
    let (mut stream, mut page) = (TcpStream::connect(admin)?, String::new());
    stream.write_all(b"GET /metrics/workers HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    stream.read_to_string(&mut page)?;
    println!("worker{}", COLUMNS.map(|name| format!("{name:>14}")).concat());
    for (n, handle) in workers.workers().iter().enumerate() {
        let value = |metric, further| -> f64 {
            let start = format!("mio_quiche_{metric}_total{{worker=\"{n}\"{further}}} ");
            page.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or_default()
        };
        let [connections, moved, requests] = ["connections", "migrations", "requests"].map(|name| value(name, ""));
        let [received, sent] = ["udp_received_datagrams", "udp_sent_datagrams"].map(|name| value(name, ""));
        let calls = |name| value(name, ",result=\"ok\"").max(1.0);
        let [receives, sends] = ["udp_receive_syscalls", "udp_send_syscalls"].map(calls);
        let (sender, time) = channel();
        handle
            .post(move |_| sender.send(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default())
            .map_err(Error::handler)?;
        let time = time.recv().map_err(Error::handler)?;
        let each = (time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3) / requests.max(1.0);
        let row = [connections, moved, requests, each, received, received / receives, sent, sent / sends];
        println!("{n:>6}{}", row.map(|value| format!("{:>14}", (value * 10.0).round() / 10.0)).concat());
    }
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    exit::code(serve(&Args::parse()))
}

fn serve(args: &Args) -> Result<()> {
    let text: Bytes = (0..MAX / 8).flat_map(|line| format!("{line:07}\n").into_bytes()).collect();
    let mut workers = settings::with_certificate(|mut config| {
        config.admin = Some((Ipv4Addr::LOCALHOST, 0).into());
        // The report needs loops that run, so the shutdown comes after it.
        config.handle_signals = false;
        Workers::bind(&args.listen, config, args.workers, move || Ok(router(&text)))
    })?;
    println!("listening on {}", workers.local_addr());
    let (handle, admin) = (workers.handle(), workers.admin_addr().ok_or_else(|| Error::handler("no admin port"))?);
    println!("metrics of {} workers: http://{admin}/metrics/workers", workers.count());
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let reporter = thread::spawn(move || {
        signals.forever().next();
        let told = report(admin, &handle);
        handle.shutdown().and(told)
    });
    workers.run()?;
    reporter.join().unwrap_or_else(|_| Err(Error::handler("the report panicked")))
}
