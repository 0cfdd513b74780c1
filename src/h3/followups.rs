//! Work that stream handles leave to the connection.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use crate::transport::table::StreamHasher;

/// Boxed, as most connections never have any.
#[derive(Debug, Default)]
pub(crate) struct Followups(Option<Box<Held>>);

#[derive(Debug, Default)]
struct Held {
    waiting: HashSet<u64, BuildHasherDefault<StreamHasher>>,
    malformed: u64,
    pending_fins: Vec<u64>,
}

impl Followups {
    fn held(&mut self) -> &mut Held {
        self.0.get_or_insert_default()
    }

    /// A stream waits for credit to write.
    pub(crate) fn wait(&mut self, stream: u64) {
        self.held().waiting.insert(stream);
    }

    /// The stream no longer waits. Returns whether it did.
    pub(crate) fn stop_waiting(&mut self, stream: u64) -> bool {
        self.0.as_mut().is_some_and(|held| held.waiting.remove(&stream))
    }

    /// Streams that wait for credit to write.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|held| held.waiting.iter().copied())
    }

    pub(crate) fn is_waiting(&self, stream: u64) -> bool {
        self.0.as_ref().is_some_and(|held| held.waiting.contains(&stream))
    }

    pub(crate) fn has_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(|held| !held.waiting.is_empty())
    }

    /// A message was found malformed while its body was read.
    pub(crate) fn note_malformed(&mut self) {
        self.held().malformed += 1;
    }

    /// The messages found malformed since the last call.
    pub(crate) fn take_malformed(&mut self) -> u64 {
        self.0.as_mut().map_or(0, |held| std::mem::take(&mut held.malformed))
    }

    /// The end of a session's stream waits until everything before it is acknowledged.
    pub(crate) fn defer_fin(&mut self, stream: u64) {
        self.held().pending_fins.push(stream);
    }

    /// Streams whose end waits.
    pub(crate) fn take_pending_fins(&mut self) -> Vec<u64> {
        self.0.as_mut().map(|held| std::mem::take(&mut held.pending_fins)).unwrap_or_default()
    }
}
