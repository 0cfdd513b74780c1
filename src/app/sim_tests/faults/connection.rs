//! A connection's first bytes: data sent to an address before it is validated.

use super::*;

/// Bytes that the server sends to a client that is silent after its first flight, and the size of that flight.
fn amplification() -> (usize, usize) {
    const HANDSHAKE: Duration = Duration::from_millis(7500);
    /// The server is silent for longer than that afterwards.
    const REST: Duration = Duration::from_secs(3);
    let server = move |config: &mut ServerConfig| config.transport.handshake_timeout = HANDSHAKE;
    let client = |config: &mut quiche::Config| config.set_max_send_udp_payload_size(1200);
    let mut sim = Sim::new(Options { server: Box::new(server), client: Box::new(client), ..Options::default() });
    // The client's hello needs two packets, because of its key share for X25519MLKEM768.
    sim.client_turn();
    let mut received = 0;
    for mut packet in std::mem::take(&mut sim.to_server) {
        assert_eq!(packet.len(), 1200);
        received += packet.len();
        sim.server.recv(net::now(), &mut packet, addr(CLIENT), addr(SERVER));
    }
    let began = net::now();
    let mut sent = 0;
    while elapsed(began) < HANDSHAKE + REST && sim.server.connection_count() > 0 {
        sim.server_turn();
        sent += std::mem::take(&mut sim.to_client).iter().map(Vec::len).sum::<usize>();
        std::thread::sleep(Duration::from_millis(5));
    }
    (sent, received)
}

#[test]
fn an_unproven_address_is_sent_at_most_three_times_what_came() {
    // K2
    let (sent, received) = amplification();
    assert!(sent > 0 && sent <= 3 * received, "{sent} bytes for {received}");
}

#[test]
fn without_a_ticket_key_a_session_is_resumed_after_a_reload() {
    // K14
    let mut sim = Sim::connected(Options::default());
    sim.run_until("a ticket", |sim| sim.client.session().is_some());
    let ticket = sim.client.session().expect("a ticket").to_vec();
    sim.server.reload().expect("the files are there");
    let scid = quiche::ConnectionId::from_ref(&[9; 16]);
    let again = quiche::connect(Some("localhost"), &scid, addr(CLIENT), addr(SERVER), &mut client_config());
    sim.client = again.expect("a client");
    sim.client.set_session(&ticket).expect("a ticket");
    sim.h3 = None;
    sim.run_until("the handshake", |sim| sim.client.is_established());
    assert!(sim.client.is_resumed());
}
