//! Ordinary HTTP/3 beside WebTransport.

use serde_json::{Value, json};

use super::{Browser, Kind, hash, spki_hash};
use crate::support::server::Server;
use crate::support::{DEADLINE, wait_for};

#[test]
fn chromium_loads_a_page_and_opens_sessions_from_it() {
    let server = Server::start(&[]);
    let host = format!("localhost:{}", server.port());
    let page = format!("https://{host}/");
    let mut browser = Browser::start(
        Kind::Chromium,
        &[
            &format!("--origin-to-force-quic-on={host}"),
            &format!("--ignore-certificate-errors-spki-list={}", spki_hash(&server)),
            "--host-resolver-rules=MAP localhost 127.0.0.1",
        ],
    );
    let mut run = |case: &str, url: &str| -> Value {
        browser.run(Some(&page), case, json!({ "url": url, "hash": hash(&server) }))
    };
    assert_eq!(run("load", &page), json!([200, "h3", "Hello, HTTP/3!\n"]));
    // The page is of the same origin; nothing had to be allowed.
    assert_eq!(run("ready", &format!("https://{host}/wt/echo")), json!([0, ""]));
    // Of another one, as its authority is another.
    let refused = json!([["WebTransportError", "session"], ["WebTransportError", "session"]]);
    assert_eq!(run("refused", &server.url("/wt/echo")), refused);
    assert_eq!(run("load", &page), json!([200, "h3", "Hello, HTTP/3!\n"]));
}

#[test]
fn chromium_moves_from_http1_to_http3() {
    let server = Server::prepared("[::]:0", |_| {}, &["--redirect"]);
    let page = format!("https://localhost:{}/", server.port());
    let spki = format!("--ignore-certificate-errors-spki-list={}", spki_hash(&server));
    // Lets QUIC to this host, on any port, have a certificate that is not of a public authority.
    let mut browser = Browser::start(Kind::Chromium, &[&spki, "--origin-to-force-quic-on=localhost:1"]);
    let first = browser.run(Some(&page), "load", json!({}));
    assert_eq!((&first[0], &first[1]), (&json!(505), &json!("http/1.1")), "{first}");
    // It tries HTTP/3 beside TCP, which may be faster at first.
    let loaded = wait_for("HTTP/3", DEADLINE, || {
        let loaded = browser.run(Some(&page), "load", json!({}));
        (loaded[1] == "h3").then_some(loaded)
    });
    assert_eq!(loaded, json!([200, "h3", "Hello, HTTP/3!\n"]));
}

#[test]
fn chromium_with_150_cookies_is_served() {
    // M1: each cookie is a field of its own on the wire.
    let server = Server::start(&["--max-fields", "40"]);
    let host = format!("localhost:{}", server.port());
    let page = format!("https://{host}/");
    let mut browser = Browser::start(
        Kind::Chromium,
        &[
            &format!("--origin-to-force-quic-on={host}"),
            &format!("--ignore-certificate-errors-spki-list={}", spki_hash(&server)),
            "--host-resolver-rules=MAP localhost 127.0.0.1",
        ],
    );
    for count in [95, 150] {
        let script = format!(
            "for (let n = 0; n < {count}; n++) document.cookie = `name${{n}}=value-of-cookie-${{n}}`;
            document.cookie.split('; ').length"
        );
        assert_eq!(browser.run(Some(&page), "evaluate", json!({ "script": script })), json!(count));
        assert_eq!(browser.run(Some(&page), "load", json!({})), json!([200, "h3", "Hello, HTTP/3!\n"]), "{count}");
    }
}
