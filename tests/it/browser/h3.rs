//! Ordinary HTTP/3 beside WebTransport.

use serde_json::{Value, json};

use super::{Browser, Kind, hash, spki_hash};
use crate::support::server::Server;

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
