//! What the client's commands share: whom to trust, and what an error means to a script.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use mio_quiche::{ClientConfig, ClientError};

use super::Failure;

pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 something failed or was not as it should be, 2 wrong arguments or settings; as curl's: 6 host not
resolved, 7 cannot connect, 28 timeout, 35 TLS handshake failed, 60 certificate not accepted; 130 interrupted.";

/// Which servers are trusted.
#[derive(Debug, ClapArgs)]
pub(super) struct Trust {
    /// Accept any certificate
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Trust the certificate authorities in this PEM file too
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Trust exactly the certificate with this SHA-256, whoever signed it; repeatable
    #[arg(long, value_name = "HEX|BASE64", value_parser = hash)]
    cert_hash: Vec<[u8; 32]>,
}

impl Trust {
    pub(super) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::default();
        config.ca_file = self.cacert.clone();
        config.cert_hashes = self.cert_hash.clone();
        if self.insecure {
            config.dangerous().accept_any_certificate();
        }
        config
    }
}

fn hash(text: &str) -> Result<[u8; 32], String> {
    let hex: String = text.chars().filter(|c| *c != ':').collect();
    let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).or_else(|_| BASE64.decode(text.as_bytes()));
    let bytes = bytes.map_err(|_| "neither hexadecimal nor base64".to_owned())?;
    <[u8; 32]>::try_from(bytes).map_err(|bytes| format!("{} bytes, but SHA-256 has 32", bytes.len()))
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
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
            ClientError::Resolve { .. } => 6,
            ClientError::ConnectTimeout { .. } | ClientError::Timeout(_) => 28,
            _ if error.is_certificate() => 60,
            // A TLS alert (RFC 9001 section 4.8).
            ClientError::Handshake { cause, .. } if !cause.application && cause.code.0 >> 8 == 1 => 35,
            ClientError::Handshake { .. } => 7,
            _ => 1,
        };
        Failure::Coded(code, error.to_string())
    }
}

/// Messages of the library, when `RUST_LOG` asks for them.
pub(super) fn log_if_asked() {
    if let Ok(filters) = std::env::var("RUST_LOG") {
        // Fails where a logger is set already.
        let _ = env_logger::Builder::new().parse_filters(&filters).format_timestamp_millis().try_init();
    }
}
