//! The WebSockets of the demo's admin port, by `ws` of node and by bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::admin::{ask, get};
use crate::support::server::Server;
use crate::support::{DEADLINE, tool, wait_for};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];
/// What a message may have.
const MAX_MESSAGE: usize = 65536;

/// Opens a WebSocket, sends `messages` and closes as `close` says; gives what `ws` saw.
pub(crate) fn web_socket(url: &str, options: &Value, messages: &Value, close: &Value) -> Value {
    let arg = json!({ "url": url, "options": options, "messages": messages, "close": close });
    tool("MIO_QUICHE_NODE_MODULES");
    let output = Command::new(tool("MIO_QUICHE_NODE"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/web_socket.mjs"))
        .arg(arg.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("node starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}; node says:\n{errors}"))
}

/// With a page's origin, which is that of the admin port.
fn on_port(server: &Server, path: &str, messages: &Value, close: &Value) -> Value {
    let addr = server.admin();
    let options = json!({ "origin": format!("http://{addr}") });
    web_socket(&format!("ws://{addr}{path}"), &options, messages, close)
}

#[test]
fn texts_and_binaries_are_echoed() {
    let server = Server::start(&ADMIN);
    let messages =
        json!(["hello", "", "ü€🌍", [1], [0], [125], [126], [1000, 0, 3], [MAX_MESSAGE], [1, MAX_MESSAGE - 1]]);
    let seen = on_port(&server, "/wt/echo", &messages, &json!([4001, "bye"]));
    let received = json!(["hello", "", "ü€🌍", 1, 0, 125, 126, 1003, MAX_MESSAGE, MAX_MESSAGE]);
    let expected = json!({
        "opened": true, "extensions": "", "status": null, "received": received, "equal": true, "closed": [4001, "bye"],
    });
    assert_eq!(seen, expected);
    // Many at once, more than any buffer has.
    let many = json!((0..400).map(|n| [n * 50]).collect::<Vec<_>>());
    let seen = on_port(&server, "/wt/echo", &many, &json!([1000]));
    assert_eq!((&seen["equal"], &seen["closed"]), (&json!(true), &json!([1000, ""])));
    assert_eq!(seen["received"].as_array().unwrap().len(), 400);
}

#[test]
fn the_server_closes_with_code_and_reason() {
    let server = Server::start(&ADMIN);
    let closed = |path: &str, messages: Value| {
        let seen = on_port(&server, path, &messages, &Value::Null);
        (seen["status"].clone(), seen["received"].clone(), seen["closed"].clone())
    };
    let none = || (json!(null), json!([]));
    let with = |(status, received): (Value, Value), close: Value| (status, received, close);
    assert_eq!(closed("/wt/close?code=7&reason=bye", json!([])), with(none(), json!([4007, "bye"])));
    assert_eq!(closed("/wt/close", json!([])), with(none(), json!([1000, ""])));
    assert_eq!(closed("/wt/close?code=999&on=datagram", json!(["now"])), with(none(), json!([4999, ""])));
    // As much as fits, in whole characters.
    let long = format!("/wt/close?code=1&reason={}", "%C3%BC".repeat(100));
    assert_eq!(closed(&long, json!([])), with(none(), json!([4001, "ü".repeat(61)])));
    assert_eq!(closed("/wt/close?code=1000", json!([])).0, json!(400));
}

#[test]
fn a_message_that_is_too_long_closes_with_1009() {
    let server = Server::start(&ADMIN);
    for message in [json!([MAX_MESSAGE + 1]), json!([40000, 40000])] {
        let seen = on_port(&server, "/wt/echo", &json!(["first", message]), &Value::Null);
        assert_eq!((&seen["received"], &seen["closed"][0]), (&json!(["first"]), &json!(1009)), "{seen}");
    }
}

#[test]
fn only_pages_that_may_open_sessions_get_one() {
    let server = Server::start(&[&ADMIN[..], &["--allow-origin", "https://a.example"]].concat());
    let addr = server.admin();
    let status = |host: &str, options: Value| {
        let seen = web_socket(&format!("ws://{host}:{}/wt/echo", addr.port()), &options, &json!([]), &json!([1000]));
        (seen["opened"].clone(), seen["status"].clone())
    };
    let (accepted, refused) = ((json!(true), json!(null)), (json!(false), json!(403)));
    let own = format!("http://localhost:{}", addr.port());
    for origin in [own.as_str(), "https://a.example", &format!("https://127.0.0.1:{}", addr.port())] {
        assert_eq!(status("127.0.0.1", json!({ "origin": origin })), accepted, "{origin}");
    }
    for origin in ["https://b.example", "null", &format!("http://a.example:{}", addr.port()), "http://localhost"] {
        assert_eq!(status("127.0.0.1", json!({ "origin": origin })), refused, "{origin}");
    }
    assert_eq!(status("127.0.0.1", json!({})), refused, "without an origin");
    let open = Server::start(&[&ADMIN[..], &["--allow-origin", "*"]].concat());
    let url = format!("ws://{}/wt/echo", open.admin());
    assert_eq!(web_socket(&url, &json!({}), &json!(["x"]), &json!([1000]))["received"], json!(["x"]));
}

#[test]
fn requests_that_are_none_for_a_web_socket() {
    let server = Server::start(&ADMIN);
    let addr = server.admin();
    for method in ["GET", "POST"] {
        assert_eq!(ask(addr, method, "/wt/echo").0, 404, "{method}");
    }
    let answer = |fields: &str| {
        let (mut stream, head) = upgrade(addr, &format!("upgrade: websocket\r\nconnection: upgrade\r\n{fields}"));
        let _ = stream.read_to_end(&mut Vec::new());
        head
    };
    for fields in ["", "sec-websocket-version: 13\r\n", "sec-websocket-version: 8\r\nsec-websocket-key: AAAA\r\n"] {
        let head = answer(fields);
        assert!(head.starts_with("HTTP/1.1 426 ") && head.contains("\r\nsec-websocket-version: 13\r\n"), "{head}");
    }
    // Without the demo there is no such path.
    let site = Server::site(|_| {}, &ADMIN);
    let (_, head) = upgrade(site.admin(), VALID);
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

/// The fields of a request for a WebSocket, without the origin.
const VALID: &str = "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A connection after a request with these fields, and the head of the response.
fn upgrade(addr: SocketAddr, fields: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET /wt/echo HTTP/1.1\r\nhost: {addr}\r\norigin: http://{addr}\r\n{fields}\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole head");
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

fn opened(addr: SocketAddr) -> TcpStream {
    let (stream, head) = upgrade(addr, VALID);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // RFC 6455 section 1.3 has this pair.
    assert!(head.to_lowercase().contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    stream
}

/// Sends a short text, masked with zeros, and reads its echo.
fn assert_echoes(stream: &mut TcpStream) {
    stream.write_all(b"\x81\x82\0\0\0\0hi").unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"\x81\x02hi");
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let server = Server::start(&ADMIN);
    let mut other = opened(server.admin());
    for garbage in [
        &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        // Not masked.
        b"\x81\x02hi",
        // A continuation of nothing.
        b"\x80\x80\0\0\0\0",
        // A ping that is too long for one.
        &[&b"\x89\xfe\x01\x00\0\0\0\0"[..], &[b'x'; 256]].concat(),
    ] {
        let mut stream = opened(server.admin());
        stream.write_all(garbage).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.starts_with(b"\x88") && rest[2..4] == 1002_u16.to_be_bytes(), "{garbage:x?}: {rest:x?}");
        assert_echoes(&mut other);
    }
    // Not UTF-8.
    let mut stream = opened(server.admin());
    stream.write_all(b"\x81\x82\0\0\0\0\xff\xff").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest[2..4], 1007_u16.to_be_bytes(), "{rest:x?}");
    // Behind the request's head already.
    let mut stream = TcpStream::connect(server.admin()).unwrap();
    let addr = server.admin();
    let head = format!("GET /wt/echo HTTP/1.1\r\nhost: {addr}\r\norigin: http://{addr}\r\n{VALID}\r\n");
    stream.write_all(&[head.as_bytes(), b"\x81\x82\0\0\0\0hi\x88\x80\0\0\0\0"].concat()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert!(all.ends_with(b"\r\n\r\n\x81\x02hi\x88\x00"), "{:?}", String::from_utf8_lossy(&all));
    assert_echoes(&mut other);
}

#[test]
fn there_are_64_at_most() {
    let server = Server::start(&ADMIN);
    let mut all: Vec<_> = (0..64).map(|_| opened(server.admin())).collect();
    let refused = || upgrade(server.admin(), VALID).1;
    assert!(refused().starts_with("HTTP/1.1 503 "));
    assert_eq!(get(&server, "/healthz").0, 200, "the rest of the port has places of its own");
    all.iter_mut().for_each(assert_echoes);
    drop(all.pop());
    wait_for("a free place", DEADLINE, || refused().starts_with("HTTP/1.1 101 ").then_some(()));
}

#[test]
fn who_reads_nothing_is_dropped() {
    let server = Server::start(&ADMIN);
    let mut stream = opened(server.admin());
    stream.set_nonblocking(true).unwrap();
    let message = [&b"\x82\xfe\xff\xff\0\0\0\0"[..], &[0; 65535]].concat();
    let (mut taken, mut at) = (0, 0);
    let error = wait_for("the end of the connection", DEADLINE, || match stream.write(&message[at..]) {
        Ok(n) => {
            (taken, at) = (taken + n, (at + n) % message.len());
            assert!(taken < 64 << 20, "the server holds what it cannot send");
            None
        }
        Err(e) if e.kind() == ErrorKind::WouldBlock => {
            assert_eq!(get(&server, "/demo.json").0, 200);
            None
        }
        Err(e) => Some(e.kind()),
    });
    assert!([ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error), "{error}");
}
