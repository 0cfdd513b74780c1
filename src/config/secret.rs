//! Secrets that keys are derived from.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::ConfigError;

/// The longest key file in bytes: whatever never ends, such as `/dev/zero`, is an error.
const MAX_KEY_FILE: usize = 4096;
/// Bytes of a host key that resist guessing.
const MIN_HOST_KEY: usize = 32;

/// Bytes that a [derived](Secret::derive) key has at most.
const MAX_DERIVED: usize = 64;

/// A secret that keys for several purposes are derived from.
#[derive(Clone)]
pub(crate) struct Secret(hmac::Key);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    fn new(bytes: &[u8]) -> Self {
        Secret(hmac::Key::new(hmac::HMAC_SHA512, bytes))
    }

    /// A random secret.
    pub(super) fn random() -> Result<Self, ConfigError> {
        let mut bytes = [0; MAX_DERIVED];
        SystemRandom::new().fill(&mut bytes).map_err(|_| ConfigError::NoRandom)?;
        Ok(Self::new(&bytes))
    }

    /// The host key in a file.
    pub(super) fn host_key(path: &Path) -> Result<Self, ConfigError> {
        let what = "host key";
        let bytes = read_key(what, path)?;
        if !(MIN_HOST_KEY..=MAX_KEY_FILE).contains(&bytes.len()) {
            let expected = "32 to 4096 random bytes (make them with: head -c 32 /dev/urandom >FILE)";
            return Err(wrong_length(what, &bytes, path, expected));
        }
        Ok(Self::new(&bytes))
    }

    /// The key for a purpose.
    pub(crate) fn derive<const N: usize>(&self, purpose: &str) -> [u8; N] {
        const { assert!(N <= MAX_DERIVED) };
        let tag = hmac::sign(&self.0, purpose.as_bytes());
        let mut key = [0; N];
        key.copy_from_slice(&tag.as_ref()[..N]);
        key
    }
}

/// The bytes of a key file; of a longer one than [`MAX_KEY_FILE`] one more than that.
pub(super) fn read_key(what: &'static str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_KEY_FILE as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(source) => Err(ConfigError::Path { what, path: path.to_owned(), source }),
    }
}

/// A key file has the wrong length.
pub(super) fn wrong_length(what: &'static str, bytes: &[u8], path: &Path, expected: &'static str) -> ConfigError {
    let path = path.display();
    let value = match bytes.len() {
        len if len > MAX_KEY_FILE => format!("more than {MAX_KEY_FILE} bytes in '{path}'"),
        len => format!("{len} bytes in '{path}'"),
    };
    ConfigError::Range { setting: what, value, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_from_the_file_and_the_purpose() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Secret::host_key(&path).unwrap()
        };
        let (a, same, b) = (file("a", &[1; 32]), file("same", &[1; 32]), file("b", &[1; 33]));
        assert_eq!(a.derive::<32>("x"), same.derive::<32>("x"));
        assert_ne!(a.derive::<32>("x"), a.derive::<32>("y"));
        assert_ne!(a.derive::<32>("x"), b.derive::<32>("x"));
        assert_ne!(Secret::random().unwrap().derive::<16>("x"), Secret::random().unwrap().derive::<16>("x"));
        assert_eq!(format!("{a:?}"), "Secret");
    }

    #[test]
    fn a_host_key_that_is_too_short_or_endless_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, [1; 31]).unwrap();
        let told = |path: &Path| Secret::host_key(path).unwrap_err().to_string();
        let wanted = "32 to 4096 random bytes (make them with: head -c 32 /dev/urandom >FILE)";
        assert_eq!(told(&path), format!("host key is 31 bytes in '{}', but must be {wanted}", path.display()));
        assert_eq!(
            told(Path::new("/dev/zero")),
            format!("host key is more than 4096 bytes in '/dev/zero', but must be {wanted}")
        );
        assert!(told(Path::new("/nowhere")).contains("'/nowhere'"));
    }
}
