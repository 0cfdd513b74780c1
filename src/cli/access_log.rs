//! The options of the access log.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mio_quiche::{AccessLog, AccessLogFormat};

#[derive(Debug, Args)]
#[command(next_help_heading = "Access log")]
pub(super) struct Flags {
    /// Append a line for each request and session to this file, which SIGUSR1 opens again; - is standard output
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// text: Apache's combined log format with further fields; json: an object a line
    #[arg(long, value_enum, default_value = "text")]
    access_log_format: Format,
    /// Log the addresses of clients, too
    #[arg(long, requires = "access_log")]
    access_log_peers: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Flags {
    pub(super) fn settings(self) -> Option<AccessLog> {
        let mut log = match self.access_log? {
            path if path.as_os_str() == "-" => AccessLog::to_stdout(),
            path => AccessLog::to_file(path),
        };
        log.format = match self.access_log_format {
            Format::Text => AccessLogFormat::Text,
            Format::Json => AccessLogFormat::Json,
        };
        log.peers = self.access_log_peers;
        Some(log)
    }
}
