//! Limits, malformed requests, Retry, timeouts, shutdown.

use super::*;
use crate::app::stream_handler::Progress;
use crate::config::RetryPolicy;

const GOOD: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];

#[test]
fn a_malformed_request_costs_its_stream_only() {
    let mut sim = Sim::connected(Options::default());
    let te = sim.send(&[GOOD.as_slice(), &[("te", "gzip")]].concat(), b"");
    let hop = sim.send(&[GOOD.as_slice(), &[("connection", "close")]].concat(), b"");
    let missing = sim.send(&GOOD[..3], b"");
    let long = sim.request("POST", "/upload", &[("content-length", "5")], b"123456");
    let short = sim.request("POST", "/upload", &[("content-length", "7")], b"123456");
    let none = sim.request("GET", "/", &[("content-length", "1")], b"");
    let fine = sim.get("/");
    sim.finish_all();
    for id in [te, hop, missing, long, short, none] {
        assert_eq!(sim.answers[&id].reset, Some(0x10e), "stream {id}");
    }
    assert_eq!(sim.answers[&fine].status(), "200");
    assert_eq!(sim.server.stats().malformed_requests, 6);
}

#[test]
fn requests_have_a_limit_of_their_own_beside_session_streams() {
    // K14
    let mut sim = Sim::connected(Options {
        server: Box::new(|config| config.webtransport.enabled = true),
        client: Box::new(|config| config.set_initial_max_stream_data_bidi_local(1000)),
        ..Options::default()
    });
    sim.reading = false;
    assert_eq!(sim.client.peer_streams_left_bidi(), 1000);
    let open: Vec<u64> = (0..100).map(|_| sim.get("/stream/100000")).collect();
    // More than the windows of stream and connection: they end because the server stops them.
    let uploads: Vec<u64> = (0..20).map(|_| sim.post("/upload", &payload(2_000_000))).collect();
    sim.run_until("the resets", |sim| {
        sim.bodies.is_empty() && uploads.iter().all(|id| sim.answers[id].reset.is_some())
    });
    for id in &uploads {
        assert_eq!((sim.answers[id].reset, sim.answers[id].heads.len()), (Some(0x10b), 0), "stream {id}");
    }
    let stats = sim.server.stats();
    assert_eq!((stats.requests, stats.rejected_requests, stats.malformed_requests), (100, 20, 0));

    // Each place is free again, and the streams of the rejected ones are over, too.
    sim.reading = true;
    sim.finish_all();
    assert!(open.iter().all(|id| sim.answers[id].body.len() == 100_000));
    for _ in 0..10 {
        let again: Vec<u64> = (0..100).map(|_| sim.get("/")).collect();
        sim.finish_all();
        assert!(again.iter().all(|id| sim.answers[id].status() == "200"));
    }
    sim.run_until("no stream", |sim| sim.server.stream_count() == 0);
}

#[test]
fn a_request_without_a_head_is_incomplete() {
    let mut sim = Sim::connected(Options::default());
    // Stream 0 by hand: only its FIN. quiche::h3 does not report it.
    sim.client.stream_send(0, b"", true).expect("a stream");
    let mut reset = None;
    sim.run_until("the reset", |sim| {
        reset = match sim.client.stream_recv(0, &mut [0; 10]) {
            Err(quiche::Error::StreamReset(code)) => Some(code),
            _ => None,
        };
        reset.is_some()
    });
    assert_eq!(reset, Some(0x10d));
}

#[test]
fn heads_over_a_limit_are_answered() {
    // M2
    let mut sim = Sim::connected(Options::default());
    let target = sim.get(&format!("/{}", "p".repeat(8192)));
    sim.finish_all();
    let fits = sim.get(&format!("/?{}", "p".repeat(8190)));
    sim.finish_all();
    let value = sim.request("GET", "/", &[("x", &"a".repeat(16_385))], b"");
    sim.finish_all();
    let upload = sim.request("POST", "/upload", &[("x", &"a".repeat(16_385))], &payload(50_000));
    sim.finish_all();
    let many = sim.send(&[GOOD.as_slice(), &[("x", ""); 201]].concat(), b"");
    sim.finish_all();
    let answer = |id| (sim.answers[&id].status(), String::from_utf8_lossy(&sim.answers[&id].body));
    let long = "414 URI Too Long: the request target has 8193 bytes, more than 8192 (max_target)\n";
    assert_eq!(answer(target), ("414", long.into()));
    assert_eq!(answer(fits), ("200", "Hello, HTTP/3!\n".into()));
    let large =
        "431 Request Header Fields Too Large: the value of field \"x\" has 16385 bytes, more than 16384 (max_value)\n";
    for id in [value, upload] {
        assert_eq!(answer(id), ("431", large.into()));
    }
    let fields = "431 Request Header Fields Too Large: 201 fields, more than 200 (max_fields)\n";
    assert_eq!(answer(many), ("431", fields.into()));
}

#[test]
fn trailers_over_a_limit_reset_the_stream() {
    // M2
    let server = |config: &mut ServerConfig| config.request_limits.max_fields = 10;
    let mut sim = Sim::connected(Options { server: Box::new(server), ..Options::default() });
    for (count, outcome) in [(10, None), (11, Some(0x107))] {
        let id = sim.open("POST", "/upload");
        let trailers = vec![h3::Header::new(b"x", b"1"); count];
        let h3 = sim.h3.as_mut().expect("connected");
        h3.send_additional_headers(&mut sim.client, id, &trailers, true, true).expect("room");
        sim.finish_all();
        assert_eq!(sim.answers[&id].reset, outcome, "{count} fields");
    }
}

#[test]
fn a_browser_with_many_cookies_is_served() {
    // M1: Chromium sends each cookie as a field of its own, and keeps 180 for a site.
    let router = Router::new().get("/", |req, res| res.text(req.header("cookie").unwrap_or_default().to_owned()));
    let mut sim = Sim::connected(Options { router, ..Options::default() });
    for count in [1, 95, 150, 180, 600] {
        let cookies: Vec<String> = (0..count).map(|n| format!("name{n}=0123456789")).collect();
        let crumbs: Vec<_> = cookies.iter().map(|cookie| ("cookie", &**cookie)).collect();
        let id = sim.send(&[GOOD.as_slice(), &crumbs].concat(), b"");
        sim.finish_all();
        let answer = &sim.answers[&id];
        let expected = cookies.join("; ");
        assert_eq!((answer.status(), String::from_utf8_lossy(&answer.body)), ("200", expected.into()), "{count}");
    }
}

#[test]
fn bodies_over_the_limit_get_413_and_the_connection_lives() {
    let server = |config: &mut ServerConfig| config.max_request_body = Some(1000);
    let mut sim = Sim::connected(Options { server: Box::new(server), ..Options::default() });
    let over = sim.post("/upload", &payload(200_000));
    let under = sim.post("/upload?checksum=off", &payload(1000));
    sim.finish_all();
    assert_eq!(sim.answers[&over].status(), "413");
    assert_eq!(sim.answers[&under].body, b"{\"bytes\":1000}\n");
}

#[test]
fn what_is_read_whole_has_a_bound() {
    let router = Router::new().post("/whole", |_req, res| {
        let mut body = Vec::new();
        res.stream(move |s: &mut crate::endpoint::Stream<'_>| {
            if !s.read_to_end(&mut body, 20_000)? {
                return Ok(Progress::Pending);
            }
            s.finish_with(&mut format!("{}", body == payload(20_000)).into())?;
            Ok(Progress::Done)
        })
    });
    let mut sim = Sim::connected(Options { router, ..Options::default() });
    let (at, over) = (sim.post("/whole", &payload(20_000)), sim.post("/whole", &payload(20_001)));
    sim.finish_all();
    assert_eq!((sim.answers[&at].status(), &*sim.answers[&at].body), ("200", b"true".as_slice()));
    assert_eq!(sim.answers[&over].status(), "413");
}

#[test]
fn stream_credit_comes_back_whatever_the_handler_read() {
    let mut sim = Sim::connected(Options::default());
    for round in 0..150 {
        // A route that reads no body, one that does not exist, and one whose response the client stops.
        let (a, b) = (sim.post("/", &payload(3000)), sim.post("/nowhere", &payload(3000)));
        let c = sim.get("/stream/1000000");
        sim.client.stream_shutdown(c, quiche::Shutdown::Read, 0x10c).expect("open");
        sim.answers.remove(&c);
        sim.run_until("both answers", |sim| [a, b].iter().all(|id| sim.answers[id].is_over()));
        assert_eq!((sim.answers[&a].status(), sim.answers[&b].status()), ("405", "404"), "round {round}");
        sim.run_until("credit for the next round", |sim| sim.client.peer_streams_left_bidi() > 5);
    }
    let last = sim.get("/");
    sim.run_until("a last answer", |sim| sim.answers[&last].finished);
    sim.run_until("the streams to be forgotten", |sim| sim.server.stream_count() == 0);
    assert_eq!(sim.app.running(), 0);
}

#[test]
fn retry_proves_the_address_over_a_bad_network() {
    for seed in 1..=5 {
        let server = |config: &mut ServerConfig| config.retry = RetryPolicy::On;
        let network = Network { seed, loss: 10, duplicate: 20, reorder: 10 };
        let mut sim = Sim::connected(Options { network, server: Box::new(server), ..Options::default() });
        let id = sim.get("/");
        sim.finish_all();
        assert_eq!(sim.answers[&id].status(), "200");
        let stats = sim.server.stats();
        assert!(stats.retries >= 1);
        assert_eq!((stats.connections, stats.handshakes), (1, 1), "seed {seed}: a replayed packet makes no connection");
    }
}

#[test]
fn a_handshake_that_stops_is_dropped_in_time() {
    let server = |config: &mut ServerConfig| config.transport.handshake_timeout = Duration::from_millis(30);
    let mut sim = Sim::new(Options { server: Box::new(server), ..Options::default() });
    sim.client_turn();
    let began = net::now();
    for mut packet in std::mem::take(&mut sim.to_server) {
        sim.server.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
    }
    while sim.server.connection_count() > 0 {
        assert!(elapsed(began) < TIMEOUT, "the handshake goes on for ever");
        sim.server_turn();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(sim.server.stats().handshake_timeouts, 1);
    assert_eq!(sim.server.cid_count(), 0);
}

#[test]
fn connections_over_the_limit_are_refused() {
    let server = |config: &mut ServerConfig| config.max_connections = 1;
    let mut sim = Sim::connected(Options { server: Box::new(server), ..Options::default() });
    let mut config = client_config();
    let scid = quiche::ConnectionId::from_ref(&[9; 16]);
    let other = addr("192.0.2.3:6000");
    let mut second = quiche::connect(None, &scid, other, addr(SERVER), &mut config).expect("a client");
    let mut buf = [0; 1500];
    let (n, _) = second.send(&mut buf).expect("a first packet");
    sim.server.recv(net::now(), &mut buf[..n], other, addr(SERVER));
    assert_eq!((sim.server.connection_count(), sim.server.stats().refused_connections), (1, 1));
    let id = sim.get("/");
    sim.finish_all();
    assert_eq!(sim.answers[&id].status(), "200");
}

#[test]
fn garbage_is_counted_and_disturbs_nobody() {
    let mut sim = Sim::connected(Options::default());
    let mut rng = Rng::new(7);
    for len in 0..1500 {
        let mut packet: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
        sim.server.recv(net::now(), &mut packet, addr("192.0.2.9:1"), addr(SERVER));
    }
    // Real packets of the client, cut anywhere.
    sim.get("/");
    let mut buf = [0; 1500];
    while let Ok((n, _)) = sim.client.send(&mut buf) {
        for cut in 0..n {
            sim.server.recv(net::now(), &mut buf[..cut].to_vec(), addr(CLIENT), addr(SERVER));
        }
        sim.server.recv(net::now(), &mut buf[..n].to_vec(), addr(CLIENT), addr(SERVER));
    }
    sim.finish_all();
    let stats = sim.server.stats();
    assert_eq!((stats.connections, sim.server.connection_count()), (1, 1));
    assert!(stats.ignored_garbage + stats.ignored_unknown_cid + stats.ignored_small_initial > 1000, "{stats:?}");
}

#[test]
fn shutdown_says_goaway_finishes_and_closes() {
    let mut sim = Sim::connected(Options::default());
    let id = sim.get("/stream/300000");
    sim.run_until("the head", |sim| !sim.answers[&id].heads.is_empty());
    sim.server.shutdown();
    let late = std::cell::Cell::new(None);
    sim.run_until("GOAWAY", |sim| {
        // quiche refuses a request after GOAWAY, so one goes out before it is read.
        if late.get().is_none() {
            late.set(Some(sim.get("/")));
        }
        sim.answers[&id].finished
    });
    let late = late.get().expect("sent");
    assert!(sim.answers[&id].body == payload(300_000));
    let deadline = net::now() + TIMEOUT;
    while !sim.server.is_shut_down() {
        assert!(net::now() < deadline, "not shut down");
        sim.step();
    }
    sim.step();
    let error = sim.client.peer_error().expect("closed by the server");
    assert_eq!((error.is_app, error.error_code), (true, 0x100));
    // Served if it arrived before GOAWAY, rejected if after.
    assert!(sim.answers[&late].finished || sim.answers[&late].reset == Some(0x10b), "{:?}", sim.answers[&late]);
}

#[test]
fn a_connection_has_one_deadline_however_many_requests_it_had() {
    // K10
    let mut sim = Sim::connected(Options::default());
    for _ in 0..100 {
        sim.get("/");
        sim.get("/slow?delay=1");
        sim.finish_all();
        sim.answers.clear();
    }
    assert_eq!(sim.server.stats().requests, 200);
    assert_eq!(sim.server.timer_count(), 1);
}

#[test]
fn no_deadline_outlives_its_connection() {
    let mut sim = Sim::connected(Options::default());
    sim.get("/slow?delay=60000");
    sim.run_until("the request", |sim| sim.app.running() == 1);
    sim.client.close(true, 0x100, b"").expect("an open connection");
    let deadline = net::now() + TIMEOUT;
    while sim.server.connection_count() > 0 {
        assert!(net::now() < deadline, "the connection stays");
        if !sim.step() {
            sim.sleep();
        }
    }
    assert_eq!(sim.server.timer_count(), 0);
}
