//! Stateless resets (RFC 9000 section 10.3).

use std::net::SocketAddr;

use quiche::{Config, ConnectionId, Error, RecvInfo};

use crate::pair::{Pair, addr, client_addr, flight, server_addr};

const FIRST_TOKEN: u128 = 0x1111;
const SECOND_TOKEN: u128 = 0x2222;

/// Both of the server's connection ids have a reset token.
fn pair() -> Pair {
    let limited = |config: &mut Config| config.set_active_connection_id_limit(3);
    let with_token = |config: &mut Config| {
        config.set_active_connection_id_limit(3);
        config.set_stateless_reset_token(Some(FIRST_TOKEN));
    };
    let mut pair = Pair::with(limited, with_token);
    pair.server.new_scid(&ConnectionId::from_ref(&[20; 16]), SECOND_TOKEN, false).unwrap();
    for n in 0..2 {
        pair.client.new_scid(&ConnectionId::from_ref(&[10 + n; 16]), n.into(), false).unwrap();
    }
    pair.pass();
    pair
}

/// The client receives a reset with this token. Returns whether it is closed then.
fn reset(pair: &mut Pair, token: u128, to: SocketAddr) -> bool {
    let mut datagram = [&[0x5a; 27][..], &token.to_be_bytes()].concat();
    assert_eq!(pair.client.recv(&mut datagram, RecvInfo { from: server_addr(), to }), Ok(43));
    pair.client.is_closed()
}

#[test]
fn a_reset_ends_a_connection_without_an_error() {
    // transport/reset.rs tells it from the idle timeout.
    let mut pair = pair();
    assert!(!reset(&mut pair, FIRST_TOKEN + 1, client_addr()));
    assert!(reset(&mut pair, FIRST_TOKEN, client_addr()));
    assert!(!pair.client.is_timed_out());
    assert_eq!((pair.client.local_error(), pair.client.peer_error()), (None, None));
}

#[test]
fn the_token_of_a_new_connection_id_frame_resets_nothing() {
    // No cure: quiche does not show these tokens.
    let mut pair = pair();
    pair.client.probe_path(addr(1001), server_addr()).unwrap();
    pair.seen_as = addr(1001);
    pair.pass();
    pair.client.migrate(addr(1001), server_addr()).unwrap();
    pair.pass();
    assert_eq!(pair.client.destination_id(), ConnectionId::from_ref(&[20; 16]));
    assert!(!reset(&mut pair, SECOND_TOKEN, addr(1001)));
}

#[test]
fn the_token_of_an_id_that_was_retired_still_resets_the_connection() {
    // transport/reset.rs; endpoint/accept.rs sends no reset for a retired id.
    let mut pair = pair();
    pair.client.retire_dcid(0).unwrap();
    pair.pass();
    assert_eq!(pair.server.retired_scid_next(), Some(ConnectionId::from_ref(&[2; 16])));
    assert!(reset(&mut pair, FIRST_TOKEN, client_addr()));
}

#[test]
fn transport_parameters_of_more_than_128_bytes_end_the_connection() {
    // transport/reset.rs `TokenRoom`
    let large = |config: &mut Config| {
        config.set_stateless_reset_token(Some(FIRST_TOKEN));
        config.set_max_idle_timeout(1 << 40);
        config.set_initial_max_data(1 << 40);
        config.set_initial_max_stream_data_bidi_local(1 << 40);
        config.set_initial_max_stream_data_bidi_remote(1 << 40);
        config.set_initial_max_stream_data_uni(1 << 40);
        config.set_initial_max_streams_bidi(1 << 40);
        config.set_initial_max_streams_uni(1 << 40);
    };
    let mut pair = Pair::unconnected(|_| {}, large, &[1; 16]);
    let mut packet = flight(&mut pair.client).remove(0);
    let info = RecvInfo { from: client_addr(), to: server_addr() };
    assert_eq!(pair.server.recv(&mut packet.bytes, info), Err(Error::BufferTooShort));
    assert!(pair.server.is_closed());
}
