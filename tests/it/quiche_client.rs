//! The client of the quiche project.

use std::process::{Command, Output, Stdio};

use crate::support::client::{Client, config, get, post};
use crate::support::server::{Guard, Server};
use crate::support::{DEADLINE, payload, sha256, tool};

/// Runs http3-client, which sends one GET and prints the body.
fn http3_client(url: &str) -> Output {
    let child = Command::new(tool("MIO_QUICHE_HTTP3_CLIENT"))
        .arg(url)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Guard(child.expect("http3-client starts"));
    let (mut out, mut err) = (child.0.stdout.take().unwrap(), child.0.stderr.take().unwrap());
    let read = |pipe: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    };
    let stdout = read(&mut out);
    let stderr = read(&mut err);
    let status = child.wait("http3-client ends", DEADLINE);
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    Output { status, stdout, stderr }
}

/// It prints bodies as UTF-8 text without looking, so only ASCII is safe.
fn get_all(retry: &str) -> Server {
    let text: String = (0..40_000).map(|n| (b'a' + (n % 26) as u8) as char).collect();
    let server = Server::with_files(
        |root| std::fs::write(root.join("text.txt"), &text).unwrap(),
        &["--retry", retry, "--qlog-dir", "qlogs"],
    );
    for (path, body) in [
        ("/", "Hello, HTTP/3!\n"),
        ("/api/users/42", "{\"id\":42,\"name\":\"Douglas\"}\n"),
        ("/nowhere", "404 Not Found\n"),
        ("/slow?delay=50", "waited 50 ms\n"),
        ("/files/text.txt", &text),
    ] {
        let output = http3_client(&server.url(path));
        assert_eq!(String::from_utf8_lossy(&output.stdout), body, "{path} with --retry {retry}");
    }
    server
}

#[test]
fn gets_without_retry() {
    let mut server = get_all("off");
    let stats = server.stop();
    assert_eq!((stats.get("retries"), stats.get("connections"), stats.get("requests")), (0, 5, 5));
    assert_eq!(server.qlogs("qlogs").len(), 5);
}

#[test]
fn gets_with_retry() {
    let mut server = get_all("on");
    let stats = server.stop();
    assert!(stats.get("retries") >= 5, "{stats:?}");
    assert_eq!((stats.get("invalid_tokens"), stats.get("connections"), stats.get("requests")), (0, 5, 5));
    // No connection, and so no log, for a client that has not proved its address.
    assert_eq!(server.qlogs("qlogs").len(), 5);
}

// What http3-client has no option for, on its library.

#[test]
fn many_requests_on_one_connection() {
    let mut server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    let ids: Vec<u64> = (0..100).map(|n| client.get(&format!("/stream/{}", n * 100))).collect();
    for (n, id) in ids.into_iter().enumerate() {
        let answer = client.answer(id);
        assert_eq!((answer.status(), &answer.body), (200, &payload(n * 100)));
        assert_eq!(answer.field("x-checksum"), Some(&*sha256(&payload(n * 100))));
    }
    drop(client);
    let stats = server.stop();
    assert_eq!((stats.get("connections"), stats.get("requests")), (1, 100));
}

#[test]
fn bodies_on_one_connection() {
    let server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    for size in [0, 1, 16_383, 16_384, 3_000_000] {
        let body = payload(size);
        let id = client.request(&post("/api/echo"), false);
        client.send_body(id, &body, true);
        let answer = client.answer(id);
        assert_eq!((answer.body.len(), sha256(&answer.body)), (size, sha256(&body)));
    }
    // Both at once on many streams, byte by byte interleaved as the library likes.
    let body = payload(30_000);
    let ids: Vec<u64> = (0..50).map(|_| client.request(&post("/api/echo"), false)).collect();
    for part in body.chunks(10_000) {
        ids.iter().for_each(|id| client.send_body(*id, part, false));
    }
    ids.iter().for_each(|id| client.send_body(*id, b"!", true));
    for id in ids {
        assert_eq!(client.answer(id).body, [&body[..], b"!"].concat());
    }
}

#[test]
fn a_version_is_negotiated_and_used() {
    let mut server = Server::start(&["--retry", "on"]);
    // A version that nobody has: quiche takes the server's offer and goes on with version 1.
    let mut asking = quiche::Config::new(0xbaba_baba).unwrap();
    asking.verify_peer(false);
    asking.set_application_protos(&[b"h3"]).unwrap();
    asking.set_initial_max_data(1 << 20);
    asking.set_initial_max_stream_data_bidi_local(1 << 20);
    asking.set_initial_max_stream_data_uni(1 << 20);
    asking.set_initial_max_streams_uni(3);
    let mut client = Client::connect_with(server.addr(), asking);
    client.assert_alive();
    drop(client);
    let stats = server.stop();
    assert!(stats.get("version_negotiations") >= 1 && stats.get("retries") >= 1, "{stats:?}");
    assert_eq!(stats.get("handshakes"), 1);
}

#[test]
fn another_protocol_is_refused() {
    let mut server = Server::start(&[]);
    let mut other = config();
    other.set_application_protos(&[b"hq-interop"]).unwrap();
    let mut client = Client::begin(server.addr(), other);
    client.flush();
    // TLS alert no_application_protocol as a QUIC error (RFC 9001 section 8.1).
    assert_eq!(client.close_code(), (false, 0x100 + 120));
    Client::connect(server.addr()).assert_alive();
    assert_eq!(server.stop().get("handshakes"), 1);
}

#[test]
fn small_windows_and_many_streams() {
    let server = Server::start(&[]);
    let mut small = config();
    small.set_initial_max_data(3000);
    small.set_initial_max_stream_data_bidi_local(1000);
    small.set_max_connection_window(8000);
    small.set_max_stream_window(3000);
    let mut client = Client::connect_with(server.addr(), small);
    let ids: Vec<u64> = (0..20).map(|_| client.request(&get("/stream/20000"), true)).collect();
    for id in ids {
        let answer = client.answer(id);
        assert_eq!((answer.body.len(), sha256(&answer.body)), (20_000, sha256(&payload(20_000))));
        assert_eq!(answer.field("x-checksum"), Some(&*sha256(&payload(20_000))), "trailers when blocked, too");
    }
}
