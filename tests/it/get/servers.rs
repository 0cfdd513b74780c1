//! Servers that are not ours.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use tempfile::TempDir;

use super::get;
use crate::support::server::{Guard, make_cert};
use crate::support::{DEADLINE, payload, tool, wait_for};

/// A server that runs; dropping it kills it.
pub(super) struct Foreign {
    _child: Guard,
    pub(super) dir: TempDir,
    pub(super) addr: SocketAddr,
    _lock: Option<TcpListener>,
}

impl Foreign {
    pub(super) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    pub(super) fn ca(&self) -> String {
        self.dir.path().join("ca.pem").to_str().unwrap().to_owned()
    }

    /// `get` with this server's authority.
    pub(super) fn get(&self, args: &[&str], path: &str) -> super::Ended {
        get(&[&["--cacert", &self.ca()], args, &[&self.url(path)]].concat())
    }
}

/// A directory with a certificate, and with these files of the demo's payload in `root`.
fn prepare(root: &str, files: &[(&str, usize)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    make_cert(dir.path());
    let root = dir.path().join(root);
    fs::create_dir_all(&root).unwrap();
    for (name, length) in files {
        fs::write(root.join(name), payload(*length)).unwrap();
    }
    dir
}

fn spawn(command: &mut Command, dir: &Path) -> Guard {
    let log = || fs::File::create(dir.join("log")).unwrap();
    Guard(command.current_dir(dir).stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().expect("the server starts"))
}

/// Waits until a server answers.
fn wait_until_up(foreign: &Foreign, path: &str) {
    wait_for("the server answers", DEADLINE, || {
        let ended = get(&["-k", "--connect-timeout", "5", "-o", "/dev/null", &foreign.url(path)]);
        (ended.code == 0).then_some(())
    });
}

/// The example of the quiche crate. It knows no options: its port is 4433, and its paths are fixed, too.
pub(super) fn quiche(files: &[(&str, usize)]) -> Foreign {
    let addr: SocketAddr = "127.0.0.1:4433".parse().unwrap();
    // Whoever has the TCP port of that number may use the UDP port, among all our tests.
    let lock = wait_for("the port 4433 is free", 6 * DEADLINE, || TcpListener::bind(addr).ok());
    let dir = prepare("examples/root", files);
    let examples = dir.path().join("examples");
    fs::copy(dir.path().join("cert.pem"), examples.join("cert.crt")).unwrap();
    fs::copy(dir.path().join("key.pem"), examples.join("cert.key")).unwrap();
    let child = spawn(Command::new(tool("MIO_QUICHE_HTTP3_SERVER")).env_remove("RUST_LOG"), dir.path());
    let foreign = Foreign { _child: child, dir, addr, _lock: Some(lock) };
    wait_until_up(&foreign, "/small");
    foreign
}

pub(super) fn nginx(files: &[(&str, usize)]) -> Foreign {
    let dir = prepare("root", files);
    // It cannot tell which port it got.
    let addr = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {name};\n"));
    let config = format!(
        "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr;\nevents {{ }}\n\
         http {{\naccess_log off;\n{}\
         server {{\nlisten {addr} quic;\nssl_certificate cert.pem;\nssl_certificate_key key.pem;\n\
         ssl_early_data on;\nroot root;\n\
         client_max_body_size 200m;\n\
         location /put/ {{ dav_methods PUT; create_full_put_path on; }}\n\
         location = /moved {{ return 302 /small; }}\n\
         location = /flight {{ return 200 \"reused: $ssl_session_reused early: $ssl_early_data\\n\"; }}\n}}\n}}\n",
        temp.concat()
    );
    fs::write(dir.path().join("nginx.conf"), config).unwrap();
    let mut command = Command::new(tool("MIO_QUICHE_NGINX"));
    command.arg("-p").arg(dir.path()).arg("-c").arg(dir.path().join("nginx.conf")).args(["-e", "stderr"]);
    let child = spawn(&mut command, dir.path());
    let foreign = Foreign { _child: child, dir, addr, _lock: None };
    wait_until_up(&foreign, "/small");
    foreign
}

/// The server of server.py.
pub(super) fn aioquic(alpn: &[&str]) -> Foreign {
    let dir = prepare("root", &[]);
    let mut child = Command::new(tool("MIO_QUICHE_PYTHON"))
        // Leaves no compiled files among the sources.
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/get/server.py"))
        .args(["cert.pem", "key.pem"])
        .args(alpn)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .expect("python starts");
    let stdout = child.stdout.take().unwrap();
    let child = Guard(child);
    let (send, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        let _ = send.send(line);
    });
    let line = line.recv_timeout(DEADLINE).expect("the server tells its port");
    let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("no port but {line:?}: {}", log()));
    Foreign { _child: child, dir, addr: SocketAddr::from(([127, 0, 0, 1], port)), _lock: None }
}
