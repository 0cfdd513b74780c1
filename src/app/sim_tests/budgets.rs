//! What one client, or one network, may take from a server.

use super::*;
use crate::config::RetryPolicy;

/// A network other than the honest clients'.
fn attacker(n: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, (n % 250) as u8], 1000 + n))
}

/// A client that sends its first flight, also again with a Retry token, and then nothing more.
fn leave_a_handshake(server: &mut Endpoint, from: SocketAddr) {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&from.port().to_be_bytes());
    let scid = quiche::ConnectionId::from_ref(&id);
    let mut config = client_config();
    let mut client = quiche::connect(Some("localhost"), &scid, from, addr(SERVER), &mut config).expect("a client");
    let mut buf = vec![0; 65_507];
    for _ in 0..2 {
        while let Ok((n, _)) = client.send(&mut buf) {
            server.recv(net::now(), &mut buf[..n], from, addr(SERVER));
        }
        server.drive(net::now());
        while server.poll_event().is_some() {}
        while let Some(transmit) = server.poll_transmit(net::now(), &mut buf, 1) {
            // Of the handshake it hears nothing, or it would go on.
            let is_retry = buf[0] & 0xf0 == 0xf0;
            if transmit.to == from && is_retry {
                let info = quiche::RecvInfo { from: addr(SERVER), to: from };
                client.recv(&mut buf[..transmit.len].to_vec(), info).expect("a Retry packet");
            }
        }
    }
}

#[test]
fn one_network_that_leaves_handshakes_keeps_no_other_client_out() {
    // K3
    let server = |config: &mut ServerConfig| {
        (config.max_handshakes, config.retry_threshold) = (20, 5);
        config.retry = RetryPolicy::Auto;
    };
    let mut sim = Sim::new(Options { server: Box::new(server), ..Options::default() });
    for n in 0..60 {
        leave_a_handshake(&mut sim.server, attacker(n));
    }
    let stats = sim.server.stats();
    assert_eq!((sim.server.handshake_count(), stats.displaced_handshakes), (20, 40), "{stats:?}");
    let began = net::now();
    sim.connect();
    assert!(elapsed(began) < Duration::from_secs(1));
    let id = sim.get("/");
    sim.finish_all();
    assert_eq!(sim.answers[&id].status(), "200");
    assert_eq!(sim.server.stats().displaced_handshakes, 41);
}

#[test]
fn a_client_that_has_not_proven_its_address_displaces_nobody() {
    let server = |config: &mut ServerConfig| (config.max_handshakes, config.retry) = (20, RetryPolicy::Off);
    let mut sim = Sim::new(Options { server: Box::new(server), ..Options::default() });
    for n in 0..30 {
        leave_a_handshake(&mut sim.server, attacker(n));
    }
    let stats = sim.server.stats();
    assert_eq!((sim.server.handshake_count(), stats.displaced_handshakes), (20, 0));
    assert!(stats.ignored_over_limit >= 10, "{stats:?}");
}
