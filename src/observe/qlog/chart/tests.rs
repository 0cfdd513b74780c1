use std::collections::BTreeMap;
use std::path::Path;

use roxmltree::{Document, Node};
use tempfile::TempDir;

use super::super::{Summary, sample};
use super::series::MAX_MARKS;
use super::*;

fn of_class<'a>(document: &'a Document<'_>, class: &str) -> Vec<Node<'a, 'a>> {
    document.descendants().filter(|node| node.attribute("class") == Some(class)).collect()
}

fn drawn(content: &str) -> Chart {
    Chart::read(content.as_bytes(), Path::new("dir/made.sqlog")).unwrap()
}

fn log(records: impl IntoIterator<Item = String>) -> String {
    let header = r#"{"trace":{"title":"t","vantage_point":{"type":"server"}}}"#.to_owned();
    std::iter::once(header).chain(records).map(|record| format!("\x1e{record}\n")).collect()
}

fn packet(at: f64, way: &str, number: u64, frames: &str) -> String {
    format!(
        r#"{{"time":{at},"name":"quic:packet_{way}","data":{{"header":{{"packet_type":"1RTT","packet_number":{number}}},"raw":{{"length":1200}},"frames":[{frames}]}}}}"#
    )
}

#[test]
fn each_packet_of_quiches_logs_has_a_mark() {
    let tmp = TempDir::new().unwrap();
    let (client, server) = sample::logs(tmp.path(), 3, 8);
    for (path, lost) in [(client, 0), (server, 1)] {
        let (file, summary) = (std::fs::File::open(&path).unwrap(), Summary::read(&path).unwrap());
        let chart = Chart::read(file, &path).unwrap();
        let svg = chart.to_svg();
        let document = Document::parse(&svg).expect("well-formed XML");
        let count = |class| of_class(&document, class).len() as u64;
        let sum = |counts: &BTreeMap<String, super::super::Count>| counts.values().map(|c| c.count).sum::<u64>();
        assert_eq!(count("m sent"), sum(&summary.packets.sent));
        assert_eq!(count("m received"), sum(&summary.packets.received));
        assert_eq!((count("m lost"), summary.packets.lost.count), (lost, lost));
        assert_eq!(count("m acked"), chart.acked);
        assert!(chart.acked >= sum(&summary.packets.sent) / 2, "{} acknowledged", chart.acked);
        for title in ["Packets sent", "Packets received", "Congestion window", "Round-trip time", "Streams", "Events"] {
            let is_title = |node: &Node<'_, '_>| node.attribute("class") == Some("title") && node.text() == Some(title);
            assert_eq!(document.descendants().filter(is_title).count(), 1, "{title}");
        }
        let lanes =
            document.descendants().filter(|node| node.is_element() && node.text() == Some("4 client bidi")).count();
        assert_eq!(lanes, 1, "the second request has a lane");
        let title = "stream 4 (client bidi) GET /file/1, ";
        assert!(document.descendants().any(|node| node.text().is_some_and(|text| text.starts_with(title))));
    }
}

#[test]
fn labels_of_streams_are_not_cut_off() {
    const WIDTH: f64 = 6.0;
    let stream = r#"{"frame_type":"stream","stream_id":1234567,"offset":0,"length":1000}"#;
    let chart = drawn(&log([packet(0.0, "sent", 10, stream)]));
    let svg = chart.to_svg();
    let document = Document::parse(&svg).expect("well-formed XML");
    let label = document.descendants().find(|node| node.is_element() && node.text() == Some("1234567 server uni"));
    let end: f64 = label.and_then(|node| node.attribute("x")).expect("a label").parse().unwrap();
    assert!(end >= WIDTH * "1234567 server uni".len() as f64, "it ends at {end}");
}

#[test]
fn marks_say_what_became_of_a_packet() {
    let stream = r#"{"frame_type":"stream","stream_id":0,"offset":0,"length":1000}"#;
    let ack = |ranges: &str| format!(r#"{{"frame_type":"ack","acked_ranges":{ranges}}}"#);
    let content = log([
        packet(0.0, "sent", 10, stream),
        packet(1.0, "sent", 11, stream),
        packet(2.0, "sent", 12, &ack("[[0,3]]")),
        packet(3.0, "sent", 13, stream),
        packet(30.0, "received", 4, &ack("[[13],[10]]")),
        // quiche counts what it holds for lost: 11, since 12 elicits no acknowledgement.
        r#"{"time":30,"name":"quic:recovery_metrics_updated","data":{"cf_lost_packets":{"total":5,"delta":1},"congestion_window":9000,"bytes_in_flight":0,"latest_rtt":27}}"#.to_owned(),
    ]);
    let svg = drawn(&content).to_svg();
    let document = Document::parse(&svg).unwrap();
    let titles = |class| {
        let marks = of_class(&document, class);
        marks.iter().map(|mark| mark.first_element_child().unwrap().text().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles("m sent").len(), 4);
    assert_eq!(titles("m lost"), ["sent 1.0 ms: packet 11, declared lost 30.0 ms"]);
    assert_eq!(
        titles("m acked"),
        [
            "sent 0.0 ms: 1RTT 10, 1200 bytes, acknowledged after 30.0 ms",
            "sent 3.0 ms: 1RTT 13, 1200 bytes, acknowledged after 27.0 ms"
        ]
    );
    // ngtcp2 and aioquic name the packet.
    let named = log([
        packet(0.0, "sent", 10, stream),
        r#"{"time":9,"name":"recovery:packet_lost","data":{"type":"1RTT","packet_number":10}}"#.to_owned(),
    ]);
    assert!(drawn(&named).to_svg().contains("sent 0.0 ms: packet 10, declared lost 9.0 ms"));
}

#[test]
fn foreign_text_stays_text() {
    let evil = r#"</title><script>alert(1)</script>&\u0000\u001b"#;
    let records = [
        packet(0.0, "sent", 0, r#"{"frame_type":"stream","stream_id":0,"offset":0,"length":10}"#),
        format!(
            r#"{{"time":0,"name":"http3:frame_created","data":{{"stream_id":0,"frame":{{"frame_type":"headers","headers":[{{"name":":method","value":"{evil}"}},{{"name":":path","value":"{evil}"}}]}}}}}}"#
        ),
        format!(r#"{{"time":0,"name":"quic:connection_closed","data":{{"initiator":"{evil}","reason":"{evil}"}}}}"#),
        format!(r#"{{"time":0,"name":"quic:congestion_state_updated","data":{{"new":"{evil}"}}}}"#),
        format!(r#"{{"time":0,"name":"quic:migration_state_updated","data":{{"new":"{evil}","{evil}":1}}}}"#),
        format!(r#"{{"time":0,"name":"webtransport:{evil}","data":{{"session_id":1}}}}"#),
    ];
    let content = log(records)
        .replace(r#""vantage_point":{"type":"server"}"#, &format!(r#""vantage_point":{{"type":"{evil}"}}"#));
    let name = Path::new("dir/<script>&.sqlog");
    let chart = Chart::read(content.as_bytes(), name).unwrap();
    for page in [chart.to_svg(), chart.to_html()] {
        assert!(!page.contains("<script") && !page.contains("\0") && !page.contains('\u{1b}'), "{page}");
        assert!(page.contains("&lt;script&gt;"));
    }
    Document::parse(&chart.to_svg()).expect("well-formed XML");
}

#[test]
fn a_page_needs_nothing_else() {
    let tmp = TempDir::new().unwrap();
    let (_, server) = sample::logs(tmp.path(), 1, 0);
    let html = Chart::read(std::fs::File::open(&server).unwrap(), &server).unwrap().to_html();
    for part in ["<script", "src=", "href=", "url(", "@import", "http:", "https:"] {
        assert!(!html.contains(part), "{part}");
    }
    for part in [
        "prefers-color-scheme:dark",
        "width=device-width",
        "max-width:600px",
        "<svg class=\"narrow\" viewBox=\"0 0 380 ",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.contains("handshake   established after"), "the summary");
}

/// 40 000 packets in 4000 streams, one in ten lost.
#[test]
fn long_connections_are_drawn_in_a_bounded_size() {
    let records = (0..40_000u64).flat_map(|n| {
        let at = n as f64 * 0.1;
        let stream = format!(r#"{{"frame_type":"stream","stream_id":{},"offset":{},"length":1000}}"#, n / 10 * 4, n % 10 * 1000);
        let ack = format!(r#"{{"frame_type":"ack","acked_ranges":[[{n},{n}]]}}"#);
        let window = format!(r#"{{"time":{at},"name":"quic:recovery_metrics_updated","data":{{"congestion_window":{},"latest_rtt":{}}}}}"#, 10_000 + n % 97, 30 + n % 13);
        let after = match n % 10 {
            7 => format!(r#"{{"time":{at},"name":"quic:packet_lost","data":{{"header":{{"packet_type":"1RTT","packet_number":{n}}}}}}}"#),
            _ => packet(at, "received", n, &ack),
        };
        [packet(at, "sent", n, &stream), window, after]
    });
    let chart = drawn(&log(records));
    assert_eq!((chart.sent.seen(), chart.lost.seen(), chart.acked, chart.streams), (40_000, 4000, 36_000, 4000));
    let svg = chart.to_svg();
    let document = Document::parse(&svg).unwrap();
    for class in ["m sent", "m received", "m acked", "m lost"] {
        let count = of_class(&document, class).len();
        assert!((MAX_MARKS / 3..=MAX_MARKS).contains(&count), "{count} of {class}");
    }
    assert!(svg.contains("One packet in 32 is drawn. One lost packet in 4 is drawn."));
    assert!(svg.contains("The first 40 streams; 3960 more are not drawn."));
    assert!(svg.len() < 1_500_000 && chart.to_html().len() < 3_000_000, "{} bytes", svg.len());
}

#[test]
fn odd_logs_are_drawn() {
    let max = u64::MAX;
    let stream = format!(r#"{{"frame_type":"stream","stream_id":{max},"offset":{max},"length":{max}}}"#);
    let ack = format!(r#"{{"frame_type":"ack","acked_ranges":[[0,{max}]]}}"#);
    let records = [
        packet(1e300, "sent", max, &stream),
        packet(-1e300, "sent", 0, &stream),
        packet(0.0, "received", max, &ack),
        format!(
            r#"{{"time":1,"name":"quic:recovery_metrics_updated","data":{{"congestion_window":{max},"bytes_in_flight":{max},"latest_rtt":1e308,"min_rtt":-1,"cf_lost_packets":{{"delta":{max}}}}}}}"#
        ),
        format!(r#"{{"time":1,"name":"quic:parameters_set","data":{{"owner":"remote","initial_max_data":{max}}}}}"#),
    ];
    for some in [&records[..0], &records[..1], &records[1..3], &records[..]] {
        let chart = drawn(&log(some.iter().cloned()));
        let svg = chart.to_svg();
        Document::parse(&svg).unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.len() < 100_000);
        assert!(chart.to_html().ends_with("</html>\n"));
    }
}

#[test]
fn a_long_wait_at_the_end_does_not_hide_the_rest() {
    let stream = r#"{"frame_type":"stream","stream_id":0,"offset":0,"length":1000}"#;
    let closed = r#"{"time":60000,"name":"quic:connection_closed","data":{"trigger":"idle_timeout"}}"#.to_owned();
    let start = [packet(0.0, "sent", 0, stream), packet(100.0, "received", 0, "")];
    let svg = drawn(&log(start.clone().into_iter().chain([closed.clone()]))).to_svg();
    assert!(svg.contains("server, 60.000 s; the pictures end with the last packet at 100.0 ms"), "{svg}");
    // Probes of a peer that is gone.
    let probes = (1..5u32).map(|n| packet(f64::from(n) * 1000.0, "sent", u64::from(n), stream));
    let svg = drawn(&log(start.into_iter().chain(probes).chain([closed]))).to_svg();
    assert!(svg.contains("the pictures end at 125.0 ms: nothing came after 100.0 ms"), "{svg}");
    assert_eq!(svg.matches("class=\"m sent\"").count(), 1);
    assert!(svg.contains("5 packets sent"));
}

/// quiche writes what it assumes of a new path as if it were measured.
#[test]
fn a_guess_is_no_round_trip() {
    let metrics = |at: f64, metrics: &str| {
        format!(r#"{{"time":{at},"name":"quic:recovery_metrics_updated","data":{{{metrics}}}}}"#)
    };
    let content = log([
        packet(0.0, "sent", 0, ""),
        metrics(0.0, r#""min_rtt":333.0,"smoothed_rtt":333.0"#),
        metrics(1.0, r#""min_rtt":10.0,"smoothed_rtt":12.0,"latest_rtt":10.0"#),
        metrics(2.0, r#""min_rtt":333.0,"smoothed_rtt":333.0"#),
    ]);
    let chart = drawn(&content);
    assert_eq!((chart.smoothed_rtt.max(), chart.min_rtt.max()), (12.0, 10.0));
    assert_eq!(chart.summary.rtt.unwrap().min_ms, 10.0);
}
