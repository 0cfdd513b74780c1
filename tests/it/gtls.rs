//! ngtcp2's client on GnuTLS: another QUIC, another HTTP/3, another TLS.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::admin::metric;
use crate::support::curl::{assert_payload, download};
use crate::support::relay::Relay;
use crate::support::server::{Guard, Server};
use crate::support::{DEADLINE, payload, sha256, tool, wait_for};

/// Runs gtlsclient on some paths of the server until all are fetched; gives where it put them.
fn fetch(server: &Server, args: &[&str], paths: &[String]) -> (TempDir, Output) {
    fetch_through(server, server.port(), args, paths)
}

/// The same through a relay at a port of 127.0.0.1.
fn fetch_through(server: &Server, port: u16, args: &[&str], paths: &[String]) -> (TempDir, Output) {
    let dir = TempDir::new().unwrap();
    let out = fs::File::create(dir.path().join("out.log")).unwrap();
    let child = Command::new(tool("MIO_QUICHE_GTLSCLIENT"))
        .args(["--exit-on-all-streams-close", "--no-quic-dump", "--no-http-dump", "--download"])
        .arg(dir.path())
        .args(args)
        .args(["127.0.0.1", &port.to_string()])
        .args(paths.iter().map(|path| server.url(path)))
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn();
    let status = Guard(child.expect("gtlsclient starts")).wait("gtlsclient ends", 3 * DEADLINE);
    let log = fs::read(dir.path().join("out.log")).unwrap();
    let last = String::from_utf8_lossy(&log[log.len().saturating_sub(2000)..]).into_owned();
    assert!(status.success(), "{status}: ...{last}");
    (dir, Output { status, stdout: log, stderr: Vec::new() })
}

const FILES: usize = 100;

/// Each file another length and another content.
fn content(n: usize) -> Vec<u8> {
    payload(n * 997 + 1).iter().map(|byte| byte.wrapping_add(n as u8)).collect()
}

fn hundred_files(server_args: &[&str], client_args: &[&str]) -> Server {
    let fill = |root: &Path| {
        (0..FILES).for_each(|n| fs::write(root.join(format!("file{n}.bin")), content(n)).unwrap());
    };
    let server = Server::with_files(fill, server_args);
    let paths: Vec<String> = (0..FILES).map(|n| format!("/files/file{n}.bin")).collect();
    let (dir, _) = fetch(&server, &[&["-q"], client_args].concat(), &paths);
    for n in 0..FILES {
        let got = fs::read(dir.path().join(format!("file{n}.bin"))).unwrap_or_default();
        assert_eq!((got.len(), sha256(&got)), (n * 997 + 1, sha256(&content(n))), "file {n}");
    }
    server
}

#[test]
fn a_hundred_files_in_one_connection() {
    let stats = hundred_files(&[], &[]).stop();
    assert_eq!((stats.get("connections"), stats.get("requests")), (1, 100));
    assert_eq!((stats.get("malformed_requests"), stats.get("cancelled_streams")), (0, 0));
}

#[test]
fn a_hundred_files_with_retry() {
    let stats = hundred_files(&["--retry", "on"], &[]).stop();
    assert!(stats.get("retries") >= 1, "{stats:?}");
    assert_eq!((stats.get("connections"), stats.get("requests")), (1, 100));
}

#[test]
fn a_hundred_files_under_loss() {
    // The client's CONNECTION_CLOSE may be lost too, and then nobody acknowledges the last answers.
    let stats = hundred_files(&["--shutdown-timeout", "1"], &["--tx-loss=0.02", "--rx-loss=0.02"]).stop();
    assert_eq!(stats.get("requests"), 100);
}

#[test]
fn keys_are_updated_in_a_download() {
    let size = 20_000_000;
    let server = Server::start(&[]);
    let (dir, output) = fetch(&server, &["--key-update=20ms"], &[format!("/stream/{size}")]);
    let got = fs::read(dir.path().join(size.to_string())).unwrap();
    assert_eq!((got.len(), sha256(&got)), (size, sha256(&payload(size))));
    // Packets of ours in the second key phase, as the client saw them.
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let second = log.lines().filter(|line| line.contains("pkt rx") && line.ends_with("type=1RTT k=1")).count();
    assert!(second > 0, "no packet with the new keys");
}

#[test]
fn a_nat_rebinds_before_the_request() {
    // In a download gtlsclient would still receive at its old address, ignore all that and so send nothing itself.
    let size = 2_000_000;
    let server = Server::start(&["--log", "debug"]);
    let options = ["-q", "--change-local-addr=100ms", "--nat-rebinding", "--delay-stream=300ms"];
    let (dir, _) = fetch(&server, &options, &[format!("/stream/{size}")]);
    let got = fs::read(dir.path().join(size.to_string())).unwrap();
    assert_eq!((got.len(), sha256(&got)), (size, sha256(&payload(size))));
    assert!(server.log().contains("PeerMigrated"), "{}", server.log());
}

#[test]
fn a_nat_rebinds_in_an_upload() {
    let size = 10_000_000;
    let server = Server::start(&["--log", "debug"]);
    let relay = Relay::start(server.addr(), 0, 1);
    let file = server.dir().join("data");
    fs::write(&file, payload(size)).unwrap();
    let data = format!("@{}", file.display());
    let mut running = download(&relay.url("/upload"), &["--limit-rate", "5M", "--data-binary", &data]);
    for part in 1..=3 {
        let sent = || relay.counts().1 > part * 2000;
        wait_for("a part of the upload", DEADLINE, || sent().then_some(()));
        relay.rebind();
    }
    let reply = running.finish(2 * DEADLINE);
    assert_eq!(reply.text(), format!("{{\"bytes\":{size},\"sha256\":\"{}\"}}\n", sha256(&payload(size))));
    assert!(server.log().contains("PeerMigrated"), "{}", server.log());
}

/// A download in which the client moves, so many times.
fn moves_in_downloads(times: u64, args: &[&str]) {
    let size = 20_000_000;
    let mut server = Server::start(&[&["--log", "debug"], args].concat());
    for _ in 0..times {
        let (dir, _) = fetch(&server, &["-q", "--change-local-addr=20ms"], &[format!("/stream/{size}")]);
        let got = fs::read(dir.path().join(size.to_string())).unwrap();
        assert_eq!((got.len(), sha256(&got)), (size, sha256(&payload(size))));
    }
    let stats = server.stop();
    assert_eq!((stats.get("migrations"), stats.get("connections")), (times, times));
}

#[test]
fn a_client_moves_in_a_download() {
    moves_in_downloads(3, &[]);
}

#[test]
fn a_client_of_one_of_four_workers_moves_in_a_download() {
    moves_in_downloads(6, &["--workers", "4"]);
}

/// Many more ports than the paths that a connection has at a time.
const PORTS: u64 = 20;

#[test]
fn a_nat_rebinds_twenty_times_in_a_download() {
    // K1
    let size = 22_000_000;
    let mut server = Server::start(&[]);
    let relay = Relay::start(server.addr(), 0, 1);
    let url = relay.url(&format!("/stream/{size}"));
    let mut running = download(&url, &["--limit-rate", "10M", "--speed-limit", "1", "--speed-time", "20"]);
    for port in 1..=PORTS {
        let what = format!("a part of the download after {} of {PORTS} rebindings", port - 1);
        wait_for(&what, DEADLINE, || (running.len() > port * 1_000_000).then_some(()));
        relay.rebind();
    }
    assert_payload(&running.finish(2 * DEADLINE), size);
    drop(relay);
    // The old port works on, so a move for which no path is free in time goes unnoticed.
    let migrations = server.stop().get("migrations");
    assert!(migrations > PORTS / 2 && migrations <= PORTS, "{migrations}");
}

#[test]
fn a_nat_rebinds_twenty_times_in_an_upload() {
    // K1
    let size = 22_000_000;
    let server = Server::start(&["--log", "debug"]);
    let relay = Relay::start(server.addr(), 0, 1);
    let file = server.dir().join("data");
    fs::write(&file, payload(size)).unwrap();
    let data = format!("@{}", file.display());
    // curl sleeps for a limit, often longer than three probe timeouts, after which quiche gives up a path.
    let mut running = download(&relay.url("/upload"), &["--limit-rate", "10M", "--data-binary", &data]);
    for port in 1..=PORTS {
        let passed = || relay.counts().1 > port * 800;
        let what = format!("a part of the upload after {} of {PORTS} rebindings", port - 1);
        wait_for(&what, DEADLINE, || passed().then_some(()));
        relay.rebind();
    }
    let reply = running.finish(2 * DEADLINE);
    assert_eq!(reply.text(), format!("{{\"bytes\":{size},\"sha256\":\"{}\"}}\n", sha256(&payload(size))));
}

#[test]
fn a_nat_rebinds_twenty_times_in_a_download_by_ngtcp2() {
    // K1
    let size = 22_000_000;
    let mut server = Server::start(&[]);
    let relay = Relay::start(server.addr(), 0, 1);
    let paths = [format!("/stream/{size}")];
    let (dir, rebindings) = std::thread::scope(|scope| {
        let client = scope.spawn(|| fetch_through(&server, relay.addr().port(), &["-q"], &paths));
        let mut rebindings = 0;
        while !client.is_finished() {
            if rebindings < PORTS && relay.counts().1 > (rebindings + 1) * 700 {
                relay.rebind();
                rebindings += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        (client.join().unwrap().0, rebindings)
    });
    let got = fs::read(dir.path().join(size.to_string())).unwrap();
    assert_eq!((got.len(), sha256(&got)), (size, sha256(&payload(size))));
    assert_eq!(rebindings, PORTS);
    drop(relay);
    assert!(server.stop().get("migrations") > 0);
}

#[test]
fn a_nat_rebinds_in_a_download() {
    let size = 10_000_000;
    let mut server = Server::start(&["--log", "debug"]);
    let relay = Relay::start(server.addr(), 0, 1);
    let mut running = download(&relay.url(&format!("/stream/{size}")), &["--limit-rate", "5M"]);
    for part in 1..=3 {
        wait_for("a part of the download", DEADLINE, || (running.len() > part * 2_000_000).then_some(()));
        relay.rebind();
        let noticed = || server.log().matches("the peer is at").count() as u64 == part;
        wait_for("the server to notice", DEADLINE, || noticed().then_some(()));
    }
    assert_payload(&running.finish(2 * DEADLINE), size);
    drop(relay);
    assert_eq!(server.stop().get("migrations"), 3);
}

/// What a run with 0-RTT came to.
#[derive(Debug, PartialEq, Eq)]
struct Early {
    /// The request went out under the keys of 0-RTT.
    sent: bool,
    rejected: bool,
    status: &'static str,
    body: String,
}

fn early_requests(retry: &str) {
    let prepare = |dir: &Path| {
        fs::write(dir.join("ticket.key"), [7; 48]).unwrap();
        fs::write(dir.join("body"), "changes something").unwrap();
    };
    let args = [
        "--early-data",
        "--ticket-key",
        "ticket.key",
        "--admin",
        "127.0.0.1:0",
        "--retry",
        retry,
        "--access-log",
        "access",
    ];
    let mut server = Server::prepared("127.0.0.1:0", prepare, &args);
    let file = |name: &str| server.dir().join(name).display().to_string();
    let resume = [format!("--session-file={}", file("session")), format!("--tp-file={}", file("parameters"))];
    // The ticket is waited for: the next run needs it.
    let resume = [&resume[0], &resume[1], "--wait-for-ticket"];
    let data = format!("--data={}", file("body"));
    let run = |method: &str, path: &str, args: &[&str]| {
        let (dir, output) = fetch(&server, &[&resume[..], &["-m", method], args].concat(), &[path.to_owned()]);
        let name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("index.html");
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        let statuses: Vec<_> =
            ["200", "425"].into_iter().filter(|s| log.contains(&format!("[:status: {s}]"))).collect();
        assert_eq!(statuses.len(), 1, "{log}");
        Early {
            sent: log
                .lines()
                .any(|line| line.contains(" frm tx ") && line.contains(" 0RTT STREAM") && line.contains(" id=0x0 ")),
            rejected: log.contains("Early data was rejected by server"),
            status: statuses[0],
            body: fs::read_to_string(dir.path().join(name)).unwrap(),
        }
    };
    let get = |args: &[&str]| run("GET", "/", args);
    let post = |args: &[&str]| run("POST", "/api/echo", &[&[data.as_str()], args].concat());
    let ended = |sent, rejected, status, body: &str| Early { sent, rejected, status, body: body.to_owned() };
    // Requests so far, and those of them that came early.
    let counts = || ["requests", "early_requests"].map(|name| metric(&server, &format!("mio_quiche_{name}_total")));

    assert_eq!(get(&[]), ended(false, false, "200", "Hello, HTTP/3!\n"));
    assert_eq!(counts(), [Some(1), Some(0)]);
    assert_eq!(get(&[]), ended(true, false, "200", "Hello, HTTP/3!\n"));
    assert_eq!(counts(), [Some(2), Some(1)]);
    assert_eq!(post(&[]), ended(true, false, "425", "425 Too Early\n"));
    assert_eq!(counts(), [Some(3), Some(2)]);
    assert_eq!(post(&["--disable-early-data"]), ended(false, false, "200", "changes something"));
    assert_eq!(counts(), [Some(4), Some(2)]);
    // The server no longer has the key of that ticket: what came early is void, and is sent again.
    fs::write(file("ticket.key"), [8; 48]).unwrap();
    server.signal("HUP");
    wait_for("the new key", DEADLINE, || server.log().contains("keys reloaded").then_some(()));
    assert_eq!(post(&[]), ended(true, true, "200", "changes something"));
    assert_eq!(counts(), [Some(5), Some(2)]);
    assert_eq!(get(&[]), ended(true, false, "200", "Hello, HTTP/3!\n"));
    assert_eq!(counts(), [Some(6), Some(3)]);
    let access_log = file("access");
    let stats = server.stop();
    // With --disable-early-data, too, it offers some, and then sends none.
    assert_eq!((stats.get("resumed_handshakes"), stats.get("early_handshakes")), (4, 4));
    assert_eq!(stats.get("retries") >= 6, retry == "on", "{stats:?}");
    let log = fs::read_to_string(access_log).unwrap();
    let refused: Vec<_> = log.lines().filter(|line| line.contains(" 425 ")).collect();
    assert!(refused.len() == 1 && refused[0].contains("\"POST /api/echo HTTP/3.0\" 425 14 "), "{log}");
    assert!(refused[0].ends_with(" resumed early"), "{log}");
}

#[test]
fn safe_requests_are_taken_early_and_unsafe_ones_are_not() {
    early_requests("off");
}

/// What came early comes again with the token, and is early then.
#[test]
fn early_requests_come_again_after_a_retry() {
    early_requests("on");
}

#[test]
fn a_session_is_resumed() {
    let size = 100_000;
    let mut server = Server::start(&["--early-data"]);
    let files = TempDir::new().unwrap();
    let option = |name: &str| format!("--{name}={}", files.path().join(name).display());
    let options = [option("session-file"), option("tp-file")];
    let options: Vec<&str> =
        ["-q", "--wait-for-ticket"].into_iter().chain(options.iter().map(String::as_str)).collect();
    for _ in 0..3 {
        let (dir, _) = fetch(&server, &options, &[format!("/stream/{size}")]);
        let got = fs::read(dir.path().join(size.to_string())).unwrap();
        assert_eq!((got.len(), sha256(&got)), (size, sha256(&payload(size))));
    }
    let stats = server.stop();
    assert_eq!((stats.get("connections"), stats.get("resumed_handshakes")), (3, 2));
    assert_eq!((stats.get("requests"), stats.get("early_requests")), (3, 2));
}
