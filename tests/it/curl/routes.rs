//! The routes that answer from memory, and the router's own answers.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::curl::{Reply, assert_payload, command, curl, curl_url};
use crate::support::server::Server;
use crate::support::{payload, sha256};

fn assert_plain(reply: &Reply, status: u16, body: &str) {
    assert_eq!((reply.status, reply.text()), (status, body));
    assert_eq!(reply.field("content-length"), Some(&*body.len().to_string()), "of {status}");
    assert_eq!(reply.field("content-type"), Some("text/plain;charset=utf-8"), "of {status}");
}

#[test]
fn hello_with_its_certificate_checked() {
    let server = Server::start(&[]);
    let ca = server.dir().join("ca.pem");
    let resolve = format!("localhost:{}:127.0.0.1", server.port());
    let output = std::process::Command::new(crate::support::tool("MIO_QUICHE_CURL"))
        .args(["-q", "-sS", "--http3-only", "--max-time", "20", "-w", "%{http_version} %{ssl_verify_result}"])
        .args(["--resolve", &resolve, "--cacert"])
        .arg(ca)
        .arg(format!("https://localhost:{}/", server.port()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Hello, HTTP/3!\n3 0");
}

#[test]
fn hello_over_ipv6_and_ipv4_on_one_socket() {
    let server = Server::prepared("[::]:0", |_| {}, &[]);
    assert_eq!(server.addr().ip().to_string(), "::");
    for host in ["[::1]", "127.0.0.1"] {
        let reply = curl_url(&format!("https://{host}:{}/", server.port()), &[]);
        assert_plain(&reply, 200, "Hello, HTTP/3!\n");
    }
    let server = Server::prepared("[::1]:0", |_| {}, &[]);
    assert_plain(&curl_url(&format!("https://[::1]:{}/", server.port()), &[]), 200, "Hello, HTTP/3!\n");
}

#[test]
fn users_as_json() {
    let server = Server::start(&[]);
    let json = |path: &str, status: u16, body: &str| {
        let reply = curl(&server, path, &[]);
        assert_eq!((reply.status, reply.text()), (status, body), "{path}");
        assert_eq!(reply.field("content-type"), Some("application/json"));
        assert_eq!(reply.field("content-length"), Some(&*body.len().to_string()));
    };
    let douglas = "{\"id\":42,\"name\":\"Douglas\"}\n";
    json(
        "/api/users",
        200,
        "[{\"id\":1,\"name\":\"Ada\"},{\"id\":2,\"name\":\"Grace\"},{\"id\":42,\"name\":\"Douglas\"}]\n",
    );
    json("/api/users/42", 200, douglas);
    json("/api/users/42?verbose=1", 200, douglas);
    // M6: equivalent paths.
    json("/%61pi/us%65rs/42", 200, douglas);
    json("/x/../api/./users/42", 200, douglas);
    // Parameters are decoded, but a slash that was encoded does not make a segment.
    json("/api/users/%34%32", 200, douglas);
    json("/api/users/7", 404, "{\"error\":\"no such user\",\"id\":7}\n");
    for path in
        ["/api/users/x", "/api/users/4%2F2", "/api/users/-1", "/api/users/%ff", "/api/users/99999999999999999999"]
    {
        json(path, 400, "{\"error\":\"id must be a number\"}\n");
    }
    for path in ["/api/users/", "/api/users/42/", "/api/users/42/more", "/api//users", "/API/users", "/nowhere", "//"] {
        assert_plain(&curl(&server, path, &[]), 404, "404 Not Found\n");
    }
}

#[test]
fn head_has_the_length_and_no_body() {
    let server = Server::start(&[]);
    for (path, length) in [("/", "15"), ("/api/users/42", "27"), ("/stream/1000", "1000")] {
        let reply = curl(&server, path, &["--head"]);
        assert_eq!((reply.status, reply.field("content-length")), (200, Some(length)), "{path}");
        // With --head curl prints the head again where the body would be.
        let lines = reply.text().lines().take_while(|line| !line.is_empty()).count();
        assert_eq!(reply.text().lines().count(), lines + 1, "{path}: nothing behind the head: {}", reply.text());
    }
    assert_eq!(curl(&server, "/nowhere", &["--head"]).field("content-length"), Some("14"));
}

#[test]
fn methods_that_a_path_does_not_have() {
    let server = Server::start(&[]);
    let reply = curl(&server, "/api/users", &["-X", "DELETE"]);
    assert_plain(&reply, 405, "405 Method Not Allowed\n");
    assert_eq!(reply.field("allow"), Some("GET, HEAD, OPTIONS"));
    let reply = curl(&server, "/upload", &[]);
    assert_plain(&reply, 405, "405 Method Not Allowed\n");
    assert_eq!(reply.field("allow"), Some("OPTIONS, POST"));
    for (path, allow) in [("/api/users", "GET, HEAD, OPTIONS"), ("/trailers/demo", "GET, HEAD, OPTIONS, POST")] {
        let reply = curl(&server, path, &["-X", "OPTIONS"]);
        assert_eq!((reply.status, reply.field("allow"), reply.body.len()), (204, Some(allow), 0));
        assert_eq!(reply.field("content-length"), None, "RFC 9110 section 8.6: none in a 204");
    }
    let reply = curl(&server, "/", &["-X", "OPTIONS", "--request-target", "*"]);
    assert_eq!((reply.status, reply.field("allow")), (204, Some("CONNECT, GET, HEAD, OPTIONS, POST")));
    assert_eq!(curl(&server, "/nowhere", &["-X", "OPTIONS"]).status, 404);
    for path in ["/", "/nowhere"] {
        assert_plain(&curl(&server, path, &["-X", "FOO"]), 501, "501 Not Implemented\n");
    }
}

#[test]
fn every_plain_status() {
    let server = Server::start(&[]);
    for (status, phrase) in [
        (404, "Not Found"),
        (405, "Method Not Allowed"),
        (413, "Payload Too Large"),
        (414, "URI Too Long"),
        (416, "Range Not Satisfiable"),
        (425, "Too Early"),
        (429, "Too Many Requests"),
        (431, "Request Header Fields Too Large"),
        (500, "Internal Server Error"),
        (501, "Not Implemented"),
        (503, "Service Unavailable"),
    ] {
        let reply = curl(&server, &format!("/status/{status}"), &[]);
        assert_plain(&reply, status, &format!("{status} {phrase}\n"));
        let head = curl(&server, &format!("/status/{status}"), &["--head"]);
        assert_eq!((head.status, head.field("content-length")), (status, reply.field("content-length")));
    }
    let reply = curl(&server, "/status/204", &[]);
    assert_eq!((reply.status, reply.field("content-length"), reply.body.len()), (204, None, 0));
    assert_plain(&curl(&server, "/status/x", &[]), 400, "the status must be a number\n");
}

#[test]
fn every_answer_has_its_date() {
    let server = Server::start(&[]);
    for path in ["/", "/nowhere", "/status/500", "/stream/10"] {
        let reply = curl(&server, path, &[]);
        let date = httpdate::parse_http_date(reply.field("date").expect("a date field")).unwrap();
        let age = std::time::SystemTime::now().duration_since(date).unwrap_or_default();
        assert!(age < Duration::from_secs(60), "{path}: {age:?}");
    }
}

#[test]
fn echo_gives_back_what_it_gets() {
    let server = Server::start(&[]);
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("data");
    // No multiple of anything, and no repetition that could hide swapped data.
    let mut data = payload((1 << 20) + 13);
    data.iter_mut().enumerate().for_each(|(n, byte)| *byte ^= (n >> 10) as u8);
    std::fs::write(&file, &data).unwrap();
    let body = format!("@{}", file.display());
    let reply = curl(&server, "/api/echo", &["--data-binary", &body, "-H", "content-type: application/x-test"]);
    assert_eq!((reply.status, reply.body.len(), sha256(&reply.body)), (200, data.len(), sha256(&data)));
    assert_eq!(reply.field("content-type"), Some("application/x-test"));
    for text in ["", "x", "some text"] {
        assert_eq!(curl(&server, "/api/echo", &["--data-binary", text]).text(), text);
    }
    // RFC 9110 section 10.1.1: the client may wait for 100 before it sends the body.
    let reply = curl(&server, "/api/echo", &["--data-binary", &body, "-H", "expect: 100-continue"]);
    assert_eq!(sha256(&reply.body), sha256(&data));
}

#[test]
fn streams_have_their_checksum_as_a_trailer() {
    let server = Server::start(&[]);
    for size in [0, 1, 250, 251, 252, 65_535, 65_536, 65_537, 1_000_003] {
        let reply = curl(&server, &format!("/stream/{size}"), &[]);
        assert_payload(&reply, size);
        assert_eq!(reply.field("content-length"), Some(&*size.to_string()));
        assert_eq!(reply.field("trailer"), Some("x-checksum"));
    }
    let reply = curl(&server, "/stream/1000?checksum=off", &[]);
    assert_eq!((reply.body, reply.fields.iter().any(|(name, _)| name == "x-checksum")), (payload(1000), false));
    assert_plain(&curl(&server, "/stream/x", &[]), 400, "the number of bytes must be a number\n");
}

#[test]
fn uploads_are_counted_and_hashed() {
    let server = Server::start(&[]);
    let sum = |data: &str| format!("{{\"bytes\":{},\"sha256\":\"{}\"}}\n", data.len(), sha256(data.as_bytes()));
    for data in ["", "x", "some text"] {
        let reply = curl(&server, "/upload", &["--data-binary", data]);
        assert_eq!((reply.text(), reply.field("content-type")), (&*sum(data), Some("application/json")));
    }
    assert_eq!(curl(&server, "/upload?checksum=off", &["-d", "abc"]).text(), "{\"bytes\":3}\n");
}

#[test]
fn trailers_of_the_demo() {
    let server = Server::start(&[]);
    let reply = curl(&server, "/trailers/demo", &[]);
    assert_eq!((reply.status, reply.text()), (200, "request trailers:\n"));
    assert_eq!(reply.fields.last(), Some(&("x-demo".to_owned(), "trailers".to_owned())));
}

#[test]
fn slow_waits_as_long_as_it_was_told() {
    let server = Server::start(&[]);
    let began = Instant::now();
    let reply = curl(&server, "/slow?delay=400", &[]);
    assert_plain_text(&reply, "waited 400 ms\n");
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_plain_text(&curl(&server, "/slow?delay=0", &[]), "waited 0 ms\n");
    for path in ["/slow", "/slow?delay=60001", "/slow?delay=x"] {
        assert_plain(&curl(&server, path, &[]), 400, "give ?delay=MS, at most 60000\n");
    }
}

fn assert_plain_text(reply: &Reply, body: &str) {
    assert_eq!((reply.status, reply.text()), (200, body));
}

#[test]
fn a_priority_field_is_accepted() {
    let server = Server::start(&[]);
    for value in ["u=0", "u=7, i", "i", "u=9", "!?", ""] {
        let field = format!("priority: {value}");
        assert_plain(&curl(&server, "/", &["-H", &field]), 200, "Hello, HTTP/3!\n");
    }
}

#[test]
fn many_requests_at_once_on_one_connection() {
    let mut server = Server::start(&[]);
    let dir = tempfile::TempDir::new().unwrap();
    let url = format!("{}?[1-150]", server.url("/stream/20000"));
    let out = dir.path().join("#1");
    let output = command().args(["--parallel", "--parallel-max", "50", "-o"]).arg(out).arg(url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for n in 1..=150 {
        assert_eq!(std::fs::read(dir.path().join(n.to_string())).unwrap(), payload(20_000), "answer {n}");
    }
    let stats = server.stop();
    assert_eq!((stats.get("requests"), stats.get("malformed_requests")), (150, 0));
}
