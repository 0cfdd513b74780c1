//! The origin check (RFC 6454): which pages may open sessions.

use crate::h3::Request;

/// Whether a request for a session is allowed: its origin is the server's own or in `allowed`, such as
/// [`allow_origins`](crate::WebTransportConfig::allow_origins), where `*` is any. A request without an origin is allowed
/// only if every origin is. [`Server`](crate::Server) checks this; an own loop around an [`Endpoint`](crate::Endpoint)
/// must, before it accepts a session: any page may ask for one.
///
/// Origins are compared as clients serialise them (RFC 6454 section 6.2), apart from case: a URL parser would read
/// `https://own.example\@evil.example` as one of them.
pub fn allows_origin(request: &Request, allowed: &[String]) -> bool {
    allows(request.header("origin"), request.scheme(), request.authority(), allowed)
}

/// As [`allows_origin`], for a request with this origin to this scheme and authority.
pub(super) fn allows(origin: Option<&str>, scheme: &str, authority: &str, allowed: &[String]) -> bool {
    if allowed.iter().any(|origin| origin == "*") {
        return true;
    }
    let Some(origin) = origin else { return false };
    own(scheme, authority).eq_ignore_ascii_case(origin)
        || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

/// The server's origin, without the scheme's default port.
fn own(scheme: &str, authority: &str) -> String {
    let host = authority.strip_suffix(":443").or_else(|| authority.strip_suffix(':')).unwrap_or(authority);
    format!("{scheme}://{host}")
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
            allows_origin(&request, &allowed.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())
        };
        assert!(ask(Some("https://example.com:4433"), &[]));
        assert!(ask(Some("https://EXAMPLE.com:4433"), &[]));
        assert!(!ask(None, &["https://a.example"]));
        assert!(ask(None, &["*"]) && ask(Some("null"), &["*"]));
        let listed = ["http://localhost:8080", "https://a.example"];
        assert!(ask(Some("http://localhost:8080"), &listed));
        assert!(ask(Some("https://A.example"), &listed));
        for origin in [
            "http://example.com:4433",
            "https://example.com",
            "https://evil.example.com:4433",
            "https://example.com:4433.evil.example",
            "https://b.example",
            "https://",
            "null",
            "",
            "example.com:4433",
            // M8: what a parser of URLs takes for the own one or a listed one.
            "https://example.com:4433/",
            "https://example.com:4433/path?query",
            "https://example.com:4433#fragment",
            "https://user:password@example.com:4433",
            "https://example.com:4433\\@evil.example",
            "https://example.com:04433",
            "https:example.com:4433",
            "https:\\\\example.com:4433",
            " https://example.com:4433",
            "https://exa\tmple.com:4433",
            "https://%65xample.com:4433",
            "https://a.example:443",
            "https://a.example/",
            "https://a.example https://b.example",
        ] {
            assert!(!ask(Some(origin), &listed), "{origin}");
        }
    }

    #[test]
    fn the_own_origin_has_no_default_port() {
        for (authority, origin) in [
            ("a.example", "https://a.example"),
            ("a.example:443", "https://a.example"),
            ("a.example:", "https://a.example"),
            ("a.example:4433", "https://a.example:4433"),
            ("[::443]", "https://[::443]"),
            ("[::1]:443", "https://[::1]"),
        ] {
            assert_eq!(own("https", authority), origin);
        }
    }
}
