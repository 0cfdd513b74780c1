//! Servers that redirect, go away, or break the rules.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use http::Method;
use mio_quiche::{Client, ClientConfig, ClientRequest};

use super::servers::aioquic;
use super::{Get, LONG, get, get_input};
use crate::support::server::Server;
use crate::support::{DEADLINE, payload, sha256};

#[test]
fn malformed_responses() {
    let server = aioquic(&[]);
    let fails = |path: &str, code, message: &str| {
        let message = format!("{}: {message}", server.url(path));
        let ended = server.get(&["-o", "file"], path);
        ended.assert_failed(code, &message);
        ended
    };
    // What came is kept.
    let short = fails("/short", 18, "malformed message: content-length is 8 but the body has 4 bytes");
    assert_eq!(short.file("file"), b"half");
    fails("/long", 95, "malformed message: content-length is 4 but the body has 8 bytes");
    fails("/no-status", 95, "malformed message: pseudo-header :status is missing");
    fails("/informational/40", 95, "malformed message: too many informational responses");
    // M2: limits as curl's, named with the field and its size.
    fails("/many-fields/5001", 95, "message over a limit: 5001 fields, more than 5000 (max_fields)");
    let long = "message over a limit: the value of field \"x-0\" has 102401 bytes, more than 102400 (max_value)";
    fails("/long-fields/1/102401", 95, long);
    let large = "message over a limit: the field section has 400182 bytes, more than 307200 (max_field_section); \
                 its largest field is \"x-3\"";
    fails("/long-fields/4/100000", 95, large);
    fails("/upper-case", 95, "malformed message: field name \"X-Field\" is not a lower-case token");
    // M3, M4: repeated, and with what no value has.
    for field in ["content-length=30", "content-range=30", "location=2f"] {
        let name = field.split('=').next().unwrap();
        fails(&format!("/extra/{field}/{field}"), 95, &format!("malformed message: field \"{name}\" is repeated"));
    }
    let value = "malformed message: the value of field \"x-v\" has a forbidden character, or white space at an end";
    for hex in ["780d0a", "0a78", "0a", "780c", "0b78", "2078", "7820", "7809", "780079", "787f"] {
        fails(&format!("/extra/x-v={hex}"), 95, value);
        fails(&format!("/extra-trailers/x-v={hex}"), 95, value);
    }
    // M7: nothing is shown of content that cannot be.
    let content = "malformed message: a response to HEAD, or with status 204 or 304, has content";
    for (args, path) in [(&[][..], "/content/204"), (&[], "/content/304"), (&["-X", "HEAD"], "/content/200")] {
        let ended = server.get(args, path);
        ended.assert_failed(95, &format!("{}: {content}", server.url(path)));
        assert_eq!(ended.out, b"", "{path}");
    }
    let head = server.get(&["-I"], "/content/200");
    assert_eq!((head.code, &head.out[..]), (95, &b"HTTP/3 200 \r\ncontent-length: 3\r\n\r\n"[..]));
    assert_eq!(server.get(&[], "/content/205").text(), "xyz");
    fails("/switch", 95, "malformed message: status 101 does not exist in HTTP/3");
    fails("/nothing", 95, "malformed message: the stream ended before the message's head");
    fails("/data-first", 95, "the connection ended: closed by us with H3_FRAME_UNEXPECTED (DATA before HEADERS)");
    fails("/close/258", 56, "the connection ended: closed by the peer with H3_INTERNAL_ERROR (as asked)");
    let reset = fails("/reset", 92, "the peer reset the stream with H3_INTERNAL_ERROR");
    assert!(!reset.path("file").exists() || reset.file("file") == b"some");
    // Within bounds all is well, and the next request is answered, after all of that.
    for path in ["/many-fields/4999", "/long-fields/1/102400", "/long-fields/5/60000"] {
        assert_eq!(server.get(&["-o", "file", "-w", "%{http_code}"], path).text(), "200", "{path}");
    }
    assert_eq!(
        server.get(&["-i"], "/extra/x-v=780979/x-v=ff").out,
        b"HTTP/3 200 \r\nx-v: x\ty\r\nx-v: \xef\xbf\xbd\r\n\r\n"
    );
    let early = server.get(&["-i"], "/informational/2");
    let one = "HTTP/3 103 \r\nlink: </a>\r\n\r\n";
    assert_eq!(early.text(), format!("{one}{one}HTTP/3 200 \r\n\r\nat last\n"));
    assert_eq!(server.get(&[], "/").text(), "Hello, aioquic!\n");
}

#[test]
fn silence_and_endlessness() {
    let server = aioquic(&[]);
    for path in ["/silence", "/endless"] {
        let begun = Instant::now();
        let ended = server.get(&["-m", "0.7", "-o", "/dev/null"], path);
        ended.assert_failed(28, &format!("{}: not done within the time limit (-m)", server.url(path)));
        assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    }
    // Others go on meanwhile.
    let (silent, lively) = (server.url("/silence"), server.url("/"));
    let both = get(&["-kZ", "-m", "5", &silent, &lively]);
    assert_eq!((both.code, &both.out[..]), (28, &b"Hello, aioquic!\n"[..]));
}

#[test]
fn servers_that_go_away() {
    for path in ["/goaway", "/rejected"] {
        // Asked again on a connection of its own.
        let server = aioquic(&[]);
        assert_eq!(server.get(&[], path).text(), "connection 2\n", "{path}");
    }
    // With its body, if that can be read again.
    let (server, dir) = (aioquic(&[]), tempfile::tempdir().unwrap());
    let body = payload(3_000_000);
    let file = dir.path().join("body");
    std::fs::write(&file, &body).unwrap();
    let sent = server.get(&["-T", file.to_str().unwrap()], "/busy");
    assert_eq!(sent.text(), format!("PUT {} {}\n", body.len(), sha256(&body)));
    let server = aioquic(&[]);
    let message = format!("{}: the peer reset the stream with H3_REQUEST_REJECTED", server.url("/busy"));
    get_input(&["-k", "-T", "-", &server.url("/busy")], &body).assert_failed(92, &message);
    // The library's, too.
    let server = aioquic(&[]);
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    let request = ClientRequest::new(Method::POST, &server.url("/busy")).unwrap().body(body.clone());
    let answer = Client::new(config).unwrap().fetch(request).unwrap();
    assert_eq!(answer.body, format!("POST {} {}\n", body.len(), sha256(&body)));
    // Not for ever.
    let server = aioquic(&[]);
    let message = format!("{}: the peer reset the stream with H3_REQUEST_REJECTED", server.url("/goaways"));
    server.get(&[], "/goaways").assert_failed(92, &message);
    // Nor from a server that takes no requests at all.
    let storm = aioquic(&["goaway"]);
    let message = format!("{}: the server accepts no more requests on this connection", storm.url("/"));
    storm.get(&[], "/").assert_failed(95, &message);
    let closing = aioquic(&["close"]);
    let ended = closing.get(&[], "/");
    assert_eq!(ended.code, 35, "{}", ended.err);
    // A server that knows no HTTP/3.
    let other = aioquic(&["hq-interop"]);
    let reason = "the server says: no common application protocol (ALPN)";
    other.get(&[], "/").assert_failed(35, &format!("cannot connect to {}: {reason}", other.addr));
}

/// What comes on another connection is not put behind what came on the first.
#[test]
fn an_answer_that_was_cut_off_is_not_joined_with_another() {
    // S17
    let path = "/half-rejected";
    let server = aioquic(&[]);
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    let request = ClientRequest::new(Method::GET, &server.url(path)).unwrap();
    match Client::new(config).unwrap().fetch(request) {
        Ok(answer) => assert_eq!(answer.body, "connection 2\n"),
        Err(error) => assert_eq!(error.to_string(), "the peer reset the stream with H3_REQUEST_REJECTED"),
    }
    let server = aioquic(&[]);
    let ended = server.get(&[], path);
    match ended.code {
        0 => assert_eq!(ended.text(), "connection 2\n"),
        code => assert_eq!((code, &ended.out[..]), (92, &b"abc"[..]), "{}", ended.err),
    }
}

#[test]
fn redirects() {
    let server = aioquic(&[]);
    let fields = |args: &[&str], path: &str| server.get(args, path).text().to_owned();
    // Not followed unless asked for.
    assert_eq!(fields(&["-w", "%{http_code}"], "/redirect/302//"), "moved\n302");
    assert_eq!(fields(&["-L", "-w", "%{num_redirects}"], "/redirect/302//"), "Hello, aioquic!\n1");
    let looped = format!("{}: more than 50 redirects", server.url("/loop/0"));
    server.get(&["-L"], "/loop/0").assert_failed(47, &looped);
    let plain = server.get(&["-L"], "/redirect/302/http://localhost/");
    plain.assert_failed(1, "URL 'http://localhost/': HTTP/3 needs https");
    // What becomes of a POST.
    for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let shown = fields(&["-L", "-d", "body"], &format!("/redirect/{status}//fields"));
        assert!(shown.starts_with(&format!(":method: {method}\n")), "{status}: {shown}");
        assert_eq!(shown.contains("content-length: 4\n"), method == "POST", "{status}: {shown}");
    }
    let forced = fields(&["-L", "-X", "POST", "-d", "body"], "/redirect/302//fields");
    assert!(forced.starts_with(":method: POST\n"), "{forced}");
    // Credentials are for the host that they were given for.
    let secret = ["-L", "-H", "authorization: Bearer secret", "-H", "x-other: kept"];
    let same = fields(&secret, "/redirect/302//fields");
    assert!(same.contains("authorization: Bearer secret\n") && same.contains("x-other: kept\n"), "{same}");
    let elsewhere = format!("/redirect/302/https://localhost:{}/fields", server.addr.port());
    let other = fields(&secret, &elsewhere);
    assert!(!other.contains("authorization") && other.contains("x-other: kept\n"), "{other}");
}

#[test]
fn an_answer_before_the_end_of_the_body() {
    let server = aioquic(&[]);
    let ca = server.ca();
    let args = ["--cacert", &ca, "-T", "body", "-w", "%{http_code}", &server.url("/early")];
    let get = Get::start(&args, Stdio::null(), |dir| fs::write(dir.join("body"), vec![7; 60_000_000]).unwrap());
    assert_eq!(get.finish(LONG).text(), "too large\n413");
    // Nobody waits for the rest of standard input.
    let mut get = Get::start(&["-k", "-T", "-", &server.url("/early")], Stdio::piped(), |_| {});
    let pipe = get.child().stdin.take();
    assert_eq!(get.finish(DEADLINE).text(), "too large\n");
    drop(pipe);
}

/// More than the congestion window, and more than the server takes.
#[test]
fn a_head_that_is_too_large_to_be_sent_ends_in_time() {
    // S18
    let server = Server::start(&[]);
    let field = format!("x: {}", "y".repeat(40_000));
    let args = ["-k", "-m", "20", "-H", &field, "-w", "%{http_code}", "-o", "/dev/null", &server.url("/")];
    let ended = Get::start(&args, Stdio::null(), |_| {}).finish(DEADLINE);
    if ended.code == 0 {
        // Sent in pieces.
        assert_eq!(ended.text(), "431");
    } else {
        let sizes: Vec<usize> = ended.err.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        assert!(sizes.iter().any(|n| (40_000..50_000).contains(n)), "{} names no size", ended.err);
        assert_ne!(ended.code, 28, "a time limit: {}", ended.err);
    }
}
