//! Development certificates: made by `mio-quiche cert`, valid for two weeks, for development only.
//!
//! A browser accepts such a certificate for WebTransport by its hash (`serverCertificateHashes`): it has to be ECDSA
//! P-256 and valid for at most 14 days (W3C WebTransport, "custom certificate requirements").

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use boring::asn1::{Asn1Time, Asn1TimeRef};
use boring::error::ErrorStack;
use boring::nid::Nid;
use boring::x509::{GeneralNameRef, X509, X509NameRef};
use data_encoding::{BASE64, HEXLOWER};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use ring::digest::{SHA256, digest};

use crate::config::{Certificate, read_file};
use crate::error::ConfigError;

/// The common names of the authority and of its certificate.
const CA_NAME: &str = "mio-quiche development CA";
const LEAF_NAME: &str = "mio-quiche development certificate";

/// Names in every development certificate.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Allows for clients whose clock is slow.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// From the first to the last valid second, both counted: 13 days, a day less than browsers allow.
const LIFETIME: Duration = Duration::from_secs(13 * 24 * 60 * 60 - 1);

/// An error about a certificate.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertError {
    /// The file cannot be read.
    Read {
        /// The certificate file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file contains no certificate that can be parsed.
    Parse {
        /// The certificate file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// Neither a host name nor an IP address.
    Name(String),
    /// The certificate cannot be generated.
    Generate(rcgen::Error),
    /// The file or directory cannot be written.
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not one that [`DevCert::write`] wrote.
    Foreign(PathBuf),
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => {
                write!(f, "cannot read certificate '{}': {source}", path.display())
            }
            Self::Parse { path, reason } => {
                write!(f, "'{}' is not a usable certificate: {reason}", path.display())
            }
            Self::Name(name) => write!(
                f,
                "cannot put '{name}' into a certificate: give a host name or an IP address (other scripts as xn--...)"
            ),
            Self::Foreign(path) => write!(f, "'{}' is not a file of a development certificate", path.display()),
            Self::Generate(e) => write!(f, "cannot generate a certificate: {e}"),
            Self::Write { path, source } => {
                write!(f, "cannot write '{}': {source} (name a directory you may write to)", path.display())
            }
        }
    }
}

impl std::error::Error for CertError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Generate(e) => Some(e),
            Self::Parse { .. } | Self::Name(_) | Self::Foreign(_) => None,
        }
    }
}

impl From<rcgen::Error> for CertError {
    fn from(e: rcgen::Error) -> Self {
        Self::Generate(e)
    }
}

/// A development certificate with its key, and the certificate of the CA that signed it. The CA's own key is discarded.
pub struct DevCert {
    ca_pem: String,
    cert_pem: String,
    key_pem: String,
}

impl fmt::Debug for DevCert {
    /// Does not print the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevCert").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

impl DevCert {
    /// Makes a CA and a certificate for `localhost`, `127.0.0.1`, `::1` and `names` (host names or IP addresses), valid
    /// from an hour ago for 13 days in all.
    ///
    /// # Errors
    /// [`CertError::Name`] for an invalid name, [`CertError::Generate`] if the system provides no random numbers.
    pub fn generate(names: &[String]) -> Result<Self, CertError> {
        Self::generate_at(names, crate::net::wall_clock())
    }

    /// [`Self::generate`] as if it were `now`.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn generate_at(names: &[String], now: SystemTime) -> Result<Self, CertError> {
        let mut sans: Vec<String> = LOCAL_NAMES.map(str::to_owned).to_vec();
        for name in names {
            if !is_name(name) {
                return Err(CertError::Name(name.clone()));
            }
            if !sans.contains(name) {
                sans.push(name.clone());
            }
        }
        let not_before = now - BACKDATED;
        let not_after = not_before + LIFETIME;

        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, CA_NAME);
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (ca.not_before, ca.not_after) = (not_before.into(), not_after.into());
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;

        let mut leaf = CertificateParams::new(sans)?;
        leaf.distinguished_name.push(DnType::CommonName, LEAF_NAME);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        (leaf.not_before, leaf.not_after) = (not_before.into(), not_after.into());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let cert = leaf.signed_by(&key, &ca)?;
        Ok(Self { ca_pem: ca.pem(), cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    /// Certificate of the CA, PEM: the one that clients should trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server's certificate alone, PEM.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The server's private key, PKCS #8 PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The certificate with its key, for [`ServerConfig::new`](crate::ServerConfig::new).
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        Certificate::from_pem(self.cert_pem(), self.key_pem())
    }

    /// Checks that [`write`](Self::write) would replace nothing in `dir` but a development certificate with its CA and its
    /// key. A key alone may belong to anything.
    ///
    /// # Errors
    /// [`CertError::Foreign`] with the first other file, [`CertError::Read`] if one cannot be read.
    pub fn check_replaceable(dir: &Path) -> Result<(), CertError> {
        let foreign = |name| Err(CertError::Foreign(dir.join(name)));
        let read = |name| match read_file(&dir.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(source) => Err(CertError::Read { path: dir.join(name), source }),
        };
        let (leaf, ca, key) = (read("cert.pem")?, read("ca.pem")?, read("key.pem")?);
        for (name, content, subject) in [("cert.pem", &leaf, LEAF_NAME), ("ca.pem", &ca, CA_NAME)] {
            if content.as_ref().is_some_and(|pem| !is_issued_here(pem, subject)) {
                return foreign(name);
            }
        }
        let Some(key) = key else { return Ok(()) };
        Certificate::from_pem(leaf.unwrap_or_default(), key).check().or_else(|_| foreign("key.pem"))
    }

    /// Writes `key.pem` (mode 0600), `cert.pem` and `ca.pem` into `dir`, which is created if missing. Each file is
    /// replaced atomically: a reader sees the old or the new content, never a mixture.
    ///
    /// # Errors
    /// [`CertError::Write`] with the path.
    pub fn write(&self, dir: &Path) -> Result<(), CertError> {
        fs::create_dir_all(dir).map_err(|source| CertError::Write { path: dir.to_owned(), source })?;
        for (name, content, mode) in
            [("key.pem", &self.key_pem, 0o600), ("cert.pem", &self.cert_pem, 0o644), ("ca.pem", &self.ca_pem, 0o644)]
        {
            let path = dir.join(name);
            replace(dir, &path, content, mode).map_err(|source| CertError::Write { path, source })?;
        }
        Ok(())
    }
}

/// Whether a PEM file holds a single certificate with this name, by the development CA.
fn is_issued_here(pem: &[u8], subject: &str) -> bool {
    let is = |name: &X509NameRef, expected: &str| {
        name.entries_by_nid(Nid::COMMONNAME).any(|entry| entry.data().as_slice() == expected.as_bytes())
    };
    match X509::stack_from_pem(pem).as_deref() {
        Ok([cert]) => is(cert.issuer_name(), CA_NAME) && is(cert.subject_name(), subject),
        _ => false,
    }
}

fn replace(dir: &Path, path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(dir)?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A host name by its letters (RFC 1123, section 2.1, with `_` and `*`) or an IP address.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*'))
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label))
}

/// Facts about the first certificate of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertInfo {
    /// First moment of validity.
    pub not_before: SystemTime,
    /// Last second of validity.
    pub not_after: SystemTime,
    /// SHA-256 of the certificate's DER: the `value` of a browser's `serverCertificateHashes`.
    pub sha256: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo's DER: for Chrome's `--ignore-certificate-errors-spki-list`.
    pub spki_sha256: [u8; 32],
    /// The host names and IP addresses in the subjectAltName, as they are there.
    pub names: Vec<String>,
}

impl CertInfo {
    /// Reads the first certificate of a PEM file; a private key in the same file is ignored.
    ///
    /// # Errors
    /// [`CertError::Read`] and [`CertError::Parse`], both with the path.
    pub fn read(cert_pem: &Path) -> Result<Self, CertError> {
        let pem = read_file(cert_pem).map_err(|source| CertError::Read { path: cert_pem.to_owned(), source })?;
        Self::parse(&pem).map_err(|reason| CertError::Parse { path: cert_pem.to_owned(), reason })
    }

    /// What a server's certificate says.
    ///
    /// # Errors
    /// As when a server is built with it.
    pub fn of(certificate: &Certificate) -> Result<Self, ConfigError> {
        Self::of_leaf(&certificate.leaf()?).map_err(ConfigError::refused("the certificate"))
    }

    fn parse(pem: &[u8]) -> Result<Self, String> {
        let broken = |e: ErrorStack| format!("broken PEM or X.509: {e}");
        match X509::stack_from_pem(pem).map_err(broken)?.first() {
            Some(leaf) => Self::of_leaf(leaf).map_err(broken),
            None => Err("no '-----BEGIN CERTIFICATE-----' in it".to_owned()),
        }
    }

    fn of_leaf(leaf: &X509) -> Result<Self, ErrorStack> {
        Ok(Self {
            not_before: time_of(leaf.not_before())?,
            not_after: time_of(leaf.not_after())?,
            sha256: sha256(&leaf.to_der()?),
            spki_sha256: sha256(&leaf.public_key()?.public_key_to_der()?),
            names: names_of(leaf),
        })
    }

    /// Whether the certificate is for a host name, also by a wildcard in place of its first label (RFC 9525 section 6.3), or
    /// for an IP address. A name with a wildcard has to be there itself.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let address = name.parse::<IpAddr>().ok();
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        self.names.iter().any(|have| match address {
            Some(address) => have.parse() == Ok(address),
            None => {
                have.eq_ignore_ascii_case(name) || wildcard.as_ref().is_some_and(|name| have.eq_ignore_ascii_case(name))
            }
        })
    }

    /// [`Self::sha256`] in lower-case hexadecimal.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        HEXLOWER.encode(&self.sha256)
    }

    /// [`Self::sha256`] in base64.
    #[must_use]
    pub fn sha256_base64(&self) -> String {
        BASE64.encode(&self.sha256)
    }

    /// [`Self::spki_sha256`] in base64.
    #[must_use]
    pub fn spki_sha256_base64(&self) -> String {
        BASE64.encode(&self.spki_sha256)
    }

    /// Whether the certificate is valid at `now` and remains valid for `d`.
    #[must_use]
    pub fn is_valid_for(&self, now: SystemTime, d: Duration) -> bool {
        now >= self.not_before && now.checked_add(d).is_some_and(|end| end <= self.not_after)
    }
}

fn names_of(leaf: &X509) -> Vec<String> {
    let address = |bytes: &[u8]| match bytes.len() {
        4 => bytes.try_into().ok().map(|bytes: [u8; 4]| IpAddr::from(bytes).to_string()),
        _ => bytes.try_into().ok().map(|bytes: [u8; 16]| IpAddr::from(bytes).to_string()),
    };
    let names = leaf.subject_alt_names();
    let name = |name: &GeneralNameRef| name.dnsname().map(str::to_owned).or_else(|| address(name.ipaddress()?));
    names.iter().flatten().filter_map(name).collect()
}

fn time_of(time: &Asn1TimeRef) -> Result<SystemTime, ErrorStack> {
    const DAY: i64 = 24 * 60 * 60;
    let since_1970 = Asn1Time::from_unix(0)?.diff(time)?;
    let seconds = i64::from(since_1970.days) * DAY + i64::from(since_1970.secs);
    let distance = Duration::from_secs(seconds.unsigned_abs());
    Ok(if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance })
}

fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, data).as_ref());
    out
}

#[cfg(test)]
mod tests;
