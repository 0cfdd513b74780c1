//! `app/files` and `app/static_files`: paths and ranges, on a small directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderName, Method, StatusCode};

use super::input::Input;
use crate::app::files::{FileRoot, plan};
use crate::config::{HeadLimits, RequestLimits};
use crate::h3::{Request, normalize, validate_request};
use crate::net;
use crate::transport::Header;
use crate::transport::table::{ConnId, StreamId};

/// The public files below the root, by content.
const PUBLIC: [(&str, &[u8]); 7] = [
    ("index.html", b"root"),
    ("a.txt", b"text"),
    ("empty", b""),
    ("dir/index.html", b"directory"),
    ("dir/b c", b"blank"),
    ("dir/deep/\u{e4}", b"deep"),
    (".well-known/a", b"known"),
];
/// Content that must never be served: outside of the root, or hidden in it.
const SECRET: &[u8] = b"secret";

struct Tree {
    root: FileRoot,
    /// Removed at the end.
    _dir: tempfile::TempDir,
}

impl Tree {
    fn new() -> std::io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("root");
        for (name, content) in PUBLIC {
            write(&root.join(name), content)?;
        }
        write(&dir.path().join("secret"), SECRET)?;
        write(&root.join(".hidden"), SECRET)?;
        write(&root.join(".git/config"), SECRET)?;
        std::os::unix::fs::symlink("../secret", root.join("link"))?;
        std::os::unix::fs::symlink("..", root.join("up"))?;
        Ok(Tree { root: FileRoot::open(&root)?, _dir: dir })
    }
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(path, content)
}

thread_local! {
    static TREE: std::cell::RefCell<Tree> = std::cell::RefCell::new(Tree::new().expect("a temporary directory"));
}

/// A request's target, percent-decoded, looked up in a directory: nothing outside of it or hidden in it is found.
pub fn paths(input: &[u8]) {
    let target = [b"/", input].concat();
    let fields: [(&[u8], &[u8]); 4] =
        [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", &target)];
    let list = fields.map(|(name, value)| Header::new(name, value));
    let Ok(head) = validate_request(&list, &HeadLimits::from(&RequestLimits::default()), false) else { return };
    let id = StreamId { conn: ConnId { index: 0, generation: 0 }, id: 0 };
    let mut request = Request::new(head, id, ([192, 0, 2, 1], 1).into(), false, false);
    let normal = normalize(request.path()).into_owned();
    assert_eq!(normalize(&normal), normal, "a normal path is its own normal form");
    assert!(normal.starts_with('/') && normal.is_ascii() && !normal.contains(['"', '<', ' ']));
    assert!(normal.split('/').all(|segment| segment != "." && segment != ".."), "{normal:?}");
    request.set_route(Arc::from("/*"), Some(normal.clone()), vec![(Arc::from("*"), 1..normal.len())]);
    let _ = request.query_param("q");
    let Some(path) = request.param_bytes("*") else { return };
    assert!(path.len() < normal.len(), "decoding never lengthens");
    TREE.with_borrow_mut(|tree| {
        let Ok(entry) = tree.root.lookup(net::now(), &path) else { return };
        let content = entry.read_at(0, 100).expect("a file that is there");
        assert_ne!(content, SECRET, "{path:?}");
        let mut name = String::from_utf8(path.into_owned()).expect("the names of all files are UTF-8");
        if name.is_empty() || name.ends_with('/') {
            name.push_str("index.html");
        }
        let public: BTreeMap<_, _> = PUBLIC.into();
        assert_eq!(public.get(&*name), Some(&&content[..]), "{name:?} has one spelling");
        assert!(tree.root.cached() <= PUBLIC.len());
    });
}

/// Conditional and range requests: status, fields and bytes of a response agree (RFC 9110 sections 13 and 14).
pub fn ranges(input: &[u8]) {
    const FIELDS: [HeaderName; 6] = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
    let mut input = Input::new(input);
    let (name, _) = input.choose(&PUBLIC);
    let method = [Method::GET, Method::HEAD, Method::POST][usize::from(input.byte()) % 3].clone();
    let entry = TREE.with_borrow_mut(|tree| tree.root.lookup(net::now(), name)).expect("a file that is there");
    let mut headers = HeaderMap::new();
    while !input.is_empty() && headers.len() < 16 {
        let field = &FIELDS[usize::from(input.byte()) % FIELDS.len()];
        let value = match input.byte() {
            0 => entry.etag().clone(),
            1 => HeaderValue::from_static("*"),
            2 => HeaderValue::from_static("Fri, 31 Dec 1999 23:59:59 GMT"),
            3 => HeaderValue::from_static("Thu, 01 Jan 2099 00:00:00 GMT"),
            len => match HeaderValue::from_bytes(input.take(len.into())) {
                Ok(value) => value,
                Err(_) => continue,
            },
        };
        headers.append(field, value);
    }
    let plan = plan(&entry, &method, &headers);
    let number = |name| plan.headers.get(name).map(|v: &HeaderValue| v.to_str().expect("digits").parse::<u64>());
    let length = number(CONTENT_LENGTH).map(|n| n.expect("a number"));
    let range = plan.headers.get(CONTENT_RANGE).map(|v| v.to_str().expect("text").to_owned());
    let (len, body) = (entry.len(), plan.body.clone());
    assert!(body.start <= body.end && body.end <= len);
    assert!(method == Method::GET || body.is_empty());
    match plan.status {
        StatusCode::OK => {
            assert_eq!((length, range), (Some(len), None));
            assert!(method != Method::GET || body == (0..len));
        }
        StatusCode::PARTIAL_CONTENT => {
            assert!(method == Method::GET && !body.is_empty() && headers.contains_key(RANGE));
            assert_eq!(length, Some(body.end - body.start));
            assert_eq!(range, Some(format!("bytes {}-{}/{len}", body.start, body.end - 1)));
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            assert!(method == Method::GET && body.is_empty());
            assert_eq!((length, range), (Some(0), Some(format!("bytes */{len}"))));
        }
        StatusCode::NOT_MODIFIED => {
            assert!(method != Method::POST && body.is_empty());
            assert_eq!((length, range), (None, None));
        }
        StatusCode::PRECONDITION_FAILED => assert_eq!((length, range, body), (Some(0), None, 0..0)),
        status => panic!("status {status}"),
    }
}
