//! The command as a service of systemd, its shell completions and its manual pages.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::DEADLINE;
use crate::support::client::Client;
use crate::support::server::{Guard, make_cert, mio_quiche};

/// `mio-quiche serve` with a socket as systemd passes it on: as file descriptor 3, with the process id.
fn activated(dir: &TempDir, socket: UdpSocket, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_mio-quiche"), "serve", "--demo"]);
    command.args(["--cert", "cert.pem", "--key", "key.pem", "--log", "warn"]).args(args);
    command.stdin(Stdio::from(OwnedFd::from(socket))).stdout(Stdio::null()).current_dir(dir.path());
    command
}

#[test]
fn a_socket_of_systemd_is_served_and_systemd_told() {
    let dir = TempDir::new().unwrap();
    make_cert(dir.path());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let told = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    told.set_read_timeout(Some(DEADLINE)).unwrap();
    let child = activated(&dir, socket, &[]).env("NOTIFY_SOCKET", dir.path().join("notify")).spawn();
    let _child = Guard(child.unwrap());
    let mut message = [0; 200];
    let len = told.recv(&mut message).unwrap();
    assert_eq!(String::from_utf8_lossy(&message[..len]), format!("READY=1\nSTATUS=listening on {addr}\n"));
    Client::connect(addr).assert_alive();
}

#[test]
fn workers_need_sockets_of_their_own() {
    let dir = TempDir::new().unwrap();
    make_cert(dir.path());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let output = activated(&dir, socket, &["--workers", "2"]).output().unwrap();
    let message = "mio-quiche: the socket that was passed on (LISTEN_FDS): --workers needs sockets of its own\n";
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(2), message));
}

#[test]
fn completions_and_manual_pages() {
    let dir = TempDir::new().unwrap();
    let script = mio_quiche().args(["completions", "bash"]).output().unwrap();
    let text = String::from_utf8(script.stdout.clone()).unwrap();
    assert!(script.status.success() && text.contains("--access-log-peers") && text.contains("mio-quiche"), "{text}");
    fs::write(dir.path().join("completions"), &script.stdout).unwrap();
    let checked = Command::new("bash").arg("-n").arg(dir.path().join("completions")).status().unwrap();
    assert!(checked.success());
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let made = mio_quiche().args(["completions", shell]).output().unwrap();
        assert!(made.status.success() && !made.stdout.is_empty(), "{shell}");
    }
    let pages = dir.path().join("share/man1");
    let made = mio_quiche().arg("man").arg(&pages).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut names: Vec<String> =
        fs::read_dir(&pages).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected = ["bench", "cert", "get", "qlog", "serve", "wt"].map(|name| format!("mio-quiche-{name}.1"));
    assert_eq!(names, [&expected[..], &["mio-quiche.1".to_owned()]].concat());
    let page = fs::read_to_string(pages.join("mio-quiche-serve.1")).unwrap();
    assert!(page.contains(".TH mio-quiche-serve 1 "), "{page}");
    assert!(page.contains(r"\fB\-\-access\-log\fR"), "{page}");
    let page = fs::read_to_string(pages.join("mio-quiche.1")).unwrap();
    assert!(!page.contains("completions"), "{page}");
}
