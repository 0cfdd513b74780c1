//! Frames and streams where HTTP/3 does not allow them: the connection is closed with the code that RFC 9114 names.
//! Where quiche 0.30 does otherwise, the test says so and holds what it does.

use crate::support::client::{Client, config, get, post};
use crate::support::frames::{DATA, GOAWAY, HEADERS, MAX_PUSH_ID, SETTINGS, fields, frame, headers, varint};
use crate::support::server::Server;

const NO_ERROR: u64 = 0x100;
const STREAM_CREATION_ERROR: u64 = 0x103;
const CLOSED_CRITICAL_STREAM: u64 = 0x104;
const FRAME_UNEXPECTED: u64 = 0x105;
const FRAME_ERROR: u64 = 0x106;
const EXCESSIVE_LOAD: u64 = 0x107;
const ID_ERROR: u64 = 0x108;
const SETTINGS_ERROR: u64 = 0x109;
const MISSING_SETTINGS: u64 = 0x10a;
const QPACK_DECOMPRESSION_FAILED: u64 = 0x200;
const QPACK_ENCODER_STREAM_ERROR: u64 = 0x201;

/// The client's streams as quiche::h3 opens them: control, QPACK encoder and decoder, GREASE; then further ones.
const CONTROL: u64 = 2;
const ENCODER: u64 = 6;
const DECODER: u64 = 10;
const FURTHER: u64 = 22;

fn request() -> Vec<u8> {
    headers(&fields(&get("/")))
}

/// Each case on a connection of its own, beside one that must not notice.
fn assert_closed(server: &Server, what: &str, code: u64, act: impl FnOnce(&mut Client)) {
    let mut other = Client::connect(server.addr());
    let mut client = Client::connect(server.addr());
    client.assert_alive();
    act(&mut client);
    assert_eq!(client.close_code(), (true, code), "{what}");
    other.assert_alive();
}

fn on_request_stream(server: &Server, what: &str, code: u64, bytes: &[u8]) {
    // Without FIN: what counts is the frame, not the end of the request.
    assert_closed(server, what, code, |c| {
        c.raw_stream(bytes, false);
    });
}

fn on_control_stream(server: &Server, what: &str, code: u64, bytes: &[u8]) {
    assert_closed(server, what, code, |c| c.raw_send(CONTROL, bytes, false));
}

#[test]
fn frames_that_a_request_stream_cannot_have() {
    let server = Server::start(&[]);
    let body = frame(DATA, b"body");
    on_request_stream(&server, "DATA before HEADERS", FRAME_UNEXPECTED, &body);
    let trailers = headers(&fields("x-a 1"));
    let post = headers(&fields(&post("/upload")));
    let all = [post.clone(), body.clone(), trailers.clone()].concat();
    on_request_stream(&server, "DATA after trailers", FRAME_UNEXPECTED, &[&all[..], &body].concat());
    on_request_stream(&server, "HEADERS after trailers", FRAME_UNEXPECTED, &[&all[..], &trailers].concat());
    let thrice = [&post[..], &trailers, &trailers].concat();
    on_request_stream(&server, "a third HEADERS without DATA", FRAME_UNEXPECTED, &thrice);
    for (what, kind) in [("CANCEL_PUSH", 0x3), ("SETTINGS", SETTINGS), ("GOAWAY", GOAWAY), ("MAX_PUSH_ID", MAX_PUSH_ID)]
    {
        on_request_stream(&server, what, FRAME_UNEXPECTED, &frame(kind, &[0]));
        on_request_stream(&server, what, FRAME_UNEXPECTED, &[post.clone(), frame(kind, &[0])].concat());
    }
    on_request_stream(&server, "PRIORITY_UPDATE", FRAME_UNEXPECTED, &frame(0xf0700, &[0, b'u', b'=', b'1']));
    let push_promise = [vec![0], headers(&fields(&get("/")))].concat();
    on_request_stream(&server, "PUSH_PROMISE from a client", FRAME_UNEXPECTED, &frame(0x5, &push_promise));
}

#[test]
fn frame_types_of_http2_are_ignored_by_quiche() {
    // RFC 9114 section 7.2.8: they MUST be answered by a connection error H3_FRAME_UNEXPECTED. quiche 0.30 takes them
    // for unknown frames and ignores them, on request streams and on the control stream.
    let server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    for kind in [0x2, 0x6, 0x8, 0x9] {
        let id = client.raw_stream(&[frame(kind, &[0; 8]), request()].concat(), true);
        assert_eq!(client.answer(id).text(), "Hello, HTTP/3!\n", "{kind:#x}");
        client.raw_send(CONTROL, &frame(kind, &[0; 8]), false);
        client.assert_alive();
    }
}

#[test]
fn unknown_frames_and_streams_are_ignored() {
    let server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    // RFC 9114 section 9; 0x21 and every 0x1f-th type further are reserved to exercise it.
    for kind in [0x21, 0x21 + 0x1f * 1000, 0x4242_4242] {
        let unknown = frame(kind, &[7; 300]);
        let post = headers(&fields(&post("/api/echo")));
        let bytes = [&unknown[..], &post, &unknown, &frame(DATA, b"echo"), &frame(DATA, b""), &unknown].concat();
        let id = client.raw_stream(&bytes, true);
        assert_eq!(client.answer(id).text(), "echo");
        client.raw_send(CONTROL, &unknown, false);
        client.assert_alive();
    }
    client.raw_send(FURTHER, &[varint(0x21 + 0x1f), vec![9; 5000]].concat(), true);
    client.assert_alive();
}

#[test]
fn a_large_unknown_frame_is_excessive_load_to_quiche() {
    // RFC 9114 section 9: unknown frames MUST be ignored, whatever their size. quiche 0.30 closes the connection when
    // one is larger than its state buffer could be (16 MiB), from the length alone.
    let server = Server::start(&[]);
    let head = [varint(0x21), varint(20 << 20)].concat();
    on_request_stream(&server, "an unknown frame of 20 MiB", EXCESSIVE_LOAD, &head);
}

#[test]
fn control_stream_violations() {
    let server = Server::start(&[]);
    on_control_stream(&server, "SETTINGS twice", FRAME_UNEXPECTED, &frame(SETTINGS, b""));
    on_control_stream(&server, "DATA", FRAME_UNEXPECTED, &frame(DATA, b"x"));
    on_control_stream(&server, "HEADERS", FRAME_UNEXPECTED, &request());
    on_control_stream(&server, "PUSH_PROMISE", FRAME_UNEXPECTED, &frame(0x5, &[0, 0, 0]));
    let shrinking = [frame(MAX_PUSH_ID, &[10]), frame(MAX_PUSH_ID, &[9])].concat();
    on_control_stream(&server, "MAX_PUSH_ID decreasing", ID_ERROR, &shrinking);
    let growing = [frame(GOAWAY, &[4]), frame(GOAWAY, &[8])].concat();
    on_control_stream(&server, "GOAWAY increasing", ID_ERROR, &growing);
    on_control_stream(&server, "an empty GOAWAY", FRAME_ERROR, &frame(GOAWAY, b""));
    on_control_stream(&server, "a MAX_PUSH_ID of 9 bytes", FRAME_ERROR, &frame(MAX_PUSH_ID, &[0; 9]));
    assert_closed(&server, "the control stream closed", CLOSED_CRITICAL_STREAM, |c| c.raw_send(CONTROL, b"", true));
    assert_closed(&server, "the QPACK encoder stream closed", CLOSED_CRITICAL_STREAM, |c| {
        c.raw_send(ENCODER, b"", true);
    });
    assert_closed(&server, "the QPACK decoder stream closed", CLOSED_CRITICAL_STREAM, |c| {
        c.raw_send(DECODER, b"", true);
    });
    assert_closed(&server, "the control stream reset", CLOSED_CRITICAL_STREAM, |c| {
        c.quic.stream_shutdown(CONTROL, quiche::Shutdown::Write, NO_ERROR).unwrap();
    });
}

#[test]
fn second_critical_streams_and_push_streams() {
    let server = Server::start(&[]);
    let settings = frame(SETTINGS, b"");
    for (what, kind) in [("control", 0), ("QPACK encoder", 2), ("QPACK decoder", 3)] {
        assert_closed(&server, what, STREAM_CREATION_ERROR, |c| {
            c.raw_send(FURTHER, &[varint(kind), settings.clone()].concat(), false);
        });
    }
    assert_closed(&server, "a push stream from the client", STREAM_CREATION_ERROR, |c| {
        c.raw_send(FURTHER, &[1, 0], false);
    });
}

/// A connection whose control stream is made by hand.
fn assert_first_bytes(server: &Server, what: &str, bytes: &[u8], expected: u64) {
    let mut client = Client::handshake(server.addr(), config());
    client.raw_send(CONTROL, bytes, false);
    assert_eq!(client.close_code(), (true, expected), "{what}");
}

#[test]
fn settings_that_are_missing_or_wrong() {
    let server = Server::start(&[]);
    let control = |frames: &[u8]| [&[0], frames].concat();
    assert_first_bytes(&server, "GOAWAY first", &control(&frame(GOAWAY, &[0])), MISSING_SETTINGS);
    assert_first_bytes(&server, "an unknown frame first", &control(&frame(0x21, b"")), MISSING_SETTINGS);
    for kind in [0x2, 0x3, 0x4, 0x5] {
        let settings = control(&frame(SETTINGS, &[kind, 1]));
        assert_first_bytes(&server, "a setting of HTTP/2", &settings, SETTINGS_ERROR);
    }
    let datagram = control(&frame(SETTINGS, &[0x33, 2]));
    assert_first_bytes(&server, "SETTINGS_H3_DATAGRAM of 2", &datagram, SETTINGS_ERROR);
    let without = control(&frame(SETTINGS, &[0x33, 1]));
    assert_first_bytes(&server, "H3_DATAGRAM without QUIC's datagrams", &without, SETTINGS_ERROR);
}

#[test]
fn a_setting_twice_is_accepted_by_quiche() {
    // RFC 9114 section 7.2.4: the same identifier twice MAY be a connection error. quiche 0.30 takes the last one.
    let server = Server::start(&[]);
    let mut client = Client::handshake(server.addr(), config());
    client.raw_send(CONTROL, &[vec![0], frame(SETTINGS, &[0x6, 63, 0x6, 62])].concat(), false);
    client.h3 = None;
    client.raw_send(0, &request(), true);
    client.until("the answer", |c| c.quic.stream_readable(0).then_some(()));
}

#[test]
fn qpack_that_cannot_be_decoded() {
    let server = Server::start(&[]);
    for (what, section) in [
        ("cut off within a field", &[0, 0, 0x20 | 5, b'a'][..]),
        ("cut off within the prefix", &[0]),
        ("nothing at all", &[]),
        ("a static index that is not there", &[0, 0, 0xff, 0x7f]),
        ("a dynamic index without a dynamic table", &[0, 0, 0x80]),
    ] {
        on_request_stream(&server, what, QPACK_DECOMPRESSION_FAILED, &frame(HEADERS, section));
    }
    // RFC 9204 section 2.2: this too is QPACK_DECOMPRESSION_FAILED, but quiche 0.30 takes any failure of the Huffman
    // decoder for a list that is too large.
    let padding = &[0, 0, 0x28 | 1, 0xff, 0x01, b'a'];
    on_request_stream(&server, "eight bits of Huffman padding", EXCESSIVE_LOAD, &frame(HEADERS, padding));
}

#[test]
fn qpack_instructions_for_a_table_that_is_not_there() {
    // RFC 9204 section 4.3.1: a capacity over the limit, which is 0, is QPACK_ENCODER_STREAM_ERROR. quiche 0.30 throws
    // away whatever comes on the QPACK streams.
    let server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    client.raw_send(ENCODER, &[0x20 | 5], false);
    client.assert_alive();
    assert_eq!(client.quic.peer_error().map(|e| e.error_code), None, "not {QPACK_ENCODER_STREAM_ERROR:#x}");
}

#[test]
fn a_field_section_beyond_every_bound_closes_the_connection() {
    let server = Server::start(&[]);
    // Over 431's limit of 32 KiB it is answered; over SETTINGS_MAX_FIELD_SECTION_SIZE (64 KiB) quiche closes.
    let section = |len: usize| {
        let value = vec![b'v'; len];
        let spec = get("/");
        let mut list = fields(&spec);
        list.push((b"x-large", &value));
        headers(&list)
    };
    let mut client = Client::connect(server.addr());
    for len in [16_385, 40_000, 60_000] {
        let id = client.raw_stream(&section(len), true);
        let answer = client.answer(id);
        let text = format!(
            "431 Request Header Fields Too Large: the value of field \"x-large\" has {len} bytes, more than 16384 (max_value)\n"
        );
        assert_eq!((answer.status(), answer.text()), (431, &*text), "{len} bytes");
    }
    client.assert_alive();
    assert_closed(&server, "a section of 70 kB", EXCESSIVE_LOAD, |c| {
        c.raw_stream(&section(70_000), false);
    });
}
