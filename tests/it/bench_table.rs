//! What `scripts/bench` computes and prints, and how it starts and stops a server: the tests of `benches/table`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::tool;

#[test]
fn figures_tables_and_turns() {
    let output = Command::new(tool("MIO_QUICHE_PYTHON"))
        // Leaves no compiled files among the sources.
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/table/tests.py"))
        .env("MIO_QUICHE_OURS", env!("CARGO_BIN_EXE_mio-quiche"))
        .stdin(Stdio::null())
        .output()
        .expect("python starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Ran 14 tests"), "{text}");
}
