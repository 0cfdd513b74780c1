//! Looking at what happened: qlog files.

#[cfg(feature = "qlog")]
pub mod qlog;
