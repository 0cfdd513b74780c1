//! What the tests share.

pub(crate) mod aioquic;
pub(crate) mod client;
pub(crate) mod curl;
pub(crate) mod frames;
pub(crate) mod local;
pub(crate) mod pty;
pub(crate) mod relay;
pub(crate) mod server;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use ring::digest;

/// How long anything may take that has no limit of its own. Generous: the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Seconds of the idle timeout of servers and clients: far more than [`DEADLINE`], so that it is never what a test sees.
pub(crate) const IDLE_TIMEOUT: &str = "300";

/// Repeats `check` until it gives something.
pub(crate) fn wait_for<T>(what: &str, deadline: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + deadline;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < until, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A third-party program, by the variable that `scripts/test` sets.
pub(crate) fn tool(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("{variable} is not set: run scripts/test, which installs the clients and sets it"),
    }
}

pub(crate) fn sha256(data: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, data).as_ref())
}

/// The demo's payload: the byte at offset `n` is `n % 251`.
pub(crate) fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}
