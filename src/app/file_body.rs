//! A part of a file as the body of a response.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::files::FileEntry;
use super::offload::Worker;
use super::stream_handler::{Progress, StreamHandler};
use crate::endpoint::Stream;
use crate::error::{Error, Result};

/// Bytes read from a file per call.
const CHUNK: usize = 64 * 1024;

/// Sends a part of a file. What is not in memory is read by a thread for blocking work.
pub(super) struct FileBody {
    entry: Arc<FileEntry>,
    rest: Range<u64>,
    chunk: Bytes,
    worker: Worker,
    reading: Option<Arc<Reading>>,
}

/// What the thread has read, once it has.
type Reading = Mutex<Option<io::Result<Bytes>>>;

impl FileBody {
    pub(super) fn new(entry: Arc<FileEntry>, rest: Range<u64>, worker: Worker) -> Self {
        FileBody { entry, rest, chunk: Bytes::new(), worker, reading: None }
    }

    /// The next bytes; empty if a thread reads them.
    fn next(&mut self) -> Result<Bytes> {
        let (offset, max) = (self.rest.start, CHUNK.min((self.rest.end - self.rest.start) as usize));
        let chunk = match &self.reading {
            Some(reading) => match reading.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(result) => result?,
                None => return Ok(Bytes::new()),
            },
            None => match self.entry.read_cached(offset, max)? {
                Some(chunk) => chunk,
                None => {
                    self.reading = Some(self.begin(offset, max)?);
                    return Ok(Bytes::new());
                }
            },
        };
        self.reading = None;
        self.rest.start += chunk.len() as u64;
        Ok(chunk)
    }

    fn begin(&self, offset: u64, max: usize) -> Result<Arc<Reading>> {
        let reading = Arc::<Reading>::default();
        let (entry, result) = (Arc::clone(&self.entry), Arc::downgrade(&reading));
        let read = move || {
            // The client may be gone.
            if let Some(reading) = result.upgrade() {
                let read = entry.read_at(offset, max);
                *reading.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
            }
        };
        self.worker.run(read).map_err(Error::handler)?;
        Ok(reading)
    }
}

impl StreamHandler for FileBody {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        loop {
            if self.chunk.is_empty() && !self.rest.is_empty() {
                self.chunk = self.next()?;
                if self.chunk.is_empty() {
                    return Ok(Progress::Pending);
                }
            }
            if self.rest.is_empty() {
                return Ok(match s.finish_with(&mut self.chunk)? {
                    true => Progress::Done,
                    false => Progress::Pending,
                });
            }
            s.write_bytes(&mut self.chunk)?;
            if !self.chunk.is_empty() {
                return Ok(Progress::Pending);
            }
        }
    }
}
