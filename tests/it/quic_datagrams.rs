//! QUIC datagrams between the library's client and server, under a protocol of their own.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Sender};

use bytes::Bytes;
use mio_quiche::endpoint::CloseCause;
use mio_quiche::{Client, ClientConfig, ClientError, ConnId, DatagramHandler, Datagrams, Router};

use crate::support::local::Local;

const PROTOCOL: &[u8] = b"dgram-test";

/// Answers each datagram by how many came on its connection, and says what happened.
struct Counter {
    counts: BTreeMap<ConnId, u32>,
    said: Sender<String>,
}

impl DatagramHandler for Counter {
    fn opened(&mut self, datagrams: &mut Datagrams<'_>) {
        self.counts.insert(datagrams.id(), 0);
        self.said.send("opened".to_owned()).unwrap();
    }

    fn datagram(&mut self, datagrams: &mut Datagrams<'_>, payload: Bytes) {
        let count = self.counts.get_mut(&datagrams.id()).expect("it was opened");
        *count += 1;
        let answer = [format!("{count} ").as_bytes(), &payload].concat();
        datagrams.send(&answer).unwrap();
    }

    fn closed(&mut self, id: ConnId, cause: &CloseCause) {
        let count = self.counts.remove(&id).expect("it was opened");
        self.said.send(format!("closed after {count}: {} {}", cause.code.0, cause.reason)).unwrap();
    }
}

/// Sends a few, and closes the connection when the last has come back.
struct Asker {
    name: &'static str,
    got: Vec<String>,
    said: Sender<String>,
}

impl DatagramHandler for Asker {
    fn opened(&mut self, datagrams: &mut Datagrams<'_>) {
        datagrams.send(self.name.as_bytes()).unwrap();
    }

    fn datagram(&mut self, datagrams: &mut Datagrams<'_>, payload: Bytes) {
        self.got.push(String::from_utf8_lossy(&payload).into_owned());
        match self.got.len() {
            3 => datagrams.close(7, b"enough"),
            _ => datagrams.send(self.name.as_bytes()).unwrap(),
        }
    }

    fn closed(&mut self, _: ConnId, cause: &CloseCause) {
        self.said.send(format!("{}; {cause}", self.got.join(", "))).unwrap();
    }

    fn failed(&mut self, error: &ClientError) {
        self.said.send(format!("failed: {error}")).unwrap();
    }
}

fn server(alpn: Vec<Vec<u8>>, said: Sender<String>) -> Local {
    let counter = Counter { counts: BTreeMap::new(), said };
    Local::start(
        move |config| config.transport.alpn = alpn,
        || Router::new().quic_datagrams(counter).get("/", |_req, res| res.text("hello\n")),
    )
}

fn client(alpn: &[&[u8]]) -> Client {
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    config.transport.alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Client::new(config).unwrap()
}

#[test]
fn each_on_a_connection_of_its_own() {
    let (said, server_says) = mpsc::channel();
    let server = self::server(vec![b"h3".to_vec(), PROTOCOL.to_vec()], said);
    let mut client = client(&[PROTOCOL]);
    let (said, client_says) = mpsc::channel();
    for name in ["one", "two"] {
        client.open_datagrams(&server.url("/"), Asker { name, got: Vec::new(), said: said.clone() }).unwrap();
    }
    client.run().unwrap();
    let mut ends: Vec<String> = client_says.try_iter().collect();
    ends.sort();
    let end = |name| format!("1 {name}, 2 {name}, 3 {name}; closed by us with 0x7 (enough)");
    assert_eq!(ends, [end("one"), end("two")]);
    let mut seen: Vec<String> = (0..4).map(|_| server_says.recv().unwrap()).collect();
    seen.sort();
    assert_eq!(seen, ["closed after 3: 7 enough", "closed after 3: 7 enough", "opened", "opened"]);
    // A client that is dropped says so.
    let mut left = self::client(&[PROTOCOL]);
    left.open_datagrams(&server.url("/"), Asker { name: "three", got: Vec::new(), said: said.clone() }).unwrap();
    while server_says.try_recv().is_err() {
        left.turn(None).unwrap();
    }
    drop(left);
    let said_goodbye = server_says.recv().unwrap();
    assert!(said_goodbye.ends_with(": 256 "), "H3_NO_ERROR: {said_goodbye}");
    // HTTP/3 is not spoken there.
    let error = client.get(&server.url("/")).unwrap_err();
    assert_eq!(error.to_string(), "the connection does not speak HTTP/3");
    server.stop();
}

#[test]
fn not_beside_those_of_http_and_not_without_a_server() {
    let (said, _server_says) = mpsc::channel();
    let server = self::server(vec![b"h3".to_vec()], said);
    let (said, client_says) = mpsc::channel();
    let asker = || Asker { name: "x", got: Vec::new(), said: said.clone() };
    let mut stranger = client(&[PROTOCOL]);
    stranger.open_datagrams(&server.url("/"), asker()).unwrap();
    stranger.run().unwrap();
    let what = "the server says: no common application protocol (ALPN)";
    assert_eq!(client_says.recv().unwrap(), format!("failed: cannot connect to {}: {what}", server.addr()));
    let mut ordinary = client(&[b"h3"]);
    ordinary.open_datagrams(&server.url("/"), asker()).unwrap();
    ordinary.run().unwrap();
    assert_eq!(client_says.recv().unwrap(), "failed: the datagrams of the connection belong to HTTP");
    assert_eq!(ordinary.get(&server.url("/")).unwrap().body, "hello\n");
    assert!(stranger.open_datagrams("http://localhost/", asker()).is_err());
    let (url, addr) = (server.url("/"), server.addr());
    server.stop();
    stranger.open_datagrams(&url, asker()).unwrap();
    stranger.run().unwrap();
    assert_eq!(client_says.recv().unwrap(), format!("failed: cannot connect to {addr}: connection refused"));
}
