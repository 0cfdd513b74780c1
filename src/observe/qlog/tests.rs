use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::sample::{self, BODY_LEN};
use super::*;

const HEADER: &str = r#"{"file_schema":"urn:ietf:params:qlog:file:sequential","serialization_format":"JSON-SEQ","trace":{"title":"t","vantage_point":{"type":"server"},"event_schemas":[]}}"#;

/// A log of `records` behind a header.
fn log(records: &[&str]) -> Summary {
    let tmp = TempDir::new().unwrap();
    let path = tmp.path().join("made.sqlog");
    let all: String = [HEADER].iter().chain(records).map(|record| format!("\x1e{record}\n")).collect();
    fs::write(&path, all).unwrap();
    Summary::read(&path).unwrap()
}

fn read_error(content: &[u8]) -> String {
    let tmp = TempDir::new().unwrap();
    let path = tmp.path().join("bad.sqlog");
    fs::write(&path, content).unwrap();
    let error = Summary::read(&path).unwrap_err().to_string();
    assert!(error.contains("bad.sqlog"), "{error}");
    error
}

#[test]
fn quiches_own_logs() {
    let tmp = TempDir::new().unwrap();
    let (client, server) = sample::logs(tmp.path(), 3, 8);
    let (client, server) = (Summary::read(&client).unwrap(), Summary::read(&server).unwrap());
    println!("{client}\n{server}");

    for (log, side, initiator) in [(&client, "client", "local"), (&server, "server", "remote")] {
        assert_eq!(log.vantage_point, side);
        assert_eq!(log.title, Some(format!("{side} log")));
        assert_eq!((log.skipped, log.truncated), (0, false));
        assert!(log.started.as_deref().unwrap().starts_with("20"));
        let h = &log.handshake;
        assert!(h.established_ms.unwrap() <= h.confirmed_ms.unwrap() && h.confirmed_ms.unwrap() <= log.duration_ms);
        assert_eq!(
            (h.version.as_deref(), h.alpn.as_deref(), h.cipher.as_deref()),
            (Some("1"), Some("h3"), Some("AES128_GCM"))
        );
        let rtt = log.rtt.unwrap();
        assert!(0.0 < rtt.min_ms && rtt.min_ms <= rtt.latest_ms && rtt.latest_ms <= rtt.max_ms && rtt.max_ms < 333.0);
        assert!(log.congestion.window.unwrap() <= log.congestion.max_window.unwrap());
        assert_eq!(log.congestion.states.first[0].1, "slow_start");
        let paths: Vec<_> =
            log.requests.iter().map(|r| (r.stream, &*r.method, &*r.path, r.status.as_deref())).collect();
        assert_eq!(
            paths,
            [
                (0, "GET", "/file/0", Some("200")),
                (4, "GET", "/file/1", Some("200")),
                (8, "GET", "/file/2", Some("200"))
            ]
        );
        let close = log.close.as_ref().unwrap();
        assert_eq!(close.initiator.as_deref(), Some(initiator));
        assert_eq!(
            (close.code, close.space.as_deref(), close.reason.as_deref()),
            (Some(0x100), Some("application"), Some("done"))
        );
    }

    assert_eq!(client.cids.original, server.cids.original);
    assert_eq!(client.cids.local.first, ["c1".repeat(16)]);
    assert_eq!(client.cids.local, server.cids.remote);
    assert_eq!(client.cids.remote, server.cids.local);
    assert_eq!(client.packets.sent, server.packets.received);
    assert_eq!(client.packets.lost.count, 0);
    assert_eq!(server.packets.lost.count, 1);
    let (sent, received) = (server.packets.sent["1RTT"].count, client.packets.received["1RTT"].count);
    assert_eq!(sent, received + 1);

    for kind in ["client bidi", "client uni", "server uni"] {
        let (c, s) = (client.streams[kind], server.streams[kind]);
        assert_eq!((c.count, c.bytes_in, c.bytes_out), (s.count, s.bytes_out, s.bytes_in), "{kind}");
    }
    let requests = client.streams["client bidi"];
    assert_eq!(requests.count, 3);
    let bodies = 3 * BODY_LEN as u64;
    assert!((bodies..bodies + 300).contains(&requests.bytes_in), "retransmissions count once: {requests:?}");
    assert_eq!(client.datagrams_sent, server.datagrams_received);
    assert_eq!(client.datagrams_sent.count, 1);
    assert_eq!(client.datagrams_received.count, 0);
}

#[test]
fn the_page_is_aligned_and_complete() {
    let tmp = TempDir::new().unwrap();
    let (client, _) = sample::logs(tmp.path(), MAX_REQUESTS + 5, 0);
    let summary = Summary::read(&client).unwrap();
    assert_eq!((summary.requests.len(), summary.requests_total), (MAX_REQUESTS, 25));
    let page = summary.to_string();
    for expected in [
        "file        /",
        "\ntitle       client log (client)\n",
        "\nhandshake   established after ",
        "\nCIDs        original ",
        "\n            local    c1c1",
        "\nsent ",
        "\nreceived ",
        "\nlost                0 packets\n",
        "\nRTT         min ",
        "\ncwnd        last ",
        "\ncongestion  slow_start (",
        "\nstreams            25 client bidi ",
        "\ndatagrams   0 in ",
        "\nHTTP/3      25 requests, 0 WebTransport sessions\n",
        " 200 GET /file/19\n",
        "\n            ... and 5 more\n",
        ", local, application error 0x100 (H3_NO_ERROR), \"done\"\n",
    ] {
        assert!(page.contains(expected), "{expected:?} is not in\n{page}");
    }
    assert!(!page.contains("/file/20"));

    let json = summary.to_json();
    assert_eq!(json["requests_total"], 25);
    assert_eq!(json["requests"][0]["path"], "/file/0");
    assert_eq!(json["handshake"]["version"], "1");
    assert_eq!(json["close"]["code"], 256);
    assert_eq!(json["packets"]["sent"]["1RTT"]["count"], summary.packets.sent["1RTT"].count);
}

#[test]
fn a_log_cut_anywhere_is_read_up_to_there() {
    let tmp = TempDir::new().unwrap();
    let (client, _) = sample::logs(tmp.path(), 1, 0);
    let content = fs::read(client).unwrap();
    let path = tmp.path().join("cut.sqlog");
    let header = content.iter().skip(2).position(|&b| b == read::RECORD_SEPARATOR).unwrap() + 2;
    for cut in (header..content.len()).step_by(997) {
        fs::write(&path, &content[..cut]).unwrap();
        let summary = Summary::read(&path).unwrap();
        let whole = matches!(content[cut - 1], read::RECORD_SEPARATOR | b'\n') || content[cut] == b'\n';
        assert_eq!((summary.truncated, summary.skipped), (!whole, u64::from(!whole)), "{cut}");
        assert!(!summary.to_string().is_empty());
    }
    fs::write(&path, &content[..header]).unwrap();
    let summary = Summary::read(&path).unwrap();
    assert_eq!((summary.events, summary.close), (0, None));
}

#[test]
fn unknown_and_broken_records_are_counted() {
    let summary = log(&[
        r#"{"time":5,"name":"webtransport:session_started","data":{"id":4}}"#,
        r#"{"time":5,"name":"quic:packet_sent","data":{"header":{"packet_type":"3RTT"}}}"#,
        "not json",
        "",
        r#"[1,2"#,
        r#"{"time":7.5,"name":"quic:packet_lost","data":{}}"#,
        r#"{"time":9.5,"name":"quic:packet_dropped","data":{}}"#,
        r#"{"time":1e400,"name":"quic:packet_dropped","data":{}}"#,
        r#"{"name":"quic:packet_dropped","data":{}}"#,
    ]);
    assert_eq!((summary.events, summary.skipped, summary.truncated), (4, 4, false));
    assert_eq!(summary.packets.sent["unknown"].count, 1);
    let first = summary.first_skipped.as_ref().unwrap();
    assert_eq!((first.line, first.reason.as_str()), (4, "expected ident"));
    assert_eq!((summary.packets.lost.count, summary.packets.dropped), (1, 1));
    assert_eq!(summary.duration_ms, 4.5);
    let page = summary.to_string();
    assert!(page.contains("duration    4.5 ms (4 events, 4 skipped: line 4: expected ident)\n"), "{page}");
    assert!(page.contains("handshake   not established\n") && page.contains("closed      not in this log\n"), "{page}");
}

#[test]
fn sessions_statuses_and_foreign_text() {
    let connect = r#"{"time":1,"name":"http3:frame_parsed","data":{"stream_id":0,"frame":{"frame_type":"headers","headers":[
        {"name":":method","value":"CONNECT"},{"name":":protocol","value":"webtransport"},{"name":":path","value":"/wt\u001b[2J\n"}]}}}"#;
    let answer = |status: &str| {
        format!(
            r#"{{"time":2,"name":"http3:frame_created","data":{{"stream_id":0,"frame":{{"frame_type":"headers","headers":[{{"name":":status","value":"{status}"}}]}}}}}}"#
        )
    };
    let summary = log(&[connect, &answer("103"), &answer("200")]);
    assert_eq!(summary.webtransport_sessions, 1);
    assert_eq!(summary.requests[0].status.as_deref(), Some("200"));
    let page = summary.to_string();
    assert!(page.contains("200 CONNECT /wt\\u{1b}[2J\\n (webtransport)\n"), "{page}");
}

#[test]
fn how_it_closed() {
    let frame = r#"{"time":1,"name":"quic:packet_received","data":{"header":{"packet_type":"initial"},"frames":[{"frame_type":"connection_close","error_space":"transport","error_code":296,"reason":"bad certificate"}]}}"#;
    let event = r#"{"time":3,"name":"quic:connection_closed","data":{"initiator":"local","reason":"Failed to establish connection","trigger":"handshake_timeout"}}"#;
    let both = log(&[frame, event]).to_string();
    assert!(
        both.contains("closed      after 2.0 ms, remote, transport error 0x128 (CRYPTO_ERROR), \"bad certificate\""),
        "{both}"
    );
    let only_frame = log(&[frame]).close.unwrap();
    assert_eq!((only_frame.code, only_frame.initiator.as_deref()), (Some(296), Some("remote")));
    let idle = r#"{"time":0,"name":"quic:connection_closed","data":{"initiator":"local","reason":"Idle timeout","trigger":"idle_timeout"}}"#;
    let idle = log(&[idle]).to_string();
    assert!(idle.contains("closed      after 0.0 ms, local, \"Idle timeout\", trigger idle_timeout\n"), "{idle}");
}

#[test]
fn extreme_numbers_do_not_overflow() {
    let max = u64::MAX;
    let packet = format!(
        r#"{{"time":1e300,"name":"quic:packet_sent","data":{{"header":{{"packet_type":"1RTT"}},"raw":{{"length":{max}}},"frames":[
        {{"frame_type":"stream","stream_id":{max},"offset":{max},"raw":{{"length":{max}}}}},
        {{"frame_type":"stream","stream_id":3,"offset":{max},"raw":{{"length":{max}}}}},
        {{"frame_type":"datagram","raw":{{"length":{max}}}}}]}}}}"#
    );
    let received = packet
        .replace("packet_sent", "packet_received")
        .replace(r#""packet_type":"1RTT""#, r#""packet_type":"initial","dcil":255,"scil":255"#);
    let summary = log(&[&packet, &packet, &received, &received]);
    assert_eq!((summary.events, summary.skipped), (4, 0));
    assert_eq!(summary.streams["server uni"].bytes_out, max);
    assert!(summary.to_string().contains("server uni"));
}

#[test]
fn what_is_no_qlog_is_named() {
    assert!(read_error(b"").contains("it is empty"));
    assert!(read_error(b"{\"qlog_version\":\"0.3\"}").contains("it has no traces"));
    assert!(read_error(b"{\n\"traces\":[\n{\"events\":[oops]}]}").contains("line 3: expected value"));
    assert!(read_error(b"{\"traces\":[").contains("line 1: EOF while parsing"));
    assert!(read_error(&[0x1f, 0x8b, 8, 0]).contains("cannot read qlog"));
    assert!(read_error(&[0x28, 0xb5, 0x2f, 0xfd, 0]).contains("zstd -d"));
    assert!(read_error(b"-----BEGIN CERTIFICATE-----").contains("line 1: it begins neither with a record separator"));
    assert!(read_error(b"\x1e").contains("line 1: it has no header"));
    assert!(read_error(b"\x1e\n\x1e\n").contains("no header"));
    assert!(read_error(b"\x1e{\"qlog_version\":\"0.3\"}\n").contains("header is unusable"));
    assert!(read_error(b"\x1e\xff\xfe\n").contains("header is unusable"));
    let missing = Summary::read(Path::new("nowhere.sqlog")).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read qlog 'nowhere.sqlog': No such file or directory (os error 2)");
    let tmp = TempDir::new().unwrap();
    assert!(matches!(Summary::read(tmp.path()), Err(QlogError::Read { .. })), "a directory");
}

/// The same connection as each implementation writes it: a request, its response, and a packet lost.
#[test]
fn times_and_names_of_all_drafts() {
    // Newest: quiche.
    let newest = [
        r#"{"time":10.5,"name":"quic:packet_sent","data":{"header":{"packet_type":"1RTT","packet_number":7},"raw":{"length":100},"frames":[{"frame_type":"stream","stream_id":0,"offset":0,"raw":{"payload_length":60}}]}}"#,
        r#"{"time":12.5,"name":"quic:recovery_metrics_updated","data":{"latest_rtt":2.0,"smoothed_rtt":2.5,"min_rtt":1.5,"congestion_window":12000}}"#,
        r#"{"time":13.5,"name":"quic:packet_lost","data":{"header":{"packet_type":"1RTT","packet_number":7}}}"#,
    ];
    let newest = log(&newest);
    let expect = |other: Summary, what: &str| {
        assert_eq!((other.events, other.skipped, other.duration_ms), (3, 0, 3.0), "{what}");
        assert_eq!(other.packets, newest.packets, "{what}");
        assert_eq!((other.rtt, &other.congestion), (newest.rtt, &newest.congestion), "{what}");
        assert_eq!(other.streams, newest.streams, "{what}");
    };
    expect(newest.clone(), "newest");
    assert_eq!((newest.packets.lost.count, newest.packets.sent["1RTT"].bytes), (1, 100));
    assert_eq!((newest.rtt.unwrap().latest_ms, newest.congestion.window), (2.0, Some(12000)));

    // ngtcp2: draft 03, JSON-SEQ, categories, `relative`.
    let header = r#"{"qlog_format":"JSON-SEQ","qlog_version":"0.3","trace":{"vantage_point":{"name":"ngtcp2","type":"client"},"common_fields":{"protocol_type":["QUIC"],"time_format":"relative","reference_time":0}}}"#;
    let data = r#"{"frames":[{"frame_type":"stream","stream_id":0,"fin":false,"offset":0,"length":60}],"header":{"packet_type":"1RTT","packet_number":7},"raw":{"length":100}}"#;
    let metrics = r#"{"min_rtt":1.5,"smoothed_rtt":2.5,"latest_rtt":2,"pto_count":0,"cwnd":12000}"#;
    let lost = r#"{"type":"1RTT","packet_number":7}"#;
    let at = |time: f64, name: &str, data: &str| format!(r#"{{"time":{time},"name":"{name}","data":{data}}}"#);
    let events = |times: [f64; 3]| {
        [
            at(times[0], "transport:packet_sent", data),
            at(times[1], "recovery:metrics_updated", metrics),
            at(times[2], "recovery:packet_lost", lost),
        ]
    };
    let sequence = |header: &str, separator: &str, times| {
        let records: Vec<_> = events(times).iter().map(|record| format!("{separator}{record}\n")).collect();
        format!("{separator}{header}\n{}", records.concat())
    };
    let read = |content: &str| Summary::read_all(content.as_bytes(), Path::new("made")).unwrap();
    let one = |content: &str| <[Summary; 1]>::try_from(read(content)).unwrap().into_iter().next().unwrap();
    let from_ngtcp2 = one(&sequence(header, "\x1e", [10.0, 12.0, 13.0]));
    assert_eq!(from_ngtcp2.vantage_point, "client");
    expect(from_ngtcp2, "ngtcp2");
    // The same as lines of JSON, as quic-go wrote it.
    expect(one(&sequence(header, "", [10.0, 12.0, 13.0])), "lines");
    for format in ["delta", "relative_to_previous", "relative_to_previous_event"] {
        let header = header.replace("\"relative\"", &format!("\"{format}\""));
        expect(one(&sequence(&header, "\x1e", [500.0, 2.0, 1.0])), format);
    }

    // aioquic: one value, absolute times, the side behind the events.
    let list = events([1795744419647.0, 1795744419649.0, 1795744419650.0]).join(",");
    let trace = format!(
        r#"{{"common_fields":{{"ODCID":"9963"}},"events":[{list}],"vantage_point":{{"name":"aioquic","type":"server"}}}}"#
    );
    let whole = format!(r#"{{"qlog_format":"JSON","qlog_version":"0.3","traces":[{trace}]}}"#);
    let from_aioquic = one(&whole);
    assert_eq!(from_aioquic.vantage_point, "server");
    assert_eq!(from_aioquic.started.as_deref(), Some("Fri, 27 Nov 2026 01:53:39 GMT"));
    expect(from_aioquic, "aioquic");
    let two = read(&format!(r#"{{"traces":[{trace},{trace}],"title":"two"}}"#));
    assert_eq!(two.len(), 2);
    for cut in [whole.len() - 40, whole.len() - 20] {
        let cut = one(&whole[..cut]);
        assert!(cut.truncated);
        expect(cut, "cut off");
    }

    // Draft 00 and 01: arrays, upper case, numbers as text, microseconds.
    let old_data = r#"{"packet_type":"1RTT","header":{"packet_number":"7","packet_size":100},"frames":[{"frame_type":"STREAM","id":"0","offset":"0","length":"60"}]}"#;
    let old = format!(
        r#"{{"qlog_version":"draft-01","traces":[{{"vantage_point":"CLIENT","configuration":{{"time_units":"us"}},
        "event_fields":["relative_time","CATEGORY","EVENT_TYPE","DATA"],"events":[
        ["10000","TRANSPORT","PACKET_SENT",{old_data}],[12000,"RECOVERY","METRIC_UPDATE",{metrics}],[13000,"RECOVERY","PACKET_LOST",{lost}]]}}]}}"#
    );
    let old = one(&old);
    assert_eq!(old.vantage_point, "client");
    expect(old, "draft 01");
}

#[test]
fn compressed_files_are_read() {
    use std::io::Write;
    let content = format!("\x1e{HEADER}\n\x1e{}\n", r#"{"time":1,"name":"quic:packet_dropped","data":{}}"#);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(content.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let [summary] = Summary::read_all(&gzip[..], Path::new("made.gz")).unwrap().try_into().unwrap();
    assert_eq!((summary.events, summary.packets.dropped), (1, 1));
}

/// What would fill the memory ends, or is skipped.
#[test]
fn hostile_files_are_bounded() {
    struct Endless(&'static [u8], Vec<u8>, u64);
    impl std::io::Read for Endless {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            if self.1.is_empty() {
                self.1 = self.0.repeat(1000);
                self.2 += 1;
                assert!(self.2 < 9000, "it is read for ever");
            }
            let len = buf.len().min(self.1.len());
            buf[..len].copy_from_slice(&self.1[..len]);
            self.1.drain(..len);
            Ok(len)
        }
    }
    let read = |start: &'static str, rest: &'static [u8]| {
        let file = std::io::Read::chain(start.as_bytes(), Endless(rest, Vec::new(), 0));
        Summary::read_all(file, Path::new("endless")).unwrap_err().to_string()
    };
    let too_long = "a record has more than 1048576 bytes";
    assert!(read("{\"traces\":[{\"events\":[", b"[").contains("recursion limit"));
    assert!(read("{\"traces\":[{\"events\":[{\"a\":\"", b"aaaa").contains(too_long));
    assert!(read("{\"traces\":[{\"events\":[[0", b",0").contains(too_long));
    assert!(read("{\"other\":", b"[[[[").contains(too_long));
    assert!(read("\x1e", b"aaaa").contains("line 1: its header is unusable"));
    let traces = "{\"events\":[]},".repeat(1001);
    let many = Summary::read_all(format!("{{\"traces\":[{traces}").as_bytes(), Path::new("many")).unwrap_err();
    assert!(many.to_string().contains("more than 1000 traces"), "{many}");
}
