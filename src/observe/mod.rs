//! Observability: metrics and qlog files.

pub mod prometheus;
#[cfg(feature = "qlog")]
pub mod qlog;
