//! The check of milestone 3: clients of different make get the same fifteen bytes.

use std::fs;
use std::process::Command;

#[path = "../check_support.rs"]
mod check_support;

use check_support::{Example, client, fetch, get, http3_client, run};

const HELLO: &str = "Hello, HTTP/3!\n";

#[test]
fn quiche_client() {
    let example = Example::start("m03_http3", &[]);
    let output = http3_client(&format!("https://{}/", example.addr));
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    assert_eq!(output.text(), HELLO);
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 1 requests"]);
}

#[test]
fn curl_client() {
    let example = Example::start("m03_http3", &[]);
    let reply = fetch(example.addr, "/", &[]);
    assert_eq!((reply.status, reply.body.as_str()), (200, HELLO));
    assert_eq!(reply.header("content-type"), Some("text/plain;charset=utf-8"));
    assert_eq!(reply.header("content-length"), Some("15"));
    // Whatever is asked for, that is the answer; HEAD gets its head.
    let reply = fetch(example.addr, "/some/where?else", &["--data", "a body that nobody reads"]);
    assert_eq!((reply.status, reply.body.as_str()), (200, HELLO));
    let reply = fetch(example.addr, "/", &["--head"]);
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!(reply.header("content-length"), Some("15"));
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 3 requests"]);
}

#[test]
fn own_client() {
    let example = Example::start("m03_http3", &[]);
    let head = "HTTP/3 200 \r\ncontent-type: text/plain;charset=utf-8\r\ncontent-length: 15\r\n\r\n";
    assert_eq!(get(example.addr, "/", &["-i"]), format!("{head}{HELLO}"));
    let shown = get(example.addr, "/", &["-v"]);
    for part in ["> GET / HTTP/3\n", "* certificate: CN=mio-quiche development certificate;", "< HTTP/3 200\n", HELLO] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 2 requests"]);
}

#[test]
fn ngtcp2_client_on_one_connection() {
    let example = Example::start("m03_http3", &[]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(client("MIO_QUICHE_GTLSCLIENT"));
    command.args(["-q", "--exit-on-all-streams-close", "--timeout", "10s", "--download"]).arg(dir.path());
    command.args([example.addr.ip().to_string(), example.addr.port().to_string()]);
    command.args((0..20).map(|i| format!("https://{}/file{i}", example.addr)));
    let output = run(&mut command, b"");
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    for i in 0..20 {
        let file = dir.path().join(format!("file{i}"));
        assert_eq!(fs::read_to_string(&file).expect("each answer is a file"), HELLO);
    }
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 20 requests"]);
}
