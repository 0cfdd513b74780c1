//! `mio-quiche bench`.

mod conns;
mod engine;
mod request;
mod runner;
mod schedule;
mod slot;
mod tally;
mod workers;

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args as ClapArgs, ValueEnum};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mio_quiche::{ClientRequest, SessionOptions};

use super::remote::{self, Trust};
use super::{Failure, print, units};
use engine::{Mode, Plan};
use tally::Report;
use workers::{Load, Outcome, Progress};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// https://HOST[:PORT]/PATH; https:// may be omitted
    url: String,
    #[command(flatten)]
    trust: Trust,
    /// Connections
    #[arg(short, long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Concurrent requests on each connection
    #[arg(short = 'm', long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,
    /// Requests in all; k and M stand for thousand and million
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "time", value_parser = positive)]
    requests: Option<u64>,
    /// Duration: seconds, or with ms, s, m or h [default: 5s]
    #[arg(short, long, value_name = "TIME", value_parser = units::duration)]
    time: Option<Duration>,
    /// Requests per second in all, on a schedule that does not wait for responses; latencies count from the scheduled
    /// time, so that a stall is visible; k and M stand for thousand and million
    #[arg(short, long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Time of load before the measurement
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = units::duration)]
    warmup: Duration,
    /// Threads, each with a part of the connections, the requests and the rate
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Method [default: GET, or POST with --data or --upload]
    #[arg(short = 'X', long, value_name = "METHOD", conflicts_with = "wt")]
    request: Option<Method>,
    /// Header field, NAME: VALUE; repeatable
    #[arg(short = 'H', long, value_name = "FIELD", value_parser = field)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Send this body with each request, or with @FILE the content of a file (- is standard input), byte for byte
    #[arg(short, long, value_name = "DATA", conflicts_with = "wt")]
    data: Option<OsString>,
    /// Send a body of this size with each request, zeros; k, M and G are 2^10, 2^20 and 2^30
    #[arg(long, value_name = "BYTES", conflicts_with_all = ["wt", "data"], value_parser = some_bytes)]
    upload: Option<u64>,
    /// Instead of requests: open a session on each connection, and send datagrams or bidirectional streams, which the
    /// server must echo
    #[arg(long, value_enum, value_name = "KIND")]
    wt: Option<Wt>,
    /// Bytes of each datagram or stream
    #[arg(long, value_name = "BYTES", default_value = "100", requires = "wt", value_parser = units::bytes)]
    size: u64,
    /// Time limit for a request, or until a datagram counts as lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    timeout: Duration,
    /// Print a histogram of the latencies, too (--json always has it)
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    histogram: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print a line of column names and a line of values, separated by commas
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Wt {
    Datagram,
    Stream,
}

const TIME: Duration = Duration::from_secs(5);
/// Size of the number in front of each datagram.
const MIN_DATAGRAM: usize = 8;
/// The most bytes of a stream.
const MAX_SIZE: usize = 1 << 30;

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().or_else(|| Some(units::count(text).ok()? as f64));
    let rate = rate.filter(|rate: &f64| *rate > 0.0 && *rate <= 1e9);
    rate.ok_or_else(|| "not a number of requests per second, such as 500 or 10k".to_owned())
}

fn positive(text: &str) -> Result<u64, String> {
    units::count(text).and_then(|n| if n > 0 { Ok(n) } else { Err("at least 1".to_owned()) })
}

fn some_bytes(text: &str) -> Result<u64, String> {
    units::bytes(text).and_then(|n| if n > 0 { Ok(n) } else { Err("at least 1".to_owned()) })
}

/// The body of `--data`.
fn data(argument: &OsStr) -> Result<Bytes, Failure> {
    let Some(name) = argument.as_bytes().strip_prefix(b"@") else {
        return Ok(Bytes::copy_from_slice(argument.as_bytes()));
    };
    let name = OsStr::from_bytes(name);
    let read = match name.as_bytes() {
        b"-" => {
            let mut all = Vec::new();
            std::io::stdin().lock().read_to_end(&mut all).map(|_| all)
        }
        _ => std::fs::read(name),
    };
    let unreadable = |e| Failure::Usage(format!("cannot read '{}': {e}", name.display()));
    read.map(Bytes::from).map_err(unreadable)
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a field is NAME: VALUE")?;
    let name = HeaderName::try_from(name.trim()).map_err(|e| e.to_string())?;
    Ok((name, HeaderValue::try_from(value.trim()).map_err(|e| e.to_string())?))
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    remote::log_if_asked();
    let plan = plan(args)?;
    let workers = usize::from(args.workers).min(plan.connections);
    let bar = progress(args);
    let load = Load { requests: args.requests, time: args.time.unwrap_or(TIME), warmup: args.warmup };
    let outcome = workers::run(&plan, &args.trust.config(), load, workers, &mut |now| {
        let Progress { done, answers, errors, p50, elapsed } = now;
        if done == 0 {
            return bar.tick();
        }
        bar.set_position(args.requests.map_or(elapsed.as_millis() as u64, |_| done));
        let (rate, p50) = (answers as f64 / elapsed.as_secs_f64(), p50 as f64 / 1e6);
        bar.set_message(format!("{rate:.0}/s  p50 {p50:.2} ms  {errors} errors"));
    })?;
    bar.finish_and_clear();
    let Outcome { tally, began, ended, cpu, interrupted } = &outcome;
    let report = Report {
        url: &args.url,
        mode: plan.mode.name(),
        connections: plan.connections,
        streams: plan.streams,
        workers,
        rate: plan.rate,
        began: *began,
        ended: *ended,
        cpu: *cpu,
        tally,
    };
    print(&match (args.json, args.csv) {
        (true, _) => format!("{}\n", report.json()),
        (_, true) => report.csv(),
        _ => report.text(args.histogram),
    })?;
    match report.failure() {
        _ if *interrupted => Err(Failure::Coded(130, "interrupted".to_owned())),
        Some(what) => Err(Failure::Runtime(what)),
        None => Ok(()),
    }
}

fn plan(args: &Args) -> Result<Plan, Failure> {
    let body = args.data.as_deref().map(data).transpose()?;
    let upload = body.as_ref().map(|body| body.len() as u64).or(args.upload);
    let size = usize::try_from(args.size).unwrap_or(usize::MAX).min(MAX_SIZE);
    let url = remote::url(&args.url);
    let mode = match args.wt {
        None => Mode::Http { upload: upload.unwrap_or(0) },
        Some(Wt::Stream) => Mode::Streams,
        Some(Wt::Datagram) if size < MIN_DATAGRAM => {
            return Err(Failure::Usage(format!(
                "--size is {}, but a datagram has {MIN_DATAGRAM} bytes here",
                args.size
            )));
        }
        Some(Wt::Datagram) => Mode::Datagrams,
    };
    let mut request = match args.wt {
        Some(_) => SessionOptions::new(&url)?.into_request(),
        None => {
            let method = if upload.is_some() { Method::POST } else { Method::GET };
            ClientRequest::new(args.request.clone().unwrap_or(method), &url)?
        }
    };
    if body.is_some() && !args.header.iter().any(|(name, _)| *name == CONTENT_TYPE) {
        request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    }
    for (name, value) in &args.header {
        request = request.header(name.clone(), value.clone());
    }
    if let Some(upload) = upload {
        request = request.streamed_body(Some(upload));
    }
    let all = args.requests.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    Ok(Plan {
        mode,
        request,
        connections: (args.connections as usize).min(all),
        streams: args.streams as usize,
        rate: args.rate,
        body: body.filter(|body| !body.is_empty()),
        size,
        timeout: args.timeout,
    })
}

/// Shown on a terminal only.
fn progress(args: &Args) -> ProgressBar {
    let (len, style) = match args.requests {
        Some(n) => (n, "{bar:30} {pos}/{len}  {msg}"),
        None => (args.time.unwrap_or(TIME).as_millis() as u64, "{bar:30} {elapsed}  {msg}"),
    };
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    bar.set_message("connecting");
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}
