//! Servers of others: quiche's example, nginx, aioquic.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use data_encoding::HEXLOWER;
use ring::digest;

use super::servers::{Foreign, aioquic, nginx, quiche};
use super::{Get, LONG, sha256};
use crate::support::payload;
use crate::support::relay::{Relay, seed};

const BIG: usize = 100_000_000;
const LOSSY: usize = 3_000_000;

fn sha256_of(path: &Path) -> String {
    let mut file = fs::File::open(path).unwrap();
    let mut sum = digest::Context::new(&digest::SHA256);
    let mut buf = vec![0; 1 << 20];
    loop {
        match file.read(&mut buf).unwrap() {
            0 => return HEXLOWER.encode(sum.finish().as_ref()),
            n => sum.update(&buf[..n]),
        }
    }
}

fn get_long(foreign: &Foreign, args: &[&str], url: &str, fill: impl FnOnce(&Path)) -> super::Ended {
    let ca = foreign.ca();
    Get::start(&[&["--cacert", &ca], args, &[url]].concat(), Stdio::null(), fill).finish(LONG)
}

fn downloads(foreign: &Foreign, big: &str, lossy: &str) {
    let down = get_long(foreign, &["-o", "file"], &foreign.url(big), |_| {});
    assert_eq!(down.text(), "");
    assert_eq!(fs::metadata(down.path("file")).unwrap().len(), BIG as u64);
    assert_eq!(sha256_of(&down.path("file")), sha256(&payload(BIG)));
    let relay = Relay::start(foreign.addr, 2, seed());
    let down = get_long(foreign, &["-o", "file"], &relay.url(lossy), |_| {});
    assert_eq!((down.text(), sha256(&down.file("file"))), ("", sha256(&payload(LOSSY))));
    assert!(relay.counts().0 > 0);
}

fn not_found(foreign: &Foreign) {
    let url = foreign.url("/nowhere");
    foreign
        .get(&["-f"], "/nowhere")
        .assert_failed(22, &format!("{url}: the server answered with status 404 (-f was given)"));
    let shown = foreign.get(&["-o", "file", "-w", "%{http_code}"], "/nowhere");
    assert_eq!(shown.text(), "404");
}

#[test]
fn quiche_example() {
    let server = quiche(&[("small", 15), ("big", BIG), ("lossy", LOSSY)]);
    assert_eq!(server.get(&[], "/small").out, payload(15));
    downloads(&server, "/big", "/lossy");
    not_found(&server);
    // It takes GET only, and nothing that follows.
    for args in [&["-I"][..], &["-d", "x", "-i"]] {
        let head = server.get(args, "/small");
        assert!(head.text().starts_with("HTTP/3 405 \r\n"), "{head:?}");
    }
}

#[test]
fn nginx_server() {
    let server = nginx(&[("small", 15), ("big", BIG), ("lossy", LOSSY)]);
    assert_eq!(server.get(&[], "/small").out, payload(15));
    downloads(&server, "/big", "/lossy");
    not_found(&server);
    let head = server.get(&["-I"], "/small");
    assert!(head.text().starts_with("HTTP/3 200 \r\n") && head.text().contains("content-length: 15\r\n"), "{head:?}");
    let followed = server.get(&["-L", "-w", " %{num_redirects} %{url_effective}"], "/moved");
    assert_eq!(followed.out, [payload(15), format!(" 1 {}", server.url("/small")).into_bytes()].concat());
    // Uploads end as files.
    let body = payload(LOSSY);
    let fill = |dir: &Path| fs::write(dir.join("body"), &body).unwrap();
    let up = get_long(&server, &["-T", "body", "-w", "%{http_code}"], &server.url("/put/one"), fill);
    assert_eq!(up.text(), "201");
    let relay = Relay::start(server.addr, 2, seed());
    let up = get_long(&server, &["-T", "body", "-w", "%{http_code}"], &relay.url("/put/two"), fill);
    assert_eq!(up.text(), "201");
    for name in ["one", "two"] {
        assert_eq!(sha256_of(&server.dir.path().join("root/put").join(name)), sha256(&body));
    }
}

#[test]
fn aioquic_server() {
    let server = aioquic(&[]);
    assert_eq!(server.get(&[], "/").text(), "Hello, aioquic!\n");
    downloads(&server, &format!("/bytes/{BIG}"), &format!("/bytes/{LOSSY}"));
    not_found(&server);
    assert_eq!(server.get(&["-I"], "/").text(), "HTTP/3 200 \r\ncontent-length: 15\r\n\r\n");
    let body = payload(LOSSY);
    let answer = format!("PUT {LOSSY} {}\n", sha256(&body));
    let fill = |dir: &Path| fs::write(dir.join("body"), &body).unwrap();
    let relay = Relay::start(server.addr, 2, seed());
    for url in [server.url("/upload"), relay.url("/upload")] {
        assert_eq!(get_long(&server, &["-T", "body"], &url, fill).text(), answer);
    }
}
