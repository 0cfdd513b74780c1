//! The server under test: a child process of the real binary.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use super::{DEADLINE, IDLE_TIMEOUT, wait_for};

/// The binary that cargo built for these tests.
pub(crate) fn mio_quiche() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mio-quiche"));
    for variable in ["RUST_LOG", "QLOGDIR", "SSLKEYLOGFILE"] {
        command.env_remove(variable);
    }
    // Settings of the command; the tests' own variables do no harm.
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MIO_QUICHE_")) {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Makes a development certificate in `dir`.
pub(crate) fn make_cert(dir: &Path) {
    let made = mio_quiche().arg("cert").arg("--out").arg(dir).output().expect("mio-quiche cert runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Sends a signal, such as `TERM`, to a child of ours.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status();
    assert!(sent.expect("sh runs").success(), "kill -{name}");
}

/// A child process that does not outlive its test.
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guard {
    /// Waits for the end.
    pub(crate) fn wait(&mut self, what: &str, deadline: Duration) -> ExitStatus {
        wait_for(what, deadline, || self.0.try_wait().expect("waiting works"))
    }
}

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    child: Guard,
    dir: TempDir,
    addr: SocketAddr,
    admin: Option<SocketAddr>,
}

impl Server {
    /// Starts `mio-quiche serve --demo` on a free port of 127.0.0.1 with further arguments.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::prepared("127.0.0.1:0", |_| {}, args)
    }

    /// As [`start`](Server::start), with the directory `root` that `fill` has made under `/files/`.
    pub(crate) fn with_files(fill: impl FnOnce(&Path), args: &[&str]) -> Self {
        Self::prepared(
            "127.0.0.1:0",
            |dir| {
                fs::create_dir(dir.join("root")).unwrap();
                fill(&dir.join("root"));
            },
            &[args, &["root"]].concat(),
        )
    }

    /// Starts `mio-quiche serve root`, without the demo's routes, with the directory that `fill` has made.
    pub(crate) fn site(fill: impl FnOnce(&Path), args: &[&str]) -> Self {
        let prepare = |_: &mut Command, dir: &Path| {
            fs::create_dir(dir.join("root")).unwrap();
            fill(&dir.join("root"));
        };
        Self::spawn("127.0.0.1:0", prepare, &[&["root"], args].concat())
    }

    /// As [`start`](Server::start). `prepare` gets the directory that the server will run in.
    pub(crate) fn prepared(listen: &str, prepare: impl FnOnce(&Path), args: &[&str]) -> Self {
        let prepare = |_: &mut Command, dir: &Path| prepare(dir);
        Self::run(listen, prepare, args)
    }

    /// As [`prepared`](Server::prepared). `prepare` gets the command, too.
    pub(crate) fn run(listen: &str, prepare: impl FnOnce(&mut Command, &Path), args: &[&str]) -> Self {
        Self::spawn(listen, prepare, &[&["--demo"], args].concat())
    }

    fn spawn(listen: &str, prepare: impl FnOnce(&mut Command, &Path), args: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        make_cert(dir.path());
        let mut command = mio_quiche();
        prepare(&mut command, dir.path());
        let log = File::create(dir.path().join("log")).unwrap();
        // Shorter than our patience: a client that went away without a word acknowledges nothing any more.
        let drain = ["--shutdown-timeout", "8"];
        let defaults = [drain, ["--idle-timeout", IDLE_TIMEOUT]].into_iter().filter(|[name, _]| !args.contains(name));
        let child = command
            .args(["serve", "--listen", listen, "--cert", "cert.pem", "--key", "key.pem"])
            .args(args)
            .args(defaults.flatten())
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn();
        let mut child = Guard(child.expect("mio-quiche serve starts"));
        let stdout = child.0.stdout.take().unwrap();
        let (send, line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            for _ in 0..2 {
                let mut line = String::new();
                let _ = stdout.read_line(&mut line);
                let _ = send.send(line);
            }
            // So that the server is never stuck with a full pipe.
            let _ = stdout.read_to_end(&mut Vec::new());
        });
        let next = || line.recv_timeout(DEADLINE).expect("the server prints its line");
        let first = next();
        let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        let addr = first.strip_prefix("listening on ").and_then(|addr| addr.strip_suffix('\n')?.parse().ok());
        let addr = addr.unwrap_or_else(|| panic!("no 'listening on' but {first:?}; its log:\n{}", log()));
        let admin = args.contains(&"--admin").then(|| {
            let second = next();
            let addr = second.strip_prefix("admin on http://").and_then(|addr| addr.strip_suffix("/\n")?.parse().ok());
            addr.unwrap_or_else(|| panic!("no 'admin on' but {second:?}; its log:\n{}", log()))
        });
        Server { child, dir, addr, admin }
    }

    /// The address of the admin port, which `--admin` asked for.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("an admin port")
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The directory that it runs in; it holds the certificate.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A value of /proc/PID/status in KiB, such as `VmRSS`.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok()).expect("a field of memory")
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child.0, name);
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.0.try_wait().unwrap().is_some()
    }

    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        self.child.wait("the server ends", deadline)
    }

    /// Ends it by SIGTERM and gives the counters that it logs last.
    pub(crate) fn stop(&mut self) -> Stats {
        self.signal("TERM");
        let status = self.wait(DEADLINE);
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.stats()
    }

    /// The counters that it has logged last.
    pub(crate) fn stats(&self) -> Stats {
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        Stats(log.lines().rev().find(|line| line.contains("Stats {")).expect("a line of counters").to_owned())
    }

    /// The qlog files under `dir`, a directory in its own, with their text.
    pub(crate) fn qlogs(&self, dir: &str) -> Vec<(PathBuf, String)> {
        let files = fs::read_dir(self.dir.path().join(dir)).expect("the qlog directory");
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap();
            (path, text)
        };
        files.map(|file| read(file.unwrap().path())).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the server's log:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

/// The counters of a server that ended.
#[derive(Debug)]
pub(crate) struct Stats(String);

impl Stats {
    pub(crate) fn get(&self, name: &str) -> u64 {
        let value = self.0.split([' ', ',', '}']).skip_while(|word| *word != format!("{name}:")).nth(1);
        value.and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }
}
