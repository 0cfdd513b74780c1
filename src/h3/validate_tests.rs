use super::*;
use crate::error::ErrorCode;
use http::StatusCode;
use quiche::h3::Header;

const GET: &str = ":method GET|:scheme https|:authority a.example|:path /x?y=1";

fn list(spec: &str) -> Vec<Header> {
    let field = |f: &str| {
        let (name, value) = f.split_once(' ').unwrap_or((f, ""));
        Header::new(name.as_bytes(), value.as_bytes())
    };
    spec.split('|').filter(|f| !f.is_empty()).map(field).collect()
}

fn check(spec: &str) -> Result<Head, Violation> {
    validate_request(&list(spec), &RequestLimits::default(), false)
}

fn with(fields: &str) -> Result<Head, Violation> {
    check(&format!("{GET}|{fields}"))
}

#[test]
fn a_plain_request_is_taken_apart() {
    let head = with("accept */*|content-length 12|x-a 1|x-a 2").unwrap();
    assert_eq!(head.method, Method::GET);
    assert_eq!((&*head.scheme, &*head.authority, &*head.target), ("https", "a.example", "/x?y=1"));
    assert_eq!(head.content_length, Some(12));
    assert_eq!(head.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert!(check(":method OPTIONS|:scheme https|:authority a|:path *").is_ok());
    assert!(check(":method GET|:scheme https|:path /|host a.example").is_ok_and(|h| h.authority == "a.example"));
    assert!(with("host a.example|te trailers").is_ok());
}

#[test]
fn cookie_crumbs_are_joined() {
    let head = with("cookie a=1|cookie b=2|cookie c=3").unwrap();
    assert_eq!(head.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}

#[test]
fn every_malformed_request_is_a_message_error() {
    use Violation::*;
    let s = str::to_owned;
    let cases = [
        ("", MissingPseudoHeader(":method")),
        (":scheme https|:authority a|:path /", MissingPseudoHeader(":method")),
        (":method GET|:authority a|:path /", MissingPseudoHeader(":scheme")),
        (":method GET|:scheme https|:authority a", MissingPseudoHeader(":path")),
        (":method GET|:scheme https|:path /", MissingPseudoHeader(":authority")),
        (":method GET|:method GET|:scheme https|:authority a|:path /", DuplicatePseudoHeader(":method")),
        (":method GET|:scheme https|:authority a|:path /|:path /", DuplicatePseudoHeader(":path")),
        (":method GET|:scheme https|:authority a|:path /|:status 200", UnexpectedPseudoHeader(s(":status"))),
        (":method GET|:scheme https|:authority a|:path /|:protocol x", UnexpectedPseudoHeader(s(":protocol"))),
        (":method GET|:scheme https|:authority a|accept x|:path /", LatePseudoHeader(s(":path"))),
        (":method G T|:scheme https|:authority a|:path /", InvalidPseudoHeader(":method")),
        (":method |:scheme https|:authority a|:path /", InvalidPseudoHeader(":method")),
        (":method GET|:scheme |:authority a|:path /", InvalidPseudoHeader(":scheme")),
        (":method GET|:scheme https|:authority |:path /", InvalidPseudoHeader(":authority")),
        (":method GET|:scheme https|:authority u@a|:path /", InvalidPseudoHeader(":authority")),
        (":method GET|:scheme https|:authority a|:path ", InvalidPseudoHeader(":path")),
        (":method GET|:scheme https|:authority a|:path x", InvalidPseudoHeader(":path")),
        (":method GET|:scheme https|:authority a|:path *", InvalidPseudoHeader(":path")),
        (":method GET|:scheme https|:authority a|:path /#f", InvalidPseudoHeader(":path")),
        (":method GET|:scheme https|:authority a|:path /a b", InvalidPseudoHeader(":path")),
        (":method CONNECT|:authority a|:path /", UnexpectedPseudoHeader(s(":path"))),
        (":method CONNECT|:authority a|:scheme https", UnexpectedPseudoHeader(s(":scheme"))),
        (":method CONNECT", MissingPseudoHeader(":authority")),
    ];
    for (spec, violation) in cases {
        assert_eq!(check(spec).unwrap_err(), violation, "{spec}");
        assert_eq!((violation.code(), violation.status()), (ErrorCode::H3_MESSAGE_ERROR, None), "{spec}");
    }
    let fields = [
        ("X-Upper 1", InvalidFieldName(s("X-Upper"))),
        ("x\u{e9} 1", InvalidFieldName(s("x\u{e9}"))),
        (" 1", InvalidFieldName(s(""))),
        ("x-a a\rb", InvalidFieldValue(s("x-a"))),
        ("x-a a\nb", InvalidFieldValue(s("x-a"))),
        ("x-a a\0b", InvalidFieldValue(s("x-a"))),
        ("connection close", ConnectionSpecificField(s("connection"))),
        ("keep-alive 1", ConnectionSpecificField(s("keep-alive"))),
        ("proxy-connection x", ConnectionSpecificField(s("proxy-connection"))),
        ("transfer-encoding chunked", ConnectionSpecificField(s("transfer-encoding"))),
        ("upgrade h2c", ConnectionSpecificField(s("upgrade"))),
        ("te gzip", ConnectionSpecificField(s("te"))),
        ("host b.example", HostMismatch),
        ("content-length x", InvalidContentLength),
        ("content-length +1", InvalidContentLength),
        ("content-length -1", InvalidContentLength),
        ("content-length ", InvalidContentLength),
        ("content-length 1|content-length 2", InvalidContentLength),
        ("content-length 99999999999999999999", InvalidContentLength),
    ];
    for (field, violation) in fields {
        assert_eq!(with(field).unwrap_err(), violation, "{field:?}");
        assert_eq!(violation.code(), ErrorCode::H3_MESSAGE_ERROR, "{field:?}");
    }
}

#[test]
fn limits_are_answered_with_their_status() {
    let status = |result: Result<Head, Violation>| result.err().and_then(|v| v.status());
    let many = |n: usize| with(&vec!["x-a 1"; n].join("|"));
    assert!(many(100).is_ok());
    assert_eq!(status(many(101)), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    assert!(with(&format!("{} 1", "n".repeat(256))).is_ok());
    assert_eq!(status(with(&format!("{} 1", "n".repeat(257)))), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    assert!(with(&format!("x {}", "v".repeat(8192))).is_ok());
    assert_eq!(status(with(&format!("x {}", "v".repeat(8193)))), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    let two = format!("x {0}|y {0}", "v".repeat(8192));
    assert_eq!(status(with(&two)), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    let target = |n| check(&format!(":method GET|:scheme https|:authority a|:path /{}", "p".repeat(n)));
    assert!(target(2047).is_ok());
    assert_eq!(status(target(2048)), Some(StatusCode::URI_TOO_LONG));
}

#[test]
fn trailers_have_no_pseudo_headers() {
    assert_eq!(validate_trailers(&list("x-checksum abc")).unwrap()["x-checksum"], "abc");
    let violation = validate_trailers(&list("x-checksum abc|:path /")).unwrap_err();
    assert_eq!(violation, Violation::PseudoHeaderInTrailers(":path".to_owned()));
}
