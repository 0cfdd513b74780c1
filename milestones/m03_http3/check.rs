//! The check of milestone 3: clients of different make get the same fifteen bytes.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

#[path = "../check_support.rs"]
mod check_support;
mod solution;

use check_support::{Example, client, curl, fetch, get, http3_client, run, settings};
use mio_quiche::Endpoint;
use mio_quiche::net::{self, EventLoop, UdpSocket};

const HELLO: &str = "Hello, HTTP/3!\n";

#[test]
fn quiche_client() {
    let example = Example::start("m03_http3", &[]);
    let output = http3_client(&format!("https://{}/", example.addr));
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    assert_eq!(output.text(), HELLO);
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 1 requests"]);
}

#[test]
fn curl_client() {
    let example = Example::start("m03_http3", &[]);
    let reply = fetch(example.addr, "/", &[]);
    assert_eq!((reply.status, reply.body.as_str()), (200, HELLO));
    assert_eq!(reply.header("content-type"), Some("text/plain;charset=utf-8"));
    assert_eq!(reply.header("content-length"), Some("15"));
    // Whatever is asked for, that is the answer; HEAD gets its head.
    let reply = fetch(example.addr, "/some/where?else", &["--data", "a body that nobody reads"]);
    assert_eq!((reply.status, reply.body.as_str()), (200, HELLO));
    let reply = fetch(example.addr, "/", &["--head"]);
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!(reply.header("content-length"), Some("15"));
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 3 requests"]);
}

#[test]
fn own_client() {
    let example = Example::start("m03_http3", &[]);
    let head = "HTTP/3 200 \r\ncontent-type: text/plain;charset=utf-8\r\ncontent-length: 15\r\n\r\n";
    assert_eq!(get(example.addr, "/", &["-i"]), format!("{head}{HELLO}"));
    let shown = get(example.addr, "/", &["-v"]);
    for part in ["> GET / HTTP/3\n", "* certificate: CN=mio-quiche development certificate;", "< HTTP/3 200\n", HELLO] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 2 requests"]);
}

#[test]
fn ngtcp2_client_on_one_connection() {
    let example = Example::start("m03_http3", &[]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(client("MIO_QUICHE_GTLSCLIENT"));
    command.args(["-q", "--exit-on-all-streams-close", "--timeout", "60s", "--download"]).arg(dir.path());
    command.args([example.addr.ip().to_string(), example.addr.port().to_string()]);
    command.args((0..20).map(|i| format!("https://{}/file{i}", example.addr)));
    let output = run(&mut command, b"");
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    for i in 0..20 {
        let file = dir.path().join(format!("file{i}"));
        assert_eq!(fs::read_to_string(&file).expect("each answer is a file"), HELLO);
    }
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 20 requests"]);
}

/// Runs the solution's application until `stop` is set and all requests are answered.
fn serve_solution(stop: &AtomicBool, started: &mpsc::Sender<(std::net::SocketAddr, net::Waker)>) {
    let endpoint = settings::with_certificate(|config| Ok(Endpoint::server(config, net::now(), net::wall_clock())?));
    let mut endpoint = endpoint.expect("an endpoint");
    let socket = UdpSocket::bind(([127, 0, 0, 1], 0).into(), 1 << 20).expect("a free port");
    let mut event_loop = EventLoop::new(socket, false).expect("an event loop");
    started.send((event_loop.local_addr(), event_loop.waker())).expect("the check waits");
    let mut hello = solution::Hello::default();
    while !(stop.load(Ordering::Acquire) && endpoint.is_shut_down()) {
        event_loop.sleep(net::now(), &endpoint, None).expect("it sleeps");
        if stop.load(Ordering::Acquire) {
            endpoint.shutdown();
        }
        event_loop.turn(net::now(), &mut endpoint, &mut hello).expect("it runs");
    }
}

#[test]
fn the_solution_answers_slow_requests_later_and_also_during_a_shutdown() {
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, started) = mpsc::channel();
    let server = thread::spawn({
        let stop = stop.clone();
        move || serve_solution(&stop, &sender)
    });
    let (addr, waker) = started.recv().expect("the server starts");
    let (slow, fast) = (format!("https://{addr}/slow"), format!("https://{addr}/"));
    let output = run(curl().args(["--parallel", &slow, &fast]), b"");
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    assert_eq!(output.text(), "Hello, /!\nHello, /slow!\n");

    // The request is under way before the shutdown begins: the answer to one behind it has come.
    let before = net::now();
    let (sender, answered) = mpsc::channel();
    let client = thread::spawn(move || {
        let mut curl = curl();
        let mut child = curl.args(["--parallel", "--no-buffer", &slow, &fast]).stdout(std::process::Stdio::piped());
        child = child.stdin(std::process::Stdio::null());
        let mut process = check_support::Process::start(child);
        let lines = check_support::Lines::of(process.child.stdout.take().expect("a pipe"));
        sender.send(lines.next()).expect("the check waits");
        (lines.next(), process.wait())
    });
    assert_eq!(answered.recv().expect("an answer"), "Hello, /!");
    stop.store(true, Ordering::Release);
    waker.wake().expect("the loop runs");
    let (line, status) = client.join().expect("it does not panic");
    assert_eq!((line.as_str(), status.code()), ("Hello, /slow!", Some(0)));
    assert!(net::now() - before >= Duration::from_secs(1));
    server.join().expect("the server does not panic");
}
