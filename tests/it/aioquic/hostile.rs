//! What no decent client sends.

use serde_json::json;

use super::{H3_DATAGRAM_ERROR, H3_FRAME_ERROR, H3_FRAME_UNEXPECTED, H3_ID_ERROR, H3_MESSAGE_ERROR, HELLO, run};

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
