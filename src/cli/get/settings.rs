//! The client's settings.

use std::time::Duration;

use mio_quiche::{Certificate, ClientConfig};

use super::args::Args;
use super::failure::{CA_FILE, CLIENT_CERTIFICATE, PROXY, Problem, USAGE};
use crate::cli::input;
use crate::cli::remote::{Family, Lookups};

/// What `--connect-timeout 0` means to curl.
const NO_LIMIT: Duration = Duration::from_secs(300);

impl Args {
    pub(super) fn config(&self, lookups: &Lookups) -> Result<ClientConfig, Problem> {
        let connection = &self.connection;
        let mut config = ClientConfig::default();
        if let Some(file) = &connection.cacert {
            let wrong = |what: &str| {
                let message =
                    format!("cannot use the CA file '{}': {what} (--cacert wants a PEM file)", file.display());
                Problem::new(CA_FILE, message)
            };
            let text = input::read(file).map_err(|e| wrong(&e.to_string()))?;
            if !text.windows(17).any(|window| window == b"BEGIN CERTIFICATE") {
                return Err(wrong("it holds no certificate"));
            }
        }
        if let Some(dir) = &connection.capath
            && let Err(e) = std::fs::read_dir(dir)
        {
            return Err(Problem::new(
                CA_FILE,
                format!("cannot use the CA directory '{}': {e} (--capath)", dir.display()),
            ));
        }
        if let Some(proxy) = &connection.proxy {
            let message = format!("-x '{proxy}': HTTP/3 goes over UDP, which HTTP proxies do not carry (leave it out)");
            return Err(Problem::new(PROXY, message));
        }
        let only = match (connection.ipv4, connection.ipv6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        };
        config.resolver = connection.known.resolver(only, Some(lookups));
        config.alt_svc = connection.alt_svc.is_some();
        (config.ca_file, config.ca_dir) = (connection.cacert.clone(), connection.capath.clone());
        if let Some(cert) = &connection.cert {
            let key = connection.key.as_ref().unwrap_or(cert);
            let wrong = |e| Problem::new(CLIENT_CERTIFICATE, format!("{e} (--cert, --key)"));
            let certificate = Certificate::from_files(cert, key);
            certificate.check().map_err(wrong)?;
            config.certificate = Some(certificate);
        }
        config.cert_hashes = connection.cert_hash.iter().map(|text| hash(text)).collect::<Result<_, _>>()?;
        if connection.insecure {
            config.dangerous().accept_any_certificate();
        }
        config.connect_timeout = match connection.connect_timeout {
            Duration::ZERO => NO_LIMIT,
            limit => limit,
        };
        config.transport.early_data = connection.early_data;
        config.webtransport.enabled = false;
        config.handle_signals = true;
        config.transport.keylog = connection.keylog.clone();
        #[cfg(feature = "qlog")]
        {
            config.transport.qlog_dir = connection.qlog_dir.clone();
            config.transport.qlog_max = connection.qlog_limits.max;
        }
        Ok(config)
    }
}

/// A SHA-256 in hex, with or without colons, or in base64.
fn hash(text: &str) -> Result<[u8; 32], Problem> {
    let hex = data_encoding::HEXLOWER_PERMISSIVE.decode(text.replace(':', "").as_bytes());
    let bytes = hex.ok().filter(|hash| hash.len() == 32);
    let bytes = bytes.or_else(|| data_encoding::BASE64.decode(text.as_bytes()).ok());
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        let message =
            format!("--cert-hash '{text}': not a SHA-256 in hex or base64 (see mio-quiche cert --print-hash)");
        Problem::new(USAGE, message)
    })
}
