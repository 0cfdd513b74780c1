//! WebTransport sessions, seen from both sides.

use mio_quiche::ffi::*;

use crate::abi::{Engine, ok};

/// A server, a client, and a session between them: its ids on the server and on the client.
fn session() -> (Engine, Engine, u64, u64) {
    let (mut server, mut client) = (Engine::server(&[]), Engine::client(&[]));
    let ours = client.connect(&server.url("/wt"), &[]);
    let theirs = server.next(MQ_EVENT_SESSION_REQUEST).id;
    ok(server.accept(theirs, &[]));
    server.next_of(MQ_EVENT_SESSION_OPENED, theirs);
    client.next_of(MQ_EVENT_SESSION_OPENED, ours);
    (server, client, theirs, ours)
}

#[test]
fn a_session_is_accepted_with_fields_of_both_sides() {
    let (mut server, mut client) = (Engine::server(&[]), Engine::client(&[]));
    let options = [("protocol", "echo-1"), ("protocol", "echo-2"), ("x-token", "secret"), ("timeout", "30000")];
    let ours = client.connect(&server.url("/wt?room=1"), &options);
    let request = server.next(MQ_EVENT_SESSION_REQUEST);
    let field = |name: &str| request.field(name).unwrap_or_default();
    assert_eq!(
        (field(":method"), field(":protocol"), field(":path")),
        ("CONNECT".into(), "webtransport".into(), "/wt?room=1".into())
    );
    assert_eq!(field("wt-available-protocols"), "\"echo-1\", \"echo-2\"");
    assert_eq!((field("x-token"), field("origin")), ("secret".into(), format!("https://{}", server.addr())));
    assert_eq!(server.send_datagram(request.id, b"early"), MQ_ERR_STATE);
    ok(server.accept(request.id, &[("wt-protocol", "\"echo-2\"")]));
    assert_eq!(server.accept(request.id, &[]), MQ_ERR_STATE, "once");
    let opened = client.next_of(MQ_EVENT_SESSION_OPENED, ours);
    assert_eq!((opened.code, opened.field("wt-protocol").as_deref()), (200, Some("\"echo-2\"")));
}

#[test]
fn a_session_is_rejected_with_a_status() {
    let (mut server, mut client) = (Engine::server(&[]), Engine::client(&[]));
    let ours = client.connect(&server.url("/wt"), &[]);
    let request = server.next(MQ_EVENT_SESSION_REQUEST);
    ok(server.respond(request.id, 404, &[], b"no such room", MQ_FLAG_END));
    let failed = client.next_of(MQ_EVENT_FAILED, ours);
    assert_eq!(failed.code, u64::from(MQ_ERR_REJECTED.unsigned_abs()));
    assert_eq!(failed.text(), "the server rejected the session with status 404 Not Found");
    assert_eq!(client.send_datagram(ours, b"x"), MQ_ERR_GONE);
    // A page of another origin is rejected before anybody sees it.
    let other = client.connect(&server.url("/wt"), &[("origin", "https://evil.example")]);
    assert_eq!(
        client.next_of(MQ_EVENT_FAILED, other).text(),
        "the server rejected the session with status 403 Forbidden"
    );
    assert!(!server.left().contains(&MQ_EVENT_SESSION_REQUEST));
}

#[test]
fn sessions_over_the_limit_get_429_until_one_has_ended() {
    let (mut server, mut client) = (Engine::server(&[("max_sessions_total", "1")]), Engine::client(&[]));
    let url = server.url("/wt");
    let open = |server: &mut Engine, client: &mut Engine| {
        let ours = client.connect(&url, &[]);
        let theirs = server.next(MQ_EVENT_SESSION_REQUEST).id;
        ok(server.accept(theirs, &[]));
        client.next_of(MQ_EVENT_SESSION_OPENED, ours);
        (ours, theirs)
    };
    let (first, theirs) = open(&mut server, &mut client);
    let second = client.connect(&url, &[]);
    let error = "the server rejected the session with status 429 Too Many Requests";
    assert_eq!(client.next_of(MQ_EVENT_FAILED, second).text(), error);
    ok(client.close_session(first, 0, ""));
    server.next_of(MQ_EVENT_SESSION_CLOSED, theirs);
    open(&mut server, &mut client);
}

#[test]
fn datagrams_cross_both_ways() {
    let (mut server, mut client, theirs, ours) = session();
    let max = ok(mq_max_datagram(client.handle, ours));
    assert!((1000..1350).contains(&max), "{max}");
    for (engine, id) in [(&client, ours), (&server, theirs)] {
        assert_eq!(engine.send_datagram(id, &vec![0; max + 100]), MQ_ERR_TOO_LARGE);
        ok(engine.send_datagram(id, b""));
        ok(engine.send_datagram(id, &vec![7; max]));
    }
    for (engine, id) in [(&mut client, ours), (&mut server, theirs)] {
        assert_eq!(engine.next_of(MQ_EVENT_DATAGRAM, id).data, b"");
        assert_eq!(engine.next_of(MQ_EVENT_DATAGRAM, id).data, vec![7; max]);
    }
}

#[test]
fn streams_of_all_four_kinds_echo() {
    let (mut server, mut client, theirs, ours) = session();
    // As much as the buffers of both sides hold, as one thread plays both.
    let data: Vec<u8> = (0..400_000u32).map(|n| (n % 251) as u8).collect();
    let run = |from: &mut Engine, session: u64, to: &mut Engine, other: u64| {
        let uni = from.open(session, 1);
        // Before its end: a stream that has ended is gone.
        assert_eq!(from.read(uni, 10), Err(MQ_ERR_STATE));
        from.write_all(uni, &data, MQ_FLAG_END);
        let arrived = to.next(MQ_EVENT_STREAM);
        assert_eq!((arrived.parent, arrived.flags), (other, MQ_FLAG_UNI));
        assert_eq!(to.write(arrived.id, b"x", 0), MQ_ERR_STATE);
        assert!(to.read_all(arrived.id) == data);
        from.next_of(MQ_EVENT_STREAM_OPENED, uni);

        let bidi = from.open(session, 0);
        from.write_all(bidi, &data, MQ_FLAG_END);
        let arrived = to.next(MQ_EVENT_STREAM);
        assert_eq!((arrived.parent, arrived.flags), (other, 0));
        let echoed = to.read_all(arrived.id);
        to.write_all(arrived.id, &echoed, 0);
        ok(to.finish(arrived.id, &[]));
        assert!(from.read_all(bidi) == data);
    };
    run(&mut client, ours, &mut server, theirs);
    run(&mut server, theirs, &mut client, ours);
}

#[test]
fn directions_are_aborted_apart_with_codes_of_the_application() {
    let (mut server, mut client, _, ours) = session();
    let stream = client.open(ours, 0);
    ok(client.write(stream, b"hello", 0));
    let arrived = server.next(MQ_EVENT_STREAM).id;
    server.next_of(MQ_EVENT_READABLE, arrived);
    ok(mq_reset_send(client.handle, stream, 41));
    assert_eq!(client.write(stream, b"x", 0), MQ_ERR_STATE);
    assert_eq!(server.next_of(MQ_EVENT_RESET, arrived).code, 41);
    ok(mq_stop_receiving(client.handle, stream, 0xffff_ffff));
    ok(server.write(arrived, b"back", 0));
    assert_eq!(server.next_of(MQ_EVENT_STOPPED, arrived).code, 0xffff_ffff);
    assert_eq!(mq_reset(server.handle, arrived, 1 << 32), MQ_ERR_GONE);
    let stream = client.open(ours, 0);
    assert_eq!(mq_reset(client.handle, stream, 1 << 32), MQ_ERR_ARGUMENT);
    ok(client.write(stream, b"hello", 0));
    let arrived = server.next(MQ_EVENT_STREAM).id;
    ok(mq_reset(server.handle, arrived, 9));
    assert_eq!(client.next_of(MQ_EVENT_RESET, stream).code, 9);
    assert_eq!(client.next_of(MQ_EVENT_STOPPED, stream).code, 9);
    assert_eq!(mq_release(client.handle, stream), MQ_ERR_GONE);
}

#[test]
fn a_close_brings_code_and_reason_and_ends_the_streams() {
    for server_closes in [true, false] {
        let (mut server, mut client, theirs, ours) = session();
        let stream = client.open(ours, 0);
        ok(client.write(stream, b"hello", 0));
        let arrived = server.next(MQ_EVENT_STREAM).id;
        ok(mq_drain_session(server.handle, theirs));
        client.next_of(MQ_EVENT_SESSION_DRAINING, ours);
        let (from, from_id, to, to_id) = match server_closes {
            true => (&mut server, theirs, &mut client, ours),
            false => (&mut client, ours, &mut server, theirs),
        };
        ok(from.close_session(from_id, 4711, "enough \u{20ac}"));
        assert!([MQ_ERR_STATE, MQ_ERR_GONE].contains(&from.close_session(from_id, 1, "")));
        let end = to.next_of(MQ_EVENT_SESSION_CLOSED, to_id);
        assert_eq!((end.code, end.text(), end.flags), (4711, "enough \u{20ac}", MQ_FLAG_BY_PEER));
        assert_eq!(from.next_of(MQ_EVENT_SESSION_CLOSED, from_id).flags, MQ_FLAG_LOCAL);
        client.next_of(MQ_EVENT_ABORTED, stream);
        server.next_of(MQ_EVENT_ABORTED, arrived);
        assert_eq!(client.write(stream, b"x", 0), MQ_ERR_GONE);
        assert_eq!(server.close_session(theirs, 0, ""), MQ_ERR_GONE);
    }
}

#[test]
fn a_connection_that_ends_takes_everything_along() {
    let (mut server, client, theirs, ours) = session();
    let stream = client.open(ours, 1);
    ok(client.write(stream, b"hello", 0));
    let arrived = server.next(MQ_EVENT_STREAM).id;
    ok(mq_stop(client.handle));
    server.next_of(MQ_EVENT_ABORTED, arrived);
    let end = server.next_of(MQ_EVENT_SESSION_CLOSED, theirs);
    assert_eq!((end.flags & (MQ_FLAG_BY_PEER | MQ_FLAG_LOCAL), end.code), (0, 0));
    let closed = server.next(MQ_EVENT_CLOSED);
    assert_eq!((closed.flags, closed.code), (MQ_FLAG_APPLICATION | MQ_FLAG_BY_PEER, 0x100));
    assert_eq!(closed.text(), "closed by the peer with H3_NO_ERROR");
}

#[test]
fn streams_wait_until_the_peer_allows_them() {
    let mut server = Engine::server(&[("drafts", "all"), ("max_session_streams", "2")]);
    let mut client = Engine::client(&[("drafts", "all")]);
    let ours = client.connect(&server.url("/"), &[]);
    let theirs = server.next(MQ_EVENT_SESSION_REQUEST).id;
    // Before the answer, too.
    let streams: Vec<u64> = (0..3).map(|_| client.open(ours, 1)).collect();
    for stream in &streams {
        ok(client.write(*stream, b"x", MQ_FLAG_END));
    }
    ok(server.accept(theirs, &[]));
    let first = server.next(MQ_EVENT_STREAM).id;
    let second = server.next(MQ_EVENT_STREAM).id;
    client.next_of(MQ_EVENT_STREAM_OPENED, streams[0]);
    client.next_of(MQ_EVENT_STREAM_OPENED, streams[1]);
    assert_eq!(client.left(), [MQ_EVENT_SESSION_OPENED], "the third waits");
    for stream in [first, second] {
        assert_eq!(server.read_all(stream), b"x");
    }
    client.next_of(MQ_EVENT_STREAM_OPENED, streams[2]);
    let third = server.next(MQ_EVENT_STREAM).id;
    assert_eq!(server.read_all(third), b"x");
}

#[test]
fn a_client_withdraws_its_request_for_a_session() {
    let (mut server, client) = (Engine::server(&[]), Engine::client(&[]));
    client.connect(&server.url("/"), &[("timeout", "200")]);
    let theirs = server.next(MQ_EVENT_SESSION_REQUEST).id;
    server.next_of(MQ_EVENT_SESSION_CLOSED, theirs);
    assert_eq!(server.accept(theirs, &[]), MQ_ERR_GONE);
}
