//! `mio-quiche bench` against our server and aioquic's.

use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};

use crate::admin::metric;
use crate::support::aioquic::Aioquic;
use crate::support::server::{Server, mio_quiche, signal};
use crate::support::{DEADLINE, wait_for};

/// Exit code, standard output and standard error.
fn bench(args: &[&str]) -> (i32, String, String) {
    let output = mio_quiche().args(["bench", "-k"]).args(args).output().expect("mio-quiche bench runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The object that `--json` prints, of a run that must end with `code`.
fn report(code: i32, args: &[&str]) -> Value {
    let (ended, out, err) = bench(&[&["--json"], args].concat());
    assert_eq!(ended, code, "{out}{err}");
    let found: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    // The numbers must fit together.
    let number = |key: &str| found[key].as_f64().unwrap();
    let (requests, seconds) = (number("requests"), number("seconds"));
    assert!((requests / seconds - number("requests_per_second")).abs() < 1e-6, "{found}");
    assert!((number("bytes_in") / seconds / 1e6 - number("mb_in_per_second")).abs() < 1e-6, "{found}");
    let latencies = ["min", "p50", "p90", "p99", "p99.9", "max"].map(|key| found["latency_ms"][key].as_f64().unwrap());
    assert!(latencies.is_sorted() && latencies[5] <= 1.01 * seconds.max(0.001) * 1e3 + 1e4, "{found}");
    assert!(number("client_cpu_seconds") > 0.0, "{found}");
    found
}

#[test]
fn so_many_requests_exactly() {
    let mut server = Server::start(&[]);
    for (n, connections, streams) in [("1", "10", "10"), ("37", "3", "2"), ("1000", "4", "50")] {
        let found = report(0, &["-n", n, "-c", connections, "-m", streams, &server.url("/")]);
        let count: u64 = n.parse().unwrap();
        assert_eq!((&found["requests"], &found["started"]), (&json!(count), &json!(count)));
        assert_eq!((&found["statuses"], &found["errors"]), (&json!({ "200": count }), &json!({})));
        assert_eq!(found["bytes_in"], json!(15 * count));
        let connections = connections.parse::<u64>().unwrap().min(count);
        assert_eq!((&found["connections"], &found["reconnects"]), (&json!(connections), &json!(0)));
    }
    let stats = server.stop();
    assert_eq!((stats.get("requests"), stats.get("connections")), (1038, 1 + 3 + 4));
}

#[test]
fn a_report_for_people() {
    let mut server = Server::start(&[]);
    let (code, out, err) = bench(&["-n", "20", "-c", "2", "-m", "5", &server.url("/")]);
    assert_eq!((code, err.as_str()), (0, ""), "piped, there is no progress bar");
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[0].starts_with("requests   20 in ")
            && lines[0].ends_with(" s over 2 connections, up to 5 at a time on each"),
        "{out}"
    );
    assert!(lines[1].starts_with("rate       ") && lines[2].starts_with("latency    p50 "), "{out}");
    assert_eq!(lines[3..5], ["answers    20 with 200", "errors     none"]);
    assert!(lines[5].starts_with("client CPU "), "{out}");
    assert_eq!(lines.len(), 6);
    server.stop();
}

#[test]
fn for_some_time_and_on_a_schedule() {
    let mut server = Server::start(&[]);
    let url = server.url("/");
    let began = Instant::now();
    let found = report(0, &["-t", "2", "-c", "2", "-m", "2", "--warmup", "0.4", &url]);
    // Neither the start nor the warm-up counts.
    let most = began.elapsed().as_secs_f64() - 0.4;
    assert!((2.0..most).contains(&found["seconds"].as_f64().unwrap()), "{found}, at most {most} s");
    assert_eq!(found["requests"], found["statuses"]["200"]);
    // 100 are due within half a second, however quick the server is.
    let found = report(0, &["-t", "0.5", "--rate", "200", &url]);
    assert_eq!((&found["requests"], &found["started"], &found["errors"]), (&json!(100), &json!(100), &json!({})));
    let found = report(0, &["-n", "50", "--rate", "200", &url]);
    assert_eq!((&found["requests"], &found["statuses"]), (&json!(50), &json!({ "200": 50 })));
    assert!(found["seconds"].as_f64().unwrap() > 0.24, "{found}");
    server.stop();
}

/// Of 20 requests due within 0.2 s on a single stream each takes 50 ms, so that the last one is a second old at its
/// end: a latency measured from the start of each would hide that.
#[test]
fn a_schedule_counts_from_when_a_request_was_due() {
    let mut server = Server::start(&[]);
    let url = server.url("/slow?delay=50");
    let found = report(0, &["-n", "20", "--rate", "100", "-c", "1", "-m", "1", &url]);
    assert_eq!(found["requests"], 20);
    let at = |key: &str| found["latency_ms"][key].as_f64().unwrap();
    assert!(at("min") >= 50.0 && at("max") >= 20.0 * 50.0 - 190.0 && at("p50") >= 400.0, "{found}");
    // What is not over at the end counts with its age.
    let found = report(1, &["-t", "0.2", "--rate", "20", "-c", "1", "-m", "1", &server.url("/slow?delay=10000")]);
    assert_eq!((&found["errors"], &found["requests"]), (&json!({ "unfinished": 4 }), &json!(0)));
    assert!(found["latency_ms"]["min"].as_f64().unwrap() > 2000.0, "{found}");
    server.stop();
}

#[test]
fn uploads_methods_and_fields() {
    let mut server = Server::start(&[]);
    let found = report(0, &["-n", "30", "-c", "3", "-m", "3", "--upload", "100000", &server.url("/upload")]);
    assert_eq!((&found["requests"], &found["bytes_out"]), (&json!(30), &json!(3_000_000)));
    let found = report(0, &["-n", "5", "-X", "HEAD", "-H", "x-of-ours: 1", &server.url("/")]);
    assert_eq!((&found["statuses"], &found["bytes_in"]), (&json!({ "200": 5 }), &json!(0)));
    let found = report(0, &["-n", "2", "-c", "1", &server.url("/stream/3000000")]);
    assert_eq!(found["bytes_in"], 6_000_000);
    let stats = server.stop();
    assert_eq!(stats.get("requests"), 37);
}

#[test]
fn bodies_are_sent_byte_for_byte() {
    let mut server = Server::start(&["--access-log", "access", "--access-log-format", "json"]);
    let url = server.url("/api/echo");
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    std::fs::write(server.dir().join("body"), &bytes).unwrap();
    let file = format!("@{}", server.dir().join("body").display());
    let found = report(0, &["-n", "6", "-c", "2", "-d", &file, "-H", "content-type: application/json", &url]);
    assert_eq!((&found["bytes_out"], &found["bytes_in"]), (&json!(1_800_000), &json!(1_800_000)));
    let found = report(0, &["-n", "1", "-d", "a=b", &url]);
    assert_eq!((&found["bytes_out"], &found["bytes_in"]), (&json!(3), &json!(3)));
    assert_eq!(bench(&["-n", "1", "-d", "@nowhere", &url]).0, 2);
    server.stop();
    let log = std::fs::read_to_string(server.dir().join("access")).unwrap();
    let whole = log.lines().filter(|line| line.contains("\"POST\"") && line.contains("\"received\":300000,")).count();
    assert_eq!((log.lines().count(), whole), (7, 6), "{log}");
}

#[test]
fn numbers_with_units_workers_histogram_and_csv() {
    let mut server = Server::start(&["--admin", "127.0.0.1:0"]);
    let url = server.url("/");
    let found = report(0, &["-n", "1k", "-c", "5", "-m", "4", "--workers", "3", &url]);
    assert_eq!((&found["requests"], &found["workers"], &found["connections"]), (&json!(1000), &json!(3), &json!(5)));
    let histogram = found["histogram"].as_array().unwrap();
    assert_eq!(histogram.iter().map(|bucket| bucket[1].as_u64().unwrap()).sum::<u64>(), 1000, "{found}");
    assert_eq!(metric(&server, "mio_quiche_connections_total"), Some(5));
    // 100 in all, though none of the three has a whole number of them.
    let found = report(0, &["-t", "500ms", "-r", "200", "-c", "3", "--workers", "3", &url]);
    assert_eq!((&found["requests"], &found["errors"]), (&json!(100), &json!({})));
    let (code, out, _) = bench(&["-n", "20", "--histogram", url.strip_prefix("https://").unwrap()]);
    let bars: Vec<&str> = out.lines().filter(|line| line.starts_with("  <= ") && line.contains(" ms ")).collect();
    assert!(code == 0 && !bars.is_empty() && bars.iter().any(|bar| bar.ends_with(&"#".repeat(50))), "{out}");
    let (code, out, _) = bench(&["-n", "20", "--csv", &url]);
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((code, lines.len(), lines[0].len()), (0, 2, lines[1].len()), "{out}");
    let column = |name| lines[1][lines[0].iter().position(|column| *column == name).unwrap()];
    assert_eq!([column("requests"), column("errors"), column("bytes_in")], ["20", "0", "300"]);
    assert_eq!(column("url"), format!("\"{url}\""));
    server.stop();
}

/// T6: it took as much memory as it could get, and never ended.
#[test]
fn a_rate_that_cannot_be_reached_ends_in_time() {
    let mut server = Server::start(&[]);
    let began = Instant::now();
    let child = mio_quiche()
        .args(["bench", "-k", "--json", "-t", "1s", "--rate", "1e9", "-c", "1", "-m", "1", &server.url("/")])
        .stdout(Stdio::piped())
        .spawn();
    let child = child.expect("mio-quiche bench runs");
    let status = format!("/proc/{}/status", child.id());
    let most = std::thread::spawn(move || {
        let mut most = 0_u64;
        while let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let Some(line) = line else { break };
            most = most.max(line.trim().trim_end_matches(" kB").parse().unwrap());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        most
    });
    let output = child.wait_with_output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{found}");
    assert!(found["errors"]["unfinished"].as_u64().unwrap() > 900_000_000, "{found}");
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    let most = most.join().unwrap();
    assert!((1..200 * 1024).contains(&most), "{most} KiB");
    server.stop();
}

#[test]
fn sessions_datagrams_and_streams() {
    let mut server = Server::start(&[]);
    let url = server.url("/wt/echo");
    let found = report(0, &["-n", "200", "-c", "2", "-m", "4", "--wt", "stream", "--size", "3000", &url]);
    assert_eq!((&found["mode"], &found["requests"], &found["errors"]), (&json!("wt stream"), &json!(200), &json!({})));
    assert_eq!((&found["bytes_in"], &found["bytes_out"]), (&json!(600_000), &json!(600_000)));
    let found = report(0, &["-n", "200", "-c", "2", "-m", "4", "--wt", "datagram", "--size", "500", &url]);
    assert_eq!(
        (&found["requests"], &found["bytes_in"], &found["bytes_out"]),
        (&json!(200), &json!(100_000), &json!(100_000))
    );
    let (code, out, err) = bench(&["-n", "1", "--wt", "stream", &server.url("/wt/reject")]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "mio-quiche: the server rejected the session with status 403 Forbidden\n");
    assert_eq!(bench(&["-n", "1", "--wt", "datagram", "--size", "7", &url]).0, 2);
    let stats = server.stop();
    assert_eq!((stats.get("sessions_opened"), stats.get("session_streams_in")), (4, 200));
}

#[test]
fn errors_are_counted() {
    let mut server = Server::start(&["--shutdown-timeout", "1"]);
    let (code, out, err) = bench(&["--json", "-n", "10", &server.url("/nowhere")]);
    assert_eq!((code, err.as_str()), (1, "mio-quiche: answers other than 2xx: status 404\n"));
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&found["statuses"], &found["errors"]), (&json!({ "404": 10 }), &json!({})));
    let found = report(1, &["-n", "6", "-c", "2", "-m", "3", "--timeout", "0.3", &server.url("/slow?delay=10000")]);
    assert_eq!((&found["errors"], &found["requests"]), (&json!({ "timeout": 6 }), &json!(0)));
    server.stop();
    // Connections that the server closes while requests run on them.
    let mut server = Server::start(&["--shutdown-timeout", "0.5", "--admin", "127.0.0.1:0"]);
    let url = server.url("/slow?delay=30000");
    let running = std::thread::spawn(move || report(1, &["-n", "6", "-c", "2", "-m", "3", &url]));
    wait_for("six requests", DEADLINE, || (metric(&server, "mio_quiche_requests_total")? == 6).then_some(()));
    server.stop();
    let found = running.join().unwrap();
    assert_eq!((&found["errors"], &found["requests"]), (&json!({ "connection": 6 }), &json!(0)));
}

/// An interrupt ends a run early, and what was measured is told.
#[test]
fn interrupts() {
    let mut server = Server::start(&["--admin", "127.0.0.1:0"]);
    let child = mio_quiche()
        .args(["bench", "-k", "--json", "-t", "600", "-c", "1", "-m", "1", &server.url("/")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.expect("mio-quiche bench runs");
    wait_for("requests", DEADLINE, || metric(&server, "mio_quiche_requests_total").filter(|n| *n > 10));
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(130), &b"mio-quiche: interrupted\n"[..]));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["requests"].as_u64().unwrap() > 0, "{found}");
    server.stop();
}

#[test]
fn servers_that_cannot_be_reached() {
    let mut server = Server::start(&[]);
    let url = server.url("/");
    let output = mio_quiche().args(["bench", "-n", "1", &url]).output().unwrap();
    let message = format!(
        "mio-quiche: cannot connect to {}: the certificate is not signed by a trusted authority \
         (use --cacert FILE, --cert-hash HASH or -k)\n",
        server.addr()
    );
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(60), message));
    for wrong in [["-n", "0"], ["-c", "0"], ["--rate", "0"], ["-t", "x"], ["-H", "none"]] {
        assert_eq!(bench(&[&wrong[..], &[&url]].concat()).0, 2, "{wrong:?}");
    }
    assert_eq!(bench(&["-n", "1", "-t", "1", &url]).0, 2);
    // T6: at once, instead of when the handshake's time is over.
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told = format!(
        "mio-quiche: cannot connect to {closed}: connection refused \
         (is it an HTTP/3 server, on UDP, and the port right?)\n"
    );
    for workers in ["1", "2"] {
        let began = Instant::now();
        let ended = bench(&["-n", "2", "--workers", workers, &closed.to_string()]);
        assert_eq!(ended, (7, String::new(), told.clone()));
        assert!(began.elapsed() < std::time::Duration::from_secs(9), "{:?}", began.elapsed());
    }
    let (code, _, err) = bench(&["-n", "1", "https://nowhere.invalid/"]);
    assert_eq!(code, 6, "{err}");
    server.stop();
}

#[test]
fn aioquics_server() {
    let server = Aioquic::start();
    let found = report(0, &["-n", "100", "-c", "2", "-m", "5", &server.url("/hello")]);
    assert_eq!((&found["statuses"], &found["bytes_in"]), (&json!({ "200": 100 }), &json!(1900)));
    let found = report(0, &["-n", "50", "-c", "2", "-m", "5", "--wt", "stream", &server.url("/echo")]);
    assert_eq!((&found["requests"], &found["bytes_in"], &found["errors"]), (&json!(50), &json!(5000), &json!({})));
    let found = report(0, &["-n", "50", "-c", "2", "-m", "5", "--wt", "datagram", &server.url("/echo")]);
    assert_eq!((&found["requests"], &found["errors"]), (&json!(50), &json!({})));
}
