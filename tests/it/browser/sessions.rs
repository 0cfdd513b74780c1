//! How sessions begin and end.

use serde_json::{Value, json};

use super::{Browser, Kind, Page, hash};
use crate::support::curl::curl;
use crate::support::server::Server;
use crate::support::{DEADLINE, wait_for};

in_both! {
    a_session_is_ready
    two_sessions_at_once
    the_page_closes
    the_server_closes
    the_server_closes_later
    the_server_closes_while_streams_are_refused
    the_server_closes_while_a_stream_is_in_use
    the_server_closes_under_loss
    the_browser_ends
    refusals
    origins
    subprotocols
}

/// Codes and reasons: fifty ordinary ones, the largest, one in several scripts, and none.
fn codes_and_reasons() -> Vec<(u32, String)> {
    let ordinary = (0..50).map(|n| (n * 7, format!("reason {n}")));
    let special = [(u32::MAX, "ü".repeat(512)), (1, "auf Wiedersehen, às, до свидания 🌍".into()), (0, String::new())];
    ordinary.chain(special).collect()
}

/// What the server tells of sessions that ended, once there are so many, in the order of codes.
fn closes(server: &Server, count: usize) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    wait_for(&format!("{count} closes"), DEADLINE, || {
        let new: Vec<Value> = serde_json::from_slice(&curl(server, "/wt/closes", &[]).body).unwrap();
        all.extend(new);
        (all.len() >= count).then_some(())
    });
    all.sort_by_key(|close| (close["code"].as_u64(), close["reason"].to_string()));
    all
}

fn expected(path: &str, by: &str, closes: &[(u32, String)]) -> Vec<Value> {
    let mut closes = closes.to_vec();
    closes.sort();
    closes.iter().map(|(code, reason)| json!({ "path": path, "by": by, "code": code, "reason": reason })).collect()
}

fn a_session_is_ready(kind: Kind) {
    Page::open(kind).assert_ready();
}

fn two_sessions_at_once(kind: Kind) {
    let mut page = Page::open(kind);
    // The streams of each, the datagrams of each, and a stream of the second when the first is closed.
    assert_eq!(page.run("twoSessions", "/wt/echo", json!({})), json!([true, true, true, true, true]));
}

fn the_page_closes(kind: Kind) {
    let mut page = Page::open(kind);
    let wanted = codes_and_reasons();
    let arguments: Vec<_> =
        wanted.iter().map(|(code, reason)| json!({ "closeCode": code, "reason": reason })).collect();
    let seen = page.run("closesOfPage", "/wt/echo", json!({ "closes": arguments }));
    assert_eq!(seen, json!(wanted), "what the page has of its own closes");
    assert_eq!(closes(&page.server, wanted.len()), expected("/wt/echo", "peer", &wanted), "what the server has");
    // Without arguments.
    page.assert_ready();
    assert_eq!(closes(&page.server, 1), expected("/wt/echo", "peer", &[(0, String::new())]));
}

fn server_closes(mut page: Page, on_datagram: bool, streams: usize) {
    let wanted = codes_and_reasons();
    let on = if on_datagram { "&on=datagram" } else { "" };
    let url = |(code, reason): &(u32, String)| {
        // The longest one does not fit into a path.
        let longest = "ü".repeat(512);
        let (reason, repeat) = if *reason == longest { ("ü", 512) } else { (&**reason, 1) };
        let reason = percent_encoding::utf8_percent_encode(reason, percent_encoding::NON_ALPHANUMERIC);
        page.url(&format!("/wt/close?code={code}&reason={reason}&repeat={repeat}{on}"))
    };
    let arguments =
        json!({ "urls": wanted.iter().map(url).collect::<Vec<_>>(), "datagram": on_datagram, "streams": streams });
    let seen = page.run("closesOfServer", "/", arguments);
    assert_eq!(seen, json!(wanted), "what the page has");
    assert_eq!(closes(&page.server, wanted.len()), expected("/wt/close", "us", &wanted), "what the server has");
}

fn the_server_closes(kind: Kind) {
    server_closes(Page::open(kind), false, 0);
}

fn the_server_closes_later(kind: Kind) {
    server_closes(Page::open(kind), true, 0);
}

/// A reset in the flight of the close, or right before it, and Chromium loses code and reason.
fn the_server_closes_while_streams_are_refused(kind: Kind) {
    server_closes(Page::open(kind), true, 3);
}

/// With the end of the CONNECT stream in the flight of the close, Chromium's page crashed.
fn the_server_closes_while_a_stream_is_in_use(kind: Kind) {
    let mut page = Page::open(kind);
    let wanted: Vec<(u32, String)> = (1..=12).map(|n| (n, format!("close {n}"))).collect();
    let url = |(code, _): &(u32, String)| {
        page.server.url(&format!("/wt/close?code={code}&reason=close%20{code}&on=datagram&streams=echo"))
    };
    let arguments = json!({ "urls": wanted.iter().map(url).collect::<Vec<_>>() });
    assert_eq!(page.run("closesInUse", "/", arguments), json!(wanted));
}

fn the_server_closes_under_loss(kind: Kind) {
    let mut page = Page::open(kind);
    page.lose(3);
    server_closes(page, false, 0);
}

/// Sessions end also when nobody has closed them.
fn the_browser_ends(kind: Kind) {
    let mut browser = Browser::start(kind, &[]);
    let server = Server::start(&["--allow-origin", browser.origin(), "--idle-timeout", "5"]);
    let args = json!({ "url": server.url("/wt/echo"), "hash": hash(&server) });
    assert_eq!(browser.run(None, "leave", args), json!("echoed"));
    drop(browser);
    let seen = closes(&server, 1);
    // Chromium ends the session's stream, if it comes to that; Firefox says nothing at all.
    let ends = [("peer", ""), ("connection", "idle timeout")];
    let ends = ends.map(|(by, reason)| expected("/wt/echo", by, &[(0, reason.to_owned())]));
    assert!(ends.contains(&seen), "{seen:?}");
}

/// How `ready` and `closed` of a refused session fail: the page is not told why.
fn refused() -> Value {
    json!([["WebTransportError", "session"], ["WebTransportError", "session"]])
}

fn refusals(kind: Kind) {
    let mut page = Page::open(kind);
    for path in ["/wt/reject", "/wt/reject?status=404", "/wt/reject?status=429", "/wt/nowhere"] {
        assert_eq!(page.run("refused", path, json!({})), refused(), "{path}");
    }
    page.assert_ready();
}

fn origins(kind: Kind) {
    let browser = Browser::shared(kind);
    let origin = browser.origin().to_owned();
    let mut page = Page::with(browser, &[]);
    assert_eq!(page.run("refused", "/wt/echo", json!({})), refused(), "no other origin is allowed by default");
    page.restart(&["--allow-origin", "https://other.example"]);
    assert_eq!(page.run("refused", "/wt/echo", json!({})), refused(), "one is allowed, not this one");
    page.restart(&["--allow-origin", "https://other.example", "--allow-origin", &origin]);
    page.assert_ready();
    page.restart(&["--allow-origin", "*"]);
    page.assert_ready();
}

fn subprotocols(kind: Kind) {
    let mut page = Page::open(kind);
    let offers = json!({ "offers": [[], ["x"], ["x", "echo-v1"], ["echo-v2", "echo-v1"]] });
    let chosen = page.run("subprotocol", "/wt/echo", offers);
    match kind {
        Kind::Chromium => assert_eq!(chosen, json!(["", "", "echo-v1", "echo-v2"])),
        // Firefox ESR 153 knows neither the option nor the attribute `protocol`; its sessions have none.
        Kind::Firefox => assert_eq!(chosen, json!([null, null, null, null])),
    }
}
