//! `scripts/fallback`: nginx on TCP beside the server, with the same files.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::demo_page::chromium_uses;
use crate::support::server::{Guard, signal};
use crate::support::{DEADLINE, payload, sha256, tool, wait_for};
use crate::web_socket::web_socket;

/// A port that is free for both protocols, and the next one for TCP.
fn free_port() -> u16 {
    wait_for("a free port", DEADLINE, || {
        let tcp = TcpListener::bind("[::]:0").ok()?;
        let addr = tcp.local_addr().ok()?;
        let next = TcpListener::bind(("::", addr.port().checked_add(1)?));
        (UdpSocket::bind(addr).is_ok() && next.is_ok()).then_some(addr.port())
    })
}

/// Starts the script with these arguments, with certificates in `dir`.
fn script(dir: &Path, args: &[&OsStr]) -> Guard {
    let child = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fallback"))
        .args(args)
        .env("MIO_QUICHE", env!("CARGO_BIN_EXE_mio-quiche"))
        .env("MIO_QUICHE_CERTS", dir.join("certs"))
        // A browser that was killed leaves its connection open.
        .env("MIO_QUICHE_SHUTDOWN_TIMEOUT", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut script = Guard(child.expect("the script starts"));
    let lines = BufReader::new(script.0.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.starts_with("chromium ")), "it tells how to open the site");
    script
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
    let mut script = script(dir.path(), &[root.as_os_str(), port.to_string().as_ref()]);

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

#[test]
fn nginx_has_the_demo_page_and_its_web_sockets() {
    let dir = TempDir::new().unwrap();
    let (root, port) = (dir.path().join("site"), free_port());
    fs::create_dir(&root).unwrap();
    let mut script = script(dir.path(), &["--demo".as_ref(), root.as_os_str(), port.to_string().as_ref()]);
    let origin = format!("https://localhost:{}", port + 1);
    let ask = |url: &str| {
        let (code, answer) = curl(dir.path(), url, &["--http1.1", "--path-as-is", "-i"]);
        code.filter(|code| *code == 0).map(|_| String::from_utf8(answer).unwrap())
    };
    let page = wait_for("nginx", DEADLINE, || ask(&format!("{origin}/demo/")));
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<!doctype html>"), "{page}");
    assert!(!page.contains("alt-svc: "), "a browser would ask by HTTP/3, which has no such page");
    let (_, data) = curl(dir.path(), &format!("{origin}/demo/demo.json"), &[]);
    let data: Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(data["port"], port);
    // Nothing else, by any spelling.
    let site = format!("https://localhost:{port}");
    let elsewhere = [format!("{site}/demo/"), format!("{site}/metrics"), format!("{site}/demo/demo.json")];
    let paths = ["/", "/metrics", "/healthz", "/demo.json", "/demo/metrics", "/demo/healthz", "/demo/wt/../metrics"];
    let hidden =
        ["/demo/wt/../../metrics", "/demo/wt/%2e%2e/metrics", "/demo/wt/..%2fmetrics", "/demo//metrics", "/wt/echo"];
    for url in paths.iter().chain(&hidden).map(|path| format!("{origin}{path}")).chain(elsewhere) {
        let answer = ask(&url).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{url}: {answer}");
    }

    let ca = fs::read_to_string(dir.path().join("certs/ca.pem")).unwrap();
    let open = |path: &str, origin: &str, messages: Value, close: Value| {
        let url = format!("wss://localhost:{}/demo/wt/{path}", port + 1);
        web_socket(&url, &json!({ "ca": ca, "origin": origin }), &messages, &close)
    };
    let seen = open("echo", &origin, json!(["hello", [65536], [0]]), json!([1000]));
    assert_eq!((&seen["received"], &seen["equal"]), (&json!(["hello", 65536, 0]), &json!(true)), "{seen}");
    let seen = open("close?code=7&reason=bye", &origin, json!([]), Value::Null);
    assert_eq!(seen["closed"], json!([4007, "bye"]));
    assert_eq!(open("echo", "https://evil.example", json!([]), Value::Null)["status"], 403);

    // Without the authority; QUIC accepts the certificate by its hash.
    for (missing, over) in [(false, "WebTransport"), (true, "WebSocket")] {
        let args = json!({ "missing": missing });
        let seen = chromium_uses(&format!("{origin}/demo/"), &["--ignore-certificate-errors"], &args);
        assert_eq!((&seen["over"], seen["streams"].as_array().map(Vec::len)), (&json!(over), Some(4)), "{seen}");
    }
    signal(&script.0, "TERM");
    assert!(script.wait("the script ends", DEADLINE).success());
}
