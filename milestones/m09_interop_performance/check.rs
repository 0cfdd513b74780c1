//! The check of milestone 9: five clients of others, a load, and two workers of which each keeps its connections.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

#[path = "../check_support.rs"]
mod check_support;
mod clients;
#[path = "../../tests/it/support/relay.rs"]
#[allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "it belongs to the integration tests")]
mod relay;
mod solution;

use check_support::{Example, mio_quiche, run, wait_for};
use clients::{CASES, Case};
use mio_quiche::net::now;
use mio_quiche::{Client, ClientConfig, Error, MigrateError};
use relay::Relay;
use serde_json::{Value, json};

/// The rate that the course set out for.
const TARGET: u32 = 10_000;
/// What has to be said of figures.
const BUILD: &str =
    if cfg!(debug_assertions) { " (a debug build: scripts/milestone 9 makes a better one)" } else { "" };

/// A running example and its admin port.
fn start() -> (Example, SocketAddr) {
    let mut example = Example::start("m09_interop_performance", &[]);
    let line = example.line();
    let page = line.strip_prefix("metrics of 2 workers: http://").and_then(|url| url.strip_suffix("/metrics/workers"));
    let admin = page.and_then(|addr| addr.parse().ok()).unwrap_or_else(|| panic!("the second line is {line:?}"));
    (example, admin)
}

/// The columns of a worker in the report.
type Row = BTreeMap<String, f64>;

/// Stops the example and reads its report.
fn report(example: Example) -> Vec<Row> {
    let (lines, _) = example.stop();
    println!("{}", lines.join("\n"));
    let (head, rows) = lines.split_first().expect("a head");
    let row = |line: &String| {
        let numbers = line.split_whitespace().map(|text| text.parse().expect("a number"));
        head.split_whitespace().map(str::to_owned).zip(numbers).collect()
    };
    rows.iter().map(row).collect()
}

fn sum(rows: &[Row], column: &str) -> f64 {
    rows.iter().map(|row| row[column]).sum()
}

/// The sum of a metric over all workers.
fn metric(admin: SocketAddr, name: &str) -> u64 {
    let (mut stream, mut page) = (TcpStream::connect(admin).expect("the admin port"), String::new());
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("the admin port reads");
    stream.read_to_string(&mut page).expect("the admin port answers");
    let start = format!("mio_quiche_{name}_total ");
    let value = page.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {page}"))
}

#[test]
fn five_clients_of_others() {
    let (example, admin) = start();
    let mut table = format!("{:<12}{}", "client", CASES.map(|case| format!("{:>14}", case.name())).concat());
    let mut failed = Vec::new();
    for client in clients::ALL {
        table += &format!("\n{:<12}", client.name);
        for case in CASES {
            let (connections, moved) = (metric(admin, "connections"), metric(admin, "migrations"));
            // Why it fails, the panic itself tells.
            let outcome = match catch_unwind(AssertUnwindSafe(|| (client.run)(example.addr, case))) {
                Ok(true) => {
                    let connections = metric(admin, "connections") - connections;
                    let moved = metric(admin, "migrations") - moved;
                    let is_right = connections == 1 && (moved > 0) == (case == Case::NewAddress);
                    if is_right { "pass".to_owned() } else { format!("{connections} conn, {moved} moved") }
                }
                Ok(false) => "-".to_owned(),
                Err(_) => "FAIL".to_owned(),
            };
            table += &format!("{outcome:>14}");
            if !["pass", "-"].contains(&&*outcome) {
                failed.push(format!("{}, {}: {outcome}", client.name, case.name()));
            }
        }
    }
    println!("{table}\n-: the client cannot");
    let (resets, refused) = (metric(admin, "resets_sent"), metric(admin, "refused_packets"));
    example.stop();
    assert_eq!((failed, resets, refused), (vec![], 0, 0));
}

/// Loads an example with `mio-quiche bench`; gives the client's result, and the CPU time of the server in microseconds
/// for each request.
fn load(path: &str, requests: u64, size: u64, connections: u32, streams: u32) -> (Value, f64) {
    let (example, _) = start();
    let url = format!("https://{}{path}", example.addr);
    let [c, m, n] = [connections.to_string(), streams.to_string(), requests.to_string()];
    let args = ["bench", "-k", "--json", "--timeout", "60", "-c", &c, "-m", &m, "-n", &n, &url];
    let output = run(mio_quiche().args(args), b"");
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    let result: Value = serde_json::from_str(output.text()).expect("one JSON object");
    assert_eq!((&result["requests"], &result["errors"]), (&json!(requests), &json!({})));
    assert_eq!((&result["statuses"], &result["bytes_in"]), (&json!({ "200": requests }), &json!(requests * size)));
    let rows = report(example);
    assert_eq!((sum(&rows, "requests"), sum(&rows, "connections")), (requests as f64, f64::from(connections)));
    let time: f64 = rows.iter().map(|row| row["us/request"] * row["requests"]).sum();
    (result, time / requests as f64)
}

#[test]
fn every_request_of_a_load_is_answered() {
    let (result, server) = load("/", 20_000, 15, 16, 10);
    println!(
        "{:.0} requests per second (the target: {TARGET}); CPU time for each: server {server:.1} us, client {:.1} us{BUILD}",
        result["requests_per_second"].as_f64().unwrap_or_default(),
        result["client_cpu_us_per_request"].as_f64().unwrap_or_default(),
    );
}

#[test]
fn every_byte_of_downloads_arrives() {
    let (result, server) = load("/download/4000000", 20, 4_000_000, 2, 1);
    println!(
        "{:.0} MB per second; CPU time of the server for each: {:.1} ms{BUILD}",
        result["mb_in_per_second"].as_f64().unwrap_or_default(),
        server / 4000.0,
    );
}

/// The name of the worker that a client's connection is at.
fn worker(client: &mut Client, url: &str) -> String {
    let response = client.get(&format!("{url}/worker")).expect("an answer");
    assert_eq!(response.status, 200);
    String::from_utf8_lossy(&response.body).into_owned()
}

/// Moves a client to another port.
fn migrate(client: &mut Client) {
    wait_for("a connection id to move with", || match client.migrate() {
        Ok(()) => Some(()),
        Err(Error::Migrate(MigrateError::NoConnectionId)) => {
            client.turn(Some(now() + Duration::from_millis(5))).expect("a turn");
            None
        }
        Err(e) => panic!("{e}"),
    });
}

#[test]
fn two_workers_take_connections_and_keep_them_when_the_address_changes() {
    const AT_LEAST: u64 = 8;
    let (example, admin) = start();
    let mut connections = BTreeMap::from([("worker-0".to_owned(), 0), ("worker-1".to_owned(), 0)]);
    let count = |connections: &BTreeMap<String, u64>| connections.values().sum::<u64>();
    // The ids that clients begin with are random: a hundred connections at one worker are a fault.
    while count(&connections) < AT_LEAST || connections.values().any(|n| *n == 0) {
        assert!(count(&connections) < 100, "all at one worker: {connections:?}");
        let relay = Relay::start(example.addr, 0, 1);
        let mut config = ClientConfig::default();
        config.dangerous().accept_any_certificate();
        let mut client = Client::new(config).expect("a client");
        let at = worker(&mut client, &relay.url(""));
        let moved = metric(admin, "migrations");
        let elsewhere = |what: &str, client: &mut Client| {
            // A GET before the move was noticed is answered all the same.
            wait_for(what, || {
                assert_eq!(worker(client, &relay.url("")), at, "{what}");
                (metric(admin, "migrations") > moved).then_some(())
            });
        };
        relay.rebind();
        elsewhere("after a NAT's rebinding", &mut client);
        migrate(&mut client);
        elsewhere("after a migration", &mut client);
        client.close();
        *connections.get_mut(&at).expect("one of two workers") += 1;
    }
    assert_eq!(metric(admin, "resets_sent") + metric(admin, "ignored_unknown_cid"), 0);
    let rows = report(example);
    for (row, (name, of_it)) in rows.iter().zip(&connections) {
        assert_eq!(row["connections"], *of_it as f64, "{name}");
        assert!(row["moved"] >= *of_it as f64, "{name}");
    }
    assert_eq!(rows.len(), 2);
}

#[test]
fn the_solution_receives_what_it_sends() {
    for segments in [1, 8, 48] {
        let cost = solution::cost(100, segments).expect("loopback");
        println!("runs of {segments:>2}: send {:?}, receive {:?}", cost.send, cost.receive);
        assert_eq!(cost.received, 4800);
    }
}
