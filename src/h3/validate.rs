//! Validation of requests, responses and trailers (RFC 9114 sections 4.2, 4.3 and 4.4). quiche hands over whatever
//! QPACK decoded.

use crate::transport::NameValue;
use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::authority::is_authority;
use super::head::ResponseHead;
use crate::config::HeadLimits;
use crate::error::Violation;

/// A valid request head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// `https`. Empty for CONNECT.
    pub(crate) scheme: &'static str,
    pub(crate) authority: String,
    /// `:path`: the path and the query. Empty for CONNECT.
    pub(crate) target: String,
    /// `:protocol` of an extended CONNECT (RFC 9220).
    pub(crate) protocol: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) content_length: Option<u64>,
}

/// RFC 9114 section 4.2.2: a field counts 32 bytes on top of its name and value.
const FIELD_OVERHEAD: usize = 32;
/// RFC 9114 section 4.2.1.
const CRUMB_SEPARATOR: &[u8] = b"; ";
/// Initial capacity in fields; fewer remain once cookie fields are joined.
const MAX_CAPACITY: usize = 64;

#[derive(Default)]
struct Pseudo<'a> {
    method: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    protocol: Option<&'a [u8]>,
}

/// Checks a request's field section. `extended_connect`: `:protocol` was offered to clients in SETTINGS.
pub(crate) fn validate_request<H: NameValue>(
    list: &[H],
    limits: &HeadLimits,
    extended_connect: bool,
) -> Result<Head, Violation> {
    let mut pseudo = Pseudo::default();
    let mut regular = 0;
    while let Some(field) = list.get(regular) {
        let Some(name) = field.name().strip_prefix(b":") else { break };
        let (slot, shown) = match name {
            b"method" => (&mut pseudo.method, ":method"),
            b"scheme" => (&mut pseudo.scheme, ":scheme"),
            b"authority" => (&mut pseudo.authority, ":authority"),
            b"path" => (&mut pseudo.path, ":path"),
            b"protocol" if extended_connect => (&mut pseudo.protocol, ":protocol"),
            _ => return Err(Violation::UnexpectedPseudoHeader(lossy(field.name()))),
        };
        if slot.replace(field.value()).is_some() {
            return Err(Violation::DuplicatePseudoHeader(shown));
        }
        regular += 1;
    }
    let fields = &list[regular..];
    let method = pseudo.method.ok_or(Violation::MissingPseudoHeader(":method"))?;
    let method = Method::from_bytes(method).map_err(|_| Violation::InvalidPseudoHeader(":method"))?;
    let (size, limit) = (pseudo.path.map_or(0, <[u8]>::len), limits.max_target);
    if size > limit {
        return Err(Violation::TargetTooLong { size, limit });
    }
    check_limits(list, limits)?;
    let headers = validate_fields(fields, is_request_singleton, |name| Violation::LatePseudoHeader(lossy(name)))?;
    let protocol = protocol(&method, &pseudo)?;
    let (scheme, target) = scheme_and_target(&method, &pseudo)?;
    let authority = authority(&method, &pseudo, value_of(fields, "host"))?;
    let content_length = content_length(value_of(fields, "content-length"))?;
    Ok(Head { method, scheme, authority, target, protocol, headers, content_length })
}

/// Checks a trailer section (RFC 9114 section 4.3: no pseudo-header fields).
pub(crate) fn validate_trailers<H: NameValue>(list: &[H], limits: &HeadLimits) -> Result<HeaderMap, Violation> {
    check_limits(list, limits)?;
    validate_fields(list, |_| false, |name| Violation::PseudoHeaderInTrailers(lossy(name)))
}

/// Checks the limits on a field section. The crumbs of a cookie count as the field that they are joined to.
fn check_limits<H: NameValue>(list: &[H], limits: &HeadLimits) -> Result<(), Violation> {
    // Most sections as a whole are within the limits of a field.
    let (mut longest, mut whole) = (0, 0);
    for field in list {
        longest = longest.max(field.name().len());
        whole += field.name().len() + field.value().len() + FIELD_OVERHEAD;
    }
    if list.len() <= limits.max_fields
        && longest <= limits.max_name
        && whole <= limits.max_value.min(limits.max_field_section)
    {
        return Ok(());
    }
    let (mut count, mut section) = (0, 0);
    let mut cookie: Option<usize> = None;
    let mut largest: (usize, &[u8]) = (0, b"");
    for field in list {
        let (name, mut size) = (field.name(), field.value().len());
        if name == COOKIE.as_str().as_bytes() {
            if let Some(before) = cookie {
                section -= name.len() + before + FIELD_OVERHEAD;
                count -= 1;
                size += before + CRUMB_SEPARATOR.len();
            }
            cookie = Some(size);
        }
        section += name.len() + size + FIELD_OVERHEAD;
        if name.first() == Some(&b':') {
            continue;
        }
        count += 1;
        largest = largest.max((size, name));
        if name.len() > limits.max_name {
            return Err(Violation::NameTooLong { name: lossy(name), size: name.len(), limit: limits.max_name });
        }
    }
    if count > limits.max_fields {
        return Err(Violation::TooManyFields { count, limit: limits.max_fields });
    }
    let (size, name) = largest;
    if size > limits.max_value {
        return Err(Violation::ValueTooLong { name: lossy(name), size, limit: limits.max_value });
    }
    if section > limits.max_field_section {
        let (size, limit) = (section, limits.max_field_section);
        return Err(Violation::SectionTooLarge { size, limit, largest: lossy(name) });
    }
    Ok(())
}

fn validate_fields<H: NameValue>(
    fields: &[H],
    is_singleton: fn(&HeaderName) -> bool,
    pseudo: impl Fn(&[u8]) -> Violation,
) -> Result<HeaderMap, Violation> {
    let mut map = HeaderMap::with_capacity(fields.len().min(MAX_CAPACITY));
    let mut cookie: Option<Vec<u8>> = None;
    for field in fields {
        let (name, value) = (field.name(), field.value());
        if name.first() == Some(&b':') {
            return Err(pseudo(name));
        }
        let parsed = HeaderName::from_lowercase(name).map_err(|_| Violation::InvalidFieldName(lossy(name)))?;
        let value = field_value(value).ok_or_else(|| Violation::InvalidFieldValue(parsed.as_str().to_owned()))?;
        if is_connection_specific(&parsed, &value) {
            return Err(Violation::ConnectionSpecificField(parsed.as_str().to_owned()));
        }
        if is_singleton(&parsed) && map.contains_key(&parsed) {
            return Err(Violation::RepeatedField(parsed.as_str().to_owned()));
        }
        if parsed == COOKIE {
            add_crumb(&mut cookie, value.as_bytes());
        } else if map.try_append(parsed, value).is_err() {
            return Err(Violation::TooManyFields { count: fields.len(), limit: map.len() });
        }
    }
    if let Some(Ok(cookie)) = cookie.map(HeaderValue::try_from) {
        map.insert(COOKIE, cookie);
    }
    Ok(map)
}

/// Checks a response's field section (RFC 9114 section 4.3.2).
pub(crate) fn validate_response<H: NameValue>(list: &[H], limits: &HeadLimits) -> Result<ResponseHead, Violation> {
    let Some((first, fields)) = list.split_first() else { return Err(Violation::MissingPseudoHeader(":status")) };
    if first.name() != b":status" {
        return Err(match first.name().first() {
            Some(b':') => Violation::UnexpectedPseudoHeader(lossy(first.name())),
            _ => Violation::MissingPseudoHeader(":status"),
        });
    }
    let status = StatusCode::from_bytes(first.value()).map_err(|_| Violation::InvalidPseudoHeader(":status"))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Violation::SwitchingProtocols);
    }
    check_limits(list, limits)?;
    let late = |name: &[u8]| match name {
        b":status" => Violation::DuplicatePseudoHeader(":status"),
        _ => Violation::LatePseudoHeader(lossy(name)),
    };
    Ok(ResponseHead { status, headers: validate_fields(fields, is_response_singleton, late)? })
}

/// RFC 9110 section 5.5: no control characters, and no white space at the ends. Nothing is trimmed: what is cut off
/// here may be the end of a field to another hop (RFC 9114 section 10.3).
fn field_value(value: &[u8]) -> Option<HeaderValue> {
    let is_space = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    match is_space(value.first()) || is_space(value.last()) {
        true => None,
        false => HeaderValue::from_bytes(value).ok(),
    }
}

/// Fields of a request that are no lists (RFC 9110 section 5.3): with two of them, it would depend on the reader which
/// one counts.
fn is_request_singleton(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "authorization"
            | "content-length"
            | "content-location"
            | "content-range"
            | "content-type"
            | "date"
            | "from"
            | "host"
            | "if-modified-since"
            | "if-range"
            | "if-unmodified-since"
            | "max-forwards"
            | "origin"
            | "proxy-authorization"
            | "range"
            | "referer"
            | "user-agent"
    )
}

/// Those fields of a response that say how to read it and where to go. Clients are lenient with others, as browsers
/// are.
fn is_response_singleton(name: &HeaderName) -> bool {
    matches!(name.as_str(), "content-length" | "content-range" | "location")
}

/// Whether a field describes one hop's connection, and so is not sent in HTTP/3.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" | "host")
}

/// RFC 9114 section 4.2: these describe one hop's connection; `te` may only be `trailers`.
fn is_connection_specific(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => true,
        "te" => value != "trailers",
        _ => false,
    }
}

/// RFC 9114 section 4.2.1: `cookie` may be split into crumbs, which are joined. An empty one adds nothing: the space of
/// its separator could end the value, which no value may.
fn add_crumb(cookie: &mut Option<Vec<u8>>, crumb: &[u8]) {
    match cookie {
        Some(cookie) if cookie.is_empty() => cookie.extend_from_slice(crumb),
        Some(_) if crumb.is_empty() => {}
        Some(cookie) => {
            cookie.extend_from_slice(CRUMB_SEPARATOR);
            cookie.extend_from_slice(crumb);
        }
        None => *cookie = Some(crumb.to_vec()),
    }
}

fn scheme_and_target(method: &Method, pseudo: &Pseudo<'_>) -> Result<(&'static str, String), Violation> {
    if method == Method::CONNECT && pseudo.protocol.is_none() {
        // RFC 9114 section 4.4.
        return match (pseudo.scheme, pseudo.path) {
            (None, None) => Ok(Default::default()),
            (Some(_), _) => Err(Violation::UnexpectedPseudoHeader(":scheme".to_owned())),
            (_, Some(_)) => Err(Violation::UnexpectedPseudoHeader(":path".to_owned())),
        };
    }
    let scheme = pseudo.scheme.ok_or(Violation::MissingPseudoHeader(":scheme"))?;
    let path = pseudo.path.ok_or(Violation::MissingPseudoHeader(":path"))?;
    // Only https resources are served here (RFC 9110 section 7.4).
    if !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Violation::InvalidPseudoHeader(":scheme"));
    }
    let target = text(path).filter(|t| is_target(method, t)).ok_or(Violation::InvalidPseudoHeader(":path"))?;
    Ok(("https", target.to_owned()))
}

/// RFC 8441 section 4, RFC 9220 section 3: only CONNECT has it, and then also all other pseudo-header fields.
fn protocol(method: &Method, pseudo: &Pseudo<'_>) -> Result<Option<String>, Violation> {
    let Some(protocol) = pseudo.protocol else { return Ok(None) };
    if method != Method::CONNECT {
        return Err(Violation::UnexpectedPseudoHeader(":protocol".to_owned()));
    }
    // A token, as the methods are (RFC 9110 section 16.7).
    let token = Method::from_bytes(protocol).ok().and(text(protocol));
    Ok(Some(token.ok_or(Violation::InvalidPseudoHeader(":protocol"))?.to_owned()))
}

/// The value of a field that occurs once. For a few fields, faster than a lookup in a `HeaderMap`.
fn value_of<'a, H: NameValue>(fields: &'a [H], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name() == name.as_bytes()).map(NameValue::value)
}

fn authority(method: &Method, pseudo: &Pseudo<'_>, host: Option<&[u8]>) -> Result<String, Violation> {
    if method == Method::CONNECT && pseudo.authority.is_none() {
        return Err(Violation::MissingPseudoHeader(":authority"));
    }
    let value = match (pseudo.authority, host) {
        (Some(a), Some(h)) if a != h => return Err(Violation::HostMismatch),
        (Some(a), _) => a,
        (None, Some(h)) => h,
        (None, None) => return Err(Violation::MissingPseudoHeader(":authority")),
    };
    // RFC 9114 sections 4.3.1 and 10.3: not empty, no user information, and no character that no value may have.
    if is_authority(value, *method == Method::CONNECT && pseudo.protocol.is_none())
        && let Some(value) = text(value)
    {
        return Ok(value.to_owned());
    }
    match text(value) {
        Some(text) if !text.is_empty() && !text.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'@') => {
            Err(Violation::InvalidAuthority(lossy(value)))
        }
        _ => Err(Violation::InvalidPseudoHeader(":authority")),
    }
}

pub(super) fn content_length(value: Option<&[u8]>) -> Result<Option<u64>, Violation> {
    let Some(value) = value else { return Ok(None) };
    // RFC 9110 section 8.6: only digits, so no sign, which `parse` alone would accept.
    let digits = text(value).filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|v| v.parse().ok()).map(Some).ok_or(Violation::InvalidContentLength)
}

/// Origin form, or `*` for OPTIONS (RFC 9114 section 4.3.1); no white space, control character or fragment.
fn is_target(method: &Method, target: &str) -> bool {
    (target.starts_with('/') || (target == "*" && method == Method::OPTIONS))
        && !target.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#')
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn lossy(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned()
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
