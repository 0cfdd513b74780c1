//! Open files.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cap_std::fs::{Dir, MetadataExt as _, OpenOptions, OpenOptionsExt};
use http::HeaderValue;
use rustix::io::{ReadWriteFlags, preadv2};

use super::coding::{Coding, is_compressible};
use super::lookup_error::LookupError;
use crate::h3::TEXT_PLAIN;

/// First second of the year 10000, from where an HTTP date (RFC 9110, section 5.6.7) cannot be written.
const YEAR_10000: u64 = 253_402_300_800;
/// Shorter content gains nothing by compression, and longer content takes too much of a processor for one request.
const COMPRESSIBLE_LEN: std::ops::RangeInclusive<u64> = 512..=4 * 1024 * 1024;

pub(super) enum Opened {
    File(Arc<FileEntry>),
    Directory,
    Other,
}

/// How files are opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenSettings {
    /// Longest file whose content is kept in memory.
    pub(super) max_cached_len: u64,
    /// `FILE.br`, `FILE.zst` and `FILE.gz` are encoded forms of FILE.
    pub(super) precompressed: bool,
    /// Texts are compressed when a client asks for them.
    pub(super) compress: bool,
}

/// Distinguishes states of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: SystemTime,
}

impl Stamp {
    /// Of the file that a name leads to.
    fn at(dir: &Dir, name: &OsStr) -> Option<Self> {
        let meta = dir.metadata(name).ok().filter(cap_std::fs::Metadata::is_file)?;
        let modified = meta.modified().ok()?.into_std();
        Some(Stamp { device: meta.dev(), inode: meta.ino(), len: meta.len(), modified })
    }
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
    /// Of an encoded form.
    coding: Option<Coding>,
    /// Other forms of the file, compressed in advance.
    encoded: Vec<Arc<FileEntry>>,
    /// May be compressed when a client asks for it.
    is_compressible: bool,
    /// What is sent depends on `accept-encoding`.
    varies: bool,
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
            .field("coding", &self.coding)
            .field("in_memory", &matches!(self.body, Body::Memory(_)))
            .finish_non_exhaustive()
    }
}

impl FileEntry {
    /// Opens a file, with its encoded forms.
    pub(super) fn open(dir: &Dir, name: &OsStr, settings: OpenSettings) -> Result<Opened, LookupError> {
        let mut entry = match Self::open_one(dir, name, settings.max_cached_len)? {
            Ok(entry) => entry,
            Err(other) => return Ok(other),
        };
        entry.content_type = content_type(name);
        if settings.precompressed {
            for coding in Coding::ALL {
                let Ok(Ok(mut form)) = Self::open_one(dir, &with_suffix(name, coding), settings.max_cached_len) else {
                    continue;
                };
                // An older one is of another content.
                if form.stamp.modified >= entry.stamp.modified {
                    form.etag = tag(&form.stamp, form.len, Some(coding), "");
                    form.content_type = entry.content_type.clone();
                    form.coding = Some(coding);
                    form.varies = true;
                    entry.encoded.push(Arc::new(form));
                }
            }
        }
        entry.is_compressible =
            settings.compress && COMPRESSIBLE_LEN.contains(&entry.len) && is_compressible(&entry.content_type);
        entry.varies = entry.is_compressible || !entry.encoded.is_empty();
        Ok(Opened::File(Arc::new(entry)))
    }

    fn open_one(dir: &Dir, name: &OsStr, max_cached_len: u64) -> Result<Result<Self, Opened>, LookupError> {
        let mut options = OpenOptions::new();
        // Without O_NONBLOCK, opening a FIFO would stop the thread until a writer comes.
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let file = dir.open_with(name, &options)?.into_std();
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Ok(Err(Opened::Directory));
        }
        if !meta.is_file() {
            return Ok(Err(Opened::Other));
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
        // `httpdate` panics outside of these years; such a file gets no Last-Modified.
        let modified = Some(UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs()))
            .filter(|_| since_epoch.as_secs() < YEAR_10000 && stamp.modified >= UNIX_EPOCH);
        Ok(Ok(Self {
            len,
            body,
            etag: tag(&stamp, len, None, ""),
            modified,
            last_modified: modified.map(|time| header_value(&httpdate::fmt_http_date(time))),
            content_type: HeaderValue::from_static("application/octet-stream"),
            stamp,
            coding: None,
            encoded: Vec::new(),
            is_compressible: false,
            varies: false,
        }))
    }

    /// Whether `name` still leads to the file this entry was made from, unchanged, and its encoded forms, too.
    pub(super) fn is_current(&self, dir: &Dir, name: &OsStr, precompressed: bool) -> bool {
        if Stamp::at(dir, name).as_ref() != Some(&self.stamp) {
            return false;
        }
        let is_form_current = |coding| {
            let known = self.encoded_as(coding).map(|form| &form.stamp);
            let newer = |stamp: &Stamp| stamp.modified >= self.stamp.modified;
            Stamp::at(dir, &with_suffix(name, coding)).filter(newer).as_ref() == known
        };
        !precompressed || Coding::ALL.into_iter().all(is_form_current)
    }

    /// Compresses the file. `None` if that does not make it shorter.
    pub(super) fn compress(&self, coding: Coding) -> io::Result<Option<Arc<Self>>> {
        let content = self.read_at(0, self.len as usize)?;
        let Some(encoded) = coding.encode(&content) else { return Ok(None) };
        let encoded = Bytes::from(encoded?);
        if encoded.len() >= content.len() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self {
            stamp: self.stamp.clone(),
            len: encoded.len() as u64,
            body: Body::Memory(encoded),
            // Weak: another version of the encoder makes other bytes of the same file.
            etag: tag(&self.stamp, self.len, Some(coding), "W/"),
            modified: self.modified,
            last_modified: self.last_modified.clone(),
            content_type: self.content_type.clone(),
            coding: Some(coding),
            encoded: Vec::new(),
            is_compressible: false,
            varies: true,
        })))
    }

    /// The form of the file that was compressed in advance.
    pub(super) fn encoded_as(&self, coding: Coding) -> Option<&Arc<Self>> {
        self.encoded.iter().find(|form| form.coding == Some(coding))
    }

    /// Whether the file may be compressed.
    pub(super) fn is_compressible(&self) -> bool {
        self.is_compressible
    }

    /// Whether what is sent depends on `accept-encoding`.
    pub(super) fn varies(&self) -> bool {
        self.varies
    }

    /// The content coding of the bytes.
    pub(super) fn coding(&self) -> Option<Coding> {
        self.coding
    }

    /// Whether it was compressed for a client: a range is never of its bytes.
    pub(super) fn is_made(&self) -> bool {
        self.etag.as_bytes().starts_with(b"W/")
    }

    /// Reads at most `max` bytes from `offset` on; empty only at the end of the entry or for `max` 0.
    ///
    /// Takes no copy and no system call for a file in memory. May return fewer bytes than `max`. A long file is read
    /// from the disk, which may take its time.
    ///
    /// # Errors
    /// The error of the read, or [`io::ErrorKind::UnexpectedEof`] when the file is now shorter than it was when opened:
    /// the body would be shorter than `content-length`, so the stream must be reset.
    pub fn read_at(&self, offset: u64, max: usize) -> io::Result<Bytes> {
        let take = self.len.saturating_sub(offset).min(max as u64);
        match &self.body {
            Body::Memory(content) => Ok(slice(content, offset, take)),
            Body::File(file) => self.whole_read(read_up_to(file, offset, take)?, take),
        }
    }

    /// As [`read_at`](Self::read_at), of what is in memory or in the system's cache; `None` if it must be read from the
    /// disk.
    pub(in crate::app) fn read_cached(&self, offset: u64, max: usize) -> io::Result<Option<Bytes>> {
        let take = self.len.saturating_sub(offset).min(max as u64);
        let file = match &self.body {
            Body::Memory(content) => return Ok(Some(slice(content, offset, take))),
            Body::File(file) => file,
        };
        let mut buf = vec![0; take as usize];
        match preadv2(file, &mut [IoSliceMut::new(&mut buf)], offset, ReadWriteFlags::NOWAIT) {
            Ok(len) => {
                buf.truncate(len);
                self.whole_read(buf.into(), take).map(Some)
            }
            // Not there, or not known by the file system.
            Err(_) => Ok(None),
        }
    }

    fn whole_read(&self, read: Bytes, take: u64) -> io::Result<Bytes> {
        if read.is_empty() && take > 0 {
            let message = format!("the file was truncated below {} bytes while it was sent", self.len);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        Ok(read)
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

    /// The entity tag (RFC 9110, section 8.8.3) with its quotes: modification time in nanoseconds and length, in
    /// hexadecimal, and the content coding. It is strong, except of what was compressed for the request.
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

fn slice(content: &Bytes, offset: u64, take: u64) -> Bytes {
    // Both fit: they are within `content`.
    let start = offset.min(content.len() as u64) as usize;
    content.slice(start..start + take as usize)
}

fn tag(stamp: &Stamp, len: u64, coding: Option<Coding>, weak: &str) -> HeaderValue {
    let nanos = stamp.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let (dash, coding) = coding.map_or(("", ""), |coding| ("-", coding.token()));
    header_value(&format!("{weak}\"{nanos:x}-{len:x}{dash}{coding}\""))
}

fn with_suffix(name: &OsStr, coding: Coding) -> OsString {
    let mut name = name.to_owned();
    name.push(coding.suffix());
    name
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
