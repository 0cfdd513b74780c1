//! Shared by the client commands: trust, addresses of hosts, and exit codes of errors.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::Args as ClapArgs;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use mio_quiche::endpoint::ClosedBy;
use mio_quiche::{ClientConfig, ClientError, Resolver, net};

use super::Failure;

pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 success, 1 failure or wrong content, 2 invalid arguments or settings; as curl's: 6 host not
resolved, 7 cannot connect, 28 timeout, 35 TLS handshake failed, 60 certificate not accepted; 130 interrupted.";

/// The trust options.
#[derive(Debug, ClapArgs)]
pub(super) struct Trust {
    /// Accept any certificate
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Also trust the certificate authorities in this PEM file
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Trust exactly the certificate with this SHA-256, regardless of its issuer; repeatable
    #[arg(long, value_name = "HEX|BASE64", value_parser = hash)]
    cert_hash: Vec<[u8; 32]>,
    #[command(flatten)]
    known: KnownHosts,
}

impl Trust {
    pub(super) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::default();
        config.ca_file = self.cacert.clone();
        config.cert_hashes = self.cert_hash.clone();
        config.resolver = self.known.resolver(None, None);
        if self.insecure {
            config.dangerous().accept_any_certificate();
        }
        config
    }
}

/// Addresses of hosts that need no look-up.
#[derive(Debug, ClapArgs)]
pub(super) struct KnownHosts {
    /// Connect to ADDR for this host and port (* is any host) instead of looking it up; repeatable
    #[arg(long, value_name = "HOST:PORT:ADDR[,ADDR]...", value_parser = known_host)]
    resolve: Vec<KnownHost>,
}

/// When the addresses of hosts were known, by `https://HOST:PORT`.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookups(Arc<Mutex<HashMap<String, Instant>>>);

impl Lookups {
    fn note(&self, host: &str, port: u16) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(format!("https://{host}:{port}"), net::now());
    }

    pub(super) fn at(&self, origin: &str) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(origin).copied()
    }
}

/// Of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

#[derive(Clone, Debug)]
struct KnownHost {
    host: String,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl KnownHosts {
    /// A resolver for these hosts, which asks the system for all others. `only`: addresses of other families are left
    /// out. `lookups`: notes when answers came.
    pub(super) fn resolver(&self, only: Option<Family>, lookups: Option<&Lookups>) -> Option<Resolver> {
        let (known, lookups) = (self.resolve.clone(), lookups.cloned());
        let is_own = !self.resolve.is_empty() || only.is_some() || lookups.is_some();
        let resolver = Resolver::new(move |host, port| {
            let is_it = |it: &&KnownHost| it.port == port && (it.host == "*" || it.host.eq_ignore_ascii_case(host));
            let mut found: Vec<SocketAddr> = match known.iter().find(is_it) {
                Some(found) => found.addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect(),
                None => (host, port).to_socket_addrs()?.collect(),
            };
            found.retain(|address| only.is_none_or(|family| address.is_ipv4() == (family == Family::V4)));
            if let Some(lookups) = &lookups {
                lookups.note(host, port);
            }
            Ok(found)
        });
        is_own.then_some(resolver)
    }
}

fn known_host(text: &str) -> Result<KnownHost, String> {
    let (host, rest) = text.split_once(':').ok_or("not HOST:PORT:ADDR")?;
    let (port, addresses) = rest.split_once(':').ok_or("not HOST:PORT:ADDR")?;
    let port = port.parse().map_err(|_| format!("'{port}' is not a port"))?;
    let address = |text: &str| {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        bare.parse().map_err(|_| format!("'{text}' is not an address"))
    };
    let addresses = addresses.split(',').map(address).collect::<Result<_, String>>()?;
    Ok(KnownHost { host: host.to_owned(), port, addresses })
}

fn hash(text: &str) -> Result<[u8; 32], String> {
    let hex: String = text.chars().filter(|c| *c != ':').collect();
    let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).or_else(|_| BASE64.decode(text.as_bytes()));
    let bytes = bytes.map_err(|_| "neither hexadecimal nor base64".to_owned())?;
    <[u8; 32]>::try_from(bytes).map_err(|bytes| format!("{} bytes, but SHA-256 has 32", bytes.len()))
}

/// The URL, for which `https://` may be omitted.
pub(super) fn url(text: &str) -> String {
    if text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::from(&error)
    }
}

impl From<&ClientError> for Failure {
    fn from(error: &ClientError) -> Self {
        let code = match error {
            ClientError::Url { .. } => return Failure::Usage(error.to_string()),
            _ if error.is_timeout() => 28,
            ClientError::Resolve { .. } => 6,
            _ if error.is_certificate() => 60,
            // A TLS alert (RFC 9001 section 4.8).
            ClientError::Handshake { cause, .. } if !cause.application && cause.code.0 >> 8 == 1 => 35,
            ClientError::Handshake { .. } => 7,
            _ => 1,
        };
        Failure::Coded(code, format!("{error}{}", hint(error)))
    }
}

/// What can be done about an error, in terms of the command line.
fn hint(error: &ClientError) -> &'static str {
    match error {
        ClientError::Resolve { .. } if !error.is_timeout() => " (is the name right?)",
        ClientError::ConnectTimeout { .. } => " (is it an HTTP/3 server, on UDP?)",
        ClientError::Handshake { cause, .. } if error.is_refusal() && cause.by == ClosedBy::Us => {
            " (is it an HTTP/3 server, on UDP, and the port right?)"
        }
        ClientError::Handshake { .. } if error.is_certificate() => " (use --cacert FILE, --cert-hash HASH or -k)",
        _ => "",
    }
}

/// Logs messages of the library if `RUST_LOG` is set.
pub(super) fn log_if_asked() {
    if let Ok(filters) = std::env::var("RUST_LOG") {
        // Fails if a logger is already set.
        let _ = env_logger::Builder::new().parse_filters(&filters).format_timestamp_millis().try_init();
    }
}
