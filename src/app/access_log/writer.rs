//! The thread that writes, so that a slow disk or a full pipe does not stop the loop.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::ConfigError;

/// Bytes of lines that wait to be written.
const MAX_WAITING: usize = 4 * 1024 * 1024;
/// Time for the last lines at the end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Passes lines to the thread. The last ones are written when it is dropped.
pub(super) struct Writer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Lines for which there was no room.
    dropped: u64,
    reopen: bool,
    closed: bool,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is locked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Opens a file, or standard output, and starts the thread.
    pub(super) fn open(file: Option<PathBuf>) -> Result<Self, ConfigError> {
        let at = file.clone().unwrap_or_else(|| PathBuf::from("-"));
        let refused = |source| ConfigError::Path { what: "access log", path: at, source };
        let shared = Arc::<Shared>::default();
        let out = match file {
            Some(path) => match open(&path) {
                Ok(file) => Out::File(file, path),
                Err(source) => return Err(refused(source)),
            },
            None => Out::Stdout(io::stdout()),
        };
        let thread = Thread { shared: shared.clone(), out, is_torn: false, has_failed: false };
        let started = std::thread::Builder::new().name("access-log".to_owned()).spawn(|| thread.run());
        started.map_err(refused)?;
        Ok(Writer(shared))
    }

    pub(super) fn write(&self, line: &str) {
        let mut waiting = self.0.lock();
        if waiting.lines.len() + line.len() > MAX_WAITING {
            waiting.dropped += 1;
            return;
        }
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line.as_bytes());
        drop(waiting);
        if is_first {
            self.0.changed.notify_all();
        }
    }

    /// Opens the file again, behind the lines that wait.
    pub(super) fn reopen(&self) {
        self.0.lock().reopen = true;
        self.0.changed.notify_all();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.closed = true;
        self.0.changed.notify_all();
        // A pipe that nobody reads must not keep the process.
        let _ = self.0.changed.wait_timeout_while(waiting, LAST_LINES, |waiting| !waiting.ended);
    }
}

enum Out {
    File(File, PathBuf),
    Stdout(io::Stdout),
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Out {
    fn name(&self) -> String {
        match self {
            Out::File(_, path) => format!("'{}'", path.display()),
            Out::Stdout(_) => "to standard output".to_owned(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Out::File(file, _) => file.write_all(bytes),
            Out::Stdout(out) => out.write_all(bytes).and_then(|()| out.flush()),
        }
    }
}

struct Thread {
    shared: Arc<Shared>,
    out: Out,
    /// The last write failed, maybe within a line.
    is_torn: bool,
    has_failed: bool,
}

impl Thread {
    fn run(mut self) {
        let mut lines = Vec::new();
        loop {
            let waiting = self.shared.lock();
            let is_idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.reopen && !waiting.closed;
            let mut waiting = self.shared.changed.wait_while(waiting, is_idle).unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut waiting.lines, &mut lines);
            let (dropped, reopen) = (std::mem::take(&mut waiting.dropped), std::mem::take(&mut waiting.reopen));
            let is_over = lines.is_empty() && waiting.closed;
            waiting.ended = is_over;
            drop(waiting);
            if is_over {
                return self.shared.changed.notify_all();
            }
            if dropped > 0 {
                log::warn!("{dropped} lines of the access log were dropped: it cannot be written fast enough");
            }
            self.write(&lines);
            lines.clear();
            if reopen {
                self.reopen();
            }
        }
    }

    fn write(&mut self, lines: &[u8]) {
        let repaired = if self.is_torn { self.out.write(b"\n") } else { Ok(()) };
        let written = repaired.and_then(|()| self.out.write(lines));
        self.is_torn = written.is_err();
        match written {
            // Once for each time that it goes wrong: a full disk fails every line.
            Err(e) if !std::mem::replace(&mut self.has_failed, true) => {
                log::warn!("cannot write the access log {}, whose lines are lost: {e}", self.out.name());
            }
            Err(_) => {}
            Ok(()) => self.has_failed = false,
        }
    }

    fn reopen(&mut self) {
        let Out::File(file, path) = &mut self.out else { return };
        match open(path) {
            Ok(again) => {
                *file = again;
                self.is_torn = false;
                log::info!("access log opened again");
            }
            Err(e) => log::error!("the access log '{}' stays as it is: {e}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn at(dir: &tempfile::TempDir, name: &str) -> PathBuf {
        dir.path().join(name)
    }

    #[test]
    fn lines_are_appended_and_written_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(at(&dir, "log"), "before\n").unwrap();
        let writer = Writer::open(Some(at(&dir, "log"))).unwrap();
        (0..1000).for_each(|n| writer.write(&format!("{n}\n")));
        drop(writer);
        let expected: String = (0..1000).map(|n| format!("{n}\n")).collect();
        assert_eq!(std::fs::read_to_string(at(&dir, "log")).unwrap(), format!("before\n{expected}"));
    }

    #[test]
    fn a_file_that_was_renamed_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(Some(at(&dir, "log"))).unwrap();
        writer.write("one\n");
        std::fs::rename(at(&dir, "log"), at(&dir, "log.1")).unwrap();
        writer.reopen();
        while !at(&dir, "log").exists() {
            std::thread::yield_now();
        }
        writer.write("two\n");
        drop(writer);
        let read = |name| std::fs::read_to_string(at(&dir, name)).unwrap();
        assert_eq!((read("log.1"), read("log")), ("one\n".to_owned(), "two\n".to_owned()));
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_no_time() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let shared = Arc::<Shared>::default();
        let out = Out::File(File::from(std::os::fd::OwnedFd::from(pipe)), PathBuf::new());
        let thread = Thread { shared: shared.clone(), out, is_torn: false, has_failed: false };
        let thread = std::thread::spawn(|| thread.run());
        let writer = Writer(shared);
        let line = format!("{}\n", "x".repeat(1023));
        // More than a pipe holds: once the thread has it, it takes nothing more until something is read.
        let first = line.repeat(128);
        writer.write(&first);
        while !writer.0.lock().lines.is_empty() {
            std::thread::yield_now();
        }
        let fitting = MAX_WAITING / line.len();
        (0..2 * fitting).for_each(|_| writer.write(&line));
        assert_eq!(writer.0.lock().dropped, fitting as u64);
        assert_eq!(writer.0.lock().lines.len(), MAX_WAITING);
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all.len())
        });
        drop(writer);
        thread.join().unwrap();
        let written = read.join().unwrap().unwrap();
        assert_eq!(written, first.len() + fitting * line.len());
    }

    #[test]
    fn a_full_disk_stops_nothing() {
        let writer = Writer::open(Some("/dev/full".into())).unwrap();
        (0..100).for_each(|_| writer.write("line\n"));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = Writer::open(Some("nowhere/log".into())).err().unwrap().to_string();
        assert_eq!(error, "cannot use access log 'nowhere/log': No such file or directory (os error 2)");
    }
}
