//! Conditional and range requests: RFC 9110, sections 13 and 14.

use std::ops::Range;
use std::time::SystemTime;

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::entry::FileEntry;

/// How to answer a request for a file.
#[derive(Debug, Clone, PartialEq)]
pub struct FilePlan {
    /// 200, 206, 304, 412 or 416.
    pub status: StatusCode,
    /// The response's header fields; `content-length` is that of a GET even when the method is HEAD.
    pub headers: HeaderMap,
    /// The bytes of the file to send; empty for HEAD and for statuses without a body.
    pub body: Range<u64>,
}

/// Decides status, header fields and body for `entry` by the request's preconditions, in the order of RFC 9110, section
/// 13.2.2, and its `range` (section 14.2).
///
/// Meant for GET and HEAD; any other method gets no body and no range. Several ranges, an unknown unit or a malformed
/// field select the whole file, as section 14.2 allows.
#[must_use]
pub fn plan(entry: &FileEntry, method: &Method, headers: &HeaderMap) -> FilePlan {
    match precondition(entry, method, headers) {
        Precondition::Failed => without_body(entry, StatusCode::PRECONDITION_FAILED),
        Precondition::NotModified => without_body(entry, StatusCode::NOT_MODIFIED),
        Precondition::Passed => {
            // Section 14.2: a range on anything but GET is ignored.
            let range = if method == Method::GET && if_range(entry, headers) {
                requested_range(headers, entry.len())
            } else {
                Requested::Whole
            };
            content(entry, method, range)
        }
    }
}

fn content(entry: &FileEntry, method: &Method, range: Requested) -> FilePlan {
    let len = entry.len();
    let mut headers = validators(entry);
    if !entry.is_made() {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    let (status, body) = match range {
        Requested::Whole => (StatusCode::OK, 0..len),
        Requested::Part(part) => {
            insert(&mut headers, CONTENT_RANGE, format!("bytes {}-{}/{len}", part.start, part.end - 1));
            (StatusCode::PARTIAL_CONTENT, part)
        }
        Requested::Unsatisfiable => {
            insert(&mut headers, CONTENT_RANGE, format!("bytes */{len}"));
            (StatusCode::RANGE_NOT_SATISFIABLE, 0..0)
        }
    };
    if status != StatusCode::RANGE_NOT_SATISFIABLE {
        headers.insert(CONTENT_TYPE, entry.content_type().clone());
        if let Some(coding) = entry.coding() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
        }
    }
    headers.insert(CONTENT_LENGTH, (body.end - body.start).into());
    let body = if method == Method::GET { body } else { 0..0 };
    FilePlan { status, headers, body }
}

fn without_body(entry: &FileEntry, status: StatusCode) -> FilePlan {
    let mut headers = validators(entry);
    // In a 304 it would be the length of the corresponding 200 (section 8.6), so it is omitted.
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(CONTENT_LENGTH, 0.into());
    }
    FilePlan { status, headers, body: 0..0 }
}

fn validators(entry: &FileEntry) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(ETAG, entry.etag().clone());
    if let Some(value) = entry.last_modified_value() {
        headers.insert(LAST_MODIFIED, value.clone());
    }
    if entry.varies() {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    headers
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

#[derive(Debug, PartialEq)]
enum Precondition {
    Passed,
    NotModified,
    Failed,
}

/// RFC 9110, section 13.2.2, steps 1 to 4.
fn precondition(entry: &FileEntry, method: &Method, headers: &HeaderMap) -> Precondition {
    let safe = method == Method::GET || method == Method::HEAD;
    if headers.contains_key(IF_MATCH) {
        if !any_tag(headers, &IF_MATCH, entry, Comparison::Strong) {
            return Precondition::Failed;
        }
    } else if let (Some(date), Some(modified)) = (date(headers, &IF_UNMODIFIED_SINCE), entry.last_modified())
        && modified > date
    {
        return Precondition::Failed;
    }

    if headers.contains_key(IF_NONE_MATCH) {
        match any_tag(headers, &IF_NONE_MATCH, entry, Comparison::Weak) {
            true if safe => Precondition::NotModified,
            true => Precondition::Failed,
            false => Precondition::Passed,
        }
    } else {
        match (date(headers, &IF_MODIFIED_SINCE), entry.last_modified()) {
            (Some(date), Some(modified)) if safe && modified <= date => Precondition::NotModified,
            _ => Precondition::Passed,
        }
    }
}

/// Whether `range` applies (RFC 9110, section 13.1.5): true if `if-range` is absent.
fn if_range(entry: &FileEntry, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    let (value, rest) = (values.next(), values.next());
    match (value, rest) {
        (None, _) => true,
        (Some(value), None) => match entity_tag(value.as_bytes()) {
            Some((tag, [])) => tag.matches(entry, Comparison::Strong),
            Some(_) => false,
            None => {
                let date = value.to_str().ok().and_then(|v| httpdate::parse_http_date(v).ok());
                date.is_some() && date == entry.last_modified()
            }
        },
        (Some(_), Some(_)) => false,
    }
}

/// A date field's time; `None` if absent, repeated or malformed, which all mean "ignore the field".
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// RFC 9110, section 8.8.3.2.
#[derive(Clone, Copy, PartialEq)]
enum Comparison {
    Strong,
    Weak,
}

struct EntityTag<'a> {
    weak: bool,
    /// Includes its quotes.
    opaque: &'a [u8],
}

impl EntityTag<'_> {
    fn matches(&self, entry: &FileEntry, comparison: Comparison) -> bool {
        let own = entry.etag().as_bytes();
        let (is_weak, opaque) = match own.strip_prefix(b"W/") {
            Some(opaque) => (true, opaque),
            None => (false, own),
        };
        self.opaque == opaque && !((self.weak || is_weak) && comparison == Comparison::Strong)
    }
}

/// Whether the field is `*` or one of its tags is the entry's. A malformed element ends the list.
fn any_tag(headers: &HeaderMap, name: &HeaderName, entry: &FileEntry, comparison: Comparison) -> bool {
    headers.get_all(name).iter().any(|value| {
        let mut left = value.as_bytes().trim_ascii();
        if left == b"*" {
            return true;
        }
        loop {
            // Section 5.6.1.2: a recipient skips empty elements.
            while let [b' ' | b'\t' | b',', rest @ ..] = left {
                left = rest;
            }
            match entity_tag(left) {
                Some((tag, _)) if tag.matches(entry, comparison) => return true,
                Some((_, rest)) => left = rest,
                None => return false,
            }
        }
    })
}

/// Reads one entity tag (RFC 9110, section 8.8.3) and returns it with the rest. A comma may be part of the tag.
fn entity_tag(input: &[u8]) -> Option<(EntityTag<'_>, &[u8])> {
    let (weak, tag) = match input {
        [b'W', b'/', rest @ ..] => (true, rest),
        _ => (false, input),
    };
    let inner = tag.strip_prefix(b"\"")?;
    let end = inner.iter().position(|b| !matches!(b, 0x21 | 0x23..=0x7e | 0x80..))?;
    if inner[end] != b'"' {
        return None;
    }
    let (opaque, rest) = tag.split_at(end + 2);
    Some((EntityTag { weak, opaque }, rest))
}

#[derive(Debug, PartialEq)]
enum Requested {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// The one byte range of the request: RFC 9110, section 14.1.2.
fn requested_range(headers: &HeaderMap, len: u64) -> Requested {
    let mut values = headers.get_all(RANGE).iter();
    match (values.next().and_then(|v| v.to_str().ok()), values.next()) {
        (Some(value), None) => parse_range(value, len).unwrap_or(Requested::Whole),
        _ => Requested::Whole,
    }
}

/// `None` if the field is to be ignored: another unit, several ranges, or malformed.
fn parse_range(value: &str, len: u64) -> Option<Requested> {
    let (unit, set) = value.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = set.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    let (first, last) = specs.next()?.split_once('-')?;
    if specs.next().is_some() {
        return None;
    }
    if first.is_empty() {
        return Some(match position(last)? {
            0 => Requested::Unsatisfiable,
            // `content-range` cannot express an empty range of an empty file.
            _ if len == 0 => Requested::Whole,
            suffix => Requested::Part(len.saturating_sub(suffix)..len),
        });
    }
    let first = position(first)?;
    let last = if last.is_empty() { u64::MAX } else { position(last)? };
    if last < first {
        return None;
    }
    Some(if first >= len { Requested::Unsatisfiable } else { Requested::Part(first..last.saturating_add(1).min(len)) })
}

/// `1*DIGIT`; saturates at the greatest number.
fn position(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "plan_property_tests.rs"]
mod property_tests;
