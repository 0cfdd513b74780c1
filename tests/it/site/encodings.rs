//! Content codings.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{get, write};
use crate::support::client::Answer;
use crate::support::server::Server;

const PLAIN: &str = "text that repeats, ";

fn decoded(answer: &Answer) -> Vec<u8> {
    let mut decoded = Vec::new();
    match answer.field("content-encoding") {
        Some("gzip") => {
            flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut decoded).unwrap();
        }
        Some("br") => brotli::BrotliDecompress(&mut &answer.body[..], &mut decoded).unwrap(),
        other => assert_eq!(other, None),
    }
    if answer.field("content-encoding").is_none() {
        decoded.clone_from(&answer.body);
    }
    decoded
}

#[test]
fn texts_are_compressed_when_a_client_asks() {
    let text = PLAIN.repeat(1000);
    let fill = |root: &Path| {
        write(root, &[("a.txt", &text), ("a.png", &text), ("short.txt", "x"), ("long.txt", &PLAIN.repeat(250_000))]);
        fs::write(root.join("noise.txt"), crate::support::payload(251)).unwrap();
    };
    let server = Server::site(fill, &[]);
    let plain = get(&server, "/a.txt", &[]);
    assert_eq!((plain.field("content-encoding"), plain.field("vary")), (None, Some("accept-encoding")));
    assert_eq!((plain.text(), plain.field("accept-ranges")), (&*text, Some("bytes")));
    let etag = plain.field("etag").unwrap();
    for (accepted, coding) in [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=0.5, gzip;q=0.6", "gzip"),
        ("*", "br"),
        ("zstd, gzip;q=0.1", "gzip"),
    ] {
        let accept = format!("accept-encoding {accepted}");
        // The second one is remembered.
        for _ in 0..2 {
            let answer = get(&server, "/a.txt", &[&accept]);
            assert_eq!((answer.status(), answer.field("content-encoding")), (200, Some(coding)), "{accepted}");
            assert_eq!(decoded(&answer), text.as_bytes());
            let own = format!("W/{}-{coding}\"", etag.trim_end_matches('"'));
            assert_eq!(answer.field("etag"), Some(&*own));
            assert_eq!((answer.field("vary"), answer.field("accept-ranges")), (Some("accept-encoding"), None));
            assert_eq!(answer.field("content-type"), Some("text/plain;charset=utf-8"));
            assert_eq!(answer.field("content-length"), Some(&*answer.body.len().to_string()));
            assert!(answer.body.len() < 200);
            let again = get(&server, "/a.txt", &[&accept, &format!("if-none-match {own}")]);
            assert_eq!((again.status(), again.text()), (304, ""));
            assert_eq!((again.field("etag"), again.field("vary")), (Some(&*own), Some("accept-encoding")));
        }
    }
    for accepted in ["identity", "deflate", "gzip;q=0", "gzip;q=0.2, identity;q=0.3", ""] {
        let answer = get(&server, "/a.txt", &[&format!("accept-encoding {accepted}")]);
        assert_eq!((answer.field("content-encoding"), answer.text()), (None, &*text), "{accepted}");
    }
    // A part is one of the file's own bytes.
    let part = get(&server, "/a.txt", &["accept-encoding gzip", "range bytes=5-8"]);
    assert_eq!((part.status(), part.text(), part.field("content-encoding")), (206, "that", None));
    // Pictures, and what is too short or too long.
    for path in ["/a.png", "/short.txt", "/long.txt"] {
        let answer = get(&server, path, &["accept-encoding gzip, br"]);
        assert_eq!((answer.field("content-encoding"), answer.field("vary")), (None, None), "{path}");
    }
}

#[test]
fn files_that_were_compressed_in_advance() {
    let fill = |root: &Path| {
        write(root, &[("a.js", "plain"), ("a.js.gz", "gzip's"), ("a.js.br", "brotli's"), ("a.js.zst", "zstd's")]);
        write(root, &[("only.js", "plain"), ("only.js.zst", "zstd's"), ("old.js", "new"), ("old.js.gz", "old")]);
        write(root, &[("index.html", "plain"), ("index.html.br", "brotli's"), ("alone.js.gz", "alone")]);
        let old = fs::File::options().write(true).open(root.join("old.js.gz")).unwrap();
        old.set_modified(SystemTime::now() - Duration::from_secs(10)).unwrap();
    };
    let server = Server::site(fill, &[]);
    for (path, accepted, text, coding) in [
        ("/a.js", "gzip", "gzip's", Some("gzip")),
        ("/a.js", "gzip, br, zstd", "brotli's", Some("br")),
        ("/a.js", "gzip, zstd, br;q=0.9", "zstd's", Some("zstd")),
        ("/a.js", "x", "plain", None),
        ("/only.js", "zstd, gzip", "zstd's", Some("zstd")),
        ("/only.js", "gzip", "plain", None),
        ("/", "br", "brotli's", Some("br")),
    ] {
        let answer = get(&server, path, &[&format!("accept-encoding {accepted}")]);
        assert_eq!((answer.text(), answer.field("content-encoding")), (text, coding), "{path} {accepted}");
        assert_eq!(answer.field("vary"), Some("accept-encoding"));
        let kind = if path == "/" { "text/html; charset=utf-8" } else { "text/javascript; charset=utf-8" };
        assert_eq!(answer.field("content-type"), Some(kind));
    }
    // Its tag is strong, and a part is one of the encoded bytes.
    let whole = get(&server, "/a.js", &["accept-encoding gzip"]);
    let etag = whole.field("etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with("-gzip\""), "{etag}");
    let part = get(&server, "/a.js", &["accept-encoding gzip", "range bytes=0-3", &format!("if-range {etag}")]);
    assert_eq!((part.status(), part.text(), part.field("content-encoding")), (206, "gzip", Some("gzip")));
    // Older than the file.
    let old = get(&server, "/old.js", &["accept-encoding gzip"]);
    assert_eq!((old.text(), old.field("content-encoding")), ("new", None));
    // By their own names, they are files like others.
    let own = get(&server, "/a.js.gz", &["accept-encoding gzip"]);
    assert_eq!((own.text(), own.field("content-type")), ("gzip's", Some("application/gzip")));
    assert_eq!(own.field("content-encoding"), None);
    assert_eq!(get(&server, "/alone.js", &["accept-encoding gzip"]).status(), 404);
}

#[test]
fn no_compression() {
    let fill = |root: &Path| write(root, &[("a.txt", &PLAIN.repeat(100)), ("b.txt", "b"), ("b.txt.gz", "gzip's")]);
    let server = Server::site(fill, &["--no-compression"]);
    for path in ["/a.txt", "/b.txt", "/"] {
        let answer = get(&server, path, &["accept-encoding gzip, br"]);
        let expected = (200, None, None);
        assert_eq!((answer.status(), answer.field("content-encoding"), answer.field("vary")), expected, "{path}");
    }
}
