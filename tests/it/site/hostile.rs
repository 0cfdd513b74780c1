//! Paths that must lead nowhere.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{get, write};
use crate::support::client::{self, Client};
use crate::support::server::Server;

const SECRET: &str = "a secret outside of the directory";

fn fill(root: &Path) {
    write(root, &[("ten.txt", "0123456789"), ("dir/inner.txt", "inner"), (".git/config", SECRET), (".env", SECRET)]);
    write(root, &[("dir/.htpasswd", SECRET), ("dir/.well-known/x", SECRET), (".well-known/.hidden", SECRET)]);
    fs::write(root.join("../secret.txt"), SECRET).unwrap();
    symlink("../secret.txt", root.join("file-out")).unwrap();
    symlink("..", root.join("dir-out")).unwrap();
    symlink("/", root.join("root-out")).unwrap();
    symlink("dir-out/secret.txt", root.join("twice-out")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    fs::create_dir(root.join(OsStr::from_bytes(b"\\evil.example"))).unwrap();
    for name in [&b"caf\xe9"[..], b"a%2fb", b"new\nline", b"q?x", b"hash#x", b"+", b" ", b"..."] {
        fs::write(root.join(OsStr::from_bytes(name)), "odd").unwrap();
    }
}

#[test]
fn no_path_leads_out() {
    let server = Server::site(fill, &[]);
    let mut client = Client::connect(server.addr());
    let long = format!("/{}", "a/".repeat(3000));
    let name = format!("/{}", "x".repeat(256));
    let paths = [
        "/../secret.txt",
        "/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E%2Fsecret.txt",
        "/..%2fsecret.txt",
        "/..%252fsecret.txt",
        "/%252e%252e/secret.txt",
        "/dir/../../secret.txt",
        "/dir/%2e%2e/%2e%2e/secret.txt",
        "/dir/..%2f..%2fsecret.txt",
        "/./../secret.txt",
        "/.../secret.txt",
        "/..;/secret.txt",
        "/..%00/secret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "/%5c..%5csecret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/%e0%80%ae%e0%80%ae/secret.txt",
        "/%u002e%u002e/secret.txt",
        "//secret.txt",
        "//../secret.txt",
        "/%2fetc%2fpasswd",
        "//etc/passwd",
        "/%00",
        "/ten.txt%00",
        "/ten.txt%00.html",
        "/ten.txt/",
        "/ten.txt/..",
        "/ten.txt/../../secret.txt",
        "/ten.txt%2f..%2f..%2fsecret.txt",
        "/dir//inner.txt",
        "/dir/./%2e%2e%2f%2e%2e/secret.txt",
        "/file-out",
        "/dir-out",
        "/dir-out/",
        "/dir-out/secret.txt",
        "/dir-out/root/ten.txt",
        "/root-out/etc/passwd",
        "/root-out/",
        "/twice-out",
        "/loop",
        "/loop/",
        "/fifo",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git/",
        "/.git",
        "/dir/.htpasswd",
        "/dir/.well-known/x",
        "/.well-known/.hidden",
        "/.well-known/../.env",
        "/.well-known%2f..%2f.env",
        "/proc/self/environ",
        "/C:/x",
        "/file:///etc/passwd",
        "/%ff",
        "/a/b",
        &long,
        &name,
    ];
    for path in paths {
        let id = client.get(path);
        let answer = client.answer(id);
        let shown = &path[..path.len().min(60)];
        // What normalises to a path of the site is one of it.
        let is_site = ["/dir/", "/"].contains(&path) || path.ends_with("/..");
        assert!([400, 404].contains(&answer.status()) || is_site, "{shown}: {}", answer.status());
        assert!(!String::from_utf8_lossy(&answer.body).contains(SECRET), "{shown}");
    }
    assert_eq!(get(&server, "/ten.txt", &[]).text(), "0123456789");
    let log = server.log();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

#[test]
fn odd_names_are_files_like_others() {
    let server = Server::site(fill, &[]);
    for path in ["/caf%E9", "/a%252fb", "/new%0Aline", "/q%3Fx", "/hash%23x", "/+", "/%2B", "/%20"] {
        let answer = get(&server, path, &[]);
        assert_eq!((answer.status(), answer.text()), (200, "odd"), "{path}");
    }
    assert_eq!(get(&server, "/...", &[]).status(), 404, "hidden, as it begins with a dot");
    // Browsers take a backslash for a slash.
    for path in ["/\\evil.example", "/%5Cevil.example", "/%5cevil.example?x"] {
        let answer = get(&server, path, &[]);
        let location = answer.field("location").unwrap();
        assert!(answer.status() == 308 && location.starts_with("/%5Cevil.example/"), "{path}: {location}");
    }
    // Not to another host.
    for path in ["//evil.example", "//evil.example/", "//evil.example/..", "///dir", "//dir"] {
        let answer = get(&server, path, &[]);
        assert_eq!(answer.field("location"), None, "{path}: {}", answer.status());
    }
}

#[test]
fn requests_for_many_files_that_are_not_there_leave_nothing() {
    let server = Server::site(fill, &[]);
    let mut client = Client::connect(server.addr());
    for n in 0..500 {
        let ids: Vec<u64> = (0..20).map(|m| client.request(&client::get(&format!("/{n}/{m}")), true)).collect();
        for id in ids {
            assert_eq!(client.answer(id).status(), 404);
        }
    }
    assert!(server.memory_kib("VmRSS") < 150_000, "{} KiB", server.memory_kib("VmRSS"));
}
