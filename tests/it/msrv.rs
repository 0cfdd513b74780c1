//! The oldest Rust that builds this: no dependency may want a newer one than Cargo.toml says.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn version(text: &str) -> Vec<u64> {
    let mut parts: Vec<_> = text.split('.').map(|part| part.parse().unwrap()).collect();
    parts.resize(3, 0);
    parts
}

#[test]
fn no_dependency_needs_a_newer_rust() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ours = env!("CARGO_PKG_RUST_VERSION");
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let metadata = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
            .arg(root.join(manifest))
            .output()
            .unwrap();
        assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
        let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        assert!(packages.len() > 100);
        let needs = |package: &Value| Some((version(package["rust_version"].as_str()?), package["name"].to_string()));
        let too_new: Vec<_> = packages.iter().filter_map(needs).filter(|(needs, _)| *needs > version(ours)).collect();
        assert_eq!(too_new, [], "{manifest}: more than {ours}");
    }
    let says = |file: &str, line: &str| {
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(text.lines().any(|found| found == line), "{file} does not say {line}");
    };
    says("fuzz/Cargo.toml", &format!("rust-version = \"{ours}\""));
    says("scripts/lib.sh", &format!("MIN_RUST={ours}"));
    assert!(fs::read_to_string(root.join("README.md")).unwrap().contains(&format!("{ours} or newer")));
}
