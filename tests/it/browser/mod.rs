//! Chromium and Firefox, unmodified and headless, with WebTransport. The pages' side of each case is in `page.js`.

/// Makes tests of functions: one with each browser. A name of its own for each comes first, so that the two browsers,
/// each of which does one thing at a time, are at work together.
macro_rules! in_both {
    ($($case:ident)*) => {
        $(mod $case {
            use crate::browser::process::Kind;

            #[test]
            fn chromium() {
                super::$case(Kind::Chromium);
            }

            #[test]
            fn firefox() {
                super::$case(Kind::Firefox);
            }
        })*
    };
}

pub(crate) mod demo_page;
mod h3;
mod process;
mod sessions;
mod streams;

use std::fs;

use data_encoding::{BASE64, HEXLOWER};
use ring::digest;
use serde_json::{Value, json};

use crate::support::relay::{Relay, seed};
use crate::support::server::Server;
use process::{Browser, Kind, Shared};

/// A page in a browser, and the server that it talks to.
struct Page {
    browser: Shared,
    server: Server,
    hash: String,
    relay: Option<Relay>,
}

impl Page {
    /// With a server that allows the page's origin.
    fn open(kind: Kind) -> Self {
        let browser = Browser::shared(kind);
        let origin = browser.origin().to_owned();
        Self::with(browser, &["--allow-origin", &origin])
    }

    /// With a server that has these arguments.
    fn with(browser: Shared, args: &[&str]) -> Self {
        let server = Server::start(args);
        let hash = hash(&server);
        Page { browser, server, hash, relay: None }
    }

    /// From now on with packets lost on the way.
    fn lose(&mut self, percent: u64) {
        self.relay = Some(Relay::start(self.server.addr(), percent, seed()));
    }

    /// From now on with another server.
    fn restart(&mut self, args: &[&str]) {
        self.server = Server::start(args);
        self.hash = hash(&self.server);
    }

    fn url(&self, path: &str) -> String {
        self.relay.as_ref().map_or_else(|| self.server.url(path), |relay| relay.url(path))
    }

    /// Runs a case on a path of the server.
    #[track_caller]
    fn run(&mut self, case: &str, path: &str, mut args: Value) -> Value {
        args["url"] = json!(self.url(path));
        args["hash"] = json!(self.hash);
        self.browser.run(None, case, args)
    }

    /// A session is ready, and closes when the page wants it.
    #[track_caller]
    fn assert_ready(&mut self) {
        assert_eq!(self.run("ready", "/wt/echo", json!({})), json!([0, ""]));
    }
}

fn sha256(data: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, data).as_ref().to_vec()
}

/// The server's certificate in DER.
fn certificate(server: &Server) -> Vec<u8> {
    let pem = fs::read(server.dir().join("cert.pem")).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    pem.contents
}

/// The certificate's hash, as the pages take it.
fn hash(server: &Server) -> String {
    HEXLOWER.encode(&sha256(&certificate(server)))
}

/// The hash of its public key, as Chromium's command line takes it.
fn spki_hash(server: &Server) -> String {
    let der = certificate(server);
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    BASE64.encode(&sha256(certificate.public_key().raw))
}
