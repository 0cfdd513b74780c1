//! An attacker who is not on the path, but faster: it sends copies of a client's packets from its own address (RFC 9000
//! section 9.3.3).

use super::*;

const ATTACKER: &str = "203.0.113.7:6666";

/// The lengths of packets that the server sent, from the first one to the attacker's address on.
#[derive(Default)]
struct Sent {
    to_attacker: Vec<usize>,
    to_client: Vec<usize>,
}

/// Passes packets once. While the attacker is there, the server gets its copies first, and it passes on what it gets.
fn exchange(sim: &mut Sim, with_attacker: bool, sent: &mut Sent) {
    sim.client_turn();
    for packet in std::mem::take(&mut sim.to_server) {
        if with_attacker {
            sim.server.recv(net::now(), &mut packet.clone(), addr(ATTACKER), addr(SERVER));
        }
        sim.server.recv(net::now(), &mut packet.clone(), addr(CLIENT), addr(SERVER));
    }
    let Sim { server, app, client, .. } = sim;
    let mut io = Wire::new(addr(SERVER), |to, packet: &[u8]| {
        let is_for_client = to == addr(CLIENT);
        match is_for_client {
            true if sent.to_attacker.is_empty() => {}
            true => sent.to_client.push(packet.len()),
            false => sent.to_attacker.push(packet.len()),
        }
        if is_for_client || with_attacker {
            let info = quiche::RecvInfo { from: addr(SERVER), to: addr(CLIENT) };
            // Copies are rejected.
            let _ = client.recv(&mut packet.to_vec(), info);
        }
    });
    turn(net::now(), &mut io, server, app).expect("no socket that fails");
    sim.sleep();
}

#[test]
fn the_address_that_a_client_seems_to_have_left_is_probed_and_the_connection_returns_to_it() {
    // K17
    const SIZE: usize = 2_000_000;
    let mut sim = Sim::connected(Options::default());
    for n in 0..3 {
        let id = quiche::ConnectionId::from_vec(vec![100 + n; 16]);
        sim.client.new_scid(&id, n.into(), false).expect("a spare id");
    }
    let id = sim.get(&format!("/stream/{SIZE}?checksum=off"));
    let began = net::now();
    let mut sent = Sent::default();
    while sim.server.stats().migrations == 0 {
        assert!(elapsed(began) < SOON, "the attacker's address is not taken");
        exchange(&mut sim, true, &mut sent);
    }
    let before = sim.answers[&id].body.len();
    assert!(before < SIZE / 2, "{before} bytes");
    // A first byte, an id, a packet number of two bytes, PATH_CHALLENGE and a tag; its answer comes in a copy, too.
    const PROBE: usize = 1 + 16 + 2 + 9 + 16;
    assert!(sent.to_client.iter().any(|len| len.abs_diff(PROBE) <= 1), "to the client: {:?}", sent.to_client);
    // The attacker leaves. A client that waits sends a PING after some time.
    sim.client.send_ack_eliciting().expect("a PING");
    while !sim.answers[&id].is_over() {
        assert!(elapsed(began) < TIMEOUT, "{} bytes", sim.answers[&id].body.len());
        exchange(&mut sim, false, &mut sent);
    }
    assert_eq!((sim.answers[&id].body.len(), sim.server.connection_count()), (SIZE, 1));
}
