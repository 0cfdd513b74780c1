//! Complete requests and responses, over good networks and bad ones.

use super::*;
use crate::app::stream_handler::Progress;

const BAD: Network = Network { seed: 0, loss: 5, duplicate: 5, reorder: 10 };

#[test]
fn a_small_request_gets_its_answer_and_leaves_nothing() {
    let mut sim = Sim::connected(Options::default());
    let id = sim.get("/");
    sim.finish_all();
    let answer = &sim.answers[&id];
    assert_eq!((answer.status(), &*answer.body), ("200", b"Hello, HTTP/3!\n".as_slice()));
    assert_eq!(answer.field("content-length"), Some("15"));
    assert_eq!((sim.server.stats().requests, sim.server.connection_count()), (1, 1));
    sim.client.close(true, 0x100, b"bye").expect("open");
    let deadline = net::now() + TIMEOUT;
    while sim.server.connection_count() > 0 {
        assert!(net::now() < deadline, "the connection stays in the table");
        sim.step();
        sim.sleep();
    }
    assert_eq!(sim.server.cid_count(), 0);
    assert_eq!(sim.app.running(), 0);
}

#[test]
fn every_byte_and_every_end_arrives_over_a_bad_network() {
    for seed in 1..=6 {
        let mut sim = Sim::connected(Options { network: Network { seed, ..BAD }, ..Options::default() });
        let sizes = [0, 1, 1_000, 20_000, 150_000];
        let body = payload(100_000);
        let down: Vec<_> = sizes.iter().map(|n| sim.get(&format!("/stream/{n}"))).collect();
        let up = sim.post("/upload", &body);
        let echo = sim.post("/api/echo", &body);
        sim.finish_all();
        for (id, size) in down.iter().zip(sizes) {
            let answer = &sim.answers[id];
            assert_eq!(answer.reset, None, "seed {seed}");
            assert!(answer.body == payload(size), "seed {seed}: {size} bytes");
            assert_eq!(answer.field("x-checksum").map(str::len), Some(64), "seed {seed}: the trailer");
        }
        assert!(sim.answers[&echo].body == body, "seed {seed}: the echo");
        let sum = ring::digest::digest(&ring::digest::SHA256, &body);
        let expected =
            format!("{{\"bytes\":100000,\"sha256\":\"{}\"}}\n", data_encoding::HEXLOWER.encode(sum.as_ref()));
        assert_eq!(String::from_utf8_lossy(&sim.answers[&up].body), expected, "seed {seed}");
    }
}

/// quiche 0.30 never retransmits a lost stand-alone FIN when the data before it is acknowledged after the FIN was
/// written. Here a handler ends its body in a turn of its own, and the packet with the end is lost.
#[test]
fn the_end_of_a_response_survives_the_loss_of_its_packet() {
    let router = Router::new().get("/", |_req, res| {
        let mut due = None;
        res.stream(move |s: &mut crate::endpoint::Stream<'_>| {
            if due.is_none() {
                s.write(b"body")?;
            }
            let at = *due.get_or_insert(s.now() + Duration::from_millis(2));
            if s.now() < at {
                s.wake_at(at);
                return Ok(crate::Progress::Pending);
            }
            s.finish()?;
            Ok(crate::Progress::Done)
        })
    });
    let mut sim = Sim::connected(Options { router, ..Options::default() });
    sim.run_until("quiet", |sim| !sim.step());
    let id = sim.get("/");
    sim.step();
    sim.server_turn();
    assert_eq!((sim.to_client.len(), sim.app.running()), (1, 1), "the body is on its way, without its end");
    sim.cut = true;
    let sent = sim.server.stats().datagrams_out;
    while sim.app.running() > 0 {
        sim.server_turn();
    }
    assert_eq!(sim.server.stats().datagrams_out, sent + 1, "the end was sent, and lost");
    sim.cut = false;
    sim.finish_all();
    assert_eq!(sim.answers[&id].body, b"body");
    assert!(sim.answers[&id].finished);
}

#[test]
fn a_head_waits_for_room_and_keeps_its_place() {
    // The connection's window allows few heads at a time, so most of them are queued (quiche: StreamBlocked).
    let client = |config: &mut quiche::Config| config.set_initial_max_data(400);
    let mut sim = Sim::connected(Options { client: Box::new(client), ..Options::default() });
    for round in 0..5 {
        let ids: Vec<_> = (0..8).map(|_| sim.get("/trailers/demo")).collect();
        sim.finish_all();
        for id in ids {
            let answer = &sim.answers[&id];
            assert_eq!((answer.status(), answer.reset), ("200", None), "round {round}");
            assert_eq!(answer.body, b"request trailers:\n");
            assert_eq!(answer.field("x-demo"), Some("trailers"));
        }
        sim.answers.clear();
    }
}

#[test]
fn tiny_windows_only_slow_things_down() {
    let server = |config: &mut ServerConfig| {
        config.transport.initial_max_stream_data = 100;
        config.transport.initial_max_data = 300;
    };
    let client = |config: &mut quiche::Config| {
        config.set_initial_max_stream_data_bidi_local(300);
        config.set_initial_max_data(700);
    };
    let options = Options { server: Box::new(server), client: Box::new(client), ..Options::default() };
    let mut sim = Sim::connected(options);
    let body = payload(30_000);
    let (a, b) = (sim.post("/api/echo", &body), sim.get("/stream/30000"));
    sim.finish_all();
    assert!(sim.answers[&a].body == body);
    assert!(sim.answers[&b].body == body);
}

#[test]
fn a_reader_that_stops_holds_back_its_own_stream_only() {
    let mut sim = Sim::connected(Options::default());
    sim.reading = false;
    let big = sim.get("/stream/5000000");
    for _ in 0..200 {
        if !sim.step() {
            break;
        }
    }
    // The server sends at most the client's stream window.
    assert!(sim.client.stats().recv_bytes < 1_300_000, "{:?}", sim.client.stats());
    let small = sim.get("/api/users/42");
    sim.run_until("the small answer", |sim| {
        let mut buf = [0; 1000];
        let Sim { h3, client, answers, .. } = sim;
        if let (Some(h3), Some(answer)) = (h3, answers.get_mut(&small))
            && let Ok(n) = h3.recv_body(client, small, &mut buf)
        {
            answer.body.extend_from_slice(&buf[..n]);
        }
        answers[&small].finished
    });
    assert_eq!(sim.answers[&small].body, b"{\"id\":42,\"name\":\"Douglas\"}\n");
    sim.reading = true;
    sim.finish_all();
    assert!(sim.answers[&big].body == payload(5_000_000));
}

#[test]
fn informational_responses_come_before_the_final_one() {
    let mut sim = Sim::connected(Options::default());
    let id = sim.request("POST", "/upload", &[("expect", "100-continue")], b"x");
    sim.finish_all();
    let statuses: Vec<_> = sim.answers[&id].heads.iter().map(|head| head[0].1.as_str()).collect();
    assert_eq!(statuses, ["100", "200"]);
}

#[test]
fn urgent_responses_overtake() {
    let mut sim = Sim::connected(Options::default());
    let size = 2_000_000;
    let late = sim.request("GET", &format!("/stream/{size}"), &[("priority", "u=7")], b"");
    let urgent = sim.request("GET", &format!("/stream/{size}"), &[("priority", "u=0")], b"");
    sim.run_until("the urgent one", |sim| sim.answers[&urgent].finished);
    assert!(!sim.answers[&late].finished);
    let behind = sim.answers[&late].body.len();
    // While the urgent one waits for more stream credit, the other has the bandwidth.
    assert!(behind < size / 4 * 3, "{behind} bytes of the other one came before");
    sim.finish_all();
}

#[test]
fn a_failing_handler_is_a_500_or_a_reset() {
    let fail = || crate::Error::handler("no luck");
    let router = Router::new()
        .get("/early", move |_req, res| res.stream(move |_: &mut crate::endpoint::Stream<'_>| Err(fail())))
        .get("/late", move |_req, res| {
            res.stream(move |s: &mut crate::endpoint::Stream<'_>| {
                s.write(b"half")?;
                Err(fail())
            })
        });
    let mut sim = Sim::connected(Options { router, ..Options::default() });
    let (early, late) = (sim.get("/early"), sim.get("/late"));
    sim.finish_all();
    assert_eq!((sim.answers[&early].status(), sim.answers[&early].reset), ("500", None));
    assert_eq!(sim.answers[&early].body, b"500 Internal Server Error\n");
    assert_eq!(sim.answers[&late].reset, Some(0x102));
}

#[test]
fn bodies_are_whole_however_their_frames_come() {
    // quiche::h3 reports data once, and not again after an empty DATA frame.
    let mut sim = Sim::connected(Options::default());
    let parts: [&[u8]; 8] = [b"\0", b"\x05", b"hello", b"\0\0", b"\0\0\0\x01,\0\0\0\0", b"\0\x05w", b"orld\0", b"\0"];
    let id = sim.open("POST", "/api/echo");
    for (n, part) in parts.iter().enumerate() {
        assert_eq!(sim.client.stream_send(id, part, n + 1 == parts.len()), Ok(part.len()));
        while sim.step() {}
    }
    sim.finish_all();
    assert_eq!((sim.answers[&id].status(), &*sim.answers[&id].body), ("200", &b"hello,world"[..]));
}

#[test]
fn values_are_sent_without_the_white_space_around_them() {
    // M4: it would be malformed to the client.
    let router = Router::new().get("/", |_req, res| res.header("x-a", " a\tb \t").header("x-b", " "));
    let mut sim = Sim::connected(Options { router, ..Options::default() });
    let id = sim.get("/");
    sim.finish_all();
    assert_eq!((sim.answers[&id].field("x-a"), sim.answers[&id].field("x-b")), (Some("a\tb"), Some("")));
}

#[test]
fn a_response_without_content_is_sent_without_any() {
    // M7
    let write = |s: &mut crate::endpoint::Stream<'_>| {
        s.write(b"content")?;
        Ok(Progress::Done)
    };
    let late = |s: &mut crate::endpoint::Stream<'_>| {
        if let Some(head) = s.head_mut() {
            head.status = http::StatusCode::NO_CONTENT;
        }
        s.finish_with(&mut bytes::Bytes::from_static(b"content"))?;
        Ok(Progress::Done)
    };
    let read = || {
        let mut body = Vec::new();
        move |s: &mut crate::endpoint::Stream<'_>| match s.read_to_end(&mut body, 1000)? {
            true => Ok(Progress::Done),
            false => Ok(Progress::Pending),
        }
    };
    let router = Router::new()
        .get("/text/:status", |req, res| {
            res.status(req.param("status").and_then(|s| s.parse().ok()).unwrap_or(500)).text("content")
        })
        .get("/written/:status", move |req, res| {
            let res = res.status(req.param("status").and_then(|s| s.parse().ok()).unwrap_or(500));
            res.header("content-length", "7").stream(write)
        })
        .get("/late", move |_req, res| res.stream(late))
        .post("/read", move |_req, res| res.status(204).stream(read()));
    let mut sim = Sim::connected(Options { router, ..Options::default() });
    for (method, path, status, length) in [
        ("GET", "/text/200", "200", Some("7")),
        ("HEAD", "/text/200", "200", Some("7")),
        ("HEAD", "/written/200", "200", Some("7")),
        ("GET", "/text/204", "204", None),
        ("GET", "/text/205", "205", Some("0")),
        ("GET", "/text/304", "304", None),
        ("GET", "/written/204", "204", None),
        ("GET", "/written/304", "304", Some("7")),
        ("GET", "/late", "204", None),
        ("POST", "/read", "204", None),
        ("GET", "/text/101", "500", Some("7")),
    ] {
        let id = sim.request(method, path, &[], if method == "POST" { b"body" } else { b"" });
        sim.finish_all();
        let answer = &sim.answers[&id];
        let has_content = method == "GET" && ["200", "500"].contains(&status);
        let seen = (answer.status(), answer.field("content-length"), !answer.body.is_empty(), answer.reset);
        assert_eq!(seen, (status, length, has_content, None), "{method} {path}");
    }
    sim.run_until("the streams to be removed", |sim| sim.server.stream_count() == 0);
}

/// `REQUESTS=1000000 cargo test --release --lib every_one_of_many` makes as many.
#[test]
fn every_one_of_many_requests_ends_over_a_lossy_network() {
    const AT_A_TIME: usize = 50;
    let count: usize = std::env::var("REQUESTS").map_or(2_000, |count| count.parse().expect("REQUESTS is a number"));
    let mut sim =
        Sim::connected(Options { network: Network { seed: 7, loss: 5, ..Network::default() }, ..Options::default() });
    for first in (0..count).step_by(AT_A_TIME) {
        let ids: Vec<u64> = (0..AT_A_TIME).map(|_| sim.get("/")).collect();
        sim.finish_all();
        for id in ids {
            let answer = sim.answers.remove(&id).expect("an answer");
            assert_eq!((answer.status(), &*answer.body), ("200", b"Hello, HTTP/3!\n".as_slice()), "after {first}");
        }
    }
    assert_eq!(sim.server.stats().requests, count.div_ceil(AT_A_TIME) as u64 * AT_A_TIME as u64);
}
