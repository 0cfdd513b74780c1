//! WebTransport load generator and, for comparison, an echo server, both on `wtransport` (quinn, tokio):
//! `cargo bench --bench wt -- datagrams --url https://127.0.0.1:4433/wt/echo`.
//!
//! Closed-loop: a fixed number of echoes is in flight and each that comes back starts the next. The client needs more
//! CPU per echo than a good server does, so it sets the pace, and the fair figure is the server's CPU time per echo: with
//! `--server-pid` every run reports it. Pin both to a core each with `taskset -c`. Handshakes are not in the figures.
//! The exit code is 1 after any error, 2 for wrong arguments.

#![expect(clippy::disallowed_methods, reason = "this is a clock's rim itself, not the library")]

mod client;
mod memory;
#[path = "../shared/process.rs"]
mod process;
mod server;
#[path = "../shared/wtransport_server.rs"]
mod wtransport_server;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, CommandFactory, Parser, Subcommand};
use process::cpu_seconds;
use serde_json::json;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// WebTransport load generator, and an echo server to compare with.
#[derive(Parser)]
#[command(name = "wt")]
struct Cli {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// What `cargo bench` passes to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Mode {
    /// Datagrams there and back: echoes per second.
    Datagrams {
        #[command(flatten)]
        common: Common,
        /// Datagrams under way at a time.
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
        in_flight: u32,
        /// Bytes of each.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(8..=1000))]
        size: u32,
        /// Seconds to run.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
        duration: u64,
    },
    /// Bidirectional streams opened, written, echoed and ended: streams per second.
    Streams {
        #[command(flatten)]
        common: Common,
        /// Streams open at a time.
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
        in_flight: u32,
        /// Bytes on each.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        size: u32,
        /// Seconds to run.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
        duration: u64,
    },
    /// One stream with many bytes, echoed while they are sent: megabytes (10^6 bytes) per second in each direction.
    Bulk {
        #[command(flatten)]
        common: Common,
        /// Bytes to send.
        #[arg(long, default_value_t = 256 << 20, value_parser = clap::value_parser!(u64).range(1..))]
        size: u64,
    },
    /// Connections with sessions that do nothing; prints `ready` when all are open.
    Idle {
        #[arg(long)]
        url: String,
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        connections: u32,
        /// Sessions on each connection.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        sessions: u32,
        /// Seconds to keep them open.
        #[arg(long, default_value_t = 10)]
        hold: u64,
    },
    /// An echo server; prints `listening on ADDR:PORT`.
    Server {
        #[arg(long, default_value = "127.0.0.1:4433")]
        listen: SocketAddr,
        /// Certificate chain, PEM.
        #[arg(long)]
        cert: PathBuf,
        /// Private key, PEM.
        #[arg(long)]
        key: PathBuf,
    },
}

#[derive(Args)]
struct Common {
    /// A session that echoes, https://HOST:PORT/PATH.
    #[arg(long)]
    url: String,
    /// Process whose CPU time to report too.
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Prints one JSON object instead of a line.
    #[arg(long)]
    json: bool,
}

/// What a run has done.
pub(crate) struct Done {
    /// Echoes that came back complete and right.
    pub(crate) echoes: u64,
    /// Datagrams that did not come back.
    pub(crate) lost: u64,
    /// Payload bytes in one direction.
    pub(crate) bytes: u64,
}

/// The clocks of a run.
pub(crate) struct Clock {
    begun: Instant,
    client: f64,
    server: Option<f64>,
    pid: Option<u32>,
}

impl Clock {
    fn start(pid: Option<u32>) -> Self {
        let client = cpu_seconds(std::process::id()).unwrap_or(0.0);
        Self { begun: Instant::now(), client, server: pid.and_then(cpu_seconds), pid }
    }

    fn print(&self, common: &Common, mode: &str, done: &Done) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let client = cpu_seconds(std::process::id()).unwrap_or(0.0) - self.client;
        let server = self.server.zip(self.pid.and_then(cpu_seconds)).map(|(then, now)| now - then);
        let (rate, megabytes) = (done.echoes as f64 / seconds, done.bytes as f64 / seconds / 1e6);
        if common.json {
            let object = json!({
                "mode": mode,
                "url": common.url,
                "seconds": seconds,
                "echoes": done.echoes,
                "echoes_per_second": rate,
                "mb_per_second": megabytes,
                "lost": done.lost,
                "client_cpu_seconds": client,
                "server_cpu_seconds": server,
                "server_us_per_echo": server.map(|s| s * 1e6 / done.echoes.max(1) as f64),
                "server_ms_per_mb": server.map(|s| s * 1e9 / done.bytes.max(1) as f64),
            });
            return println!("{object}");
        }
        let mut line = format!(
            "{mode} {rate:.0} echoes/s, {megabytes:.1} MB/s each way ({} echoes in {seconds:.2} s), lost {}, \
             CPU client {client:.2} s",
            done.echoes, done.lost,
        );
        if let Some(server) = server {
            let echo = server * 1e6 / done.echoes.max(1) as f64;
            line += &format!(" server {server:.2} s, {echo:.1} us per echo");
        }
        println!("{line}");
    }
}

fn main() -> ExitCode {
    let Some(mode) = Cli::parse().mode else {
        // `cargo bench` and `cargo test --benches` come here, and neither is to fail.
        println!("{}", Cli::command().render_help());
        return ExitCode::SUCCESS;
    };
    // One thread, so that a core each is enough for client and server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(mode)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("wt: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mode: Mode) -> Result<()> {
    match mode {
        Mode::Datagrams { common, in_flight, size, duration } => {
            let session = client::connect(&common.url).await?;
            let clock = Clock::start(common.server_pid);
            let done = client::datagrams(&session, in_flight, size as usize, Duration::from_secs(duration)).await?;
            clock.print(&common, "datagrams", &done);
        }
        Mode::Streams { common, in_flight, size, duration } => {
            let session = client::connect(&common.url).await?;
            let clock = Clock::start(common.server_pid);
            let done = client::streams(session, in_flight, size as usize, Duration::from_secs(duration)).await?;
            clock.print(&common, "streams", &done);
        }
        Mode::Bulk { common, size } => {
            let session = client::connect(&common.url).await?;
            let clock = Clock::start(common.server_pid);
            let done = client::bulk(&session, size).await?;
            clock.print(&common, "bulk", &done);
        }
        Mode::Idle { url, connections, sessions, hold } => {
            memory::idle(&url, connections, sessions, Duration::from_secs(hold)).await?;
        }
        Mode::Server { listen, cert, key } => server::run(listen, cert, key).await?,
    }
    Ok(())
}
