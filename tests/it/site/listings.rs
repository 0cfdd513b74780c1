//! Directories without an index.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::{get, request, write};
use crate::support::server::Server;

fn names(server: &Server, path: &str) -> Vec<String> {
    let listing: Value = serde_json::from_slice(&get(server, path, &[]).body).unwrap();
    let entries = listing["entries"].as_array().unwrap().iter();
    entries.map(|entry| entry["href"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_page_and_json() {
    let fill = |root: &Path| {
        write(root, &[("b<i>.txt", "12345"), ("dir/x", ""), (".hidden", "secret"), ("big", &"x".repeat(2000))]);
        fs::write(root.join(OsStr::from_bytes(b"caf\xe9:1")), "x").unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        symlink("dir", root.join("link")).unwrap();
    };
    let server = Server::site(fill, &[]);
    let page = get(&server, "/", &[]);
    assert_eq!((page.status(), page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'";
    assert_eq!(page.field("content-security-policy"), Some(policy));
    assert_eq!(page.field("cache-control"), Some("no-cache"));
    for part in ["<a href=\"b%3Ci%3E.txt\">b&lt;i&gt;.txt</a>", "<a href=\"caf%E9%3A1\">caf\u{fffd}:1</a>", ">5 B<"] {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    for secret in ["hidden", "etc"] {
        assert!(!page.text().contains(secret), "{}", page.text());
    }
    assert_eq!(get(&server, "/caf%E9%3A1", &[]).text(), "x");
    let head = request(&server, "HEAD", "/", &[]);
    assert_eq!((head.field("content-length"), head.text()), (Some(page.body.len().to_string().as_str()), ""));

    assert_eq!(names(&server, "/?json"), ["dir/", "link/", "b%3Ci%3E.txt", "big", "caf%E9%3A1"]);
    assert_eq!(names(&server, "/?json&sort=size&order=desc"), ["dir/", "link/", "big", "b%3Ci%3E.txt", "caf%E9%3A1"]);
    let json = get(&server, "/dir/?json", &[]);
    assert_eq!(json.field("content-type"), Some("application/json"));
    let listing: Value = serde_json::from_slice(&json.body).unwrap();
    let modified = &listing["entries"][0]["modified"];
    assert!(modified.as_str().is_some_and(|time| time.len() == 20 && time.ends_with('Z')), "{modified}");
    let entry = json!({ "name": "x", "href": "x", "type": "file", "size": 0, "modified": modified });
    assert_eq!(listing, json!({ "total": 1, "entries": [entry] }));
    assert!(get(&server, "/dir/", &[]).text().contains("<a href=\"../\">../</a>"));
    assert_eq!(get(&server, "/dir", &[]).field("location"), Some("/dir/"));
    for path in ["/etc/", "/.git/", "/nothing/", "/big/", "//", "/dir//"] {
        assert_eq!(get(&server, path, &[]).status(), 404, "{path}");
    }
}

#[test]
fn a_page_is_compressed() {
    let fill = |root: &Path| (0..100).for_each(|n| fs::write(root.join(format!("file-{n}")), "").unwrap());
    let server = Server::site(fill, &[]);
    let (plain, packed) = (get(&server, "/", &[]), get(&server, "/", &["accept-encoding br"]));
    assert_eq!((plain.field("content-encoding"), plain.field("vary")), (None, Some("accept-encoding")));
    assert_eq!((packed.field("content-encoding"), packed.field("vary")), (Some("br"), Some("accept-encoding")));
    let mut unpacked = Vec::new();
    brotli::BrotliDecompress(&mut &packed.body[..], &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    assert!(packed.body.len() * 5 < plain.body.len());
}

#[test]
fn many_entries_are_counted_and_the_first_are_shown() {
    let fill = |root: &Path| (0..2500).for_each(|n| fs::write(root.join(format!("{n:04}")), "").unwrap());
    let server = Server::site(fill, &[]);
    let page = get(&server, "/", &[]);
    assert_eq!(page.text().matches("<tr><td>").count(), 2000);
    assert!(page.text().ends_with("<p>The first 2000 of 2500 entries, by name.</p>\n"));
    let shown = names(&server, "/?json&order=desc");
    assert_eq!((shown.len(), &*shown[0], &*shown[1999]), (2000, "1999", "0000"));
}

#[test]
fn no_listing() {
    let server = Server::site(|root| write(root, &[("dir/x", "x")]), &["--no-listing"]);
    for path in ["/", "/dir/", "/?json"] {
        assert_eq!(get(&server, path, &[]).status(), 404, "{path}");
    }
    assert_eq!(get(&server, "/dir/x", &[]).text(), "x");
}
