//! HTTP/3 servers on other stacks, for `scripts/bench` to compare with. Each does what its stack's documentation shows, with
//! the stack's defaults, and answers the same three requests.

mod answer;
mod h3_server;
mod quinn_h3;
mod s2n_h3;
mod s2n_server;
mod tokio_server;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// An HTTP/3 server: GET / (small), GET /stream/BYTES, POST to any path (reads the body).
#[derive(Parser)]
#[command(name = "bench-servers")]
pub(crate) struct Cli {
    #[arg(long, value_enum)]
    stack: Stack,
    /// Prints the address once it listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Certificate chain, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// Private key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// Threads of the runtime; 1: all on the main thread.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Stack {
    /// quinn with h3, TLS by rustls and ring.
    Quinn,
    /// s2n-quic with h3, TLS by s2n-tls and aws-lc.
    S2nQuic,
    /// tokio-quiche, TLS by BoringSSL.
    TokioQuiche,
}

fn main() -> ExitCode {
    match serve(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-servers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: Cli) -> Result<()> {
    let mut builder = match cli.workers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if cli.workers > 1 {
        builder.worker_threads(cli.workers.into());
    }
    builder.enable_all().build()?.block_on(async {
        match cli.stack {
            Stack::Quinn => quinn_h3::run(&cli).await,
            Stack::S2nQuic => s2n_server::run(&cli).await,
            Stack::TokioQuiche => tokio_server::run(&cli).await,
        }
    })
}
