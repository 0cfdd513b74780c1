//! What the server keeps, refuses and ends.

use serde_json::json;

use super::{
    Case, H3_REQUEST_REJECTED, HELLO, WT_BUFFERED_STREAM_REJECTED, WT_REQUIREMENTS_NOT_MET, WT_SESSION_GONE, run,
    run_with,
};
use crate::support::server::Server;

/// A bidirectional stream that is both reset and stopped.
const REJECTED: [u64; 2] = [WT_BUFFERED_STREAM_REJECTED; 2];
const GONE: [u64; 2] = [WT_SESSION_GONE; 2];

#[test]
fn the_oldest_early_streams_go_first() {
    let of = |kind: &str| (2..10).map(|n| format!("{kind} {n}")).collect::<Vec<_>>();
    let expected = json!({ "bidi": of("bidi"), "uni": of("uni"), "rejected": vec![WT_BUFFERED_STREAM_REJECTED; 2], "get": [200, HELLO] });
    assert_eq!(run("early-streams"), expected);
}

#[test]
fn early_bidirectional_streams() {
    let kept: Vec<_> = (4..20).map(|n| format!("{n} goes on")).collect();
    assert_eq!(run("early-bidi"), json!({ "rejected": vec![REJECTED; 4], "kept": kept }));
}

#[test]
fn early_unidirectional_streams() {
    let kept: Vec<_> = (4..20).map(|n| format!("{n:02} goes on")).collect();
    assert_eq!(run("early-uni"), json!({ "rejected": vec![WT_BUFFERED_STREAM_REJECTED; 4], "kept": kept }));
}

#[test]
fn early_datagrams() {
    let kept: Vec<_> = (8..40).map(|n| n.to_string()).collect();
    assert_eq!(run("early-datagrams"), json!({ "kept": kept, "all": 33 }));
}

#[test]
fn early_streams_of_a_refused_session() {
    let expected = json!({ "status": 403, "bidi": GONE, "uni": WT_SESSION_GONE, "late": GONE, "get": [200, HELLO] });
    assert_eq!(run("early-and-refused"), expected);
}

#[test]
fn streams_of_an_ended_session() {
    let expected = json!({
        "open": vec![WT_SESSION_GONE; 3],
        "late": vec![WT_SESSION_GONE; 3],
        "other": ["the other session", "and its datagrams"],
    });
    assert_eq!(run("gone"), expected);
}

#[test]
fn sessions_over_the_limit() {
    let echoes: Vec<_> = (1..16).chain([17]).map(|n| format!("from {}", 4 * n)).collect();
    let expected = json!({ "refused": vec![H3_REQUEST_REJECTED; 2], "echoes": echoes, "get": [200, HELLO] });
    assert_eq!(run("session-limit"), expected);
}

#[test]
fn sessions_over_the_limit_with_flow_control() {
    let statuses: Vec<_> = std::iter::repeat_n(200, 16).chain([429]).collect();
    let echoes: Vec<_> = (0..15).map(|n| format!("from {n}")).collect();
    let expected = json!({ "statuses": statuses, "again": 200, "full": 429, "echoes": echoes, "get": [200, HELLO] });
    assert_eq!(run_with(&["--wt-drafts", "all"], "session-limit-with-flow-control"), expected);
}

#[test]
fn clients_that_lack_something() {
    let refused = json!([WT_REQUIREMENTS_NOT_MET, [200, HELLO]]);
    let expected = json!({
        "no webtransport": [200, [200, HELLO]],
        "no datagrams": refused,
        "neither": refused,
        "both off": refused,
    });
    assert_eq!(run("requirements"), expected);
}

/// More than a session may have at a time: each gives its place back.
#[test]
fn streams_that_are_ended_and_stopped_at_once_are_never_refused() {
    // S2
    let mut server = Server::start(&[]);
    let found = Case::start_with(&server, "ended-and-stopped", &["1500"]).finish();
    assert_eq!(found, json!({ "refused": 0, "last": "last", "reset": null }));
    let stats = server.stop();
    assert_eq!((stats.get("session_streams_in"), stats.get("session_streams_rejected")), (1501, 0));
}

#[test]
fn streams_that_are_reset_right_behind_their_header_are_seen() {
    // S3
    let mut server = Server::start(&[]);
    let found = Case::start_with(&server, "reset-behind-header", &["100"]).finish();
    assert_eq!(found, json!({ "packets": 2, "answered": 100 }));
    assert_eq!(server.stop().get("session_streams_in"), 200);
}
