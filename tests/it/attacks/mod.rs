//! Floods, fragments and slowness: what they cost the server, how it answers, and that an honest client is served
//! meanwhile. The attacks are in the Python files beside this one; `scripts/attack` runs all of them, for longer.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::tool;

/// Runs the quick attacks of a group, each against a server of its own.
fn attack(group: &str) {
    let output = Command::new(tool("MIO_QUICHE_PYTHON"))
        // Leaves no compiled files among the sources.
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/attacks/main.py"))
        .args(["--quick", "--server", env!("CARGO_BIN_EXE_mio-quiche"), group])
        .stdin(Stdio::null())
        .output()
        .expect("python starts");
    let table = String::from_utf8_lossy(&output.stdout);
    println!("{table}");
    // The end of a long report is what is left of it in a log of CI: the rows are there again.
    let unexpected = table.lines().filter(|row| !row.contains("| as expected |")).collect::<Vec<_>>().join("\n");
    assert!(output.status.success(), "{}\n{unexpected}", String::from_utf8_lossy(&output.stderr));
    assert!(table.lines().count() > 3, "attacks were run");
}

#[test]
fn floods_of_quic_frames() {
    attack("frames");
}

#[test]
fn floods_of_handshakes_and_packets_without_a_connection() {
    attack("handshakes");
}

#[test]
fn floods_of_requests_and_http3_frames() {
    attack("http3");
}

#[test]
fn slow_clients() {
    attack("slow");
}

#[test]
fn floods_of_sessions_streams_and_capsules() {
    attack("webtransport");
}
