use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Method, StatusCode};
use tempfile::TempDir;

use super::{FileCacheConfig, FileRoot, LookupError, plan};

mod conditional;

/// The only use of the clock.
fn now() -> Instant {
    crate::net::now()
}

fn tree() -> (TempDir, FileRoot) {
    let tmp = TempDir::new().unwrap();
    let root = tmp.path().join("root");
    fs::create_dir_all(root.join("docs/empty")).unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::write(tmp.path().join("secret.txt"), "secret").unwrap();
    fs::write(root.join("index.html"), "<p>hi").unwrap();
    fs::write(root.join("docs/index.html"), "<p>docs").unwrap();
    fs::write(root.join(".git/config"), "hidden").unwrap();
    fs::write(root.join(".env"), "hidden").unwrap();
    fs::write(root.join("ten.txt"), "0123456789").unwrap();
    fs::write(root.join("empty.bin"), "").unwrap();
    let files = FileRoot::open(&root).unwrap();
    (tmp, files)
}

fn body(files: &mut FileRoot, now: Instant, path: &str) -> String {
    let entry = files.lookup(now, path).unwrap_or_else(|e| panic!("{path}: {e}"));
    String::from_utf8(entry.read_at(0, 1 << 20).unwrap().to_vec()).unwrap()
}

#[track_caller]
fn assert_not_found(files: &mut FileRoot, path: &str) {
    let result = files.lookup(now(), path);
    assert!(matches!(result, Err(LookupError::NotFound)), "{path:?}: {result:?}");
}

fn set_mtime(path: &Path, time: SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn directories_have_an_index_behind_a_slash() {
    let (_tmp, mut files) = tree();
    let now = now();
    assert_eq!(body(&mut files, now, ""), "<p>hi");
    assert_eq!(body(&mut files, now, "index.html"), "<p>hi");
    assert_eq!(body(&mut files, now, "docs/"), "<p>docs");
    assert!(matches!(files.lookup(now, "docs"), Err(LookupError::RedirectToSlash)));
    assert!(matches!(files.lookup(now, "docs/empty"), Err(LookupError::RedirectToSlash)));
    for path in ["docs/empty/", "ten.txt/", "ten.txt/x", "nothing"] {
        assert_not_found(&mut files, path);
    }
    assert_eq!(files.cached(), 2, "one spelling, one entry, and no failures kept");
}

#[test]
fn an_index_that_is_a_directory_is_not_found() {
    let (tmp, mut files) = tree();
    fs::create_dir_all(tmp.path().join("root/odd/index.html")).unwrap();
    assert_not_found(&mut files, "odd/");
}

#[test]
fn paths_never_leave_the_root() {
    let (_tmp, mut files) = tree();
    for path in [
        "..",
        "../",
        "../secret.txt",
        "docs/../../secret.txt",
        "docs/../ten.txt",
        "./ten.txt",
        "/etc/passwd",
        "//etc/passwd",
        "/",
        "docs//index.html",
        "docs//",
        "..\\secret.txt",
        "docs\\index.html",
        "..foo",
        "...",
        "docs/.well-known/x",
        ".well-known/.hidden",
        ".well-known/../ten.txt",
        ".well-knownx",
        "ten.txt\0",
        "ten.txt\0.html",
        "\0",
        ".env",
        ".git/config",
        "docs/.",
        "docs/./index.html",
        ".git/",
        ".",
        "C:\\x",
    ] {
        assert_not_found(&mut files, path);
    }
    assert_not_found(&mut files, &"a".repeat(300));
    assert_not_found(&mut files, &"a/".repeat(4000));
    assert_eq!(files.cached(), 0);
}

#[test]
fn names_are_bytes_and_well_known_is_visible() {
    // M9
    use std::os::unix::ffi::OsStrExt;
    let (tmp, mut files) = tree();
    let root = tmp.path().join("root");
    fs::create_dir_all(root.join(".well-known")).unwrap();
    fs::create_dir_all(root.join("docs/.well-known")).unwrap();
    fs::write(root.join("docs/.well-known/x"), "hidden").unwrap();
    fs::write(root.join(".well-known/.hidden"), "hidden").unwrap();
    let names: [&[u8]; 8] = [
        b".well-known/security.txt",
        b"caf\xe9.txt",
        b"a\\b.txt",
        b"\\",
        b"new\nline.txt",
        "caf\u{e9}.txt".as_bytes(),
        b"docs/\xff\xfe",
        b"what?#%.txt",
    ];
    for name in names {
        fs::write(root.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
        let entry = files.lookup(now(), name).unwrap_or_else(|e| panic!("{name:?}: {e}"));
        assert_eq!(&entry.read_at(0, 100).unwrap()[..], name);
        let is_text = name.ends_with(b".txt");
        assert_eq!(entry.content_type() == "text/plain;charset=utf-8", is_text, "{name:?}");
    }
    assert!(matches!(files.lookup(now(), ".well-known"), Err(LookupError::RedirectToSlash)));
    for path in ["docs/.well-known/x", ".well-known/.hidden", ".well-known/"] {
        assert_not_found(&mut files, path);
    }
}

#[test]
fn links_may_stay_inside_but_not_lead_out() {
    let (tmp, mut files) = tree();
    let root = tmp.path().join("root");
    symlink("../secret.txt", root.join("up.txt")).unwrap();
    symlink(tmp.path().join("secret.txt"), root.join("absolute.txt")).unwrap();
    symlink(tmp.path(), root.join("outside")).unwrap();
    symlink("/etc", root.join("etc")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("gone.txt", root.join("dangling.txt")).unwrap();
    symlink("docs/../ten.txt", root.join("inside.txt")).unwrap();
    for path in
        ["up.txt", "absolute.txt", "outside/secret.txt", "outside", "etc/passwd", "etc/", "loop", "dangling.txt"]
    {
        assert_not_found(&mut files, path);
    }
    assert_eq!(body(&mut files, now(), "inside.txt"), "0123456789");
}

#[test]
fn a_file_swapped_for_a_link_outside_is_gone_at_the_next_check() {
    let (tmp, mut files) = tree();
    let now = now();
    body(&mut files, now, "ten.txt");
    fs::remove_file(tmp.path().join("root/ten.txt")).unwrap();
    symlink("../secret.txt", tmp.path().join("root/ten.txt")).unwrap();
    let later = files.lookup(now + Duration::from_secs(2), "ten.txt");
    assert!(matches!(later, Err(LookupError::NotFound)), "{later:?}");
    assert_eq!(files.cached(), 0);
}

#[test]
fn only_regular_files_and_no_waiting_for_a_fifo() {
    let (tmp, mut files) = tree();
    let root = tmp.path().join("root");
    let made = std::process::Command::new("mkfifo").arg(root.join("fifo")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert_not_found(&mut files, "fifo");
    assert_not_found(&mut files, "socket");
}

#[test]
fn a_root_that_is_no_directory_is_named() {
    let (tmp, _) = tree();
    let error = FileRoot::open(&tmp.path().join("nowhere")).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert!(FileRoot::open(&tmp.path().join("secret.txt")).is_err());
}

#[test]
fn entries_are_checked_again_after_a_second() {
    let (tmp, mut files) = tree();
    let path = tmp.path().join("root/ten.txt");
    let now = now();
    let first = files.lookup(now, "ten.txt").unwrap();

    fs::File::options().append(true).open(&path).unwrap().write_all(b"grown").unwrap();
    let soon = files.lookup(now + Duration::from_millis(999), "ten.txt").unwrap();
    assert_eq!(soon.etag(), first.etag());
    let later = files.lookup(now + Duration::from_millis(1000), "ten.txt").unwrap();
    assert_eq!(later.len(), 15);
    assert_ne!(later.etag(), first.etag());
    assert_eq!(&first.read_at(0, 100).unwrap()[..], b"0123456789", "a response under way keeps what it began with");

    // Replaced by another file of the same length and time.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let other = tmp.path().join("root/other.txt");
    fs::write(&other, "ABCDEFGHIJKLMNO").unwrap();
    set_mtime(&other, modified);
    fs::rename(&other, &path).unwrap();
    assert_eq!(body(&mut files, now + Duration::from_secs(3), "ten.txt"), "ABCDEFGHIJKLMNO");

    fs::remove_file(&path).unwrap();
    assert_eq!(body(&mut files, now + Duration::from_millis(3500), "ten.txt"), "ABCDEFGHIJKLMNO");
    assert!(files.lookup(now + Duration::from_secs(5), "ten.txt").is_err());
}

#[test]
fn the_least_recently_used_entry_goes() {
    let (tmp, _) = tree();
    let root = tmp.path().join("root");
    for name in ["a", "b", "c"] {
        fs::write(root.join(name), name).unwrap();
    }
    let config = FileCacheConfig { max_entries: 2, revalidate_after: Duration::from_secs(100), ..Default::default() };
    let mut files = FileRoot::with_config(&root, config).unwrap();
    let now = now();
    for name in ["a", "b", "a", "c"] {
        body(&mut files, now, name);
    }
    assert_eq!(files.cached(), 2);
    for name in ["a", "b", "c"] {
        fs::remove_file(root.join(name)).unwrap();
    }
    assert!(files.lookup(now, "a").is_ok());
    assert!(files.lookup(now, "c").is_ok());
    assert!(files.lookup(now, "b").is_err());
}

#[test]
fn long_files_are_read_from_the_handle() {
    let (tmp, mut files) = tree();
    let path = tmp.path().join("root/big.bin");
    let content: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
    fs::write(&path, &content).unwrap();
    let entry = files.lookup(now(), "big.bin").unwrap();
    assert!(format!("{entry:?}").contains("in_memory: false"));
    assert_eq!(entry.len(), 200_000);
    assert_eq!(&entry.read_at(1000, 500).unwrap()[..], &content[1000..1500]);
    assert_eq!(entry.read_at(199_990, 500).unwrap().len(), 10);
    assert!(entry.read_at(200_000, 500).unwrap().is_empty());
    assert!(entry.read_at(u64::MAX, usize::MAX).unwrap().is_empty());

    fs::File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    assert_eq!(entry.read_at(199_990, 500).unwrap().len(), 10, "not beyond the promised length");
    fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    assert_eq!(entry.read_at(1000, 10).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);

    let small = files.lookup(now(), "ten.txt").unwrap();
    assert_eq!(&small.read_at(8, 5).unwrap()[..], b"89");
    assert!(small.read_at(u64::MAX, usize::MAX).unwrap().is_empty());
}

#[test]
fn content_types() {
    let (tmp, mut files) = tree();
    for (name, expected) in [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.TXT", "text/plain;charset=utf-8"),
        ("a.json", "application/json"),
        ("a.png", "image/png"),
        ("a.wasm", "application/wasm"),
        ("a.unheard-of", "application/octet-stream"),
        ("plain", "application/octet-stream"),
    ] {
        fs::write(tmp.path().join("root").join(name), "x").unwrap();
        assert_eq!(files.lookup(now(), name).unwrap().content_type(), expected, "{name}");
    }
}

#[test]
fn etag_and_odd_modification_times() {
    let (tmp, mut files) = tree();
    let path = tmp.path().join("root/ten.txt");
    let at = |seconds: u64| UNIX_EPOCH + Duration::new(seconds, 255);
    let stamped = |time| {
        set_mtime(&path, time);
        let now = now() + Duration::from_secs(1000);
        FileRoot::open(&tmp.path().join("root")).unwrap().lookup(now, "ten.txt").unwrap()
    };
    let entry = stamped(at(1));
    assert_eq!(entry.etag(), "\"3b9acaff-a\"");
    assert_eq!(entry.last_modified(), Some(UNIX_EPOCH + Duration::from_secs(1)));
    let entry = stamped(UNIX_EPOCH - Duration::from_secs(10));
    assert_eq!(entry.last_modified(), None);
    assert_eq!(plan(&entry, &Method::GET, &HeaderMap::new()).headers.get("last-modified"), None);
    // Not every file system can store the year 10000.
    let entry = stamped(at(300_000_000_000));
    assert_eq!(plan(&entry, &Method::GET, &HeaderMap::new()).status, StatusCode::OK);
    assert!(files.lookup(now(), "ten.txt").is_ok());
}
