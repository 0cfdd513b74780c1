//! What losses do to the order of things.

use serde_json::json;

use super::run;
use crate::support::sha256;

#[test]
fn a_fin_on_bytes_that_came_before() {
    let expected = json!({
        "upload": format!("{{\"bytes\":4,\"sha256\":\"{}\"}}\n", sha256(b"body")),
        "no body": "",
        "bidi": "bidi",
        "uni": ["uni"],
    });
    assert_eq!(run("fin-on-old-bytes"), expected);
}

#[test]
fn a_datagram_in_a_probe() {
    assert_eq!(run("datagram-in-a-probe"), json!(vec![json!([200, 300_000, 200]); 10]));
}
