//! `h3/`: requests, responses, trailers and priorities; and the client's `alt-svc`.

use std::time::{Duration, SystemTime};

use http::Method;
use http::header::{ALT_SVC, CONTENT_LENGTH, HeaderMap, HeaderValue};

use super::input::Input;
use crate::app::{AltServices, Origin};
use crate::config::{HeadLimits, RequestLimits, ResponseLimits};
use crate::h3::{Priority, is_hop_by_hop, validate_request, validate_response, validate_trailers};
use crate::transport::Header;

/// Names that decide something, so that a fuzzer need not spell them.
const NAMES: [&str; 22] = [
    ":method",
    ":scheme",
    ":authority",
    ":path",
    ":protocol",
    ":status",
    "host",
    "cookie",
    "content-length",
    "te",
    "connection",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "priority",
    "expect",
    "range",
    "origin",
    "trailer",
    "",
    "X-Upper",
];

/// Values that decide something.
const VALUES: [&str; 22] = [
    "GET",
    "CONNECT",
    "OPTIONS",
    "HEAD",
    "POST",
    "https",
    "http",
    "a.example",
    "/",
    "/x?y=1",
    "*",
    "webtransport",
    "200",
    "101",
    "0",
    "12",
    "+1",
    "trailers",
    "gzip",
    "a=1",
    "",
    " padded ",
];

/// A field section: each field is a name and a value, of the tables or spelled.
fn fields(input: &mut Input<'_>) -> Vec<Header> {
    const MAX_FIELDS: usize = 200;
    let mut list = Vec::new();
    while !input.is_empty() && list.len() < MAX_FIELDS {
        let mut text = |table: &[&'static str]| match usize::from(input.byte()) {
            at if at < table.len() => table[at].as_bytes(),
            255 => input.long(),
            _ => input.short(),
        };
        let name = text(&NAMES);
        list.push(Header::new(name, text(&VALUES)));
    }
    list
}

/// Invariants of every accepted field section (RFC 9114 section 4.2).
fn check_fields(headers: &HeaderMap) {
    for (name, value) in headers {
        assert!(!name.as_str().is_empty() && !name.as_str().bytes().any(|b| b.is_ascii_uppercase()));
        assert!(name.as_str() == "host" || !is_hop_by_hop(name), "{name} is about one hop");
        let value = value.as_bytes();
        assert!(value == value.trim_ascii(), "white space around the value of {name}");
        assert!(!value.iter().any(|b| [b'\r', b'\n', 0].contains(b)), "a line break in {name}");
        assert!(name != "te" || value == b"trailers");
    }
    assert!(headers.get_all("cookie").iter().count() <= 1, "crumbs are joined");
}

fn without_limits() -> HeadLimits {
    let max = usize::MAX;
    HeadLimits { max_fields: max, max_name: max, max_value: max, max_field_section: max, max_target: max }
}

/// A request's head: an accepted one obeys RFC 9114 and the limits, and is accepted again with the same meaning.
pub fn request(input: &[u8]) {
    let mut input = Input::new(input);
    let extended_connect = input.byte() & 1 != 0;
    let list = fields(&mut input);
    let limits = HeadLimits::from(&RequestLimits::default());
    let Ok(head) = validate_request(&list, &limits, extended_connect) else { return };
    check_fields(&head.headers);
    assert!(head.headers.len() <= limits.max_fields && head.target.len() <= limits.max_target);
    assert!(head.protocol.is_none() || extended_connect && head.method == Method::CONNECT);
    assert!(!head.authority.is_empty() && !head.authority.bytes().any(|b| b <= b' ' || b == b'@'));
    match head.method == Method::CONNECT && head.protocol.is_none() {
        true => assert_eq!((head.scheme, &*head.target), ("", "")),
        false => {
            assert!(!head.scheme.is_empty() && !head.scheme.bytes().any(|b| b.is_ascii_uppercase()));
            assert!(head.target.starts_with('/') || (head.target == "*" && head.method == Method::OPTIONS));
            assert!(!head.target.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#'));
        }
    }
    let length = head.headers.get(CONTENT_LENGTH).map(|v| v.to_str().expect("digits").parse::<u64>().expect("digits"));
    assert_eq!(head.content_length, length);

    let mut pseudo = vec![(":method", head.method.as_str()), (":authority", &head.authority)];
    if !head.target.is_empty() {
        pseudo.extend([(":scheme", head.scheme), (":path", &*head.target)]);
    }
    pseudo.extend(head.protocol.as_deref().map(|protocol| (":protocol", protocol)));
    let pseudo = pseudo.into_iter().map(|(name, value)| Header::new(name.as_bytes(), value.as_bytes()));
    let list: Vec<_> = pseudo.chain(headers(&head.headers)).collect();
    let again = validate_request(&list, &without_limits(), extended_connect).expect("the same request");
    assert_eq!((&again.method, &again.scheme, &again.authority), (&head.method, &head.scheme, &head.authority));
    assert_eq!((&again.target, &again.protocol), (&head.target, &head.protocol));
    assert_eq!((again.headers, again.content_length), (head.headers, head.content_length));
}

fn headers(map: &HeaderMap) -> impl Iterator<Item = Header> {
    map.iter().map(|(name, value)| Header::new(name.as_str().as_bytes(), value.as_bytes()))
}

/// A response's head, as [`request`].
pub fn response(input: &[u8]) {
    let list = fields(&mut Input::new(input));
    let limits = HeadLimits::from(&ResponseLimits::default());
    let Ok(head) = validate_response(&list, &limits) else { return };
    check_fields(&head.headers);
    assert!(head.headers.len() <= limits.max_fields);
    assert!((100..=999).contains(&head.status.as_u16()));
    let status = Header::new(b":status", head.status.as_str().as_bytes());
    let list: Vec<_> = [status].into_iter().chain(headers(&head.headers)).collect();
    let again = validate_response(&list, &without_limits()).expect("the same response");
    assert_eq!((again.status, again.headers), (head.status, head.headers));
}

/// A trailer section, as [`request`].
pub fn trailers(input: &[u8]) {
    let list = fields(&mut Input::new(input));
    let limits = HeadLimits::from(&RequestLimits::default());
    let Ok(trailers) = validate_trailers(&list, &limits) else { return };
    check_fields(&trailers);
    let again: Vec<_> = headers(&trailers).collect();
    assert_eq!(validate_trailers(&again, &without_limits()), Ok(trailers));
}

/// A `priority` field: bounds, and a round trip of its value.
pub fn priority(input: &[u8]) {
    let Some(priority) = Priority::parse(input) else { return };
    assert!(priority.urgency <= 7);
    let Priority { urgency, incremental } = priority;
    let field = format!("u={urgency}, i=?{}", u8::from(incremental));
    assert_eq!(Priority::parse(field.as_bytes()), Some(priority));
}

/// `alt-svc` fields: the stored services are bounded and usable, and the last field counts.
pub fn alt_svc(input: &[u8]) {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let (now, wall) = (crate::net::now(), SystemTime::UNIX_EPOCH);
    let origin = Origin { host: "a.example".to_owned(), port: 443 };
    let mut headers = HeaderMap::new();
    for field in input.split(|byte| *byte == b'\n').take(32) {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.append(ALT_SVC, value);
        }
    }
    let mut known = AltServices::default();
    known.learn(&origin, &headers, wall);
    let learnt = known.list(wall);
    assert!(learnt.len() <= 8);
    for service in &learnt {
        assert_eq!((&service.origin_host, service.origin_port), (&origin.host, origin.port));
        assert!(!service.host.is_empty() && service.expires > wall && service.expires <= wall + YEAR);
    }
    assert_ne!(known.choose(&origin, now, wall), Some(&origin));
    assert_eq!(known.choose(&origin, now, wall + YEAR), None);
    known.learn(&origin, &headers, wall);
    assert_eq!(known.list(wall), learnt, "the same fields say the same");
    for service in &learnt {
        let target = Origin { host: service.host.clone(), port: service.port };
        known.suspend(&origin, &target, now);
    }
    assert_eq!(known.choose(&origin, now, wall), None, "all alternatives have failed");
    headers.insert(ALT_SVC, HeaderValue::from_static("clear"));
    known.learn(&origin, &headers, wall);
    assert_eq!(known.list(wall), []);
}
