//! HTTP datagrams of requests, raw QUIC datagrams, and clients that have neither.

use serde_json::json;

use super::{H3_SETTINGS_ERROR, HELLO, WT_REQUIREMENTS_NOT_MET, run};

#[test]
fn two_flows_never_cross() {
    let of = |id: u64| (0..20).map(move |n| format!("{n} of {id}"));
    let second: Vec<_> = of(4).chain(["alone".into(), String::new()]).collect();
    let expected = json!({
        "ids": [0, 4],
        "flows": [of(0).collect::<Vec<_>>(), second],
        "statuses": [200, 200],
        "bodies": ["20 datagrams\n", "22 datagrams\n"],
        "others": [],
    });
    assert_eq!(run("two-flows"), expected);
}

#[test]
fn a_flow_beside_a_session() {
    let echoes: Vec<_> = (0..10).map(|n| [format!("flow {n}"), format!("session {n}")]).collect();
    assert_eq!(run("beside-a-session"), json!({ "echoes": echoes, "body": "10 datagrams\n", "all": 20 }));
}

#[test]
fn datagrams_of_every_size() {
    let sizes = [0, 1, 2, 63, 64, 1000, 1100, 1150];
    assert_eq!(run("datagram-sizes"), json!({ "sent": sizes, "came": sizes }));
}

#[test]
fn datagrams_for_nobody_are_dropped() {
    let expected = json!({ "echo": "for me", "get": [200, HELLO], "others": [], "of_the_ended": ["alive"] });
    assert_eq!(run("no-such-flow"), expected);
}

#[test]
fn raw_datagrams_come_back() {
    let echoes = ["726177".to_owned(), "007a65726f".into(), "ff".into(), "78".repeat(1100)];
    assert_eq!(run("raw-datagrams"), json!({ "get": [200, HELLO], "echoes": echoes, "setting": null }));
}

#[test]
fn a_client_without_datagrams() {
    let expected = json!({
        "get": [200, HELLO],
        "flow": "0 datagrams\n",
        "connect": WT_REQUIREMENTS_NOT_MET,
        "again": [200, HELLO],
        "closed": H3_SETTINGS_ERROR,
    });
    assert_eq!(run("no-datagrams"), expected);
}
