//! Why a connection ended.

use super::buf::Quic;
use crate::error::ErrorCode;

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// This side.
    Us,
    /// The peer.
    Peer,
    /// Neither: the idle timeout passed (RFC 9000 section 10.1).
    IdleTimeout,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseCause {
    /// Who ended it.
    pub by: ClosedBy,
    /// Whether `code` is an application code (HTTP/3), not one of QUIC (RFC 9000 section 20).
    pub application: bool,
    /// The error code.
    pub code: ErrorCode,
    /// The reason phrase.
    pub reason: String,
}

impl CloseCause {
    pub(super) fn of(quic: &Quic) -> Self {
        let (by, error) = match (quic.local_error(), quic.peer_error()) {
            (Some(error), _) => (ClosedBy::Us, Some(error)),
            (None, Some(error)) => (ClosedBy::Peer, Some(error)),
            (None, None) => (ClosedBy::IdleTimeout, None),
        };
        CloseCause {
            by,
            application: error.is_some_and(|e| e.is_app),
            code: ErrorCode(error.map_or(0, |e| e.error_code)),
            reason: error.map(|e| String::from_utf8_lossy(&e.reason).into_owned()).unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for CloseCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = match self.by {
            ClosedBy::Us => "us",
            ClosedBy::Peer => "the peer",
            ClosedBy::IdleTimeout => return f.write_str("idle timeout"),
        };
        match self.application {
            true => write!(f, "closed by {by} with {}", self.code)?,
            false => write!(f, "closed by {by} with QUIC error {:#x}", self.code.0)?,
        }
        match self.reason.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.reason.escape_debug()),
        }
    }
}
