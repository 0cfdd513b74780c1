//! `observe/qlog`: the reader of qlog files.

use crate::observe::qlog::{Chart, MAX_LISTED, MAX_REQUESTS, Summary, explain};

/// A qlog file: its summary is bounded, and no output has control characters. An input without a record
/// separator in front also stands for the records behind a valid header.
pub fn qlog(input: &[u8]) {
    const HEADER: &[u8] = b"\x1e{\"file_schema\":\"urn:ietf:params:qlog:file:sequential\",\
        \"serialization_format\":\"application/qlog+json-seq\",\
        \"trace\":{\"vantage_point\":{\"type\":\"server\"},\"event_schemas\":[]}}\n\x1e";
    read(input);
    if input.first() != Some(&0x1e) {
        read(&[HEADER, input].concat());
    }
}

fn read(file: &[u8]) {
    let Ok(summaries) = Summary::read_all(file, "input".as_ref()) else { return };
    for summary in &summaries {
        assert!(summary.requests.len() <= MAX_REQUESTS && summary.requests_total >= summary.requests.len() as u64);
        for listed in [&summary.cids.local, &summary.cids.remote] {
            assert!(listed.first.len() <= MAX_LISTED && listed.total >= listed.first.len() as u64);
        }
        let text = summary.to_string();
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(summary.to_json().is_object());
    }
    assert!(!summaries.is_empty());
    let chart = Chart::read(file, "input".as_ref()).expect("it has a summary");
    for page in [chart.to_svg(), chart.to_html()] {
        assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "{page}");
    }
    let told = explain(file, "input".as_ref()).expect("it has a summary");
    assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
}
