//! What is wrong with a certificate or key that cannot be read.

use boring::error::ErrorStack;

/// One of the two parts of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Chain,
    Key,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Chain => "certificate",
            Part::Key => "private key",
        }
    }

    /// The command of OpenSSL that converts it.
    fn converter(self) -> &'static str {
        match self {
            Part::Chain => "openssl x509",
            Part::Key => "openssl pkey",
        }
    }
}

/// The first bytes of a PKCS #12 file behind the length: version 3 (RFC 7292 section 4).
const PKCS12_VERSION: [u8; 3] = [0x02, 0x01, 0x03];

/// Why bytes are not `part` in PEM form, if there is more to say than that. `error` is that of reading a block of its kind.
pub(super) fn fault(part: Part, bytes: &[u8], error: Option<&ErrorStack>) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let has = |label: &str| text.contains(label);
    let is_key = has("PRIVATE KEY-----");
    let is_certificate = has("-----BEGIN CERTIFICATE-----") || has("-----BEGIN X509 CERTIFICATE-----");
    let converter = part.converter();
    let reason = match part {
        _ if bytes.is_empty() => "it is empty".to_owned(),
        _ if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) => {
            "it is text in UTF-16: save it as ASCII or UTF-8".to_owned()
        }
        _ if is_der(bytes) && pkcs12(bytes) => {
            "it is a PKCS #12 file: convert it to PEM with openssl pkcs12 -noenc -in FILE".to_owned()
        }
        _ if is_der(bytes) => format!("it is in DER form: convert it to PEM with {converter} -inform DER -in FILE"),
        Part::Key if has("ENCRYPTED") && is_key => format!("it is encrypted: decrypt it with {converter} -in FILE"),
        Part::Key if is_key => broken(error),
        Part::Key if is_certificate => "it holds a certificate and no key: are the two files swapped?".to_owned(),
        Part::Key if has("PUBLIC KEY-----") => "it holds a public key".to_owned(),
        Part::Chain if is_certificate => broken(error),
        Part::Chain if is_key => "it holds a private key and no certificate: are the two files swapped?".to_owned(),
        Part::Chain if has("CERTIFICATE REQUEST-----") => {
            "it holds a certificate request, from which an authority makes a certificate".to_owned()
        }
        _ => return None,
    };
    Some(reason)
}

/// What the TLS library says of a block with the right label.
fn broken(error: Option<&ErrorStack>) -> String {
    let mut reasons = error.into_iter().flat_map(ErrorStack::errors).filter_map(|error| error.reason());
    match reasons.find(|reason| matches!(*reason, "UNKNOWN_GROUP" | "UNSUPPORTED_ALGORITHM")) {
        Some(_) => UNSUPPORTED.to_owned(),
        None => "its PEM block is damaged".to_owned(),
    }
}

/// Of keys.
pub(super) const UNSUPPORTED: &str =
    "its algorithm or curve is not supported: use ECDSA with P-256 or P-384, Ed25519 or RSA";

/// A DER sequence that has the length of the whole (X.690 section 8.1).
fn is_der(bytes: &[u8]) -> bool {
    let [0x30, first, rest @ ..] = bytes else { return false };
    let (header, length) = match *first {
        length @ ..=0x7f => (2, usize::from(length)),
        0x81..=0x84 => {
            let count = usize::from(*first - 0x80);
            let Some(length) = rest.get(..count) else { return false };
            (2 + count, length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
        }
        _ => return false,
    };
    bytes.len() == header + length
}

/// Of a DER sequence.
fn pkcs12(bytes: &[u8]) -> bool {
    let header = match bytes.get(1) {
        Some(first @ 0x81..) => 2 + usize::from(first - 0x80),
        _ => 2,
    };
    // In it, an algorithm or a serial number follows version 3 nowhere else.
    bytes.get(header..).is_some_and(|rest| rest.starts_with(&PKCS12_VERSION) && rest.get(3) == Some(&0x30))
}

#[cfg(test)]
mod tests {
    use boring::pkey::PKey;
    use boring::x509::X509;
    use data_encoding::BASE64;

    use super::*;

    /// Made by OpenSSL, with the password x.
    const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    const SECP256K1: &str = "-----BEGIN PRIVATE KEY-----\nMIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQg7kPdEtv5Mq4MPSHZS21u\nwzm1qCksTDFvl0PryZPjkaShRANCAATi/jewZevd1bzbLc6KMTU/AvFMOehLAAwK\nK1fvB7DxS4DdSH1vN9z8NDVJ1jjZIFUVTJPj/YV3GnSJYfwr53+h\n-----END PRIVATE KEY-----\n";
    const PKCS12_HEAD: [u8; 8] = [0x30, 0x82, 0x00, 0x04, 0x02, 0x01, 0x03, 0x30];

    #[test]
    fn faults_are_told_apart() {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let (cert_der, key_der) = (made.cert.der().to_vec(), made.signing_key.serialize_der());
        let utf16: Vec<u8> = "\u{feff}-----BEGIN".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let openssl_1 = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAA=\n\
                         -----END EC PRIVATE KEY-----\n";
        let cut = &key[..key.len() / 2];
        let keys: [(&[u8], Option<&str>); 12] = [
            (b"", Some("it is empty")),
            (b"text", None),
            (ENCRYPTED.as_bytes(), Some("it is encrypted: decrypt it with openssl pkey -in FILE")),
            (openssl_1.as_bytes(), Some("it is encrypted: decrypt it with openssl pkey -in FILE")),
            (&key_der, Some("it is in DER form: convert it to PEM with openssl pkey -inform DER -in FILE")),
            (&PKCS12_HEAD, Some("it is a PKCS #12 file: convert it to PEM with openssl pkcs12 -noenc -in FILE")),
            (cert.as_bytes(), Some("it holds a certificate and no key: are the two files swapped?")),
            (b"-----BEGIN PUBLIC KEY-----", Some("it holds a public key")),
            (&utf16, Some("it is text in UTF-16: save it as ASCII or UTF-8")),
            (cut.as_bytes(), Some("its PEM block is damaged")),
            (SECP256K1.as_bytes(), Some(UNSUPPORTED)),
            (b"-----BEGIN CERTIFICATE REQUEST-----", None),
        ];
        for (bytes, expected) in keys {
            let error = PKey::private_key_from_pem_callback(bytes, |_| Ok(0)).err();
            assert_eq!(fault(Part::Key, bytes, error.as_ref()).as_deref(), expected, "{}", BASE64.encode(bytes));
        }
        let request = "it holds a certificate request, from which an authority makes a certificate";
        let chains: [(&[u8], Option<&str>); 5] = [
            (&cert_der, Some("it is in DER form: convert it to PEM with openssl x509 -inform DER -in FILE")),
            (key.as_bytes(), Some("it holds a private key and no certificate: are the two files swapped?")),
            (&cert.as_bytes()[..200], Some("its PEM block is damaged")),
            (b"-----BEGIN CERTIFICATE REQUEST-----", Some(request)),
            (b"text", None),
        ];
        for (bytes, expected) in chains {
            let error = X509::stack_from_pem(bytes).err();
            assert_eq!(fault(Part::Chain, bytes, error.as_ref()).as_deref(), expected, "{}", BASE64.encode(bytes));
        }
    }
}
