//! The check of milestone 10: the server in Bun, what one wake-up stands for, and the programs in C.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[path = "../check_support.rs"]
mod check_support;

use check_support::{Example, Lines, Process, client, curl, fetch, mio_quiche, run, wait_for};
use mio_quiche::app::cert::DevCert;
use serde_json::Value;
use tempfile::TempDir;

fn milestone() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("milestones/m10_bun")
}

/// The directory of the library, which the scripts build.
fn library() -> PathBuf {
    let path = std::env::var_os("MIO_QUICHE_LIBRARY");
    path.expect("MIO_QUICHE_LIBRARY is not set: run the check by scripts/milestone or scripts/test").into()
}

/// A directory with a certificate in `certs`.
fn with_certificate() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cert = DevCert::generate(&[]).expect("a certificate");
    cert.write(&dir.path().join("certs")).expect("a directory of the check");
    dir
}

/// The server in Bun, running.
fn bun() -> Example {
    let mut command = Command::new(client("MIO_QUICHE_BUN"));
    command.arg(milestone().join("main.ts")).args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null());
    Example::of(command.env("MIO_QUICHE_LIBRARY", library()), with_certificate())
}

/// A program in C, compiled and running.
fn c(source: &str) -> Example {
    let (dir, library) = (with_certificate(), library());
    let program = dir.path().join("program");
    let mut command = Command::new("cc");
    command.args(["-Wall", "-Wextra", "-Werror", concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include")]);
    command.arg(milestone().join(source)).args(["-lmio_quiche", "-o"]).arg(&program);
    command.arg(format!("-L{}", library.display())).arg(format!("-Wl,-rpath,{}", library.display()));
    let built = run(&mut command, b"");
    assert!(built.status.success(), "{source}: {}", built.stderr);
    Example::of(Command::new(program).arg("127.0.0.1:0").stdin(Stdio::piped()), dir)
}

/// A session of the project's own client.
struct Visit {
    process: Process,
    lines: Lines,
}

impl Visit {
    fn begin(server: &Example) -> Self {
        let mut command = mio_quiche();
        command.args(["wt", "-k", "--interactive", &format!("https://{}/", server.addr)]);
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let lines = Lines::of(process.child.stdout.take().expect("a pipe"));
        Visit { process, lines }
    }

    /// Types a line.
    fn say(&mut self, line: &str) {
        let stdin = self.process.child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{line}").expect("it reads");
    }

    fn end(mut self) {
        self.say("/close 7 that is all");
        assert!(self.lines.next().starts_with("session    opened after "));
        assert_eq!(self.lines.next(), "session    closed by us with code 7 (that is all)");
        assert_eq!(self.process.wait().code(), Some(0));
    }
}

fn counts(server: &Example, name: &str) -> u64 {
    let body = fetch(server.addr, "/counts", &[]).body;
    let counts: Value = serde_json::from_str(&body).expect("the counts are JSON");
    counts[name].as_u64().expect("a count is a number")
}

#[test]
fn the_server_in_bun() {
    let server = bun();
    let reply = fetch(server.addr, "/", &[]);
    assert_eq!((reply.status, &*reply.body), (200, "hello from Bun\n"));
    assert_eq!(reply.header("content-length"), Some("15"));
    let reply = fetch(server.addr, "/nowhere", &[]);
    assert_eq!((reply.status, &*reply.body), (404, "not found\n"));
    let mut visit = Visit::begin(&server);
    visit.say("/dgram ping");
    assert_eq!(visit.lines.next(), "datagram: ping");
    visit.end();
    let args = ["bench", "-k", "-c", "4", "-m", "10", "-n", "2000", &format!("https://{}/", server.addr)];
    let output = run(mio_quiche().args(args), b"");
    assert!(output.text().contains("answers    2000 with 200\nerrors     none\n"), "{}", output.text());
    assert!(counts(&server, "events") > 2000);
    assert!(counts(&server, "batches") < counts(&server, "events"));
    let (rest, _) = server.stop();
    assert_eq!(rest.len(), 1);
    assert!(rest[0].contains(" batches after "), "{rest:?}");
}

#[test]
fn one_wake_up_stands_for_all_that_comes_while_bun_is_busy() {
    const REQUESTS: u64 = 50;
    let mut server = bun();
    let mut milliseconds = 500;
    // How long it takes until all requests are there depends on the machine.
    wait_for("one wake-up for all requests", || {
        let url = format!("https://{}/busy/{milliseconds}", server.addr);
        let mut busy = Process::start(curl().arg(url).stdout(Stdio::null()));
        assert_eq!(server.line(), format!("busy for {milliseconds} ms"));
        let (url, requests) = (format!("https://{}/", server.addr), REQUESTS.to_string());
        let output = run(mio_quiche().args(["bench", "-k", "-c", "1", "-m", &requests, "-n", &requests, &url]), b"");
        assert!(output.text().contains("answers    50 with 200\n"), "{}", output.text());
        assert!(busy.wait().success());
        milliseconds *= 2;
        (counts(&server, "most") >= REQUESTS).then_some(())
    });
    server.stop();
}

#[test]
fn the_server_in_c() {
    let server = c("server.c");
    assert_eq!(fetch(server.addr, "/", &[]).body, "hello from C\n");
    let mut visit = Visit::begin(&server);
    visit.say("/dgram ping");
    assert_eq!(visit.lines.next(), "datagram: ping");
    visit.end();
    server.stop();
}

#[test]
fn the_solution_sends_what_is_typed_to_all_sessions() {
    let mut server = c("solution.c");
    assert_eq!(fetch(server.addr, "/", &[]).status, 404);
    let visits = [Visit::begin(&server), Visit::begin(&server)];
    assert_eq!([server.line(), server.line()], ["sessions: 1", "sessions: 2"]);
    let mut stdin = server.process.child.stdin.take().expect("a pipe");
    stdin.write_all(b"to both").expect("it reads");
    for visit in visits {
        assert_eq!(visit.lines.next(), "datagram: to both");
        visit.end();
    }
    // Those who left are no longer counted, at the latest when their connections have ended.
    let visit = Visit::begin(&server);
    assert_eq!(server.line(), "sessions: 1");
    stdin.write_all(b"to one").expect("it reads");
    assert_eq!(visit.lines.next(), "datagram: to one");
    drop(stdin);
    assert_eq!(server.process.wait().code(), Some(0));
}
