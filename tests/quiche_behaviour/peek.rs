//! `stream_recv_buf` with a buffer that unwinds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bytes::BufMut;
use bytes::buf::UninitSlice;
use quiche::{Connection, Error, Shutdown};

use crate::pair::{Pair, read};

/// Takes note of what is put into it, and unwinds.
struct Window {
    bytes: [u8; 16],
    put: Option<usize>,
}

#[expect(unsafe_code, reason = "BufMut is an unsafe trait; no uninitialised memory is handed out")]
// SAFETY: the chunk is initialised memory, and `advance_mut` moves nothing.
unsafe impl BufMut for &mut Window {
    fn remaining_mut(&self) -> usize {
        self.bytes.len()
    }

    unsafe fn advance_mut(&mut self, _: usize) {}

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        UninitSlice::new(&mut self.bytes)
    }

    fn put_slice(&mut self, src: &[u8]) {
        self.bytes[..src.len()].copy_from_slice(src);
        self.put = Some(src.len());
        resume_unwind(Box::new(()));
    }
}

enum Peeked {
    /// `put_slice` was called with this, and unwound.
    Unwound(Vec<u8>),
    /// quiche came back without having called it.
    Returned(quiche::Result<(usize, bool)>),
}

fn peek(conn: &mut Connection, stream: u64) -> Peeked {
    let mut window = Window { bytes: [0; 16], put: None };
    match catch_unwind(AssertUnwindSafe(|| conn.stream_recv_buf(stream, &mut window))) {
        Ok(returned) => Peeked::Returned(returned),
        Err(_) => Peeked::Unwound(window.bytes[..window.put.unwrap()].to_vec()),
    }
}

#[test]
fn a_put_slice_that_unwinds_leaves_bytes_readability_and_flow_control_as_they_were() {
    // transport/peek.rs; quiche issue 1114.
    const WINDOW: u64 = 100;
    let mut pair = Pair::with(|_| {}, |server| server.set_initial_max_stream_data_bidi_remote(WINDOW));
    let data: Vec<u8> = (0..100).collect();
    pair.client_sends(0, &data, false);
    for _ in 0..20 {
        assert!(matches!(peek(&mut pair.server, 0), Peeked::Unwound(bytes) if bytes == data[..16]));
    }
    assert!(pair.server.stream_readable(0));
    assert_eq!(pair.server.readable().collect::<Vec<_>>(), [0]);
    assert_eq!(pair.server.stream_readable_len(0, 1000), 100);
    pair.pass();
    assert_eq!(pair.client.stream_capacity(0), Ok(0), "nothing counts as read");
    assert_eq!(read(&mut pair.server, 0), (data, false));
    pair.pass();
    assert_eq!(pair.client.stream_capacity(0), Ok(100));
}

#[test]
fn a_peek_at_a_lone_fin_calls_put_slice_with_nothing_and_leaves_the_fin() {
    // transport/peek.rs: the guard `stream_readable_len > 0` is not needed for a FIN, only for a reset.
    let mut pair = Pair::new();
    pair.client_sends(2, b"abc", false);
    assert_eq!(read(&mut pair.server, 2), (b"abc".to_vec(), false));
    pair.client_sends(2, b"", true);
    assert_eq!(pair.server.stream_readable_len(2, 1), 0);
    assert!(matches!(peek(&mut pair.server, 2), Peeked::Unwound(bytes) if bytes.is_empty()));
    assert!(pair.server.stream_readable(2));
    assert_eq!(read(&mut pair.server, 2), (Vec::new(), true));
}

#[test]
fn a_peek_at_a_reset_takes_the_reset_off_the_stream() {
    // transport/peek.rs
    let mut pair = Pair::new();
    pair.client_sends(0, b"abc", false);
    pair.client.stream_shutdown(0, Shutdown::Write, 7).unwrap();
    pair.pass();
    assert!(pair.server.stream_readable(0));
    assert!(matches!(peek(&mut pair.server, 0), Peeked::Returned(Err(Error::StreamReset(7)))));
    assert!(!pair.server.stream_readable(0));
    assert_eq!(pair.server.stream_recv(0, &mut [0; 10]), Err(Error::Done));
}
