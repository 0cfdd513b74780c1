//! Files that cannot be read.

use std::path::PathBuf;
use std::{fmt, io};

/// Why a file could not be summarised.
#[derive(Debug)]
#[non_exhaustive]
pub enum QlogError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a qlog.
    Format {
        /// The file.
        path: PathBuf,
        /// The line, from 1, if the reason is on one.
        line: Option<u64>,
        /// The reason.
        reason: String,
    },
}

impl fmt::Display for QlogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read qlog '{}': {source}", path.display()),
            Self::Format { path, line: None, reason } => write!(f, "'{}' is not a qlog file: {reason}", path.display()),
            Self::Format { path, line: Some(line), reason } => {
                write!(f, "'{}' is not a qlog file: line {line}: {reason}", path.display())
            }
        }
    }
}

impl std::error::Error for QlogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Format { .. } => None,
        }
    }
}
