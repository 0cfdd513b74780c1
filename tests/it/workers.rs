//! A server with several workers: connections stay at their workers wherever their datagrams come from, and the rest is
//! that of one server.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio_quiche::app::cert::{CertInfo, DevCert};
use mio_quiche::{
    Client, ClientConfig, ClientRequest, Error, MigrateError, Progress, Recv, ResponseHandler, Result, Router,
    ServerConfig, Stream, Topic, Workers, WorkersHandle,
};

use crate::support::relay::Relay;
use crate::support::server::{Server, make_cert, mio_quiche};
use crate::support::{DEADLINE, payload, wait_for};

fn insecure() -> Client {
    client(|_| {})
}

fn client(set: impl FnOnce(&mut ClientConfig)) -> Client {
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    set(&mut config);
    Client::new(config).unwrap()
}

/// A page of the admin port.
fn admin(addr: SocketAddr, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A metric of each worker.
fn of_each(addr: SocketAddr, metric: &str) -> Vec<u64> {
    let text = admin(addr, "/metrics/workers");
    let prefix = format!("mio_quiche_{metric}{{worker=\"");
    let rows = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "));
    let rows: Vec<(usize, u64)> = rows.map(|(n, value)| (n.parse().unwrap(), value.parse().unwrap())).collect();
    assert!(!rows.is_empty() && rows.iter().enumerate().all(|(at, (n, _))| at == *n), "{text}");
    rows.into_iter().map(|(_, value)| value).collect()
}

/// A metric of the server.
fn sum(addr: SocketAddr, metric: &str) -> u64 {
    let text = admin(addr, "/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("mio_quiche_{metric} ")));
    value.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

/// Keeps a response's body and passes it on at the end.
struct Keep(Vec<u8>, mpsc::Sender<Result<Vec<u8>, String>>);

impl ResponseHandler for Keep {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        loop {
            match s.read_chunk(64 * 1024)? {
                Recv::Data(chunk) => self.0.extend_from_slice(&chunk),
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => return Ok(Progress::Done),
            }
        }
    }

    fn finished(&mut self, result: std::result::Result<(), mio_quiche::ClientError>) {
        let body = std::mem::take(&mut self.0);
        let _ = self.1.send(result.map(|()| body).map_err(|e| e.to_string()));
    }
}

/// Runs the client until a request has ended.
fn download(client: &mut Client, url: &str, mut each: impl FnMut(&mut Client)) -> Result<Vec<u8>, String> {
    let (done, body) = mpsc::channel();
    client.start(ClientRequest::get(url).unwrap(), Keep(Vec::new(), done));
    while client.is_busy() {
        client.turn(Some(Instant::now() + Duration::from_millis(5))).unwrap();
        each(client);
    }
    body.recv().unwrap()
}

/// A hundred moves, half of them of the client, half of a NAT.
fn move_about(workers: &str) {
    const CONNECTIONS: usize = 10;
    const MOVES: usize = 10;
    let size = 6_000_000;
    let server = Server::start(&["--workers", workers, "--admin", "127.0.0.1:0", "--log", "warn"]);
    let relay = Relay::start(server.addr(), 0, 1);
    let mut moves = 0;
    for _ in 0..CONNECTIONS {
        let mut client = insecure();
        let (mut moved, mut next) = (0, Instant::now() + Duration::from_millis(20));
        let body = download(&mut client, &relay.url(&format!("/stream/{size}")), |client| {
            if moved == MOVES || Instant::now() < next {
                return;
            }
            match moved % 2 {
                0 => relay.rebind(),
                _ => match client.migrate() {
                    Ok(()) => {}
                    Err(Error::Migrate(MigrateError::NoConnectionId)) => return,
                    Err(e) => panic!("{e}"),
                },
            }
            (moved, next) = (moved + 1, Instant::now() + Duration::from_millis(20));
        });
        assert!(body.unwrap() == payload(size), "after {moved} moves");
        moves += moved;
        client.close();
    }
    assert!(moves >= CONNECTIONS * MOVES / 2, "{moves} moves");
    let connections = of_each(server.admin(), "connections_total");
    assert_eq!(connections.len().to_string(), workers);
    assert_eq!(connections.iter().sum::<u64>(), CONNECTIONS as u64);
    assert!(sum(server.admin(), "migrations_total") > CONNECTIONS as u64);
    for (metric, most) in [("resets_sent_total", 0), ("connections_total", CONNECTIONS as u64)] {
        assert_eq!(sum(server.admin(), metric), most, "{metric}: {}", server.log());
    }
}

#[test]
fn moves_and_rebindings_lose_nothing_with_two_workers() {
    move_about("2");
}

#[test]
fn moves_and_rebindings_lose_nothing_with_four_workers() {
    move_about("4");
}

#[test]
fn retry_tokens_and_tickets_are_good_at_any_worker() {
    const CONNECTIONS: u64 = 16;
    let mut server = Server::start(&["--workers", "4", "--retry", "on", "--admin", "127.0.0.1:0"]);
    let mut client = insecure();
    for _ in 0..CONNECTIONS {
        assert_eq!(client.get(&server.url("/")).unwrap().status, 200);
        client.close();
    }
    let connections = of_each(server.admin(), "connections_total");
    assert!(connections.iter().filter(|count| **count > 0).count() > 1, "{connections:?}");
    let stats = server.stop();
    let counts = ["connections", "handshakes", "resumed_handshakes", "invalid_tokens"].map(|name| stats.get(name));
    assert_eq!(counts, [CONNECTIONS, CONNECTIONS, CONNECTIONS - 1, 0]);
    assert!(stats.get("retries") >= CONNECTIONS);
}

#[test]
fn the_limit_on_connections_is_that_of_the_server() {
    let server = Server::start(&["--workers", "4", "--max-connections", "3", "--admin", "127.0.0.1:0"]);
    let mut clients: Vec<Client> = (0..4).map(|_| insecure()).collect();
    let results: Vec<_> = clients
        .iter_mut()
        .map(|client| client.get(&server.url("/")).map(|response| response.status.as_u16()))
        .collect();
    assert!(results[..3].iter().all(|result| matches!(result, Ok(200))), "{results:?}");
    let error = results[3].as_ref().unwrap_err().to_string();
    assert!(error.ends_with("the server refuses connections (too many connections)"), "{error}");
    assert!(sum(server.admin(), "refused_connections_total") > 0);
    clients[0].close();
    drop(clients.remove(0));
    wait_for("room for another", DEADLINE, || (sum(server.admin(), "connections_open") < 3).then_some(()));
    assert_eq!(insecure().get(&server.url("/")).unwrap().status, 200);
}

#[test]
fn signals_reach_every_worker() {
    let mut server = Server::start(&["--workers", "4", "--admin", "127.0.0.1:0"]);
    make_cert(server.dir());
    let new = CertInfo::read(&server.dir().join("cert.pem")).unwrap().sha256;
    server.signal("HUP");
    wait_for("four reloads", DEADLINE, || {
        (server.log().matches("certificate and keys reloaded").count() == 4).then_some(())
    });
    for _ in 0..12 {
        let mut config = ClientConfig::default();
        config.cert_hashes = vec![new];
        assert_eq!(Client::new(config).unwrap().get(&server.url("/")).unwrap().status, 200);
    }
    // Running responses end.
    let url = server.url("/slow?delay=500");
    let slow: Vec<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            thread::spawn(move || {
                insecure().get(&url).map(|response| response.status.as_u16()).map_err(|e| e.to_string())
            })
        })
        .collect();
    wait_for("six requests", DEADLINE, || (sum(server.admin(), "requests_total") == 18).then_some(()));
    let stats = server.stop();
    assert!(slow.into_iter().all(|slow| slow.join().unwrap() == Ok(200)));
    assert_eq!(stats.get("requests"), 18);
}

#[test]
fn a_wrong_number_of_workers_is_named() {
    let output = mio_quiche().args(["serve", "--demo", "--workers", "129"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("the number of workers is 129, but must be 0 (one for each processor) to 128"), "{told}");
}

/// A server in this process, until the handle shuts it down.
fn start(
    count: usize,
    router: impl Fn() -> Router + Send + Sync + 'static,
) -> (WorkersHandle, String, thread::JoinHandle<Result<()>>) {
    let mut config = ServerConfig::new(vec![DevCert::generate(&[]).unwrap().certificate()]);
    config.handle_signals = false;
    config.shutdown_timeout = Duration::from_secs(3);
    config.transport.idle_timeout = 5 * DEADLINE;
    let mut workers = Workers::bind("127.0.0.1:0", config, count, move || Ok(router())).unwrap();
    let (handle, url) = (workers.handle(), format!("https://{}", workers.local_addr()));
    (handle, url, thread::spawn(move || workers.run()))
}

#[test]
fn a_topic_reaches_members_at_every_worker() {
    let news = Topic::new();
    let feed = news.clone();
    let (handle, url, server) = start(4, move || {
        let (feed, name) = (feed.clone(), thread::current().name().unwrap_or_default().to_owned());
        Router::new().get("/feed", move |_req, res| res.header("worker", name.clone()).feed(&feed, 0))
    });
    let members: Vec<_> = (0..12)
        .map(|_| {
            let url = format!("{url}/feed");
            thread::spawn(move || insecure().get(&url).unwrap())
        })
        .collect();
    wait_for("twelve members", DEADLINE, || (news.members() == 12).then_some(()));
    news.publish("to all");
    news.close();
    let responses: Vec<_> = members.into_iter().map(|member| member.join().unwrap()).collect();
    assert!(responses.iter().all(|response| response.body == "to all"));
    let at: BTreeSet<_> = responses.iter().map(|response| response.headers["worker"].to_str().unwrap()).collect();
    assert!(at.len() > 1 && at.iter().all(|name| name.starts_with("worker-")), "{at:?}");
    handle.shutdown().unwrap();
    server.join().unwrap().unwrap();
}

/// A body that makes the engine panic when it is freed.
struct Bomb;

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        &[7; 5000]
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("boom");
    }
}

/// A client with a connection at a worker whose name is `wanted`, and that name.
fn client_at(url: &str, wanted: impl Fn(&str) -> bool) -> (String, Client) {
    for _ in 0..200 {
        let mut client = client(|config| config.transport.idle_timeout = 5 * DEADLINE);
        let at = String::from_utf8(client.get(url).unwrap().body.to_vec()).unwrap();
        if wanted(&at) {
            return (at, client);
        }
    }
    panic!("no such worker");
}

#[test]
fn a_worker_that_panics_starts_again_and_the_others_go_on() {
    let (handle, url, server) = start(3, || {
        let name = thread::current().name().unwrap_or_default().to_owned();
        Router::new()
            .get("/", move |_req, res| res.text(name.clone()))
            .get("/boom", |_req, res| res.bytes("text/plain", Bytes::from_owner(Bomb)))
    });
    // Two clients of different workers, and one more at that of the first.
    let mut first = client_at(&url, |_| true);
    let mut other = client_at(&url, |at| at != first.0);
    let mut fatal = client_at(&url, |at| at == first.0);
    let began = Instant::now();
    let _ = fatal.1.get(&format!("{url}/boom"));
    // The other worker's connection is there still.
    assert_eq!(other.1.get(&url).unwrap().body, other.0.as_bytes());
    // A connection of the worker that panicked is reset, and the client makes another one.
    assert_eq!(first.1.get(&url).unwrap().status, 200);
    assert!(began.elapsed() < DEADLINE, "a reset, not the idle timeout");
    // The worker takes connections again.
    drop(client_at(&url, |at| at == first.0));
    handle.shutdown().unwrap();
    drop((first, other, fatal));
    server.join().unwrap().unwrap();
}
