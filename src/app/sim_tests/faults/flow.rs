//! Flow control of sessions, and the bound on one connection's work in one turn.

use http::HeaderMap;

use super::*;
use crate::config::Drafts;
use crate::endpoint::Event;
use crate::wire::capsule::{self, Capsule};
use crate::wire::varint;

/// More than enough of everything, on the client's side.
const PLENTY: [(u64, u64); 4] = [DRAFT02, (0x2b61, 1 << 20), (0x2b65, 100), (0x2b64, 100)];

/// A server with flow control that allows this many streams of each kind in a session.
fn streams(max: usize) -> Options {
    with_server(move |config| {
        config.webtransport.drafts = Drafts::All;
        config.webtransport.max_session_streams = max;
    })
}

/// MAX_STREAMS capsules received.
fn max_streams(client: &Client, bidi: bool) -> Vec<u64> {
    let grown = |capsule| match capsule {
        Capsule::MaxStreams { bidi: kind, max } if kind == bidi => Some(max),
        _ => None,
    };
    client.capsules().into_iter().filter_map(grown).collect()
}

#[test]
fn streams_blocked_is_sent_once_for_each_limit() {
    // S5
    let settings = [DRAFT02, (0x2b61, 1 << 20), (0x2b65, 1), (0x2b64, 0)];
    let mut client = Client::open(streams(4), "/wt/echo?open=3", &settings);
    let blocked = |c: &Client| c.capsules().iter().filter(|capsule| **capsule == Capsule::StreamsBlocked).count();
    client.run_until("the first one", |c| blocked(c) > 0);
    client.go_on(Duration::from_millis(300));
    assert_eq!(blocked(&client), 1, "at the limit of one stream");
    let mut more = Vec::new();
    capsule::put_max_streams(&mut more, true, 2);
    client.capsule(&more, false);
    client.run_until("the second stream", |c| c.got.contains_key(&5));
    client.go_on(Duration::from_millis(300));
    assert_eq!(blocked(&client), 2, "and one at the limit of two");
}

#[test]
fn as_many_streams_of_each_kind_as_were_granted_are_usable_at_once() {
    // S5
    let mut client = Client::open(streams(4), "/wt/echo", &PLENTY);
    let bidi: Vec<u64> = (0..4).map(|_| client.stream(true, b"open", false)).collect();
    let uni: Vec<u64> = (0..4).map(|_| client.stream(false, b"open", false)).collect();
    client.within(SOON, |c| bidi.iter().all(|id| c.got.get(id).is_some_and(|(bytes, _)| bytes == b"open")));
    client.go_on(Duration::from_millis(50));
    let stats = client.sim.server.stats();
    assert_eq!((stats.session_streams_in, stats.session_streams_rejected), (8, 0));
    for id in bidi.iter().chain(&uni) {
        client.write(*id, b"", true);
    }
    assert!(client.within(SOON, |c| c.got.iter().filter(|(id, (_, all))| **id & 3 == 3 && *all).count() == 4));
}

#[test]
fn the_credit_of_every_stream_comes_back() {
    // S5
    let mut client = Client::open(streams(4), "/wt/echo", &PLENTY);
    let bidi: Vec<u64> = (0..4).map(|_| client.stream(true, b"open", false)).collect();
    let uni: Vec<u64> = (0..4).map(|_| client.stream(false, b"open", false)).collect();
    client.go_on(Duration::from_millis(50));
    for id in bidi.iter().chain(&uni) {
        // A stream that the server has stopped accepts no FIN.
        let _ = client.sim.client.stream_send(*id, b"", true);
    }
    let grown = |c: &Client| [true, false].map(|bidi| max_streams(c, bidi).last().is_some_and(|max| *max >= 7));
    client.within(SOON, |c| grown(c) == [true; 2]);
    let limits = [true, false].map(|bidi| max_streams(&client, bidi));
    assert_eq!(grown(&client), [true; 2], "limits for bidirectional and unidirectional streams: {limits:?}");
}

#[test]
fn the_payload_of_a_stream_over_the_limit_is_not_taken_for_a_request() {
    // S5
    let mut client = Client::open(streams(1), "/wt/echo", &PLENTY);
    let first = client.stream(true, b"open", false);
    client.run_until("an echo", |c| c.got.contains_key(&first));
    let requests = client.sim.server.stats().requests;
    let over = client.stream(true, b"", false);
    client.sim.step();
    // The payload is on its way when the server sees the header.
    assert_eq!(client.sim.client.stream_send(over, &get_frame(), true), Ok(get_frame().len()));
    assert_eq!(client.connect_reset(), Some(ErrorCode::WT_FLOW_CONTROL_ERROR.0));
    client.go_on(Duration::from_millis(100));
    assert_eq!(client.sim.client.peer_error(), None, "the connection lives");
    assert_eq!(client.sim.server.stats().requests, requests);
    let answer = client.got.get(&over).map(|(bytes, _)| &bytes[..]).unwrap_or_default();
    assert_eq!(answer, b"", "an answer to the payload");
}

/// The code that a session ends with after MAX_STREAMS with these values.
fn end_by_max_streams(values: &[u64]) -> Option<u64> {
    let mut client = Client::open(streams(4), "/wt/echo", &PLENTY);
    for value in values {
        let mut bytes = Vec::new();
        capsule::put_max_streams(&mut bytes, true, *value);
        client.capsule(&bytes, false);
    }
    let behind = client.stream(true, b"behind them", true);
    client.within(SOON, |c| c.resets.contains_key(&0) || c.is_whole(behind));
    client.resets.get(&0).copied()
}

#[test]
fn limits_that_stay_equal_or_are_too_large_are_flow_control_errors() {
    // S5: an equal one is recognised today.
    let error = Some(0x045d_4487);
    assert_eq!(end_by_max_streams(&[200, 200]), error, "an equal limit");
    assert_eq!(end_by_max_streams(&[1 << 60]), None, "the largest there is");
    assert_eq!(end_by_max_streams(&[(1 << 60) + 1]), error, "more than can be numbered");
}

/// Events of one connection that may wait at a time.
const MAX_EVENTS: usize = 256;

fn waiting_events(server: &mut Endpoint) -> Vec<Event> {
    std::iter::from_fn(|| server.poll_event()).collect()
}

#[test]
fn a_burst_of_streams_is_worked_off_in_several_turns() {
    // S16
    const STREAMS: usize = 1000;
    let options = with_server(|config| config.webtransport.max_streams = 2000);
    let mut client = Client::open(options, "/wt/hash", &[DRAFT02]);
    // The client may have much in flight after this.
    let upload = client.stream(true, &payload(900_000), true);
    client.run_until("the upload", |c| c.is_whole(upload));
    for _ in 0..STREAMS {
        let id = client.next_uni;
        client.next_uni += 4;
        assert_eq!(client.sim.client.stream_send(id, b"\x40\x54\0x", true), Ok(4));
    }
    client.sim.client_turn();
    let server = &mut client.sim.server;
    for mut packet in std::mem::take(&mut client.sim.to_server) {
        server.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
    }
    let mut arrived = Vec::new();
    for turn in 0..100 {
        server.handle_timeouts(net::now());
        server.drive(net::now());
        let events = waiting_events(server);
        assert!(events.len() <= MAX_EVENTS, "{} events in turn {turn}", events.len());
        arrived.extend(events.into_iter().filter(|event| matches!(event, Event::SessionStream { .. })));
    }
    assert_eq!(arrived.len(), STREAMS);
}

#[test]
fn capsules_that_waited_for_the_answer_are_worked_off_in_several_turns() {
    // S16: a mebibyte of empty DATAGRAM capsules.
    const BYTES: usize = 1 << 20;
    let options = with_server(|config| config.transport.initial_max_stream_data = 2 << 20);
    let mut client = Client::ask(options, "/wt/echo", &[DRAFT02], &[]);
    let mut body = vec![0];
    varint::put(&mut body, BYTES as u64);
    body.resize(body.len() + BYTES, 0);
    let mut request = None;
    let began = net::now();
    // Rounds in which nothing came, which is longer than an acknowledgement is delayed.
    let mut quiet = 0;
    while !body.is_empty() || request.is_none() || quiet < 100 {
        assert!(elapsed(began) < SOON, "{} bytes are still to be sent", body.len());
        if quiet > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        quiet += 1;
        body.drain(..client.sim.client.stream_send(0, &body, false).unwrap_or(0));
        client.sim.client_turn();
        let now = net::now();
        let server = &mut client.sim.server;
        for mut packet in std::mem::take(&mut client.sim.to_server) {
            quiet = 0;
            server.recv(now, &mut packet, addr(CLIENT), addr(SERVER));
        }
        server.handle_timeouts(now);
        server.drive(now);
        for event in waiting_events(server) {
            if let Event::SessionRequest(session) = event {
                request = Some(session.stream_id());
            }
        }
        let mut buf = vec![0; 65_507];
        while let Some(transmit) = server.poll_transmit(now, &mut buf, 64) {
            for packet in buf[..transmit.len].chunks_mut(transmit.segment) {
                let info = quiche::RecvInfo { from: addr(SERVER), to: addr(CLIENT) };
                client.sim.client.recv(packet, info).expect("a good packet");
            }
        }
        if client.sim.client.timeout() == Some(Duration::ZERO) {
            client.sim.client.on_timeout();
        }
        client.take_in();
    }
    let server = &mut client.sim.server;
    server.accept_session(net::now(), request.expect("asked for"), HeaderMap::new()).expect("a session");
    let mut datagrams = 0;
    for turn in 0.. {
        server.drive(net::now());
        let events = waiting_events(server);
        assert!(events.len() <= MAX_EVENTS, "{} events in turn {turn}", events.len());
        datagrams += events.iter().filter(|event| matches!(event, Event::Datagram(..))).count();
        if !server.needs_drive() {
            break;
        }
    }
    assert_eq!(datagrams, BYTES / 2);
}
