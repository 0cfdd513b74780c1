//! Key log and qlog. Their entries stay in memory until the client's address is validated, so that one packet from a
//! forged address creates no file. A log that cannot be written is reported once, and never fails a connection.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
#[cfg(feature = "qlog")]
use std::sync::Arc;
#[cfg(feature = "qlog")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::log_failures::Failures;
#[cfg(feature = "qlog")]
use super::qlog_files::{QlogFile, QlogFiles};
use super::workers::Worker;
use crate::config::TransportConfig;
use crate::error::ConfigError;
use crate::transport::Transport;
use crate::transport::cid::Cid;

/// Lines of the key log that a handshake makes; each has at most 200 bytes.
const MAX_SECRETS: usize = 16;

/// The logs of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Logs {
    keylog: Option<File>,
    keylog_failures: Failures,
    #[cfg(feature = "qlog")]
    qlog_failures: Arc<Failures>,
    /// The files that are kept, if there is a limit.
    #[cfg(feature = "qlog")]
    qlogs: Option<Arc<QlogFiles>>,
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
    pub(super) fn open(settings: &TransportConfig, worker: &Worker) -> Result<Self, ConfigError> {
        let mut logs = Logs { keylog: settings.open_keylog()?, ..Logs::default() };
        #[cfg(feature = "qlog")]
        if let Some(dir) = &settings.qlog_dir {
            settings.prepare_qlog_dir()?;
            let open = |max| worker.qlogs().get_or_init(|| Arc::new(QlogFiles::open(dir, max))).clone();
            logs.qlogs = settings.qlog_max.map(open);
        }
        #[cfg(not(feature = "qlog"))]
        let _ = (&mut logs, worker);
        Ok(logs)
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
            let file = QlogFile::new(path, wanted.clone(), self.qlog_failures.clone(), self.qlogs.clone());
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
