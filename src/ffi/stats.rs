//! Counters as JSON.

use serde_json::{Map, Value};

use crate::observe::prometheus::Snapshot;

/// The counters of an endpoint, and what is open, as a JSON object of numbers.
pub(super) fn to_json(snapshot: &Snapshot) -> String {
    let counters = snapshot.stats.counters().into_iter();
    let open = [
        ("connections_open", snapshot.connections as u64),
        ("handshakes_open", snapshot.handshakes as u64),
        ("sessions_open", snapshot.sessions as u64),
    ];
    let all: Map<String, Value> = counters.chain(open).map(|(name, n)| (name.to_owned(), n.into())).collect();
    Value::Object(all).to_string()
}
