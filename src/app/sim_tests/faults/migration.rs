//! A client whose address changes again and again (RFC 9000 section 9), as behind a NAT.

use std::collections::BTreeMap;

use super::*;

const CHANGES: usize = 20;
const BYTES_PER_CHANGE: usize = 150_000;
/// A client that neither hears nor sends anything for so long sends a PING.
const QUIET: Duration = Duration::from_millis(100);

/// A NAT that gives the client other ports again and again.
#[derive(Default)]
struct Nat {
    /// Ports in a row, all before the server has validated the first.
    burst: u16,
    /// The client's answers from each port of such a row, but the last, are lost.
    loses_answers: bool,
    /// Packets to a port that the client no longer has arrive; otherwise they are lost.
    keeps_ports: bool,
    /// Before each change somebody who saw the connection id sends datagrams from elsewhere.
    forged: u8,
}

/// A download by quiche's client behind a NAT, with connection ids of `cid_len` bytes.
fn download_behind_a_nat(cid_len: usize, nat: &Nat) {
    let mut server = Endpoint::server(server_config(), net::now(), net::wall_clock()).expect("an endpoint");
    let mut app = App::new(demo::router(None).expect("routes"), Vec::new(), || {});
    let scid = quiche::ConnectionId::from_vec(vec![5; cid_len]);
    let mut config = client_config();
    let client = quiche::connect(Some("localhost"), &scid, addr(CLIENT), addr(SERVER), &mut config);
    let mut client = client.expect("a client");
    let mut http: Option<h3::Connection> = None;
    let size = CHANGES * BYTES_PER_CHANGE + 500_000;
    let (mut body, mut finished, mut changes) = (Vec::new(), false, 0);
    let mut port = 10_000;
    let mut outside = addr(CLIENT);
    let (began, mut last_moved) = (net::now(), net::now());
    let mut buf = vec![0; 65_507];
    let (mut arrived, mut is_noticed) = (true, true);
    // The last bytes may have been sent before the last change.
    while !finished || changes < CHANGES || !is_noticed {
        let state = (changes, body.len(), server.connection_count());
        assert!(elapsed(began) < TIMEOUT, "changes, bytes of {size}, connections: {state:?}; {}", server.path_state());
        assert!(!client.is_closed(), "closed by {:?}; changes, bytes, connections: {state:?}", client.peer_error());
        if client.timeout() == Some(Duration::ZERO) {
            client.on_timeout();
        }
        if http.is_none() && client.is_established() {
            let config = h3::Config::new().expect("a configuration");
            let h3 = http.insert(h3::Connection::with_transport(&mut client, &config).expect("HTTP/3"));
            let path = format!("/stream/{size}?checksum=off");
            let head =
                [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path.as_str())];
            let list: Vec<_> = head.iter().map(|(n, v)| h3::Header::new(n.as_bytes(), v.as_bytes())).collect();
            h3.send_request(&mut client, &list, true).expect("a request");
            // Spare ids, as clients with connection ids issue them.
            for n in 0..if cid_len > 0 { client.scids_left() } else { 0 } {
                let id = quiche::ConnectionId::from_vec(vec![100 + n as u8; cid_len]);
                client.new_scid(&id, n as u128, false).expect("a spare id");
            }
        }
        if let Some(h3) = &mut http {
            while let Ok((id, event)) = h3.poll(&mut client) {
                finished |= event == h3::Event::Finished;
                while let Ok(n) = h3.recv_body(&mut client, id, &mut buf) {
                    body.extend_from_slice(&buf[..n]);
                }
            }
        }
        // Every change by itself is a migration.
        is_noticed = nat.keeps_ports || arrived && (nat.burst > 1 || server.stats().migrations >= changes as u64);
        if changes < CHANGES && is_noticed && body.len() >= (changes + 1) * BYTES_PER_CHANGE {
            changes += 1;
            (arrived, is_noticed) = (false, false);
            for n in 0..nat.forged {
                client.send_ack_eliciting().expect("a PING");
                let (len, _) = client.send(&mut buf).expect("a packet");
                let mut forged = buf[..len].to_vec();
                forged[len - 1] ^= 1;
                let stranger = SocketAddr::from(([203, 0, 113, n], port));
                server.recv(net::now(), &mut forged, stranger, addr(SERVER));
                assert!(!server.path_state().contains("203.0.113."), "{}", server.path_state());
                server.recv(net::now(), &mut buf[..len], outside, addr(SERVER));
            }
            for nth in 1..=nat.burst {
                port += 1;
                outside.set_port(port);
                // The server learns the port from the next packet.
                client.send_ack_eliciting().expect("a PING");
                let (n, _) = client.send(&mut buf).expect("a packet");
                server.recv(net::now(), &mut buf[..n], outside, addr(SERVER));
                if nat.loses_answers && nth < nat.burst {
                    let mut io = Wire::new(addr(SERVER), |_, packet: &[u8]| {
                        let info = quiche::RecvInfo { from: addr(SERVER), to: addr(CLIENT) };
                        let _ = client.recv(&mut packet.to_vec(), info);
                    });
                    turn(net::now(), &mut io, &mut server, &mut app).expect("no socket that fails");
                    while client.send(&mut buf).is_ok() {}
                }
            }
        }
        if nat.burst > 1 && last_moved.elapsed() > QUIET {
            // A path may have failed that the client was at.
            last_moved = net::now();
            client.send_ack_eliciting().expect("a PING");
        }
        let mut moved = false;
        while let Ok((n, _)) = client.send(&mut buf) {
            moved = true;
            server.recv(net::now(), &mut buf[..n], outside, addr(SERVER));
        }
        let mut io = Wire::new(addr(SERVER), |to, packet: &[u8]| {
            moved = true;
            arrived |= to == outside;
            if to == outside || nat.keeps_ports {
                // Rejected packets show in its responses.
                let info = quiche::RecvInfo { from: addr(SERVER), to: addr(CLIENT) };
                let _ = client.recv(&mut packet.to_vec(), info);
            }
        });
        turn(net::now(), &mut io, &mut server, &mut app).expect("no socket that fails");
        if moved {
            last_moved = net::now();
        } else {
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    assert_eq!(body.len(), size);
    assert!(body == payload(size), "the bytes are others");
    if nat.burst == 1 {
        // A lost challenge can lead back to an address before, and from there to the new one once more.
        assert!(server.stats().migrations >= CHANGES as u64);
    }
}

#[test]
fn a_download_goes_on_through_twenty_changes_of_the_clients_port() {
    // K1
    download_behind_a_nat(8, &Nat { burst: 1, ..Nat::default() });
}

#[test]
fn a_download_goes_on_through_twenty_changes_of_the_port_of_a_client_with_an_empty_id() {
    // K1
    download_behind_a_nat(0, &Nat { burst: 1, ..Nat::default() });
}

#[test]
fn a_download_goes_on_when_the_clients_port_changes_faster_than_it_is_validated() {
    // K1
    for cid_len in [0, 8] {
        println!("ids of {cid_len} bytes");
        download_behind_a_nat(cid_len, &Nat { burst: 2, keeps_ports: true, ..Nat::default() });
    }
}

#[test]
fn a_download_goes_on_when_challenges_are_acknowledged_but_their_responses_are_lost() {
    // K1
    for cid_len in [0, 8] {
        println!("ids of {cid_len} bytes");
        download_behind_a_nat(cid_len, &Nat { burst: 2, keeps_ports: true, loses_answers: true, ..Nat::default() });
    }
}

#[test]
fn forged_packets_from_elsewhere_leave_no_trace() {
    for cid_len in [0, 8] {
        download_behind_a_nat(cid_len, &Nat { burst: 1, forged: 10, ..Nat::default() });
    }
}

/// Bytes received from an address, and sent there.
type Traffic = BTreeMap<SocketAddr, (usize, usize)>;

/// In a download, `packets` of the client come as from an address where nobody answers, and that twenty times, which
/// is more than there are paths.
fn traffic_of_silent_addresses(packets: usize) -> Traffic {
    let mut server = Endpoint::server(server_config(), net::now(), net::wall_clock()).expect("an endpoint");
    let mut app = App::new(demo::router(None).expect("routes"), Vec::new(), || {});
    let scid = quiche::ConnectionId::from_ref(&[5; 8]);
    let client = quiche::connect(Some("localhost"), &scid, addr(CLIENT), addr(SERVER), &mut client_config());
    let mut client = client.expect("a client");
    let mut http = None;
    let mut traffic = Traffic::new();
    let mut buf = vec![0; 65_507];
    let (mut began, mut silent) = (net::now(), 0);
    while silent < 20 {
        assert!(!client.is_closed() && server.connection_count() == 1 || http.is_none());
        if client.timeout() == Some(Duration::ZERO) {
            client.on_timeout();
        }
        if http.is_none() && client.is_established() {
            let config = h3::Config::new().expect("a configuration");
            let mut h3 = h3::Connection::with_transport(&mut client, &config).expect("HTTP/3");
            let head = [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "localhost"),
                (":path", "/stream/1000000000"),
            ];
            let list: Vec<_> = head.iter().map(|(n, v)| h3::Header::new(n.as_bytes(), v.as_bytes())).collect();
            h3.send_request(&mut client, &list, true).expect("a request");
            http = Some(h3);
        }
        if let Some(h3) = &mut http {
            while let Ok((id, _)) = h3.poll(&mut client) {
                while h3.recv_body(&mut client, id, &mut buf).is_ok_and(|n| n > 0) {}
            }
            if elapsed(began) > Duration::from_millis(100) {
                (began, silent) = (net::now(), silent + 1);
                let from = SocketAddr::from(([203, 0, 113, 1], 1000 + silent));
                for _ in 0..packets {
                    client.send_ack_eliciting().expect("a PING");
                    let (len, _) = client.send(&mut buf).expect("a packet");
                    traffic.entry(from).or_default().0 += len;
                    server.recv(net::now(), &mut buf[..len], from, addr(SERVER));
                }
            }
        }
        while let Ok((len, _)) = client.send(&mut buf) {
            server.recv(net::now(), &mut buf[..len], addr(CLIENT), addr(SERVER));
        }
        let mut io = Wire::new(addr(SERVER), |to, packet: &[u8]| {
            if to == addr(CLIENT) {
                // Rejected packets show in its responses.
                let _ = client.recv(&mut packet.to_vec(), quiche::RecvInfo { from: addr(SERVER), to });
            } else {
                traffic.entry(to).or_default().1 += packet.len();
            }
        });
        turn(net::now(), &mut io, &mut server, &mut app).expect("no socket that fails");
        std::thread::sleep(Duration::from_micros(300));
    }
    traffic
}

#[test]
fn a_silent_address_that_a_client_seems_to_move_to_is_sent_at_most_three_times_what_came() {
    for packets in [1, 2, 5] {
        let traffic = traffic_of_silent_addresses(packets);
        println!("{packets}: {traffic:?}");
        assert_eq!(traffic.len(), 20);
        assert!(traffic.values().all(|(received, sent)| *sent <= 3 * received), "{traffic:?}");
        assert!(traffic.values().filter(|(_, sent)| *sent > 0).count() > 10, "{traffic:?}");
    }
}
