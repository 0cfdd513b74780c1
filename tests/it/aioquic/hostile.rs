//! What no decent client sends.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::{Case, H3_DATAGRAM_ERROR, H3_FRAME_ERROR, H3_FRAME_UNEXPECTED, H3_ID_ERROR, H3_MESSAGE_ERROR, HELLO, run};
use crate::support::server::{Server, make_cert};

#[test]
fn malformed_datagrams() {
    assert_eq!(run("malformed-datagrams"), json!(vec![H3_DATAGRAM_ERROR; 10]));
}

#[test]
fn session_ids_of_other_streams() {
    assert_eq!(run("bad-session-ids"), json!(vec![H3_ID_ERROR; 8]));
}

#[test]
fn malformed_close_capsules() {
    let expected = json!({ "resets": vec![H3_MESSAGE_ERROR; 6], "echo": "alive", "get": [200, HELLO] });
    assert_eq!(run("bad-closes"), expected);
}

#[test]
fn capsules_cut_by_the_end() {
    assert_eq!(run("cut-capsules"), json!({ "resets": vec![H3_MESSAGE_ERROR; 4], "get": [200, HELLO] }));
}

#[test]
fn bytes_after_the_close_capsule() {
    let expected = json!({ "reset": H3_MESSAGE_ERROR, "fin": false, "get": [200, HELLO] });
    assert_eq!(run("data-after-close"), expected);
}

#[test]
fn the_signal_in_the_middle_of_a_stream() {
    assert_eq!(run("signal-later"), json!(vec![H3_FRAME_ERROR; 4]));
}

#[test]
fn prohibited_capsules() {
    let expected = json!({ "ends": [[H3_MESSAGE_ERROR, null], [H3_MESSAGE_ERROR, null]], "echo": "alive" });
    assert_eq!(run("prohibited-capsules"), expected);
}

#[test]
fn streams_that_end_within_their_header() {
    assert_eq!(run("cut-headers"), json!({ "echo": "alive", "get": [200, HELLO] }));
}

#[test]
fn settings_on_a_session_stream() {
    assert_eq!(run("settings-in-a-session"), json!(H3_FRAME_UNEXPECTED));
}

/// Makes the server's chain so long; nobody looks whether the certificates belong together.
fn lengthen_chain(dir: &std::path::Path, certificates: usize) {
    let mut chain = fs::read_to_string(dir.join("cert.pem")).unwrap();
    for _ in 1..certificates {
        let other = TempDir::new().unwrap();
        make_cert(other.path());
        chain += &fs::read_to_string(other.path().join("cert.pem")).unwrap();
    }
    fs::write(dir.join("cert.pem"), chain).unwrap();
}

#[test]
fn at_most_three_times_a_first_packet_comes_back() {
    // K2: until the handshake times out.
    let servers = [1, 9].map(|length| Server::prepared("127.0.0.1:0", |dir| lengthen_chain(dir, length), &[]));
    let cases = servers.each_ref().map(|server| Case::start_with(server, "first-packet", &["10.5"]));
    let found = cases.map(|case| case.finish());
    for (found, length) in found.iter().zip([1, 9]) {
        let [sent, came] = ["sent", "came"].map(|name| found[name].as_u64().unwrap());
        assert!(sent >= 1200 && came > 0 && came <= 3 * sent, "{length} certificates: {came} bytes for {sent}");
    }
}
