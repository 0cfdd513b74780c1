//! The report of a session, as text and as JSON.

use std::fmt::Write;

use data_encoding::BASE64;
use hdrhistogram::Histogram;
use mio_quiche::EndedBy;
use serde_json::{Value, json};

use super::output::printable;
use super::state::{State, Streams};

fn ms(nanos: u64) -> f64 {
    // To the microsecond.
    (nanos as f64 / 1e3).round() / 1e3
}

fn quantiles(rtt: &Histogram<u64>) -> Value {
    let at = |q| ms(rtt.value_at_quantile(q));
    json!({ "min": ms(rtt.min()), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": ms(rtt.max()) })
}

fn megabytes(streams: &Streams) -> f64 {
    if streams.seconds > 0.0 { streams.bytes as f64 / streams.seconds / 1e6 } else { 0.0 }
}

/// One object.
pub(super) fn json(url: &str, state: &State, seconds: f64, error: Option<&str>) -> Value {
    let mut report = json!({ "url": url, "ok": error.is_none(), "error": error, "seconds": seconds });
    let Some(opened) = state.opened else { return report };
    let datagrams = &state.datagrams;
    let rtt = if datagrams.rtt.is_empty() { Value::Null } else { quantiles(&datagrams.rtt) };
    let by = |by| match by {
        EndedBy::Us => "us",
        EndedBy::Peer => "peer",
        EndedBy::Connection => "connection",
    };
    let closed = state.end.as_ref().map(|end| json!({ "by": by(end.by), "code": end.code, "reason": end.reason }));
    let peer = |s: &super::state::PeerStream| {
        let kind = if s.is_bidi { "bidi" } else { "uni" };
        let mut stream = json!({ "kind": kind, "bytes": s.bytes, "text": String::from_utf8_lossy(&s.text) });
        if std::str::from_utf8(&s.text).is_err() {
            stream["base64"] = BASE64.encode(&s.text).into();
        }
        stream
    };
    let more = json!({
        "opened_ms": ms((opened - state.began).as_nanos() as u64),
        "subprotocol": state.subprotocol,
        "size": state.content.size(),
        "datagrams": {
            "sent": datagrams.sent, "back": datagrams.back, "lost": state.lost(), "wrong": datagrams.wrong, "rtt_ms": rtt,
        },
        "bidi": {
            "opened": state.bidi.opened, "equal": state.bidi.equal, "bytes": state.bidi.bytes,
            "seconds": state.bidi.seconds, "mb_per_second": megabytes(&state.bidi),
        },
        "uni": {
            "opened": state.uni.opened, "answered": state.uni.equal, "bytes": state.uni.bytes,
            "seconds": state.uni.seconds, "mb_per_second": megabytes(&state.uni),
        },
        "peer_streams": state.peer.iter().map(peer).collect::<Vec<_>>(),
        "other_datagrams": state.other_datagrams.iter().map(|d| String::from_utf8_lossy(d)).collect::<Vec<_>>(),
        "closed": closed,
        "problems": state.problems,
    });
    if let (Value::Object(report), Value::Object(more)) = (&mut report, more) {
        report.extend(more);
    }
    report
}

/// Some lines.
pub(super) fn text(state: &State) -> String {
    let mut out = String::new();
    let Some(opened) = state.opened else { return out };
    let took = (opened - state.began).as_secs_f64() * 1e3;
    let subprotocol = state.subprotocol.as_ref().map(|name| format!(", subprotocol {}", printable(name.as_bytes())));
    // Writing to a string does not fail.
    let _ = writeln!(out, "session    opened after {took:.1} ms{}", subprotocol.unwrap_or_default());
    let (datagrams, size) = (&state.datagrams, state.content.size());
    if datagrams.sent > 0 {
        let lost = state.lost();
        let percent = lost as f64 * 100.0 / datagrams.sent as f64;
        let _ = write!(
            out,
            "datagrams  {} of {size} bytes sent, {} came back, {lost} lost ({percent:.1} %)",
            datagrams.sent, datagrams.back
        );
        let _ = if datagrams.wrong > 0 { writeln!(out, ", {} changed", datagrams.wrong) } else { writeln!(out) };
        if !datagrams.rtt.is_empty() {
            let (rtt, at) = (&datagrams.rtt, |q| ms(datagrams.rtt.value_at_quantile(q)));
            let _ = writeln!(
                out,
                "           round trip in ms: min {:.3}, p50 {:.3}, p90 {:.3}, p99 {:.3}, max {:.3}",
                ms(rtt.min()),
                at(0.5),
                at(0.9),
                at(0.99),
                ms(rtt.max())
            );
        }
    }
    if state.plan.bidi > 0 {
        let Streams { opened, equal, .. } = state.bidi;
        let speed = megabytes(&state.bidi);
        let _ = writeln!(
            out,
            "bidi       {opened} streams of {size} bytes opened, {equal} came back equal, {speed:.1} MB/s each way"
        );
    }
    if state.plan.uni > 0 {
        let Streams { opened, equal, .. } = state.uni;
        let speed = megabytes(&state.uni);
        let _ = writeln!(
            out,
            "uni        {opened} streams of {size} bytes sent, {equal} answered with the same, {speed:.1} MB/s each way"
        );
    }
    let (ended, open) = (state.peer.len(), state.peer_open);
    if ended + open > 0 {
        let bytes = state.peer.iter().map(|s| s.bytes).sum::<u64>() + state.peer_open_bytes;
        let streams = if ended + open == 1 { "stream" } else { "streams" };
        let _ = write!(out, "server's   {} {streams} with {bytes} bytes", ended + open);
        let _ = if open > 0 { writeln!(out, ", {open} not ended") } else { writeln!(out) };
    }
    if let Some(end) = &state.end {
        let _ = writeln!(out, "session    {end}");
    }
    out
}
