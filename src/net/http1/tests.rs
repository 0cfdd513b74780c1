//! A port against a plain TCP client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;

fn open() -> Http1Port {
    Http1Port::open("admin", ([127, 0, 0, 1], 0).into(), None, |request| {
        let Http1Request { method, path, .. } = request;
        Http1Answer::Response(match *path {
            "/large" => Http1Response::text(StatusCode::OK, vec![b'x'; 4 << 20]),
            _ => Http1Response::text(StatusCode::OK, format!("{method} {path}\n")),
        })
    })
    .unwrap()
}

fn connect(port: &Http1Port) -> TcpStream {
    let stream = TcpStream::connect(port.local_addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Status line and body.
fn ask(port: &Http1Port, request: &[u8]) -> (String, String) {
    let mut stream = connect(port);
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn requests_are_answered() {
    let port = open();
    let ok = "HTTP/1.1 200 OK".to_owned();
    assert_eq!(ask(&port, b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n"), (ok.clone(), "GET /a\n".to_owned()));
    assert_eq!(ask(&port, b"GET /a HTTP/1.0\r\n\r\n"), (ok.clone(), "GET /a\n".to_owned()));
    assert_eq!(ask(&port, b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n"), (ok, String::new()));
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let port = open();
    let mut stream = connect(&port);
    for byte in b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nGET /slow\n"), "{answer}");
}

#[test]
fn bodies_are_not_waited_for() {
    let port = open();
    let post = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 70000000000000\r\n\r\nsome";
    assert_eq!(ask(&port, post).1, "POST /a\n");
    let chunked = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n";
    assert_eq!(ask(&port, chunked).1, "POST /a\n");
}

#[test]
fn what_is_no_request_is_refused() {
    let port = open();
    assert_eq!(ask(&port, b"\x16\x03\x01\x02\x00\x01\r\n\r\n").0, "HTTP/1.1 400 Bad Request");
    assert_eq!(ask(&port, b"GET  HTTP/1.1\r\n\r\n").0, "HTTP/1.1 400 Bad Request");
    let too_large = "HTTP/1.1 431 Request Header Fields Too Large";
    let long = [b"GET /", &[b'a'; MAX_HEAD][..]].concat();
    assert_eq!(ask(&port, &long).0, too_large);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
    assert_eq!(ask(&port, many.as_bytes()).0, too_large);
}

#[test]
fn idle_and_slow_connections_stop_nobody() {
    let port = open();
    // One does not read a response larger than any socket buffer, others send nothing.
    let mut slow = connect(&port);
    slow.write_all(b"GET /large HTTP/1.1\r\n\r\n").unwrap();
    let idle: Vec<TcpStream> = (0..MAX_CONNECTIONS - 2).map(|_| connect(&port)).collect();
    assert_eq!(ask(&port, b"GET /a HTTP/1.1\r\n\r\n").1, "GET /a\n");
    drop(idle);
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    assert!(answer.len() > 4 << 20);
    assert!(answer.ends_with(b"xxxx"));
}

#[test]
fn more_connections_than_allowed_wait_for_a_place() {
    let port = open();
    let mut idle: Vec<TcpStream> = (0..MAX_CONNECTIONS).map(|_| connect(&port)).collect();
    let mut waits = connect(&port);
    waits.write_all(b"GET /a HTTP/1.1\r\n\r\n").unwrap();
    idle.pop();
    let mut answer = String::new();
    waits.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("GET /a\n"), "{answer}");
}

#[test]
fn dropping_closes_the_port() {
    let port = open();
    let addr = port.local_addr();
    let mut idle = connect(&port);
    drop(port);
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
    assert!(TcpStream::connect(addr).is_err());
}
