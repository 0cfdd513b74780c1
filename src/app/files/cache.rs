//! The directory that is served and the cache of its open files.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _, OpenOptions, OpenOptionsExt};
use http::HeaderValue;

use crate::h3::TEXT_PLAIN;

/// Served for a directory.
const INDEX: &str = "index.html";
/// RFC 8615. The only directory at the root that is served although its name begins with a dot.
const WELL_KNOWN: &[u8] = b".well-known";

/// First second of the year 10000, from where an HTTP date (RFC 9110, section 5.6.7) cannot be written.
const YEAR_10000: u64 = 253_402_300_800;

/// Bounds of the file cache.
///
/// The cache takes at most `max_entries * max_cached_len` bytes (64 MiB by default). A file kept in memory needs no
/// file descriptor, a longer one needs one, so there are at most `max_entries` descriptors, besides those of responses
/// that are still being sent.
#[derive(Debug, Clone)]
pub struct FileCacheConfig {
    /// Files kept; the least recently used one is evicted when the cache is full. Default 1024; 0 counts as 1.
    pub max_entries: usize,
    /// Longest file whose content is kept in memory, in bytes. Default 65536.
    pub max_cached_len: u64,
    /// How long an entry is used before the file is checked again. Default 1 s.
    pub revalidate_after: Duration,
}

impl Default for FileCacheConfig {
    fn default() -> Self {
        Self { max_entries: 1024, max_cached_len: 64 * 1024, revalidate_after: Duration::from_secs(1) }
    }
}

/// Why no file was found for a path.
#[derive(Debug)]
pub enum LookupError {
    /// There is nothing to serve: no such file, a hidden one, not a regular file, or a path that leaves the root.
    /// Answer 404.
    NotFound,
    /// The path names a directory and lacks the slash at its end. Answer with a redirect to the path with the slash, or
    /// relative links on the page would point to the wrong place.
    RedirectToSlash,
    /// The file exists and cannot be read: permissions, descriptors used up, a failing disk. Answer 500 and log it.
    Io(io::Error),
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file"),
            Self::RedirectToSlash => f.write_str("a directory needs a slash at the end of its path"),
            Self::Io(e) => write!(f, "cannot read the file: {e}"),
        }
    }
}

impl std::error::Error for LookupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(e) => Some(e),
            Self::NotFound | Self::RedirectToSlash => None,
        }
    }
}

impl From<io::Error> for LookupError {
    /// Everything a client can cause by the choice of the path is "not found"; the rest is an error of the server.
    fn from(e: io::Error) -> Self {
        match e.raw_os_error() {
            // ENXIO: a socket in the file system.
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG | libc::ENXIO | libc::EXDEV) => {
                Self::NotFound
            }
            // cap-std's own error for a path that leads outside carries no OS code.
            None if e.kind() == io::ErrorKind::PermissionDenied => Self::NotFound,
            _ => Self::Io(e),
        }
    }
}

/// A directory whose files are served, with a cache so that no request opens a file that was opened before.
///
/// Not shared between threads: one event loop owns it.
#[derive(Debug)]
pub struct FileRoot {
    dir: Dir,
    config: FileCacheConfig,
    entries: HashMap<OsString, Slot>,
    /// Counts lookups; the order of use for eviction.
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<FileEntry>,
    checked: Instant,
    used: u64,
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
        Ok(Self { dir: opened, config, entries: HashMap::new(), clock: 0 })
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
        let path = path.as_ref();
        let name = resolve(path)?;
        self.clock += 1;
        if let Some(slot) = self.entries.get_mut(&name) {
            let due = now.saturating_duration_since(slot.checked) >= self.config.revalidate_after;
            if !due || slot.entry.is_current(&self.dir, &name) {
                slot.used = self.clock;
                if due {
                    slot.checked = now;
                }
                return Ok(Arc::clone(&slot.entry));
            }
            self.entries.remove(&name);
        }

        let entry = match FileEntry::open(&self.dir, &name, self.config.max_cached_len)? {
            Opened::File(entry) => entry,
            Opened::Directory if path == name.as_bytes() => return Err(LookupError::RedirectToSlash),
            Opened::Directory | Opened::Other => return Err(LookupError::NotFound),
        };
        self.make_room();
        self.entries.insert(name, Slot { entry: Arc::clone(&entry), checked: now, used: self.clock });
        Ok(entry)
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

enum Opened {
    File(Arc<FileEntry>),
    Directory,
    Other,
}

/// Distinguishes states of a file.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: SystemTime,
}

/// A snapshot of a file when it was opened: its metadata, and its content or a handle to read it from.
///
/// The entry outlives its place in the cache, so a response keeps using it even if the file is replaced meanwhile.
pub struct FileEntry {
    stamp: Stamp,
    len: u64,
    body: Body,
    etag: HeaderValue,
    modified: Option<SystemTime>,
    last_modified: Option<HeaderValue>,
    content_type: HeaderValue,
}

enum Body {
    Memory(Bytes),
    File(File),
}

impl fmt::Debug for FileEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileEntry")
            .field("len", &self.len)
            .field("etag", &self.etag)
            .field("content_type", &self.content_type)
            .field("in_memory", &matches!(self.body, Body::Memory(_)))
            .finish_non_exhaustive()
    }
}

impl FileEntry {
    fn open(dir: &Dir, name: &OsStr, max_cached_len: u64) -> Result<Opened, LookupError> {
        let mut options = OpenOptions::new();
        // Without O_NONBLOCK, opening a FIFO would stop the event loop until a writer comes.
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let file = dir.open_with(name, &options)?.into_std();
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Ok(Opened::Directory);
        }
        if !meta.is_file() {
            return Ok(Opened::Other);
        }

        let stamp = Stamp { device: meta.dev(), inode: meta.ino(), len: meta.len(), modified: meta.modified()? };
        let (len, body) = if stamp.len <= max_cached_len {
            let content = read_up_to(&file, 0, stamp.len)?;
            // Shorter than the metadata says if the file shrank meanwhile; the next revalidation sees that.
            (content.len() as u64, Body::Memory(content))
        } else {
            (stamp.len, Body::File(file))
        };
        let since_epoch = stamp.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let etag = format!("\"{:x}-{len:x}\"", since_epoch.as_nanos());
        // `httpdate` panics outside of these years; such a file gets no Last-Modified.
        let modified = Some(UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs()))
            .filter(|_| since_epoch.as_secs() < YEAR_10000 && stamp.modified >= UNIX_EPOCH);
        Ok(Opened::File(Arc::new(Self {
            len,
            body,
            etag: header_value(&etag),
            modified,
            last_modified: modified.map(|time| header_value(&httpdate::fmt_http_date(time))),
            content_type: content_type(name),
            stamp,
        })))
    }

    /// Whether `name` still leads to the file this entry was made from, unchanged.
    fn is_current(&self, dir: &Dir, name: &OsStr) -> bool {
        let Ok(meta) = dir.metadata(name) else { return false };
        let Ok(modified) = meta.modified() else { return false };
        self.stamp == Stamp { device: meta.dev(), inode: meta.ino(), len: meta.len(), modified: modified.into_std() }
    }

    /// Reads at most `max` bytes from `offset` on; empty only at the end of the entry or for `max` 0.
    ///
    /// Takes no copy and no system call for a file in memory. May return fewer bytes than `max`.
    ///
    /// # Errors
    /// The error of the read, or [`io::ErrorKind::UnexpectedEof`] when the file is now shorter than it was when opened:
    /// the body would be shorter than `content-length`, so the stream must be reset.
    pub fn read_at(&self, offset: u64, max: usize) -> io::Result<Bytes> {
        let left = self.len.saturating_sub(offset);
        let take = left.min(max as u64);
        match &self.body {
            Body::Memory(content) => {
                // Both fit: they are within `content`.
                let start = offset.min(self.len) as usize;
                Ok(content.slice(start..start + take as usize))
            }
            Body::File(file) => {
                let read = read_up_to(file, offset, take)?;
                if read.is_empty() && take > 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("the file was truncated below {} bytes while it was sent", self.len),
                    ));
                }
                Ok(read)
            }
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The strong entity tag (RFC 9110, section 8.8.3) with its quotes: modification time in nanoseconds and length, in
    /// hexadecimal.
    #[must_use]
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// Modification time in whole seconds as `last-modified` states it; `None` before 1970 and after 9999.
    #[must_use]
    pub fn last_modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// [`Self::last_modified`] as a header value.
    pub(super) fn last_modified_value(&self) -> Option<&HeaderValue> {
        self.last_modified.as_ref()
    }

    /// Media type by the file's extension, with `charset=utf-8` for `text/*`; `application/octet-stream` if unknown.
    #[must_use]
    pub fn content_type(&self) -> &HeaderValue {
        &self.content_type
    }
}

fn read_up_to(file: &File, offset: u64, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut buf = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buf.truncate(filled);
    Ok(buf.into())
}

fn content_type(name: &OsStr) -> HeaderValue {
    let mime = mime_guess::from_path(name).first_or_octet_stream();
    if mime == mime_guess::mime::TEXT_PLAIN {
        HeaderValue::from_static(TEXT_PLAIN)
    } else if mime.type_() == mime_guess::mime::TEXT {
        header_value(&format!("{}; charset=utf-8", mime.essence_str()))
    } else {
        header_value(mime.essence_str())
    }
}

/// For generated text, which is always valid.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
