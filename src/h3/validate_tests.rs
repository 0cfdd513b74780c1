use super::*;
use crate::config::{RequestLimits, ResponseLimits};
use crate::error::ErrorCode;
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
    validate_request(&list(spec), &HeadLimits::from(&RequestLimits::default()), false)
}

fn with(fields: &str) -> Result<Head, Violation> {
    check(&format!("{GET}|{fields}"))
}

#[test]
fn a_plain_request_is_taken_apart() {
    let head = with("accept */*|content-length 12|x-a 1|x-a 2").unwrap();
    assert_eq!(head.method, Method::GET);
    assert_eq!((head.scheme, &*head.authority, &*head.target), ("https", "a.example", "/x?y=1"));
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
        (":method GET|:scheme http|:authority a|:path /", InvalidPseudoHeader(":scheme")),
        (":method GET|:scheme httpss|:authority a|:path /", InvalidPseudoHeader(":scheme")),
        (":method GET|:scheme ftp|:authority a|:path /", InvalidPseudoHeader(":scheme")),
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
        ("content-length 99999999999999999999", InvalidContentLength),
    ];
    for (field, violation) in fields {
        assert_eq!(with(field).unwrap_err(), violation, "{field:?}");
        assert_eq!(violation.code(), ErrorCode::H3_MESSAGE_ERROR, "{field:?}");
    }
}

/// The violation's text and the status of the response.
fn told<T>(result: Result<T, Violation>) -> Option<(String, Option<u16>)> {
    result.err().map(|v| (v.to_string(), v.status().map(|s| s.as_u16())))
}

#[test]
fn a_request_over_a_limit_names_field_size_and_limit() {
    // M2
    let many = |n: usize| vec!["x-a 1"; n].join("|");
    let (name, value) = (|n| format!("{} 1", "n".repeat(n)), |n| format!("x-b {}", "v".repeat(n)));
    let long = "n".repeat(64);
    let cases = [
        (many(200), None),
        (many(201), Some("201 fields, more than 200 (max_fields)".to_owned())),
        (name(256), None),
        (name(257), Some(format!("the name of field \"{long}\" has 257 bytes, more than 256 (max_name)"))),
        (value(16_384), None),
        (value(16_385), Some("the value of field \"x-b\" has 16385 bytes, more than 16384 (max_value)".to_owned())),
        (
            format!("x-a {}|x-b {}", "v".repeat(16_200), "v".repeat(16_384)),
            Some(
                "the field section has 32834 bytes, more than 32768 (max_field_section); its largest field is \"x-b\""
                    .to_owned(),
            ),
        ),
    ];
    for (fields, expected) in cases {
        let expected = expected.map(|text| (text, Some(431)));
        assert_eq!(told(with(&fields)), expected, "{}", &fields[..20]);
    }
    let target =
        |n: usize| told(check(&format!(":method GET|:scheme https|:authority a|:path /{}", "p".repeat(n - 1))));
    assert_eq!(target(8192), None);
    let expected = "the request target has 8193 bytes, more than 8192 (max_target)".to_owned();
    assert_eq!(target(8193), Some((expected, Some(414))));
}

#[test]
fn a_response_over_a_limit_names_field_size_and_limit() {
    // M2
    let limits = HeadLimits::from(&ResponseLimits::default());
    let ask = |fields: &str| validate_response(&list(&format!(":status 200|{fields}")), &limits);
    let many = |n: usize| vec!["set-cookie a=b"; n].join("|");
    let value = |n: usize| format!("x-b {}", "v".repeat(n));
    let three = format!("{0}|{0}|{0}", value(102_400));
    let cases = [
        (many(5000), None),
        (many(5001), Some("5001 fields, more than 5000 (max_fields)")),
        (value(102_400), None),
        (value(102_401), Some("the value of field \"x-b\" has 102401 bytes, more than 102400 (max_value)")),
        (
            three,
            Some(
                "the field section has 307347 bytes, more than 307200 (max_field_section); its largest field is \"x-b\"",
            ),
        ),
    ];
    for (fields, expected) in cases {
        let violation = ask(&fields).err();
        assert_eq!(violation.as_ref().map(ToString::to_string).as_deref(), expected, "{}", &fields[..20]);
        assert!(violation.is_none_or(|v| v.code() == ErrorCode::H3_EXCESSIVE_LOAD));
    }
}

#[test]
fn trailers_have_the_limits_of_heads() {
    // M2
    let limits = HeadLimits::from(&RequestLimits { max_fields: 2, max_value: 3, ..RequestLimits::default() });
    let ask = |fields: &str| validate_trailers(&list(fields), &limits).map_err(|v| (v.to_string(), v.code()));
    assert!(ask("a 1|b 123").is_ok());
    let over = |text: &str| (text.to_owned(), ErrorCode::H3_EXCESSIVE_LOAD);
    assert_eq!(ask("a 1|b 2|c 3").unwrap_err(), over("3 fields, more than 2 (max_fields)"));
    let expected = over("the value of field \"b\" has 4 bytes, more than 3 (max_value)");
    assert_eq!(ask("a 1|b 1234").unwrap_err(), expected);
}

#[test]
fn fields_that_are_no_lists_are_not_repeated() {
    // M3
    let both = ["content-length 0", "content-range bytes 0-1/2"];
    let requests = [
        "authorization a",
        "content-location /",
        "content-type text/plain",
        "date x",
        "from a@b",
        "host a.example",
        "if-modified-since x",
        "if-range x",
        "if-unmodified-since x",
        "max-forwards 1",
        "origin https://a.example",
        "proxy-authorization a",
        "range bytes=0-1",
        "referer /",
        "user-agent x",
    ];
    let name = |field: &str| field.split(' ').next().unwrap_or_default().to_owned();
    let again = |field: &str| [format!("{field}|{field}"), format!("{field}|x-a 1|{} 2", name(field))];
    for field in both.iter().chain(&requests) {
        assert!(with(field).is_ok(), "{field}");
        for fields in again(field) {
            assert_eq!(with(&fields).unwrap_err(), Violation::RepeatedField(name(field)), "{fields}");
        }
    }
    let limits = HeadLimits::from(&ResponseLimits::default());
    let respond = |fields: &str| validate_response(&list(&format!(":status 200|{fields}")), &limits);
    for field in both.iter().chain(&["location /"]) {
        assert!(respond(field).is_ok(), "{field}");
        for fields in again(field) {
            assert_eq!(respond(&fields).unwrap_err(), Violation::RepeatedField(name(field)), "{fields}");
        }
    }
    for list in ["set-cookie a=b", "cache-control no-store", "vary origin", "x-a 1"] {
        assert!(respond(&format!("{list}|{list}")).is_ok(), "{list}");
        assert!(with(&format!("{list}|{list}")).is_ok(), "{list}");
    }
    // The second `host` counts, whether or not there is an `:authority`.
    let hosts = ":method GET|:scheme https|:path /|host a.example|host b.example";
    assert_eq!(check(hosts).unwrap_err(), Violation::RepeatedField("host".to_owned()));
    assert_eq!(with("host a.example|host b.example").unwrap_err(), Violation::RepeatedField("host".to_owned()));
    assert_eq!(with("host b.example").unwrap_err(), Violation::HostMismatch);
    let upper = check(":method GET|:scheme HTTPS|:authority a|:path /").unwrap();
    assert_eq!(upper.scheme, "https");
}

#[test]
fn field_values_are_taken_as_they_are() {
    // M4
    let good: [&[u8]; 8] = [b"", b"x", b"a b", b"a\tb", b"\xff\xfe", "\u{17e}".as_bytes(), b"\"\\", b"~!"];
    let bad: [&[u8]; 20] = [
        b"x\r\n", b"x\r", b"x\n", b"\r\nx", b"\nx", b"x\x0c", b"\x0cx", b"\x0bx", b"x\x0b", b"\n", b" ", b" x", b"x ",
        b"\tx", b"x\t", b"x\x00", b"\x00", b"x\ny", b"x\x7fy", b"x\x01y",
    ];
    let (requests, responses) =
        (HeadLimits::from(&RequestLimits::default()), HeadLimits::from(&ResponseLimits::default()));
    let each = |name: &str, value: &[u8]| {
        let field = Header::new(name.as_bytes(), value);
        let after = |spec: &str| [list(spec), vec![field.clone()]].concat();
        [
            validate_request(&after(GET), &requests, false).map(|head| head.headers),
            validate_response(&after(":status 200"), &responses).map(|head| head.headers),
            validate_trailers(&after(""), &requests),
        ]
    };
    for name in ["x-a", "cookie"] {
        for value in good {
            for headers in each(name, value) {
                assert_eq!(headers.unwrap()[name].as_bytes(), value, "{name} {value:?}");
            }
        }
        for value in bad {
            for headers in each(name, value) {
                let violation = headers.unwrap_err();
                assert_eq!(violation, Violation::InvalidFieldValue(name.to_owned()), "{value:?}");
                assert_eq!((violation.code(), violation.status()), (ErrorCode::H3_MESSAGE_ERROR, None));
            }
        }
    }
    for control in (0..0x20).chain([0x7f]) {
        for value in [vec![control, b'x'], vec![b'x', control], vec![b'x', control, b'y']] {
            let is_inner_tab = value == b"x\ty";
            assert!(each("x-a", &value).iter().all(|headers| headers.is_ok() == is_inner_tab), "{value:?}");
        }
    }
}

#[test]
fn an_authority_that_is_none_is_answered_with_400() {
    // M5
    let cases = [
        "[::1",
        "[zz]",
        "localhost:99999",
        "localhost:port",
        "a<b>",
        "a\"b",
        ":443",
        "localhost:1:2",
        "\u{17e}.example",
    ];
    for authority in cases {
        let expected = Some((format!("authority {authority:?} is neither HOST nor HOST:PORT"), Some(400)));
        let spec = format!(":method GET|:scheme https|:authority {authority}|:path /");
        assert_eq!(told(check(&spec)), expected);
        assert_eq!(told(check(&format!(":method GET|:scheme https|:path /|host {authority}"))), expected);
    }
    let connect = |authority: &str| told(check(&format!(":method CONNECT|:authority {authority}")));
    assert_eq!(connect("a.example:443"), None);
    assert_eq!(connect("a.example").map(|(_, status)| status), Some(Some(400)));
    for authority in ["a b", "a\tb", "user@a", "a@", "a\u{7f}"] {
        let spec = format!(":method GET|:scheme https|:path /|:authority {authority}");
        // In a literal list the first blank ends the name.
        assert_eq!(check(&spec).unwrap_err(), Violation::InvalidPseudoHeader(":authority"), "{authority:?}");
    }
}

#[test]
fn crumbs_of_a_cookie_count_as_one_field() {
    // M1
    let limits = HeadLimits::from(&RequestLimits { max_fields: 2, max_value: 500, ..RequestLimits::default() });
    let ask = |n: usize, fields: &str| {
        let crumbs: Vec<String> = (100..100 + n).map(|n| format!("cookie c{n}=v")).collect();
        validate_request(&list(&format!("{GET}|{fields}|{}", crumbs.join("|"))), &limits, false)
    };
    for n in [1, 2, 60] {
        let head = ask(n, "x-a 1").unwrap();
        let expected: Vec<String> = (100..100 + n).map(|n| format!("c{n}=v")).collect();
        assert_eq!(head.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), [expected.join("; ").as_str()]);
    }
    assert_eq!(told(ask(60, "x-a 1|x-b 2")).unwrap().0, "3 fields, more than 2 (max_fields)");
    // 6 bytes each, and the separators: joined first, then measured.
    let expected = "the value of field \"cookie\" has 502 bytes, more than 500 (max_value)";
    assert_eq!(told(ask(63, "x-a 1")).unwrap().0, expected);
    let head = validate_request(&list(&format!("{GET}|cookie |cookie a=b|cookie |cookie c=d|cookie ")), &limits, false);
    assert_eq!(head.unwrap().headers[COOKIE], "a=b; c=d", "empty crumbs are none");
    // 1000 crumbs alone have 32 000 bytes of overhead by RFC 9114 section 4.2.2.
    assert!(with(&vec!["cookie a=b"; 1000].join("|")).is_ok());
}

#[test]
fn trailers_have_no_pseudo_headers() {
    let check = |spec| validate_trailers(&list(spec), &HeadLimits::from(&RequestLimits::default()));
    assert_eq!(check("x-checksum abc").unwrap()["x-checksum"], "abc");
    let violation = check("x-checksum abc|:path /").unwrap_err();
    assert_eq!(violation, Violation::PseudoHeaderInTrailers(":path".to_owned()));
}
