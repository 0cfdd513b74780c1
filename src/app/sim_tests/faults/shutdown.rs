//! The end of a connection: no request is left without an outcome (RFC 9114 section 5.2).

use super::*;
use crate::wire::varint;

/// What precedes the server's close.
struct Goodbye {
    sim: Sim,
    h3: h3::Connection,
    goaway: Option<u64>,
    answered: Vec<u64>,
    rejected: Vec<u64>,
}

impl Goodbye {
    fn new() -> Self {
        let mut sim = Sim::connected(Options::default());
        let id = sim.get("/");
        sim.run_until("an answer", |sim| sim.answers[&id].finished);
        // `Sim` ignores GOAWAY.
        let h3 = sim.h3.take().expect("HTTP/3");
        Goodbye { sim, h3, goaway: None, answered: Vec::new(), rejected: Vec::new() }
    }

    fn post(&mut self) -> u64 {
        let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/upload")];
        let list: Vec<_> = head.iter().map(|(n, v)| h3::Header::new(n.as_bytes(), v.as_bytes())).collect();
        let id = self.h3.send_request(&mut self.sim.client, &list, false).expect("room for a request");
        assert_eq!(self.h3.send_body(&mut self.sim.client, id, b"once only", true), Ok(9));
        id
    }

    /// Reads until the server closes the connection.
    fn read_to_the_close(&mut self) {
        let deadline = net::now() + SOON;
        loop {
            while let Ok((id, event)) = self.h3.poll(&mut self.sim.client) {
                match event {
                    h3::Event::GoAway => self.goaway = Some(id),
                    h3::Event::Finished => self.answered.push(id),
                    h3::Event::Reset(0x10b) => self.rejected.push(id),
                    h3::Event::Data => while self.h3.recv_body(&mut self.sim.client, id, &mut [0; 1000]).is_ok() {},
                    _ => {}
                }
            }
            if let Some(error) = self.sim.client.peer_error() {
                assert_eq!((error.is_app, error.error_code), (true, 0x100));
                return;
            }
            assert!(net::now() < deadline, "the server does not close the connection");
            if !self.sim.step() {
                self.sim.sleep();
            }
        }
    }
}

#[test]
fn an_idle_connection_gets_goaway_before_it_is_closed() {
    // S6
    let mut goodbye = Goodbye::new();
    goodbye.sim.server.shutdown();
    goodbye.read_to_the_close();
    assert_eq!(goodbye.goaway, Some(4), "the id in GOAWAY");
}

#[test]
fn a_request_that_is_on_its_way_at_a_shutdown_gets_a_verdict() {
    // S6
    let mut goodbye = Goodbye::new();
    goodbye.sim.server.shutdown();
    let id = goodbye.post();
    goodbye.read_to_the_close();
    let Goodbye { goaway, answered, rejected, .. } = goodbye;
    let verdict = (answered.contains(&id), rejected.contains(&id), goaway.is_some_and(|limit| limit <= id));
    assert_ne!(verdict, (false, false, false), "answered, rejected, not processed by GOAWAY {goaway:?}");
}

/// The id in the GOAWAY that is among the frames of a control stream.
fn goaway_in(mut control: &[u8]) -> Option<u64> {
    const GOAWAY: u64 = 7;
    // After the stream's type.
    control = control.get(1..)?;
    loop {
        let (kind, n) = varint::read(control)?;
        let (len, m) = varint::read(&control[n..])?;
        let payload = control.get(n + m..n + m + len as usize)?;
        if kind == GOAWAY {
            return varint::read(payload).map(|(id, _)| id);
        }
        control = &control[n + m + len as usize..];
    }
}

#[test]
fn a_request_that_is_on_its_way_when_a_connection_without_sessions_is_closed_gets_a_verdict() {
    // S6: the close after `linger`.
    const LINGER: Duration = Duration::from_millis(1500);
    let mut client = Client::open(with_server(|config| config.webtransport.linger = LINGER), "/wt/echo", &[DRAFT02]);
    client.write(0, b"", true);
    client.run_until("the end", |c| c.is_whole(0));
    client.go_on(LINGER / 2);
    std::thread::sleep(LINGER);
    // It is sent in the turn in which the server closes.
    assert!(client.sim.client.stream_send(4, &get_frame(), true).is_ok());
    let mut control = Vec::new();
    let deadline = net::now() + SOON;
    let mut buf = [0; 1000];
    while client.sim.client.peer_error().is_none() && net::now() < deadline {
        client.pass_time();
        while let Ok((n, _)) = client.sim.client.stream_recv(3, &mut buf) {
            control.extend_from_slice(&buf[..n]);
        }
        client.take_in();
        if client.is_whole(4) {
            break;
        }
    }
    let goaway = goaway_in(&control);
    let verdict = (client.is_whole(4), client.resets.get(&4) == Some(&0x10b), goaway.is_some_and(|id| id <= 4));
    assert_ne!(verdict, (false, false, false), "answered, rejected, not processed by GOAWAY {goaway:?}");
}

/// RFC 9000 section 10.2.1.
#[test]
fn a_close_that_was_lost_is_sent_again() {
    // The server remembers a connection for three probe timeouts, which include this.
    let client = Box::new(|config: &mut quiche::Config| config.set_max_ack_delay(10_000));
    let mut sim = Sim::connected(Options { client, ..Options::default() });
    sim.get("/");
    sim.finish_all();
    sim.server.close_all(ErrorCode(0x123), b"enough");
    sim.server_turn();
    let lost = Vec::from(std::mem::take(&mut sim.to_client));
    assert_eq!(lost.len(), 1);
    let sent_again = [1, 2, 3, 4, 5, 6, 7, 8].map(|n| {
        sim.client.send_ack_eliciting().expect("open");
        sim.client_turn();
        for mut packet in std::mem::take(&mut sim.to_server) {
            sim.server.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
        }
        sim.server_turn();
        let packets = Vec::from(std::mem::take(&mut sim.to_client));
        assert!(packets.is_empty() || packets == lost, "answer {n}");
        packets.len()
    });
    // The more arrive, the fewer are answered.
    assert_eq!(sent_again, [1, 1, 0, 1, 0, 0, 0, 1]);
    sim.to_client = lost.into();
    sim.step();
    let error = sim.client.peer_error().expect("the close");
    assert_eq!((error.is_app, error.error_code, &*error.reason), (true, 0x123, &b"enough"[..]));
}

/// quiche sends no close while the congestion window is full, but with the next probe.
#[test]
fn a_close_that_cannot_be_sent_is_given_up() {
    let mut sim = Sim::connected(Options::default());
    sim.get("/stream/1000000?checksum=off");
    sim.client_turn();
    for mut packet in std::mem::take(&mut sim.to_server) {
        sim.server.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
    }
    // From here on nothing is acknowledged, and probes become rare.
    sim.cut = true;
    let until_next = |sim: &Sim| sim.server.next_timeout().expect("a timer").saturating_duration_since(net::now());
    let began = net::now();
    while sim.server.has_work() || until_next(&sim) < Duration::from_millis(1500) {
        assert!(net::now() - began < TIMEOUT);
        std::thread::sleep(until_next(&sim).min(Duration::from_millis(50)));
        sim.server_turn();
    }
    sim.cut = false;
    sim.server.close_all(ErrorCode(0x123), b"enough");
    sim.server_turn();
    let closed_at = net::now();
    std::thread::sleep(until_next(&sim));
    while sim.server.connection_count() > 0 {
        assert!(net::now() - closed_at < TIMEOUT);
        sim.server_turn();
    }
    assert!(sim.to_client.is_empty(), "{} packets", sim.to_client.len());
    // The next packet is answered by a stateless reset.
    sim.client.send_ack_eliciting().expect("open");
    sim.run_until("the reset", |sim| sim.server.stats().resets_sent > 0);
}
