//! Plain responses to requests without a handler.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::head::decimal;
use crate::error::{Violation, status_name};

/// Text, spelled as in the static table of QPACK (RFC 9204 appendix A), so that the field takes a byte.
pub(crate) const TEXT_PLAIN: &str = "text/plain;charset=utf-8";

/// The header fields and the body, such as `404 Not Found`, for a status, with the reason if there is one.
pub(crate) fn plain_response(status: StatusCode, reason: Option<&Violation>) -> (HeaderMap, Bytes) {
    let name = status_name(status);
    let body = Bytes::from(match reason {
        Some(reason) => format!("{name}: {reason}\n"),
        None => format!("{name}\n"),
    });
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_PLAIN));
    headers.insert(CONTENT_LENGTH, decimal(body.len() as u64));
    (headers, body)
}

/// Whether RFC 9110 section 9 or RFC 5789 defines the method, so that 405 is better than 501.
pub(crate) fn is_known_method(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ]
    .contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_names_the_status() {
        let body = |code| plain_response(StatusCode::from_u16(code).unwrap(), None).1;
        assert_eq!((&body(404)[..], &body(599)[..]), (&b"404 Not Found\n"[..], &b"599\n"[..]));
        let (_, body) = plain_response(StatusCode::BAD_REQUEST, Some(&Violation::Incomplete));
        assert!(body.starts_with(b"400 Bad Request: "), "{body:?}");
    }
}
