//! How transfers go: connections, time, rates, resumption, moves, interruption.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Get, LONG, get, get_with, sha256};
use crate::support::relay::{Relay, seed};
use crate::support::server::{Guard, Server, mio_quiche, signal};
use crate::support::{DEADLINE, payload, wait_for};

#[test]
fn connections_are_used_again() {
    let mut server = Server::start(&[]);
    let url = server.url("/");
    assert_eq!(get(&["-k", "--repeat", "3", &url, &url]).text(), "Hello, HTTP/3!\n".repeat(6));
    // At the same time: the answers take as long as one of them.
    let slow: Vec<String> = (0..20).map(|n| server.url(&format!("/slow?delay=1500&n={n}"))).collect();
    let args: Vec<&str> = ["-kZ", "--report"].into_iter().chain(slow.iter().map(String::as_str)).collect();
    let begun = Instant::now();
    let reports = get(&args).json();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let mut found: Vec<_> = reports.iter().map(|report| report["url"].as_str().unwrap().to_owned()).collect();
    let mut expected = slow.clone();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let stats = server.stop();
    assert_eq!((stats.get("connections"), stats.get("requests")), (2, 26));
}

#[test]
fn time_and_rate() {
    let server = Server::start(&[]);
    let slow = server.url("/slow?delay=60000");
    let begun = Instant::now();
    get(&["-k", "-m", "0.5", &slow]).assert_failed(28, &format!("{slow}: not done within the time limit (-m)"));
    assert!(begun.elapsed() < DEADLINE / 2);
    // 600 kB at 400 kB/s; the first twentieth of a second is free.
    let begun = Instant::now();
    let limited = get(&["-k", "--limit-rate", "400000", &server.url("/stream/600000")]);
    assert_eq!((limited.code, sha256(&limited.out)), (0, sha256(&payload(600_000))));
    let took = begun.elapsed().as_secs_f64();
    assert!((1.3..15.0).contains(&took), "{took}");
    let begun = Instant::now();
    let limited =
        get_with(&["-k", "--limit-rate", "400k", "-X", "POST", "-T", "body", &server.url("/upload")], |dir| {
            fs::write(dir.join("body"), payload(600_000)).unwrap();
        });
    assert_eq!(limited.text(), format!("{{\"bytes\":600000,\"sha256\":\"{}\"}}\n", sha256(&payload(600_000))));
    let took = begun.elapsed().as_secs_f64();
    assert!((1.2..15.0).contains(&took), "{took}");
}

#[test]
fn nobody_there() {
    // A port that somebody has, but does not answer at.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap();
    let hint = "(only HTTP/3 is spoken here, on UDP: does the host offer it, and is UDP let through? \
        curl speaks the others; --connect-timeout gives more time)";
    let begun = Instant::now();
    get(&["--connect-timeout", "0.4", &format!("https://{host}/")])
        .assert_failed(28, &format!("cannot connect to {host}: no answer within 0.4 s {hint}"));
    assert!(begun.elapsed() < Duration::from_secs(10));
    get(&["-m", "0.4", &format!("https://{host}/")])
        .assert_failed(28, &format!("https://{host}/: not done within the time limit (-m)"));
    // A port that nobody has; by name, the other address is tried as well.
    let begun = Instant::now();
    for host in ["127.0.0.1:1", "localhost:1"] {
        let hint = "(only HTTP/3 is spoken here, on UDP: does the host offer it, and is the port right? curl speaks the others)";
        get(&["--connect-timeout", "100", host])
            .assert_failed(7, &format!("cannot connect to {host}: connection refused {hint}"));
    }
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    let ended = get(&["https://no-such-host.invalid/"]);
    assert_eq!(ended.code, 6);
    assert!(ended.err.starts_with("mio-quiche: cannot resolve host 'no-such-host.invalid': "), "{}", ended.err);
    // A host that need not be looked up.
    let server = Server::start(&[]);
    let (url, port) = (format!("https://a.invalid:{}/", server.port()), server.port());
    for known in [format!("A.invalid:{port}:127.0.0.1"), format!("*:{port}:[::1],127.0.0.1")] {
        assert_eq!(
            get(&["-k", "--resolve", "a.invalid:1:[::1]", "--resolve", &known, &url]).text(),
            "Hello, HTTP/3!\n"
        );
    }
    let wrong = get(&["--resolve", "a.invalid:443", &url]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("'a.invalid:443'") && wrong.err.contains("not HOST:PORT:ADDR"), "{}", wrong.err);
    // The others are tried all the same, and the last failure tells.
    let ended = get(&["-k", "https://no-such-host.invalid/", &server.url("/")]);
    assert_eq!((ended.code, &ended.out[..]), (6, &b"Hello, HTTP/3!\n"[..]));
}

#[test]
fn resumption() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("sessions");
    let file = file.to_str().unwrap();
    let key = dir.path().join("key");
    fs::write(&key, [7; 48]).unwrap();
    let key = key.to_str().unwrap();
    let mut server = Server::start(&["--early-data", "--ticket-key", key]);
    let (url, echo) = (server.url("/"), server.url("/api/echo"));
    let run = |args: &[&str]| {
        let ended = get(&[&["-k", "--report", "--resume-session", file], args].concat());
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        let report = ended.json().remove(0);
        assert_eq!(report["status"], 200);
        (report["resumed"].as_bool().unwrap(), report["early"].as_bool().unwrap())
    };
    assert_eq!(run(&[&url]), (false, false));
    assert_eq!(run(&[&url]), (true, false));
    // On a busy machine the handshake may be complete before the request is sent.
    let early = (0..5).filter(|_| run(&["--0rtt", &url]) == (true, true)).count() as u64;
    // What is not safe waits for the handshake.
    assert_eq!(run(&["--0rtt", "-d", "x", &echo]), (true, false));
    let stats = server.stop();
    assert_eq!((stats.get("resumed_handshakes"), stats.get("requests")), (7, 8));
    assert!((1..=early).contains(&stats.get("early_requests")), "{early} {stats:?}");
    // The file is the user's own.
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    // Servers that know the session but want nothing early, or know nothing of it: the request comes all the same.
    let mut sessions = fs::read_to_string(file).unwrap();
    let mut known = server.addr();
    for (args, resumed) in [(&["--ticket-key", key][..], true), (&["--early-data"], false)] {
        let mut other = Server::start(args);
        sessions = sessions.replace(&known.to_string(), &other.addr().to_string());
        known = other.addr();
        fs::write(file, &sessions).unwrap();
        assert_eq!(run(&["--0rtt", &other.url("/")]), (resumed, false), "{args:?}");
        let stats = other.stop();
        assert_eq!((stats.get("early_requests"), stats.get("requests")), (0, 1), "{args:?}");
    }
    let broken = get_with(&["--resume-session", "broken", &url], |dir| fs::write(dir.join("broken"), "no").unwrap());
    assert_eq!(broken.code, 26);
    assert!(broken.err.starts_with("mio-quiche: cannot read the sessions in 'broken': "), "{}", broken.err);
}

/// The first flight comes twice, and the second one has room for more than was sent with the first.
#[test]
fn an_unsafe_request_waits_for_the_handshake_after_a_retry_too() {
    let mut server = Server::start(&["--early-data", "--retry", "on"]);
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("sessions");
    let resume = ["-k", "--resume-session", file.to_str().unwrap()];
    let hello = get(&[&resume[..], &[&server.url("/")]].concat());
    assert_eq!(hello.text(), "Hello, HTTP/3!\n");
    for _ in 0..3 {
        let args = ["--0rtt", "--report", "-o", "file", "-d", "x", &server.url("/api/echo")];
        let posted = get(&[&resume[..], &args].concat());
        assert_eq!((posted.code, posted.err.as_str()), (0, ""));
        let report = posted.json().remove(0);
        assert_eq!((&report["status"], posted.file("file")), (&json!(200), b"x".to_vec()));
        assert_eq!((&report["resumed"], &report["early"]), (&json!(true), &json!(false)));
    }
    let stats = server.stop();
    assert!(stats.get("retries") >= 4, "{stats:?}");
    assert_eq!((stats.get("resumed_handshakes"), stats.get("requests"), stats.get("early_requests")), (3, 4, 0));
}

#[test]
fn a_move_in_the_middle() {
    let mut server = Server::start(&[]);
    let moved = get_with(&["-kv", "--migrate", "-o", "file", &server.url("/stream/20000000")], |_| {});
    assert_eq!(moved.code, 0, "{}", moved.err);
    assert_eq!(moved.err.lines().filter(|line| line.starts_with("* moved from port ")).count(), 1);
    assert_eq!(sha256(&moved.file("file")), sha256(&payload(20_000_000)));
    assert_eq!(server.stop().get("migrations"), 1);
}

#[test]
fn interruption() {
    let mut server = Server::start(&["--qlog-dir", "qlogs"]);
    let mut get = Get::start(&["-k", "-o", "file", &server.url("/stream/100000000000")], Stdio::null(), |_| {});
    let file = get.dir.path().join("file");
    wait_for("some bytes", DEADLINE, || fs::metadata(&file).ok().filter(|file| file.len() > 100_000));
    signal(get.child(), "INT");
    let ended = get.finish(DEADLINE);
    assert_eq!((ended.code, ended.err.as_str()), (130, ""));
    // What came is kept.
    let kept = ended.file("file");
    assert!(kept == payload(kept.len()));
    server.stop();
    let (_, qlog) = server.qlogs("qlogs").remove(0);
    for frame in ["\"reset_stream\"", "\"stop_sending\""] {
        let seen = qlog.lines().any(|line| line.contains("packet_received") && line.contains(frame));
        assert!(seen, "{frame}");
    }
}

#[test]
fn an_upload_is_interrupted() {
    let mut server = Server::start(&["--qlog-dir", "qlogs"]);
    let mut get = Get::start(&["-kv", "-T", "-", "-X", "POST", &server.url("/upload")], Stdio::piped(), |_| {});
    // Nothing comes, and the pipe stays open.
    let pipe = get.child().stdin.take();
    let shown = get.dir.path().join(".err");
    wait_for("the request", DEADLINE, || fs::read_to_string(&shown).unwrap().contains("> POST ").then_some(()));
    signal(get.child(), "INT");
    let ended = get.finish(DEADLINE);
    assert_eq!(ended.code, 130, "{}", ended.err);
    drop(pipe);
    server.stop();
    let (_, qlog) = server.qlogs("qlogs").remove(0);
    for frame in ["\"reset_stream\"", "\"stop_sending\""] {
        let seen = qlog.lines().any(|line| line.contains("packet_received") && line.contains(frame));
        assert!(seen, "{frame}");
    }
}

/// Seconds of processor time that a process has used.
fn cpu_time(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    ticks as f64 / 100.0
}

#[test]
fn what_waits_uses_no_processor_time() {
    let server = Server::start(&[]);
    // An upload whose next piece takes its time.
    let mut get = Get::start(&["-k", "-T", "-", "-X", "POST", &server.url("/upload")], Stdio::piped(), |_| {});
    let mut pipe = get.child().stdin.take().unwrap();
    pipe.write_all(b"first\n").unwrap();
    // A download whose reader takes its time.
    let mut command = mio_quiche();
    command.args(["get", "-k", &server.url("/stream/50000000")]).stdout(Stdio::piped());
    let mut download = Guard(command.spawn().unwrap());
    let mut out = download.0.stdout.take().unwrap();
    out.read_exact(&mut [0; 1000]).unwrap();
    let pids = [get.child().id(), download.0.id()];
    // Once they have done all that can be done, they stand still.
    wait_for("both to wait", DEADLINE, || {
        let before = pids.map(cpu_time);
        std::thread::sleep(Duration::from_millis(500));
        (pids.map(cpu_time) == before).then_some(())
    });
    let before = pids.map(cpu_time);
    std::thread::sleep(Duration::from_secs(2));
    let used: Vec<_> = pids.iter().zip(before).map(|(pid, before)| cpu_time(*pid) - before).collect();
    assert!(used.iter().all(|used| *used < 0.3), "{used:?} s in 2 s");
    pipe.write_all(b"second\n").unwrap();
    drop(pipe);
    let ended = get.finish(DEADLINE);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.text().contains(&sha256(b"first\nsecond\n")), "{}", ended.text());
}

#[test]
fn slow_and_absent_readers() {
    let server = Server::start(&[]);
    let start = |path: &str| {
        let mut command = mio_quiche();
        command.args(["get", "-k", &server.url(path)]).stdout(Stdio::piped()).stderr(Stdio::piped());
        Guard(command.spawn().unwrap())
    };
    // The reader goes away.
    let mut get = start("/stream/100000000000");
    let mut head = [0; 100];
    get.0.stdout.take().unwrap().read_exact(&mut head).unwrap();
    assert_eq!(head[..], payload(100));
    let mut err = String::new();
    get.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(get.wait("get ends", DEADLINE).code(), Some(23));
    assert!(err.ends_with(": cannot write to standard output: Broken pipe (os error 32)\n"), "{err}");
    // The reader takes its time: what it does not take stays with the server, and the memory small.
    let mut get = start("/stream/50000000");
    let mut out = BufReader::new(get.0.stdout.take().unwrap());
    let mut body = vec![0; 1000];
    out.read_exact(&mut body).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let status = fs::read_to_string(format!("/proc/{}/status", get.0.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(peak < 45_000, "{peak} KiB");
    out.read_to_end(&mut body).unwrap();
    assert_eq!(get.wait("get ends", DEADLINE).code(), Some(0));
    assert_eq!(sha256(&body), sha256(&payload(50_000_000)));
}

#[test]
fn logs_for_debugging() {
    let server = Server::start(&[]);
    let ended = get(&["-k", "--qlog-dir", "logs", "--keylog", "keys", &server.url("/")]);
    assert_eq!(ended.text(), "Hello, HTTP/3!\n");
    let logs: Vec<_> = fs::read_dir(ended.path("logs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(logs.len(), 1);
    assert!(fs::read_to_string(&logs[0]).unwrap().contains("\"http3:frame_created\""));
    let keys = String::from_utf8(ended.file("keys")).unwrap();
    assert!(keys.lines().any(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")), "{keys}");
}

#[test]
fn logs_are_bounded() {
    let server = Server::start(&[]);
    let sizes = |dir: std::path::PathBuf| {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).collect::<Vec<_>>()
    };
    let limits = ["-k", "--qlog-dir", "logs", "--qlog-max", "40000,3"];
    let ended = get(&[&limits[..], &["-o", "file", &server.url("/stream/3000000")]].concat());
    let logs = sizes(ended.path("logs"));
    assert!(logs.len() == 3 && logs.iter().all(|size| *size <= 40_000), "{logs:?}");

    let dir = tempfile::TempDir::new().unwrap();
    let url = server.url("/wt/echo");
    let session = ["wt", "--bidi", "100"].into_iter().chain(limits).chain([url.as_str()]);
    assert!(mio_quiche().current_dir(dir.path()).args(session).output().unwrap().status.success());
    let logs = sizes(dir.path().join("logs"));
    assert!(logs.len() == 3 && logs.iter().all(|size| *size <= 40_000), "{logs:?}");
}

#[test]
fn through_losses() {
    let server = Server::start(&[]);
    let relay = Relay::start(server.addr(), 2, seed());
    let body = payload(5_000_000);
    let down = get_with(&["-k", "-o", "file", &relay.url("/stream/5000000")], |_| {});
    assert_eq!((down.text(), sha256(&down.file("file"))), ("", sha256(&body)));
    let up = Get::start(&["-k", "-X", "POST", "-T", "body", &relay.url("/upload")], Stdio::null(), |dir| {
        fs::write(dir.join("body"), &body).unwrap();
    });
    let answer = format!("{{\"bytes\":5000000,\"sha256\":\"{}\"}}\n", sha256(&body));
    assert_eq!(up.finish(LONG).text(), answer);
    let (lost, passed) = relay.counts();
    assert!(lost > 0 && passed > 1000, "{lost} {passed}");
}
