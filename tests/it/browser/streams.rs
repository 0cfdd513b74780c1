//! What goes through sessions: datagrams and streams.

use serde_json::{Value, json};

use super::{Browser, Kind, Page};
use crate::admin::metric;
use crate::support::{DEADLINE, payload, sha256, wait_for};

in_both! {
    datagrams
    an_echo_on_a_stream
    a_large_echo_on_a_stream
    unidirectional_streams_are_answered
    streams_that_the_server_opens
    three_hundred_streams
    uploads
    a_stalled_upload_holds_up_nothing_else
    streams_given_up
    under_loss
    newer_drafts_offered_as_well
}

/// Length and hash of the demo's payload, as pages tell them of what they received.
fn received(size: usize) -> Value {
    json!([size, sha256(&payload(size))])
}

fn datagrams(kind: Kind) {
    let seen = Page::open(kind).run("datagrams", "/wt/echo", json!({ "count": 100 }));
    assert_eq!(seen, json!({ "seen": 100, "damaged": 0, "largest": true }));
}

fn an_echo_on_a_stream(kind: Kind) {
    let mut page = Page::open(kind);
    for size in [0, 1, 1 << 20] {
        assert_eq!(page.run("bidi", "/wt/echo", json!({ "size": size })), received(size), "{size} bytes");
    }
}

fn a_large_echo_on_a_stream(kind: Kind) {
    let size = 16 << 20;
    assert_eq!(Page::open(kind).run("bidi", "/wt/echo", json!({ "size": size })), received(size));
}

fn unidirectional_streams_are_answered(kind: Kind) {
    let sizes = [1, 1000, 1 << 20, 0];
    let seen = Page::open(kind).run("uni", "/wt/echo", json!({ "sizes": sizes }));
    assert_eq!(seen, json!(sizes.map(received)));
}

fn streams_that_the_server_opens(kind: Kind) {
    for count in [3, 100] {
        let mut seen = Page::open(kind).run("serverBidi", &format!("/wt/echo?open={count}"), json!({ "count": count }));
        let lines = |n| format!("server stream {n}\nreply to server stream {n}\n");
        let mut expected: Vec<Value> = (0..count).map(|n| json!(lines(n))).collect();
        expected.sort_by_key(Value::to_string);
        seen.as_array_mut().unwrap().sort_by_key(Value::to_string);
        assert_eq!(seen, json!(expected));
    }
}

fn three_hundred_streams(kind: Kind) {
    let mut page = Page::open(kind);
    for at_once in [1, 10, 300] {
        let seen = page.run("manyStreams", "/wt/echo", json!({ "count": 300, "atOnce": at_once }));
        assert_eq!(seen, json!(300), "{at_once} at once");
    }
}

fn uploads(kind: Kind) {
    let sizes = [1, 100_000, 1 << 20, 4 << 20];
    let seen = Page::open(kind).run("uploads", "/wt/hash", json!({ "sizes": sizes }));
    let expected = sizes.map(|size| json!({ "bytes": size, "sha256": sha256(&payload(size)) }));
    assert_eq!(seen, json!(expected));
}

fn a_stalled_upload_holds_up_nothing_else(kind: Kind) {
    let size = 4 << 20;
    let seen = Page::open(kind).run("stalledUpload", "/wt/hash?pause=8000", json!({ "size": size }));
    let hashes = [sha256(&payload(size)), sha256(&payload(1000))];
    assert_eq!(seen, json!({ "hashes": hashes, "order": ["datagram", "small", "stalled"] }));
}

/// With these codes, and those that come back. Both browsers have an older draft's codes, of a byte.
const CODES: [(u32, u32); 5] = [(0, 0), (42, 42), (139, 139), (255, 255), (u32::MAX, 255)];

fn give_up_streams(page: &mut Page, kind: Kind) {
    let args = json!({ "codes": CODES.map(|(code, _)| code), "stops": kind == Kind::Chromium });
    let mut seen = page.run("resets", "/wt/echo", args);
    let expected = CODES.map(|(_, code)| match kind {
        Kind::Chromium => json!({ "reset": code, "stopped": code, "answered": code, "after": true }),
        // Firefox ESR 153 does not send STOP_SENDING.
        Kind::Firefox => json!({ "reset": code, "stopped": false, "answered": code, "after": true }),
    });
    if kind == Kind::Firefox {
        // And it mostly has no code for a bidirectional stream that it has reset itself.
        for (seen, expected) in seen.as_array_mut().unwrap().iter_mut().zip(&expected) {
            if seen["reset"] == "TypeError" {
                seen["reset"] = expected["reset"].clone();
            }
        }
    }
    assert_eq!(seen, json!(expected));
}

fn streams_given_up(kind: Kind) {
    give_up_streams(&mut Page::open(kind), kind);
}

/// Everything that may end up in a stream that waits for ever.
fn all_kinds_of_streams(mut page: Page, kind: Kind) {
    let size = 1 << 20;
    assert_eq!(page.run("bidi", "/wt/echo", json!({ "size": size })), received(size));
    let sizes = [1, size, 0];
    assert_eq!(page.run("uni", "/wt/echo", json!({ "sizes": sizes })), json!(sizes.map(received)));
    assert_eq!(page.run("manyStreams", "/wt/echo", json!({ "count": 300, "atOnce": 10 })), json!(300));
    let seen = page.run("serverBidi", "/wt/echo?open=10", json!({ "count": 10 }));
    assert_eq!(seen.as_array().map(Vec::len), Some(10), "{seen}");
    give_up_streams(&mut page, kind);
    let seen = page.run("datagrams", "/wt/echo", json!({ "count": 100 }));
    assert_eq!(seen, json!({ "seen": 100, "damaged": 0, "largest": true }));
}

fn under_loss(kind: Kind) {
    let mut page = Page::open(kind);
    page.lose(3);
    all_kinds_of_streams(page, kind);
}

fn newer_drafts_offered_as_well(kind: Kind) {
    let mut page = Page::open(kind);
    page.restart(&["--allow-origin", "*", "--wt-drafts", "all"]);
    all_kinds_of_streams(page, kind);
}

/// The server sees all of them, and the stream of an echo after them.
fn abort_at_once(kind: Kind, bidi: bool) {
    let browser = Browser::shared(kind);
    let args =
        ["--allow-origin", browser.origin(), "--admin", "127.0.0.1:0", "--shutdown-timeout", "1"].map(str::to_owned);
    let mut page = Page::with(browser, &args.each_ref().map(String::as_str));
    let works = page.run("abortAtOnce", "/wt/echo", json!({ "count": 200, "bidi": bidi }));
    assert_eq!(works, json!(true));
    let received = || metric(&page.server, "mio_quiche_webtransport_streams_received_total");
    wait_for("every stream", DEADLINE, || (received() >= Some(201)).then_some(()));
    assert_eq!(page.server.stop().get("session_streams_in"), 201);
}

#[test]
fn bidirectional_streams_that_chromium_aborts_at_once() {
    // S3
    abort_at_once(Kind::Chromium, true);
}

#[test]
fn unidirectional_streams_that_chromium_aborts_at_once() {
    // S3
    abort_at_once(Kind::Chromium, false);
}

/// (Of a unidirectional stream Firefox sends nothing but the reset, which names no session.)
#[test]
fn bidirectional_streams_that_firefox_aborts_at_once() {
    // S3
    abort_at_once(Kind::Firefox, true);
}
