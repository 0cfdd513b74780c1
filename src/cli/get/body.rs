//! Request bodies: streamed from memory, files and standard input.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};

use bytes::Bytes;

use super::failure::{Problem, READ};
use crate::cli::notify::Notifier;

/// Bytes read per call.
const CHUNK: usize = 64 * 1024;
/// Maximum chunks of standard input queued.
const WAITING: usize = 4;

/// A piece of a body.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Bytes(Bytes),
    /// With `strip`, line ends and NUL are removed.
    File {
        path: PathBuf,
        length: Option<u64>,
        strip: bool,
    },
    Stdin {
        strip: bool,
    },
}

impl Part {
    /// A file, which is read when it is sent.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn file(path: &Path, strip: bool) -> Result<Self, Problem> {
        let failed = |e| Problem::new(READ, format!("cannot read '{}': {e}", path.display()));
        Self::of_file(path, strip).map_err(failed)
    }

    fn of_file(path: &Path, strip: bool) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let length = if metadata.is_file() {
            let mut file = File::open(path)?;
            Some(if strip { stripped_length(&mut file)? } else { metadata.len() })
        } else {
            // The length of a pipe or a device is unknown, and it can be opened only once.
            None
        };
        Ok(Part::File { path: path.to_owned(), length, strip })
    }

    fn length(&self) -> Option<u64> {
        match self {
            Part::Bytes(bytes) => Some(bytes.len() as u64),
            Part::File { length, .. } => *length,
            Part::Stdin { .. } => None,
        }
    }
}

fn stripped_length(file: &mut File) -> io::Result<u64> {
    let (mut buf, mut length) = (vec![0; CHUNK], 0);
    loop {
        match file.read(&mut buf)? {
            0 => return Ok(length),
            n => length += buf[..n].iter().filter(is_kept).count() as u64,
        }
    }
}

pub(super) fn is_kept(byte: &&u8) -> bool {
    !matches!(**byte, b'\r' | b'\n' | 0)
}

/// The request body.
#[derive(Clone, Debug)]
pub(super) struct Body {
    parts: Vec<Part>,
    kind: Kind,
}

/// What a body is, if no field says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of `-T`: nothing is said.
    Upload,
    Form,
    Json,
    Multipart {
        boundary: String,
    },
}

impl Body {
    pub(super) fn new(parts: Vec<Part>, kind: Kind) -> Self {
        Body { parts, kind }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(super) fn is_stdin(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Stdin { .. }))
    }

    /// The length, if known in advance.
    pub(super) fn length(&self) -> Option<u64> {
        self.parts.iter().map(Part::length).sum()
    }

    pub(super) fn open(&self, notifier: &Notifier) -> Source {
        let (all, notifier) = (self.parts.clone(), notifier.clone());
        let parts = all.iter().cloned().collect();
        Source { all, parts, open: None, exhausted: false, notifier, strip: false, name: String::new(), left: None }
    }
}

/// The next part of a body.
#[derive(Debug)]
pub(super) enum Next {
    Chunk(Bytes),
    /// Not available yet; the notifier wakes the loop.
    Pending,
    End,
}

#[derive(Debug)]
enum Open {
    File(File),
    Pipe(Receiver<io::Result<Bytes>>),
}

/// A body that is read piece by piece.
#[derive(Debug)]
pub(super) struct Source {
    all: Vec<Part>,
    /// The remaining parts.
    parts: VecDeque<Part>,
    open: Option<Open>,
    /// A part that can be read only once was opened.
    exhausted: bool,
    notifier: Notifier,
    strip: bool,
    name: String,
    /// Bytes that a file must still provide, as its length was announced.
    left: Option<u64>,
}

impl Source {
    /// Restarts from the beginning; false if it cannot.
    pub(super) fn restart(&mut self) -> bool {
        if self.exhausted {
            return false;
        }
        (self.parts, self.open) = (self.all.iter().cloned().collect(), None);
        true
    }

    /// The next bytes.
    ///
    /// # Errors
    /// A part that cannot be read, with the cause.
    pub(super) fn next(&mut self) -> Result<Next, String> {
        loop {
            let Some(open) = &mut self.open else {
                match self.parts.pop_front() {
                    None => return Ok(Next::End),
                    Some(Part::Bytes(bytes)) if bytes.is_empty() => continue,
                    Some(Part::Bytes(bytes)) => return Ok(Next::Chunk(bytes)),
                    Some(Part::Stdin { strip }) => {
                        (self.strip, self.left, self.name) = (strip, None, "standard input".to_owned());
                        self.open = Some(Open::Pipe(read_in_thread(|| Ok(io::stdin()), self.notifier.clone())));
                    }
                    Some(Part::File { path, strip, length }) => {
                        (self.strip, self.left, self.name) = (strip, length, format!("'{}'", path.display()));
                        self.open = Some(match length {
                            Some(_) => Open::File(File::open(path).map_err(|e| self.failed(&e.to_string()))?),
                            None => Open::Pipe(read_in_thread(|| File::open(path), self.notifier.clone())),
                        });
                    }
                }
                continue;
            };
            self.exhausted |= matches!(open, Open::Pipe(_));
            let got = match open {
                Open::File(file) => read_chunk(file),
                Open::Pipe(chunks) => match chunks.try_recv() {
                    Ok(chunk) => chunk,
                    Err(TryRecvError::Empty) => return Ok(Next::Pending),
                    Err(TryRecvError::Disconnected) => Ok(Bytes::new()),
                },
            };
            let mut chunk = got.map_err(|e| self.failed(&e.to_string()))?;
            if chunk.is_empty() {
                self.open = None;
                if self.left.is_some_and(|left| left > 0) {
                    return Err(self.failed("it was truncated while it was sent"));
                }
                continue;
            }
            if self.strip {
                chunk = chunk.iter().filter(is_kept).copied().collect();
            }
            if let Some(left) = &mut self.left {
                chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= chunk.len() as u64;
                if *left == 0 {
                    // Ignores data appended meanwhile, which was not announced.
                    self.open = None;
                }
            }
            if !chunk.is_empty() {
                return Ok(Next::Chunk(chunk));
            }
        }
    }

    fn failed(&self, why: &str) -> String {
        format!("cannot read {}: {why}", self.name)
    }
}

fn read_chunk(from: &mut impl Read) -> io::Result<Bytes> {
    let mut buf = vec![0; CHUNK];
    loop {
        match from.read(&mut buf) {
            Ok(n) => {
                buf.truncate(n);
                return Ok(buf.into());
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Reads a source that may block in a thread, which waits when the transfer does not keep up.
fn read_in_thread<R: Read>(
    open: impl FnOnce() -> io::Result<R> + Send + 'static,
    notifier: Notifier,
) -> Receiver<io::Result<Bytes>> {
    let (sender, chunks) = mpsc::sync_channel(WAITING);
    std::thread::spawn(move || {
        let mut from = match open() {
            Ok(from) => from,
            Err(e) => {
                // Fails if the receiver has ended; here and below that is fine.
                let _ = sender.send(Err(e));
                notifier.notify();
                return;
            }
        };
        loop {
            let got = read_chunk(&mut from);
            let is_last = !matches!(&got, Ok(chunk) if !chunk.is_empty());
            if sender.send(got).is_err() || !notifier.notify() || is_last {
                return;
            }
        }
    });
    chunks
}
