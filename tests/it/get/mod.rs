//! `mio-quiche get` against our own server, three foreign ones, and servers that misbehave.

mod alternatives;
mod as_curl;
mod certificates;
mod compressed;
mod cookies;
mod early;
mod foreign;
mod hostile;
mod options;
mod own;
mod retries;
mod servers;
mod several;
mod terminal;
mod urls;
mod write_out;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::server::{Guard, Server, mio_quiche};
use crate::support::{DEADLINE, sha256};

/// How long a transfer of a hundred megabytes may take on a busy machine.
const LONG: Duration = Duration::from_secs(180);

/// What `get` left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    code: i32,
    out: Vec<u8>,
    err: String,
    /// Where it ran.
    dir: TempDir,
}

impl Ended {
    /// Its output, when nothing failed.
    pub(crate) fn text(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        std::str::from_utf8(&self.out).unwrap()
    }

    /// The objects of `--report`.
    fn json(&self) -> Vec<Value> {
        let lines = std::str::from_utf8(&self.out).unwrap().lines();
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn assert_failed(&self, code: i32, message: &str) {
        assert_eq!(self.err, format!("mio-quiche: {message}\n"));
        assert_eq!(self.code, code);
    }
}

/// A `get` that runs, in a directory of its own.
struct Get {
    child: Guard,
    dir: TempDir,
}

impl Get {
    /// With the arguments, which the directory's files that `fill` has made may be among.
    fn start(args: &[&str], stdin: Stdio, fill: impl FnOnce(&Path)) -> Self {
        let dir = TempDir::new().unwrap();
        fill(dir.path());
        let file = |name: &str| fs::File::create(dir.path().join(name)).unwrap();
        let mut command = mio_quiche();
        command.arg("get").args(args).current_dir(dir.path());
        let child = command.stdin(stdin).stdout(file(".out")).stderr(file(".err")).spawn();
        Get { child: Guard(child.expect("mio-quiche get starts")), dir }
    }

    fn child(&mut self) -> &mut Child {
        &mut self.child.0
    }

    fn finish(mut self, deadline: Duration) -> Ended {
        let status = self.child.wait("mio-quiche get ends", deadline);
        let out = fs::read(self.dir.path().join(".out")).unwrap();
        let err = fs::read_to_string(self.dir.path().join(".err")).unwrap();
        assert!(!err.contains("panicked"), "{err}");
        Ended { code: status.code().expect("an exit code"), out, err, dir: self.dir }
    }
}

/// Runs `get` to its end.
pub(crate) fn get(args: &[&str]) -> Ended {
    Get::start(args, Stdio::null(), |_| {}).finish(DEADLINE)
}

fn get_with(args: &[&str], fill: impl FnOnce(&Path)) -> Ended {
    Get::start(args, Stdio::null(), fill).finish(LONG)
}

/// Runs `get` with something on its standard input.
fn get_input(args: &[&str], input: &[u8]) -> Ended {
    let mut get = Get::start(args, Stdio::piped(), |_| {});
    let mut pipe = get.child().stdin.take().unwrap();
    let input = input.to_vec();
    // It may end without having read all.
    let writer = std::thread::spawn(move || pipe.write_all(&input).is_ok());
    let ended = get.finish(LONG);
    writer.join().unwrap();
    ended
}

fn ca_of(server: &Server) -> String {
    server.dir().join("ca.pem").to_str().unwrap().to_owned()
}
