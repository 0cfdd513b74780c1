//! What the metrics measure, and that documentation and dashboard name those that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use mio_quiche::Router;
use serde_json::{Value, json};

use crate::admin::{ask, get, metric, promtool};
use crate::support::curl::{curl, curl_url};
use crate::support::local::Local;
use crate::support::server::Server;
use crate::support::{DEADLINE, wait_for};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The metrics in an exposition, with their types.
pub(crate) fn families(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// The metric that a series belongs to: a histogram has three of other names.
pub(crate) fn family_of<'a>(series: &str, families: &BTreeMap<&'a str, &str>) -> Option<&'a str> {
    let has = |name: &str, histogram| {
        let (name, kind) = families.get_key_value(name)?;
        ((*kind == "histogram") == histogram).then_some(*name)
    };
    let parts = ["_bucket", "_sum", "_count"];
    parts.iter().find_map(|part| has(series.strip_suffix(part)?, true)).or_else(|| has(series, false))
}

/// The value of a series in an exposition.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

/// How many values of a histogram are above a bound of it.
fn above(text: &str, histogram: &str, bound: &str) -> f64 {
    let at_most = value(text, &format!("mio_quiche_{histogram}_bucket{{le=\"{bound}\"}}"));
    value(text, &format!("mio_quiche_{histogram}_count")) - at_most
}

#[test]
fn a_handler_that_blocks_shows_in_its_turn() {
    let block = |_: &mio_quiche::Request, res: mio_quiche::Response| {
        thread::sleep(Duration::from_millis(50));
        res.text("done\n")
    };
    let server = Local::start(
        |config| config.admin = Some("127.0.0.1:0".parse().unwrap()),
        move || Router::new().get("/block", block),
    );
    for _ in 0..2 {
        assert_eq!(curl_url(&server.url("/block"), &[]).body, b"done\n");
    }
    let text = ask(server.admin(), "GET", "/metrics").2;
    for histogram in ["loop_handler_seconds", "loop_turn_seconds"] {
        assert!(above(&text, histogram, "0.05") >= 2.0, "{histogram} in\n{text}");
        assert!(above(&text, histogram, "1") < 2.0, "{histogram} in\n{text}");
    }
    let [handlers, turns] = ["handler", "turn"].map(|of| value(&text, &format!("mio_quiche_loop_{of}_seconds_sum")));
    assert!((0.1..=turns).contains(&handlers), "{handlers} s in handlers, {turns} s in turns");
    assert_eq!(value(&text, "mio_quiche_request_duration_seconds_count"), 2.0);
    server.stop();
}

#[test]
fn a_response_that_waits_shows_in_the_durations_only() {
    let server = Server::start(&ADMIN);
    curl(&server, "/slow?delay=1200", &[]);
    curl(&server, "/", &[]);
    let text = get(&server, "/metrics").1;
    assert_eq!(value(&text, "mio_quiche_request_duration_seconds_count"), 2.0);
    assert_eq!(above(&text, "request_duration_seconds", "1"), 1.0);
    assert!(value(&text, "mio_quiche_loop_handler_seconds_sum") < 1.2, "{text}");
    // The timer of the response was due.
    assert!(value(&text, "mio_quiche_loop_lag_seconds_count") >= 1.0, "{text}");
}

#[test]
fn connections_and_system_calls_are_counted() {
    let server = Server::start(&ADMIN);
    for _ in 0..3 {
        assert_eq!(curl(&server, "/stream/1000000", &[]).body.len(), 1_000_000);
    }
    wait_for("the connections to end", DEADLINE, || {
        (metric(&server, "mio_quiche_connections_open") == Some(0)).then_some(())
    });
    let text = get(&server, "/metrics").1;
    for histogram in ["rtt_seconds", "congestion_window_bytes"] {
        assert_eq!(value(&text, &format!("mio_quiche_{histogram}_count")), 3.0, "{histogram}");
    }
    let calls =
        |of: &str, result: &str| value(&text, &format!("mio_quiche_udp_{of}_syscalls_total{{result=\"{result}\"}}"));
    let [received, sent] = ["received", "sent"].map(|of| value(&text, &format!("mio_quiche_udp_{of}_datagrams_total")));
    assert!((1.0..=received).contains(&calls("receive", "ok")), "{text}");
    assert!(calls("receive", "would_block") >= 1.0, "{text}");
    assert!((1.0..=sent).contains(&calls("send", "ok")), "{text}");
    assert_eq!((calls("receive", "error"), calls("send", "error")), (0.0, 0.0));
    // Linux has GSO on the loopback interface.
    assert!(calls("send", "ok") < sent / 2.0, "{} calls for {sent} datagrams", calls("send", "ok"));
}

#[test]
fn the_documentation_lists_every_metric() {
    let server = Server::start(&ADMIN);
    let text = get(&server, "/metrics").1;
    let there: BTreeSet<_> = families(&text).into_iter().collect();
    let docs = file("docs/metrics.md");
    let (_, table) = docs.split_once("## All metrics").expect("the list");
    let listed = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let listed = listed.map(|(name, rest)| (name, rest.split(" | ").next().unwrap())).collect::<Vec<_>>();
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), there);
    assert_eq!(listed.len(), there.len(), "one is there twice");
}

/// The words of an expression that are metrics of ours.
fn metrics_in(expr: &str) -> impl Iterator<Item = &str> {
    expr.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with("mio_quiche"))
}

fn collect_strings<'a>(value: &'a Value, keys: &[&str], found: &mut Vec<&'a str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_strings(value, keys, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                found.extend(value.as_str().filter(|_| keys.contains(&key.as_str())));
                collect_strings(value, keys, found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_dashboard_names_metrics_that_there_are_in_valid_expressions() {
    let server = Server::start(&ADMIN);
    let text = get(&server, "/metrics").1;
    let families = families(&text);
    let dashboard: Value = serde_json::from_str(&file("docs/grafana.json")).unwrap();
    let mut exprs = Vec::new();
    collect_strings(&dashboard["panels"], &["expr"], &mut exprs);
    let mut queries = exprs.clone();
    collect_strings(&dashboard["templating"], &["definition", "query"], &mut queries);
    let mut shown = BTreeSet::new();
    for query in queries {
        let metrics: Vec<_> = metrics_in(query).collect();
        assert!(!metrics.is_empty() || query == "prometheus", "{query}");
        for name in metrics {
            shown.insert(family_of(name, &families).unwrap_or_else(|| panic!("no {name}, of {query}")));
        }
    }
    // Every distribution has a panel.
    for (name, _) in families.iter().filter(|(_, kind)| **kind == "histogram") {
        assert!(shown.contains(name), "{name} is not shown");
    }
    // A label that the server does not give would be an empty panel.
    let docs = file("docs/metrics.md");
    for expr in &exprs {
        let label = expr.split_once("by (").and_then(|(_, rest)| rest.split(')').next()).filter(|label| *label != "le");
        for name in metrics_in(expr).filter(|_| label.is_some()) {
            let row = docs.lines().find(|line| line.starts_with(&format!("| `{name}` | counter"))).expect("a row");
            assert!(row.contains(&format!("`{}`", label.unwrap())), "{expr}");
        }
    }
    // Prometheus itself reads the expressions, in a file of rules.
    let plain = |expr: &str| expr.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*");
    let rules: Vec<_> = exprs
        .iter()
        .enumerate()
        .map(|(n, expr)| json!({ "record": format!("panel:{n}"), "expr": plain(expr) }))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.json");
    fs::write(&path, json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string()).unwrap();
    let (code, said) = promtool(&["check", "rules", path.to_str().unwrap()], "");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("SUCCESS: {} rules found", exprs.len())), "{said}");
}
