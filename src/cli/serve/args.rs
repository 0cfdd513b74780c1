//! Arguments of `mio-quiche serve`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Args as ClapArgs, ValueEnum};
use http::HeaderValue;

use super::site::{Account, CorsOrigin};
use crate::cli::seconds;

/// An argument that is not given is taken from this environment variable.
fn variable(argument: &Arg) -> Option<String> {
    let name = argument.get_long().unwrap_or(argument.get_id().as_str());
    let is_setting = !matches!(argument.get_action(), ArgAction::Help | ArgAction::Version);
    is_setting.then(|| format!("MIO_QUICHE_{}", name.replace('-', "_").to_ascii_uppercase()))
}

fn with_variable(argument: Arg) -> Arg {
    let Some(variable) = variable(&argument) else { return argument };
    let argument = match argument.get_action() {
        // Also 1 and 0.
        ArgAction::SetTrue => argument.value_parser(BoolishValueParser::new()),
        _ => argument,
    };
    // RUST_LOG and the like are for many programs, and less particular.
    match argument.get_env().is_some() && std::env::var_os(&variable).is_none() {
        true => argument,
        false => argument.env(variable).hide_env(true),
    }
}

#[derive(Debug, ClapArgs)]
#[command(mut_args(with_variable))]
pub(in crate::cli) struct Args {
    /// Directory to serve: files, index.html for directories, or a listing
    pub(super) dir: Option<PathBuf>,
    /// Serve the routes that the tests, the benchmarks and the demo page use, too; DIR is also under /files/
    #[arg(long)]
    pub(super) demo: bool,
    /// Address and port to listen on, or a name, whose first address is taken, or :PORT; port 0 picks a free one, [::]
    /// includes IPv4, and means IPv4 alone without IPv6
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:4433")]
    pub(super) listen: String,
    /// Port to listen on, in place of that of --listen
    #[arg(short, long, value_name = "PORT")]
    pub(super) port: Option<u16>,
    /// Read settings from this TOML file: its keys are the names of these options; [headers] and [redirects], too
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Certificate chain, PEM; repeatable: a client gets the one for the host name that it asks for, or else the first
    #[arg(long, value_name = "FILE", default_value = "certs/cert.pem")]
    pub(super) cert: Vec<PathBuf>,
    /// Private key, PEM; one for each --cert, in the same order
    #[arg(long, value_name = "FILE", default_value = "certs/key.pem")]
    pub(super) key: Vec<PathBuf>,
    /// Require certificates of clients (mutual TLS) by the authorities in this PEM file
    #[arg(long, value_name = "FILE")]
    pub(super) client_ca: Option<PathBuf>,
    /// Threads that serve, each with a socket of its own; 0: one for each processor
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) workers: usize,
    /// Open the admin port here: demo page, /metrics for Prometheus, /healthz; HTTP/1.1, unauthenticated
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) admin: Option<SocketAddr>,
    /// Respond to clients without HTTP/3 here, on TCP with the same certificates: a page that says so, and alt-svc, which
    /// leads browsers to HTTP/3; without ADDR:PORT, on the address and port that --listen names
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(super) redirect: Option<String>,
    /// Log level or filter, such as debug or mio_quiche=trace
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    pub(super) log: String,

    #[command(flatten)]
    pub(super) files: Files,
    #[command(flatten)]
    pub(super) transport: Transport,
    #[command(flatten)]
    pub(super) webtransport: WebTransport,
    #[command(flatten)]
    pub(super) limits: Limits,
    #[command(flatten)]
    pub(super) access_log: crate::cli::access_log::Flags,
    #[command(flatten)]
    pub(super) diagnostics: Diagnostics,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Files")]
pub(super) struct Files {
    /// Answer 404 for a directory without index.html, in place of a listing
    #[arg(long)]
    pub(super) no_listing: bool,
    /// Compress nothing, and do not send FILE.br, FILE.zst and FILE.gz in place of FILE
    #[arg(long)]
    pub(super) no_compression: bool,
    /// Answer a path that leads nowhere with /index.html, as applications of a single page need, unless its last segment
    /// has a dot; no listings
    #[arg(long)]
    pub(super) spa: bool,
    /// The cache-control field of files, such as max-age=3600
    #[arg(long, value_name = "VALUE")]
    pub(super) cache_control: Option<HeaderValue>,
    /// Let pages of this origin read everything (CORS); of any without a value; repeatable
    #[arg(long, value_name = "ORIGIN", num_args = 0..=1, require_equals = true, default_missing_value = "*")]
    pub(super) cors: Vec<CorsOrigin>,
    /// Ask for a name and a password (basic authentication); repeatable. Other users of the machine can see arguments:
    /// rather set MIO_QUICHE_AUTH or use --config
    #[arg(long, value_name = "USER:PASSWORD", hide_env_values = true)]
    pub(super) auth: Vec<Account>,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Transport")]
pub(super) struct Transport {
    /// Validate client addresses with a Retry packet; auto: while many handshakes are in progress
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) retry: Retry,
    /// Congestion control
    #[arg(long, value_enum, default_value = "cubic")]
    pub(super) cc: Cc,
    /// Accept safe methods in the first flight of returning clients (0-RTT), which an attacker can replay
    #[arg(long)]
    pub(super) early_data: bool,
    /// File of 48 random bytes that encrypt session tickets; SIGHUP reloads it with the certificate
    #[arg(long, value_name = "FILE")]
    pub(super) ticket_key: Option<PathBuf>,
    /// File of at least 32 random bytes, for stateless resets and Retry tokens: with the same file, clients learn at
    /// once that a restarted server has lost their connections
    #[arg(long, value_name = "FILE")]
    pub(super) host_key: Option<PathBuf>,
    /// Largest UDP payload sent, 1200 to 65527 bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1350)]
    pub(super) max_udp_payload: usize,
    /// Seconds without traffic after which a connection is dropped
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) idle_timeout: Duration,
    /// Initial flow control window of a connection, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 10 * 1024 * 1024)]
    pub(super) max_data: u64,
    /// Initial flow control window of a stream, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    pub(super) max_stream_data: u64,
    /// Send no reserved settings, frames and streams (GREASE), which keep clients tolerant of unknown ones
    #[arg(long)]
    pub(super) no_grease: bool,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "WebTransport")]
pub(super) struct WebTransport {
    /// Pages of this origin may open sessions, besides those of the server's own; repeatable; * allows any origin and
    /// none
    #[arg(long, value_name = "ORIGIN")]
    pub(super) allow_origin: Vec<String>,
    /// Accept no sessions; same as H3_WEBTRANSPORT=0
    #[arg(long)]
    pub(super) no_webtransport: bool,
    /// Drafts offered in SETTINGS; all: also newer ones, with flow control of sessions
    #[arg(long, value_enum, default_value = "browsers")]
    pub(super) wt_drafts: WtDrafts,
    /// Concurrent sessions on a connection
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(super) max_sessions: usize,
    /// Seconds without traffic after which a session is closed [default: none]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) session_idle_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum WtDrafts {
    Browsers,
    All,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Limits")]
pub(super) struct Limits {
    /// Concurrent connections
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(super) max_connections: usize,
    /// Concurrent handshakes
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub(super) max_handshakes: usize,
    /// Concurrent requests on a connection; with WebTransport, more are rejected, and clients may retry
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) max_requests: u64,
    /// Fields in a request's head; more get 431; cookie fields count as one
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(super) max_fields: usize,
    /// Longest value of a field; Kerberos and other large tokens may need more
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024)]
    pub(super) max_field_value: usize,
    /// Largest field section: names, values, and 32 bytes for each field
    #[arg(long, value_name = "BYTES", default_value_t = 32 * 1024)]
    pub(super) max_field_section: usize,
    /// Longest request target (path and query); longer ones get 414
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024)]
    pub(super) max_target: usize,
    /// Longest request body; longer ones get 413 [default: none]
    #[arg(long, value_name = "BYTES")]
    pub(super) max_body: Option<u64>,
    /// Requests per second from each network (/24 of IPv4, /56 of IPv6), with bursts of the same size; more get 429
    /// [default: none]
    #[arg(long, value_name = "N")]
    pub(super) max_request_rate: Option<NonZeroU32>,
    /// Time for a request's head, for each KiB of its body, and for the client to read part of the response, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(super) request_timeout: Duration,
    /// Time limit for a handshake, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(super) handshake_timeout: Duration,
    /// Time for running responses after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) shutdown_timeout: Duration,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Diagnostics")]
pub(super) struct Diagnostics {
    /// Write one qlog file per connection here, once the client's address is validated
    #[cfg(feature = "qlog")]
    #[arg(long, value_name = "DIR", env = "QLOGDIR", conflicts_with = "no_qlog")]
    pub(super) qlog_dir: Option<PathBuf>,
    /// Write no qlog files, even when QLOGDIR is set
    #[cfg(feature = "qlog")]
    #[arg(long)]
    pub(super) no_qlog: bool,
    #[cfg(feature = "qlog")]
    #[command(flatten)]
    pub(super) qlog_limits: crate::cli::qlog::QlogLimits,
    /// Append TLS secrets to this file, for decrypting packet captures; SIGUSR1 reopens it
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    pub(super) keylog: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Retry {
    Off,
    On,
    Auto,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Cc {
    Cubic,
    Reno,
    Bbr2,
}
