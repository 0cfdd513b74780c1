//! The command line.

mod bench;
mod cert;
mod failure;
mod get;
mod notify;
#[cfg(feature = "qlog")]
mod qlog;
mod remote;
mod serve;
mod wt;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
pub(crate) use failure::{Failure, print, seconds};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (quiche ", env!("MIO_QUICHE_QUICHE_VERSION"), ")");
const EXIT_CODES: &str = "Exit codes: 0 success, 1 failure, 2 invalid arguments or settings.";

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
    /// Transfer URLs over HTTP/3, as curl does
    #[command(after_help = format!("{}\n\n{}", get::VARIABLES, get::EXIT_CODES), args_override_self = true)]
    Get(Box<get::Args>),
    /// Open a WebTransport session: datagrams and streams both ways, or typed lines
    #[command(after_help = format!("{}\n\n{}", wt::AFTER_HELP, remote::EXIT_CODES))]
    Wt(Box<wt::Args>),
    /// Load a server with requests, or with datagrams or streams of sessions, and measure
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

pub(crate) fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(*args),
        Command::Get(args) => match get::with_config(&args, std::env::args_os()) {
            Ok(None) => return get::run(*args),
            Ok(Some(all)) => match Cli::parse_from(all).command {
                Command::Get(args) => return get::run(*args),
                _ => return ExitCode::from(2),
            },
            Err(code) => return code,
        },
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
