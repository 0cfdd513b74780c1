//! Certificates: from files or from memory, and which of a server's a client gets.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boring::error::ErrorStack;
use boring::pkey::{PKey, Private};
use boring::ssl::SslRef;
use boring::x509::X509;

use super::pem::Part;
use super::{check, pem};
use crate::error::ConfigError;

/// A certificate chain and its private key, in PEM form.
///
/// ```no_run
/// use mio_quiche::{Certificate, ServerConfig};
///
/// # fn main() -> std::io::Result<()> {
/// # let (chain, key) = (Vec::new(), Vec::new());
/// let config = ServerConfig::new(vec![
///     Certificate::from_files("example.com.pem", "example.com.key"),
///     Certificate::from_pem(chain, key),
/// ]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Certificate(Source);

#[derive(Clone)]
enum Source {
    Files { chain: PathBuf, key: PathBuf },
    Memory(Arc<Mutex<Pem>>),
}

#[derive(Clone)]
struct Pem {
    chain: Arc<[u8]>,
    key: Arc<[u8]>,
}

impl fmt::Debug for Certificate {
    /// Does not print the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Certificate");
        match &self.0 {
            Source::Files { chain, key } => out.field("chain", chain).field("key", key).finish(),
            Source::Memory(_) => out.finish_non_exhaustive(),
        }
    }
}

impl Certificate {
    /// Reads two files, at the start and at each [reload](crate::ServerHandle::reload): the chain, which begins with
    /// the own certificate, and the private key. Both may be the same file.
    pub fn from_files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Certificate(Source::Files { chain: chain.into(), key: key.into() })
    }

    /// Takes the content of such files from memory. It is written nowhere. A clone that the program keeps can
    /// [replace](Self::replace) it.
    pub fn from_pem(chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Pem { chain: chain.into().into(), key: key.into().into() }.into()
    }

    /// Replaces the content of a certificate [from memory](Self::from_pem) in all clones of it. A server uses it for new
    /// connections after its next [reload](crate::ServerHandle::reload).
    ///
    /// ```no_run
    /// use mio_quiche::{Certificate, Result, ServerHandle};
    ///
    /// fn renew(certificate: &Certificate, handle: &ServerHandle, chain: &str, key: &str) -> Result<()> {
    ///     certificate.replace(chain, key)?;
    ///     handle.reload()
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`check`](Self::check), and one for a certificate from files, which is replaced by writing these. Nothing
    /// changes.
    pub fn replace(&self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Result<(), ConfigError> {
        let Source::Memory(current) = &self.0 else {
            return Err(self.unusable(Part::Chain, "it is read from files: write these, and reload"));
        };
        let pem = Pem { chain: chain.into().into(), key: key.into().into() };
        Certificate::from(pem.clone()).check()?;
        *lock(current) = pem;
        Ok(())
    }

    /// A certificate whose two parts belong together, whatever is replaced meanwhile.
    fn snapshot(&self) -> Self {
        match &self.0 {
            Source::Files { .. } => self.clone(),
            Source::Memory(pem) => lock(pem).clone().into(),
        }
    }

    /// Checks that the two can be read and belong together, as building a server or client does.
    ///
    /// # Errors
    /// A part that cannot be read or holds no PEM block of its kind, or a key that belongs to another certificate.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.load().map(drop)
    }

    /// The PEM text of a part.
    fn read(&self, part: Part) -> Result<Arc<[u8]>, ConfigError> {
        let path = match (&self.0, part) {
            (Source::Memory(pem), Part::Chain) => return Ok(lock(pem).chain.clone()),
            (Source::Memory(pem), Part::Key) => return Ok(lock(pem).key.clone()),
            (Source::Files { chain, .. }, Part::Chain) => chain,
            (Source::Files { key, .. }, Part::Key) => key,
        };
        check::read(part.name(), path).map(Arc::from)
    }

    /// The file of a part, if it is one.
    fn path(&self, part: Part) -> Option<&Path> {
        match (&self.0, part) {
            (Source::Memory(_), _) => None,
            (Source::Files { chain, .. }, Part::Chain) => Some(chain),
            (Source::Files { key, .. }, Part::Key) => Some(key),
        }
    }

    fn unusable(&self, part: Part, reason: impl Into<String>) -> ConfigError {
        check::unusable(part.name(), self.path(part), reason)
    }

    /// The error for a part that cannot be read.
    fn not_pem(&self, part: Part, bytes: &[u8], error: Option<&ErrorStack>) -> ConfigError {
        let what = part.name();
        match (pem::fault(part, bytes, error), self.path(part)) {
            (Some(reason), _) => self.unusable(part, reason),
            (None, None) => ConfigError::NotPemInMemory { what },
            (None, Some(path)) => ConfigError::NotPem { what, path: path.to_owned() },
        }
    }

    /// The server's own certificate.
    pub(crate) fn leaf(&self) -> Result<X509, ConfigError> {
        Ok(self.chain()?.swap_remove(0))
    }

    /// Not empty.
    fn chain(&self) -> Result<Vec<X509>, ConfigError> {
        let pem = self.read(Part::Chain)?;
        match X509::stack_from_pem(&pem) {
            Ok(chain) if !chain.is_empty() => Ok(chain),
            read => Err(self.not_pem(Part::Chain, &pem, read.err().as_ref())),
        }
    }

    pub(super) fn load(&self) -> Result<Identity, ConfigError> {
        self.snapshot().load_parts()
    }

    fn load_parts(&self) -> Result<Identity, ConfigError> {
        let mut chain = self.chain()?;
        let leaf = chain.remove(0);
        let pem = self.read(Part::Key)?;
        let key = PKey::private_key_from_pem(&pem).map_err(|e| self.not_pem(Part::Key, &pem, Some(&e)))?;
        let Ok(public) = leaf.public_key() else { return Err(self.unusable(Part::Chain, pem::UNSUPPORTED)) };
        if !public.public_eq(&key) {
            return Err(self.mismatch(&leaf, &chain, &key));
        }
        Ok(Identity { leaf, intermediates: chain, key })
    }

    /// The error for a key that is not that of the first certificate.
    fn mismatch(&self, leaf: &X509, others: &[X509], key: &PKey<Private>) -> ConfigError {
        let is_of = |cert: &X509| cert.public_key().is_ok_and(|public| public.public_eq(key));
        if let Some(at) = others.iter().position(is_of) {
            let number = at + 2;
            let reason =
                format!("the private key belongs to certificate {number} of the chain, but has to belong to the first");
            return self.unusable(Part::Chain, reason);
        }
        if others.is_empty() && leaf.issued(leaf).is_ok() {
            let reason = "the private key does not belong to it, and it has signed itself: is it that of an authority?";
            return self.unusable(Part::Chain, reason);
        }
        match &self.0 {
            Source::Files { chain, key } => ConfigError::Mismatch { cert: chain.clone(), key: key.clone() },
            Source::Memory(_) => ConfigError::MismatchInMemory,
        }
    }
}

impl From<Pem> for Certificate {
    fn from(pem: Pem) -> Self {
        Certificate(Source::Memory(Arc::new(Mutex::new(pem))))
    }
}

fn lock(pem: &Mutex<Pem>) -> MutexGuard<'_, Pem> {
    // Nothing panics while it is locked.
    pem.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A certificate that was read.
pub(super) struct Identity {
    pub(super) leaf: X509,
    pub(super) intermediates: Vec<X509>,
    pub(super) key: PKey<Private>,
}

impl Identity {
    /// The host names in the certificate's subjectAltName, in lower case.
    fn names(&self) -> Vec<String> {
        let names = self.leaf.subject_alt_names();
        names.iter().flatten().filter_map(|name| Some(name.dnsname()?.to_ascii_lowercase())).collect()
    }

    /// Gives a connection this certificate. It must have none yet.
    fn put_on(&self, ssl: &mut SslRef) -> Result<(), boring::error::ErrorStack> {
        ssl.set_certificate(&self.leaf)?;
        self.intermediates.iter().try_for_each(|cert| ssl.add_chain_cert(cert))?;
        ssl.set_private_key(&self.key)
    }
}

/// Several certificates, chosen by the name that the client asks for (SNI, RFC 6066 section 3).
pub(super) struct Identities {
    /// Not empty. The first is for clients that ask for another name, or for none.
    all: Vec<Identity>,
    by_name: HashMap<String, usize>,
}

impl Identities {
    pub(super) fn new(all: Vec<Identity>) -> Self {
        let mut by_name = HashMap::new();
        for (index, identity) in all.iter().enumerate() {
            for name in identity.names() {
                by_name.entry(name).or_insert(index);
            }
        }
        Identities { all, by_name }
    }

    /// The index of the certificate for a name: that which has it, or else that with a wildcard in place of its first
    /// label (RFC 9525 section 6.3).
    fn find(&self, name: Option<&str>) -> usize {
        let find = |name: &str| {
            let name = name.to_ascii_lowercase();
            let exact = self.by_name.get(&name);
            exact.or_else(|| self.by_name.get(&format!("*.{}", name.split_once('.')?.1))).copied()
        };
        name.and_then(find).unwrap_or(0)
    }

    pub(super) fn put_on(&self, ssl: &mut SslRef, name: Option<&str>) -> Result<(), boring::error::ErrorStack> {
        self.all[self.find(name)].put_on(ssl)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};

    use super::*;

    fn pem(names: &[&str]) -> (String, String) {
        let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    /// A certificate by an authority.
    fn signed() -> String {
        let authority = rcgen::CertifiedIssuer::self_signed(CertificateParams::default(), KeyPair::generate().unwrap());
        let mut leaf = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        leaf.distinguished_name.push(rcgen::DnType::CommonName, "a.test");
        leaf.signed_by(&KeyPair::generate().unwrap(), &authority.unwrap()).unwrap().pem()
    }

    #[test]
    fn what_memory_holds_is_checked() {
        let ((cert, key), (_, other)) = (pem(&["a.test"]), pem(&["a.test"]));
        let told = |chain: &str, key: &str| Certificate::from_pem(chain, key).load().err().map(|e| e.to_string());
        assert_eq!(told(&cert, &key), None);
        assert_eq!(told(&format!("{key}{cert}"), &format!("{cert}{key}")), None);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(told("text", &key).as_deref(), Some("certificate in memory is not in PEM form"));
        assert_eq!(told(&cert, "text").as_deref(), Some("private key in memory is not in PEM form"));
        let damaged = "certificate in memory cannot be used: its PEM block is damaged";
        for chain in [broken, &format!("{cert}{broken}")] {
            assert_eq!(told(chain, &key).as_deref(), Some(damaged), "{chain}");
        }
        let mismatch = Some("private key in memory does not belong to its certificate".to_owned());
        let (own, other_cert) = (signed(), pem(&["b.test"]).0);
        assert_eq!(told(&own, &other), mismatch);
        let order = "certificate in memory cannot be used: the private key belongs to certificate 2 of the chain, but has \
                     to belong to the first";
        assert_eq!(told(&format!("{other_cert}{cert}"), &key).as_deref(), Some(order));
        let itself = "certificate in memory cannot be used: the private key does not belong to it, and it has signed \
                      itself: is it that of an authority?";
        assert_eq!(told(&cert, &other).as_deref(), Some(itself));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let error = Certificate::from_files("/dev/zero", "/dev/zero").load().err().map(|e| e.to_string());
        let expected = "cannot read certificate '/dev/zero': it has more than 4194304 bytes";
        assert_eq!(error.as_deref(), Some(expected));
    }

    #[test]
    fn no_key_is_printed() {
        let (cert, key) = pem(&["a.test"]);
        assert_eq!(format!("{:?}", Certificate::from_pem(cert, key)), "Certificate { .. }");
    }
}
