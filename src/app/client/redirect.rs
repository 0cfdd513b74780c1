//! Redirects (RFC 9110 section 15.4).

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, COOKIE,
    HeaderName, LOCATION, PROXY_AUTHORIZATION,
};
use http::{Method, StatusCode};

use super::error::ClientError;
use super::request::ClientRequest;
use crate::h3::ResponseHead;

/// Fields that describe a body.
const OF_BODIES: [HeaderName; 5] = [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE];
/// Fields that are for one origin only.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// Where a response redirects to. `None` if it does not: an empty `location` would lead to the same page again.
pub(super) fn target(head: &ResponseHead) -> Option<String> {
    let redirects = matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = head.headers.get(LOCATION).filter(|location| redirects && !location.is_empty())?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// The request that a redirect leads to.
///
/// # Errors
/// [`ClientError::Redirect`].
pub(super) fn follow(
    request: &ClientRequest,
    status: StatusCode,
    location: &str,
) -> std::result::Result<ClientRequest, ClientError> {
    let wrong = |reason: &str| ClientError::Redirect { location: location.to_owned(), reason: reason.to_owned() };
    let mut url = request.url.join(location).map_err(|e| wrong(&e.to_string()))?;
    if url.fragment().is_none() {
        url.set_fragment(request.url.fragment());
    }
    let method = &request.head.method;
    let becomes_get = match status {
        StatusCode::SEE_OTHER => *method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        _ => false,
    };
    let method = if becomes_get { Method::GET } else { method.clone() };
    let mut next = ClientRequest::to(method, url).map_err(wrong)?;
    let same_origin = next.origin == request.origin;
    let own_user = next.head.headers.remove(AUTHORIZATION);
    next.head.headers = request.head.headers.clone();
    if !same_origin {
        CREDENTIALS.iter().for_each(|name| drop(next.head.headers.remove(name)));
    } else {
        // With `host`, the user may have named another one than the URL does.
        next.head.authority.clone_from(&request.head.authority);
    }
    if let Some(user) = own_user {
        next.head.headers.insert(AUTHORIZATION, user);
    }
    if becomes_get {
        OF_BODIES.iter().for_each(|name| drop(next.head.headers.remove(name)));
    } else {
        (next.has_body, next.body) = (request.has_body, request.body.clone());
    }
    (next.timeout, next.max_redirects) = (request.timeout, request.max_redirects);
    next.save_to.clone_from(&request.save_to);
    Ok(next)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn request(method: Method) -> ClientRequest {
        let request = ClientRequest::new(method, "https://user:secret@a.example/dir/page?q#part").expect("a URL");
        let value = HeaderValue::from_static;
        let request = request.header(COOKIE, value("a=b")).header(CONTENT_TYPE, value("text/plain"));
        request.header("x-own".parse().expect("a name"), value("1")).body("content")
    }

    fn names(request: &ClientRequest) -> Vec<&str> {
        let mut names: Vec<_> = request.head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn methods_and_bodies() {
        let cases = [
            (301, "POST", "GET"),
            (302, "POST", "GET"),
            (303, "POST", "GET"),
            (303, "PUT", "GET"),
            (303, "HEAD", "HEAD"),
            (301, "PUT", "PUT"),
            (302, "DELETE", "DELETE"),
            (307, "POST", "POST"),
            (308, "POST", "POST"),
        ];
        for (status, before, after) in cases {
            let method = Method::from_bytes(before.as_bytes()).expect("a method");
            let status = StatusCode::from_u16(status).expect("a status");
            let next = follow(&request(method), status, "/other").expect("a target");
            let kept = before == after;
            assert_eq!(
                (next.head.method.as_str(), next.has_body, &next.body[..]),
                match kept {
                    true => (after, true, &b"content"[..]),
                    false => (after, false, &b""[..]),
                }
            );
            let body_fields = names(&next).iter().filter(|name| name.starts_with("content-")).count();
            assert_eq!(body_fields, if kept { 2 } else { 0 }, "{status} {before}");
        }
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let follow = |to| follow(&request(Method::GET), StatusCode::TEMPORARY_REDIRECT, to);
        let with = ["authorization", "content-length", "content-type", "cookie", "user-agent", "x-own"];
        let without = ["content-length", "content-type", "user-agent", "x-own"];
        for (to, url, fields) in [
            ("other", "https://a.example/dir/other#part", &with[..]),
            ("?r#x", "https://a.example/dir/page?r#x", &with),
            ("https://A.example:443/", "https://a.example/#part", &with),
            ("//b.example/x", "https://b.example/x#part", &without),
            ("https://a.example:444", "https://a.example:444/#part", &without),
            ("https://b.a.example", "https://b.a.example/#part", &without),
        ] {
            let next = follow(to).expect("a target");
            assert_eq!((next.url(), &names(&next)[..]), (url, fields), "{to}");
        }
        let other = follow("https://new:user@b.example/").expect("a target");
        assert_eq!(other.head.headers[AUTHORIZATION], "Basic bmV3OnVzZXI=");
        assert_eq!(other.url(), "https://b.example/#part");
    }

    #[test]
    fn only_https() {
        for (to, told) in [
            ("http://a.example/", "redirected to 'http://a.example/': HTTP/3 needs https"),
            ("ftp:x", "redirected to 'ftp:x': HTTP/3 needs https"),
            ("https://", "redirected to 'https://': empty host"),
        ] {
            let error = follow(&request(Method::GET), StatusCode::FOUND, to).expect_err("no target");
            assert_eq!(error.to_string(), told);
        }
    }
}
