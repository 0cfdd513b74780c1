//! What quiche 0.30 lacks; `milestones/m09_interop_performance/README.md` says what that costs.

use quiche::{Error, RecvInfo, SendInfo, Shutdown, TransportParams};

use crate::pair::{Pair, addr, flight, read};

#[test]
fn what_passes_with_a_packet_says_nothing_of_ecn() {
    // No workaround. A field for the mark would fail to compile here.
    let mut pair = Pair::new();
    let mut bytes = [0; 1500];
    pair.client.stream_send(0, b"abc", true).unwrap();
    let (len, SendInfo { from, to, at: _ }) = pair.client.send(&mut bytes).unwrap();
    let RecvInfo { from, to } = RecvInfo { from, to };
    assert_eq!((from, to), (addr(1000), addr(4433)));
    assert_eq!(pair.server.recv(&mut bytes[..len], RecvInfo { from, to }), Ok(len));
}

#[test]
fn a_reset_takes_back_what_was_written_before_it() {
    // No workaround: RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset) would deliver the first bytes of a session's
    // stream, which say whose it is.
    let mut pair = Pair::new();
    pair.client.stream_send(2, b"header", false).unwrap();
    pair.client.stream_shutdown(2, Shutdown::Write, 7).unwrap();
    pair.pass();
    assert_eq!(pair.server.stream_recv(2, &mut [0; 10]), Err(Error::StreamReset(7)));
}

#[test]
fn there_is_no_transport_parameter_for_reset_stream_at() {
    // No workaround. A field for it would fail to compile here.
    let pair = Pair::new();
    let TransportParams {
        original_destination_connection_id: _,
        max_idle_timeout: _,
        stateless_reset_token: _,
        max_udp_payload_size: _,
        initial_max_data: _,
        initial_max_stream_data_bidi_local: _,
        initial_max_stream_data_bidi_remote: _,
        initial_max_stream_data_uni: _,
        initial_max_streams_bidi: _,
        initial_max_streams_uni: _,
        ack_delay_exponent: _,
        max_ack_delay: _,
        disable_active_migration: _,
        active_conn_id_limit: _,
        initial_source_connection_id: _,
        retry_source_connection_id: _,
        max_datagram_frame_size,
        unknown_params: _,
    } = pair.client.peer_transport_params().unwrap();
    assert!(max_datagram_frame_size.is_some(), "those of an extension that quiche has");
}

#[test]
fn any_number_of_gaps_in_a_stream_is_kept() {
    // transport/load.rs
    const PIECES: usize = 2000;
    // Nothing is acknowledged meanwhile.
    let mut pair = Pair::with(|client| client.set_initial_congestion_window_packets(2 * PIECES), |_| {});
    for n in 0..PIECES {
        pair.client.stream_send(2, &[n as u8], n + 1 == PIECES).unwrap();
        let packets = flight(&mut pair.client);
        assert_eq!(packets.len(), 1);
        if n % 2 == 1 {
            pair.server_takes(packets);
        }
    }
    assert!(!pair.server.stream_readable(2), "the first byte is missing");
    // What is missing is sent again when the rest is acknowledged, and no piece was dropped.
    pair.pass();
    let sent: Vec<u8> = (0..PIECES).map(|n| n as u8).collect();
    assert!(read(&mut pair.server, 2) == (sent, true));
}
