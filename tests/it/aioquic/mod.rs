//! aioquic: WebTransport and datagrams with another QUIC and another HTTP/3, by the Python scripts beside this file.
//! Each case prints what happened; what should have happened is said here.

mod datagrams;
mod early;
mod hostile;
mod limits;
mod losses;
mod restart;
mod sessions;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::server::{Guard, Server};
use crate::support::{DEADLINE, tool};

/// Error codes that the tests look for.
const H3_DATAGRAM_ERROR: u64 = 0x33;
const H3_FRAME_UNEXPECTED: u64 = 0x105;
const H3_FRAME_ERROR: u64 = 0x106;
const H3_ID_ERROR: u64 = 0x108;
const H3_SETTINGS_ERROR: u64 = 0x109;
const H3_REQUEST_REJECTED: u64 = 0x10b;
const H3_MESSAGE_ERROR: u64 = 0x10e;
const WT_BUFFERED_STREAM_REJECTED: u64 = 0x3994_bd84;
const WT_SESSION_GONE: u64 = 0x170d_7b68;
/// What an application's code 0 is on the wire.
const WT_APPLICATION_ERROR: u64 = 0x52e4_a40f_a8db;
const WT_REQUIREMENTS_NOT_MET: u64 = 0x212c_0d48;

const HELLO: &str = "Hello, HTTP/3!\n";

/// A case that runs.
pub(crate) struct Case {
    child: Guard,
    dir: TempDir,
}

impl Case {
    fn start(server: &Server, name: &str) -> Self {
        Self::start_with(server, name, &[])
    }

    pub(crate) fn start_with(server: &Server, name: &str, args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let file = |name: &str| File::create(dir.path().join(name)).unwrap();
        let child = Command::new(tool("MIO_QUICHE_PYTHON"))
            // Leaves no compiled files among the sources.
            .arg("-B")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/aioquic/main.py"))
            .args([name, &server.url("")])
            .args(args)
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("errors"))
            .spawn();
        Case { child: Guard(child.expect("python starts")), dir }
    }

    /// Waits for the end and gives what the case printed.
    pub(crate) fn finish(mut self) -> Value {
        let status = self.child.wait("the case ends", 6 * DEADLINE);
        let read = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap();
        assert!(status.success(), "{}", read("errors"));
        serde_json::from_str(&read("out")).expect("a line of JSON")
    }
}

/// Runs a case against a server of its own, which has to be well afterwards.
fn run(name: &str) -> Value {
    run_with(&[], name)
}

fn run_with(server_args: &[&str], name: &str) -> Value {
    let mut server = Server::start(server_args);
    let found = Case::start(&server, name).finish();
    server.stop();
    found
}
