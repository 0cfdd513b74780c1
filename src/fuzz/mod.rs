//! Fuzz targets: functions that take any bytes and panic if an invariant is violated. **Not part of the
//! public API**, and only there with the feature `fuzzing`.
//!
//! A target checks more than the absence of panics: bounds, round trips of writing and reading, and that pieces have
//! the same result as the whole. `fuzz/` runs them under libFuzzer, and its `replay.rs` runs the corpora without.

mod classifier;
mod endpoint;
mod files;
mod http;
mod input;
mod packets;
mod peer;
mod qlog;
mod settings;
mod wire;

pub use classifier::classifier;
pub use endpoint::endpoint;
pub use files::{paths, ranges};
pub use http::{alt_svc, priority, request, response, trailers};
pub use packets::{packet, token};
pub use qlog::qlog;
pub use wire::{capsules, datagram, varint};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target but `endpoint`, by the name of its corpus.
pub const TARGETS: [(&str, Target); 14] = [
    ("alt_svc", alt_svc),
    ("capsules", capsules),
    ("classifier", classifier),
    ("datagram", datagram),
    ("packet", packet),
    ("paths", paths),
    ("priority", priority),
    ("qlog", qlog),
    ("ranges", ranges),
    ("request", request),
    ("response", response),
    ("token", token),
    ("trailers", trailers),
    ("varint", varint),
];
