//! What goes into requests, and where responses go.

use std::collections::BTreeSet;
use std::fs;

use mio_quiche::app::cert::CertInfo;

use super::{Command, ca_of, get, get_input, get_with, sha256};
use crate::support::payload;
use crate::support::server::{Server, mio_quiche};

#[test]
fn bodies_of_requests() {
    let server = Server::start(&[]);
    let (echo, upload) = (server.url("/api/echo"), server.url("/upload"));
    let data = b"line\r\nwith\0zero\n";
    let fill = |dir: &std::path::Path| fs::write(dir.join("data"), data).unwrap();
    // Pieces are joined by &; --data leaves out line ends and NUL.
    let sent = get_with(&["-k", "-d", "a=1", "-d", "@data", "-d", "-b", &echo], fill);
    assert_eq!(sent.text(), "a=1&linewithzero&-b");
    let sent = get_with(&["-k", "--data-binary", "@data", &echo], fill);
    assert_eq!((sent.code, &sent.out[..]), (0, &data[..]));
    let sent = get_input(&["-k", "-d", "x", "-d", "@-", &echo], b"from\nstdin");
    assert_eq!(sent.text(), "x&fromstdin");
    let sent = get(&["-k", "-d", "", "-w", " %{http_code} %{size_upload}", &echo]);
    assert_eq!(sent.text(), " 200 0");
    // Uploads: from a file, and from standard input, more than any window holds.
    let body = payload(12_000_000);
    let answer = format!("{{\"bytes\":12000000,\"sha256\":\"{}\"}}\n", sha256(&body));
    let file =
        get_with(&["-k", "-X", "POST", "-T", "body", &upload], |dir| fs::write(dir.join("body"), &body).unwrap());
    assert_eq!(file.text(), answer);
    assert_eq!(get_input(&["-k", "-X", "POST", "-T", "-", &upload], &body).text(), answer);
    // A named pipe is opened once, and may take its time.
    let pipe = get_with(&["-k", "-X", "POST", "-T", "pipe", &upload], |dir| {
        let made = Command::new("mkfifo").arg(dir.join("pipe")).status();
        assert!(made.expect("mkfifo runs").success());
        let (pipe, body) = (dir.join("pipe"), body.clone());
        std::thread::spawn(move || fs::write(pipe, body));
    });
    assert_eq!(pipe.text(), answer);
    // Unset, the method is PUT, and the file's name completes the URL.
    let put =
        get_with(&["-k", "-v", "-T", "name", &server.url("/files/")], |dir| fs::write(dir.join("name"), "x").unwrap());
    assert!(put.err.contains("> PUT /files/name HTTP/3\n"), "{}", put.err);
    assert!(put.err.contains("> content-length: 1\n"), "{}", put.err);
}

#[test]
fn heads() {
    let server = Server::start(&[]);
    let shown = get(&[
        "-kv",
        "-X",
        "DELETE",
        "-H",
        "X-One: 1",
        "-H",
        "x-two:2",
        "-H",
        "x-two: 3",
        "-H",
        "user-agent:",
        "-H",
        "x-empty;",
        "-H",
        "host: example.org",
        &server.url("/api/users"),
    ]);
    assert_eq!((shown.code, &shown.out[..]), (0, &b"405 Method Not Allowed\n"[..]));
    let lines: Vec<&str> = shown.err.lines().collect();
    let mut sent: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with('>')).collect();
    // Their order says nothing.
    sent[2..].sort_unstable();
    let expected = [
        "> DELETE /api/users HTTP/3",
        "> host: example.org",
        ">",
        "> accept: */*",
        "> x-empty: ",
        "> x-one: 1",
        "> x-two: 2",
        "> x-two: 3",
    ];
    assert_eq!(sent, expected);
    let addr = server.addr();
    assert_eq!(lines[0], format!("* connected to {addr} ({addr}): QUIC, TLS 1.3, ALPN h3"));
    assert!(
        lines[1].starts_with("* certificate: CN=mio-quiche development certificate; issued by CN="),
        "{}",
        lines[1]
    );
    let received: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with('<')).collect();
    assert_eq!((received[0], *received.last().unwrap()), ("< HTTP/3 405", "<"));
    assert!(received.contains(&"< allow: GET, HEAD, OPTIONS"), "{received:?}");

    // -d sets a content type unless there is one.
    let form = get(&["-kv", "-d", "x", &server.url("/api/echo")]);
    assert!(form.err.contains("> content-type: application/x-www-form-urlencoded\n"), "{}", form.err);
    let json = get(&["-kv", "-d", "{}", "-H", "content-type: application/json", &server.url("/api/echo")]);
    assert!(
        json.err.contains("> content-type: application/json\n") && !json.err.contains("urlencoded"),
        "{}",
        json.err
    );
}

#[test]
fn heads_in_the_output() {
    let server = Server::start(&[]);
    let url = server.url("/");
    let without_date =
        |text: &str| text.lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n");
    let head = "HTTP/3 200 \ncontent-type: text/plain;charset=utf-8\ncontent-length: 15\n";
    assert_eq!(without_date(get(&["-kI", &url]).text()), head);
    assert_eq!(without_date(get(&["-ki", &url]).text()), format!("{head}\nHello, HTTP/3!"));
    // Trailers come after the body.
    let trailers = get(&["-ki", &server.url("/trailers/demo")]);
    assert!(trailers.text().ends_with("\r\n\r\nrequest trailers:\nx-demo: trailers\r\n"), "{trailers:?}");
}

#[test]
fn output_files() {
    let server = Server::with_files(|root| fs::write(root.join("empty"), "").unwrap(), &[]);
    let (one, two) = (server.url("/stream/1000"), server.url("/stream/2000?checksum=off"));
    let files = get(&["-k", "-o", "first", "-O", &one, &two, &server.url("/files/empty")]);
    assert_eq!(files.text(), "");
    assert_eq!(files.file("first"), payload(1000));
    assert_eq!(files.file("2000"), payload(2000));
    assert_eq!(files.file("empty"), b"");
    // The rest goes to standard output, in order.
    let rest = get(&["-k", "-o", "first", &one, &server.url("/"), &server.url("/api/users/1")]);
    assert_eq!(rest.text(), "Hello, HTTP/3!\n{\"id\":1,\"name\":\"Ada\"}\n");
    // A transfer that fails before its body makes no file, and leaves one that is there alone.
    let fill = |dir: &std::path::Path| fs::write(dir.join("kept"), "old").unwrap();
    let failed = get_with(&["-k", "-f", "-o", "kept", &server.url("/nowhere")], fill);
    failed
        .assert_failed(22, &format!("{}: the server answered with status 404 (-f was given)", server.url("/nowhere")));
    assert_eq!(failed.file("kept"), b"old");
    let failed = get(&["-k", "-o", "no/such/dir", &one]);
    let why = "No such file or directory (os error 2)";
    failed.assert_failed(23, &format!("{one}: cannot write to 'no/such/dir': {why}"));
    let full = get(&["-k", "-o", "/dev/full", &one]);
    let why = "No space left on device (os error 28)";
    full.assert_failed(23, &format!("{one}: cannot write to '/dev/full': {why}"));
    get(&["-k", "-O", &server.url("/")]).assert_failed(
        23,
        &format!("URL '{}' does not end in a file name (use -o FILE instead of -O)", server.url("/")),
    );
}

#[test]
fn trust() {
    let server = Server::start(&[]);
    let (url, ca) = (server.url("/"), ca_of(&server));
    let info = CertInfo::read(&server.dir().join("cert.pem")).unwrap();
    let other = "00".repeat(32);
    for args in [
        &["-k"][..],
        &["--cacert", &ca],
        &["--cert-hash", &info.sha256_hex()],
        &["--cert-hash", &other, "--cert-hash", &info.sha256_base64()],
    ] {
        assert_eq!(get(&[args, &[&url]].concat()).text(), "Hello, HTTP/3!\n", "{args:?}");
    }
    // By name as well as by address.
    let name = format!("localhost:{}/", server.port());
    assert_eq!(get(&["--cacert", &ca, &name]).text(), "Hello, HTTP/3!\n");
    let hint = "(use --cacert FILE, --cert-hash HASH or -k)";
    let cannot = format!("cannot connect to {}", server.addr());
    get(&[&url]).assert_failed(60, &format!("{cannot}: the certificate is not signed by a trusted authority {hint}"));
    let wrong = get(&["--cert-hash", &other, &url]);
    wrong.assert_failed(60, &format!("{cannot}: the certificate has none of the expected hashes {hint}"));
    // A directory in OpenSSL's form.
    let dir = tempfile::TempDir::new().unwrap();
    fs::copy(&ca, dir.path().join("ca.pem")).unwrap();
    let hashed = Command::new("openssl").args(["rehash", dir.path().to_str().unwrap()]).status();
    assert!(hashed.expect("openssl runs").success());
    assert_eq!(get(&["--capath", dir.path().to_str().unwrap(), &url]).text(), "Hello, HTTP/3!\n");

    let why = "No such file or directory (os error 2)";
    get(&["--cacert", "nowhere", &url])
        .assert_failed(77, &format!("cannot use the CA file 'nowhere': {why} (--cacert wants a PEM file)"));
    get(&["--capath", "nowhere", &url])
        .assert_failed(77, &format!("cannot use the CA directory 'nowhere': {why} (--capath)"));
    get_with(&["--cacert", "text", &url], |dir| fs::write(dir.join("text"), "text").unwrap())
        .assert_failed(77, "cannot use the CA file 'text': it holds no certificate (--cacert wants a PEM file)");
}

#[test]
fn reports() {
    let server = Server::start(&[]);
    let (one, two) = (server.url("/stream/5000"), server.url("/nowhere"));
    let json = get(&["-k", "--report", "-o", "file", &one, &two]);
    assert_eq!((json.code, json.err.as_str()), (0, ""));
    assert_eq!(json.file("file"), payload(5000));
    let reports = json.json();
    assert_eq!(reports.len(), 2);
    for (report, url, status, bytes) in [(&reports[0], &one, 200, 5000), (&reports[1], &two, 404, 14)] {
        assert_eq!(report["url"], **url);
        assert_eq!((report["status"].as_u64(), report["bytes"].as_u64()), (Some(status), Some(bytes)));
        assert_eq!((report["resumed"].as_bool(), report["early"].as_bool()), (Some(false), Some(false)));
        assert_eq!((report["exit_code"].as_u64(), report["error"].is_null()), (Some(0), true));
        let ms = |name: &str| report[name].as_f64().unwrap();
        assert!(ms("connect_ms") <= ms("first_byte_ms") && ms("first_byte_ms") <= ms("total_ms"), "{report}");
        assert!(ms("connect_ms") > 0.0 && ms("total_ms") < 20_000.0, "{report}");
    }
    // The connection was there already.
    assert!(reports[1]["connect_ms"].as_f64() < reports[0]["connect_ms"].as_f64(), "{reports:?}");
    let failed = get(&["-k", "--report", "-f", &two]);
    let message = format!("{two}: the server answered with status 404 (-f was given)");
    failed.assert_failed(22, &message);
    assert_eq!(failed.json()[0]["error"], *message);
    assert_eq!(failed.json()[0]["exit_code"], 22);

    let format = "%{http_code} %{size_download} %{url_effective}%%\\n%{exitcode}";
    let shown = get(&["-k", "-o", "file", "-w", format, &one]);
    assert_eq!(shown.text(), format!("200 5000 {one}%\n0"));
    let shown = get(&["-ks", "-f", "-w", "%{time_total} %{errormsg}", &two]);
    assert_eq!((shown.code, shown.err.as_str()), (22, ""));
    let shown = String::from_utf8(shown.out).unwrap();
    let (seconds, error) = shown.split_once(' ').unwrap();
    assert!(seconds.parse::<f64>().unwrap() > 0.0 && error == message, "{shown}");
    // -S shows errors in spite of -s.
    get(&["-ksS", "-f", &two]).assert_failed(22, &message);
}

#[test]
fn usage() {
    let fails = |args: &[&str], code, message: &str| get(args).assert_failed(code, message);
    fails(&["-H", "nonsense", "x"], 2, "-H 'nonsense': not of the form 'Name: value' ('Name:' leaves one out)");
    fails(&["-X", "B D", "x"], 2, "'B D' is not a method (-X takes a word such as DELETE)");
    fails(
        &["--cert-hash", "12", "x"],
        2,
        "--cert-hash '12': not a SHA-256 in hex or base64 (see mio-quiche cert --print-hash)",
    );
    fails(&["-d", "@-", "x", "y"], 2, "standard input can be sent only once, but there are several requests");
    fails(&["-o", "a", "-o", "b", "x"], 2, "2 -o for 1 URLs: one for each");
    fails(&["--report", "-o", "-", "x"], 2, "--report and -o - both want standard output (give a file to -o)");
    fails(&["-T", "none", "x"], 26, "cannot read 'none': No such file or directory (os error 2)");
    fails(&["-d", "@none", "x"], 26, "cannot read 'none': No such file or directory (os error 2)");
    fails(&["-T", ".", "x"], 26, "cannot read '.': is a directory");
    fails(&["-g", "https://[x"], 3, "URL 'https://[x': invalid IPv6 address");
    fails(&["https://[x"], 3, "URL 'https://[x': a [ without its ] at character 9 (-g takes it as it is)");
    fails(&["http://x/"], 1, "URL 'http://x/': HTTP/3 needs https");
    for args in [&[][..], &["--0rtt", "x"], &["--limit-rate", "fast", "x"], &["-m", "x", "x"], &["--no-such", "x"]] {
        let ended = get(args);
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
        assert!(ended.err.starts_with("error: "), "{args:?}: {ended:?}");
    }
    let help = mio_quiche().args(["get", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for code in ["  28  -m or --connect-timeout passed\n", "  47  more than 50 redirects", " 130  interrupted\n"] {
        assert!(help.contains(code), "{code}:\n{help}");
    }
}

/// The words in `text` that are options, without those that have a value.
fn option_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| c.is_whitespace() || "`,|[]='".contains(c));
    words
        .filter(|word| word.starts_with('-') && word.trim_start_matches('-').starts_with(char::is_alphanumeric))
        .map(str::to_owned)
        .collect()
}

#[test]
fn documented() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/get.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').nth(1).unwrap());
    let documented: BTreeSet<String> = rows.flat_map(option_names).collect();
    let help = mio_quiche().args(["get", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let names = |line: &str| option_names(line.split("  ").next().unwrap());
    let mut offered: BTreeSet<String> = lines.flat_map(names).collect();
    offered.retain(|name| !["-h", "--help"].contains(&name.as_str()));
    // Hidden, as they change nothing or are refused; or another name.
    let hidden = ["--http3", "--http3-only", "-x", "--proxy", "--data-ascii"];
    offered.extend(hidden.map(str::to_owned));
    assert_eq!(documented, offered);
}
