//! Several certificates on one server, chosen by the name that a client asks for.

use std::path::Path;

use mio_quiche::app::cert::CertInfo;
use serde_json::json;

use crate::aioquic::Case;
use crate::support::curl;
use crate::support::server::{Server, mio_quiche};
use crate::support::{DEADLINE, wait_for};

const HELLO: &str = "Hello, HTTP/3!\n";

/// Makes a certificate for a name in a directory of that name.
fn make(dir: &Path, name: &str) {
    let out = dir.join(name.trim_start_matches("*."));
    let made = mio_quiche().arg("cert").arg("--out").arg(out).args(["--name", name]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A server whose default certificate is for `localhost` alone, and two more.
fn serve() -> Server {
    let prepare = |dir: &Path| {
        make(dir, "one.test");
        make(dir, "*.two.test");
    };
    let one = ["--cert", "one.test/cert.pem", "--key", "one.test/key.pem"];
    let two = ["--cert", "two.test/cert.pem", "--key", "two.test/key.pem"];
    Server::prepared("127.0.0.1:0", prepare, &[one, two].concat())
}

fn hash(server: &Server, file: &str) -> String {
    CertInfo::read(&server.dir().join(file)).unwrap().sha256_hex()
}

/// What curl gets that trusts one authority only, or its error.
fn curl(server: &Server, ca: &str, name: &str) -> Result<String, String> {
    let ca = server.dir().join(ca);
    let to = format!("{name}:{}:127.0.0.1", server.port());
    let mut curl = curl::strict_command();
    curl.arg("--cacert").arg(ca).args(["--resolve", &to, &format!("https://{name}:{}/", server.port())]);
    let output = curl.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn curl_gets_the_certificate_of_the_name() {
    let mut server = serve();
    for (name, ca) in [("localhost", "ca.pem"), ("one.test", "one.test/ca.pem"), ("a.two.test", "two.test/ca.pem")] {
        assert_eq!(curl(&server, ca, name).as_deref(), Ok(HELLO), "{name}");
    }
    let default = std::fs::read_to_string(server.dir().join("cert.pem")).unwrap();
    for name in ["unknown.test", "two.test", "a.b.two.test"] {
        let error = curl(&server, "ca.pem", name).unwrap_err();
        assert!(error.starts_with("curl: (60) "), "{name}: {error}");
        let to = format!("{name}:{}:127.0.0.1", server.port());
        let url = format!("https://{name}:{}/", server.port());
        let shown = curl::command().args(["-o", "/dev/null", "-w", "%{certs}", "--resolve", &to, &url]).output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        assert!(shown.contains(&default), "{name}: {shown}");
    }
    server.stop();
}

#[test]
fn aioquic_gets_and_resumes_the_certificate_of_the_name() {
    let mut server = serve();
    let names = ["localhost", "one.test", "a.two.test", "unknown.test"];
    let found = Case::start_with(&server, "names", &names).finish();
    let files = ["cert.pem", "one.test/cert.pem", "two.test/cert.pem", "cert.pem"];
    assert_eq!(found, json!(files.map(|file| (hash(&server, file), true))));
    server.stop();
}

#[test]
fn a_signal_reloads_all_certificates() {
    let mut server = serve();
    let before = hash(&server, "one.test/cert.pem");
    make(server.dir(), "one.test");
    make(server.dir(), "*.two.test");
    assert_ne!(hash(&server, "one.test/cert.pem"), before);
    server.signal("HUP");
    wait_for("the reload", DEADLINE, || server.log().contains("certificate and keys reloaded").then_some(()));
    for (name, ca) in [("localhost", "ca.pem"), ("one.test", "one.test/ca.pem"), ("a.two.test", "two.test/ca.pem")] {
        assert_eq!(curl(&server, ca, name).as_deref(), Ok(HELLO), "{name}");
    }
    server.stop();
}
