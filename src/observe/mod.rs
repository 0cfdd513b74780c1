//! Observability: metrics and qlog files.

#[cfg(feature = "admin")]
pub mod prometheus;
#[cfg(feature = "qlog")]
pub mod qlog;
