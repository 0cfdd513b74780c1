//! Files that were compressed when a client asked for them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use http::HeaderValue;

use super::coding::Coding;
use super::entry::FileEntry;

/// The results, as many bytes as are allowed.
#[derive(Debug, Default)]
pub(super) struct Compressed {
    forms: HashMap<(OsString, Coding), Form>,
    /// Of all forms.
    len: u64,
    /// Counts lookups; the order of use for eviction.
    clock: u64,
}

#[derive(Debug)]
struct Form {
    /// The tag of the file that it is a form of.
    of: HeaderValue,
    /// `None` if the file does not become shorter.
    entry: Option<Arc<FileEntry>>,
    used: u64,
}

impl Form {
    /// The name and the bookkeeping count, too, so that many short forms are bounded.
    fn cost(&self, name: &OsStr) -> u64 {
        self.entry.as_ref().map_or(0, |entry| entry.len()) + name.len() as u64 + 256
    }
}

impl Compressed {
    /// The form of a file, if it is known; `Some(None)` if there is none that is shorter.
    pub(super) fn get(&mut self, name: &OsStr, file: &FileEntry, coding: Coding) -> Option<Option<Arc<FileEntry>>> {
        self.clock += 1;
        let form = self.forms.get_mut(&(name.to_owned(), coding)).filter(|form| form.of == *file.etag())?;
        form.used = self.clock;
        Some(form.entry.clone())
    }

    /// Remembers a form, and forgets the least recently used ones beyond `max` bytes.
    pub(super) fn insert(
        &mut self,
        name: &OsStr,
        file: &FileEntry,
        coding: Coding,
        entry: Option<Arc<FileEntry>>,
        max: u64,
    ) {
        self.clock += 1;
        let form = Form { of: file.etag().clone(), entry, used: self.clock };
        self.remove(&(name.to_owned(), coding));
        self.len += form.cost(name);
        self.forms.insert((name.to_owned(), coding), form);
        while self.len > max {
            let oldest = self.forms.iter().min_by_key(|(_, form)| form.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &(OsString, Coding)) {
        if let Some(form) = self.forms.remove(key) {
            self.len -= form.cost(&key.0);
        }
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.len
    }
}
