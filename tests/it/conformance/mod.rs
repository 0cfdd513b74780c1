//! What the server does when a client violates a rule of QUIC, HTTP/3 or QPACK: the checks of h3spec and further ones.
//! The tables are in the Python files beside this one, with what the RFC gives and what happens today. A test fails when
//! anything else happens: also when a new quiche enforces a rule that today's ignores, so that the table stays true.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::server::Server;
use crate::support::tool;

fn main_py(args: &[&str]) -> String {
    let output = Command::new(tool("MIO_QUICHE_PYTHON"))
        // Leaves no compiled files among the sources.
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conformance/main.py"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the `count` checks of a table against a server of its own, which has to be well afterwards.
fn check(table: &str, count: usize) {
    // Some of the connections cannot end in order.
    let mut server = Server::start(&["--early-data", "--shutdown-timeout", "1"]);
    let output = main_py(&["run", table, &server.url("")]);
    let found: Vec<[String; 3]> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let differing = |[violation, today, found]: &[String; 3]| {
        (today != found).then(|| format!("{violation}: {found}, but the table has {today}"))
    };
    let differing: Vec<_> = found.iter().filter_map(differing).collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert_eq!(found.len(), count);
    server.stop();
}

#[test]
fn quic_frames_and_packets() {
    check("quic", 41);
}

#[test]
fn transport_parameters_and_tls() {
    check("handshake", 20);
}

#[test]
fn http3_and_qpack() {
    check("http3", 53);
}

#[test]
fn the_document_is_that_of_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let command = "target/tools/aioquic/bin/python tests/it/conformance/main.py document > docs/conformance.md";
    assert!(there == main_py(&["document"]), "docs/conformance.md is not current: run\n{command}");
}
