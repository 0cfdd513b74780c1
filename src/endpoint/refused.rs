//! Requests that the engine ends itself, for the access log.

use std::net::SocketAddr;

use http::StatusCode;
use http::header::{REFERER, USER_AGENT};

use crate::error::{ErrorCode, Violation};
use crate::h3::Request;
use crate::transport::table::StreamId;
use crate::transport::{Header, NameValue};

/// Bytes of a value that are kept: the head may be large because it exceeds a limit.
const MAX_VALUE: usize = 1024;

/// A request that the engine answered itself, rejected, or aborted because it is malformed. Its values are as they arrived
/// and can have any bytes; longer ones are cut after 1024.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefusedRequest {
    /// Its stream, which has ended.
    pub id: StreamId,
    /// The client's address.
    pub peer: SocketAddr,
    /// `:method`.
    pub method: Option<Vec<u8>>,
    /// `:authority`, or `host` when it is missing.
    pub authority: Option<Vec<u8>>,
    /// `:path`: the path and the query.
    pub target: Option<Vec<u8>>,
    /// `:protocol` of an extended CONNECT (RFC 9220).
    pub protocol: Option<Vec<u8>>,
    /// The field `referer`.
    pub referer: Option<Vec<u8>>,
    /// The field `user-agent`.
    pub user_agent: Option<Vec<u8>>,
    /// The status of the answer, or `None` if the stream was reset.
    pub status: Option<StatusCode>,
    /// What the stream was reset with instead of an answer.
    pub code: Option<ErrorCode>,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// It arrived in the first flight of a connection (0-RTT).
    pub is_early: bool,
    /// The connection resumed a TLS session.
    pub is_resumed: bool,
    /// What is wrong with it, unless it was refused for other reasons.
    pub violation: Option<Violation>,
}

impl RefusedRequest {
    /// A valid request.
    pub(super) fn of(request: &Request) -> Self {
        let kept = |value: &str| Some(cut(value.as_bytes())).filter(|value| !value.is_empty());
        let field = |name| request.headers().get(name).map(|value| cut(value.as_bytes()));
        RefusedRequest {
            id: request.stream_id(),
            peer: request.peer_addr(),
            method: kept(request.method().as_str()),
            authority: kept(request.authority()),
            target: kept(&request.head.target),
            protocol: request.protocol().and_then(kept),
            referer: field(REFERER),
            user_agent: field(USER_AGENT),
            status: None,
            code: None,
            sent: 0,
            is_early: false,
            is_resumed: false,
            violation: None,
        }
    }

    /// A request of which `list` is the head, valid or not.
    pub(super) fn from_list(id: StreamId, peer: SocketAddr, list: &[Header]) -> Self {
        let field = |name: &str| list.iter().find(|f| f.name() == name.as_bytes()).map(|field| cut(field.value()));
        RefusedRequest {
            id,
            peer,
            method: field(":method"),
            authority: field(":authority").or_else(|| field("host")),
            target: field(":path"),
            protocol: field(":protocol"),
            referer: field(REFERER.as_str()),
            user_agent: field(USER_AGENT.as_str()),
            status: None,
            code: None,
            sent: 0,
            is_early: false,
            is_resumed: false,
            violation: None,
        }
    }
}

fn cut(value: &[u8]) -> Vec<u8> {
    value[..value.len().min(MAX_VALUE)].to_vec()
}
