//! The admin port: metrics, health and what the demo page is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use data_encoding::BASE64;
use quiche::h3;
use ring::digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Answer, Client, config, post};
use crate::support::curl::{curl, curl_url};
use crate::support::server::{Server, make_cert, mio_quiche};
use crate::support::{DEADLINE, tool, wait_for};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// Status, head and body of an answer.
pub(crate) fn ask(addr: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(addr).expect("the admin port takes connections");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {addr}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

pub(crate) fn get(server: &Server, path: &str) -> (u16, String) {
    let (status, _, body) = ask(server.admin(), "GET", path);
    (status, body)
}

/// The value of a metric, whose labels belong to its name; `None` if it is not there.
pub(crate) fn metric(server: &Server, name: &str) -> Option<u64> {
    // On a busy machine the loop may not answer in time.
    let page = || Some(get(server, "/metrics")).filter(|(status, _)| *status == 200);
    let (_, text) = wait_for("the metrics", DEADLINE, page);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

/// Runs promtool with a standard input, and gives its status and what it said.
pub(crate) fn promtool(args: &[&str], input: &str) -> (Option<i32>, String) {
    let mut promtool = Command::new(tool("MIO_QUICHE_PROMTOOL"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    promtool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    (output.status.code(), [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat())
}

#[test]
fn promtool_finds_nothing_wrong() {
    let server = Server::start(&ADMIN);
    for path in ["/", "/api/users/1", "/nowhere/\"quoted\"", "/status/503"] {
        curl(&server, path, &[]);
    }
    let (status, head, text) = ask(server.admin(), "GET", "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let (code, said) = promtool(&["check", "metrics"], &text);
    assert_eq!((code, said.as_str()), (Some(0), ""), "{text}");
    // It does not mind metrics without either.
    let families = crate::metrics::families(&text);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let name = crate::metrics::family_of(name, &families).unwrap_or(name);
        for kind in ["HELP", "TYPE"] {
            assert!(text.contains(&format!("# {kind} {name} ")), "{kind} of {name}");
        }
    }
}

#[test]
fn counters_move_with_requests() {
    let mut server = Server::start(&ADMIN);
    assert_eq!(metric(&server, "mio_quiche_requests_total"), Some(0));
    assert_eq!(metric(&server, "mio_quiche_responses_total{route=\"/\",status=\"2xx\"}"), None);
    for path in ["/", "/", "/", "/api/users/1", "/api/users/7", "/api/users/x", "/nowhere/1", "/nowhere/2"] {
        curl(&server, path, &[]);
    }
    curl_url(&server.url("/"), &["-X", "PUT"]);
    let counted = [
        ("mio_quiche_requests_total", 9),
        ("mio_quiche_connections_total", 9),
        ("mio_quiche_handshakes_total", 9),
        ("mio_quiche_malformed_requests_total", 0),
        ("mio_quiche_responses_total{route=\"/\",status=\"2xx\"}", 3),
        ("mio_quiche_responses_total{route=\"/api/users/:id\",status=\"2xx\"}", 1),
        ("mio_quiche_responses_total{route=\"/api/users/:id\",status=\"4xx\"}", 2),
        ("mio_quiche_responses_total{route=\"-\",status=\"4xx\"}", 3),
        ("mio_quiche_shutting_down", 0),
    ];
    for (name, value) in counted {
        assert_eq!(metric(&server, name), Some(value), "{name}");
    }
    // The gauges go up and down.
    let open = |n| wait_for("so many connections", DEADLINE, || (open_connections(&server) == n).then_some(()));
    open(0);
    let mut client = Client::connect(server.addr());
    client.assert_alive();
    assert_eq!(open_connections(&server), 1);
    assert_eq!(metric(&server, "mio_quiche_handshakes_open"), Some(0));
    client.get("/slow?delay=60000");
    client.assert_alive();
    client.quic.close(true, 0x100, b"").unwrap();
    client.flush();
    open(0);
    assert_eq!(metric(&server, "mio_quiche_responses_total{route=\"/slow\",status=\"none\"}"), Some(1));
    // What Prometheus saw is what the server logs.
    let metrics = get(&server, "/metrics").1;
    let stats = server.stop();
    for (metric, field) in [
        ("udp_received_datagrams", "datagrams_in"),
        ("udp_received_bytes", "bytes_in"),
        ("udp_sent_datagrams", "datagrams_out"),
        ("udp_sent_bytes", "bytes_out"),
        ("requests", "requests"),
    ] {
        let line = format!("mio_quiche_{metric}_total {}\n", stats.get(field));
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
}

fn open_connections(server: &Server) -> u64 {
    metric(server, "mio_quiche_connections_open").unwrap()
}

#[test]
fn health_tells_of_a_shutdown() {
    let mut server = Server::start(&[&ADMIN[..], &["--shutdown-timeout", "200"]].concat());
    assert_eq!(get(&server, "/healthz"), (200, "ok\n".to_owned()));
    // A connection that says nothing is to keep nobody waiting in the end.
    let addr = server.admin();
    let mut idle = TcpStream::connect(addr).unwrap();
    idle.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut client = Client::connect(server.addr());
    let running = client.request(&post("/api/echo"), false);
    client.assert_alive();
    server.signal("TERM");
    client.until("GOAWAY", |c| c.goaway);
    assert_eq!(get(&server, "/healthz"), (503, "shutting down\n".to_owned()));
    assert_eq!(metric(&server, "mio_quiche_shutting_down"), Some(1));
    client.send_body(running, b"at last", true);
    assert_eq!(client.answer(running).text(), "at last");
    client.close_code();
    // Less than it has for a request.
    assert_eq!(server.wait(Duration::from_secs(9)).code(), Some(0), "{}", server.log());
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
    assert!(TcpStream::connect(addr).is_err(), "the port is closed");
}

#[test]
fn other_paths_and_methods_are_refused() {
    let server = Server::start(&ADMIN);
    let addr = server.admin();
    for path in ["/metrics/", "/favicon.ico", "/api/users", "//", "/../etc/passwd"] {
        for method in ["GET", "POST"] {
            assert_eq!(ask(addr, method, path).0, 404, "{method} {path}");
        }
    }
    for path in ["/", "/metrics", "/healthz", "/demo.json"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let (status, head, _) = ask(addr, method, path);
            assert_eq!(status, 405, "{method} {path}");
            assert!(head.contains("\r\nallow: GET, HEAD"), "{head}");
        }
        assert_eq!(ask(addr, "GET", &format!("{path}?query")).0, 200, "{path}");
        let (status, _, body) = ask(addr, "HEAD", path);
        assert_eq!((status, body.as_str()), (200, ""), "HEAD {path}");
    }
    // A browser asks for the page in HTTP/1.1, and curl knows nothing else here.
    let mut curl = Command::new(tool("MIO_QUICHE_CURL"));
    let output = curl.args(["-q", "-sS", "--http1.1", "-d", "body"]).arg(format!("http://{addr}/healthz")).output();
    assert_eq!(output.unwrap().stdout, b"only GET and HEAD\n");
}

#[test]
fn the_page_is_told_of_the_certificate() {
    let server = Server::start(&ADMIN);
    let (status, head, body) = ask(server.admin(), "GET", "/demo.json");
    assert_eq!(status, 200);
    assert!(head.contains("\r\ncontent-type: application/json"), "{head}");
    let hash =
        mio_quiche().args(["cert", "--out", ".", "--if-needed", "--print-hash"]).current_dir(server.dir()).output();
    let hash = String::from_utf8(hash.unwrap().stdout).unwrap();
    let expected = json!({
        "url": format!("https://{}", server.addr()),
        "port": server.port(),
        "any_host": false,
        "certificate_sha256": hash.trim_end(),
        "version": mio_quiche::VERSION,
        "quiche_version": mio_quiche::QUICHE_VERSION,
    });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
}

#[test]
fn the_page_may_open_sessions_and_they_are_counted() {
    let server = Server::start(&ADMIN);
    let mut config = config();
    config.enable_dgram(true, 100, 100);
    let mut client = Client::handshake(server.addr(), config);
    let mut settings = h3::Config::new().unwrap();
    // SETTINGS_ENABLE_WEBTRANSPORT of draft-02, which browsers send.
    settings.set_additional_settings(vec![(0x2b60_3742, 1)]).unwrap();
    client.h3 = Some(h3::Connection::with_transport(&mut client.quic, &settings).unwrap());
    client.assert_alive();
    let mut open = |origin: &str| {
        let pseudo = ":method CONNECT|:protocol webtransport|:scheme https|:authority localhost|:path /wt/echo";
        let id = client.request(&format!("{pseudo}|origin {origin}"), false);
        let status = client.until("the answer's head", |c| c.streams.get(&id).map(Answer::status).filter(|s| *s > 0));
        if status != 200 {
            client.send_body(id, b"", true);
        }
        status
    };
    let port = server.admin().port();
    assert_eq!(open(&format!("http://127.0.0.1:{port}")), 200);
    assert_eq!(open(&format!("http://localhost:{port}")), 200);
    assert_eq!(open("http://example.com"), 403);
    assert_eq!(open(&format!("http://localhost:{}", port ^ 1)), 403);
    let rejected = || metric(&server, "mio_quiche_webtransport_sessions_rejected_total");
    wait_for("the refused streams to end", DEADLINE, || (rejected() == Some(2)).then_some(()));
    for (name, value) in [
        ("mio_quiche_webtransport_sessions_open", 2),
        ("mio_quiche_webtransport_sessions_opened_total", 2),
        ("mio_quiche_webtransport_sessions_closed_total", 0),
    ] {
        assert_eq!(metric(&server, name), Some(value), "{name}");
    }
}

#[test]
fn the_page_may_run_nothing_but_its_own_script() {
    let server = Server::start(&ADMIN);
    let (status, head, page) = ask(server.admin(), "GET", "/");
    assert_eq!(status, 200);
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).expect("a policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for tag in ["script", "style"] {
        let content = page.split(&format!("<{tag}>")).nth(1).unwrap().split(&format!("</{tag}>")).next().unwrap();
        let sum = BASE64.encode(digest::digest(&digest::SHA256, content.as_bytes()).as_ref());
        assert!(policy.contains(&format!("{tag}-src 'sha256-{sum}'")), "{tag}: {policy}");
    }
}

#[test]
fn addresses_that_do_not_do() {
    let dir = TempDir::new().unwrap();
    make_cert(dir.path());
    let serve = |admin: &str| {
        let pair = ["--cert", "cert.pem", "--key", "key.pem"];
        let args = [&["serve", "--demo", "--listen", "127.0.0.1:0"], &pair[..], &["--admin", admin]].concat();
        let output = mio_quiche().args(args).current_dir(dir.path()).output().unwrap();
        assert_eq!(output.stdout, b"", "nothing but the error");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let message = format!(
        "mio-quiche: cannot open the admin port on {addr}: Address already in use (os error 98) \
         (another server runs there); choose a port with --admin ADDR:PORT\n"
    );
    assert_eq!(serve(&addr), (Some(1), message));
    for wrong in ["8080", "localhost:8080", "127.0.0.1", "127.0.0.1:70000"] {
        let (code, err) = serve(wrong);
        assert_eq!(code, Some(2));
        let expected =
            format!("error: invalid value '{wrong}' for '--admin <ADDR:PORT>': invalid socket address syntax\n");
        assert!(err.starts_with(&expected), "{err}");
    }
}
