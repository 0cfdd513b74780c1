//! Outputs of bodies: standard output, written by a thread that may block, or files.

use std::fs::File;
use std::io::{self, IsTerminal, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::failure::{Problem, WRITE};
use crate::cli::notify::Notifier;

/// Maximum bytes queued for standard output.
const MAX_QUEUED: usize = 256 * 1024;

/// The output of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Nowhere,
    Stdout,
    File(PathBuf),
}

impl Target {
    /// Something is printed, if only with `--report`.
    pub(super) fn is_stdout(&self) -> bool {
        !matches!(self, Target::File(_))
    }
}

/// Standard output. Its own thread writes, so that a slow reader holds up the transfer by flow control, but not timers
/// and signals.
#[derive(Clone, Debug)]
pub(super) struct Stdout {
    sender: Sender<Bytes>,
    queued: Arc<AtomicUsize>,
    failure: Arc<OnceLock<String>>,
}

impl Stdout {
    pub(super) fn start(notifier: Notifier) -> Self {
        let (sender, chunks) = mpsc::channel::<Bytes>();
        let stdout = Stdout { sender, queued: Arc::default(), failure: Arc::default() };
        let (queued, failure) = (Arc::clone(&stdout.queued), Arc::clone(&stdout.failure));
        std::thread::spawn(move || {
            for chunk in chunks {
                let mut out = io::stdout().lock();
                let written = out.write_all(&chunk).and_then(|()| out.flush());
                if let Err(e) = written {
                    // Set once only.
                    let _ = failure.set(e.to_string());
                    queued.store(0, Ordering::Release);
                    notifier.notify();
                    return;
                }
                queued.fetch_sub(chunk.len(), Ordering::AcqRel);
                if !notifier.notify() {
                    return;
                }
            }
        });
        stdout
    }

    pub(super) fn has_room(&self) -> bool {
        self.queued.load(Ordering::Acquire) < MAX_QUEUED
    }

    /// Queues bytes regardless of the limit.
    pub(super) fn write(&self, bytes: Bytes) -> Result<(), Problem> {
        self.check()?;
        self.queued.fetch_add(bytes.len(), Ordering::AcqRel);
        if self.sender.send(bytes).is_err() {
            self.queued.store(0, Ordering::Release);
            self.check()?;
        }
        Ok(())
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.queued.load(Ordering::Acquire) == 0 || self.failure.get().is_some()
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        match self.failure.get() {
            None => Ok(()),
            Some(e) => Err(Problem::new(WRITE, format!("cannot write to standard output: {e}"))),
        }
    }
}

/// The output of one transfer.
#[derive(Debug)]
pub(super) enum Output {
    Nowhere,
    /// `raw`: `-o -` was given, so binary data is written even to a terminal.
    Stdout {
        out: Stdout,
        begun: bool,
    },
    /// Created at the first write, or at the end.
    File {
        path: PathBuf,
        file: Option<File>,
        /// Missing directories are made.
        create_dirs: bool,
        /// What the file holds is kept.
        append: bool,
        /// The server chose the name: no file is overwritten.
        exclusive: bool,
        /// Bytes in the file when it was opened.
        before: u64,
    },
}

impl Output {
    pub(super) fn new(target: &Target, out: &Stdout, create_dirs: bool, append: bool) -> Self {
        match target {
            Target::Nowhere => Output::Nowhere,
            Target::Stdout => Output::Stdout { out: out.clone(), begun: false },
            Target::File(path) => {
                Output::File { path: path.clone(), file: None, create_dirs, append, exclusive: false, before: 0 }
            }
        }
    }

    pub(super) fn has_room(&self) -> bool {
        match self {
            Output::Stdout { out, .. } => out.has_room(),
            _ => true,
        }
    }

    /// Writes a part of a body.
    pub(super) fn write_body(&mut self, bytes: Bytes) -> Result<(), Problem> {
        if let Output::Stdout { begun, .. } = self
            && !std::mem::replace(begun, true)
            && bytes.contains(&0)
            && io::stdout().is_terminal()
        {
            let message = "binary data would mess up the terminal (write it to a file with -o FILE, or use | cat)";
            return Err(Problem::new(WRITE, message));
        }
        self.write(bytes)
    }

    pub(super) fn write(&mut self, bytes: Bytes) -> Result<(), Problem> {
        match self {
            Output::Nowhere => Ok(()),
            Output::Stdout { out, .. } => out.write(bytes),
            Output::File { .. } => {
                let (path, written) = match self.open()? {
                    Some((path, file)) => (path.clone(), file.write_all(&bytes)),
                    None => return Ok(()),
                };
                written.map_err(|e| Problem::new(WRITE, format!("cannot write to '{}': {e}", path.display())))
            }
        }
    }

    /// Takes the name that a server gives a file, instead of its own, if it is not open.
    pub(super) fn rename(&mut self, name: String) {
        if let Output::File { path, file: None, exclusive, .. } = self {
            path.set_file_name(name);
            *exclusive = true;
        }
    }

    /// The file that is written.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        match self {
            Output::File { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Takes back what was written to a file.
    pub(super) fn restart(&mut self) -> Result<(), Problem> {
        let Output::File { path, file: Some(file), before, .. } = self else { return Ok(()) };
        // A pipe or a device holds nothing that could be taken back.
        let cut = |file: &mut File| {
            if file.metadata()?.is_file() {
                file.set_len(*before).and_then(|()| file.seek(SeekFrom::End(0)))
            } else {
                Ok(0)
            }
        };
        let failed = |e| Problem::new(WRITE, format!("cannot write to '{}': {e}", path.display()));
        cut(file).map(drop).map_err(failed)
    }

    /// Everything is written; an empty body creates an empty file.
    pub(super) fn finish(&mut self) -> Result<(), Problem> {
        self.open().map(drop)
    }

    fn open(&mut self) -> Result<Option<(&PathBuf, &mut File)>, Problem> {
        let Output::File { path, file, create_dirs, append, exclusive, before } = self else { return Ok(None) };
        if file.is_none() {
            let dir = path.parent().filter(|_| *create_dirs);
            let made = dir.map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
                File::options()
                    .create(true)
                    .create_new(*exclusive)
                    .write(true)
                    .append(*append)
                    .truncate(!*append)
                    .open(&*path)
            });
            let failed = |e| Problem::new(WRITE, format!("cannot write to '{}': {e}", path.display()));
            let made = made.map_err(failed)?;
            *before = made.metadata().map_or(0, |metadata| metadata.len());
            *file = Some(made);
        }
        Ok(file.as_mut().map(|file| (&*path, file)))
    }
}
