//! The check of milestone 2: quiche's own client shakes hands, with and without Retry, and the qlog file says so.

use std::fs;
use std::path::Path;

#[path = "../check_support.rs"]
mod check_support;

use check_support::{Example, curl, http3_client, run};
use mio_quiche::observe::qlog::Summary;

/// The summary of the only qlog file in a directory.
fn only_qlog(dir: &Path) -> Summary {
    let files: Vec<_> = fs::read_dir(dir).expect("the qlog directory").map(|f| f.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1, "one file per connection: {files:?}");
    assert_eq!(files[0].extension().and_then(|e| e.to_str()), Some("sqlog"));
    Summary::read(&files[0]).expect("the file is a qlog")
}

fn shake_hands(args: &[&str], retries: u32) {
    let mut example = Example::start("m02_handshake", args);
    let client = http3_client(&format!("https://{}/some/path", example.addr));
    assert_eq!(client.text(), "");

    let connected = example.line();
    let conn = connected.strip_prefix("connected: ").expect("the handshake is told first").to_owned();
    assert_eq!(example.line(), format!("rejected: {conn} stream 0, GET /some/path"));
    assert_eq!(example.line(), format!("closed: {conn}, closed by the peer with H3_NO_ERROR (kthxbye)"));
    let (rest, dir) = example.stop();
    assert_eq!(rest, [format!("total: 1 handshakes, {retries} Retry packets")]);

    let summary = only_qlog(&dir.path().join("qlogs"));
    assert!(summary.handshake.established_ms.is_some(), "the handshake is established: {summary}");
    assert_eq!(summary.handshake.version.as_deref(), Some("1"));
    assert_eq!(summary.handshake.alpn.as_deref(), Some("h3"));
    let requests: Vec<_> = summary.requests.iter().map(|r| (r.stream, r.method.as_str(), r.path.as_str())).collect();
    assert_eq!(requests, [(0, "GET", "/some/path")]);
}

#[test]
fn a_handshake_and_its_qlog() {
    shake_hands(&["--qlog-dir", "qlogs"], 0);
}

#[test]
fn a_handshake_after_retry() {
    shake_hands(&["--qlog-dir", "qlogs", "--retry"], 1);
}

#[test]
fn curl_shakes_hands_too() {
    let mut example = Example::start("m02_handshake", &["--retry"]);
    let output = run(curl().arg(format!("https://{}/", example.addr)), b"");
    assert_eq!((output.status.success(), output.text()), (false, ""));
    assert_eq!(example.line(), "connected: conn 0.0");
    assert_eq!(example.line(), "rejected: conn 0.0 stream 0, GET /");
    let (rest, _) = example.stop();
    // How often depends on curl: it may try again what was rejected, and its first flight may be two datagrams, of
    // which each is answered by Retry, as the server remembers nothing.
    let total = rest.last().and_then(|line| line.strip_prefix("total: ")?.strip_suffix(" Retry packets"));
    let (handshakes, retries) = total.and_then(|t| t.split_once(" handshakes, ")).expect("the totals are told");
    let (handshakes, retries): (u32, u32) = (handshakes.parse().expect("a number"), retries.parse().expect("a number"));
    assert!(handshakes >= 1 && retries >= handshakes, "{handshakes} handshakes, {retries} Retry packets");
}
