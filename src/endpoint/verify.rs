//! A client's checks of a server's certificate, in addition to quiche's.

use std::net::IpAddr;

use boring::x509::X509;
use ring::digest;

use crate::config::ClientConfig;

/// Checks a server's certificate against hashes, or against the address that it was connected to.
#[derive(Debug, Default)]
pub(super) struct ServerVerifier {
    hashes: Vec<[u8; 32]>,
    checks_authority: bool,
}

impl ServerVerifier {
    pub(super) fn new(config: &ClientConfig) -> Self {
        ServerVerifier { hashes: config.cert_hashes.clone(), checks_authority: config.checks_authority() }
    }

    /// Verifies a certificate (DER). `ip`: the server's address, if the URL has an address instead of a name.
    ///
    /// # Errors
    /// The reason to reject it.
    pub(super) fn verify(&self, cert: Option<&[u8]>, ip: Option<IpAddr>) -> Result<(), &'static str> {
        if !self.hashes.is_empty() {
            let hash = cert.map(|cert| digest::digest(&digest::SHA256, cert));
            let known = hash.is_some_and(|hash| self.hashes.iter().any(|trusted| trusted == hash.as_ref()));
            return if known { Ok(()) } else { Err("the certificate has none of the expected hashes") };
        }
        match ip {
            Some(ip) if self.checks_authority && !cert.is_some_and(|cert| names_address(cert, ip)) => {
                Err("the certificate is not for this address")
            }
            _ => Ok(()),
        }
    }
}

/// Whether a certificate's subject alternative names include an address (RFC 5280 section 4.2.1.6).
fn names_address(cert: &[u8], ip: IpAddr) -> bool {
    X509::from_der(cert).and_then(|cert| cert.check_ip_asc(&ip.to_string())).unwrap_or(false)
}
