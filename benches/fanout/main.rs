//! Fan-out of datagrams to many sessions, and wake-ups of the loop by other threads:
//! `cargo bench --bench fanout -- wake`, or a server and, in another shell, its members:
//! `cargo bench --bench fanout -- server --stack ours --cert cert.pem --key key.pem`,
//! `cargo bench --bench fanout -- members --url https://127.0.0.1:4433/fan --server-pid PID`.
//!
//! The servers publish on a schedule, so the figure is their CPU time per datagram. The exit code is 1 after any error,
//! 2 for wrong arguments.

#![expect(clippy::disallowed_methods, reason = "this is a clock's rim itself, not the library")]

mod members;
#[path = "../shared/process.rs"]
mod process;
mod server;
mod wake;
#[path = "../shared/wtransport_server.rs"]
mod wtransport_server;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Fan-out of datagrams, and wake-ups of the loop.
#[derive(Parser)]
#[command(name = "fanout")]
struct Cli {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// What `cargo bench` passes to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Stack {
    /// A topic.
    Ours,
    /// wtransport, with a broadcast channel of tokio.
    Wtransport,
}

#[derive(Subcommand)]
enum Mode {
    /// A server whose sessions all get each message that a thread publishes; prints `listening on ADDR:PORT`.
    Server {
        #[arg(long, value_enum)]
        stack: Stack,
        #[arg(long, default_value = "127.0.0.1:4433")]
        listen: SocketAddr,
        /// Certificate chain, PEM.
        #[arg(long)]
        cert: PathBuf,
        /// Private key, PEM.
        #[arg(long)]
        key: PathBuf,
        /// Messages of 100 bytes in a second; with 0 the members are silent.
        #[arg(long, default_value_t = 20)]
        rate: u32,
    },
    /// Sessions that count what they get.
    Members {
        /// A session of such a server, https://HOST:PORT/fan.
        #[arg(long)]
        url: String,
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// Seconds to run.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
        duration: u64,
        /// The server's process, whose CPU time and memory to report.
        #[arg(long, value_name = "PID")]
        server_pid: u32,
        /// Prints one JSON object instead of a line.
        #[arg(long)]
        json: bool,
    },
    /// Wake-ups of a server in this process: how many a thread makes in a second, and the time until a datagram that
    /// another thread, or the loop itself, sends arrives at a client.
    Wake {
        /// Wake-ups to make.
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// Datagrams to send each way.
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
        datagrams: u32,
    },
}

fn main() -> ExitCode {
    let Some(mode) = Cli::parse().mode else {
        // `cargo bench` and `cargo test --benches` come here, and neither is to fail.
        println!("{}", Cli::command().render_help());
        return ExitCode::SUCCESS;
    };
    let ran = match mode {
        Mode::Server { stack: Stack::Ours, listen, cert, key, rate } => server::ours(listen, cert, key, rate),
        Mode::Server { stack: Stack::Wtransport, listen, cert, key, rate } => {
            on_one_thread(server::wtransport(listen, cert, key, rate))
        }
        Mode::Members { url, count, duration, server_pid, json } => {
            on_one_thread(members::run(&url, count, Duration::from_secs(duration), server_pid, json))
        }
        Mode::Wake { count, datagrams } => wake::run(count, datagrams),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("fanout: {e}");
            ExitCode::FAILURE
        }
    }
}

fn on_one_thread(program: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(program)
}
