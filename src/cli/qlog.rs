//! `mio-quiche qlog`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use mio_quiche::observe::qlog::Summary;

use super::{Failure, print};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// qlog files as `serve --qlog-dir` writes them (.sqlog)
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print JSON: one object per file and line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for (i, path) in args.files.iter().enumerate() {
        match Summary::read(path) {
            Ok(summary) if args.json => print(&format!("{}\n", summary.to_json()))?,
            Ok(summary) => print(&format!("{}{summary}", if i > 0 { "\n" } else { "" }))?,
            Err(e) => failures.push(e.to_string()),
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::Runtime(failures.join("\nmio-quiche: "))),
    }
}
