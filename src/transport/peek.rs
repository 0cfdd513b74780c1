//! Peeks at the first bytes of a stream without consuming them.
//!
//! quiche cannot do this, and quiche::h3 reads every stream it sees, so a stream of a WebTransport session would lose
//! its first bytes to it. `stream_recv_buf` hands each chunk to `BufMut::put_slice` *before* it changes the stream; a
//! `put_slice` that copies and then unwinds is therefore a peek. `resume_unwind` runs no panic hook.
//! `tests/quiche_behaviour` fails if quiche, which is pinned, ever changes that order; once quiche can peek (quiche
//! issue 1114) this file can go.
//!
//! Unwinding costs as much as a third of a small request, so that what [`decrypted`](super::decrypted) shows comes first.

/// Maximum bytes of a peek: a signal and a session id, each in its longest form.
pub(crate) const PEEK: usize = 16;

/// The first bytes of the next chunk of a stream; fewer than [`PEEK`] when the chunk is shorter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peeked {
    bytes: [u8; PEEK],
    len: usize,
}

impl Peeked {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(all(feature = "webtransport", panic = "abort"))]
compile_error!("the feature `webtransport` needs unwinding: panic = \"abort\" cannot be used with it");

#[cfg(feature = "webtransport")]
mod unwinding {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use bytes::BufMut;
    use bytes::buf::UninitSlice;

    use super::super::buf::Quic;
    use super::{PEEK, Peeked};

    /// The payload thrown to leave quiche's loop.
    struct Seen;

    struct Window<'a>(&'a mut Peeked);

    #[expect(unsafe_code, reason = "BufMut is an unsafe trait; no uninitialised memory is handed out")]
    // SAFETY: the chunk is initialised memory of `PEEK` bytes, and `advance_mut` moves nothing.
    unsafe impl BufMut for Window<'_> {
        fn remaining_mut(&self) -> usize {
            PEEK
        }

        unsafe fn advance_mut(&mut self, _: usize) {}

        fn chunk_mut(&mut self) -> &mut UninitSlice {
            UninitSlice::new(&mut self.0.bytes)
        }

        fn put_slice(&mut self, src: &[u8]) {
            let len = src.len().min(PEEK);
            self.0.bytes[..len].copy_from_slice(&src[..len]);
            self.0.len = len;
            resume_unwind(Box::new(Seen));
        }
    }

    #[cfg(test)]
    thread_local! {
        /// Peeks that had something to see.
        pub(in crate::transport) static COUNT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    /// Peeks at the next chunk of a stream. `Ok(None)` if there is none, `Err(())` if quiche consumed it,
    /// which leaves the connection in an unknown state.
    pub(in crate::transport) fn peek(quic: &mut Quic, stream: u64) -> Result<Option<Peeked>, ()> {
        // Without data the call would consume an empty FIN or a reset.
        let before = quic.stream_readable_len(stream, PEEK);
        if before == 0 {
            return Ok(None);
        }
        #[cfg(test)]
        COUNT.set(COUNT.get() + 1);
        let mut peeked = Peeked::default();
        let window = Window(&mut peeked);
        match catch_unwind(AssertUnwindSafe(|| quic.stream_recv_buf(stream, window))) {
            Err(payload) if payload.is::<Seen>() => {}
            Err(payload) => resume_unwind(payload),
            Ok(_) => return Err(()),
        }
        match quic.stream_readable_len(stream, PEEK) == before {
            true => Ok(Some(peeked)),
            false => Err(()),
        }
    }
}

#[cfg(feature = "webtransport")]
pub(super) use unwinding::peek;

/// Peeks of this thread so far.
#[cfg(all(test, feature = "webtransport"))]
pub(crate) fn count() -> usize {
    unwinding::COUNT.get()
}

/// Without the feature no stream is peeked at.
#[cfg(not(feature = "webtransport"))]
pub(super) fn peek(_: &mut super::buf::Quic, _: u64) -> Result<Option<Peeked>, ()> {
    Ok(None)
}
