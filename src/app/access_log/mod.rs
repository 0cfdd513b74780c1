//! The access log: one line for each request and session, once it has ended.

mod entry;
mod line;
mod writer;

use std::sync::Arc;

use crate::config::{AccessLog, AccessLogFormat};
use crate::error::ConfigError;
use crate::net;
pub(super) use entry::{Entry, Subject};
use writer::Writer;

/// The open access log, which all workers share.
#[derive(Clone)]
pub(super) struct OpenAccessLog {
    format: AccessLogFormat,
    peers: bool,
    writer: Arc<Writer>,
}

/// Logs the end of a request: to the access log, or else to the log, which has addresses of clients only at debug level.
pub(super) fn log(open: Option<&OpenAccessLog>, entry: &Entry<'_>) {
    const TARGET: &str = "mio_quiche::access";
    if let Some(open) = open {
        open.write(entry);
    }
    let level = if open.is_some() { log::Level::Debug } else { log::Level::Info };
    if !log::log_enabled!(target: TARGET, level) {
        return;
    }
    let Entry { subject: Subject::Request(request), status, sent, duration, error, .. } = entry else { return };
    let (method, route) = (request.method(), request.pattern().unwrap_or("-"));
    let (status, sent) = (status.map_or(0, |status| status.as_u16()), sent.unwrap_or(0));
    let ms = duration.as_secs_f64() * 1e3;
    let outcome = error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
    log::info!(target: TARGET, "{method} {route} {status} {sent} bytes {ms:.1} ms{outcome}");
    let (stream, peer, path) = (request.stream_id(), request.peer_addr(), &request.head.target);
    log::debug!(target: TARGET, "{stream:?} from {peer}: {method} {path}");
}

impl OpenAccessLog {
    pub(super) fn open(settings: &AccessLog) -> Result<Self, ConfigError> {
        let AccessLog { file, format, peers } = settings;
        Ok(OpenAccessLog { format: *format, peers: *peers, writer: Arc::new(Writer::open(file.clone())?) })
    }

    /// Opens the file again, which was renamed or removed.
    pub(super) fn reopen(&self) {
        self.writer.reopen();
    }

    pub(super) fn write(&self, entry: &Entry<'_>) {
        let time = net::wall_clock();
        self.writer.write(&match self.format {
            AccessLogFormat::Text => line::text(entry, time, self.peers),
            AccessLogFormat::Json => line::json(entry, time, self.peers),
        });
    }
}
