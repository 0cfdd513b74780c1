//! Checks shared by all settings.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::pem::{self, Part};
use crate::error::ConfigError;

/// Bytes of a file with certificates or a key. All authorities of a system are a quarter of a megabyte.
const MAX_PEM_FILE: u64 = 4 << 20;

/// A number that must be in its range.
pub(super) fn range(setting: &'static str, value: u64, ok: bool, expected: &'static str) -> Result<(), ConfigError> {
    match ok {
        true => Ok(()),
        false => Err(ConfigError::Range { setting, value: value.to_string(), expected }),
    }
}

/// A number of bytes that a QUIC varint holds (RFC 9000 section 16), and not 0.
pub(super) fn bytes(setting: &'static str, value: u64) -> Result<(), ConfigError> {
    range(setting, value, (1..1 << 62).contains(&value), "1 to 2^62-1 bytes")
}

/// A number of streams as a transport parameter holds it (RFC 9000 section 18.2), and not 0.
pub(super) fn streams(setting: &'static str, value: u64) -> Result<(), ConfigError> {
    range(setting, value, (1..=1 << 60).contains(&value), "1 to 2^60 streams")
}

/// A number that must not be 0.
pub(super) fn at_least_one(setting: &'static str, value: usize) -> Result<(), ConfigError> {
    range(setting, value as u64, value > 0, "at least 1")
}

/// A time that must not be 0.
pub(super) fn positive(setting: &'static str, value: Duration) -> Result<(), ConfigError> {
    match value.is_zero() {
        false => Ok(()),
        true => Err(ConfigError::Range { setting, value: format!("{value:?}"), expected: "longer than 0" }),
    }
}

/// The content of a certificate or key file.
pub(super) fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    read_file(path).map_err(|source| ConfigError::Unreadable { what, path: path.to_owned(), source })
}

/// The content of a file of at most 4 MiB.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path)?.take(MAX_PEM_FILE + 1).read_to_end(&mut bytes)? as u64 > MAX_PEM_FILE {
        true => Err(io::Error::other(format!("it has more than {MAX_PEM_FILE} bytes"))),
        false => Ok(bytes),
    }
}

/// A file that must hold a PEM block of its kind. Whether that can be used is found out later.
pub(super) fn pem(part: Part, path: &Path) -> Result<(), ConfigError> {
    let what = part.name();
    let bytes = read(what, path)?;
    let text = String::from_utf8_lossy(&bytes);
    let labels: &[&str] = match part {
        Part::Chain => &["BEGIN CERTIFICATE-", "BEGIN X509 CERTIFICATE-"],
        Part::Key => &["PRIVATE KEY"],
    };
    match labels.iter().any(|label| text.contains(label)) {
        true => Ok(()),
        false => Err(match pem::fault(part, &bytes, None) {
            Some(reason) => unusable(what, Some(path), reason),
            None => ConfigError::NotPem { what, path: path.to_owned() },
        }),
    }
}

/// The error for a certificate or key with a fault.
pub(super) fn unusable(what: &'static str, path: Option<&Path>, reason: impl Into<String>) -> ConfigError {
    let place = path.map_or_else(|| "in memory".to_owned(), |path| format!("'{}'", path.display()));
    ConfigError::Unusable { what, place, reason: reason.into() }
}

/// A path in the form that quiche accepts.
pub(super) fn utf8<'a>(what: &'static str, path: &'a Path) -> Result<&'a str, ConfigError> {
    path.to_str().ok_or_else(|| ConfigError::Path {
        what,
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_both_ends() {
        let told = |result: Result<(), ConfigError>| result.map_err(|e| e.to_string());
        assert_eq!(told(bytes("x", 1)), Ok(()));
        assert_eq!(told(bytes("x", (1 << 62) - 1)), Ok(()));
        assert_eq!(told(bytes("x", 1 << 62)), Err(format!("x is {}, but must be 1 to 2^62-1 bytes", 1u64 << 62)));
        assert_eq!(told(streams("x", 1 << 60)), Ok(()));
        assert_eq!(told(streams("x", 0)), Err("x is 0, but must be 1 to 2^60 streams".to_owned()));
        assert_eq!(told(at_least_one("x", 0)), Err("x is 0, but must be at least 1".to_owned()));
        assert_eq!(told(positive("x", Duration::ZERO)), Err("x is 0ns, but must be longer than 0".to_owned()));
    }
}
