//! Settings of both sides: a server with its own certificate, and a client that accepts any.

use crate::app::cert::DevCert;
use crate::config::{ClientConfig, ServerConfig};

struct Certificate {
    dir: tempfile::TempDir,
}

thread_local! {
    static CERTIFICATE: Certificate = {
        let dir = tempfile::tempdir().expect("a temporary directory");
        DevCert::generate(&[]).and_then(|cert| cert.write(dir.path())).expect("a certificate");
        Certificate { dir }
    };
}

pub(super) fn server() -> ServerConfig {
    CERTIFICATE.with(|Certificate { dir }| {
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        ServerConfig::from_pem(cert, key).expect("both files")
    })
}

pub(super) fn client() -> ClientConfig {
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    config
}
