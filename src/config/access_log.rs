//! Settings of the access log.

use std::path::PathBuf;

/// Where a server's access log goes, and what it says. It has one line for each request and each session, written once it has
/// ended, also for those that were answered without a handler: malformed ones, and those over a limit.
///
/// The lines are written by a thread of their own. Up to 4 MiB of them wait for it; further ones are dropped, and the
/// number of those is logged.
///
/// ```
/// use mio_quiche::{AccessLog, AccessLogFormat};
///
/// let mut log = AccessLog::to_file("/var/log/mio-quiche/access.log");
/// log.format = AccessLogFormat::Json;
/// log.peers = true;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessLog {
    /// The file that lines are appended to, created with mode 0640 if it is missing. SIGUSR1 opens it again, as after its
    /// rotation. `None` is standard output.
    pub file: Option<PathBuf>,
    /// Default: [`AccessLogFormat::Text`].
    pub format: AccessLogFormat,
    /// The lines have the addresses of clients. Default: off.
    pub peers: bool,
}

/// The form of a line of the access log. In both forms everything but printable ASCII is escaped, so that a line cannot be
/// forged.
///
/// The time is that of the end. The duration counts from the arrival of the request's head, and ends when QUIC has taken
/// the response's last byte or the request was given up; the time of handlers is part of it. Bytes are those of bodies, and
/// unknown for sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AccessLogFormat {
    /// Apache's combined log format, which most tools for logs read, and then `NAME=VALUE` fields:
    ///
    /// ```text
    /// 192.0.2.1 - - [27/Nov/2026:01:37:05 +0000] "GET /users/7?all HTTP/3.0" 200 512 "-" "curl/8.14.1" time=0.000731 received=0 route="/users/:id" resumed early
    /// ```
    ///
    /// `resumed` and `early` are there if the connection resumed a TLS session, and if the request came in its first flight
    /// (0-RTT); `protocol="webtransport"` is on sessions, and `error="..."` on what was not completed. `-` stands for
    /// what is not there, such as the status of a request that was cancelled before its response began, or the path of a
    /// malformed one.
    #[default]
    Text,
    /// A JSON object: `time` (RFC 3339), `method`, `authority`, `path` (with the query), `protocol` (`HTTP/3.0` or
    /// `webtransport`), `route`, `status`, `bytes`, `received`, `duration` (seconds), `resumed`, `early`, `referer`,
    /// `user_agent`, `error`, and `peer` if it is wanted. What is not there is null.
    Json,
}

impl AccessLog {
    /// Lines of text that are appended to a file, without addresses.
    pub fn to_file(path: impl Into<PathBuf>) -> Self {
        AccessLog { file: Some(path.into()), ..AccessLog::to_stdout() }
    }

    /// Lines of text on standard output, without addresses.
    pub fn to_stdout() -> Self {
        AccessLog { file: None, format: AccessLogFormat::default(), peers: false }
    }
}
