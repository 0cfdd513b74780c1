//! The command line.

mod access_log;
mod bench;
mod cert;
mod failure;
mod get;
mod input;
mod manual;
mod notify;
#[cfg(feature = "qlog")]
mod qlog;
mod remote;
mod serve;
mod systemd;
mod units;
mod wt;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
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
    /// Serve a directory, or the demo
    #[command(after_help = serve::AFTER_HELP)]
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
    /// Print completions for a shell
    #[command(hide = true)]
    Completions(manual::Completions),
    /// Write manual pages into a directory
    #[command(hide = true)]
    Man(manual::Man),
}

pub(crate) fn run() -> ExitCode {
    let (command, file) = match parse() {
        Ok(parsed) => parsed,
        Err(failure) => return fail(&failure),
    };
    let result = match command {
        Command::Serve(args) => serve::run(*args, file),
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
        Command::Completions(args) => manual::completions(&args, Cli::command()),
        Command::Man(args) => manual::man(&args, Cli::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    eprintln!("mio-quiche: {}", failure.message());
    ExitCode::from(failure.code())
}

/// Reads the arguments, and those of `serve` in a file that they name.
fn parse() -> Result<(Command, Option<serve::File>), Failure> {
    let command = Cli::command();
    let mut matches = command.clone().get_matches();
    let mut file = None;
    if let Some(("serve", given)) = matches.subcommand()
        && let Some(found) = serve::File::read(given)?
        && let Some(serve) = command.find_subcommand("serve")
    {
        let mut arguments: Vec<_> = std::env::args_os().collect();
        // Behind the program and the subcommand, and before what may follow `--`.
        arguments.splice(2..2, found.arguments(serve, given)?);
        matches = command.try_get_matches_from(arguments).unwrap_or_else(|error| {
            eprintln!("{}", found.blame());
            error.exit()
        });
        file = Some(found);
    }
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    Ok((cli.command, file))
}
