//! URLs: globs, odd ones, and those of files (`-K`).

use std::fs;
use std::io::Read;
use std::process::Stdio;

use tempfile::TempDir;

use super::as_curl::both;
use super::servers::aioquic;
use super::{get, get_input};
use crate::support::server::{Guard, Server, mio_quiche};
use crate::support::{DEADLINE, curl};

/// The files of a directory that do not begin with a dot, with their contents.
fn files(dir: &TempDir) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), path))
        .filter(|(name, _)| !name.starts_with('.'))
        .map(|(name, path)| (name, fs::read(path).expect("a file")))
        .collect();
    files.sort_unstable();
    files
}

#[test]
fn globs() {
    let server = Server::start(&[]);
    let url = |path: &str| server.url(path);
    both(&[&url("/status/{200,404}")], 0);
    both(&[&url("/stream/[08-10]?[a-c:2]")], 0);
    // Braces would be percent-encoded, which curl leaves out.
    both(&["-g", &url("/api/[1-2]")], 0);
    both(&[&url(r"/api/\[1-2\]")], 0);
    // One -o for all that the URL stands for.
    let names = ["-o", "#1_#2_#3_#", "-o", "two"];
    let urls = [url("/{stream,api}/[2-4:2]"), url("/stream/5")];
    let (theirs, ours) = both(&[&names[..], &[&*urls[0], &urls[1]]].concat(), 0);
    assert_eq!(files(&ours), files(&theirs));
    let made: Vec<_> = files(&ours).into_iter().map(|(name, _)| name).filter(|name| name.contains('_')).collect();
    assert_eq!(made, ["api_2_#3_#", "api_4_#3_#", "stream_2_#3_#", "stream_4_#3_#"]);
    assert!(ours.path().join("two").exists());
    let (theirs, ours) = both(&["-O", &url("/stream/[1-3]")], 0);
    assert_eq!(files(&ours), files(&theirs));
    both(&["-o", "/dev/null", "-w", "%{urlnum} ", &url("/{a,b}"), &url("/c")], 0);
    for wrong in ["/[3-1]", "/[1-2", "/{a", "/a}", "/{}"] {
        both(&[&url(wrong)], 3);
    }
}

#[test]
fn files_of_arguments() {
    let server = Server::start(&[]);
    let config = format!(
        "# for both\nurl = \"{}\"\nsilent\n-o first\n\nheader = \"x-one: \\\"1\\\"\"\ndata: a=1 # rest\n\
         --output second\nurl {}\n",
        server.url("/api/echo"),
        server.url("/api/[5-5]"),
    );
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("config");
    fs::write(&file, &config).expect("a file");
    let file = file.to_str().expect("a path");
    for args in [&["-K", file][..], &["--config", file, "-d", "b=2"], &["-gK", file, "-H", "x-two: 2"]] {
        // It compares the files, too.
        both(args, 0);
    }
    let ended = get_input(&["-k", "-K", "-"], format!("url = {}\n", server.url("/")).as_bytes());
    assert_eq!(ended.text(), "Hello, HTTP/3!\n");
    get(&["-K", "/dev/zero"]).assert_failed(26, "cannot read '/dev/zero': it has more than 16777216 bytes (-K)");
}

#[test]
fn odd_ones() {
    let server = Server::start(&[]);
    let port = server.port();
    both(&[&format!("https:/127.0.0.1:{port}/")], 0);
    both(&[&format!("https:///127.0.0.1:{port}/")], 0);
    // Absolute names have no dot in SNI and certificates.
    let known = format!("localhost.:{port}:127.0.0.1");
    let ca = super::ca_of(&server);
    let url = format!("https://localhost.:{port}/");
    let theirs = curl::strict_command().args(["--cacert", &ca, "--resolve", &known, &url]).output().expect("curl runs");
    let ours = get(&["--cacert", &ca, "--resolve", &known, &url]);
    assert_eq!((ours.text(), Some(0)), (&*String::from_utf8_lossy(&theirs.stdout), theirs.status.code()));
    let hint =
        "only HTTP/3 is spoken here, on UDP: does the host offer it, and is the port right? curl speaks the others";
    let refused = format!("connection refused ({hint})");
    for host in ["127.0.0.1", "localhost"] {
        let ended = get(&[&format!("https://{host}:0/")]);
        ended.assert_failed(7, &format!("cannot connect to {host}:0: {refused}"));
    }
    for url in ["https://[fe80::1%25lo]/", "https://[fe80::1%lo]/"] {
        get(&[url]).assert_failed(3, &format!("URL '{url}': IPv6 addresses with a zone are not supported"));
    }
}

/// URLs that are read as by curl: the same path is requested, or both end with the same code. HOST is the server's.
#[test]
fn many_odd_ones_beside_curl() {
    let server = Server::start(&[]);
    let read = [
        "HOST",
        "HOST?a=b",
        "HOST#frag",
        "HOST/#frag",
        "HOST/?#",
        "HOST//",
        "HOST/a//b",
        "HOST/a%20b",
        "HOST/ä",
        "HOST/%",
        "HOST/%zz",
        "HOST/%00",
        "HOST/a;b=c",
        "HOST/a,b",
        "HOST/a'b",
        "HOST/a|b",
        "HOST/a^b",
        "HOST/?a?b",
        "HOST/?a=b&a=c",
    ];
    for url in read {
        both(&["-g", "-o", "/dev/null", &url.replace("HOST", &server.url(""))], 0);
    }
    let port = server.port();
    for authority in [
        "user:pass@127.0.0.1",
        "user@127.0.0.1",
        ":pass@127.0.0.1",
        "u%40b:p%3Aw@127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "%31%32%37.0.0.1",
    ] {
        both(&["-g", "-o", "/dev/null", &format!("https://{authority}:{port}/")], 0);
    }
    both(&[&format!("HTTPS://127.0.0.1:{port}/")], 0);
    both(&[&format!("https://127.0.0.1:0{port}/")], 0);
    for wrong in [
        "https://127.0.0.1:x/",
        "https://127.0.0.1:99999/",
        "https://127.0.0.1:-1/",
        "https:///",
        "https://",
        "https://[::1/",
        "https://a b/",
        "https://127.0.0.1 /",
        "https://ex ample.test/",
    ] {
        both(&["-g", wrong], 3);
    }
}

/// curl refuses white space, sends some characters as they are, and needs a scheme for HTTP/3; these are read as a browser
/// reads them (the URL standard).
#[test]
fn odd_ones_that_differ_from_curl() {
    let server = Server::start(&[]);
    let path = |url: &str| {
        let ended = get(&["-kv", "-g", "-o", "/dev/null", url]);
        assert_eq!(ended.code, 0, "{url}: {}", ended.err);
        let line = ended.err.lines().find_map(|line| line.strip_prefix("> GET ")).expect("a request");
        line.split(' ').next().unwrap_or_default().to_owned()
    };
    for (tail, sent) in [
        ("/a b", "/a%20b"),
        ("/a\"b", "/a%22b"),
        ("/a<b>", "/a%3Cb%3E"),
        ("/a\\b", "/a/b"),
        ("/a`b", "/a%60b"),
        ("/?q=a b", "/?q=a%20b"),
        ("/?q=ä", "/?q=%C3%A4"),
        ("/ ", "/"),
    ] {
        assert_eq!(path(&server.url(tail)), sent, "{tail}");
    }
    // As curl without `--path-as-is`, which these tests give it.
    for (tail, sent) in [
        ("/./a/../api/users/1", "/api/users/1"),
        ("/a/%2e%2e/api/users/1", "/api/users/1"),
        ("/../../api/users/1", "/api/users/1"),
        ("/..", "/"),
    ] {
        assert_eq!(path(&server.url(tail)), sent, "{tail}");
    }
    assert_eq!(path(&server.url("/").replace("https://", "")), "/");
    assert_eq!(path(&server.url("/").replace("https:", "")), "/");
}

#[test]
fn an_empty_location_leads_nowhere() {
    let server = aioquic(&[]);
    let url = server.url("/redirect/302/");
    let theirs = curl::command().args(["-L", &url, "-w", " %{num_redirects}"]).output().expect("curl runs");
    let ours = get(&["-k", "-L", &url, "-w", " %{num_redirects}"]);
    assert_eq!((ours.text(), &*theirs.stdout), ("moved\n 0", &b"moved\n 0"[..]));
}

#[test]
fn one_message_when_the_reader_is_gone() {
    let server = Server::start(&[]);
    for parallel in [&[][..], &["-Z"]] {
        let mut command = mio_quiche();
        command.args(["get", "-k", "--report", "--repeat", "2000", &server.url("/")]).args(parallel);
        let mut child = Guard(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("get starts"));
        let mut begin = [0; 100];
        child.0.stdout.take().expect("its output").read_exact(&mut begin).expect("a line");
        let mut err = String::new();
        child.0.stderr.take().expect("its errors").read_to_string(&mut err).expect("text");
        assert_eq!(child.wait("get ends", DEADLINE).code(), Some(23));
        assert_eq!(err, "mio-quiche: cannot write to standard output: Broken pipe (os error 32)\n");
    }
}
