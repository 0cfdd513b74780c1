//! What can be wrong with a message.

use http::StatusCode;

use super::code::ErrorCode;

/// The fault of a request or a response (RFC 9114 sections 4.1.2, 4.2 and 4.3), or the limit that it exceeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A pseudo-header field that the message needs is missing.
    #[error("pseudo-header {0} is missing")]
    MissingPseudoHeader(&'static str),
    /// A pseudo-header field is duplicated.
    #[error("pseudo-header {0} is duplicated")]
    DuplicatePseudoHeader(&'static str),
    /// An unknown pseudo-header field, or one that this kind of message must not have.
    #[error("pseudo-header {0:?} is not allowed here")]
    UnexpectedPseudoHeader(String),
    /// A pseudo-header field after a regular one.
    #[error("pseudo-header {0:?} after a regular field")]
    LatePseudoHeader(String),
    /// A pseudo-header field with an invalid value.
    #[error("pseudo-header {0} has an invalid value")]
    InvalidPseudoHeader(&'static str),
    /// A field name that is not a lower-case token.
    #[error("field name {0:?} is not a lower-case token")]
    InvalidFieldName(String),
    /// A field value with CR, LF, NUL or another control character, or with white space at an end (RFC 9110 section
    /// 5.5).
    #[error("the value of field {0:?} has a forbidden character, or white space at an end")]
    InvalidFieldValue(String),
    /// A connection-specific field (RFC 9114 section 4.2).
    #[error("field {0:?} is connection-specific")]
    ConnectionSpecificField(String),
    /// A field that is no list is there twice (RFC 9110 section 5.3).
    #[error("field {0:?} is repeated")]
    RepeatedField(String),
    /// `content-length` is not a number.
    #[error("content-length is invalid")]
    InvalidContentLength,
    /// The body's length differs from `content-length`.
    #[error("content-length is {declared} but the body has {received} bytes")]
    ContentLengthMismatch {
        /// The field's value.
        declared: u64,
        /// The bytes that arrived (a lower bound if there were too many).
        received: u64,
    },
    /// Content in a response that has none: one to HEAD, or with status 204 or 304 (RFC 9110 section 6.4.1).
    #[error("a response to HEAD, or with status 204 or 304, has content")]
    UnexpectedContent,
    /// Status 101, which HTTP/3 does not have (RFC 9114 section 4.5).
    #[error("status 101 does not exist in HTTP/3")]
    SwitchingProtocols,
    /// `host` and `:authority` differ.
    #[error("host and :authority differ")]
    HostMismatch,
    /// `:authority`, or `host` in its place, is no host with a port or without one (RFC 3986 section 3.2); answered
    /// with 400.
    #[error("authority {0:?} is neither HOST nor HOST:PORT")]
    InvalidAuthority(String),
    /// A pseudo-header field in a trailer section.
    #[error("pseudo-header {0:?} in a trailer section")]
    PseudoHeaderInTrailers(String),
    /// The stream ended before the message's head.
    #[error("the stream ended before the message's head")]
    Incomplete,
    /// More informational responses before the final one than a client accepts.
    #[error("too many informational responses")]
    TooManyInformational,
    /// More fields than [`max_fields`](crate::RequestLimits::max_fields); answered with 431.
    #[error("{count} fields, more than {limit} (max_fields)")]
    TooManyFields {
        /// The fields, without pseudo-header fields; the crumbs of a cookie are one.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A field's name is longer than [`max_name`](crate::RequestLimits::max_name); answered with 431.
    #[error("the name of field {name:?} has {size} bytes, more than {limit} (max_name)")]
    NameTooLong {
        /// The beginning of the name.
        name: String,
        /// The length of the whole name.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A field's value is longer than [`max_value`](crate::RequestLimits::max_value); answered with 431.
    #[error("the value of field {name:?} has {size} bytes, more than {limit} (max_value)")]
    ValueTooLong {
        /// The field's name.
        name: String,
        /// The length of the value; of the whole `cookie` if it was split into several fields.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The field section is larger than [`max_field_section`](crate::RequestLimits::max_field_section); answered with
    /// 431.
    #[error(
        "the field section has {size} bytes, more than {limit} (max_field_section); its largest field is {largest:?}"
    )]
    SectionTooLarge {
        /// Its size, counted as in RFC 9114 section 4.2.2.
        size: usize,
        /// The limit.
        limit: usize,
        /// The name of its largest field.
        largest: String,
    },
    /// The request target is longer than [`max_target`](crate::RequestLimits::max_target); answered with 414.
    #[error("the request target has {size} bytes, more than {limit} (max_target)")]
    TargetTooLong {
        /// Its length.
        size: usize,
        /// The limit.
        limit: usize,
    },
}

impl Violation {
    /// The status of the response, where a response makes sense; otherwise the stream is reset with
    /// [`code`](Violation::code).
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Violation::InvalidAuthority(_) => Some(StatusCode::BAD_REQUEST),
            Violation::TargetTooLong { .. } => Some(StatusCode::URI_TOO_LONG),
            _ if self.is_limit() => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            _ => None,
        }
    }

    /// The error code that the stream is reset with (RFC 9114 section 4.1.2).
    pub fn code(&self) -> ErrorCode {
        match self {
            Violation::Incomplete => ErrorCode::H3_REQUEST_INCOMPLETE,
            Violation::TooManyInformational => ErrorCode::H3_EXCESSIVE_LOAD,
            _ if self.is_limit() => ErrorCode::H3_EXCESSIVE_LOAD,
            _ => ErrorCode::H3_MESSAGE_ERROR,
        }
    }

    /// Whether the message may be well-formed, and is only larger than this side accepts.
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            Violation::TooManyFields { .. }
                | Violation::NameTooLong { .. }
                | Violation::ValueTooLong { .. }
                | Violation::SectionTooLarge { .. }
                | Violation::TargetTooLong { .. }
        )
    }
}
