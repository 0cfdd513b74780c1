//! Certificates from files and from memory, and which of several a client gets.

use std::path::Path;

use boring::x509::X509;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;
use crate::config::{Certificate, RetryPolicy};
use crate::error::ConfigError;

fn made(names: &[&str]) -> DevCert {
    DevCert::generate(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).expect("a certificate")
}

/// The certificate's DER.
fn der(cert: &DevCert) -> Vec<u8> {
    X509::from_pem(cert.cert_pem().as_bytes()).and_then(|cert| cert.to_der()).expect("a certificate")
}

fn server(certificates: Vec<Certificate>, set: impl Fn(&mut ServerConfig)) -> Endpoint {
    let mut config = ServerConfig::new(certificates);
    config.transport.handshake_timeout = TIMEOUT;
    set(&mut config);
    Endpoint::server(config, net::now(), net::wall_clock()).expect("an endpoint")
}

/// A client that asks for a name.
struct Visitor {
    quic: quiche::Connection,
    /// Datagrams of the client that are yet to be lost.
    to_lose: usize,
    sent: usize,
}

impl Visitor {
    fn new(name: Option<&str>) -> Self {
        Self::with(name, |_| {})
    }

    fn with(name: Option<&str>, set: impl FnOnce(&mut quiche::Config)) -> Self {
        let mut config = client_config();
        set(&mut config);
        // A ClientHello of two datagrams, with a key that post-quantum cryptography makes large.
        config.set_curves_list("X25519MLKEM768").expect("a curve");
        let mut scid = [0; 16];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut scid).expect("random numbers");
        let scid = quiche::ConnectionId::from_ref(&scid);
        let quic = quiche::connect(name, &scid, addr(CLIENT), addr(SERVER), &mut config).expect("a client");
        Visitor { quic, to_lose: 0, sent: 0 }
    }

    /// Lets packets pass until `done`.
    fn run_until(&mut self, server: &mut Endpoint, done: impl Fn(&quiche::Connection) -> bool) {
        let deadline = net::now() + TIMEOUT;
        while !done(&self.quic) {
            assert!(net::now() < deadline && !self.quic.is_closed(), "{:?}", self.quic.peer_error());
            if !self.step(server) {
                std::thread::sleep(self.quic.timeout().unwrap_or_default().min(Duration::from_millis(100)));
                if self.quic.timeout().is_some_and(|left| left.is_zero()) {
                    self.quic.on_timeout();
                }
            }
        }
    }

    /// One turn of both sides. False if nothing moved.
    fn step(&mut self, server: &mut Endpoint) -> bool {
        let mut buf = [0; 1500];
        let mut moved = false;
        while let Ok((n, _)) = self.quic.send(&mut buf) {
            (self.sent, moved) = (self.sent + 1, true);
            if self.sent > self.to_lose {
                server.recv(net::now(), &mut buf[..n], addr(CLIENT), addr(SERVER));
            }
        }
        server.handle_timeouts(net::now());
        server.drive(net::now());
        while server.poll_event().is_some() {}
        while let Some(sent) = server.poll_transmit(net::now(), &mut buf, 1) {
            moved = true;
            let info = quiche::RecvInfo { from: addr(SERVER), to: addr(CLIENT) };
            // What it rejects shows in the handshake.
            let _ = self.quic.recv(&mut buf[..sent.len], info);
        }
        moved
    }

    fn connect(mut self, server: &mut Endpoint) -> quiche::Connection {
        self.run_until(server, |quic| quic.is_established());
        self.quic
    }

    /// Connects and returns the ticket, too.
    fn ticket(mut self, server: &mut Endpoint) -> Vec<u8> {
        self.run_until(server, |quic| quic.session().is_some());
        self.quic.session().expect("a ticket").to_vec()
    }

    /// The code with which the server closes, if it does so before a ticket arrives.
    fn close_of(mut self, server: &mut Endpoint) -> Option<u64> {
        self.run_until(server, |quic| quic.session().is_some() || quic.peer_error().is_some());
        self.quic.peer_error().map(|error| error.error_code)
    }

    fn resuming(mut self, ticket: &[u8]) -> Self {
        self.quic.set_session(ticket).expect("a ticket");
        self
    }

    fn losing(mut self, datagrams: usize) -> Self {
        self.to_lose = datagrams;
        self
    }
}

/// The chain that a client gets which asks for a name.
fn chain(server: &mut Endpoint, name: Option<&str>) -> Vec<Vec<u8>> {
    let quic = Visitor::new(name).connect(server);
    quic.peer_cert_chain().expect("a certificate").iter().map(|cert| cert.to_vec()).collect()
}

#[test]
fn each_name_has_its_certificate() {
    let [first, wild, exact, last] =
        [&["first.test"][..], &["*.wild.test"], &["exact.wild.test", "last.test"], &["first.test", "LAST.test"]]
            .map(made);
    let dir = tempfile::tempdir().expect("a directory");
    first.write(dir.path()).expect("files");
    let with_ca = Certificate::from_pem(format!("{}{}", wild.cert_pem(), wild.ca_pem()), wild.key_pem());
    let certificates = vec![
        Certificate::from_files(dir.path().join("cert.pem"), dir.path().join("key.pem")),
        with_ca,
        exact.certificate(),
        last.certificate(),
    ];
    let mut server = server(certificates, |_| {});
    for (name, expected, len) in [
        (Some("first.test"), &first, 1),
        (Some("FIRST.Test"), &first, 1),
        (Some("a.wild.test"), &wild, 2),
        (Some("B.Wild.Test"), &wild, 2),
        (Some("exact.wild.test"), &exact, 1),
        (Some("last.test"), &exact, 1),
        (Some("wild.test"), &first, 1),
        (Some("a.b.wild.test"), &first, 1),
        (Some("unknown.test"), &first, 1),
        (None, &first, 1),
    ] {
        let chain = chain(&mut server, name);
        assert_eq!((chain.len(), chain[0] == der(expected)), (len, true), "{name:?}");
    }
}

#[test]
fn a_single_certificate_is_for_every_name() {
    let cert = made(&["first.test"]);
    let both = Certificate::from_pem(format!("{}{}", cert.cert_pem(), cert.ca_pem()), cert.key_pem());
    let mut server = server(vec![both], |_| {});
    for name in [Some("first.test"), Some("unknown.test"), None] {
        let chain = chain(&mut server, name);
        assert_eq!((chain.len(), chain[0] == der(&cert)), (2, true), "{name:?}");
    }
}

#[test]
fn a_name_in_a_datagram_that_was_lost_has_its_certificate_after_all() {
    let certs = [made(&["first.test"]), made(&["second.test"])];
    for lost in 1..=2 {
        for retry in [RetryPolicy::Off, RetryPolicy::On] {
            let all = certs.iter().map(DevCert::certificate).collect();
            let mut server = server(all, |config| config.retry = retry);
            let quic = Visitor::new(Some("second.test")).losing(lost).connect(&mut server);
            assert_eq!(quic.peer_cert(), Some(&*der(&certs[1])), "{lost} lost, {retry:?}");
        }
    }
}

/// An authority, and a client's certificate and key that it made.
fn client_files(dir: &Path) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "an authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::create_dir(dir).expect("a directory");
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text).expect("a file");
    write("ca.pem", ca.self_signed(&ca_key).expect("a certificate").pem());
    let key = KeyPair::generate().expect("a key");
    let cert = CertificateParams::default().signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate");
    write("cert.pem", cert.pem());
    write("key.pem", key.serialize_pem());
}

#[test]
fn clients_need_a_certificate_of_the_authority_whatever_their_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let [known, stranger] = ["known", "stranger"].map(|name| dir.path().join(name));
    client_files(&known);
    client_files(&stranger);
    let certs = [made(&["first.test"]), made(&["second.test"])];
    let mut server = server(certs.iter().map(DevCert::certificate).collect(), |config| {
        config.client_ca = Some(known.join("ca.pem"));
    });
    for name in ["first.test", "second.test"] {
        for (files, is_refused) in [(None, true), (Some(&stranger), true), (Some(&known), false)] {
            let visitor = Visitor::with(Some(name), |config| {
                let Some(files) = files else { return };
                let file = |name| files.join(name).to_str().expect("UTF-8").to_owned();
                config.load_cert_chain_from_pem_file(&file("cert.pem")).expect("a certificate");
                config.load_priv_key_from_pem_file(&file("key.pem")).expect("a key");
            });
            let error = visitor.close_of(&mut server);
            // A TLS alert (RFC 9001 section 4.8).
            assert_eq!(error.is_some_and(|code| code >> 8 == 1), is_refused, "{name}, {files:?}: {error:?}");
        }
    }
}

fn write(dir: &Path, names: &[&str]) -> DevCert {
    let cert = made(names);
    cert.write(dir).expect("files");
    cert
}

#[test]
fn all_certificates_are_reloaded_or_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let before = [write(&one, &["one.test"]), write(&two, &["two.test"])];
    let of = |dir: &Path| Certificate::from_files(dir.join("cert.pem"), dir.join("key.pem"));
    let memory = made(&["memory.test"]);
    let mut server = server(vec![of(&one), of(&two), memory.certificate()], |_| {});
    let ticket = Visitor::new(Some("two.test")).ticket(&mut server);

    let one_after = write(&one, &["one.test"]);
    std::fs::write(two.join("key.pem"), "no key").expect("a file");
    let error = server.reload().expect_err("a file without a key");
    assert!(matches!(error, ConfigError::NotPem { what: "private key", .. }), "{error}");
    assert_eq!(chain(&mut server, Some("one.test")), [der(&before[0])]);
    assert_eq!(chain(&mut server, Some("two.test")), [der(&before[1])]);

    let two_after = write(&two, &["two.test", "new.test"]);
    server.reload().expect("certificates");
    assert_eq!(chain(&mut server, Some("one.test")), [der(&one_after)]);
    assert_eq!(chain(&mut server, Some("two.test")), [der(&two_after)]);
    assert_eq!(chain(&mut server, Some("new.test")), [der(&two_after)]);
    assert_eq!(chain(&mut server, Some("memory.test")), [der(&memory)]);
    let again = Visitor::new(Some("two.test")).resuming(&ticket).connect(&mut server);
    assert!(again.is_resumed(), "the key of the tickets stays");
}

#[test]
fn a_certificate_in_memory_is_replaced() {
    let [before, after, other] = ["a.test", "b.test", "c.test"].map(|name| made(&[name]));
    let certificate = before.certificate();
    let mut server = server(vec![certificate.clone()], |_| {});
    let mismatch = certificate.replace(after.cert_pem(), other.key_pem());
    assert!(matches!(mismatch, Err(ConfigError::MismatchInMemory | ConfigError::Unusable { .. })), "{mismatch:?}");
    server.reload().expect("the same certificate");
    assert_eq!(chain(&mut server, None), [der(&before)]);
    certificate.replace(after.cert_pem(), after.key_pem()).expect("a certificate");
    assert_eq!(chain(&mut server, None), [der(&before)], "until the reload");
    server.reload().expect("another certificate");
    assert_eq!(chain(&mut server, None), [der(&after)]);

    let dir = tempfile::tempdir().expect("a directory");
    after.write(dir.path()).expect("files");
    let files = Certificate::from_files(dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let refused = files.replace(after.cert_pem(), after.key_pem()).expect_err("files").to_string();
    assert!(refused.ends_with("cannot be used: it is read from files: write these, and reload"), "{refused}");
}

#[test]
fn a_session_is_resumed_with_each_certificate() {
    let certs = [made(&["first.test"]), made(&["second.test"])];
    let mut server = server(certs.iter().map(DevCert::certificate).collect(), |_| {});
    for name in ["first.test", "second.test"] {
        let ticket = Visitor::new(Some(name)).ticket(&mut server);
        let again = Visitor::new(Some(name)).resuming(&ticket).connect(&mut server);
        assert!(again.is_resumed(), "{name}");
    }
}
