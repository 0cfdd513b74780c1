//! The check of milestone 0: the versions are those of `Cargo.toml`, and TLS takes the certificate.

use std::process::Command;

#[path = "../check_support.rs"]
mod check_support;

use check_support::{example_path, run};

/// The value in quotes behind `key` in `Cargo.toml`.
fn manifest(key: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let manifest = std::fs::read_to_string(path).expect("the manifest is there");
    let value = manifest.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix('"'));
    value.unwrap_or_else(|| panic!("no line {key}...\" in {path}")).to_owned()
}

#[test]
fn versions_and_tls() {
    let output = run(&mut Command::new(example_path("m00_build")), b"");
    assert_eq!((output.status.code(), output.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = output.text().lines().collect();
    let (ours, quiche) = (manifest("version = \""), manifest("quiche = \"="));
    assert_eq!(lines[0], format!("mio-quiche {ours} (quiche {quiche})"));
    let hash = lines[1].strip_prefix("certificate: SHA-256 ").expect("the hash is told");
    assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash:?}");
    assert_eq!(lines[2], "certificate: good for 12 more days");
    assert_eq!(lines[3], "settings: valid");
    assert_eq!(lines[4], "settings with a mistake: max_udp_payload is 100, but must be 1200 to 65527 bytes");
    assert_eq!(lines[5], "TLS configuration: made, 0 connections");
    assert_eq!(lines.len(), 6);
}

#[test]
fn each_run_has_its_own_certificate() {
    let hash = || run(&mut Command::new(example_path("m00_build")), b"").text().lines().nth(1).map(str::to_owned);
    assert_ne!(hash(), hash());
}
