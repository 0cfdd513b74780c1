//! What the checks of the milestones share: the example as a process, clients as processes, and waiting by deadline.

#![allow(dead_code, reason = "each check is a crate of its own and uses a part of this")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio_quiche::net::now;
use mio_quiche::{Router, Server, ServerHandle};
use tempfile::TempDir;

#[path = "settings.rs"]
pub(crate) mod settings;

/// After this time a check fails instead of waiting on.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(5);

/// Waits until `check` gives something.
pub(crate) fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + DEADLINE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(now() < deadline, "{what}: not within {DEADLINE:?}");
        thread::sleep(POLL);
    }
}

/// A child process that is killed when its handle goes, whatever the test came to.
pub(crate) struct Process {
    pub(crate) child: Child,
    name: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Process { child, name }
    }

    /// Sends a signal, such as `TERM`, with the shell's own `kill`.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = ["-c", "kill -s \"$0\" \"$1\"", signal, &self.child.id().to_string()];
        let status = Command::new("sh").args(kill).status().expect("sh runs");
        assert!(status.success(), "{}: cannot send SIG{signal}", self.name);
    }

    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends SIGTERM until it has ended. The second one stops a server that waits for its clients.
    pub(crate) fn stop_at_once(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_for(&what, || {
            self.signal("TERM");
            thread::sleep(20 * POLL);
            self.has_ended()
        })
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_for(&what, || self.has_ended())
    }
}

/// What a program that ran to its end printed.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is UTF-8")
    }
}

fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        // What came before an error is what there is.
        let _ = from.read_to_end(&mut all);
        all
    })
}

/// Runs a program to its end, with `input` on its standard input.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Output {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(pipes);
    let stdout = drain(process.child.stdout.take().expect("it is a pipe"));
    let stderr = drain(process.child.stderr.take().expect("it is a pipe"));
    let mut stdin = process.child.stdin.take().expect("it is a pipe");
    stdin.write_all(input).expect("a program reads its input");
    drop(stdin);
    let status = process.wait();
    let stderr = String::from_utf8_lossy(&stderr.join().expect("reading does not panic")).into_owned();
    Output { status, stdout: stdout.join().expect("reading does not panic"), stderr }
}

/// The lines that a program prints, as they come.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    pub(crate) fn of(stdout: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(stdout);
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Lines(lines)
    }

    pub(crate) fn next(&self) -> String {
        match self.0.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {DEADLINE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("no further line: the program has ended"),
        }
    }

    /// The rest, once the program has ended.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.0.iter().collect()
    }
}

/// The example's program; it stands beside the test's own.
pub(crate) fn example_path(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its path");
    let target = test.parent().and_then(Path::parent).expect("tests run in target/PROFILE/deps");
    let example = target.join("examples").join(name);
    assert!(example.is_file(), "no {}: build it by `cargo build --example {name}`", example.display());
    example
}

/// A milestone's example, running, in a directory of its own.
pub(crate) struct Example {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    pub(crate) dir: TempDir,
    lines: Lines,
}

impl Example {
    /// Starts it in an empty directory, on a port that the system chooses.
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(example_path(name));
        command.args(["--listen", "127.0.0.1:0"]).args(args).stdin(Stdio::null());
        Self::of(&mut command, tempfile::tempdir().expect("a temporary directory"))
    }

    /// Starts a program whose first line tells its address, in `dir`.
    pub(crate) fn of(command: &mut Command, dir: TempDir) -> Self {
        let mut process = Process::start(command.current_dir(dir.path()).stdout(Stdio::piped()));
        let lines = Lines::of(process.child.stdout.take().expect("it is a pipe"));
        let mut example = Example { process, addr: ([127, 0, 0, 1], 0).into(), dir, lines };
        let first = example.line();
        let addr = first.strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
        example.addr = addr.unwrap_or_else(|| panic!("the first line is {first:?}"));
        assert_ne!(example.addr.port(), 0, "the port that it got is told");
        example
    }

    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        self.lines.next()
    }

    /// Asks it to stop by SIGTERM and gives what it still printed; it must end with exit code 0.
    pub(crate) fn stop(mut self) -> (Vec<String>, TempDir) {
        self.process.signal("TERM");
        let status = self.process.wait();
        assert_eq!(status.code(), Some(0), "after SIGTERM: {status}");
        (self.lines.rest(), self.dir)
    }

    /// Its greatest resident memory so far, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.child.id());
        let status = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells VmHWM");
        line.trim().trim_end_matches(" kB").parse().expect("VmHWM is a number")
    }
}

/// A server in a thread of the check, for the solution of a chapter's exercise.
pub(crate) struct Local {
    pub(crate) addr: SocketAddr,
    handle: ServerHandle,
    thread: JoinHandle<()>,
}

impl Local {
    /// Starts it on a port that the system chooses.
    pub(crate) fn start(router: impl FnOnce() -> Router + Send + 'static) -> Self {
        let (sender, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let server = settings::with_certificate(|mut config| {
                config.handle_signals = false;
                Server::bind("127.0.0.1:0", config, router())
            });
            let mut server = server.expect("a server on a free port");
            sender.send((server.local_addr(), server.handle())).expect("the check waits");
            server.run().expect("the server runs until it is shut down");
        });
        let (addr, handle) = started.recv().expect("the server starts");
        Local { addr, handle, thread }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// Shuts it down.
    pub(crate) fn stop(self) {
        self.handle.shutdown().expect("the server runs");
        self.thread.join().expect("the server does not panic");
    }
}

/// The project's own command.
pub(crate) fn mio_quiche() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mio-quiche"))
}

/// What `mio-quiche get` printed, which must succeed.
pub(crate) fn get(addr: SocketAddr, path: &str, args: &[&str]) -> String {
    let output = run(mio_quiche().args(["get", "-k"]).args(args).arg(format!("https://{addr}{path}")), b"");
    assert!(output.status.success(), "get {args:?} {path}: {}: {}", output.status, output.stderr);
    output.text().to_owned() + &output.stderr
}

/// A client's program, which the scripts install and name in the environment.
pub(crate) fn client(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
        panic!("{variable} is not set: run the check by scripts/milestone or scripts/test, which install the clients")
    });
    assert!(path.is_file(), "{variable}: {} is no file", path.display());
    path
}

/// The blocks of code in a language in a milestone's chapter, so that what the chapter tells the reader to run is
/// checked.
pub(crate) fn chapter_codes(milestone: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("milestones").join(milestone).join("README.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let fence = format!("\n```{language}\n");
    let opened = text.split(&fence).skip(1);
    let blocks: Vec<_> = opened.map(|rest| rest.split("```\n").next().unwrap_or_default().to_owned()).collect();
    assert!(!blocks.is_empty(), "no {language} in {}", path.display());
    blocks
}

/// A Python program, which may use aioquic, and `client.py` of the tests in `tests/it/aioquic`.
pub(crate) fn python(program: &str) -> Command {
    let mut command = Command::new(client("MIO_QUICHE_PYTHON"));
    // -B leaves no compiled files among the sources.
    command.env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/aioquic")).args(["-B", "-c", program]);
    command
}

/// Runs a Python program to its end, which must be a good one, and gives the lines that it printed.
pub(crate) fn run_python(program: &str, args: &[&str]) -> Vec<String> {
    let output = run(python(program).args(args), b"");
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    output.text().lines().map(str::to_owned).collect()
}

/// curl, for HTTP/3 and nothing else, and for certificates that nobody signed.
pub(crate) fn curl() -> Command {
    let mut command = Command::new(client("MIO_QUICHE_CURL"));
    command.args(["--http3-only", "--insecure", "--silent", "--show-error", "--max-time", "180"]);
    command
}

/// One request by quiche's own client, which prints the body and nothing else.
pub(crate) fn http3_client(url: &str) -> Output {
    run(Command::new(client("MIO_QUICHE_HTTP3_CLIENT")).arg(url), b"")
}

/// A response as `curl --include` prints it.
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| *field == name).map(|(_, value)| value).next()
    }
}

/// One request by curl, which must succeed as far as curl is concerned.
pub(crate) fn fetch(addr: SocketAddr, path: &str, args: &[&str]) -> Reply {
    let output = run(curl().arg("--include").args(args).arg(format!("https://{addr}{path}")), b"");
    assert!(output.status.success(), "curl {args:?} {path}: {}: {}", output.status, output.stderr);
    let (head, body) = output.text().split_once("\r\n\r\n").expect("curl prints the head, then the body");
    let status = head.strip_prefix("HTTP/3 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no HTTP/3 status in {head:?}"));
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}
