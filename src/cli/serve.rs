//! `mio-quiche serve`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use mio_quiche::{
    Certificate, CongestionControl, Drafts, RetryPolicy, Router, Server, ServerConfig, StaticFiles, Workers, app::demo,
};

use super::{Failure, print, seconds, systemd};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Address and port to listen on; port 0 picks a free one, [::] includes IPv4, and means IPv4 alone without IPv6
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:4433")]
    listen: String,
    /// Certificate chain, PEM; repeatable: a client gets the one for the host name that it asks for, or else the first
    #[arg(long, value_name = "FILE", default_value = "certs/cert.pem")]
    cert: Vec<PathBuf>,
    /// Private key, PEM; one for each --cert, in the same order
    #[arg(long, value_name = "FILE", default_value = "certs/key.pem")]
    key: Vec<PathBuf>,
    /// Require certificates of clients (mutual TLS) by the authorities in this PEM file
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Serve this directory under /files/
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Serve the directory of --root under this path, too; / for files beside the demo's own paths
    #[arg(long, value_name = "PATH", requires = "root")]
    root_at: Option<String>,
    /// Threads that serve, each with a socket of its own; 0: one for each processor
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// Open the admin port here: demo page, /metrics for Prometheus, /healthz; HTTP/1.1, unauthenticated
    #[arg(long, value_name = "ADDR:PORT")]
    admin: Option<SocketAddr>,
    /// Log level or filter, such as debug or mio_quiche=trace
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    log: String,

    #[command(flatten)]
    transport: Transport,
    #[command(flatten)]
    webtransport: WebTransport,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    access_log: super::access_log::Flags,
    #[command(flatten)]
    diagnostics: Diagnostics,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Transport")]
struct Transport {
    /// Validate client addresses with a Retry packet; auto: while many handshakes are in progress
    #[arg(long, value_enum, default_value = "auto")]
    retry: Retry,
    /// Congestion control
    #[arg(long, value_enum, default_value = "cubic")]
    cc: Cc,
    /// Accept safe methods in the first flight of returning clients (0-RTT), which an attacker can replay
    #[arg(long)]
    early_data: bool,
    /// File of 48 random bytes that encrypt session tickets; SIGHUP reloads it with the certificate
    #[arg(long, value_name = "FILE")]
    ticket_key: Option<PathBuf>,
    /// File of at least 32 random bytes, for stateless resets and Retry tokens: with the same file, clients learn at
    /// once that a restarted server has lost their connections
    #[arg(long, value_name = "FILE")]
    host_key: Option<PathBuf>,
    /// Largest UDP payload sent, 1200 to 65527 bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1350)]
    max_udp_payload: usize,
    /// Seconds without traffic after which a connection is dropped
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    idle_timeout: Duration,
    /// Initial flow control window of a connection, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 10 * 1024 * 1024)]
    max_data: u64,
    /// Initial flow control window of a stream, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    max_stream_data: u64,
    /// Send no reserved settings, frames and streams (GREASE), which keep clients tolerant of unknown ones
    #[arg(long)]
    no_grease: bool,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "WebTransport")]
struct WebTransport {
    /// Pages of this origin may open sessions, besides those of the server's own; repeatable; * allows any origin and
    /// none
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Accept no sessions; same as H3_WEBTRANSPORT=0
    #[arg(long)]
    no_webtransport: bool,
    /// Drafts offered in SETTINGS; all: also newer ones, with flow control of sessions
    #[arg(long, value_enum, default_value = "browsers")]
    wt_drafts: WtDrafts,
    /// Concurrent sessions on a connection
    #[arg(long, value_name = "N", default_value_t = 16)]
    max_sessions: usize,
    /// Seconds without traffic after which a session is closed [default: none]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    session_idle_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WtDrafts {
    Browsers,
    All,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Limits")]
struct Limits {
    /// Concurrent connections
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    max_connections: usize,
    /// Concurrent handshakes
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    max_handshakes: usize,
    /// Concurrent requests on a connection; with WebTransport, more are rejected, and clients may retry
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_requests: u64,
    /// Fields in a request's head; more get 431; cookie fields count as one
    #[arg(long, value_name = "N", default_value_t = 200)]
    max_fields: usize,
    /// Longest value of a field; Kerberos and other large tokens may need more
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024)]
    max_field_value: usize,
    /// Largest field section: names, values, and 32 bytes for each field
    #[arg(long, value_name = "BYTES", default_value_t = 32 * 1024)]
    max_field_section: usize,
    /// Longest request target (path and query); longer ones get 414
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024)]
    max_target: usize,
    /// Longest request body; longer ones get 413 [default: none]
    #[arg(long, value_name = "BYTES")]
    max_body: Option<u64>,
    /// Requests per second from each network (/24 of IPv4, /56 of IPv6), with bursts of the same size; more get 429
    /// [default: none]
    #[arg(long, value_name = "N")]
    max_request_rate: Option<NonZeroU32>,
    /// Time for a request's head, for each KiB of its body, and for the client to read part of the response, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    request_timeout: Duration,
    /// Time limit for a handshake, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    handshake_timeout: Duration,
    /// Time for running responses after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    shutdown_timeout: Duration,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Diagnostics")]
struct Diagnostics {
    /// Write one qlog file per connection here, once the client's address is validated
    #[cfg(feature = "qlog")]
    #[arg(long, value_name = "DIR", env = "QLOGDIR", conflicts_with = "no_qlog")]
    qlog_dir: Option<PathBuf>,
    /// Write no qlog files, even when QLOGDIR is set
    #[cfg(feature = "qlog")]
    #[arg(long)]
    no_qlog: bool,
    /// Append TLS secrets to this file, for decrypting packet captures; SIGUSR1 reopens it
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    keylog: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Retry {
    Off,
    On,
    Auto,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Cc {
    Cubic,
    Reno,
    Bbr2,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    env_logger::Builder::new()
        .parse_filters(&args.log)
        .format_timestamp_millis()
        .try_init()
        .map_err(|e| Failure::Runtime(e.to_string()))?;
    let (listen, workers) = (args.listen.clone(), args.workers);
    let (root, root_at) = (args.root.clone(), args.root_at.clone());
    let config = config(args)?;
    let router = move || router(root.as_deref(), root_at.as_deref());
    let stats = match workers {
        1 => {
            let mut server = match systemd::socket()? {
                Some(socket) => Server::from_socket(socket, config, router()?)?,
                None => Server::bind(&listen, config, router()?)?,
            };
            announce(server.local_addr(), server.admin_addr())?;
            server.run()?;
            server.stats()
        }
        _ => {
            systemd::no_socket("--workers needs sockets of its own")?;
            let mut workers = Workers::bind(&listen, config, workers, router)?;
            announce(workers.local_addr(), workers.admin_addr())?;
            log::info!("{} workers", workers.count());
            workers.run()?;
            workers.stats()
        }
    };
    log::info!("{stats:?}");
    Ok(())
}

/// The demo's routes, with the files of `root` also under `root_at`.
fn router(root: Option<&Path>, root_at: Option<&str>) -> mio_quiche::Result<Router> {
    let router = demo::router(root)?;
    let (Some(root), Some(at)) = (root, root_at) else { return Ok(router) };
    let mut files = StaticFiles::open(root)?;
    let pattern = format!("{}/*", at.trim_end_matches('/'));
    Ok(router.get(&pattern, move |req, res| files.respond(req, "*", res)))
}

fn announce(addr: SocketAddr, admin: Option<SocketAddr>) -> Result<(), Failure> {
    systemd::ready(addr);
    print(&format!("listening on {addr}\n"))?;
    match admin {
        Some(addr) => print(&format!("admin on http://{addr}/\n")),
        None => Ok(()),
    }
}

fn config(args: Args) -> Result<ServerConfig, Failure> {
    let Args { cert, key, client_ca, admin, transport, webtransport, limits, access_log, diagnostics, .. } = args;
    if cert.len() != key.len() {
        return Err(Failure::Usage(format!("{} --cert, but {} --key: give one for each", cert.len(), key.len())));
    }
    let mut config = ServerConfig::new(cert.into_iter().zip(key).map(|(c, k)| Certificate::from_files(c, k)).collect());
    config.client_ca = client_ca;
    config.retry = match transport.retry {
        Retry::Off => RetryPolicy::Off,
        Retry::On => RetryPolicy::On,
        Retry::Auto => RetryPolicy::Auto,
    };
    config.transport.congestion_control = match transport.cc {
        Cc::Cubic => CongestionControl::Cubic,
        Cc::Reno => CongestionControl::Reno,
        Cc::Bbr2 => CongestionControl::Bbr2,
    };
    config.transport.early_data = transport.early_data;
    config.ticket_key = transport.ticket_key;
    config.host_key = transport.host_key;
    config.transport.max_udp_payload = transport.max_udp_payload;
    config.transport.idle_timeout = transport.idle_timeout;
    config.transport.initial_max_data = transport.max_data;
    config.transport.initial_max_stream_data = transport.max_stream_data;
    config.transport.grease = !transport.no_grease;
    let off = webtransport.no_webtransport || std::env::var_os("H3_WEBTRANSPORT").is_some_and(|value| value == "0");
    config.webtransport.allowed = !off;
    config.webtransport.drafts = match webtransport.wt_drafts {
        WtDrafts::Browsers => Drafts::Browsers,
        WtDrafts::All => Drafts::All,
    };
    config.webtransport.max_sessions = webtransport.max_sessions;
    config.webtransport.idle_timeout = webtransport.session_idle_timeout;
    config.webtransport.allow_origins = webtransport.allow_origin;
    config.max_connections = limits.max_connections;
    config.max_handshakes = limits.max_handshakes;
    config.transport.max_streams_bidi = limits.max_requests;
    config.request_limits.max_fields = limits.max_fields;
    config.request_limits.max_value = limits.max_field_value;
    config.request_limits.max_field_section = limits.max_field_section;
    config.request_limits.max_target = limits.max_target;
    config.max_request_body = limits.max_body;
    config.max_request_rate = limits.max_request_rate;
    config.request_timeout = limits.request_timeout;
    config.transport.handshake_timeout = limits.handshake_timeout;
    config.shutdown_timeout = limits.shutdown_timeout;
    config.admin = admin;
    config.access_log = access_log.settings();
    config.transport.keylog = diagnostics.keylog;
    #[cfg(feature = "qlog")]
    {
        config.transport.qlog_dir = diagnostics.qlog_dir.filter(|_| !diagnostics.no_qlog);
    }
    Ok(config)
}
