//! Key log and qlog. Their entries stay in memory until the client's address is validated, so that one packet from a
//! forged address creates no file. A log that cannot be written is reported once, and never fails a connection.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
#[cfg(feature = "qlog")]
use std::path::PathBuf;
#[cfg(feature = "qlog")]
use std::sync::Arc;
#[cfg(feature = "qlog")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::config::TransportConfig;
use crate::error::ConfigError;
use crate::transport::Transport;
use crate::transport::cid::Cid;

/// Lines of the key log that a handshake makes; each has at most 200 bytes.
const MAX_SECRETS: usize = 16;
/// Bytes of qlog kept for a connection whose client's address is not validated; the rest is omitted.
#[cfg(feature = "qlog")]
const MAX_HELD: usize = 16 * 1024;
/// Bytes of qlog per write.
#[cfg(feature = "qlog")]
const CHUNK: usize = 8 * 1024;

/// The logs of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Logs {
    keylog: Option<File>,
    keylog_failures: Failures,
    #[cfg(feature = "qlog")]
    qlog_failures: Arc<Failures>,
}

/// The logs of a connection in its handshake.
#[derive(Debug, Default)]
pub(super) struct HeldLogs {
    secrets: Option<Receiver<Vec<u8>>>,
    /// Set when the qlog file is to be created.
    #[cfg(feature = "qlog")]
    qlog: Option<Arc<AtomicBool>>,
}

impl Logs {
    /// Opens the key log, and creates the directory for qlog files.
    pub(super) fn open(settings: &TransportConfig) -> Result<Self, ConfigError> {
        #[cfg(feature = "qlog")]
        settings.prepare_qlog_dir()?;
        Ok(Logs { keylog: settings.open_keylog()?, ..Logs::default() })
    }

    /// Logs that could not be written.
    pub(super) fn failures(&self) -> u64 {
        let failures = self.keylog_failures.count();
        #[cfg(feature = "qlog")]
        let failures = failures + self.qlog_failures.count();
        failures
    }

    /// Reopens the key log, which was renamed or removed.
    pub(super) fn reopen(&mut self, settings: &TransportConfig) -> Result<(), ConfigError> {
        self.keylog = settings.open_keylog()?;
        Ok(())
    }

    /// Key log and qlog of a new connection.
    pub(super) fn observe(
        &self,
        settings: &TransportConfig,
        transport: &mut Transport,
        cid: Cid,
        role: &str,
    ) -> HeldLogs {
        let mut held = HeldLogs::default();
        if self.keylog.is_some() {
            let (sender, secrets) = sync_channel(MAX_SECRETS);
            transport.set_keylog(Box::new(SecretSender(sender)));
            held.secrets = Some(secrets);
        }
        #[cfg(feature = "qlog")]
        if let Some(dir) = &settings.qlog_dir {
            let hex = data_encoding::HEXLOWER.encode(&cid.0);
            let wanted = Arc::<AtomicBool>::default();
            let path = dir.join(format!("{hex}.sqlog"));
            let file = QlogFile::new(path, wanted.clone(), self.qlog_failures.clone());
            transport.set_qlog(Box::new(file), format!("{role} connection {hex}"));
            held.qlog = Some(wanted);
        }
        #[cfg(not(feature = "qlog"))]
        let _ = (settings, cid, role);
        held
    }

    fn write_secret(&mut self, path: Option<&Path>, line: &[u8]) {
        let (Some(file), Some(path)) = (&mut self.keylog, path) else { return };
        if let Err(e) = file.write_all(line) {
            self.keylog_failures.add("the key log", path, &e);
        }
    }
}

impl HeldLogs {
    /// Writes the entries kept in memory: the peer's address is validated.
    pub(super) fn write(&mut self, logs: &mut Logs, settings: &TransportConfig) {
        #[cfg(feature = "qlog")]
        if let Some(wanted) = self.qlog.take() {
            wanted.store(true, Ordering::Relaxed);
        }
        for line in self.secrets.iter().flat_map(Receiver::try_iter) {
            logs.write_secret(settings.keylog.as_deref(), &line);
        }
    }
}

/// Receives lines of the key log from quiche.
struct SecretSender(SyncSender<Vec<u8>>);

impl Write for SecretSender {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The receiver ends with the handshake.
        let _ = self.0.try_send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts failures to write a log.
#[derive(Debug, Default)]
struct Failures(AtomicU64);

impl Failures {
    /// Warns of the first one only: a full disk fails every connection's log.
    fn add(&self, what: &str, path: &Path, error: &io::Error) {
        let level = match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => log::Level::Warn,
            _ => log::Level::Debug,
        };
        log::log!(level, "cannot write {what} '{}', which is cut off: {error}", path.display());
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The qlog file of a connection. The standard library's buffered writer would retry a failed write at each event, and
/// begin before the file may be created.
#[cfg(feature = "qlog")]
struct QlogFile {
    path: PathBuf,
    wanted: Arc<AtomicBool>,
    failures: Arc<Failures>,
    buffer: Vec<u8>,
    /// The rest of the current event is omitted.
    skipping: bool,
    state: QlogState,
}

#[cfg(feature = "qlog")]
enum QlogState {
    Held,
    Open(File),
    Failed,
}

#[cfg(feature = "qlog")]
impl QlogFile {
    fn new(path: PathBuf, wanted: Arc<AtomicBool>, failures: Arc<Failures>) -> Self {
        QlogFile { path, wanted, failures, buffer: Vec::new(), skipping: false, state: QlogState::Held }
    }

    /// Keeps bytes of an event, up to the limit while the file may not be created.
    fn hold(&mut self, bytes: &[u8]) {
        const RECORD_SEPARATOR: u8 = 0x1e;
        self.skipping &= bytes.first() != Some(&RECORD_SEPARATOR);
        if matches!(self.state, QlogState::Held) && self.buffer.len() + bytes.len() > MAX_HELD {
            self.skipping = true;
            let whole = self.buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.buffer.truncate(whole);
        }
        if !self.skipping {
            self.buffer.extend_from_slice(bytes);
        }
    }

    fn write_out(&mut self) {
        let written = match &mut self.state {
            QlogState::Held => File::create(&self.path).and_then(|mut file| {
                file.write_all(&self.buffer)?;
                self.state = QlogState::Open(file);
                Ok(())
            }),
            QlogState::Open(file) => file.write_all(&self.buffer),
            QlogState::Failed => Ok(()),
        };
        self.buffer.clear();
        if let Err(e) = written {
            self.failures.add("the qlog file", &self.path, &e);
            (self.state, self.buffer) = (QlogState::Failed, Vec::new());
        }
    }
}

#[cfg(feature = "qlog")]
impl Write for QlogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_due = match self.state {
            QlogState::Failed => false,
            QlogState::Held => self.wanted.load(Ordering::Relaxed),
            QlogState::Open(_) => self.buffer.len() >= CHUNK,
        };
        if is_due {
            self.write_out();
        }
        if !matches!(self.state, QlogState::Failed) {
            self.hold(bytes);
        }
        Ok(bytes.len())
    }

    /// quiche flushes at the end of the connection.
    fn flush(&mut self) -> io::Result<()> {
        if self.wanted.load(Ordering::Relaxed) {
            self.write_out();
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "qlog")]
mod tests {
    use super::*;

    fn file(path: &Path) -> QlogFile {
        QlogFile::new(path.to_owned(), Arc::default(), Arc::default())
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
}
