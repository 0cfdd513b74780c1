//! The command line.

mod bench;
mod cert;
mod get;
#[cfg(feature = "qlog")]
mod qlog;
mod remote;
mod serve;
mod wt;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (quiche ", env!("MIO_QUICHE_QUICHE_VERSION"), ")");
const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 something failed (such as a port in use), 2 wrong arguments or settings.";

/// HTTP/3 on Cloudflare's quiche and one mio event loop.
#[derive(Debug, Parser)]
#[command(name = "mio-quiche", version = VERSION, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the demo server
    #[command(after_help = EXIT_CODES)]
    Serve(Box<serve::Args>),
    /// Transfer URLs by HTTP/3, as curl does
    #[command(after_help = get::EXIT_CODES)]
    Get(Box<get::Args>),
    /// Open a WebTransport session: datagrams and streams both ways, or lines typed
    #[command(after_help = format!("{}\n\n{}", wt::AFTER_HELP, remote::EXIT_CODES))]
    Wt(Box<wt::Args>),
    /// Load a server with requests, or with sessions' datagrams or streams, and measure
    #[command(after_help = remote::EXIT_CODES)]
    Bench(Box<bench::Args>),
    /// Make a development certificate
    #[command(after_help = EXIT_CODES)]
    Cert(cert::Args),
    /// Summarise qlog files
    #[cfg(feature = "qlog")]
    #[command(after_help = EXIT_CODES)]
    Qlog(qlog::Args),
}

/// Why a command ends.
#[derive(Debug)]
enum Failure {
    /// Wrong arguments or settings: exit code 2.
    Usage(String),
    /// Anything else: exit code 1.
    Runtime(String),
    /// A client's failures, by exit code.
    Coded(u8, String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Runtime(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Coded(code, _) => *code,
        }
    }

    fn message(&self) -> &str {
        let (Failure::Runtime(message) | Failure::Usage(message) | Failure::Coded(_, message)) = self;
        message
    }
}

impl From<mio_quiche::Error> for Failure {
    fn from(error: mio_quiche::Error) -> Self {
        match error {
            mio_quiche::Error::Config(e) => Failure::Usage(e.to_string()),
            e => Failure::Runtime(e.to_string()),
        }
    }
}

pub(crate) fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(*args),
        Command::Get(args) => return get::run(*args),
        Command::Bench(args) => bench::run(&args),
        Command::Wt(args) => wt::run(*args),
        Command::Cert(args) => cert::run(&args),
        #[cfg(feature = "qlog")]
        Command::Qlog(args) => qlog::run(&args),
    };
    let Err(failure) = result else { return ExitCode::SUCCESS };
    eprintln!("mio-quiche: {}", failure.message());
    ExitCode::from(failure.code())
}

/// A number of seconds on the command line.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// Prints to standard output; a reader that went away (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::Runtime(format!("cannot write: {e}"))),
        _ => Ok(()),
    }
}
