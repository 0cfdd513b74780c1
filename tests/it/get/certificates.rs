//! Certificates that do not do: each reason is named.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use time::{Duration, OffsetDateTime};

use super::{ca_of, get};
use crate::support::server::Server;

/// An authority of its own, and a certificate that it made.
fn make(dir: &Path, names: &[&str], days: std::ops::Range<i64>) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "test authority");
    fs::write(dir.join("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut cert = CertificateParams::new(names).unwrap();
    let now = OffsetDateTime::now_utc();
    (cert.not_before, cert.not_after) = (now + Duration::days(days.start), now + Duration::days(days.end));
    fs::write(dir.join("cert.pem"), cert.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

#[test]
fn reasons() {
    let hint = "(use --cacert FILE, --cert-hash HASH or -k)";
    let expired = "the certificate has expired or is not valid yet";
    let untrusted = "the certificate is not signed by a trusted authority";
    let here = "127.0.0.1";
    for (names, days, with_ca, host, reason) in [
        (&["localhost", here][..], -10..-1, true, "localhost", Some(expired)),
        (&["localhost", here], 1..10, true, "localhost", Some(expired)),
        (&["localhost", here], -1..10, false, "localhost", Some(untrusted)),
        (&["example.org"], -1..10, true, "localhost", Some("the certificate is not for this host, or malformed")),
        (&["localhost"], -1..10, true, here, Some("the certificate is not for this address")),
        (&["localhost", here], -1..10, true, "localhost", None),
        (&["localhost", here], -1..10, true, here, None),
    ] {
        let server = Server::prepared("127.0.0.1:0", |dir| make(dir, names, days.clone()), &[]);
        let host = format!("{host}:{}", server.port());
        let ca = ca_of(&server);
        let ended = match with_ca {
            true => get(&["--cacert", &ca, &host]),
            false => get(&[&host]),
        };
        match reason {
            Some(reason) => ended.assert_failed(60, &format!("cannot connect to {host}: {reason} {hint}")),
            None => assert_eq!(ended.text(), "Hello, HTTP/3!\n"),
        }
        assert_eq!(get(&["-k", &host]).text(), "Hello, HTTP/3!\n", "{names:?} {days:?}");
    }
}

/// What curl takes, too.
#[test]
fn trust_in_the_certificate_itself_and_other_curves() {
    let curve = |name: &'static str| ["ec", "-pkeyopt", name].to_vec();
    for kind in
        [vec!["ed25519"], curve("ec_paramgen_curve:secp521r1"), curve("ec_paramgen_curve:prime256v1"), vec!["rsa:2048"]]
    {
        let make = |dir: &Path| {
            let mut command = Command::new("openssl");
            command.args(["req", "-x509", "-nodes", "-days", "5", "-subj", "/CN=test", "-newkey"]).args(&kind);
            command.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]);
            let made = command.current_dir(dir).output().expect("openssl runs");
            assert!(made.status.success(), "{made:?}");
        };
        let server = Server::prepared("127.0.0.1:0", make, &[]);
        let cert = server.dir().join("cert.pem").to_str().unwrap().to_owned();
        let url = server.url("/");
        assert_eq!(get(&["--cacert", &cert, &url]).text(), "Hello, HTTP/3!\n", "{kind:?}");
        assert_eq!(get(&["-k", &url]).text(), "Hello, HTTP/3!\n", "{kind:?}");
        assert_eq!(get(&[&url]).code, 60, "{kind:?}");
    }
    // Signed by an authority that is not given.
    let server = Server::start(&[]);
    let cert = server.dir().join("cert.pem").to_str().unwrap().to_owned();
    assert_eq!(get(&["--cacert", &cert, &server.url("/")]).text(), "Hello, HTTP/3!\n");
    let other = Server::start(&[]);
    assert_eq!(get(&["--cacert", &cert, &other.url("/")]).code, 60);
}
