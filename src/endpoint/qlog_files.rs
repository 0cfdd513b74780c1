//! The qlog files of connections, and which of them are kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::log_failures::Failures;
use crate::config::QlogMax;
use crate::transport::cid::CID_LEN;

/// Bytes of qlog kept for a connection whose client's address is not validated; the rest is omitted.
const MAX_HELD: usize = 16 * 1024;
/// Bytes of qlog per write.
const CHUNK: usize = 8 * 1024;

/// A file that is deleted once it is too old. Then it is closed, too, since the space of an open file is not free.
type Slot = Arc<Mutex<Option<File>>>;

/// The qlog files in a directory, of which the newest are kept. All workers of a server have the same.
#[derive(Debug)]
pub(super) struct QlogFiles {
    max: QlogMax,
    /// The oldest first.
    files: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: Slot,
    /// It was there before this process.
    is_found: bool,
}

impl QlogFiles {
    /// Takes over the files that earlier processes made in `dir`.
    pub(super) fn open(dir: &Path, max: QlogMax) -> Self {
        let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in dir.read_dir().into_iter().flatten().flatten() {
            // Not through links.
            let Ok(meta) = entry.metadata() else { continue };
            if let (true, true, Ok(modified)) = (is_name(&entry.path()), meta.is_file(), meta.modified()) {
                found.push((modified, entry.path()));
            }
        }
        found.sort();
        let kept = |(_, path)| Kept { path, file: Slot::default(), is_found: true };
        let files = QlogFiles { max, files: Mutex::new(found.into_iter().map(kept).collect()) };
        files.delete_old();
        files
    }

    fn create(&self, path: &Path) -> io::Result<Slot> {
        let file = Slot::new(Mutex::new(Some(File::create(path)?)));
        let kept = Kept { path: path.to_owned(), file: Arc::clone(&file), is_found: false };
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push_back(kept);
        self.delete_old();
        Ok(file)
    }

    fn delete_old(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        while files.len() > self.max.files {
            let Some(old) = files.pop_front() else { return };
            old.file.lock().unwrap_or_else(PoisonError::into_inner).take();
            if old.is_found && !is_ours(&old.path) {
                continue;
            }
            if let Err(e) = std::fs::remove_file(&old.path) {
                log::debug!("cannot delete the qlog file '{}': {e}", old.path.display());
            }
        }
    }
}

/// The name of the `part`-th file of a connection, from 1.
fn part_name(first: &Path, part: u64) -> PathBuf {
    match part {
        1 => first.to_owned(),
        _ => first.with_extension(format!("{part}.sqlog")),
    }
}

/// Whether we give files such names: a connection id, and a number unless it is the first file.
fn is_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".sqlog"));
    let Some(name) = name else { return false };
    let (id, part) = name.split_once('.').unwrap_or((name, "2"));
    let is_number = part.parse::<u64>().is_ok_and(|part| part >= 2) && part.bytes().all(|byte| byte.is_ascii_digit());
    is_number && id.len() == 2 * CID_LEN && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether the file begins as ours do: others may have such names by chance.
fn is_ours(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    let wanted = b"\"title\":\"mio-quiche\"";
    read.is_ok() && start.first() == Some(&RECORD_SEPARATOR) && start.windows(wanted.len()).any(|part| part == wanted)
}

const RECORD_SEPARATOR: u8 = 0x1e;

/// The qlog file of a connection. The standard library's buffered writer would retry a failed write at each event, and
/// begin before the file may be created.
pub(super) struct QlogFile {
    path: PathBuf,
    wanted: Arc<AtomicBool>,
    failures: Arc<Failures>,
    /// What is kept, if there is a limit.
    kept: Option<Arc<QlogFiles>>,
    buffer: Vec<u8>,
    /// The rest of the current event is omitted.
    skipping: bool,
    state: State,
    /// The first record, with which each of the connection's files begins; only if there is a limit.
    header: Vec<u8>,
    part: u64,
    /// Bytes in the current file.
    len: u64,
}

enum State {
    Held,
    Open(Slot),
    Failed,
}

impl QlogFile {
    pub(super) fn new(
        path: PathBuf,
        wanted: Arc<AtomicBool>,
        failures: Arc<Failures>,
        kept: Option<Arc<QlogFiles>>,
    ) -> Self {
        let (buffer, header) = (Vec::new(), Vec::new());
        QlogFile { path, wanted, failures, kept, buffer, skipping: false, state: State::Held, header, part: 1, len: 0 }
    }

    /// Keeps bytes of an event, up to the limit while the file may not be created.
    fn hold(&mut self, bytes: &[u8]) {
        self.skipping &= bytes.first() != Some(&RECORD_SEPARATOR);
        if matches!(self.state, State::Held) && self.buffer.len() + bytes.len() > MAX_HELD {
            self.skipping = true;
            let whole = whole_events(&self.buffer);
            self.buffer.truncate(whole);
        }
        if !self.skipping {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Writes what is held; `is_end`: also an event that is not whole.
    fn write_out(&mut self, is_end: bool) {
        let len = if is_end || self.kept.is_none() { self.buffer.len() } else { whole_events(&self.buffer) };
        if self.kept.is_some() && len == 0 {
            return;
        }
        if let Err(e) = self.write_events(len) {
            self.failures.add("the qlog file", &self.path, &e);
            self.state = State::Failed;
        }
        self.buffer.drain(..len);
        if matches!(self.state, State::Failed) {
            self.buffer = Vec::new();
        }
    }

    fn write_events(&mut self, len: usize) -> io::Result<()> {
        let events = &self.buffer[..len];
        let max = self.kept.as_ref().map_or(u64::MAX, |kept| kept.max.bytes);
        let is_full = self.len > self.header.len() as u64 && self.len.saturating_add(events.len() as u64) > max;
        match &self.state {
            State::Failed => return Ok(()),
            State::Held => {
                self.state = State::Open(create(self.kept.as_deref(), &self.path)?);
                if self.kept.is_some() {
                    let end = events.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                    self.header = events[..end].to_vec();
                }
            }
            State::Open(file) if is_full => {
                // It is not locked while others are deleted, whose owners may wait for the same.
                let was_open = file.lock().unwrap_or_else(PoisonError::into_inner).take().is_some();
                if !was_open {
                    self.state = State::Failed;
                    return Ok(());
                }
                self.part += 1;
                let next = create(self.kept.as_deref(), &part_name(&self.path, self.part))?;
                (self.state, self.len) = (State::Open(next), 0);
                append(&mut self.state, &mut self.len, &self.header)?;
            }
            State::Open(_) => {}
        }
        append(&mut self.state, &mut self.len, &self.buffer[..len])
    }
}

fn append(state: &mut State, len: &mut u64, bytes: &[u8]) -> io::Result<()> {
    let State::Open(slot) = &*state else { return Ok(()) };
    let slot = Arc::clone(slot);
    match &mut *slot.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(file) => file.write_all(bytes)?,
        // It is deleted: there are newer ones enough.
        None => *state = State::Failed,
    }
    *len = len.saturating_add(bytes.len() as u64);
    Ok(())
}

fn create(kept: Option<&QlogFiles>, path: &Path) -> io::Result<Slot> {
    match kept {
        Some(kept) => kept.create(path),
        None => Ok(Slot::new(Mutex::new(Some(File::create(path)?)))),
    }
}

/// Bytes up to the end of the last event that is whole.
fn whole_events(buffer: &[u8]) -> usize {
    buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

impl Write for QlogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_due = match self.state {
            State::Failed => false,
            State::Held => self.wanted.load(Ordering::Relaxed),
            State::Open(_) => self.buffer.len() >= CHUNK && bytes.first() == Some(&RECORD_SEPARATOR),
        };
        if is_due {
            self.write_out(false);
        }
        if !matches!(self.state, State::Failed) {
            self.hold(bytes);
        }
        Ok(bytes.len())
    }

    /// quiche flushes at the end of the connection.
    fn flush(&mut self) -> io::Result<()> {
        if self.wanted.load(Ordering::Relaxed) {
            self.write_out(true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path) -> QlogFile {
        QlogFile::new(path.to_owned(), Arc::default(), Arc::default(), None)
    }

    fn write_event(file: &mut QlogFile, event: &str) {
        for part in ["\x1e", event, "\n"] {
            file.write_all(part.as_bytes()).expect("nothing fails");
        }
    }

    #[test]
    fn a_file_that_is_never_wanted_is_never_made() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = file(&dir.path().join("a"));
        for _ in 0..10_000 {
            write_event(&mut file, "event");
        }
        file.flush().unwrap();
        assert!(file.buffer.capacity() <= 2 * MAX_HELD, "{} bytes", file.buffer.capacity());
        drop(file);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn whole_events_that_fit_are_kept_until_the_file_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = file(&path);
        let large = "x".repeat(MAX_HELD);
        for event in ["1", &large, "2"] {
            write_event(&mut file, event);
        }
        file.wanted.store(true, Ordering::Relaxed);
        for event in ["3", &large, "4"] {
            write_event(&mut file, event);
        }
        file.flush().unwrap();
        let expected = ["1", "2", "3", &large, "4"].map(|event| format!("\x1e{event}\n")).concat();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(file.failures.count(), 0);
    }

    #[test]
    fn a_full_disk_is_counted_once_for_a_file() {
        let mut file = file(Path::new("/dev/full"));
        file.wanted.store(true, Ordering::Relaxed);
        for _ in 0..10_000 {
            write_event(&mut file, "event");
        }
        file.flush().unwrap();
        assert_eq!((file.failures.count(), file.buffer.capacity()), (1, 0));
    }

    fn limited(files: &Arc<QlogFiles>, dir: &Path, id: u8) -> QlogFile {
        let path = dir.join(format!("{}.sqlog", format!("{id:02x}").repeat(CID_LEN)));
        let mut file = QlogFile::new(path, Arc::new(AtomicBool::new(true)), Arc::default(), Some(Arc::clone(files)));
        write_event(&mut file, HEADER);
        file
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> =
            names.map(|name| name.replace(&"61".repeat(CID_LEN), "A").replace(&"62".repeat(CID_LEN), "B")).collect();
        names.sort();
        names
    }

    const HEADER: &str = r#"{"title":"mio-quiche"}"#;
    const MAX: QlogMax = QlogMax { bytes: 20_000, files: 3 };

    #[test]
    fn a_long_connection_has_a_bounded_number_of_bounded_files() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(QlogFiles::open(dir.path(), MAX));
        let mut file = limited(&files, dir.path(), 0x61);
        let mut newest = String::new();
        for n in 0..10_000 {
            newest = format!("event {n:>92}");
            write_event(&mut file, &newest);
            assert!(names(dir.path()).len() <= 3);
        }
        file.flush().unwrap();
        // 100 bytes for each event: 199 fit into 20 000 bytes with the header; they are written in chunks of 8 KiB.
        let names = names(dir.path());
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("A.")), "{names:?}");
        let mut events = Vec::new();
        let mut paths: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let text = std::fs::read_to_string(path).unwrap();
            assert!(text.len() <= 20_000, "{}", text.len());
            let mut records = text.split('\u{1e}').skip(1).map(|record| record.trim_end().to_owned());
            assert_eq!(records.next().as_deref(), Some(HEADER));
            events.extend(records);
        }
        assert_eq!(events.last(), Some(&newest));
        assert!(events.len() > 300 && events.is_sorted(), "no event is missing or cut between the files");
        assert_eq!(file.failures.count(), 0);
    }

    #[test]
    fn the_oldest_file_is_closed_and_deleted_though_its_connection_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(QlogFiles::open(dir.path(), QlogMax { files: 1, ..MAX }));
        let mut first = limited(&files, dir.path(), 0x61);
        first.flush().unwrap();
        let slot = match &first.state {
            State::Open(slot) => Arc::clone(slot),
            _ => panic!("the file is open"),
        };
        let mut second = limited(&files, dir.path(), 0x62);
        second.flush().unwrap();
        assert_eq!(names(dir.path()), ["B.sqlog"]);
        assert!(slot.lock().unwrap().is_none(), "its space is free");
        for _ in 0..1000 {
            write_event(&mut first, &"x".repeat(100));
        }
        first.flush().unwrap();
        assert_eq!((names(dir.path()).as_slice(), first.buffer.capacity()), (&["B.sqlog".to_owned()][..], 0));
        assert_eq!(first.failures.count(), 0);
    }

    #[test]
    fn only_files_that_we_made_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = ("61".repeat(CID_LEN), "62".repeat(CID_LEN));
        let ours = format!("\u{1e}{HEADER}\n");
        let long_ago = |n: u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n);
        let others = [
            ("notes.sqlog", ours.as_str()),
            ("6161.sqlog", &ours),
            (&format!("{a}.01x.sqlog"), &ours),
            (&format!("{}.sqlog", "6A".repeat(CID_LEN)), &ours),
            // A name like ours, but another program's content.
            (&format!("{}.sqlog", "63".repeat(CID_LEN)), "\u{1e}{\"title\":\"other\"}\n"),
        ];
        let made = [
            format!("{a}.sqlog"),
            format!("{a}.2.sqlog"),
            format!("{b}.sqlog"),
            format!("{b}.2.sqlog"),
            format!("{b}.3.sqlog"),
        ];
        for (n, (name, content)) in
            others.into_iter().chain(made.iter().map(|name| (name.as_str(), ours.as_str()))).enumerate()
        {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(long_ago(n as u64)).unwrap();
        }
        std::fs::create_dir(dir.path().join(format!("{}.sqlog", "64".repeat(CID_LEN)))).unwrap();
        let before = names(dir.path()).len();
        let _files = QlogFiles::open(dir.path(), MAX);
        let after = names(dir.path());
        assert_eq!(after.len(), before - 2, "{after:?}");
        assert!(!after.contains(&"A.sqlog".to_owned()) && !after.contains(&"A.2.sqlog".to_owned()), "{after:?}");
    }
}
