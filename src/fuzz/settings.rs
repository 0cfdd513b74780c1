//! Settings of both sides: a server with its own certificate, and a client that accepts any.

use crate::app::cert::DevCert;
use crate::config::{Certificate, ClientConfig, ServerConfig};

thread_local! {
    static CERTIFICATE: Certificate = DevCert::generate(&[]).expect("a certificate").certificate();
}

pub(super) fn server() -> ServerConfig {
    CERTIFICATE.with(|certificate| ServerConfig::new(vec![certificate.clone()]))
}

pub(super) fn client() -> ClientConfig {
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    config
}
