//! The arguments of `mio-quiche get`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;

use super::data::DataArgs;
use super::rate::parse_rate;
use crate::cli::remote::KnownHosts;

/// Options that curl has keep their names and meanings.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct Args {
    /// URLs to get; https:// may be omitted; {a,b}, [1-9], [a-z:2] make several of one
    #[arg(value_name = "URL", required_unless_present_any = ["url", "config"])]
    pub(super) urls: Vec<String>,
    /// Another URL, for files of arguments
    #[arg(long, value_name = "URL")]
    pub(super) url: Vec<String>,
    /// Read arguments from this file (- is standard input), in lines OPTION or OPTION = VALUE; those given here win
    #[arg(short = 'K', long, value_name = "FILE")]
    pub(super) config: Vec<PathBuf>,
    /// Take {a,b} and [1-9] in URLs as they are, not as several URLs
    #[arg(short = 'g', long)]
    pub(super) globoff: bool,

    #[command(flatten)]
    pub(super) request: RequestArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(flatten)]
    pub(super) retry: RetryArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Request")]
pub(super) struct RequestArgs {
    /// Method, instead of GET, or POST with -d, or PUT with -T
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// Header field 'Name: value'; 'Name:' leaves one out, 'Name;' sends it empty; @FILE has one in each line; repeatable
    #[arg(short = 'H', long = "header", value_name = "FIELD|@FILE", allow_hyphen_values = true)]
    pub(super) headers: Vec<String>,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// PUT this file (- is standard input); to a URL that ends in / its name is appended
    #[arg(short = 'T', long, value_name = "FILE", conflicts_with_all = ["data_options", "head"])]
    pub(super) upload_file: Option<PathBuf>,
    /// Send HEAD, and show the header fields only
    #[arg(short = 'I', long)]
    pub(super) head: bool,
    /// Name and password (HTTP Basic), for the URLs' own hosts; a password that is missing is asked for on the terminal
    #[arg(short = 'u', long, value_name = "NAME:PASSWORD")]
    pub(super) user: Option<String>,
    /// Cookies NAME=VALUE for the URLs' own hosts, or a file with cookies; '' only keeps those that servers set
    #[arg(short = 'b', long, value_name = "NAME=VALUE|FILE")]
    pub(super) cookie: Vec<String>,
    /// Write the cookies to this file (- is standard output) at the end
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(super) cookie_jar: Option<PathBuf>,
    /// Leave out the cookies in files that are for one session only
    #[arg(short = 'j', long)]
    pub(super) junk_session_cookies: bool,
    /// User-Agent; '' sends none
    #[arg(short = 'A', long, value_name = "TEXT")]
    pub(super) user_agent: Option<String>,
    /// Referer
    #[arg(short = 'e', long, value_name = "URL")]
    pub(super) referer: Option<String>,
    /// Ask for these bytes only, such as 0-99, 500- or -100 (the last 100)
    #[arg(short = 'r', long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(super) range: Option<String>,
    /// Skip this many bytes of the body, and append the rest to the output; - takes the size of the file
    #[arg(short = 'C', long, value_name = "BYTES|-", value_parser = parse_resume, allow_hyphen_values = true,
        conflicts_with_all = ["range", "upload_file"])]
    pub(super) continue_at: Option<Resume>,
    /// Follow redirects, at most 50
    #[arg(short = 'L', long)]
    pub(super) location: bool,
    /// Repeat each request N times
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) repeat: usize,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Write to this file instead of standard output (-); with several URLs, one -o for each; #1 is what the first
    /// pattern of the URL stands for
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(super) outputs: Vec<PathBuf>,
    /// Write to a file named after the last segment of the URL's path, for every URL without -o
    #[arg(short = 'O', long)]
    pub(super) remote_name: bool,
    /// With -O, take the file's name from content-disposition, and never overwrite a file with it
    #[arg(short = 'J', long, requires = "remote_name")]
    pub(super) remote_header_name: bool,
    /// Print the response's header fields before its body
    #[arg(short = 'i', long)]
    pub(super) include: bool,
    /// Write the response's heads to this file (- is standard output)
    #[arg(short = 'D', long, value_name = "FILE")]
    pub(super) dump_header: Option<PathBuf>,
    /// Make missing directories of output files
    #[arg(long)]
    pub(super) create_dirs: bool,
    /// Fail with exit code 22 on status 400 and above, without the body
    #[arg(short = 'f', long)]
    pub(super) fail: bool,
    /// As -f, with the body
    #[arg(long, conflicts_with = "fail")]
    pub(super) fail_with_body: bool,
    /// Ask for a compressed body, and decode it: gzip, deflate, br, zstd
    #[arg(long)]
    pub(super) compressed: bool,
    /// Fail with exit code 63 on a larger body; k, M and G are powers of 1024
    #[arg(long, value_name = "BYTES", value_parser = parse_rate)]
    pub(super) max_filesize: Option<u64>,
    /// Print one JSON object per request on standard output; bodies are discarded without -o
    #[arg(long, conflicts_with = "include")]
    pub(super) report: bool,
    /// Print this after each transfer, such as '%{http_code} %{size_download} %{time_total} %{url_effective}\n', or %{json}
    #[arg(short = 'w', long, value_name = "FORMAT|@FILE")]
    pub(super) write_out: Option<String>,
    /// Show heads (> and <) and details of the connection (*) on standard error
    #[arg(short = 'v', long)]
    pub(super) verbose: bool,
    /// No progress bar and no error messages
    #[arg(short = 's', long)]
    pub(super) silent: bool,
    /// Show errors even with -s
    #[arg(short = 'S', long)]
    pub(super) show_error: bool,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionArgs {
    /// Accept any certificate: anyone on the path can read and change everything
    #[arg(short = 'k', long)]
    pub(super) insecure: bool,
    /// Trust the authorities in this PEM file besides the system's
    #[arg(long, value_name = "FILE")]
    pub(super) cacert: Option<PathBuf>,
    /// Trust the authorities in this directory (files with OpenSSL's hashed names) besides the system's
    #[arg(long, value_name = "DIR")]
    pub(super) capath: Option<PathBuf>,
    /// Prove who we are with the certificate chain in this PEM file (mutual TLS)
    #[arg(short = 'E', long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
    /// The private key of --cert, PEM, if it is in another file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// Trust exactly the certificate with this SHA-256, in hex or base64; repeatable
    #[arg(long, value_name = "HASH")]
    pub(super) cert_hash: Vec<String>,
    #[command(flatten)]
    pub(super) known: KnownHosts,
    /// Connect to IPv4 addresses only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub(super) ipv4: bool,
    /// Connect to IPv6 addresses only
    #[arg(short = '6', long)]
    pub(super) ipv6: bool,
    /// Nothing: only HTTP/3 is spoken here
    #[arg(long, hide = true)]
    pub(super) http3: bool,
    /// Nothing: only HTTP/3 is spoken here
    #[arg(long, hide = true)]
    pub(super) http3_only: bool,
    /// Not supported: HTTP/3 does not go through a proxy
    #[arg(short = 'x', long, value_name = "URL", hide = true)]
    pub(super) proxy: Option<String>,
    /// Time limit for each transfer, in seconds; 0 is none
    #[arg(short = 'm', long, value_name = "SECONDS", value_parser = crate::cli::seconds)]
    pub(super) max_time: Option<Duration>,
    /// Time limit for connecting, in seconds; 0 is 300
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = crate::cli::seconds)]
    pub(super) connect_timeout: Duration,
    /// Maximum bytes per second in each direction, 0 is no limit; k, M and G are powers of 1024
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(super) limit_rate: Option<u64>,
    /// Use the alternative services that servers announce (RFC 7838), and store them in this file in curl's format;
    /// '' keeps them in memory only
    #[arg(long, value_name = "FILE", value_parser = |text: &str| Ok::<_, String>(PathBuf::from(text)))]
    pub(super) alt_svc: Option<PathBuf>,
    /// Resume the TLS sessions in this file, and store new ones there
    #[arg(long, value_name = "FILE")]
    pub(super) resume_session: Option<PathBuf>,
    /// Send GET and HEAD in the first flight of a resumed session, which an attacker can replay
    #[arg(long = "0rtt", requires = "resume_session")]
    pub(super) early_data: bool,
    /// Move to another port after the first bytes of the response
    #[arg(long)]
    pub(super) migrate: bool,
    /// Write one qlog file per connection here
    #[cfg(feature = "qlog")]
    #[arg(long, value_name = "DIR", env = "QLOGDIR")]
    pub(super) qlog_dir: Option<PathBuf>,
    #[cfg(feature = "qlog")]
    #[command(flatten)]
    pub(super) qlog_limits: crate::cli::qlog::QlogLimits,
    /// Append TLS secrets to this file, for decrypting packet captures
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    pub(super) keylog: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Retries")]
pub(super) struct RetryArgs {
    /// Try again up to N times after a time-out, a host without address, or status 408, 429, 500, 502, 503, 504, 522 or
    /// 524; when Retry-After says, or after 1, 2, 4, ... seconds
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) retry: u32,
    /// Seconds between tries, instead of 1, 2, 4, ...
    #[arg(long, value_name = "SECONDS", value_parser = crate::cli::seconds)]
    pub(super) retry_delay: Option<Duration>,
    /// Begin no further try when this many seconds have passed since the first one
    #[arg(long, value_name = "SECONDS", value_parser = crate::cli::seconds)]
    pub(super) retry_max_time: Option<Duration>,
    /// Also when the connection is refused
    #[arg(long)]
    pub(super) retry_connrefused: bool,
    /// After every failure
    #[arg(long)]
    pub(super) retry_all_errors: bool,
}

/// Where `-C` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    At(u64),
    /// At the size of the output file.
    FileSize,
}

fn parse_resume(text: &str) -> Result<Resume, String> {
    match text {
        "-" => Ok(Resume::FileSize),
        text => text.parse().map(Resume::At).map_err(|_| "neither a number of bytes nor -".to_owned()),
    }
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Several URLs")]
pub(super) struct RunArgs {
    /// Run all transfers at the same time, on as few connections as possible
    #[arg(short = 'Z', long)]
    pub(super) parallel: bool,
    /// With -Z, run at most N transfers at a time
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(super) parallel_max: usize,
}

pub(super) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}
