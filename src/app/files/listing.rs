//! What is in a directory.

use std::collections::{BinaryHeap, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use cap_std::fs::Dir;

use super::lookup_error::LookupError;

/// Entries of a listing; a longer one is of no use to a person, and takes memory.
pub(super) const MAX_SHOWN: usize = 2000;
/// Directories whose listings are kept.
const MAX_KEPT: usize = 32;
/// How long a listing is used.
const FRESH: Duration = Duration::from_secs(1);
/// A listing is used for at least this many times as long as it took to make, so that a directory with many entries
/// takes a small part of the time of a thread.
const PATIENCE: u32 = 10;

/// A file or directory in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::app) struct Item {
    pub(super) name: OsString,
    pub(super) is_dir: bool,
    /// Of a file.
    pub(super) len: Option<u64>,
    pub(super) modified: Option<SystemTime>,
}

/// The entries of a directory, first by name.
#[derive(Debug)]
pub(in crate::app) struct Listing {
    /// At most [`MAX_SHOWN`]; directories come first.
    pub(super) items: Vec<Item>,
    /// Entries that could be listed.
    pub(super) total: u64,
}

/// By what a listing is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Key {
    Name,
    Size,
    Date,
}

/// The order of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) struct Order {
    pub(super) key: Key,
    pub(super) descending: bool,
}

impl Order {
    /// By the parameters `sort` (`name`, `size`, `date`) and `order` (`asc`, `desc`) of a query; by name without them.
    pub(in crate::app) fn of(sort: Option<&str>, order: Option<&str>) -> Self {
        let key = match sort {
            Some("size") => Key::Size,
            Some("date") => Key::Date,
            _ => Key::Name,
        };
        Order { key, descending: order == Some("desc") }
    }
}

impl Listing {
    /// Reads a directory. Hidden entries, those that lead outside and those that are neither files nor directories are
    /// left out. Reads it to the end, and keeps no more than is shown.
    pub(super) fn read(dir: &Dir, path: &OsStr, max: usize) -> Result<Self, LookupError> {
        let path = if path.is_empty() { Path::new(".") } else { Path::new(path) };
        // A directory comes before a file.
        let mut first: BinaryHeap<(bool, OsString)> = BinaryHeap::new();
        let mut total = 0;
        for entry in dir.read_dir(path)? {
            let entry = entry?;
            let (name, file_type) = (entry.file_name(), entry.file_type()?);
            let is_shown = file_type.is_dir() || file_type.is_file() || file_type.is_symlink();
            if !is_shown || name.as_bytes().starts_with(b".") {
                continue;
            }
            total += 1;
            let key = (!file_type.is_dir(), name);
            if first.len() < max {
                first.push(key);
            } else if first.peek().is_some_and(|last| key < *last) {
                first.pop();
                first.push(key);
            }
        }
        let found = first.len();
        let mut items: Vec<Item> = first.into_iter().filter_map(|(_, name)| Item::read(dir, path, name)).collect();
        total -= (found - items.len()) as u64;
        items.sort_by(|a, b| (!a.is_dir, &a.name).cmp(&(!b.is_dir, &b.name)));
        Ok(Listing { items, total })
    }

    /// The items in this order. Equal ones, and directories by size, stay in the order of their names.
    pub(super) fn ordered(&self, order: Order) -> Vec<&Item> {
        let mut items: Vec<&Item> = self.items.iter().collect();
        let descending = |ordering: std::cmp::Ordering| if order.descending { ordering.reverse() } else { ordering };
        items.sort_by(|a, b| {
            let by_key = match order.key {
                Key::Name => a.name.cmp(&b.name),
                Key::Size => a.len.cmp(&b.len),
                Key::Date => a.modified.cmp(&b.modified),
            };
            b.is_dir.cmp(&a.is_dir).then(descending(by_key))
        });
        items
    }

    /// Bytes of memory, about.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

impl Item {
    fn read(dir: &Dir, path: &Path, name: OsString) -> Option<Self> {
        // Follows links, and refuses those that lead outside.
        let meta = dir.metadata(path.join(&name)).ok().filter(|meta| meta.is_dir() || meta.is_file())?;
        let modified = meta.modified().ok().map(cap_std::time::SystemTime::into_std);
        Some(Item { name, is_dir: meta.is_dir(), len: meta.is_file().then(|| meta.len()), modified })
    }
}

/// The latest listings.
#[derive(Debug, Default)]
pub(in crate::app) struct Listings(Mutex<HashMap<OsString, Arc<Mutex<Option<Kept>>>>>);

#[derive(Debug)]
struct Kept {
    listing: Arc<Listing>,
    until: Instant,
}

impl Listings {
    /// Lists the directory for `path`, which ends in a slash or is empty. Whoever asks at the same time waits for the same
    /// listing. `clock` tells the time.
    pub(in crate::app) fn get(
        &self,
        dir: &Dir,
        path: &[u8],
        clock: impl Fn() -> Instant,
    ) -> Result<Arc<Listing>, LookupError> {
        let name = OsString::from_vec(path.strip_suffix(b"/").unwrap_or(path).to_vec());
        let slot = {
            let slots = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if slots.len() >= MAX_KEPT && !slots.contains_key(&name) {
                slots.clear();
            }
            Arc::clone(slots.entry(name.clone()).or_default())
        };
        let kept = &mut *slot.lock().unwrap_or_else(PoisonError::into_inner);
        let began = clock();
        if let Some(Kept { listing, .. }) = kept.as_ref().filter(|kept| began < kept.until) {
            return Ok(Arc::clone(listing));
        }
        let listing = Arc::new(Listing::read(dir, &name, MAX_SHOWN)?);
        let ended = clock();
        let took = ended.saturating_duration_since(began);
        *kept = Some(Kept { listing: Arc::clone(&listing), until: ended + FRESH.max(took * PATIENCE) });
        Ok(listing)
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
