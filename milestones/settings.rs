//! What the milestones share: the default settings, with a certificate.

use std::path::Path;

use mio_quiche::app::cert::DevCert;
use mio_quiche::{Error, Result, ServerConfig};

/// Calls `build` with the default settings and a certificate: the one in `certs/`, or else a new one in a directory that
/// is removed when `build` has returned.
pub(crate) fn with_certificate<T>(build: impl FnOnce(ServerConfig) -> Result<T>) -> Result<T> {
    if Path::new("certs/cert.pem").exists() {
        return build(ServerConfig::from_pem("certs/cert.pem", "certs/key.pem")?);
    }
    let dir = tempfile::tempdir()?;
    DevCert::generate(&[]).and_then(|cert| cert.write(dir.path())).map_err(Error::handler)?;
    build(ServerConfig::from_pem(dir.path().join("cert.pem"), dir.path().join("key.pem"))?)
}
