//! Why a connection ended.

use super::buf::Quic;
use crate::error::{ErrorCode, transport_error};

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// This side.
    Us,
    /// The peer.
    Peer,
    /// Neither: the idle timeout passed (RFC 9000 section 10.1).
    IdleTimeout,
    /// The peer, which no longer knows the connection: it has restarted, or dropped it (RFC 9000 section 10.3).
    StatelessReset,
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
    pub(super) fn stateless_reset() -> Self {
        CloseCause { by: ClosedBy::StatelessReset, application: false, code: ErrorCode(0), reason: String::new() }
    }

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
            ClosedBy::StatelessReset => return f.write_str("closed by a stateless reset: the peer no longer knows it"),
        };
        match (self.application, transport_error(self.code.0)) {
            (true, _) => write!(f, "closed by {by} with {}", self.code)?,
            (false, Some(name)) => write!(f, "closed by {by} with {name} ({:#x})", self.code.0)?,
            (false, None) => write!(f, "closed by {by} with QUIC error {:#x}", self.code.0)?,
        }
        match self.reason.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.reason.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_name_who_and_why() {
        let cause = |by, application, code, reason: &str| {
            CloseCause { by, application, code: ErrorCode(code), reason: reason.to_owned() }.to_string()
        };
        assert_eq!(
            cause(ClosedBy::Peer, false, 0x2, "full"),
            "closed by the peer with CONNECTION_REFUSED (0x2) (full)"
        );
        assert_eq!(cause(ClosedBy::Peer, false, 0xb, ""), "closed by the peer with INVALID_TOKEN (0xb)");
        assert_eq!(cause(ClosedBy::Peer, false, 0x10, ""), "closed by the peer with NO_VIABLE_PATH (0x10)");
        assert_eq!(cause(ClosedBy::Us, false, 0x12a, ""), "closed by us with QUIC error 0x12a");
        let reset = CloseCause::stateless_reset().to_string();
        assert_eq!(reset, "closed by a stateless reset: the peer no longer knows it");
    }
}
