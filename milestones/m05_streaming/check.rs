//! The check of milestone 5: 64 MiB down and up, whole, in little memory, and past readers that are slow or stop.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

#[path = "../check_support.rs"]
mod check_support;
mod solution;

use check_support::{Example, Local, Process, curl, example_path, fetch, get, mio_quiche, run, wait_for};
use data_encoding::HEXLOWER;
use mio_quiche::Router;
use mio_quiche::net::now;
use ring::digest::{Context, SHA256};

const SIZE: u64 = 64 * 1024 * 1024;
/// What a transfer may cost in memory, above the idle server (in KiB, as /proc counts).
const MAX_GROWTH: u64 = 32 * 1024;

/// What the example sends: each word of eight bytes is its own offset.
fn payload() -> impl Iterator<Item = [u8; 8]> {
    (0..SIZE).step_by(8).map(u64::to_be_bytes)
}

fn sha256_of_payload() -> String {
    let mut hash = Context::new(&SHA256);
    payload().for_each(|word| hash.update(&word));
    HEXLOWER.encode(hash.finish().as_ref())
}

fn sha256_of_file(path: &Path) -> String {
    let mut file = File::open(path).expect("the file");
    let (mut hash, mut buf) = (Context::new(&SHA256), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buf).expect("the file can be read") {
            0 => return HEXLOWER.encode(hash.finish().as_ref()),
            n => hash.update(&buf[..n]),
        }
    }
}

fn assert_frugal(example: &Example, idle: u64, what: &str) {
    let growth = example.peak_memory() - idle;
    println!("{what}: peak memory {growth} KiB above the idle server's {idle} KiB");
    assert!(growth <= MAX_GROWTH, "{what} cost {growth} KiB of memory");
}

#[test]
fn download() {
    let example = Example::start("m05_streaming", &[]);
    let idle = example.peak_memory();
    let file = example.dir.path().join("down");
    let output = run(curl().arg("--output").arg(&file).arg(format!("https://{}/download/{SIZE}", example.addr)), b"");
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    assert_eq!(fs::metadata(&file).expect("curl wrote it").len(), SIZE);
    assert_eq!(sha256_of_file(&file), sha256_of_payload());
    assert_frugal(&example, idle, "download");
    example.stop();
}

#[test]
fn upload() {
    let example = Example::start("m05_streaming", &[]);
    let idle = example.peak_memory();
    let path = example.dir.path().join("up");
    let mut file = BufWriter::new(File::create(&path).expect("a new file"));
    payload().for_each(|word| file.write_all(&word).expect("room on the disk"));
    file.flush().expect("room on the disk");
    let reply = fetch(example.addr, "/upload", &["--upload-file", path.to_str().expect("a plain path")]);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.body, format!("{{\"bytes\":{SIZE},\"sha256\":\"{}\"}}\n", sha256_of_payload()));
    assert_frugal(&example, idle, "upload");
    example.stop();
}

#[test]
fn echo() {
    let example = Example::start("m05_streaming", &[]);
    let data: Vec<u8> = payload().take(1 << 20).flatten().collect();
    let mut command = curl();
    command.args(["--data-binary", "@-", &format!("https://{}/echo", example.addr)]);
    let output = run(&mut command, &data);
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    assert!(output.stdout == data, "8 MiB come back as they were, not {} others", output.stdout.len());
    example.stop();
}

#[test]
fn a_slow_reader() {
    let example = Example::start("m05_streaming", &[]);
    let idle = example.peak_memory();
    let file = example.dir.path().join("slow");
    // Its progress bar wants a terminal, which `script` has, of a kind that can move the cursor.
    let mut reader = Command::new("script");
    let command = mio_quiche().get_program().to_string_lossy().into_owned();
    let url = format!("https://{}/download/{SIZE}", example.addr);
    let line = format!("'{command}' get -k --limit-rate 12M -o '{}' {url}", file.display());
    reader.args(["-q", "-e", "-c", &line, "/dev/null"]).env("TERM", "xterm");
    let reader = thread::spawn(move || run(&mut reader, b""));
    wait_for("the first MiB", || fs::metadata(&file).ok().filter(|f| f.len() >= 1 << 20));
    let reports = get(example.addr, "/download/16", &["--report", "--repeat", "2"]);
    for report in reports.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")) {
        assert_eq!((&report["status"], &report["bytes"]), (&200.into(), &16.into()));
    }
    assert!(!reader.is_finished(), "the others had their answers meanwhile");
    let output = reader.join().expect("it does not panic");
    assert!(output.status.success(), "{}: {}", output.status, output.text());
    for part in ["% [", "] 64.00 MiB of 64.00 MiB, "] {
        assert!(output.text().contains(part), "no {part:?} in {:?}", output.text());
    }
    assert_eq!(sha256_of_file(&file), sha256_of_payload());
    assert_frugal(&example, idle, "a slow reader");
    example.stop();
}

#[test]
fn the_chapters_client() {
    let example = Example::start("m05_streaming", &[]);
    let urls = [10_000_000, 1000].map(|bytes| format!("https://{}/download/{bytes}", example.addr));
    let output = run(Command::new(example_path("m05_client")).args(urls), b"");
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    // On a busy machine the long one may never fill its window, and then ends first.
    let mut lines: Vec<_> = output.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1000 bytes, to the end", "10000000 bytes, to the end"]);
    example.stop();
}

#[test]
fn a_reader_that_stops() {
    let example = Example::start("m05_streaming", &[]);
    let idle = example.peak_memory();
    let file = example.dir.path().join("slow");
    let mut command = curl();
    // Slow enough that it is still under way when it is stopped.
    command.args(["--limit-rate", "24M", "--output"]).arg(&file);
    command.arg(format!("https://{}/download/{SIZE}", example.addr)).stdin(Stdio::null());
    let mut reader = Process::start(&mut command);
    wait_for("the first MiB", || fs::metadata(&file).ok().filter(|f| f.len() >= 1 << 20));
    reader.signal("STOP");
    assert!(reader.has_ended().is_none(), "the download is under way when its reader stops");
    // For a second, nobody reads; the server serves others as if nothing were.
    let until = now() + Duration::from_secs(1);
    let mut others = 0;
    while now() < until {
        assert_eq!(fetch(example.addr, "/download/16", &["--output", "/dev/null", "--dump-header", "-"]).status, 200);
        others += 1;
    }
    assert!(fs::metadata(&file).expect("a part of it").len() < SIZE);
    println!("{others} requests were served while one reader slept");
    reader.signal("CONT");
    assert_eq!(reader.wait().code(), Some(0));
    assert_eq!(sha256_of_file(&file), sha256_of_payload());
    assert_frugal(&example, idle, "a reader that stops");
    example.stop();
}

#[test]
fn the_solution_answers_in_upper_case() {
    let server = Local::start(|| Router::new().post("/upper", |_req, res| res.stream(solution::Upper::default())));
    let text = "A body of more than a chunk, and with \u{e4}.\n".repeat(100_000);
    let output = run(curl().args(["--data-binary", "@-", &server.url("/upper")]), text.as_bytes());
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    assert!(output.text() == text.to_ascii_uppercase(), "{} bytes came back", output.stdout.len());
    assert_eq!(fetch(server.addr, "/upper", &["--data", ""]).body, "");
    server.stop();
}
