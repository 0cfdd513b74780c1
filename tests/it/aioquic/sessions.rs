//! Sessions that go as they should.

use serde_json::{Value, json};

use super::{Case, HELLO, WT_APPLICATION_ERROR, WT_REQUIREMENTS_NOT_MET, run};
use crate::support::server::Server;
use crate::support::{payload, sha256};

/// A session as `/wt/closes` tells of it.
fn close(path: &str, by: &str, code: u32, reason: &str) -> Value {
    json!({ "path": path, "by": by, "code": code, "reason": reason })
}

#[test]
fn two_sessions_and_a_get_on_one_connection() {
    let of = |session: u64| {
        json!({
            "session": session,
            "bidi": format!("bidi of {session}"),
            "uni": [format!("uni of {session}")],
            "datagrams": [format!("datagram of {session}")],
        })
    };
    assert_eq!(run("two-sessions-and-a-get"), json!({ "get": [200, HELLO], "sessions": [of(0), of(4)] }));
}

#[test]
fn streams_and_datagrams_before_their_connect() {
    let expected = json!({
        "bidi": ["early bidi", "early and late"],
        "uni": ["early uni"],
        "datagrams": ["early 0", "early 1", "early 2"],
    });
    assert_eq!(run("before-connect"), expected);
}

#[test]
fn a_byte_per_packet() {
    let expected = json!({
        "bidi": "by bytes",
        "uni": ["uni by bytes"],
        "early": "early",
        "get": [[200, HELLO], [200, HELLO]],
    });
    assert_eq!(run("stream-header-bytewise"), expected);
}

#[test]
fn settings_that_come_late() {
    let expected = json!({
        "get": [200, HELLO],
        "before": false,
        "status": 200,
        "bidi": "bidi before the settings",
        "uni": ["uni before the settings"],
        "datagram": "after the settings",
        "refused": WT_REQUIREMENTS_NOT_MET,
        "again": [200, HELLO],
    });
    assert_eq!(run("late-settings"), expected);
}

#[test]
fn stream_headers_of_every_length() {
    let sent: Vec<_> = [2, 4, 8].iter().flat_map(|kind| [1, 2, 4, 8].map(|id| format!("{kind} {id}"))).collect();
    // Each twice: whole, and in two packets.
    let bidi: Vec<_> = sent.iter().flat_map(|text| [text, text]).collect();
    assert_eq!(run("varint-lengths"), json!({ "bidi": bidi, "uni": sent, "sent": sent }));
}

#[test]
fn streams_that_the_server_opens() {
    let greetings = ["server stream 0\n", "server stream 1\n", "server stream 2\n"];
    let all = ["server stream 0\nto 1", "server stream 1\nto 5", "server stream 2\nto 9"];
    assert_eq!(run("server-streams"), json!({ "ids": [1, 5, 9], "greetings": greetings, "all": all }));
}

#[test]
fn close_capsules_cut_anywhere() {
    let found = run("close-by-us");
    let mut closes: Vec<_> = (0..31).map(|code| close("/wt/echo", "peer", code, "bye")).collect();
    closes.push(close("/wt/echo", "peer", 0, ""));
    closes.push(close("/wt/echo", "peer", u32::MAX, &"é".repeat(512)));
    let lost = [close("/wt/hash", "connection", 0, "closed by the peer with H3_NO_ERROR")];
    let expected = json!({
        "codes": (0..31).collect::<Vec<_>>(),
        "status": 200,
        "closes": closes,
        "lost": lost,
    });
    assert_eq!(found, expected);
}

#[test]
fn the_server_closes_sessions() {
    let expected = json!({
        "closes": [[[7, "enough"]], [[u32::MAX, "é"]], [[0, ""]], [[30, "late"]]],
        "before": false,
        "stops": [null, null, null, null],
        "refused": vec![WT_APPLICATION_ERROR; 2],
        "get": [200, HELLO],
        "server": [
            close("/wt/close", "us", 7, "enough"),
            close("/wt/close", "us", u32::MAX, "é"),
            close("/wt/close", "us", 0, ""),
            close("/wt/close", "us", 30, "late"),
        ],
    });
    assert_eq!(run("close-by-server"), expected);
}

#[test]
fn unknown_capsules_are_skipped() {
    let expected = json!({
        "works": ["still here", "streams too"],
        "closes": [close("/wt/echo", "peer", 5, "after capsules")],
    });
    assert_eq!(run("unknown-capsules"), expected);
}

#[test]
fn answers_to_connect() {
    let statuses = json!({
        "/wt/echo": 200,
        "/nothing": 404,
        "/wt/reject": 403,
        "/wt/reject?status=418": 418,
        "/": 405,
        "no origin": 403,
        "foreign origin": 403,
        "webtransport-h3": 200,
    });
    let chosen = ["\"echo-v2\"", "\"echo-v1\"", "\"echo-v1\"", "", ""];
    assert_eq!(run("answers"), json!({ "statuses": statuses, "chosen": chosen }));
}

#[test]
fn error_codes_of_every_kind() {
    // The code, and by how much those that came back are off.
    let codes: Vec<_> = [0, 29, 30, 139, u32::MAX].map(|code| json!([code, 0, 0, 0])).into();
    assert_eq!(run("resets"), json!({ "codes": codes, "works": "still here" }));
}

#[test]
fn a_stream_that_stalls_blocks_nothing_else() {
    const MIB: u64 = 1 << 20;
    let mut server = Server::start(&[]);
    let before = server.memory_kib("VmRSS");
    let found = Case::start(&server, "backpressure").finish();
    let grown = server.memory_kib("VmHWM") - before;
    let field = |name: &str| found[name].clone();
    assert_eq!(
        [field("datagrams"), field("streams"), field("own")],
        [json!(200), json!(50), json!("of the session itself")]
    );
    let (sent, seconds) = (found["sent_while_stalled"].as_u64().unwrap(), found["seconds_stalled"].as_f64().unwrap());
    // All of that happened within the pause of 8 s, in which no more came than a stream's window holds.
    assert!(sent < 4 * MIB && seconds < 8.0, "{sent} bytes sent in {seconds} s");
    let size = 64 * MIB;
    let sum = sha256(&payload(size as usize));
    assert_eq!(field("answer"), json!({ "bytes": size, "sha256": sum }));
    assert_eq!(field("sha256"), json!(sum));
    assert!(grown < 24 * 1024, "the server has grown by {grown} KiB");
    server.stop();
}
