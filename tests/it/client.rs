//! The library's client against the real server.

mod certificates;
mod fetching;
mod handles;
mod moves;
mod pool;

use std::fs;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE64;
use http::Method;
use mio_quiche::app::cert::CertInfo;
use mio_quiche::{
    Client, ClientConfig, ClientError, ClientRequest, EndedBy, Error, Progress, Recv, Resolver, ResponseHandler,
    Result, Session, SessionEnd, SessionHandler, SessionOptions, Stream, StreamId,
};
use ring::digest;

use crate::support::aioquic::Aioquic;
use crate::support::server::{Server, make_cert};
use crate::support::{DEADLINE, wait_for};

fn client(set: impl FnOnce(&mut ClientConfig)) -> Client {
    let mut config = ClientConfig::default();
    set(&mut config);
    Client::new(config).unwrap()
}

fn insecure() -> Client {
    client(|config| config.dangerous().accept_any_certificate())
}

fn hash_of(server: &Server) -> [u8; 32] {
    CertInfo::read(&server.dir().join("cert.pem")).unwrap().sha256
}

/// Reads a response, and reports how many bytes have come so far.
struct Download<F> {
    digest: Option<digest::Context>,
    bytes: u64,
    progress: F,
    done: mpsc::Sender<std::result::Result<(u64, Vec<u8>), ClientError>>,
}

impl<F: FnMut(u64)> ResponseHandler for Download<F> {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        loop {
            match s.read_chunk(64 * 1024)? {
                Recv::Data(chunk) => {
                    self.bytes += chunk.len() as u64;
                    self.digest.as_mut().unwrap().update(&chunk);
                    (self.progress)(self.bytes);
                }
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => return Ok(Progress::Done),
            }
        }
    }

    fn finished(&mut self, result: std::result::Result<(), ClientError>) {
        let hash = self.digest.take().unwrap().finish().as_ref().to_vec();
        self.done.send(result.map(|()| (self.bytes, hash))).unwrap();
    }
}

fn sha256() -> digest::Context {
    digest::Context::new(&digest::SHA256)
}

fn payload_hash(len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
    digest::digest(&digest::SHA256, &payload).as_ref().to_vec()
}

#[test]
fn one_request_after_another() {
    let mut server = Server::start(&[]);
    let mut client = insecure();
    let response = client.get(&server.url("/")).unwrap();
    assert_eq!((response.status.as_u16(), &response.body[..]), (200, &b"Hello, HTTP/3!\n"[..]));
    let response = client.get(&server.url("/stream/3000000")).unwrap();
    assert_eq!(digest::digest(&digest::SHA256, &response.body).as_ref(), payload_hash(3_000_000));
    assert!(response.trailers.contains_key("x-checksum"));
    assert_eq!(client.get(&server.url("/nowhere")).unwrap().status.as_u16(), 404);
    let post = ClientRequest::new(Method::POST, &server.url("/api/echo")).unwrap().body("x".repeat(2_000_000));
    assert_eq!(client.fetch(post).unwrap().body, "x".repeat(2_000_000));
    let head = client.fetch(ClientRequest::new(Method::HEAD, &server.url("/")).unwrap()).unwrap();
    assert_eq!((head.headers["content-length"].to_str().unwrap(), head.body.len()), ("15", 0));
    client.close();
    let stats = server.stop();
    assert_eq!((stats.get("connections"), stats.get("requests")), (1, 5));
}

#[test]
fn certificates_are_checked() {
    let server = Server::start(&[]);
    let url = server.url("/");
    let error = client(|_| {}).get(&url).unwrap_err();
    assert!(error.is_certificate(), "{error}");
    let expected = format!("cannot connect to {}: the certificate is not signed by a trusted authority", server.addr());
    assert_eq!(error.to_string(), expected);
    let ca = server.dir().join("ca.pem");
    assert_eq!(client(|config| config.ca_file = Some(ca.clone())).get(&url).unwrap().status, 200, "by address");
    let localhost = format!("https://localhost:{}/", server.port());
    assert_eq!(client(|config| config.ca_file = Some(ca.clone())).get(&localhost).unwrap().status, 200, "by name");
    let other = format!("https://127.0.0.2:{}/", server.port());
    let second = Server::prepared("127.0.0.2:0", |_| {}, &[]);
    let second_ca = second.dir().join("ca.pem");
    let error = client(|config| config.ca_file = Some(second_ca)).get(&second.url("/")).unwrap_err();
    let expected = format!("cannot connect to {}: the certificate is not for this address", second.addr());
    assert_eq!(error.to_string(), expected, "{other}");
    let hash = hash_of(&server);
    assert_eq!(client(|config| config.cert_hashes = vec![[0; 32], hash]).get(&url).unwrap().status, 200);
    let error = client(|config| config.cert_hashes = vec![[0; 32]]).get(&url).unwrap_err();
    let expected = format!("cannot connect to {}: the certificate has none of the expected hashes", server.addr());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_new_certificate_is_taken_without_a_restart() {
    let mut server = Server::start(&["--admin", "127.0.0.1:0"]);
    let shown = |server: &Server| crate::admin::get(server, "/demo.json").1;
    let (url, old) = (server.url("/"), hash_of(&server));
    assert!(shown(&server).contains(&BASE64.encode(&old)), "{}", shown(&server));
    let mut before = client(|config| config.cert_hashes = vec![old]);
    assert_eq!(before.get(&url).unwrap().status, 200);
    fs::write(server.dir().join("key.pem"), "nonsense").unwrap();
    server.signal("HUP");
    wait_for("the refusal", DEADLINE, || server.log().contains("were not reloaded").then_some(()));
    assert_eq!(client(|config| config.cert_hashes = vec![old]).get(&url).unwrap().status, 200);
    for file in ["cert.pem", "key.pem", "ca.pem"] {
        fs::remove_file(server.dir().join(file)).unwrap();
    }
    make_cert(server.dir());
    let new = hash_of(&server);
    assert_ne!(old, new);
    server.signal("HUP");
    wait_for("the new certificate", DEADLINE, || server.log().contains("keys reloaded").then_some(()));
    assert_eq!(client(|config| config.cert_hashes = vec![new]).get(&url).unwrap().status, 200);
    assert!(shown(&server).contains(&BASE64.encode(&new)), "{}", shown(&server));
    assert_eq!(before.get(&url).unwrap().status, 200, "the connection that was there goes on");
    server.stop();
}

/// The ticket of a connection, which comes some time after the handshake.
fn ticket(client: &mut Client, url: &str) -> Vec<u8> {
    loop {
        if let Some(ticket) = client.ticket(url).unwrap() {
            return ticket;
        }
        client.turn(Some(Instant::now() + Duration::from_millis(100))).unwrap();
    }
}

#[test]
fn sessions_are_resumed_and_safe_requests_go_early() {
    let mut server = Server::start(&["--early-data"]);
    let url = server.url("/");
    let early = |ticket: Option<Vec<u8>>| {
        let mut client = client(|config| {
            config.dangerous().accept_any_certificate();
            config.transport.early_data = true;
        });
        if let Some(ticket) = ticket {
            client.set_ticket(&url, ticket).unwrap();
        }
        client
    };
    let mut first = early(None);
    assert_eq!(first.get(&url).unwrap().status, 200);
    let ticket = ticket(&mut first, &url);
    first.close();
    // When client and server share a core, the handshake may be complete before the server reads the request.
    const TIMES: u64 = 8;
    for _ in 0..TIMES {
        let mut again = early(Some(ticket.clone()));
        assert_eq!(again.get(&url).unwrap().status, 200);
        assert!(again.resumed());
        again.close();
    }
    // One that changes something waits for the handshake.
    let mut third = early(Some(ticket));
    let post = ClientRequest::new(Method::POST, &server.url("/api/echo")).unwrap().body("late");
    assert_eq!(third.fetch(post).unwrap().body, "late");
    assert!(third.resumed());
    third.close();
    let stats = server.stop();
    assert_eq!(stats.get("resumed_handshakes"), TIMES + 1);
    assert!((1..=TIMES).contains(&stats.get("early_requests")), "{stats:?}");
}

#[test]
fn a_ticket_key_outlives_the_server() {
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), [7; 48]).unwrap();
    let start = || Server::start(&["--ticket-key", key.path().to_str().unwrap()]);
    let mut one = start();
    let mut before = insecure();
    assert_eq!(before.get(&one.url("/")).unwrap().status, 200);
    let ticket = ticket(&mut before, &one.url("/"));
    before.close();
    one.stop();
    let mut two = start();
    let mut after = insecure();
    after.set_ticket(&two.url("/"), ticket.clone()).unwrap();
    assert_eq!(after.get(&two.url("/")).unwrap().status, 200);
    assert!(after.resumed());
    // After a rotation the ticket is no longer good, and the handshake is a full one.
    fs::write(key.path(), [8; 48]).unwrap();
    two.signal("HUP");
    wait_for("the new key", DEADLINE, || two.log().contains("keys reloaded").then_some(()));
    let mut full = insecure();
    full.set_ticket(&two.url("/"), ticket).unwrap();
    assert_eq!(full.get(&two.url("/")).unwrap().status, 200);
    assert!(!full.resumed());
    two.stop();
}

#[test]
fn without_a_ticket_key_a_ticket_outlives_a_reload() {
    let mut server = Server::start(&[]);
    let url = server.url("/");
    let mut before = insecure();
    assert_eq!(before.get(&url).unwrap().status, 200);
    let ticket = ticket(&mut before, &url);
    before.close();
    server.signal("HUP");
    wait_for("the reload", DEADLINE, || server.log().contains("keys reloaded").then_some(()));
    let mut after = insecure();
    after.set_ticket(&url, ticket).unwrap();
    assert_eq!(after.get(&url).unwrap().status, 200);
    assert!(after.resumed());
    server.stop();
}

#[test]
fn a_cancelled_request_resets_and_stops_its_stream() {
    let mut server = Server::start(&["--qlog-dir", "qlogs"]);
    let mut client = insecure();
    let (done, result) = mpsc::channel();
    let (far, far_enough) = mpsc::channel();
    let progress = move |bytes| {
        if bytes > 1_000_000 {
            // Nobody listens after the first time.
            let _ = far.send(());
        }
    };
    let digest = Some(digest::Context::new(&digest::SHA256));
    let request = ClientRequest::get(&server.url("/stream/1000000000")).unwrap();
    let id = client.start(request, Download { digest, bytes: 0, progress, done });
    while far_enough.try_recv().is_err() {
        client.turn(None).unwrap();
    }
    client.cancel(id);
    assert!(matches!(result.recv().unwrap(), Err(ClientError::Cancelled)));
    assert_eq!(client.get(&server.url("/")).unwrap().status, 200, "the connection goes on");
    client.close();
    let stats = server.stop();
    assert!(stats.get("cancelled_streams") >= 1);
    let (_, qlog) = server.qlogs("qlogs").pop().unwrap();
    assert!(qlog.contains("stop_sending"), "the server saw STOP_SENDING");
}

#[test]
fn requests_time_out() {
    let server = Server::start(&[]);
    let mut client = insecure();
    let request = ClientRequest::get(&server.url("/slow?delay=20000")).unwrap().timeout(Duration::from_millis(200));
    let error = client.fetch(request).unwrap_err();
    assert_eq!(error.to_string(), "the request took longer than 0.2 s");
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let mut hasty = self::client(|config| config.connect_timeout = Duration::from_millis(300));
    let error = hasty.get(&url).unwrap_err();
    let host = silent.local_addr().unwrap();
    assert_eq!(error.to_string(), format!("cannot connect to {host}: no answer within 0.3 s"));
}

#[test]
fn a_resolver_that_blocks_holds_nobody_up() {
    let server = Server::start(&[]);
    let (release, blocked) = mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let mut client = client(|config| {
        config.dangerous().accept_any_certificate();
        config.connect_timeout = Duration::from_secs(6);
        config.resolver = Some(Resolver::new(move |host, port| match host {
            "slow.test" => {
                let _ = blocked.lock().unwrap().recv();
                Err(std::io::Error::other("too late"))
            }
            "good.test" => Ok(vec![([127, 0, 0, 1], port).into()]),
            _ => Err(std::io::Error::other("nobody knows it")),
        }));
    });
    let slow = format!("https://slow.test:{}/", server.port());
    let (done, ended) = mpsc::channel();
    let unasked = Download { digest: Some(sha256()), bytes: 0, progress: |_| (), done };
    client.start(ClientRequest::get(&slow).unwrap(), unasked);
    // Meanwhile others are served, and cut short.
    let good = client.get(&format!("https://good.test:{}/", server.port())).unwrap();
    assert_eq!(&good.body[..], b"Hello, HTTP/3!\n");
    let hasty = ClientRequest::get(&slow).unwrap().timeout(Duration::from_millis(100));
    assert_eq!(client.fetch(hasty).unwrap_err().to_string(), "the request took longer than 0.1 s");
    let unknown = client.get("https://other.test/").unwrap_err();
    assert_eq!(unknown.to_string(), "cannot resolve host 'other.test': nobody knows it");
    assert!(!unknown.is_timeout());
    client.run().unwrap();
    let error = ended.try_recv().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cannot resolve host 'slow.test': no answer within 6 s");
    assert!(error.is_timeout());
    drop(release);
}

#[test]
fn requests_that_a_leaving_server_does_not_take_go_elsewhere() {
    // The first server goes away with the first request still running; the second takes over its port.
    let mut first = Server::start(&[]);
    let mut client = insecure();
    let port = first.port();
    assert_eq!(client.get(&first.url("/")).unwrap().status, 200);
    first.stop();
    let listen = format!("127.0.0.1:{port}");
    let mut second = Server::prepared(&listen, |_| {}, &[]);
    assert_eq!(client.get(&second.url("/")).unwrap().status, 200);
    client.close();
    second.stop();
}

/// Says why a session did not open.
struct Unopened(mpsc::Sender<String>);

impl SessionHandler for Unopened {
    fn failed(&mut self, error: &ClientError) {
        self.0.send(error.to_string()).unwrap();
    }
}

#[test]
fn sessions_that_are_not_answered_time_out() {
    let (server, silent) = (Aioquic::start(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let (said, failures) = mpsc::channel();
    let nobody = format!("https://{}/", silent.local_addr().unwrap());
    for (url, millis) in [(server.url("/silence"), 300), (nobody, 200)] {
        let options = SessionOptions::new(&url).unwrap().timeout(Duration::from_millis(millis));
        let mut client = insecure();
        client.open_session(options, Unopened(said.clone()));
        client.run().unwrap();
        let seconds = millis as f64 / 1e3;
        assert_eq!(failures.recv().unwrap(), format!("the request took longer than {seconds} s"), "{url}");
    }
}

/// What came back on our stream, what the server said on its own, the subprotocol, and how the session ended.
type Said = (Vec<u8>, Vec<u8>, Option<String>, SessionEnd);

/// Says and asks a few things in a session.
struct Talk {
    stream: Option<StreamId>,
    from_server: Vec<u8>,
    back: Vec<u8>,
    datagrams: usize,
    chosen: Option<String>,
    done: mpsc::Sender<Said>,
}

impl SessionHandler for Talk {
    fn response(&mut self, head: &mio_quiche::ResponseHead) {
        self.chosen = head.headers.get("wt-protocol").map(|v| v.to_str().unwrap().to_owned());
    }

    fn failed(&mut self, error: &ClientError) {
        panic!("{error}");
    }

    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        let id = s.open_bidi()?;
        let mut hello = Bytes::from("hello on a stream".repeat(500));
        s.stream(id).unwrap().finish_with(&mut hello)?;
        assert!(hello.is_empty());
        self.stream = Some(id);
        Ok(s.send_datagram(b"hello")?)
    }

    fn datagram(&mut self, s: &mut Session<'_>, payload: Bytes) -> Result<()> {
        assert_eq!(&payload[..], b"hello");
        self.datagrams += 1;
        self.finish(s)
    }

    fn stream(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<Option<Box<dyn mio_quiche::StreamHandler>>> {
        assert!(id.is_bidi() && !id.is_from_client());
        s.stream(id).unwrap().finish()?;
        Ok(None)
    }

    fn ready(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<()> {
        let all = if Some(id) == self.stream { &mut self.back } else { &mut self.from_server };
        let mut stream = s.stream(id).ok_or(Error::handler("no stream"))?;
        loop {
            match stream.read_chunk(1 << 16)? {
                Recv::Data(chunk) => all.extend_from_slice(&chunk),
                Recv::Pending => return Ok(()),
                Recv::Finished => break,
            }
        }
        s.release(id);
        if Some(id) == self.stream {
            self.stream = None;
        }
        self.finish(s)
    }

    fn closed(&mut self, _: StreamId, end: &SessionEnd) {
        self.done.send((self.back.clone(), self.from_server.clone(), self.chosen.clone(), end.clone())).unwrap();
    }
}

impl Talk {
    fn finish(&mut self, s: &mut Session<'_>) -> Result<()> {
        if self.datagrams == 1 && self.stream.is_none() && self.from_server.ends_with(b"\n") {
            s.close(31, "said everything");
        }
        Ok(())
    }
}

#[test]
fn a_session_with_streams_from_both_sides() {
    let mut server = Server::start(&[]);
    let mut client = insecure();
    let (done, result) = mpsc::channel();
    let options = SessionOptions::new(&server.url("/wt/echo?open=1")).unwrap().subprotocol("x").subprotocol("echo-v2");
    let (from_server, back) = (Vec::new(), Vec::new());
    client.open_session(options, Talk { stream: None, from_server, back, datagrams: 0, chosen: None, done });
    client.run().unwrap();
    let (back, from_server, chosen, end) = result.recv().unwrap();
    assert_eq!(back, "hello on a stream".repeat(500).as_bytes());
    assert_eq!(from_server, b"server stream 0\n");
    assert_eq!(chosen.as_deref(), Some("\"echo-v2\""));
    assert_eq!(end, SessionEnd { by: EndedBy::Us, code: 31, reason: "said everything".to_owned() });
    let closes = client.get(&server.url("/wt/closes")).unwrap();
    let expected = r#"[{"path":"/wt/echo","by":"peer","code":31,"reason":"said everything"}]"#;
    assert_eq!(String::from_utf8_lossy(&closes.body).trim(), expected);
    client.close();
    server.stop();
}

/// Also when the first one's connection is there to be used again.
#[test]
fn ten_sessions_one_after_the_other_with_one_client() {
    // S1
    let mut server = Server::start(&[]);
    let mut client = insecure();
    for n in 0..10 {
        let (done, result) = mpsc::channel();
        let options = SessionOptions::new(&server.url("/wt/echo?open=1")).unwrap();
        let (from_server, back) = (Vec::new(), Vec::new());
        client.open_session(options, Talk { stream: None, from_server, back, datagrams: 0, chosen: None, done });
        let deadline = Instant::now() + DEADLINE / 4;
        let mut turns = 0;
        let (back, from_server, _, end) = loop {
            if let Ok(said) = result.try_recv() {
                break said;
            }
            assert!(Instant::now() < deadline, "session {n} has not ended after {turns} turns");
            client.turn(Some(deadline)).unwrap();
            turns += 1;
        };
        assert_eq!(back, "hello on a stream".repeat(500).as_bytes(), "session {n}");
        assert_eq!((&from_server[..], end.code), (&b"server stream 0\n"[..], 31), "session {n}");
        assert!(turns < 500, "session {n} took {turns} turns");
    }
    client.close();
    assert_eq!(server.stop().get("sessions_opened"), 10);
}

#[test]
fn ten_sessions_at_once_with_one_client() {
    // S1
    let mut server = Server::start(&[]);
    let mut client = insecure();
    let (done, results) = mpsc::channel();
    for _ in 0..10 {
        let options = SessionOptions::new(&server.url("/wt/echo?open=1")).unwrap();
        let (from_server, back, done) = (Vec::new(), Vec::new(), done.clone());
        client.open_session(options, Talk { stream: None, from_server, back, datagrams: 0, chosen: None, done });
    }
    client.run().unwrap();
    let ended: Vec<_> = results.try_iter().collect();
    assert_eq!(ended.len(), 10);
    for (back, from_server, _, end) in ended {
        assert_eq!(back, "hello on a stream".repeat(500).as_bytes());
        assert_eq!((&from_server[..], end.code), (&b"server stream 0\n"[..], 31));
    }
    client.close();
    assert_eq!(server.stop().get("sessions_opened"), 10);
}

/// Waiting for room must cost nothing.
#[test]
fn requests_that_wait_for_room_do_not_keep_the_loop_awake() {
    let mut server = Server::start(&["--no-webtransport", "--max-requests", "1"]);
    let mut client = insecure();
    let (done, results) = mpsc::channel();
    for _ in 0..18 {
        let request = ClientRequest::get(&server.url("/slow?delay=1500")).unwrap();
        let digest = Some(digest::Context::new(&digest::SHA256));
        client.start(request, Download { digest, bytes: 0, progress: |_| (), done: done.clone() });
    }
    let mut turns = 0;
    while client.is_busy() {
        client.turn(None).unwrap();
        turns += 1;
    }
    let bytes: Vec<u64> = results.try_iter().map(|result| result.unwrap().0).collect();
    assert_eq!(bytes, ["waited 1500 ms\n".len() as u64; 18]);
    assert!(turns < 1000, "{turns} turns");
    client.close();
    let stats = server.stop();
    assert_eq!((stats.get("requests"), stats.get("connections")), (18, 6));
}

#[test]
fn a_server_that_does_not_wait_longer_says_so() {
    let mut server = Server::start(&["--shutdown-timeout", "0.3", "--admin", "127.0.0.1:0"]);
    // A method that is not sent again, as the server may have begun; its body never ends.
    let request = ClientRequest::new(Method::POST, &server.url("/upload")).unwrap().streamed_body(None);
    let (done, ended) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let mut client = insecure();
        client.start(request, Download { digest: Some(sha256()), bytes: 0, progress: |_| (), done });
        client.run().unwrap();
        ended.try_recv().unwrap().unwrap_err()
    });
    wait_for("the request", DEADLINE, || {
        crate::admin::get(&server, "/metrics").1.contains("mio_quiche_requests_total 1\n").then_some(())
    });
    server.signal("TERM");
    let error = waiting.join().unwrap();
    assert!(matches!(&error, ClientError::Closed(cause) if cause.reason == "shutting down"), "{error}");
    assert_eq!(server.wait(DEADLINE).code(), Some(0));
}

#[test]
fn six_connections_to_a_server_are_the_most() {
    let mut server = Server::start(&["--max-requests", "1", "--no-webtransport"]);
    let mut client = insecure();
    let (done, results) = mpsc::channel();
    for _ in 0..12 {
        let digest = Some(digest::Context::new(&digest::SHA256));
        let request = ClientRequest::get(&server.url("/slow?delay=1500")).unwrap();
        client.start(request, Download { digest, bytes: 0, progress: |_| (), done: done.clone() });
    }
    client.run().unwrap();
    let answers: Vec<_> = results.try_iter().map(|result| result.unwrap().0).collect();
    assert_eq!(answers, ["waited 1500 ms\n".len() as u64; 12]);
    client.close();
    let stats = server.stop();
    assert_eq!((stats.get("connections"), stats.get("requests")), (6, 12));
}
