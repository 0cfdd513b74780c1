//! `scripts/fallback`: nginx on TCP beside the server, with the same files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::server::{Guard, signal};
use crate::support::{DEADLINE, payload, sha256, tool, wait_for};

/// A port that is free for both protocols.
fn free_port() -> u16 {
    wait_for("a free port", DEADLINE, || {
        let tcp = TcpListener::bind("[::]:0").ok()?;
        let addr = tcp.local_addr().ok()?;
        UdpSocket::bind(addr).is_ok().then_some(addr.port())
    })
}

fn curl(dir: &Path, url: &str, args: &[&str]) -> (Option<i32>, Vec<u8>) {
    let mut command = Command::new(tool("MIO_QUICHE_CURL"));
    command.args(["-q", "-s", "--max-time", "60", "--cacert", "certs/ca.pem"]).args(args).arg(url).current_dir(dir);
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.code(), output.stdout)
}

#[test]
fn nginx_leads_curl_to_the_same_files_by_http3() {
    let dir = TempDir::new().unwrap();
    let (root, content) = (dir.path().join("site with 443"), payload(300_000));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("index.html"), "<!doctype html><title>fallback</title>\n").unwrap();
    fs::write(root.join("data.bin"), &content).unwrap();
    fs::write(root.join(".secret"), "secret").unwrap();
    let port = free_port();
    let child = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fallback"))
        .arg(&root)
        .arg(port.to_string())
        .env("MIO_QUICHE", env!("CARGO_BIN_EXE_mio-quiche"))
        .env("MIO_QUICHE_CERTS", dir.path().join("certs"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut script = Guard(child.expect("the script starts"));
    let lines = BufReader::new(script.0.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.starts_with("chromium ")), "it tells how to open the site");

    let url = |path: &str| format!("https://localhost:{port}{path}");
    wait_for("nginx", DEADLINE, || {
        (curl(dir.path(), &url("/"), &["--http2", "-o", "first"]).0 == Some(0)).then_some(())
    });
    let cache = ["--alt-svc", "alt-svc.txt", "-w", "%{http_version}", "-o", "data"];
    let data = || {
        let (code, version) = curl(dir.path(), &url("/data.bin"), &cache);
        assert_eq!(code, Some(0));
        assert_eq!(sha256(&fs::read(dir.path().join("data")).unwrap()), sha256(&content));
        String::from_utf8(version).unwrap()
    };
    assert_eq!(data(), "2");
    assert_eq!(data(), "3");
    // Of both servers.
    for version in ["--http1.1", "--http2", "--http3-only"] {
        let status = |path: &str| curl(dir.path(), &url(path), &[version, "-o", "page", "-w", "%{http_code}"]).1;
        assert_eq!(status("/"), b"200", "{version}");
        assert_eq!(fs::read_to_string(dir.path().join("page")).unwrap(), "<!doctype html><title>fallback</title>\n");
        assert_eq!(status("/.secret"), b"404", "{version}");
    }
    signal(&script.0, "TERM");
    assert!(script.wait("the script ends", DEADLINE).success());
    // Both ports are free again.
    wait_for("free ports", DEADLINE, || {
        (TcpListener::bind(("::", port)).is_ok() && UdpSocket::bind(("::", port)).is_ok()).then_some(())
    });
}
