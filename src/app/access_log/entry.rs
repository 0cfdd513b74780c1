//! What a line of the access log is about.

use std::net::SocketAddr;
use std::time::Duration;

use http::header::{REFERER, USER_AGENT};
use http::{HeaderName, StatusCode};

use crate::endpoint::RefusedRequest;
use crate::h3::Request;

/// Bytes of a field's value that are logged.
pub(super) const MAX_FIELD: usize = 1024;

/// A request or a session that has ended.
pub(in crate::app) struct Entry<'a> {
    pub(in crate::app) subject: Subject<'a>,
    pub(in crate::app) status: Option<StatusCode>,
    /// Body bytes, if they are known.
    pub(in crate::app) sent: Option<u64>,
    pub(in crate::app) received: Option<u64>,
    pub(in crate::app) duration: Duration,
    /// Why it was not completed.
    pub(in crate::app) error: Option<String>,
}

/// What a line is about.
#[derive(Clone, Copy)]
pub(in crate::app) enum Subject<'a> {
    Request(&'a Request),
    Refused(&'a RefusedRequest),
}

impl<'a> Entry<'a> {
    /// A request that the engine ended itself.
    pub(in crate::app) fn refused(refused: &'a RefusedRequest) -> Self {
        Entry {
            subject: Subject::Refused(refused),
            status: refused.status,
            sent: Some(refused.sent),
            received: Some(0),
            duration: Duration::ZERO,
            error: match (&refused.violation, refused.code) {
                (Some(violation), _) => Some(violation.to_string()),
                (None, code) => code.map(|code| format!("rejected with {code}")),
            },
        }
    }
}

impl<'a> Subject<'a> {
    pub(super) fn method(self) -> Option<&'a [u8]> {
        match self {
            Subject::Request(request) => Some(request.method().as_str().as_bytes()),
            Subject::Refused(refused) => refused.method.as_deref(),
        }
    }

    /// The path and the query.
    pub(super) fn target(self) -> Option<&'a [u8]> {
        match self {
            Subject::Request(request) => Some(request.head.target.as_bytes()).filter(|target| !target.is_empty()),
            Subject::Refused(refused) => refused.target.as_deref(),
        }
    }

    pub(super) fn authority(self) -> Option<&'a [u8]> {
        match self {
            Subject::Request(request) => Some(request.authority().as_bytes()),
            Subject::Refused(refused) => refused.authority.as_deref(),
        }
    }

    pub(super) fn protocol(self) -> Option<&'a [u8]> {
        match self {
            Subject::Request(request) => request.protocol().map(str::as_bytes),
            Subject::Refused(refused) => refused.protocol.as_deref(),
        }
    }

    pub(super) fn route(self) -> Option<&'a str> {
        match self {
            Subject::Request(request) => request.pattern(),
            Subject::Refused(_) => None,
        }
    }

    pub(super) fn referer(self) -> Option<&'a [u8]> {
        match self {
            Subject::Request(request) => field(request, &REFERER),
            Subject::Refused(refused) => refused.referer.as_deref(),
        }
    }

    pub(super) fn user_agent(self) -> Option<&'a [u8]> {
        match self {
            Subject::Request(request) => field(request, &USER_AGENT),
            Subject::Refused(refused) => refused.user_agent.as_deref(),
        }
    }

    pub(super) fn peer(self) -> SocketAddr {
        match self {
            Subject::Request(request) => request.peer_addr(),
            Subject::Refused(refused) => refused.peer,
        }
    }

    pub(super) fn is_resumed(self) -> bool {
        match self {
            Subject::Request(request) => request.is_resumed(),
            Subject::Refused(refused) => refused.is_resumed,
        }
    }

    pub(super) fn is_early(self) -> bool {
        match self {
            Subject::Request(request) => request.is_early(),
            Subject::Refused(refused) => refused.is_early,
        }
    }
}

fn field<'a>(request: &'a Request, name: &HeaderName) -> Option<&'a [u8]> {
    let value = request.headers().get(name)?.as_bytes();
    Some(&value[..value.len().min(MAX_FIELD)])
}
