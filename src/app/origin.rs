//! Which pages may open sessions: the rule about `origin` (RFC 6454).

use url::Url;

use crate::h3::Request;

/// Whether a request for a session is allowed: its origin is the server's own or in the list. A request without an
/// origin is allowed only if every origin is.
pub(super) fn is_allowed(request: &Request, allowed: &[String]) -> bool {
    if allowed.iter().any(|origin| origin == "*") {
        return true;
    }
    let Some(origin) = request.header("origin").and_then(parse) else { return false };
    let own = parse(&format!("{}://{}", request.scheme(), request.authority()));
    own.as_ref() == Some(&origin) || allowed.iter().any(|allowed| parse(allowed).as_ref() == Some(&origin))
}

/// Scheme, host and port, with the scheme's default for a missing port; `None` for an opaque origin (`null`).
fn parse(origin: &str) -> Option<url::Origin> {
    let origin = Url::parse(origin).ok()?.origin();
    origin.is_tuple().then_some(origin)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_own_origin_and_allowed_ones_pass() {
        let ask = |origin: Option<&'static str>, allowed: &[&str]| {
            let mut request = Request::for_test("CONNECT", "/wt");
            request.head.authority = "example.com:4433".to_owned();
            if let Some(origin) = origin {
                request.head.headers.insert("origin", HeaderValue::from_static(origin));
            }
            is_allowed(&request, &allowed.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())
        };
        assert!(ask(Some("https://example.com:4433"), &[]));
        assert!(ask(Some("https://EXAMPLE.com:4433"), &[]));
        assert!(!ask(Some("http://example.com:4433"), &[]), "another scheme");
        assert!(!ask(Some("https://example.com"), &[]), "another port");
        assert!(!ask(Some("https://evil.example.com:4433"), &[]));
        assert!(!ask(Some("null"), &["null"]), "opaque origins are equal to none");
        assert!(!ask(None, &["https://a.example"]));
        assert!(ask(None, &["*"]) && ask(Some("null"), &["*"]));
        assert!(ask(Some("http://localhost:8080"), &["http://localhost:8080"]));
        assert!(ask(Some("https://a.example"), &["https://a.example:443/"]));
        assert!(!ask(Some("https://b.example"), &["https://a.example"]));
        assert!(!ask(Some("https://"), &["https://a.example"]));
    }
}
