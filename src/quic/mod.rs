//! What a QUIC endpoint needs around quiche: connection ids, Retry tokens, the connection table and timers.

pub(crate) mod cid;
pub(crate) mod table;
pub(crate) mod timers;
pub(crate) mod token;

use bytes::Bytes;

/// Lets quiche hold response bodies as reference-counted [`Bytes`], so that sending one copies nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers;

impl quiche::BufFactory for Buffers {
    type Buf = Bytes;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(buf: &[u8]) -> Bytes {
        Bytes::copy_from_slice(buf)
    }

    fn dgram_buf_from_slice(buf: &[u8]) -> Vec<u8> {
        buf.to_vec()
    }
}

/// quiche's connection with our buffers.
pub(crate) type Connection = quiche::Connection<Buffers>;

/// Whether quiche has dropped a stream, as it does once both directions are over and acknowledged.
pub(crate) fn is_collected(quic: &mut Connection, stream: u64) -> bool {
    matches!(quic.stream_capacity(stream), Err(quiche::Error::InvalidStreamState(_)))
}
