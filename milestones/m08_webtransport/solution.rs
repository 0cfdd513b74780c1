//! A solution of milestone 8's exercise: a note that is too long ends the visit.

use std::collections::HashMap;

use mio_quiche::{Result, Session, SessionEnd, SessionHandler, StreamError, StreamHandler, StreamId};

/// The longest note, in bytes.
const MAX: usize = 4096;

/// A session whose unidirectional streams are notes.
#[derive(Default)]
pub(crate) struct Visit {
    texts: HashMap<StreamId, Vec<u8>>,
}

impl SessionHandler for Visit {
    fn stream(&mut self, _s: &mut Session<'_>, _id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        Ok(None)
    }

    fn ready(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<()> {
        let text = self.texts.entry(id).or_default();
        let Some(mut stream) = s.stream(id) else { return Ok(()) };
        match stream.read_to_end(text, MAX) {
            Ok(false) => return Ok(()),
            Ok(true) => println!("a note of {} bytes", text.len()),
            // This ends the visit.
            Err(StreamError::BodyTooLarge { .. }) => s.close(2, "your note is too long"),
            // Any other error, such as a reset, ends the stream alone.
            Err(error) => {
                self.texts.remove(&id);
                return Err(error.into());
            }
        }
        self.texts.remove(&id);
        s.release(id);
        Ok(())
    }

    fn closed(&mut self, _: StreamId, end: &SessionEnd) {
        println!("left: {end}");
    }
}
