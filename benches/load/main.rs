//! Closed-loop HTTP/3 load generator: `cargo bench --bench load -- get --url https://127.0.0.1:4433/`.
//!
//! One thread, one mio loop, quiche as the client; it starts the next request when an answer is complete, so the server
//! sets the pace. It has to be cheaper than the server it measures: every run reports the CPU seconds of the client, and
//! with `--server-pid` those of the server, and when the client's are close to the run time, the result is the client's.
//! Pin both to a core each with `taskset -c`. Handshakes are not in the figures. The exit code is 1 after any error or any
//! answer other than 2xx, 2 for wrong arguments.

#![expect(clippy::disallowed_methods, reason = "this is a clock's rim itself, not the library")]

mod engine;
mod exchange;
mod message;
mod plan;
#[path = "../shared/process.rs"]
mod process;
mod report;
mod udp;

use std::error::Error;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use engine::Engine;
use plan::Plan;
use report::Report;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Closed-loop HTTP/3 load generator on one thread.
#[derive(Parser)]
#[command(name = "load")]
struct Cli {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// What `cargo bench` passes to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Mode {
    /// Many small GETs: requests per second and latency.
    Get {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        connections: u32,
        /// Concurrent requests on each connection.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        streams: u32,
        /// UDP sockets that the connections share; one each is as fast as one for all, and more like many clients.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        sockets: u32,
        /// Microseconds to let answers gather before each turn: larger batches and fewer wake-ups for both sides, so less
        /// CPU time per request, for a latency longer by as much.
        #[arg(long, default_value_t = 0)]
        gather: u64,
        /// Seconds to run.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
        duration: u64,
        /// Requests to make, instead of a duration.
        #[arg(long, conflicts_with = "duration")]
        requests: Option<u64>,
    },
    /// One GET on one connection: megabytes (10^6 bytes) per second.
    Download {
        #[command(flatten)]
        common: Common,
        /// Prints the digest of the body too.
        #[arg(long)]
        sha256: bool,
    },
    /// One POST on one connection: megabytes (10^6 bytes) per second.
    Upload {
        #[command(flatten)]
        common: Common,
        /// Bytes of the body, all zero.
        #[arg(long, default_value_t = 512 << 20, value_parser = clap::value_parser!(u64).range(1..))]
        size: u64,
    },
    /// Connections one after the other, each for one GET: connections per second, and the time of each.
    Handshakes {
        #[command(flatten)]
        common: Common,
        /// Connections at a time.
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
        connections: u32,
        /// The only TLS group that the client offers, such as X25519, P-256 or X25519MLKEM768.
        #[arg(long, default_value = "X25519")]
        group: String,
        /// Resume the TLS session of an earlier connection, each ticket once.
        #[arg(long)]
        resume: bool,
        /// Seconds to run.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
        duration: u64,
    },
    /// Connections that make one GET each and then do nothing; prints `ready` when all are open.
    Idle {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        connections: u32,
        /// Seconds to keep them open.
        #[arg(long, default_value_t = 10)]
        hold: u64,
    },
}

#[derive(Args)]
struct Common {
    /// What to request, https://HOST:PORT/PATH.
    #[arg(long)]
    url: String,
    /// Congestion control of the client: cubic, reno or bbr2_gcongestion.
    #[arg(long, default_value = "cubic")]
    cc: String,
    /// Seconds without a packet after which a connection is lost.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    idle_timeout: u64,
    /// Process whose CPU time to report too; repeatable, for their sum.
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    /// Prints one JSON object instead of a line.
    #[arg(long)]
    json: bool,
}

impl Common {
    /// One request on one connection; the modes change what differs.
    fn plan(&self) -> Result<Plan> {
        let rest = self.url.strip_prefix("https://").ok_or("the URL must begin with https://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse()?),
            _ => (authority, 443),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let peer: SocketAddr = (host, port).to_socket_addrs()?.next().ok_or("the host has no address")?;
        Ok(Plan {
            peer,
            server_name: host.parse::<IpAddr>().is_err().then(|| host.into()),
            authority: authority.into(),
            path: if path.is_empty() { "/" } else { path }.into(),
            cc: self.cc.clone(),
            idle_timeout: Duration::from_secs(self.idle_timeout),
            connections: 1,
            sockets: 1,
            streams: 1,
            requests: 1,
            requests_per_connection: u64::MAX,
            gather: Duration::ZERO,
            upload: 0,
            sha256: false,
            reconnect: false,
            resume: false,
            group: None,
            server_pids: self.server_pid.clone(),
        })
    }
}

fn main() -> ExitCode {
    let Some(mode) = Cli::parse().mode else {
        // `cargo bench` and `cargo test --benches` come here, and neither is to fail.
        println!("{}", Cli::command().render_help());
        return ExitCode::SUCCESS;
    };
    let (json, report) = match run(mode) {
        Ok(done) => done,
        Err(e) => {
            eprintln!("load: {e}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", if json { report.json().to_string() } else { report.line() });
    match report.failure() {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one mode to its end.
fn run(mode: Mode) -> Result<(bool, Report)> {
    let mut duration = None;
    let mut hold = None;
    let (name, common, plan) = match mode {
        Mode::Get { common, connections, streams, sockets, gather, duration: seconds, requests } => {
            duration = requests.is_none().then(|| Duration::from_secs(seconds));
            let plan = Plan {
                connections: connections as usize,
                streams: streams as usize,
                sockets: sockets as usize,
                gather: Duration::from_micros(gather),
                requests: requests.unwrap_or(u64::MAX),
                ..common.plan()?
            };
            ("get", common, plan)
        }
        Mode::Download { common, sha256 } => {
            let plan = Plan { sha256, ..common.plan()? };
            ("download", common, plan)
        }
        Mode::Upload { common, size } => {
            let plan = Plan { upload: size, ..common.plan()? };
            ("upload", common, plan)
        }
        Mode::Handshakes { common, connections, group, resume, duration: seconds } => {
            duration = Some(Duration::from_secs(seconds));
            let plan = Plan {
                connections: connections as usize,
                requests: u64::MAX,
                requests_per_connection: 1,
                reconnect: true,
                resume,
                group: Some(group),
                ..common.plan()?
            };
            ("handshakes", common, plan)
        }
        Mode::Idle { common, connections, hold: seconds } => {
            let seconds = Duration::from_secs(seconds);
            hold = Some(seconds);
            let plan = common.plan()?;
            let plan = Plan {
                connections: connections as usize,
                requests: connections.into(),
                requests_per_connection: 1,
                idle_timeout: plan.idle_timeout + seconds,
                ..plan
            };
            ("idle", common, plan)
        }
    };
    let (connections, streams, group) = (plan.connections, plan.streams, plan.group.clone());

    let mut engine = Engine::new(plan)?;
    if hold.is_none() {
        engine.open()?;
    }
    engine.begin();
    engine.load(duration)?;
    if let Some(hold) = hold
        && engine.is_fine()
    {
        println!("ready");
        engine.hold(hold)?;
    }
    let (seconds, client_cpu, server_cpu) = engine.elapsed();
    let (packets_lost, sha256) = (engine.packets_lost(), engine.sha256());
    let report = Report {
        mode: name,
        url: common.url,
        connections,
        streams,
        group,
        tally: engine.close(),
        seconds,
        client_cpu,
        server_cpu,
        packets_lost,
        sha256,
    };
    Ok((common.json, report))
}
