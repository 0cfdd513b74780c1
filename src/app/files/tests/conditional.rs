//! Preconditions and ranges.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::super::{FileEntry, FilePlan, plan};
use super::{now, set_mtime, tree};

/// `ten.txt`, last modified on Sun, 06 Nov 1994 08:49:37 GMT.
fn ten() -> Arc<FileEntry> {
    let (tmp, mut files) = tree();
    set_mtime(&tmp.path().join("root/ten.txt"), UNIX_EPOCH + Duration::new(784_111_777, 5));
    files.lookup(now(), "ten.txt").unwrap()
}

const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn request(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn get(entry: &FileEntry, fields: &[(&str, &str)]) -> FilePlan {
    plan(entry, &Method::GET, &request(fields))
}

fn status(fields: &[(&str, &str)]) -> u16 {
    get(&ten(), fields).status.as_u16()
}

fn tag() -> String {
    ten().etag().to_str().unwrap().to_owned()
}

#[test]
fn plain_get_and_head() {
    let entry = ten();
    let whole = get(&entry, &[]);
    assert_eq!((whole.status, whole.body.clone()), (StatusCode::OK, 0..10));
    assert_eq!(whole.headers["content-length"], "10");
    assert_eq!(whole.headers["content-type"], "text/plain;charset=utf-8");
    assert_eq!(whole.headers["last-modified"], SAME);
    assert_eq!(whole.headers["accept-ranges"], "bytes");
    assert_eq!(whole.headers["etag"], *entry.etag());
    assert!(!whole.headers.contains_key("content-range"));

    let head = plan(&entry, &Method::HEAD, &request(&[("range", "bytes=0-1")]));
    assert_eq!((head.status, head.body), (StatusCode::OK, 0..0));
    assert_eq!(head.headers, whole.headers, "no range on HEAD, and the headers of the GET");
}

#[test]
fn if_match_and_if_unmodified_since() {
    let tag = tag();
    assert_eq!(status(&[("if-match", "*")]), 200);
    assert_eq!(status(&[("if-match", &tag)]), 200);
    assert_eq!(status(&[("if-match", &format!("\"x,y\" ,, {tag}"))]), 200);
    assert_eq!(status(&[("if-match", "\"x\""), ("if-match", &tag)]), 200);
    assert_eq!(status(&[("if-match", &format!("W/{tag}"))]), 412, "strong comparison");
    assert_eq!(status(&[("if-match", "\"x\"")]), 412);
    assert_eq!(status(&[("if-match", "garbage")]), 412);
    assert_eq!(status(&[("if-match", "\"")]), 412);
    assert_eq!(status(&[("if-match", "")]), 412);
    assert_eq!(status(&[("if-unmodified-since", SAME)]), 200);
    assert_eq!(status(&[("if-unmodified-since", AFTER)]), 200);
    assert_eq!(status(&[("if-unmodified-since", BEFORE)]), 412);
    assert_eq!(status(&[("if-unmodified-since", "yesterday")]), 200);
    assert_eq!(status(&[("if-match", &tag), ("if-unmodified-since", BEFORE)]), 200, "if-match wins");

    let failed = get(&ten(), &[("if-match", "\"x\""), ("range", "bytes=0-1")]);
    assert_eq!(failed.headers["content-length"], "0");
    assert_eq!(failed.body, 0..0);
}

#[test]
fn if_none_match_and_if_modified_since() {
    let tag = tag();
    for value in ["*", &tag, &format!("W/{tag}"), &format!("\"a\", W/\"b\", {tag}")] {
        let plan = get(&ten(), &[("if-none-match", value), ("range", "bytes=0-1")]);
        assert_eq!(plan.status, StatusCode::NOT_MODIFIED, "{value}");
        let mut names: Vec<_> = plan.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["etag", "last-modified"]);
        assert_eq!(plan.body, 0..0);
        assert_eq!(self::plan(&ten(), &Method::HEAD, &request(&[("if-none-match", value)])).status, 304);
        assert_eq!(self::plan(&ten(), &Method::PUT, &request(&[("if-none-match", value)])).status, 412);
    }
    assert_eq!(status(&[("if-none-match", "\"x\"")]), 200);
    assert_eq!(status(&[("if-none-match", "x")]), 200);
    assert_eq!(status(&[("if-modified-since", SAME)]), 304);
    assert_eq!(status(&[("if-modified-since", AFTER)]), 304);
    assert_eq!(status(&[("if-modified-since", BEFORE)]), 200);
    assert_eq!(status(&[("if-modified-since", "never")]), 200);
    assert_eq!(status(&[("if-modified-since", SAME), ("if-modified-since", SAME)]), 200);
    assert_eq!(status(&[("if-none-match", "\"x\""), ("if-modified-since", AFTER)]), 200, "if-none-match wins");
    assert_eq!(status(&[("if-match", "\"x\""), ("if-none-match", &tag)]), 412, "if-match comes first");
    assert_eq!(status(&[("if-unmodified-since", BEFORE), ("if-modified-since", AFTER)]), 412);
}

#[test]
fn if_range_needs_the_exact_validator() {
    let tag = tag();
    let with = |value: &str| status(&[("range", "bytes=0-1"), ("if-range", value)]);
    assert_eq!(with(&tag), 206);
    assert_eq!(with(SAME), 206);
    for value in [&format!("W/{tag}"), "\"x\"", BEFORE, AFTER, "garbage", "", "*", &format!("{tag}, {tag}")] {
        assert_eq!(with(value), 200, "{value}");
    }
    assert_eq!(status(&[("range", "bytes=0-1"), ("if-range", &tag), ("if-range", &tag)]), 200);
    assert_eq!(status(&[("if-range", "\"x\"")]), 200);
    assert_eq!(status(&[("range", "bytes=99-"), ("if-range", "\"x\"")]), 200, "not even a 416");
}

#[test]
fn ranges() {
    let entry = ten();
    let cases: [(&str, Option<Range<u64>>); 14] = [
        ("bytes=0-0", Some(0..1)),
        ("bytes=2-5", Some(2..6)),
        ("BYTES=2-5", Some(2..6)),
        ("bytes= 2-5 ,", Some(2..6)),
        ("bytes=5-", Some(5..10)),
        ("bytes=5-99", Some(5..10)),
        ("bytes=0-18446744073709551615", Some(0..10)),
        ("bytes=0-99999999999999999999999", Some(0..10)),
        ("bytes=-3", Some(7..10)),
        ("bytes=-99", Some(0..10)),
        ("bytes=10-", None),
        ("bytes=10-20", None),
        ("bytes=99999999999999999999999-", None),
        ("bytes=-0", None),
    ];
    for (value, expected) in cases {
        let plan = get(&entry, &[("range", value)]);
        match expected {
            Some(range) => {
                assert_eq!(plan.status, StatusCode::PARTIAL_CONTENT, "{value}");
                assert_eq!(plan.headers["content-range"], format!("bytes {}-{}/10", range.start, range.end - 1));
                assert_eq!(plan.headers["content-length"], (range.end - range.start).to_string());
                assert_eq!(plan.headers["content-type"], "text/plain;charset=utf-8");
                assert_eq!(plan.body, range, "{value}");
            }
            None => {
                assert_eq!(plan.status, StatusCode::RANGE_NOT_SATISFIABLE, "{value}");
                assert_eq!(plan.headers["content-range"], "bytes */10");
                assert_eq!(plan.headers["content-length"], "0");
                assert_eq!(plan.body, 0..0);
            }
        }
    }
}

#[test]
fn ranges_that_are_ignored() {
    let entry = ten();
    for value in [
        "bytes=0-1,3-4",
        "bytes=5-2",
        "bytes=",
        "bytes=-",
        "bytes=,",
        "bytes=a-b",
        "bytes=1",
        "bytes",
        "",
        "=0-1",
        "items=0-1",
        "bytes=+1-2",
        "bytes=1 - 2",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes =0-1",
        "0-1",
    ] {
        let plan = get(&entry, &[("range", value)]);
        assert_eq!((plan.status, plan.body), (StatusCode::OK, 0..10), "{value:?}");
    }
    assert_eq!(status(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]), 200);
}

#[test]
fn ranges_of_an_empty_file() {
    let (_tmp, mut files) = tree();
    let entry = files.lookup(now(), "empty.bin").unwrap();
    assert!(entry.is_empty());
    for (value, expected) in [("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-0", 416), ("bytes=-5", 200)] {
        let plan = get(&entry, &[("range", value)]);
        assert_eq!(plan.status, expected, "{value}");
        assert_eq!(plan.body, 0..0);
    }
}
