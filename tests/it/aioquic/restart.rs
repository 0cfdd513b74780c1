//! A server that restarts in the middle of a connection.

use serde_json::json;

use super::Case;
use crate::restart::Restarting;
use crate::support::{DEADLINE, wait_for};

#[test]
fn a_restarted_server_sends_the_reset_token_that_the_client_was_given() {
    // K7
    let mut restarting = Restarting::start(&[]);
    let files = tempfile::TempDir::new().unwrap();
    let (ready, restarted) = (files.path().join("ready"), files.path().join("restarted"));
    let args = [ready.to_str().unwrap(), restarted.to_str().unwrap()];
    let case = Case::start_with(&restarting.server, "reset", &args);
    wait_for("the connection", DEADLINE, || ready.exists().then_some(()));
    restarting.restart(&[]);
    std::fs::write(&restarted, "").unwrap();
    let mut found = case.finish();
    let length = found["length"].take().as_u64().unwrap();
    assert!((36..=43).contains(&length), "{length}");
    let expected = json!({ "status": 200, "length": null, "short header": true, "token": true, "soon": true,
        "noticed by aioquic": false });
    assert_eq!(found, expected);
}
