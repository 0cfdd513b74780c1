//! Identity and trust: certificates and keys, read into quiche's settings.

use std::path::PathBuf;

use boring::error::ErrorStack;
#[cfg(feature = "admin")]
use boring::ssl::{AlpnError, SslContext, SslVersion, select_next_proto};
use boring::ssl::{
    ClientHello, NameType, SelectCertError, SslContextBuilder, SslMethod, SslSignatureAlgorithm, SslVerifyMode,
};
use boring::x509::verify::X509VerifyFlags;

use super::certificate::{Certificate, Identities, Identity};
use super::check;
use super::pem::Part;
use super::secret::{Secret, read_key, wrong_length};
use crate::error::ConfigError;

/// Bytes of a key for session tickets, as BoringSSL requires.
const TICKET_KEY_LEN: usize = 48;
/// The name of the setting in errors.
const TICKET_KEY: &str = "ticket key";

/// Identity and trust of a role.
#[derive(Clone, Debug)]
pub(super) enum Tls {
    Server(ServerTls),
    Client(ClientTls),
}

/// The server's identity, and the authorities that it checks clients with.
#[derive(Clone, Debug)]
pub(super) struct ServerTls {
    /// Not empty; the first is the default.
    pub(super) certificates: Vec<Certificate>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) ticket_key: TicketKey,
}

/// What session tickets are sealed with.
#[derive(Clone, Debug)]
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

/// The name of the TLS library in errors.
const TLS: &str = "the TLS library";

impl ServerTls {
    /// Reads the certificates and keys into quiche's settings.
    pub(super) fn to_quiche(&self) -> Result<quiche::Config, ConfigError> {
        let identities: Vec<_> = self.certificates.iter().map(Certificate::load).collect::<Result<_, _>>()?;
        let mut context = context(identities).map_err(ConfigError::refused(TLS))?;
        if self.client_ca.is_some() {
            // quiche's own `verify_peer` takes clients without a certificate.
            context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        let mut c = quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, context)
            .map_err(ConfigError::refused(TLS))?;
        if let Some(ca) = &self.client_ca {
            check::pem(Part::Chain, ca)?;
            let ca = check::utf8("client authority", ca)?;
            c.load_verify_locations_from_file(ca).map_err(ConfigError::refused("client_ca"))?;
        }
        c.set_ticket_key(&self.ticket_key.read()?).map_err(ConfigError::refused(TICKET_KEY))?;
        Ok(c)
    }
}

/// The settings of a TLS server on TCP that speaks HTTP/1.1, with the same choice of certificates by host name.
///
/// # Errors
/// A certificate or key that cannot be used.
#[cfg(feature = "admin")]
pub(crate) fn tcp_context(certificates: &[Certificate]) -> Result<SslContext, ConfigError> {
    let identities: Vec<_> = certificates.iter().map(Certificate::load).collect::<Result<_, _>>()?;
    let mut context = context(identities).map_err(ConfigError::refused(TLS))?;
    context.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(ConfigError::refused(TLS))?;
    context.set_alpn_select_callback(|_, offered| select_next_proto(b"\x08http/1.1", offered).ok_or(AlpnError::NOACK));
    Ok(context.build())
}

/// The TLS settings of connections with these certificates. Trusts nobody yet.
fn context(mut identities: Vec<Identity>) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContextBuilder::new(SslMethod::tls())?;
    if identities.len() > 1 {
        let identities = Identities::new(identities);
        // Runs before the ticket is looked at. A context of its own for each certificate would lose what quiche sets.
        context.set_select_certificate_callback(move |mut hello: ClientHello<'_>| {
            let name = hello.servername(NameType::HOST_NAME).map(str::to_owned);
            identities.put_on(hello.ssl_mut(), name.as_deref()).map_err(|_| SelectCertError::ERROR)
        });
    } else if let Some(Identity { leaf, intermediates, key }) = identities.pop() {
        context.set_certificate(&leaf)?;
        intermediates.into_iter().try_for_each(|cert| context.add_extra_chain_cert(cert))?;
        context.set_private_key(&key)?;
    }
    Ok(context)
}

/// The signatures that a client accepts: BoringSSL's own choice, and Ed25519 and P-521 as other TLS libraries have them.
const SIGNATURES: [SslSignatureAlgorithm; 10] = [
    SslSignatureAlgorithm::ECDSA_SECP256R1_SHA256,
    SslSignatureAlgorithm::RSA_PSS_RSAE_SHA256,
    SslSignatureAlgorithm::RSA_PKCS1_SHA256,
    SslSignatureAlgorithm::ECDSA_SECP384R1_SHA384,
    SslSignatureAlgorithm::RSA_PSS_RSAE_SHA384,
    SslSignatureAlgorithm::RSA_PKCS1_SHA384,
    SslSignatureAlgorithm::ED25519,
    SslSignatureAlgorithm::ECDSA_SECP521R1_SHA512,
    SslSignatureAlgorithm::RSA_PSS_RSAE_SHA512,
    SslSignatureAlgorithm::RSA_PKCS1_SHA512,
];

/// The certificate authorities that a client trusts, and its own identity.
#[derive(Clone, Debug)]
pub(super) struct ClientTls {
    pub(super) certificate: Option<Certificate>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) ca_dir: Option<PathBuf>,
    pub(super) checks_authority: bool,
}

impl ClientTls {
    /// Reads the authorities into quiche's settings, which have those of the system.
    pub(super) fn to_quiche(&self) -> Result<quiche::Config, ConfigError> {
        let identity = self.certificate.iter().map(Certificate::load).collect::<Result<_, _>>()?;
        let mut context = context(identity).map_err(ConfigError::refused(TLS))?;
        context.set_default_verify_paths().map_err(ConfigError::refused(TLS))?;
        context.set_verify_algorithm_prefs(&SIGNATURES).map_err(ConfigError::refused(TLS))?;
        // Whoever trusts an intermediate authority, or a certificate itself, needs no root.
        context.cert_store_mut().set_flags(X509VerifyFlags::PARTIAL_CHAIN);
        let mut c = quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, context)
            .map_err(ConfigError::refused(TLS))?;
        if let Some(file) = &self.ca_file {
            check::pem(Part::Chain, file)?;
            let file = check::utf8("certificate authority", file)?;
            c.load_verify_locations_from_file(file).map_err(ConfigError::refused("ca_file"))?;
        }
        if let Some(dir) = &self.ca_dir {
            let dir = check::utf8("directory of authorities", dir)?;
            c.load_verify_locations_from_directory(dir).map_err(ConfigError::refused("ca_dir"))?;
        }
        c.verify_peer(self.checks_authority);
        Ok(c)
    }
}
