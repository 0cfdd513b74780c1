//! Identity and trust: the files of certificates and keys, read into quiche's settings.

use std::path::PathBuf;

use super::check;
use crate::error::ConfigError;

/// Bytes of a key for session tickets, as BoringSSL requires.
const TICKET_KEY_LEN: usize = 48;

/// Identity and trust of a role.
#[derive(Debug)]
pub(super) enum Tls {
    Server(ServerTls),
    Client(ClientTls),
}

/// The server's identity, and the authorities that it checks clients with.
#[derive(Debug)]
pub(super) struct ServerTls {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) ticket_key: Option<PathBuf>,
}

impl ServerTls {
    /// Reads the files into quiche's settings.
    pub(super) fn apply(&self, c: &mut quiche::Config) -> Result<(), ConfigError> {
        self.load_identity(c)?;
        if let Some(ca) = &self.client_ca {
            check::pem("certificate", ca, &["BEGIN CERTIFICATE"])?;
            let ca = check::utf8("client authority", ca)?;
            c.load_verify_locations_from_file(ca).map_err(ConfigError::refused("client_ca"))?;
        }
        c.verify_peer(self.client_ca.is_some());
        if let Some(path) = &self.ticket_key {
            let what = "ticket key";
            let key = std::fs::read(path);
            let key = key.map_err(|source| ConfigError::Path { what, path: path.clone(), source })?;
            if key.len() != TICKET_KEY_LEN {
                let value = format!("{} bytes in '{}'", key.len(), path.display());
                let expected = "48 random bytes (make them with: head -c 48 /dev/urandom)";
                return Err(ConfigError::Range { setting: what, value, expected });
            }
            c.set_ticket_key(&key).map_err(ConfigError::refused(what))?;
        }
        Ok(())
    }

    fn load_identity(&self, c: &mut quiche::Config) -> Result<(), ConfigError> {
        let (cert, key) = (check::utf8("certificate", &self.cert)?, check::utf8("private key", &self.key)?);
        c.load_cert_chain_from_pem_file(cert)
            .map_err(|_| ConfigError::NotPem { what: "certificate", path: self.cert.clone() })?;
        if c.load_priv_key_from_pem_file(key).is_ok() {
            return Ok(());
        }
        // quiche only reports "TLS failure": if the key loads without the certificate, it belongs to another one.
        let alone = quiche::Config::new(quiche::PROTOCOL_VERSION).and_then(|mut c| c.load_priv_key_from_pem_file(key));
        Err(match alone {
            Ok(()) => ConfigError::Mismatch { cert: self.cert.clone(), key: self.key.clone() },
            Err(_) => ConfigError::NotPem { what: "private key", path: self.key.clone() },
        })
    }
}

/// The certificate authorities that a client trusts.
#[derive(Debug)]
pub(super) struct ClientTls {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) ca_dir: Option<PathBuf>,
    pub(super) checks_authority: bool,
}

impl ClientTls {
    /// Adds the authorities to quiche's settings.
    pub(super) fn apply(&self, c: &mut quiche::Config) -> Result<(), ConfigError> {
        if let Some(file) = &self.ca_file {
            check::pem("certificate", file, &["BEGIN CERTIFICATE"])?;
            let file = check::utf8("certificate authority", file)?;
            c.load_verify_locations_from_file(file).map_err(ConfigError::refused("ca_file"))?;
        }
        if let Some(dir) = &self.ca_dir {
            let dir = check::utf8("directory of authorities", dir)?;
            c.load_verify_locations_from_directory(dir).map_err(ConfigError::refused("ca_dir"))?;
        }
        c.verify_peer(self.checks_authority);
        Ok(())
    }
}
