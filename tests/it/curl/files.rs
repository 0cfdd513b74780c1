//! Files of the directory that is served, below `/files/`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::support::curl::curl;
use crate::support::server::Server;
use crate::support::{payload, sha256};

const NOT_FOUND: &str = "404 Not Found\n";
const BIG: usize = 1_000_003;

fn fill(root: &Path) {
    let write = |name: &str, content: &[u8]| fs::write(root.join(name), content).unwrap();
    write("ten.txt", b"0123456789");
    write("empty.bin", b"");
    write("big.bin", &payload(BIG));
    write("a b%.json", b"{}");
    write(".hidden", b"secret");
    write("a\\b.txt", b"backslash");
    fs::write(root.join(OsStr::from_bytes(b"caf\xe9.txt")), b"latin-1").unwrap();
    fs::create_dir(root.join(".well-known")).unwrap();
    write(".well-known/security.txt", b"Contact: mailto:a@example.com");
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    write("dir/index.html", b"<p>index</p>");
    write("dir/sub/page.html", b"<p>page</p>");
    fs::create_dir(root.join(".git")).unwrap();
    write(".git/config", b"secret");
    fs::create_dir(root.join("bare")).unwrap();
    fs::write(root.join("../outside.txt"), b"secret").unwrap();
    symlink("../outside.txt", root.join("link-out.txt")).unwrap();
    symlink("..", root.join("dir-out")).unwrap();
    symlink("/etc", root.join("absolute-out")).unwrap();
    symlink("ten.txt", root.join("link-in.txt")).unwrap();
    // A whole second in the past, as HTTP dates have no fractions.
    let file = fs::File::options().write(true).open(root.join("ten.txt")).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
}

fn server() -> Server {
    Server::with_files(fill, &[])
}

#[test]
fn whole_files() {
    let server = server();
    for (path, content, content_type) in [
        ("ten.txt", &b"0123456789"[..], "text/plain;charset=utf-8"),
        ("link-in.txt", b"0123456789", "text/plain;charset=utf-8"),
        ("empty.bin", b"", "application/octet-stream"),
        ("a%20b%25.json", b"{}", "application/json"),
        ("%74en.txt", b"0123456789", "text/plain;charset=utf-8"),
        ("dir%2Findex.html", b"<p>index</p>", "text/html; charset=utf-8"),
        ("dir/", b"<p>index</p>", "text/html; charset=utf-8"),
        ("./ten.txt", b"0123456789", "text/plain;charset=utf-8"),
        ("dir/%2e./ten.txt", b"0123456789", "text/plain;charset=utf-8"),
        ("../f%69les/dir/", b"<p>index</p>", "text/html; charset=utf-8"),
        // M9
        ("a%5Cb.txt", b"backslash", "text/plain;charset=utf-8"),
        ("a\\b.txt", b"backslash", "text/plain;charset=utf-8"),
        ("caf%E9.txt", b"latin-1", "text/plain;charset=utf-8"),
        (".well-known/security.txt", b"Contact: mailto:a@example.com", "text/plain;charset=utf-8"),
        ("%2Ewell-known/security.txt", b"Contact: mailto:a@example.com", "text/plain;charset=utf-8"),
        ("dir/sub/page.html?x=1", b"<p>page</p>", "text/html; charset=utf-8"),
    ] {
        let reply = curl(&server, &format!("/files/{path}"), &[]);
        assert_eq!((reply.status, &reply.body[..]), (200, content), "{path}");
        assert_eq!(reply.field("content-type"), Some(content_type), "{path}");
        assert_eq!(reply.field("content-length"), Some(&*content.len().to_string()), "{path}");
        assert_eq!(reply.field("accept-ranges"), Some("bytes"), "{path}");
        let head = curl(&server, &format!("/files/{path}"), &["--head"]);
        assert_eq!(head.field("content-length"), reply.field("content-length"), "{path}");
    }
    let big = curl(&server, "/files/big.bin", &[]);
    assert_eq!((big.body.len(), sha256(&big.body)), (BIG, sha256(&payload(BIG))));
    assert_eq!(curl(&server, "/files/ten.txt", &[]).field("last-modified"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
}

#[test]
fn ranges() {
    let server = server();
    for (range, status, content_range, body) in [
        ("bytes=0-0", 206, Some("bytes 0-0/10"), "0"),
        ("bytes=2-5", 206, Some("bytes 2-5/10"), "2345"),
        ("bytes=7-", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=7-100", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=-100", 206, Some("bytes 0-9/10"), "0123456789"),
        ("bytes=10-", 416, Some("bytes */10"), ""),
        ("bytes=20-30", 416, Some("bytes */10"), ""),
        ("bytes=-0", 416, Some("bytes */10"), ""),
        // What RFC 9110 section 14.2 lets a server ignore.
        ("bytes=0-1,3-4", 200, None, "0123456789"),
        ("bytes=5-2", 200, None, "0123456789"),
        ("lines=1-2", 200, None, "0123456789"),
    ] {
        let reply = curl(&server, "/files/ten.txt", &["-H", &format!("range: {range}")]);
        assert_eq!((reply.status, reply.text()), (status, body), "{range}");
        assert_eq!(reply.field("content-range"), content_range, "{range}");
        assert_eq!(reply.field("content-length"), Some(&*body.len().to_string()), "{range}");
    }
    // Across the pieces in which a large file is read.
    let reply = curl(&server, "/files/big.bin", &["-r", "60000-200000"]);
    assert_eq!((reply.status, reply.field("content-range")), (206, Some("bytes 60000-200000/1000003")));
    assert!(reply.body == payload(BIG)[60_000..=200_000], "the bytes of the range");
    let head = curl(&server, "/files/ten.txt", &["--head", "-H", "range: bytes=2-5"]);
    assert_eq!((head.status, head.field("content-length")), (200, Some("10")), "a range is for GET only");
}

#[test]
fn conditional_requests() {
    let server = server();
    let get = |field: String| curl(&server, "/files/ten.txt", &["-H", &field]);
    let first = curl(&server, "/files/ten.txt", &[]);
    let (etag, modified) = (first.field("etag").unwrap(), first.field("last-modified").unwrap());
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    for field in [
        format!("if-none-match: {etag}"),
        format!("if-none-match: \"other\", W/{etag}"),
        "if-none-match: *".to_owned(),
        format!("if-modified-since: {modified}"),
        "if-modified-since: Tue, 14 Nov 2023 22:13:21 GMT".to_owned(),
    ] {
        let reply = get(field.clone());
        assert_eq!((reply.status, reply.body.len(), reply.field("etag")), (304, 0, Some(etag)), "{field}");
    }
    for field in
        ["if-none-match: \"other\"", "if-modified-since: Tue, 14 Nov 2023 22:13:19 GMT", "if-modified-since: x"]
    {
        assert_eq!(get(field.to_owned()).text(), "0123456789", "{field}");
    }
    for field in ["if-match: \"other\"", "if-unmodified-since: Tue, 14 Nov 2023 22:13:19 GMT"] {
        assert_eq!(get(field.to_owned()).status, 412, "{field}");
    }
    let ranged = |validator: &str| {
        curl(&server, "/files/ten.txt", &["-r", "0-3", "-H", &format!("if-range: {validator}")]).text().to_owned()
    };
    assert_eq!((ranged(etag), ranged("\"other\"")), ("0123".to_owned(), "0123456789".to_owned()));
    // Another file has another tag, and a changed one too.
    assert_ne!(curl(&server, "/files/big.bin", &[]).field("etag"), Some(etag));
    fs::write(server.dir().join("root/ten.txt"), b"changed").unwrap();
    crate::support::wait_for("the changed file", crate::support::DEADLINE, || {
        let reply = get(format!("if-none-match: {etag}"));
        (reply.status == 200).then(|| assert_eq!(reply.text(), "changed"))
    });
}

#[test]
fn nothing_outside_of_the_root_and_nothing_hidden() {
    let server = server();
    for path in [
        "../outside.txt",
        "../../outside.txt",
        "..%2foutside.txt",
        "..%2Foutside.txt",
        "%2e%2e/outside.txt",
        "%2e%2e%2foutside.txt",
        "dir/../../outside.txt",
        "dir/..%2f..%2foutside.txt",
        "..%5coutside.txt",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "link-out.txt",
        "dir-out/outside.txt",
        "dir-out/",
        "absolute-out/passwd",
        ".hidden",
        "%2ehidden",
        ".git/config",
        "dir/.hidden",
        "ten.txt/",
        "ten.txt%00",
        "dir//index.html",
        "missing",
        "%ff",
    ] {
        let reply = curl(&server, &format!("/files/{path}"), &[]);
        assert_eq!((reply.status, reply.text()), (404, NOT_FOUND), "{path}");
    }
}

#[test]
fn a_directory_is_redirected_to_its_slash() {
    let server = server();
    for (path, location) in [
        ("/files/dir", "/files/dir/"),
        ("/files/dir?x=1&y", "/files/dir/?x=1&y"),
        ("/files/dir/sub", "/files/dir/sub/"),
        ("/f%69les/dir", "/files/dir/"),
        // Not to another host.
        ("//evil.example/../../files/dir", "/files/dir/"),
    ] {
        let reply = curl(&server, path, &[]);
        assert_eq!((reply.status, reply.field("location")), (308, Some(location)));
    }
    assert_eq!(curl(&server, "/files/dir", &["-L"]).text(), "<p>index</p>");
}

#[test]
fn no_root_no_files() {
    let server = Server::start(&[]);
    assert_eq!(curl(&server, "/files/cert.pem", &[]).status, 404);
}

#[test]
fn files_beside_the_paths_of_the_demo() {
    let server = Server::with_files(fill, &[]);
    for (path, body) in [("/ten.txt", "0123456789"), ("/files/ten.txt", "0123456789"), ("/", "Hello, HTTP/3!\n")] {
        assert_eq!(curl(&server, path, &[]).text(), body, "{path}");
    }
    for path in ["/link-out.txt", "/.hidden"] {
        assert_eq!(curl(&server, path, &[]).text(), NOT_FOUND, "{path}");
    }
}
