//! aioquic as a server of HTTP/3 and WebTransport.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use serde_json::Value;
use tempfile::TempDir;

use super::server::{Guard, make_cert};
use super::{DEADLINE, tool};

/// aioquic's server, and what it says.
pub(crate) struct Aioquic {
    _child: Guard,
    said: mpsc::Receiver<Value>,
    port: u64,
    _dir: TempDir,
}

impl Aioquic {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().unwrap();
        make_cert(dir.path());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/aioquic/server.py");
        let child = Command::new(tool("MIO_QUICHE_PYTHON"))
            .arg("-B")
            .arg(script)
            .args([dir.path().join("cert.pem"), dir.path().join("key.pem")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = Guard(child.expect("python starts"));
        let stdout = BufReader::new(child.0.stdout.take().unwrap());
        let (send, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        let port: Value = said.recv_timeout(DEADLINE).expect("aioquic's server runs");
        Aioquic { _child: child, said, port: port.as_u64().unwrap(), _dir: dir }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// How the next session of those that clients close was closed.
    pub(crate) fn next_close(&self) -> Value {
        self.said.recv_timeout(DEADLINE).expect("a session's close")
    }
}
