//! The directory that is served and the cache of its open files.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::coding::{Accepted, Coding};
use super::compressed::Compressed;
use super::entry::{FileEntry, OpenSettings, Opened};
use super::lookup_error::LookupError;

/// Served for a directory.
const INDEX: &str = "index.html";
/// RFC 8615. The only directory at the root that is served although its name begins with a dot.
const WELL_KNOWN: &[u8] = b".well-known";

/// Bounds of the file cache.
///
/// The cache takes at most `max_entries * max_cached_len` bytes (64 MiB by default), or four times that with
/// precompressed files. A file kept in memory needs no file descriptor, a longer one needs one, so there are at most
/// `max_entries` descriptors (four times that), besides those of responses that are still being sent.
#[derive(Debug, Clone)]
pub struct FileCacheConfig {
    /// Files kept; the least recently used one is evicted when the cache is full. Default 1024; 0 counts as 1.
    pub max_entries: usize,
    /// Longest file whose content is kept in memory, in bytes. Default 65536.
    pub max_cached_len: u64,
    /// How long an entry is used before the file is checked again. Default 1 s.
    pub revalidate_after: Duration,
    /// Bytes of files that were compressed for clients. Default 32 MiB.
    pub max_compressed: u64,
}

impl Default for FileCacheConfig {
    fn default() -> Self {
        Self {
            max_entries: 1024,
            max_cached_len: 64 * 1024,
            revalidate_after: Duration::from_secs(1),
            max_compressed: 32 * 1024 * 1024,
        }
    }
}

/// A directory whose files are served, with a cache so that no request opens a file that was opened before.
#[derive(Debug)]
pub struct FileRoot {
    dir: Arc<Dir>,
    config: FileCacheConfig,
    precompressed: bool,
    compress: bool,
    entries: HashMap<OsString, Slot>,
    compressed: Compressed,
    /// Counts lookups; the order of use for eviction.
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<FileEntry>,
    /// When it was known to be current, or a check of that began.
    checked: Instant,
    used: u64,
}

/// What a cache knows of a path.
pub(in crate::app) enum Known {
    File(File),
    /// The file system must be asked.
    Ask(Question),
}

/// A file by its name.
pub(in crate::app) struct File {
    name: OsString,
    entry: Arc<FileEntry>,
}

/// What must be asked of the file system. That may take its time.
pub(in crate::app) struct Question {
    dir: Arc<Dir>,
    name: OsString,
    /// The path was that of the file itself, and not of a directory whose index it is.
    is_exact: bool,
    known: Option<Arc<FileEntry>>,
    settings: OpenSettings,
}

impl Question {
    pub(in crate::app) fn ask(self) -> (OsString, Result<Arc<FileEntry>, LookupError>) {
        let Question { dir, name, is_exact, known, settings } = self;
        if let Some(known) = known.filter(|entry| entry.is_current(&dir, &name, settings.precompressed)) {
            return (name, Ok(known));
        }
        let entry = match FileEntry::open(&dir, &name, settings) {
            Ok(Opened::File(entry)) => Ok(entry),
            Ok(Opened::Directory) if is_exact => Err(LookupError::RedirectToSlash),
            Ok(Opened::Directory | Opened::Other) => Err(LookupError::NotFound),
            Err(error) => Err(error),
        };
        (name, entry)
    }
}

/// Which form of a file a client gets.
pub(in crate::app) enum Form {
    Ready(Arc<FileEntry>),
    /// One that must be compressed first.
    Compress(Coding),
}

impl FileRoot {
    /// Opens `dir` with the default [`FileCacheConfig`].
    ///
    /// # Errors
    /// When `dir` is not a directory or cannot be opened; the message names it.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Self::with_config(dir, FileCacheConfig::default())
    }

    /// Opens `dir`. `dir` itself may be a symbolic link; links below it must not lead outside.
    ///
    /// # Errors
    /// When `dir` is not a directory or cannot be opened; the message names it.
    pub fn with_config(dir: &Path, config: FileCacheConfig) -> io::Result<Self> {
        let opened = Dir::open_ambient_dir(dir, ambient_authority()).map_err(|e| {
            io::Error::new(e.kind(), format!("cannot serve files from '{}': {e} (name a directory)", dir.display()))
        })?;
        Ok(Self {
            dir: Arc::new(opened),
            config,
            precompressed: false,
            compress: false,
            entries: HashMap::new(),
            compressed: Compressed::default(),
            clock: 0,
        })
    }

    /// Whether `FILE.br`, `FILE.zst` and `FILE.gz` are encoded forms of FILE.
    pub(in crate::app) fn set_precompressed(&mut self, on: bool) {
        self.precompressed = on;
    }

    /// Whether texts are compressed when a client asks for them.
    pub(in crate::app) fn set_compress(&mut self, on: bool) {
        self.compress = on;
    }

    pub(in crate::app) fn dir(&self) -> Arc<Dir> {
        Arc::clone(&self.dir)
    }

    /// Finds the file for `path`: the URL path below the root, percent-decoded, without the slash in front.
    ///
    /// An empty path or one that ends in a slash means `index.html` in that directory. All paths with a segment that
    /// begins with a dot are hidden, except those below `.well-known` at the root (RFC 8615). Failures are not
    /// remembered.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn lookup(&mut self, now: Instant, path: impl AsRef<[u8]>) -> Result<Arc<FileEntry>, LookupError> {
        match self.peek(now, path)? {
            Known::File(file) => Ok(file.entry),
            Known::Ask(question) => {
                let (name, entry) = question.ask();
                self.store(now, &name, &entry);
                entry
            }
        }
    }

    /// As [`lookup`](Self::lookup), without asking the file system. While one asks whether a file is current, others get
    /// what is known of it.
    pub(in crate::app) fn peek(&mut self, now: Instant, path: impl AsRef<[u8]>) -> Result<Known, LookupError> {
        let path = path.as_ref();
        let name = resolve(path)?;
        self.clock += 1;
        let mut known = None;
        if let Some(slot) = self.entries.get_mut(&name) {
            let is_due = now.saturating_duration_since(slot.checked) >= self.config.revalidate_after;
            slot.used = self.clock;
            if !is_due {
                return Ok(Known::File(File { name, entry: Arc::clone(&slot.entry) }));
            }
            slot.checked = now;
            known = Some(Arc::clone(&slot.entry));
        }
        let settings = OpenSettings {
            max_cached_len: self.config.max_cached_len,
            precompressed: self.precompressed,
            compress: self.compress,
        };
        let is_exact = path == name.as_bytes();
        Ok(Known::Ask(Question { dir: Arc::clone(&self.dir), name, is_exact, known, settings }))
    }

    /// Remembers the answer to a [`Question`] of `now`.
    pub(in crate::app) fn store(&mut self, now: Instant, name: &OsStr, answer: &Result<Arc<FileEntry>, LookupError>) {
        let Ok(entry) = answer else {
            self.entries.remove(name);
            return;
        };
        if !self.entries.contains_key(name) {
            self.make_room();
        }
        let slot = Slot { entry: Arc::clone(entry), checked: now, used: self.clock };
        self.entries.insert(name.to_owned(), slot);
    }

    /// The form of a file for a client. For a range of it, nothing is compressed: the range is of the file's own bytes.
    pub(in crate::app) fn form(&mut self, file: &File, accepted: &Accepted, is_range: bool) -> Form {
        // What was compressed in advance costs nothing.
        if let Some(entry) = accepted.iter().find_map(|coding| file.entry.encoded_as(coding)) {
            return Form::Ready(Arc::clone(entry));
        }
        for coding in accepted.iter() {
            if is_range || !file.entry.is_compressible() || coding == Coding::Zstd {
                continue;
            }
            match self.compressed.get(&file.name, &file.entry, coding) {
                Some(Some(entry)) => return Form::Ready(entry),
                Some(None) => {}
                None => return Form::Compress(coding),
            }
        }
        Form::Ready(Arc::clone(&file.entry))
    }

    /// Remembers the compressed form of a file.
    pub(in crate::app) fn store_compressed(&mut self, file: &File, coding: Coding, form: Option<Arc<FileEntry>>) {
        self.compressed.insert(&file.name, &file.entry, coding, form, self.config.max_compressed);
    }

    /// Number of files in the cache now.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.entries.len()
    }

    /// Drops the least recently used entry if the cache is full. This is a linear scan, but only on a miss, which opens
    /// a file anyway.
    fn make_room(&mut self) {
        if self.entries.len() < self.config.max_entries.max(1) {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, slot)| slot.used).map(|(name, _)| name.clone());
        if let Some(name) = oldest {
            self.entries.remove(&name);
        }
    }
}

impl File {
    pub(in crate::app) fn new(name: OsString, entry: Arc<FileEntry>) -> Self {
        File { name, entry }
    }

    /// Compresses it, which takes its time.
    pub(in crate::app) fn compress(&self, coding: Coding) -> io::Result<Option<Arc<FileEntry>>> {
        self.entry.compress(coding)
    }
}

/// Checks the path and adds `index.html` where it ends in a slash. A path rejected here never reaches the file system;
/// `Dir` guards against the rest (links). One spelling per file, so that a file has one cache entry.
fn resolve(path: &[u8]) -> Result<OsString, LookupError> {
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let last = segments.len() - 1;
    let is_visible = |(at, segment): (usize, &&[u8])| match segment {
        [] => at == last,
        [b'.', ..] => at == 0 && *segment == WELL_KNOWN,
        _ => true,
    };
    if path.contains(&0) || !segments.iter().enumerate().all(is_visible) {
        return Err(LookupError::NotFound);
    }
    let mut name = OsStr::from_bytes(path).to_owned();
    if segments[last].is_empty() {
        name.push(INDEX);
    }
    Ok(name)
}
