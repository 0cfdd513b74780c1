//! The demo page: by WebTransport where that works, by a WebSocket elsewhere.

use serde_json::{Value, json};

use super::{Browser, Kind};
use crate::support::server::Server;

in_both! {
    web_transport_is_preferred
    a_browser_without_web_transport
    a_network_without_udp
    what_a_web_socket_has_not
}

/// What the page says with these arguments to the script, and the port that it is from.
fn use_page(kind: Kind, args: &Value) -> (Value, u16) {
    let mut browser = Browser::shared(kind);
    let server = Server::start(&["--admin", "127.0.0.1:0"]);
    let page = format!("http://localhost:{}/", server.admin().port());
    let mut args = args.clone();
    if args["server"] == "none" {
        // Nothing is there on UDP.
        args["server"] = json!(format!("https://127.0.0.1:{}", server.admin().port()));
    }
    (evaluate(&mut browser, &page, &args), server.admin().port())
}

fn evaluate(browser: &mut Browser, page: &str, args: &Value) -> Value {
    let script = include_str!("demo_page.js").trim_end().trim_end_matches(';');
    browser.run(Some(page), "evaluate", json!({ "script": format!("({script})({args})") }))
}

/// What a page at this URL says in a Chromium with these options.
pub(crate) fn chromium_uses(page: &str, options: &[&str], args: &Value) -> Value {
    evaluate(&mut Browser::start(Kind::Chromium, options), page, args)
}

fn assert_fell_back((seen, port): (Value, u16)) {
    assert_eq!((&seen["over"], &seen["sockets"]), (&json!("WebSocket"), &json!(1)), "{seen}");
    let begin = format!("Connected by WebSocketws://localhost:{port}/wt/echo. Over one TCP connection, ");
    let outcome = seen["outcome"].as_str().unwrap();
    assert!(outcome.starts_with(&begin) && outcome.contains("What does not work: "), "{outcome}");
    assert_eq!(seen["streams"], json!(["Echo verified", "Echo verified", "Echo verified", "Echo verified"]));
    assert_eq!(seen["closed"], "Closed by this pageclosed gave: code 7, reason “done”");
}

fn web_transport_is_preferred(kind: Kind) {
    let (seen, _) = use_page(kind, &json!({}));
    assert_eq!((&seen["over"], &seen["sockets"]), (&json!("WebTransport"), &json!(0)), "{seen}");
    assert_eq!(seen["streams"], json!(["Echo verified", "Echo verified", "Echo verified", "Echo verified"]));
    assert_eq!(seen["closed"], "Closed by this pageclosed gave: code 7, reason “done”");
}

fn a_browser_without_web_transport(kind: Kind) {
    assert_fell_back(use_page(kind, &json!({ "missing": true })));
}

fn a_network_without_udp(kind: Kind) {
    assert_fell_back(use_page(kind, &json!({ "server": "none" })));
}

/// A path that is not for WebSockets is said to be none.
fn what_a_web_socket_has_not(kind: Kind) {
    let (seen, _) = use_page(kind, &json!({ "missing": true, "path": "/wt/hash" }));
    assert_eq!(seen["sockets"], 1);
    let outcome = seen["outcome"].as_str().unwrap();
    assert!(outcome.starts_with("No session") && outcome.contains("No WebSocket at ws://localhost:"), "{outcome}");
}
