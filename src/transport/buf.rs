//! The buffers that quiche keeps until the peer has acknowledged them.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};

/// Bytes that fit into a buffer without an allocation, such as frame headers and short bodies: as many as leave it no
/// larger. quiche keeps room for four buffers on every stream that was written to.
pub(crate) const INLINE: usize = 23;

/// Bytes to send: a few inline, or any number shared.
#[derive(Clone, Debug)]
pub(crate) struct Buf {
    data: Data,
    held: Option<Arc<()>>,
}

#[derive(Clone, Debug)]
enum Data {
    Inline { len: u8, bytes: [u8; INLINE] },
    Shared(Bytes),
}

/// Tracks whether quiche still holds bytes of a stream, as it does until they are acknowledged: every [`Buf`] written
/// with it keeps a clone.
#[derive(Debug, Default)]
pub(crate) struct Unacked {
    held: Arc<()>,
    /// The packets that the connection had sent when the last bytes were written.
    packets: usize,
}

impl Unacked {
    /// Bytes were written, after so many packets of the connection.
    pub(super) fn on_written(&mut self, packets: usize) {
        self.packets = packets;
    }

    /// Whether everything written with it is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        Arc::strong_count(&self.held) == 1
    }

    /// Whether the last bytes are in no packet yet, now that the connection has sent so many.
    pub(super) fn is_unsent(&self, packets: usize) -> bool {
        !self.is_empty() && self.packets == packets
    }
}

impl Buf {
    /// Copies a short slice inline, a longer one into new memory.
    pub(crate) fn copy(slice: &[u8]) -> Self {
        let data = match Data::inline(slice) {
            Some(data) => data,
            None => Data::Shared(Bytes::copy_from_slice(slice)),
        };
        Buf { data, held: None }
    }

    /// Shares `bytes`, or copies them inline when they are short.
    pub(crate) fn share(bytes: &Bytes) -> Self {
        // Room for the header of a DATA frame, which then needs no buffer of its own.
        const HEADER: usize = 4;
        let data = match Data::inline(bytes).filter(|_| bytes.len() <= INLINE - HEADER) {
            Some(data) => data,
            None => Data::Shared(bytes.clone()),
        };
        Buf { data, held: None }
    }

    /// Lets `unacked` track when the bytes are acknowledged.
    pub(crate) fn tracked(self, unacked: &Unacked) -> Self {
        Buf { held: Some(Arc::clone(&unacked.held)), ..self }
    }
}

impl Data {
    fn inline(slice: &[u8]) -> Option<Self> {
        let mut bytes = [0; INLINE];
        bytes.get_mut(..slice.len())?.copy_from_slice(slice);
        Some(Data::Inline { len: slice.len() as u8, bytes })
    }
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        match &self.data {
            Data::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Data::Shared(bytes) => bytes,
        }
    }
}

impl quiche::BufSplit for Buf {
    fn split_at(&mut self, at: usize) -> Self {
        let data = match &mut self.data {
            Data::Shared(bytes) => Data::Shared(bytes.split_off(at)),
            Data::Inline { len, bytes } => {
                let whole = usize::from(std::mem::replace(len, at as u8));
                Data::inline(&bytes[at..whole]).unwrap_or_else(|| Data::Shared(Bytes::new()))
            }
        };
        Buf { data, held: self.held.clone() }
    }

    fn try_add_prefix(&mut self, prefix: &[u8]) -> bool {
        let Data::Inline { len, bytes } = &mut self.data else { return false };
        let (old, new) = (usize::from(*len), usize::from(*len) + prefix.len());
        if new > INLINE {
            return false;
        }
        bytes.copy_within(..old, prefix.len());
        bytes[..prefix.len()].copy_from_slice(prefix);
        *len = new as u8;
        true
    }
}

/// Makes the buffers of a quiche connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers;

impl quiche::BufFactory for Buffers {
    type Buf = Buf;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(buf: &[u8]) -> Buf {
        Buf::copy(buf)
    }

    fn dgram_buf_from_slice(buf: &[u8]) -> Vec<u8> {
        buf.to_vec()
    }
}

/// quiche's connection with these buffers.
pub(super) type Quic = quiche::Connection<Buffers>;

/// Removes the first `n` bytes, and frees the memory when none are left.
pub(super) fn take_front(data: &mut Bytes, n: usize) {
    match n == data.len() {
        true => *data = Bytes::new(),
        false => data.advance(n),
    }
}

#[cfg(test)]
#[path = "buf_property_tests.rs"]
mod property_tests;

#[cfg(test)]
mod tests {
    use quiche::BufSplit;

    use super::*;

    #[test]
    fn short_buffers_are_inline_and_take_a_prefix() {
        let mut buf = Buf::share(&Bytes::from_static(b"hello"));
        assert!(matches!(buf.data, Data::Inline { .. }));
        assert!(buf.try_add_prefix(&[0, 5]));
        assert_eq!(buf.as_ref(), b"\0\x05hello");
        let rest = buf.split_at(3);
        assert_eq!((buf.as_ref(), rest.as_ref()), (&b"\0\x05h"[..], &b"ello"[..]));
        let full = vec![7; INLINE];
        let mut buf = Buf::copy(&full);
        assert!(!buf.try_add_prefix(&[1]), "no room");
        assert_eq!(buf.as_ref(), full);
    }

    #[test]
    fn long_buffers_are_shared_and_split_without_a_copy() {
        let bytes = Bytes::from(vec![9; 1000]);
        let mut buf = Buf::share(&bytes);
        assert!(!buf.try_add_prefix(&[1]));
        let rest = buf.split_at(600);
        assert_eq!((buf.as_ref().len(), rest.as_ref().len()), (600, 400));
        assert_eq!(rest.as_ref().as_ptr(), bytes[600..].as_ptr());
    }

    #[test]
    fn bytes_count_as_unacknowledged_until_every_part_is_dropped() {
        let unacked = Unacked::default();
        let mut buf = Buf::copy(b"abc").tracked(&unacked);
        let rest = buf.split_at(1);
        assert!(!unacked.is_empty());
        drop(buf);
        assert!(!unacked.is_empty());
        drop(rest);
        assert!(unacked.is_empty());
    }
}
