//! The same arguments for curl and for `get`: the same fields, bodies, files and exit codes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::get_with;
use crate::support::server::{Server, mio_quiche};
use crate::support::{curl, payload};

/// What one of them did.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    code: i32,
    out: Vec<u8>,
    /// The fields of the requests.
    sent: Vec<String>,
}

/// The lines of `-v` for the requests, in order, without those that name the program.
fn sent(shown: &str) -> Vec<String> {
    let lower = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
        None => line.to_owned(),
    };
    let lines = shown.lines().filter_map(|line| line.strip_prefix("> ")).map(|line| lower(line.trim_end()));
    let lines = lines.map(|line| line.split("; boundary=").next().unwrap_or_default().to_owned());
    let own = |line: &String| line.starts_with("user-agent: curl/") || line.starts_with("user-agent: mio-quiche/");
    let mut lines: Vec<_> = lines.filter(|line| !line.is_empty() && !own(line)).collect();
    lines.sort_unstable();
    lines
}

/// In 100 days, as curl shortens what is more than 400.
pub(super) static EXPIRES: LazyLock<SystemTime> =
    LazyLock::new(|| SystemTime::now() + Duration::from_secs(100 * 24 * 60 * 60));

/// Files for `@`, in the directories that both run in.
fn fill(dir: &Path) {
    fs::write(dir.join("data"), "two\r\nlines & ä\n").expect("a file");
    let cookies = format!(
        "\
        127.0.0.1\tFALSE\t/\tTRUE\t{expires}\tkept\tv\n\
        #HttpOnly_127.0.0.1\tFALSE\t/fields\tFALSE\t{expires}\tdeep\tw\n\
        127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tx\n\
        127.0.0.1\tFALSE\t/\tFALSE\t1000\told\tx\n\
        other.example\tTRUE\t/\tFALSE\t0\tother\ty\n",
        expires = EXPIRES.duration_since(UNIX_EPOCH).expect("a time").as_secs(),
    );
    fs::write(dir.join("cookies"), cookies).expect("a file");
    let config = "# a comment\nuser-agent = \"from \\\"file\\\"\"\nheader: \"x-a: b\"\n-e https://from.example/\n";
    fs::write(dir.join("config"), config).expect("a file");
    fs::write(dir.join("fields"), "# a: comment\nX-One: 1\nx-empty;\n\nAccept:\nX-Two: 2\n").expect("a file");
    fs::write(dir.join("query"), "b=2\r\n&c=3\n").expect("a file");
}

/// The lines of a cookie file, without comments and in order.
fn cookies(file: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(file);
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")).collect();
    lines.sort_unstable();
    lines.join("\n").into_bytes()
}

/// A form whose boundaries are not by chance.
fn form(out: Vec<u8>) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(&out).into_owned();
    let is_boundary = |line: &&str| line.starts_with("--------------------------") && !line.ends_with("--");
    let Some(outer) = text.lines().next().filter(is_boundary).map(str::to_owned) else { return out };
    text = text.replace(&outer[2..], "BOUNDARY");
    while let Some(inner) = text.lines().find(is_boundary).map(|line| line[2..].to_owned()) {
        text = text.replace(&inner, "INNER");
    }
    text.into_bytes()
}

/// The names and contents of the files in a directory, without those that tell the time.
fn files(dir: &Path) -> Vec<(OsString, Vec<u8>)> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.file_type().expect("a type").is_file());
    let files = files.map(|entry| {
        let content = fs::read(entry.path()).expect("a file");
        let name = entry.file_name();
        let content = if name == "jar" { cookies(&content) } else { content };
        (name, content)
    });
    let mut files: Vec<_> =
        files.filter(|(name, _)| ![".out", ".err", "heads"].map(OsString::from).contains(name)).collect();
    files.sort_unstable();
    files
}

fn by_curl(args: &[&str]) -> (Done, TempDir) {
    let dir = TempDir::new().expect("a directory");
    fill(dir.path());
    let done = curl::command().args(["-ksSv"]).args(args).current_dir(dir.path()).output().expect("curl runs");
    let sent = sent(&String::from_utf8_lossy(&done.stderr));
    (Done { code: done.status.code().expect("a code"), out: form(done.stdout), sent }, dir)
}

/// Runs both, and expects curl to end with `code`. Returns the directories that they ran in.
pub(super) fn both(args: &[&str], code: i32) -> (TempDir, TempDir) {
    let (theirs, dir) = by_curl(args);
    let ended = get_with(&[&["-kv"], args].concat(), fill);
    let ours = Done { code: ended.code, out: form(ended.out.clone()), sent: sent(&ended.err) };
    assert_eq!(ours, theirs, "{args:?}: {}", ended.err);
    assert_eq!(theirs.code, code, "{args:?}");
    assert_eq!(files(ended.dir.path()), files(dir.path()), "{args:?}");
    (dir, ended.dir)
}

#[test]
fn fields_and_data() {
    let server = Server::with_files(|root| fs::write(root.join("file"), payload(1000)).expect("a file"), &[]);
    let url = |path: &str| server.url(path);
    let (home, echo, file) = (url("/"), url("/api/echo"), url("/files/file"));
    let fields: &[&[&str]] = &[
        &["-u", "ada:pass word"],
        &["-u", "ada:"],
        &["-u", "a:b", "-H", "authorization: Bearer x"],
        &["-A", "an agent/1.0"],
        &["-A", ""],
        &["-A", "one", "-H", "User-Agent: two"],
        &["-e", "https://from.example/page"],
        &["-G", "-d", "a=1", "-d", "@query", "--data-urlencode", "q=ä b/c"],
        &["-G", "-I", "-d", "a=1", "-o", "/dev/null"],
        &["-G", "-X", "DELETE", "-d", "x"],
        // Repeated options are as if they were given once, or the last one counts.
        &["-A", "one", "-A", "two", "-i", "-i", "-o", "/dev/null"],
        &["-H", "@fields", "-H", "x-last: z"],
    ];
    for args in fields {
        both(&[*args, &[&*home]].concat(), 0);
    }
    both(&["-G", "-d", "b=2", &url("/api/users?a=1")], 0);
    for range in ["5-9", "990-", "-3", "0-0"] {
        both(&["-r", range, &file], 0);
    }
    both(&["-r", "1000-", "-o", "/dev/null", &file], 0);
    let data: &[&[&str]] = &[
        &["--data-raw", "@data"],
        &["--data-ascii", "@data"],
        &["--data-urlencode", "plain ä &"],
        &["--data-urlencode", "=with = and @"],
        &["--data-urlencode", "name=a b+c~._-/"],
        &["--data-urlencode", "@data"],
        &["--data-urlencode", "name@data"],
        &["-d", "x", "--data-binary", "@data", "--data-urlencode", "n=v w"],
        &["--data-urlencode", "n=v w", "--data-binary", "@data", "--data-raw", "@", "-d", "x", "--data-raw", "y"],
        &["--json", "{\"a\": 1}"],
        &["--json", "[1", "--json", ",2]"],
        &["--data-raw", "x", "--json", "@data", "-d", "y"],
        &["--json", "{}", "-H", "content-type: text/x", "-H", "accept: a/b"],
    ];
    for args in data {
        both(&[*args, &[&*echo]].concat(), 0);
    }
}

#[test]
fn forms() {
    let server = Server::start(&[]);
    let echo = server.url("/api/echo");
    let forms: &[&[&str]] = &[
        &["-F", "a=b"],
        &["-F", "a=b;type=text/x; charset=y", "-F", "e=", "--form-string", "s=@;x"],
        &["-F", "file=@data", "-F", "content=<data"],
        &["-F", "file=@data;type=image/png", "-F", "named=@\"data\";filename=\"a;\\\"b.txt\""],
        &["-F", "q\"uote=x", "-F", "text=\"quoted;x\";type=a/b", "-F", "file=@data;filename=page.html"],
        &["-F", "files=@data,query;type=a/b;filename=\"x,y\",\"cookies\"", "-F", "text=a,b"],
        &["-X", "PUT", "-F", "a=b"],
    ];
    for args in forms {
        both(&[*args, &[&*echo]].concat(), 0);
    }
    both(&["-F", "nonsense", &echo], 2);
    both(&["-F", "a=b", "-d", "x", &echo], 2);
    both(&["-F", "a=@none", "-o", "/dev/null", &echo], 26);
    both(&["-F", "a=@data,none", "-o", "/dev/null", &echo], 26);
    let sent = super::get_input(&["-k", "-F", "in=@-;filename=x", &echo], b"from stdin");
    assert!(
        sent.text().contains("filename=\"x\"\r\nContent-Type: application/octet-stream\r\n\r\nfrom stdin\r\n--"),
        "{sent:?}"
    );
    let refused = |field: &str, message: &str| {
        get_with(&["-F", field, "https://a.example/"], fill).assert_failed(2, &format!("-F '{field}': {message}"));
    };
    refused("nonsense", "not of the form NAME=CONTENT");
    refused("a=b;size=3", "';size' is not known (;type= and ;filename= are)");
}

#[test]
fn outputs_and_limits() {
    let server = Server::with_files(|root| fs::write(root.join("file"), payload(1000)).expect("a file"), &[]);
    let url = |path: &str| server.url(path);
    both(&["--fail-with-body", &url("/status/404")], 22);
    both(&["--fail-with-body", &url("/")], 0);
    both(&["--max-filesize", "1000", &url("/stream/1000")], 0);
    both(&["--max-filesize", "999", "-o", "/dev/null", &url("/stream/1000")], 63);
    let (theirs, ours) = both(&["--create-dirs", "-o", "a/b/c", &url("/files/file")], 0);
    for dir in [&theirs, &ours] {
        assert_eq!(fs::read(dir.path().join("a/b/c")).expect("the file"), payload(1000));
    }
    let (theirs, ours) = both(&["-D", "heads", &url("/files/file"), &url("/status/404")], 0);
    let heads = |dir: &TempDir| fs::read_to_string(dir.path().join("heads")).expect("the heads");
    let fixed = |text: String| text.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n");
    assert_eq!(fixed(heads(&ours)), fixed(heads(&theirs)));
    assert_eq!(heads(&ours).matches("HTTP/3 ").count(), 2);
    let port = server.port();
    let (only4, only6) = (format!("other.example:{port}:127.0.0.1"), format!("other.example:{port}:::1"));
    let other = format!("https://other.example:{port}/");
    both(&["-4", "--resolve", &only4, &other], 0);
    both(&["-4", "--resolve", &only6, "-o", "/dev/null", &other], 6);
    both(&["-6", "--resolve", &only4, "-o", "/dev/null", &other], 6);
}

#[test]
fn names_of_files_are_bytes() {
    let server = Server::start(&[]);
    let dir = TempDir::new().expect("a directory");
    let name = OsString::from_vec(b"n\xffme".to_vec());
    fs::write(dir.path().join(&name), "content").expect("a file");
    let mut at = OsString::from("@");
    at.push(&name);
    let mut command = mio_quiche();
    command.args(["get", "-k"]).arg(server.url("/api/echo")).arg("-d").arg(at).current_dir(dir.path());
    let done = command.output().expect("it runs");
    assert_eq!((done.status.code(), &done.stdout[..]), (Some(0), &b"content"[..]), "{done:?}");
}

#[test]
fn what_only_curl_offers() {
    let refused = |args: &[&str], code, message: &str| get_with(args, fill).assert_failed(code, message);
    refused(
        &["-x", "http://proxy.example:3128", "https://a.example/"],
        5,
        "-x 'http://proxy.example:3128': HTTP/3 goes over UDP, which HTTP proxies do not carry (leave it out)",
    );
    refused(&["-u", "ada", "https://a.example/"], 2, "-u 'ada': without a password (use NAME:PASSWORD)");
    refused(
        &["-d", "@-", "--json", "@-", "https://a.example/"],
        2,
        "standard input can be sent only once, but @- is given twice",
    );
    refused(&["-A", "a\nb", "https://a.example/"], 2, "'a\nb' cannot be sent as user-agent");
}
