//! Certificates of clients (mutual TLS): required by our server, presented by our client and by curl.

use std::fs;
use std::path::{Path, PathBuf};

use mio_quiche::{Certificate, Client, ClientError};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::{client, ticket};
use crate::support::curl;
use crate::support::server::Server;

/// An authority, and clients that it knows.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, name);
        fs::write(dir.path().join("ca.pem"), ca.self_signed(&key).unwrap().pem()).unwrap();
        Authority { dir, issuer: Issuer::new(ca, key) }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The files of a certificate and its key.
    fn client(&self, usage: ExtendedKeyUsagePurpose) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut cert = CertificateParams::new(Vec::<String>::new()).unwrap();
        cert.distinguished_name.push(DnType::CommonName, "a client");
        cert.extended_key_usages = vec![usage];
        let files = (self.dir.path().join("client.pem"), self.dir.path().join("client-key.pem"));
        fs::write(&files.0, cert.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

fn with(files: Option<&(PathBuf, PathBuf)>) -> Client {
    client(|config| {
        config.dangerous().accept_any_certificate();
        config.transport.early_data = true;
        if let Some((cert, key)) = files {
            config.certificate = Some(Certificate::from_files(cert, key));
        }
    })
}

fn serve(ca: &Path) -> Server {
    Server::start(&["--early-data", "--client-ca", ca.to_str().unwrap()])
}

#[test]
fn a_certificate_of_a_client_is_required() {
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let impostor = Authority::new("ours");
    let mut server = serve(&ours.ca());
    let url = server.url("/");
    let good = ours.client(ExtendedKeyUsagePurpose::ClientAuth);
    let mut client = with(Some(&good));
    assert_eq!(client.get(&url).unwrap().status, 200);
    // A resumed session is that of the same client, in the first flight, too.
    let ticket = ticket(&mut client, &url);
    client.close();
    for files in [Some(&good), None] {
        let mut again = with(files);
        again.set_ticket(&url, ticket.clone()).unwrap();
        assert_eq!(again.get(&url).unwrap().status, 200);
        assert!(again.resumed());
        again.close();
    }
    let refused = |files: Option<&(PathBuf, PathBuf)>| {
        let error = with(files).get(&url).unwrap_err();
        assert!(matches!(error, ClientError::Handshake { .. }), "{error:?}");
        error.to_string().replace(&format!("cannot connect to {}: the server says: ", server.addr()), "")
    };
    assert_eq!(refused(None), "a client certificate is required");
    let unknown = other.client(ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(refused(Some(&unknown)), "the certificate is not signed by a trusted authority");
    let forged = impostor.client(ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(refused(Some(&forged)), "the signature of the certificate, or one made with it, is wrong");
    let of_a_server = ours.client(ExtendedKeyUsagePurpose::ServerAuth);
    assert_eq!(refused(Some(&of_a_server)), "the certificate type is not supported");
    let stats = server.stop();
    assert_eq!(stats.get("requests"), 3, "none of the refused ones");
}

#[test]
fn curl_presents_its_certificate() {
    let authority = Authority::new("ours");
    let server = serve(&authority.ca());
    let (cert, key) = authority.client(ExtendedKeyUsagePurpose::ClientAuth);
    let args = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let reply = curl::curl(&server, "/", &args);
    assert_eq!((reply.status, reply.text()), (200, "Hello, HTTP/3!\n"));
    let output = curl::command().arg(server.url("/")).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn the_command_presents_its_certificate() {
    let authority = Authority::new("ours");
    let server = serve(&authority.ca());
    let (cert, key) = authority.client(ExtendedKeyUsagePurpose::ClientAuth);
    let url = server.url("/");
    let get = |args: &[&str]| crate::get::get(&[&["-k", "-sS", &url], args].concat());
    let both = fs::read_to_string(&cert).unwrap() + &fs::read_to_string(&key).unwrap();
    let joined = authority.dir.path().join("both.pem");
    fs::write(&joined, both).unwrap();
    let [cert, key, joined] = [&cert, &key, &joined].map(|path| path.to_str().unwrap());
    assert_eq!(get(&["--cert", cert, "--key", key]).text(), "Hello, HTTP/3!\n");
    assert_eq!(get(&["-E", joined]).text(), "Hello, HTTP/3!\n");
    let refused = format!("cannot connect to {}: the server says: a client certificate is required", server.addr());
    get(&[]).assert_failed(35, &refused);
    let fault = "it holds a certificate and no key: are the two files swapped?";
    let message = format!("private key '{cert}' cannot be used: {fault} (--cert, --key)");
    get(&["--cert", cert]).assert_failed(58, &message);
}

#[test]
fn a_key_of_another_certificate_is_named() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let (cert, _) = one.client(ExtendedKeyUsagePurpose::ClientAuth);
    let (_, key) = two.client(ExtendedKeyUsagePurpose::ClientAuth);
    let mut config = mio_quiche::ClientConfig::default();
    let mut error = |cert: &Path, key: &Path| {
        config.certificate = Some(Certificate::from_files(cert, key));
        Client::new(config.clone()).unwrap_err().to_string()
    };
    assert!(error(&cert, &key).contains("does not belong to certificate"));
    assert!(error(&cert, Path::new("/nowhere")).starts_with("cannot read private key '/nowhere': "));
}
