//! `mio-quiche bench`.

mod conns;
mod engine;
mod request;
mod runner;
mod slot;
mod tally;

use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use http::{HeaderName, HeaderValue, Method};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mio_quiche::{ClientRequest, SessionOptions, net};

use super::remote::{self, Trust};
use super::{Failure, print};
use engine::{Mode, Plan};
use runner::Runner;
use tally::{Report, cpu_time};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// https://HOST[:PORT]/PATH
    url: String,
    #[command(flatten)]
    trust: Trust,
    /// Connections
    #[arg(short, long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Concurrent requests on each connection
    #[arg(short = 'm', long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,
    /// Requests in all
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "time", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Duration in seconds [default: 5]
    #[arg(short, long, value_name = "SECONDS", value_parser = remote::seconds)]
    time: Option<Duration>,
    /// Requests per second in all, on a schedule that does not wait for responses; latencies count from the scheduled
    /// time, so that a stall is visible
    #[arg(short, long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Seconds of load before the measurement
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = remote::seconds)]
    warmup: Duration,
    /// Method [default: GET, or POST with --upload]
    #[arg(short = 'X', long, value_name = "METHOD", conflicts_with = "wt")]
    request: Option<Method>,
    /// Header field, NAME: VALUE; repeatable
    #[arg(short = 'H', long, value_name = "FIELD", value_parser = field)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Send a body of this size with each request
    #[arg(long, value_name = "BYTES", conflicts_with = "wt", value_parser = clap::value_parser!(u64).range(1..))]
    upload: Option<u64>,
    /// Instead of requests: open a session on each connection, and send datagrams or bidirectional streams, which the
    /// server must echo
    #[arg(long, value_enum, value_name = "KIND")]
    wt: Option<Wt>,
    /// Bytes of each datagram or stream
    #[arg(long, value_name = "BYTES", default_value_t = 100, requires = "wt")]
    size: usize,
    /// Time limit for a request, or until a datagram counts as lost, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = remote::seconds)]
    timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Wt {
    Datagram,
    Stream,
}

const TIME: Duration = Duration::from_secs(5);
/// Size of the number in front of each datagram.
const MIN_DATAGRAM: usize = 8;

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err("not a number of requests per second".to_owned()),
    }
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a field is NAME: VALUE")?;
    let name = HeaderName::try_from(name.trim()).map_err(|e| e.to_string())?;
    Ok((name, HeaderValue::try_from(value.trim()).map_err(|e| e.to_string())?))
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    remote::log_if_asked();
    let plan = plan(args)?;
    let (mode, connections, streams, rate) = (plan.mode, plan.connections, plan.streams, plan.rate);
    let mut runner = Runner::new(plan, &args.trust.config())?;
    let bar = progress(args);
    runner.open()?;
    if !args.warmup.is_zero() {
        bar.set_message("warming up");
        let began = net::now();
        runner.load(None, began, Some(began + args.warmup), &mut |_| bar.tick())?;
    }
    runner.begin().map_err(|e| Failure::Runtime(e.to_string()))?;
    let (began, cpu) = (net::now(), cpu_time());
    let until = args.requests.is_none().then(|| began + args.time.unwrap_or(TIME));
    runner.load(args.requests, began, until, &mut |tally| {
        let seconds = (net::now() - began).as_secs_f64();
        match until {
            Some(_) => bar.set_position((seconds * 1e3) as u64),
            None => bar.set_position(tally.done),
        }
        let (answers, errors) = (tally.answers(), tally.errors());
        let p50 = tally.latency.value_at_quantile(0.5) as f64 / 1e6;
        bar.set_message(format!("{:.0}/s  p50 {p50:.2} ms  {errors} errors", answers as f64 / seconds));
    })?;
    let (ended, cpu) = (runner.last_end().unwrap_or_else(net::now), cpu_time() - cpu);
    bar.finish_and_clear();
    let interrupted = runner.is_interrupted();
    runner.close();
    let mode = mode.name();
    let report = Report { url: &args.url, mode, connections, streams, rate, began, ended, cpu, tally: runner.tally() };
    print(&if args.json { format!("{}\n", report.json()) } else { report.text() })?;
    match report.failure() {
        _ if interrupted => Err(Failure::Coded(130, "interrupted".to_owned())),
        Some(what) => Err(Failure::Runtime(what)),
        None => Ok(()),
    }
}

fn plan(args: &Args) -> Result<Plan, Failure> {
    let mode = match args.wt {
        None => Mode::Http { upload: args.upload.unwrap_or(0) },
        Some(Wt::Stream) => Mode::Streams,
        Some(Wt::Datagram) if args.size < MIN_DATAGRAM => {
            return Err(Failure::Usage(format!(
                "--size is {}, but a datagram has {MIN_DATAGRAM} bytes here",
                args.size
            )));
        }
        Some(Wt::Datagram) => Mode::Datagrams,
    };
    let mut request = match args.wt {
        Some(_) => SessionOptions::new(&args.url)?.into_request(),
        None => {
            let method = if args.upload.is_some() { Method::POST } else { Method::GET };
            ClientRequest::new(args.request.clone().unwrap_or(method), &args.url)?
        }
    };
    for (name, value) in &args.header {
        request = request.header(name.clone(), value.clone());
    }
    if let Some(upload) = args.upload {
        request = request.streamed_body(Some(upload));
    }
    let all = args.requests.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    Ok(Plan {
        mode,
        request,
        connections: (args.connections as usize).min(all),
        streams: args.streams as usize,
        rate: args.rate,
        size: args.size,
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
