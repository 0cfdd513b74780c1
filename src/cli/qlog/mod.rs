//! `mio-quiche qlog`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use mio_quiche::observe::qlog::{self, Chart, Summary};

use super::{Failure, print};

mod limits;
mod table;

pub(super) use limits::QlogLimits;
use table::Table;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// qlog files of any implementation, also compressed by gzip; directories of them, with a line for each file; - for
    /// standard input
    #[arg(value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    /// Print JSON: one object per connection and line
    #[arg(long, conflicts_with_all = ["svg", "html"])]
    json: bool,
    /// Draw one file into this SVG file: packets, congestion window, round trips, flow control, streams, events; - for
    /// standard output
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// The same as a page of HTML that needs no network, also for phones
    #[arg(long, value_name = "FILE", conflicts_with = "svg")]
    html: Option<PathBuf>,
    /// Tell the handshake of one file packet by packet, with sections of the RFCs
    #[arg(long, conflicts_with_all = ["json", "svg", "html"])]
    explain: bool,
}

/// Endings of the names of files that are read in a directory.
const ENDINGS: [&str; 6] = [".sqlog", ".qlog", ".json", ".sqlog.gz", ".qlog.gz", ".json.gz"];

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match (&args.svg, &args.html) {
        (Some(out), _) => draw(&args.files, out, Chart::to_svg),
        (_, Some(out)) => draw(&args.files, out, Chart::to_html),
        (None, None) if args.explain => {
            let (reader, name) = open(one(&args.files, "--explain takes")?).map_err(Failure::Runtime)?;
            print(&qlog::explain(reader, &name).map_err(|e| Failure::Runtime(e.to_string()))?)
        }
        (None, None) => summarise(args),
    }
}

fn draw(files: &[PathBuf], out: &Path, content: fn(&Chart) -> String) -> Result<(), Failure> {
    let path = one(files, "--svg and --html draw")?;
    let (reader, name) = open(path).map_err(Failure::Runtime)?;
    let chart = Chart::read(reader, &name).map_err(|e| Failure::Runtime(e.to_string()))?;
    let content = content(&chart);
    if out == Path::new("-") {
        return print(&content);
    }
    fs::write(out, content).map_err(|e| Failure::Runtime(format!("cannot write '{}': {e}", out.display())))
}

/// The only file given.
fn one<'a>(files: &'a [PathBuf], what: &str) -> Result<&'a Path, Failure> {
    match files {
        [path] if !path.is_dir() => Ok(path),
        _ => Err(Failure::Usage(format!("{what} one file"))),
    }
}

fn summarise(args: &Args) -> Result<(), Failure> {
    let mut failures = Vec::new();
    let mut is_first = true;
    for path in &args.files {
        let result = match path.is_dir() {
            true => directory(path, args.json, &mut is_first, &mut failures),
            false => file(path, args.json, &mut is_first, &mut failures),
        };
        result?;
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::Runtime(failures.join("\nmio-quiche: "))),
    }
}

fn file(path: &Path, json: bool, is_first: &mut bool, failures: &mut Vec<String>) -> Result<(), Failure> {
    match read(path) {
        Ok(summaries) => {
            for summary in summaries {
                match json {
                    true => print(&format!("{}\n", summary.to_json()))?,
                    false => print(&format!("{}{summary}", if *is_first { "" } else { "\n" }))?,
                }
                *is_first = false;
            }
        }
        Err(reason) => failures.push(reason),
    }
    Ok(())
}

fn directory(path: &Path, json: bool, is_first: &mut bool, failures: &mut Vec<String>) -> Result<(), Failure> {
    let files = match files_in(path) {
        Ok(files) => files,
        Err(e) => {
            failures.push(format!("cannot read directory '{}': {e}", path.display()));
            return Ok(());
        }
    };
    if files.is_empty() {
        failures.push(format!(
            "no qlog files in '{}': none has a name that ends with .sqlog, .qlog or .json",
            path.display()
        ));
        return Ok(());
    }
    if json {
        return files.iter().try_for_each(|path| file(path, true, is_first, failures));
    }
    let names = files.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy());
    let mut table = Table::new(names.map(|name| name.chars().count()).max().unwrap_or(0));
    print(&format!("{}{}:\n{}", if *is_first { "" } else { "\n" }, path.display(), table.head()))?;
    *is_first = false;
    for path in &files {
        match read(path) {
            Ok(summaries) => {
                for summary in &summaries {
                    print(&table.row(path, summary))?;
                }
            }
            Err(reason) => failures.push(reason),
        }
    }
    print(&table.total())
}

/// The qlog files of a directory in the order of their names.
fn files_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in path.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if ENDINGS.iter().any(|ending| name.ends_with(ending)) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<Summary>, String> {
    let (reader, name) = open(path)?;
    Summary::read_all(reader, &name).map_err(|e| e.to_string())
}

/// The content, and its name in messages.
fn open(path: &Path) -> Result<(Box<dyn Read>, PathBuf), String> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), PathBuf::from("standard input")));
    }
    let file = File::open(path).map_err(|e| format!("cannot read qlog '{}': {e}", path.display()))?;
    Ok((Box::new(file), path.to_owned()))
}
