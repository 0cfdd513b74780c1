//! A solution of milestone 5's exercise: a stream handler that answers in upper case.

use bytes::{Bytes, BytesMut};
use mio_quiche::{Progress, Recv, Result, Stream, StreamHandler};

/// Answers with the request's body in upper case.
#[derive(Default)]
pub(crate) struct Upper {
    chunk: Bytes,
}

impl StreamHandler for Upper {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        loop {
            s.write_bytes(&mut self.chunk)?;
            if !self.chunk.is_empty() {
                return Ok(Progress::Pending);
            }
            match s.read_chunk(64 * 1024)? {
                Recv::Data(bytes) => {
                    let mut chunk = BytesMut::from(bytes);
                    chunk.make_ascii_uppercase();
                    self.chunk = chunk.freeze();
                }
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => {
                    s.finish()?;
                    return Ok(Progress::Done);
                }
            }
        }
    }
}
