//! `--retry` and `-C`, beside curl's.

use std::fs;

use super::as_curl::both;
use super::get;
use super::servers::aioquic;
use crate::support::payload;
use crate::support::server::Server;

#[test]
fn tries() {
    let server = aioquic(&[]);
    let url = |path: &str| server.url(path);
    let format = "%{http_code} %{num_retries} %{size_download}\n";
    let both = |args: &[&str], path: &str, code| both(&[args, &["-w", format, &url(path)]].concat(), code);
    // What was printed stays, and files begin anew.
    both(&["--retry", "2", "--retry-delay", "1"], "/unready/1/503//a", 0);
    both(&["--retry", "2", "--retry-delay", "1", "-o", "file"], "/unready/1/503//b", 0);
    both(&["--retry", "1", "-f"], "/unready/9/429/1/c", 22);
    both(&["--retry", "5", "--retry-max-time", "3"], "/unready/1/500/60/d", 0);
    both(&["--retry", "2"], "/unready/1/404//e", 0);
    both(&["--retry", "2", "-f", "--retry-all-errors", "--retry-delay", "1"], "/unready/1/404//f", 0);
    both(&["--retry", "1", "-d", "body"], "/unready/1/502/1/g", 0);
    let refused = ["--retry", "1", "--retry-delay", "1", "-o", "file", "-w", "%{num_retries}"];
    super::as_curl::both(&[&refused[..], &["https://127.0.0.1:1/"]].concat(), 7);
    // curl does not see a refusal of UDP as one.
    let again = get(&[&refused[..], &["--retry-connrefused", "https://127.0.0.1:1/"]].concat());
    assert_eq!((again.code, &again.out[..]), (7, &b"1"[..]), "{again:?}");
    let told = get(&["-k", "--retry", "3", "--retry-delay", "0.1", &url("/unready/1/503//h")]);
    let expected =
        format!("mio-quiche: {}: status 503 (trying again in 0.1 s; 2 more after that)\n", url("/unready/1/503//h"));
    assert_eq!((told.err.as_str(), &told.out[..]), (expected.as_str(), &b"not yet\nrequest 2\n"[..]));
}

#[test]
fn in_parallel_the_others_go_on() {
    let server = aioquic(&[]);
    let late = server.url("/unready/1/503/1/z");
    let ended = get(&["-kZs", "--retry", "1", "-w", "%{http_code}\n", &late, &server.url("/")]);
    assert_eq!(ended.text(), "not yet\nHello, aioquic!\n200\nrequest 2\n200\n");
}

#[test]
fn downloads_continue() {
    let server = Server::with_files(|root| fs::write(root.join("file"), payload(1000)).expect("a file"), &[]);
    let url = |path: &str| server.url(path);
    let (file, hello) = (url("/files/file"), url("/"));
    // `data` is there, with 16 bytes.
    let (_, ours) = both(&["-C", "-", "-o", "data", &file], 0);
    let expected = ["two\r\nlines & ä\n".as_bytes(), &payload(1000)[16..]].concat();
    assert_eq!(fs::read(ours.path().join("data")).expect("a file"), expected);
    both(&["-C", "-", "-o", "new", &file], 0);
    both(&["-C", "5", "-o", "data", &file], 0);
    both(&["-C", "990", &file], 0);
    both(&["-C", "-", &file], 0);
    both(&["-C", "0", "-o", "data", &file], 0);
    both(&["-C", "1000", "-o", "data", &file], 0);
    both(&["-C", "2000", "-o", "data", &file], 0);
    both(&["-C", "5", "-o", "data", &url("/stream/1000")], 33);
    both(&["-C", "15", "-o", "data", &hello], 0);
    both(&["-C", "5", "-f", "-o", "data", &url("/nowhere")], 22);
    both(&["-C", "-", "-O", &file], 0);
    both(&["-C", "5", "-w", "%{size_download} %{http_code}\n", "-o", "data", &file], 0);
    let ended = get(&["-k", "-C", "5", &url("/stream/1000")]);
    let message = format!("{}: the server cannot resume: it sends all of the body (-C)", url("/stream/1000"));
    ended.assert_failed(33, &message);
    for args in [["-C", "x"], ["-C", "-5"]] {
        let ended = get(&[&args[..], &[&hello]].concat());
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.err.contains("neither a number of bytes nor -"), "{ended:?}");
    }
    assert_eq!(get(&["-C", "5", "-r", "1-2", &hello]).code, 2);
}

#[test]
fn no_limit() {
    let server = Server::start(&[]);
    let none =
        ["-m", "0", "--connect-timeout", "0", "--limit-rate", "0", "--max-filesize", "0", "--retry-max-time", "0"];
    both(&[&none[..], &[&server.url("/stream/100000")]].concat(), 0);
}
