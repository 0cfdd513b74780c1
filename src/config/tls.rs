//! Identity and trust: the files of certificates and keys, read into quiche's settings.

use std::path::{Path, PathBuf};

use super::check;
use super::secret::{Secret, read_key, wrong_length};
use crate::error::ConfigError;

/// Bytes of a key for session tickets, as BoringSSL requires.
const TICKET_KEY_LEN: usize = 48;
/// The name of the setting in errors.
const TICKET_KEY: &str = "ticket key";

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
    pub(super) ticket_key: TicketKey,
}

/// What session tickets are sealed with.
#[derive(Debug)]
pub(super) enum TicketKey {
    /// A key that is read anew each time.
    File(PathBuf),
    /// A key of this process. BoringSSL's own default would be another one in each of quiche's settings, so that no
    /// ticket would outlive a reload.
    Random(Secret),
}

impl TicketKey {
    fn read(&self) -> Result<[u8; TICKET_KEY_LEN], ConfigError> {
        let path = match self {
            TicketKey::File(path) => path,
            TicketKey::Random(secret) => return Ok(secret.derive("session tickets")),
        };
        let key = read_key(TICKET_KEY, path)?;
        key.as_slice().try_into().map_err(|_| {
            let expected = "48 random bytes (make them with: head -c 48 /dev/urandom)";
            wrong_length(TICKET_KEY, &key, path, expected)
        })
    }
}

impl ServerTls {
    /// Reads the files into quiche's settings.
    pub(super) fn apply(&self, c: &mut quiche::Config) -> Result<(), ConfigError> {
        load_identity(c, &self.cert, &self.key)?;
        if let Some(ca) = &self.client_ca {
            check::pem("certificate", ca, &["BEGIN CERTIFICATE"])?;
            let ca = check::utf8("client authority", ca)?;
            c.load_verify_locations_from_file(ca).map_err(ConfigError::refused("client_ca"))?;
        }
        c.verify_peer(self.client_ca.is_some());
        c.set_ticket_key(&self.ticket_key.read()?).map_err(ConfigError::refused(TICKET_KEY))
    }
}

/// Loads a certificate chain and its private key.
fn load_identity(c: &mut quiche::Config, cert: &Path, key: &Path) -> Result<(), ConfigError> {
    let (cert_file, key_file) = (check::utf8("certificate", cert)?, check::utf8("private key", key)?);
    c.load_cert_chain_from_pem_file(cert_file)
        .map_err(|_| ConfigError::NotPem { what: "certificate", path: cert.to_owned() })?;
    if c.load_priv_key_from_pem_file(key_file).is_ok() {
        return Ok(());
    }
    // quiche only reports "TLS failure": if the key loads without the certificate, it belongs to another one.
    let alone = quiche::Config::new(quiche::PROTOCOL_VERSION).and_then(|mut c| c.load_priv_key_from_pem_file(key_file));
    Err(match alone {
        Ok(()) => ConfigError::Mismatch { cert: cert.to_owned(), key: key.to_owned() },
        Err(_) => ConfigError::NotPem { what: "private key", path: key.to_owned() },
    })
}

/// The certificate chain and the private key that a client proves its identity with, each a PEM file.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// The certificate authorities that a client trusts, and its own identity.
#[derive(Debug)]
pub(super) struct ClientTls {
    pub(super) identity: Option<Identity>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) ca_dir: Option<PathBuf>,
    pub(super) checks_authority: bool,
}

impl ClientTls {
    /// Adds the authorities and the identity to quiche's settings.
    pub(super) fn apply(&self, c: &mut quiche::Config) -> Result<(), ConfigError> {
        if let Some(Identity { cert, key }) = &self.identity {
            load_identity(c, cert, key)?;
        }
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
