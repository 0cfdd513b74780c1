//! Runs the corpus of every fuzz target, without a fuzzer.

#[path = "abi.rs"]
mod abi;
#[path = "clock.rs"]
mod clock;

use std::path::PathBuf;

use mio_quiche::fuzz;

/// The inputs of a target, by name.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("no corpus '{}': {e}", dir.display()));
    let mut inputs: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "the corpus '{}' is empty", dir.display());
    inputs.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a file"))).collect()
}

/// A failure names the input.
fn run(path: &std::path::Path, target: impl FnOnce() + std::panic::UnwindSafe) {
    if let Err(failure) = std::panic::catch_unwind(target) {
        eprintln!("the input is '{}'", path.display());
        std::panic::resume_unwind(failure);
    }
}

#[test]
fn every_input_of_the_small_targets_passes() {
    for (name, target) in fuzz::TARGETS {
        for (path, input) in corpus(name) {
            run(&path, || target(&input));
        }
    }
}

#[test]
fn every_script_of_the_endpoint_passes() {
    for (path, input) in corpus("endpoint") {
        run(&path, || clock::virtual_time(|| fuzz::endpoint(&input, &clock::advance)));
    }
}

#[test]
fn every_script_of_the_abi_passes() {
    for (path, input) in corpus("abi") {
        run(&path, || abi::run(&input));
    }
}
