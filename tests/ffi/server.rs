//! Requests and responses, seen from the server.

use std::time::{Duration, Instant};

use mio_quiche::ffi::*;

use crate::abi::{Engine, cert, last_error, ok};

/// Bytes that differ everywhere.
fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_request_has_its_fields_and_gets_its_response() {
    let (mut server, mut client) = (Engine::server(&[]), Engine::client(&[]));
    let id = client.request("GET", &server.url("/a%20b?c=d"), &[("x-test", "1")], b"", MQ_FLAG_END);
    let request = server.next(MQ_EVENT_REQUEST);
    assert_eq!(request.flags, MQ_FLAG_END, "no body");
    let fields = request.fields();
    let expected = [(":method", "GET"), (":scheme", "https"), (":authority", &server.addr()), (":path", "/a%20b?c=d")];
    assert_eq!(fields[..4], expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(request.field("x-test").as_deref(), Some("1"));
    let connection = server.next(MQ_EVENT_CONNECTED);
    assert_eq!(request.parent, connection.id);
    assert!(connection.text().starts_with("127.0.0.1:"), "{connection:?}");
    assert_eq!(server.respond(request.id, 201, &[("x-answer", "2")], b"hello", MQ_FLAG_END), 5);
    let response = client.next_of(MQ_EVENT_RESPONSE, id);
    assert_eq!((response.code, response.flags), (201, 0));
    assert_eq!(response.field("content-length").as_deref(), Some("5"));
    assert_eq!(response.field("x-answer").as_deref(), Some("2"));
    assert!(response.field("date").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(client.read_all(id), b"hello");
    assert_eq!(server.respond(request.id, 200, &[], b"", MQ_FLAG_END), MQ_ERR_GONE);
}

#[test]
fn a_response_to_head_has_no_body() {
    let (mut server, mut client) = (Engine::server(&[]), Engine::client(&[]));
    let id = client.request("HEAD", &server.url("/"), &[], b"", MQ_FLAG_END);
    let request = server.next(MQ_EVENT_REQUEST);
    assert_eq!(server.respond(request.id, 200, &[], &payload(100_000), MQ_FLAG_END), 100_000);
    let response = client.next_of(MQ_EVENT_RESPONSE, id);
    assert_eq!((response.code, response.flags), (200, MQ_FLAG_END));
    assert_eq!(response.field("content-length").as_deref(), Some("100000"));
}

#[test]
fn bodies_stream_both_ways_within_the_bounds() {
    let bounds = [("read_buffer", "8192"), ("write_buffer", "10000")];
    let (mut server, mut client) = (Engine::server(&bounds), Engine::client(&[]));
    let sent = payload(3_000_000);
    let id = client.request("POST", &server.url("/"), &[], b"", 0);
    let request = server.next(MQ_EVENT_REQUEST);
    assert_eq!(request.flags, 0, "a body follows");
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || {
            client.write_all(id, &sent, MQ_FLAG_END);
            client
        }
    });
    // What is unread stays in QUIC: no more than the bound is here.
    server.next_of(MQ_EVENT_READABLE, request.id);
    assert!(server.read(request.id, 1 << 20).unwrap().len() <= 8192);
    let received = server.read_all(request.id);
    let mut client = writer.join().unwrap();
    assert!(received.len() >= sent.len() - 8192 && received == sent[sent.len() - received.len()..]);

    assert_eq!(server.respond(request.id, 200, &[], &sent, MQ_FLAG_END), 10_000, "as much as the bound");
    let mut left = &sent[10_000..];
    let reader = std::thread::spawn(move || {
        assert_eq!(client.next_of(MQ_EVENT_RESPONSE, id).field("content-length").as_deref(), Some("3000000"));
        client.read_all(id)
    });
    while !left.is_empty() {
        match server.write(request.id, left, MQ_FLAG_END) {
            MQ_ERR_AGAIN => {
                server.next_of(MQ_EVENT_WRITABLE, request.id);
            }
            taken => {
                assert!(taken <= 10_000, "{taken} bytes at once");
                left = &left[ok(taken)..];
            }
        }
    }
    assert!(reader.join().unwrap() == sent);
}

#[test]
fn trailers_and_informational_responses_arrive() {
    let (mut server, mut client) = (Engine::server(&[]), Engine::client(&[]));
    let id = client.request("POST", &server.url("/"), &[], b"", 0);
    ok(client.write(id, b"body", 0));
    ok(client.finish(id, &[("x-sum", "7")]));
    let request = server.next(MQ_EVENT_REQUEST);
    assert_eq!(server.read_all(request.id), b"body");
    assert_eq!(server.next_of(MQ_EVENT_TRAILERS, request.id).field("x-sum").as_deref(), Some("7"));
    let link = b"link\0</a.css>\0";
    // SAFETY: the fields are there.
    ok(unsafe { mq_inform(server.handle, request.id, 103, link.as_ptr(), link.len()) });
    let informational = client.next_of(MQ_EVENT_INFORMATIONAL, id);
    assert_eq!((informational.code, informational.field("link").as_deref()), (103, Some("</a.css>")));
    ok(server.respond(request.id, 200, &[], b"", 0));
    assert_eq!(client.next_of(MQ_EVENT_RESPONSE, id).flags, 0, "the head comes before the body");
    ok(server.write(request.id, b"text", 0));
    ok(server.finish(request.id, &[("x-end", "8")]));
    assert_eq!(client.read_all(id), b"text");
    assert_eq!(client.next_of(MQ_EVENT_TRAILERS, id).field("x-end").as_deref(), Some("8"));
}

#[test]
fn either_side_aborts_with_its_code() {
    let (mut server, mut client) = (Engine::server(&[]), Engine::client(&[]));
    let id = client.request("POST", &server.url("/"), &[], b"part", 0);
    let request = server.next(MQ_EVENT_REQUEST);
    ok(mq_reset(client.handle, id, 0x10c));
    let reset = server.next_of(MQ_EVENT_RESET, request.id);
    assert_eq!((reset.code, reset.flags), (0x10c, 0));
    assert_eq!(server.next_of(MQ_EVENT_STOPPED, request.id).code, 0x10c);
    assert_eq!(server.respond(request.id, 200, &[], b"", MQ_FLAG_END), MQ_ERR_GONE);

    let id = client.get(&server.url("/"));
    let request = server.next(MQ_EVENT_REQUEST);
    ok(server.respond(request.id, 200, &[], b"begin", 0));
    client.next_of(MQ_EVENT_RESPONSE, id);
    ok(mq_reset(server.handle, request.id, 0x102));
    assert_eq!(client.next_of(MQ_EVENT_RESET, id).code, 0x102);
    // A request that nobody answers.
    let id = client.get(&server.url("/"));
    let request = server.next(MQ_EVENT_REQUEST);
    ok(mq_release(server.handle, request.id));
    assert_eq!(client.next_of(MQ_EVENT_FAILED, id).code, u64::from(MQ_ERR_RESET.unsigned_abs()));
}

#[test]
fn a_body_over_the_limit_ends_the_reading_only() {
    let (mut server, mut client) = (Engine::server(&[("max_request_body", "10")]), Engine::client(&[]));
    let id = client.request("POST", &server.url("/"), &[], b"more than ten", MQ_FLAG_END);
    let request = server.next(MQ_EVENT_REQUEST);
    let reset = server.next_of(MQ_EVENT_RESET, request.id);
    assert_eq!((reset.flags, reset.text()), (MQ_FLAG_LOCAL, "the body is longer than 10 bytes"));
    assert_eq!(server.read(request.id, 10), Err(MQ_ERR_RESET));
    ok(server.respond(request.id, 413, &[], b"too long", MQ_FLAG_END));
    assert_eq!(client.next_of(MQ_EVENT_RESPONSE, id).code, 413);
    assert_eq!(client.read_all(id), b"too long");
}

#[test]
fn a_server_in_its_callers_thread_runs_in_poll() {
    let mut server = Engine::server_here(&[]);
    assert_eq!(mq_fd(server.handle), MQ_ERR_UNSUPPORTED);
    let url = server.url("/");
    let client = std::thread::spawn(move || {
        let mut client = Engine::client(&[]);
        for n in 0..100u32 {
            let id = client.get(&url);
            client.next_of(MQ_EVENT_RESPONSE, id);
            assert_eq!(client.read_all(id), n.to_string().into_bytes());
        }
    });
    for n in 0..100u32 {
        let request = server.next(MQ_EVENT_REQUEST);
        ok(server.respond(request.id, 200, &[], n.to_string().as_bytes(), MQ_FLAG_END));
    }
    // The last response goes out in a poll; the client closes when it has it.
    server.next(MQ_EVENT_CLOSED);
    client.join().unwrap();
    let handle = server.handle;
    // SAFETY: nothing is written.
    let elsewhere = std::thread::spawn(move || unsafe { mq_poll(handle, std::ptr::dangling_mut(), 1, 0) });
    assert_eq!(elsewhere.join().unwrap(), MQ_ERR_THREAD);
    assert_eq!(std::thread::spawn(move || mq_stop(handle)).join().unwrap(), MQ_ERR_THREAD);
}

#[test]
fn payloads_are_copied_into_the_callers_memory() {
    let (server, client) = (Engine::server(&[]), Engine::client(&[]));
    client.get(&server.url("/path"));
    let mut buf = vec![0u8; 4096];
    let mut seen = String::new();
    let until = std::time::Instant::now() + crate::abi::DEADLINE;
    let mut small = 0;
    while !seen.contains("/path") {
        assert!(std::time::Instant::now() < until);
        // SAFETY: all-zero is a valid event.
        let mut events: [mq_event; 4] = unsafe { std::mem::zeroed() };
        // Alternately with too little room.
        let cap = if small % 2 == 0 { 3 } else { buf.len() };
        small += 1;
        // SAFETY: there is as much room.
        let count = unsafe { mq_poll_into(server.handle, events.as_mut_ptr(), 4, buf.as_mut_ptr(), cap, 100) };
        if count == MQ_ERR_TOO_LARGE {
            assert!(events[0].len > 3 && events[0].data.is_null());
            continue;
        }
        for event in &events[..ok(count)] {
            let at = event.offset as usize;
            seen.push_str(std::str::from_utf8(&buf[at..at + event.len as usize]).unwrap());
        }
    }
    assert!(small > 1);
}

#[test]
fn a_shutdown_lets_responses_end_and_reports_its_end() {
    let (mut server, mut client) = (Engine::server(&[]), Engine::client(&[]));
    let id = client.get(&server.url("/"));
    let request = server.next(MQ_EVENT_REQUEST);
    ok(mq_shutdown(server.handle));
    ok(server.respond(request.id, 200, &[], b"last", MQ_FLAG_END));
    client.next_of(MQ_EVENT_RESPONSE, id);
    assert_eq!(client.read_all(id), b"last");
    let ended = server.next(MQ_EVENT_ENDED);
    assert_eq!((ended.id, ended.code, ended.text()), (0, 0, ""));
    assert_eq!(mq_shutdown(server.handle), MQ_ERR_ENDED);
    assert_eq!(server.poll(8, 0), []);
    assert_eq!(mq_stop(server.handle), MQ_OK);
    assert_eq!(mq_stop(server.handle), MQ_ERR_HANDLE);
}

#[test]
fn an_engine_with_nothing_to_do_shuts_down_at_once() {
    for engine in [Engine::server, Engine::client] {
        let mut engine = engine(&[]);
        let began = Instant::now();
        ok(mq_shutdown(engine.handle));
        engine.next(MQ_EVENT_ENDED);
        // Sessions and requests would have 5 seconds and more to end.
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

#[test]
fn three_hundred_starts_and_stops_leave_nothing_behind() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut counts = (0, 0);
    for n in 0..300 {
        let mut server = Engine::server(&[]);
        // With a request under way, each tenth time. Its client would send it again when the server is gone.
        if n % 10 == 0 {
            let client = Engine::client(&[]);
            client.get(&server.url("/"));
            server.next(MQ_EVENT_REQUEST);
            assert_eq!(mq_stop(server.handle), MQ_OK);
        }
        drop(server);
        if n == 20 {
            counts = (threads(), descriptors());
        }
    }
    // Other tests run beside this one.
    assert!(threads() < counts.0 + 60 && descriptors() < counts.1 + 200, "{counts:?}");
}

#[test]
fn counters_metrics_and_reload_answer_by_events() {
    let dir = tempfile::tempdir().unwrap();
    let files = [dir.path().join("cert.pem"), dir.path().join("key.pem")];
    let [cert_file, key_file] = files.each_ref().map(|file| file.to_str().unwrap());
    std::fs::write(cert_file, cert().cert_pem()).unwrap();
    std::fs::write(key_file, cert().key_pem()).unwrap();
    let mut server = Engine::server(&[("cert_file", cert_file), ("key_file", key_file)]);
    let mut client = Engine::client(&[]);
    let id = client.get(&server.url("/"));
    let request = server.next(MQ_EVENT_REQUEST);
    ok(server.respond(request.id, 200, &[], b"x", MQ_FLAG_END));
    client.next_of(MQ_EVENT_RESPONSE, id);
    ok(mq_stats(server.handle));
    let stats: serde_json::Value = serde_json::from_slice(&server.next(MQ_EVENT_STATS).data).unwrap();
    assert_eq!((&stats["requests"], &stats["connections_open"]), (&1.into(), &1.into()));
    ok(mq_metrics(server.handle));
    let metrics = server.next(MQ_EVENT_METRICS);
    assert!(metrics.text().contains("\nmio_quiche_requests_total 1\n"), "{}", metrics.text());
    ok(mq_reload(server.handle));
    assert_eq!(server.next(MQ_EVENT_RELOADED).code, 0);
    std::fs::remove_file(key_file).unwrap();
    ok(mq_reload(server.handle));
    let failed = server.next(MQ_EVENT_RELOADED);
    assert_eq!(failed.code, u64::from(MQ_ERR_CONFIG.unsigned_abs()));
    assert!(failed.text().contains(key_file), "{}", failed.text());
    ok(mq_stats(client.handle));
    let stats: serde_json::Value = serde_json::from_slice(&client.next(MQ_EVENT_STATS).data).unwrap();
    assert_eq!(stats["connections_open"], 1);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let taken = Engine::server(&[]);
    let start = |settings: &[u8]| {
        let mut handle = 77;
        // SAFETY: everything is there.
        let code = unsafe { mq_server_new(settings.as_ptr(), settings.len(), None, &mut handle) };
        assert_eq!(handle, 77, "nothing is written");
        (code, last_error())
    };
    let own = crate::abi::server_settings(&[("listen", &taken.addr()), ("thread", "on")]);
    let expected =
        format!("cannot listen on {}: Address already in use (os error 98) (another server runs there)", taken.addr());
    assert_eq!(start(&own), (MQ_ERR_SYSTEM, expected));
    let (code, told) = start(b"cert_file\0missing.pem\0key_file\0missing.key\0");
    assert_eq!(code, MQ_ERR_CONFIG);
    assert_eq!(told, "cannot read certificate 'missing.pem': No such file or directory (os error 2)");
    assert_eq!(start(b"").0, MQ_ERR_CONFIG);
    assert_eq!(
        start(b"max_connections\0\x00"),
        (MQ_ERR_CONFIG, "max_connections is \"\": cannot parse integer from empty string".to_owned())
    );
}
