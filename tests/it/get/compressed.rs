//! `--compressed`, beside curl's.

use super::as_curl::both;
use super::get;
use super::servers::aioquic;
use crate::support::payload;

/// `hello` in each coding.
const CODED: [(&str, &str); 6] = [
    ("gzip", "1f8b0800000000000203cb48cdc9c9070086a6103605000000"),
    ("x-gzip", "1f8b0800000000000203cb48cdc9c9070086a6103605000000"),
    ("deflate", "789ccb48cdc9c90700062c0215"),
    ("deflate", "cb48cdc9c90700"),
    ("br", "0b028068656c6c6f03"),
    ("zstd", "28b52ffd200529000068656c6c6f"),
];

#[test]
fn bodies_are_decoded() {
    let server = aioquic(&[]);
    let url = |path: &str| server.url(path);
    let format = "\n%{http_code} %{size_download} %{size_delivered} %header{content-encoding}";
    for (coding, body) in CODED {
        let path = format!("/coded/{coding}/{body}");
        both(&["--compressed", "-w", format, &url(&path)], 0);
        // Without the option, nothing is decoded.
        both(&["-w", format, &url(&path)], 0);
        assert_eq!(get(&["-k", "--compressed", &url(&path)]).text(), "hello", "{coding}");
        let cut = format!("/coded/{coding}/{}", &body[..body.len() - 6]);
        let ended = get(&["-k", "--compressed", "-o", "file", &url(&cut)]);
        assert_eq!(ended.code, 61, "{ended:?}");
        assert!(ended.err.contains(": the body cannot be decoded: "), "{ended:?}");
    }
    both(&["--compressed", "-A", "x", &url("/fields")], 0);
    both(&["--compressed", "-I", "-o", "head", &url("/")], 0);
    both(&["--compressed", "-w", format, &url("/coded/identity/68656c6c6f")], 0);
    both(&["--compressed", "-o", "file", &url("/coded/snappy/68656c6c6f")], 61);
    both(&["--compressed", "-o", "file", &url("/coded/gzip/68656c6c6f")], 61);
    let unknown = "/coded/snappy/68656c6c6f";
    let why =
        "the body cannot be decoded: the coding 'snappy' is not known (deflate, gzip, br, zstd are) (--compressed)";
    get(&["-k", "--compressed", &url(unknown)]).assert_failed(61, &format!("{}: {why}", url(unknown)));
    // More than any window holds.
    let zipped = get(&["-k", "--compressed", "-o", "file", &url("/zipped/20000000")]);
    assert!(zipped.file("file") == payload(20_000_000), "{zipped:?}");
    let bomb = get(&["-k", "--compressed", "--max-filesize", "1M", "-o", "file", &url("/zipped/20000000")]);
    assert_eq!(bomb.code, 63, "{bomb:?}");
}
