//! A NEW_CONNECTION_ID frame that is lost twice, while the client receives, uses and retires the id in between: quiche
//! sends nothing more, so the connection must end rather than be silent.

use super::*;

const INTERNAL_ERROR: u64 = 1;

struct Silent {
    server: Endpoint,
    app: App,
    client: quiche::Connection,
    /// The client's address as the server sees it.
    outside: SocketAddr,
}

impl Silent {
    /// Passes what the client has to send.
    fn up(&mut self) {
        let mut buf = vec![0; 65_507];
        while let Ok((len, _)) = self.client.send(&mut buf) {
            self.server.recv(net::now(), &mut buf[..len], self.outside, addr(SERVER));
        }
    }

    /// Loses what the client has to send: acknowledgements.
    fn lose(&mut self) {
        while self.client.send(&mut [0; 1500]).is_ok() {}
    }

    /// A turn of the server. What it sends reaches the client, or is lost. Says how many packets there were.
    fn down(&mut self, arrives: bool) -> usize {
        let (client, mut count) = (&mut self.client, 0);
        let mut io = Wire::new(addr(SERVER), |_, packet: &[u8]| {
            count += 1;
            if arrives {
                let info = quiche::RecvInfo { from: addr(SERVER), to: addr(CLIENT) };
                let _ = client.recv(&mut packet.to_vec(), info);
            }
        });
        turn(net::now(), &mut io, &mut self.server, &mut self.app).expect("no socket that fails");
        count
    }

    /// Lets time pass until the server has sent something.
    fn wait(&mut self) {
        let began = net::now();
        while self.down(true) == 0 {
            assert!(elapsed(began) < SOON, "{}", self.server.path_state());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            self.up();
            self.down(true);
            std::thread::sleep(Duration::from_micros(300));
        }
    }
}

fn silence_after(rebinding: bool) {
    let server = Endpoint::server(server_config(), net::now(), net::wall_clock()).expect("an endpoint");
    let app = App::new(demo::router(None).expect("routes"), Vec::new(), || {});
    let scid = quiche::ConnectionId::from_vec(vec![5; 8]);
    let mut config = client_config();
    config.set_active_connection_id_limit(8);
    let client = quiche::connect(Some("localhost"), &scid, addr(CLIENT), addr(SERVER), &mut config);
    let mut sim = Silent { server, app, client: client.expect("a client"), outside: addr(CLIENT) };
    sim.settle();
    let mut h3 = h3::Connection::with_transport(&mut sim.client, &h3::Config::new().expect("a configuration"));
    let h3 = h3.as_mut().expect("HTTP/3");
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/api/echo")];
    let list: Vec<_> = head.iter().map(|(n, v)| h3::Header::new(n.as_bytes(), v.as_bytes())).collect();
    let stream = h3.send_request(&mut sim.client, &list, false).expect("a request");
    if rebinding {
        sim.outside.set_port(10_001);
    }
    sim.settle();
    assert_eq!(sim.server.stats().migrations, u64::from(rebinding));
    assert_eq!(sim.client.available_dcids(), 3);
    // The next id, with data, is lost.
    sim.client.retire_dcid(0).expect("a retired id");
    assert_eq!(h3.send_body(&mut sim.client, stream, b"x", false), Ok(1));
    sim.up();
    assert!(sim.down(false) > 0);
    // It comes again, and is not acknowledged. The client uses up all others.
    sim.wait();
    sim.lose();
    for id in 1..=4 {
        sim.client.retire_dcid(id).expect("a retired id");
        sim.up();
        sim.down(true);
        sim.lose();
    }
    let began = net::now();
    while sim.client.peer_error().is_none() {
        assert!(elapsed(began) < SOON, "{}", sim.server.path_state());
        sim.client.send_ack_eliciting().expect("a PING");
        sim.up();
        sim.down(true);
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = sim.client.peer_error().expect("an error");
    assert_eq!((error.is_app, error.error_code), (false, INTERNAL_ERROR));
}

#[test]
fn a_connection_that_cannot_send_any_more_is_closed() {
    silence_after(false);
}

#[test]
fn a_connection_that_cannot_send_any_more_is_closed_after_a_move() {
    silence_after(true);
}
