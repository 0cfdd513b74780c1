//! The redirect port: HTTP/1.1 over TLS for clients that do not know of HTTP/3 yet.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::server::{Server, make_cert};
use crate::support::{DEADLINE, tool, wait_for};

const HELLO: &str = "Hello, HTTP/3!\n";

/// curl that may use any version of HTTP.
fn curl(server: &Server, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(tool("MIO_QUICHE_CURL"));
    command.args(["-q", "-s", "--max-time", "60"]).args(args).current_dir(server.dir()).stdin(Stdio::null());
    let output = command.arg(format!("https://localhost:{}/", server.port())).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A certificate for `localhost` and a port on both loopback addresses, as curl may try either.
fn serve() -> Server {
    Server::prepared("[::]:0", |_| {}, &["--redirect"])
}

#[test]
fn the_response_leads_curl_to_http3() {
    let mut server = serve();
    let cache = ["--cacert", "ca.pem", "--alt-svc", "alt-svc.txt", "-w", " %{http_version}"];
    let (code, first) = curl(&server, &[&cache[..], &["-D", "head.txt"]].concat());
    assert_eq!(code, Some(0));
    assert!(first.ends_with(" 1.1") && first.contains("This server speaks HTTP/3"), "{first}");
    let port = server.port();
    let head = std::fs::read_to_string(server.dir().join("head.txt")).unwrap();
    assert_eq!(head.lines().next(), Some("HTTP/1.1 505 HTTP Version Not Supported"));
    assert!(head.contains(&format!("\r\nalt-svc: h3=\":{port}\"; ma=86400\r\n")), "{head}");
    // curl remembers it, and comes by HTTP/3.
    assert_eq!(curl(&server, &cache), (Some(0), format!("{HELLO} 3")));
    server.stop();
}

#[test]
fn what_is_not_tls_and_what_is_silent_costs_others_nothing() {
    let mut server = serve();
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    };
    let silent: Vec<_> = (0..100).map(|_| connect()).collect();
    let mut plain = connect();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // An alert of TLS, or a reset.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    let (code, text) = curl(&server, &["-k"]);
    assert!(code == Some(0) && text.contains("This server speaks HTTP/3"), "{code:?} {text}");
    // The silent ones are closed in time.
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 100]).unwrap_or(0), 0);
    }
    server.stop();
}

#[test]
fn a_signal_reloads_its_certificate() {
    let mut server = serve();
    let status = |server: &Server| curl(server, &["--cacert", "ca.pem", "-o", "page.html", "-w", "%{http_code}"]);
    assert_eq!(status(&server), (Some(0), "505".to_owned()));
    // Another authority.
    std::fs::remove_file(server.dir().join("ca.pem")).unwrap();
    make_cert(server.dir());
    assert_eq!(status(&server).0, Some(60), "the certificate is not the server's yet");
    server.signal("HUP");
    wait_for("the reload", DEADLINE, || server.log().contains("certificate and keys reloaded").then_some(()));
    assert_eq!(status(&server), (Some(0), "505".to_owned()));
    server.stop();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = serve();
    let other = format!("--redirect=127.0.0.1:{}", server.port());
    let mut command = crate::support::server::mio_quiche();
    command.args(["serve", "--demo", "--listen", "127.0.0.1:0", "--cert", "cert.pem", "--key", "key.pem", &other]);
    let output = command.current_dir(server.dir()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, rest) =
        error.split_once("cannot open the redirect port on 127.0.0.1:").unwrap_or_else(|| panic!("{error}"));
    assert!(rest.ends_with("; choose a port with --redirect ADDR:PORT\n"), "{rest}");
    assert_eq!(output.status.code(), Some(1));
}
