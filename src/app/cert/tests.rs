use std::net::{Ipv4Addr, Ipv6Addr};

use tempfile::TempDir;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn der(pem: &str) -> Vec<u8> {
    let blocks: Vec<_> = Pem::iter_from_buffer(pem.as_bytes()).map(|b| b.unwrap()).collect();
    assert_eq!(blocks.len(), 1, "one block per file");
    blocks[0].contents.clone()
}

fn written(names: &[&str]) -> (TempDir, DevCert) {
    let dir = TempDir::new().unwrap();
    let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
    let cert = DevCert::generate(&names).unwrap();
    cert.write(&dir.path().join("new/certs")).unwrap();
    (dir, cert)
}

#[test]
fn the_leaf_is_what_browsers_want() {
    let now = crate::net::wall_clock();
    let cert = DevCert::generate_at(&["example.test".into(), "192.0.2.1".into(), "localhost".into()], now).unwrap();
    let (leaf_der, ca_der) = (der(cert.cert_pem()), der(cert.ca_pem()));
    let (_, leaf) = X509Certificate::from_der(&leaf_der).unwrap();
    let (_, ca) = X509Certificate::from_der(&ca_der).unwrap();

    assert_eq!(leaf.issuer(), ca.subject());
    assert!(ca.is_ca() && !leaf.is_ca());
    assert_ne!(leaf.serial, ca.serial);
    assert_eq!(leaf.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.2", "ecdsa-with-SHA256");
    // id-ecPublicKey on prime256v1, uncompressed point.
    let spki = leaf.public_key();
    assert_eq!(spki.algorithm.algorithm.to_id_string(), "1.2.840.10045.2.1");
    let curve = spki.algorithm.parameters.as_ref().unwrap().as_oid().unwrap();
    assert_eq!(curve.to_id_string(), "1.2.840.10045.3.1.7");
    assert_eq!(spki.subject_public_key.data.len(), 65);

    for signed in [&leaf, &ca] {
        let key = ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_ASN1,
            &ca.public_key().subject_public_key.data,
        );
        key.verify(signed.tbs_certificate.as_ref(), &signed.signature_value.data).unwrap();
        let first: SystemTime = signed.validity().not_before.to_datetime().into();
        let last: SystemTime = signed.validity().not_after.to_datetime().into();
        assert!(last.duration_since(first).unwrap() <= 13 * DAY);
        let age = now.duration_since(first).unwrap();
        assert!(age >= BACKDATED && age < BACKDATED + Duration::from_secs(1), "{age:?}");
        assert!(last > now + 12 * DAY);
    }

    let san = leaf.subject_alternative_name().unwrap().unwrap();
    let (v4, local4) = (Ipv4Addr::new(192, 0, 2, 1).octets(), Ipv4Addr::LOCALHOST.octets());
    let local6 = Ipv6Addr::LOCALHOST.octets();
    assert_eq!(
        san.value.general_names,
        [
            GeneralName::DNSName("localhost"),
            GeneralName::IPAddress(&local4),
            GeneralName::IPAddress(&local6),
            GeneralName::DNSName("example.test"),
            GeneralName::IPAddress(&v4),
        ]
    );
    assert!(leaf.extended_key_usage().unwrap().unwrap().value.server_auth);
}

#[test]
fn the_key_belongs_to_the_certificate() {
    let (dir, cert) = written(&[]);
    let path = dir.path().join("new/certs/key.pem");
    let key = KeyPair::from_pem(&fs::read_to_string(&path).unwrap()).unwrap();
    let leaf_der = der(cert.cert_pem());
    let (_, leaf) = X509Certificate::from_der(&leaf_der).unwrap();
    assert_eq!(key.public_key_raw(), &*leaf.public_key().subject_public_key.data);
    assert!(!format!("{cert:?}").contains("PRIVATE"));
}

#[test]
fn files_and_their_permissions() {
    let (dir, first) = written(&["example.test"]);
    let certs = dir.path().join("new/certs");
    let read = |name: &str| fs::read_to_string(certs.join(name)).unwrap();
    assert_eq!(read("cert.pem"), first.cert_pem());
    assert_eq!(read("ca.pem"), first.ca_pem());

    // A key that was readable by others no longer is once replaced.
    fs::set_permissions(certs.join("key.pem"), Permissions::from_mode(0o644)).unwrap();
    let second = DevCert::generate(&[]).unwrap();
    second.write(&certs).unwrap();
    assert_eq!(read("key.pem"), second.key_pem());
    assert_ne!(first.key_pem(), second.key_pem());
    let mode = |name: &str| fs::metadata(certs.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("key.pem"), 0o600);
    assert_eq!(mode("cert.pem") & 0o600, 0o600);
    assert_eq!(fs::read_dir(&certs).unwrap().count(), 3, "no temporary file is left");
}

#[test]
fn info_of_a_certificate() {
    let (dir, cert) = written(&[]);
    let path = dir.path().join("new/certs/cert.pem");
    let info = CertInfo::read(&path).unwrap();
    let leaf_der = der(cert.cert_pem());
    let expected = digest(&SHA256, &leaf_der);
    assert_eq!(info.sha256, expected.as_ref());
    assert_eq!(HEXLOWER.decode(info.sha256_hex().as_bytes()).unwrap(), expected.as_ref());
    assert_eq!(BASE64.decode(info.sha256_base64().as_bytes()).unwrap(), expected.as_ref());
    let key = KeyPair::from_pem(cert.key_pem()).unwrap();
    let (_, spki) = x509_parser::pem::parse_x509_pem(key.public_key_pem().as_bytes()).unwrap();
    assert_eq!(info.spki_sha256_base64(), BASE64.encode(digest(&SHA256, &spki.contents).as_ref()));

    assert_eq!(info.names, ["localhost", "127.0.0.1", "::1"]);
    let wild = CertInfo::parse(DevCert::generate(&["*.two.test".into()]).unwrap().cert_pem().as_bytes()).unwrap();
    for name in ["localhost", "LOCALHOST", "127.0.0.1", "::1", "0:0::1", "a.two.test", "*.two.test"] {
        assert!(wild.is_for(name), "{name}");
    }
    for name in ["two.test", "a.b.two.test", "127.0.0.2", "", "*.test"] {
        assert!(!wild.is_for(name), "{name}");
    }

    let now = crate::net::wall_clock();
    assert!(info.is_valid_for(now, Duration::ZERO));
    assert!(info.is_valid_for(now, 12 * DAY));
    assert!(!info.is_valid_for(now, 13 * DAY));
    assert!(!info.is_valid_for(now, Duration::MAX));
    assert!(!info.is_valid_for(now - DAY, Duration::ZERO), "not yet");
    assert!(info.is_valid_for(info.not_after, Duration::ZERO));
    assert!(!info.is_valid_for(info.not_after + Duration::from_secs(1), Duration::ZERO));

    let both = dir.path().join("both.pem");
    fs::write(&both, format!("{}{}{}", cert.key_pem(), cert.cert_pem(), cert.ca_pem())).unwrap();
    assert_eq!(CertInfo::read(&both).unwrap(), info);
}

#[test]
fn only_development_certificates_are_replaceable() {
    let (dir, cert) = written(&[]);
    let certs = dir.path().join("new/certs");
    let check = || DevCert::check_replaceable(&certs);
    let foreign = |name| match check() {
        Err(CertError::Foreign(path)) => assert_eq!(path, certs.join(name)),
        other => panic!("{name}: {other:?}"),
    };
    check().unwrap();
    DevCert::check_replaceable(dir.path()).unwrap();
    DevCert::check_replaceable(&dir.path().join("nowhere")).unwrap();
    let other = DevCert::generate(&[]).unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(certs.join("key.pem"), other.key_pem()).unwrap();
    foreign("key.pem");
    fs::write(certs.join("key.pem"), cert.key_pem()).unwrap();
    for content in [own.cert.pem(), String::new(), "text".to_owned(), cert.cert_pem().repeat(2)] {
        for name in ["cert.pem", "ca.pem"] {
            let before = fs::read(certs.join(name)).unwrap();
            fs::write(certs.join(name), &content).unwrap();
            foreign(name);
            fs::write(certs.join(name), before).unwrap();
        }
    }
    fs::remove_file(certs.join("cert.pem")).unwrap();
    foreign("key.pem");
    fs::remove_file(certs.join("key.pem")).unwrap();
    check().unwrap();
}

#[test]
fn errors_name_the_file() {
    let dir = TempDir::new().unwrap();
    let missing = CertInfo::read(Path::new("x.pem")).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read certificate 'x.pem': No such file or directory (os error 2)");
    for content in [
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        "\0\u{1}\u{2}",
    ] {
        let path = dir.path().join("bad.pem");
        fs::write(&path, content).unwrap();
        let error = CertInfo::read(&path).unwrap_err().to_string();
        assert!(
            error.starts_with("'") && error.contains("bad.pem' is not a usable certificate: "),
            "{content:?}: {error}"
        );
    }
    for name in ["", "two words", "a..b", "http://x", "bücher.example", "x:443"] {
        let error = DevCert::generate(&[name.to_owned()]).unwrap_err();
        assert!(matches!(&error, CertError::Name(n) if n == name), "{error}");
    }
    let file = dir.path().join("bad.pem");
    let error = DevCert::generate(&[]).unwrap().write(&file).unwrap_err().to_string();
    assert!(error.contains("bad.pem"), "{error}");
}
