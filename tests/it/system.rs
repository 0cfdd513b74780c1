//! What the system does to a server: a kernel without IPv6, signals.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::client::Client;
use crate::support::curl::curl;
use crate::support::server::{Server, mio_quiche};
use crate::support::{DEADLINE, wait_for};

/// Makes `command` run as on a kernel that was booted with `ipv6.disable=1`.
fn without_ipv6(command: &mut Command, dir: &Path) {
    let (source, library) = (dir.join("socket.c"), dir.join("socket.so"));
    let code = r"
        #define _GNU_SOURCE
        #include <errno.h>
        #include <sys/socket.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int socket(int domain, int type, int protocol) {
            if (domain == AF_INET6) { errno = EAFNOSUPPORT; return -1; }
            return syscall(SYS_socket, domain, type, protocol);
        }";
    fs::write(&source, code).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(made.expect("a C compiler").success());
    command.env("LD_PRELOAD", library);
}

#[test]
fn without_ipv6_the_default_address_is_that_of_ipv4() {
    // K16
    let server = Server::run("[::]:0", without_ipv6, &["--admin", "[::]:0"]);
    assert_eq!((server.addr().ip().to_string(), server.admin().ip().to_string()), ("0.0.0.0".into(), "0.0.0.0".into()));
    let log = server.log();
    let told =
        "this system has no IPv6 (Address family not supported by protocol (os error 97)): 0.0.0.0:0 in place of";
    assert_eq!(log.matches(told).count(), 2, "{log}");
    let url = format!("https://127.0.0.1:{}/", server.port());
    let mut get = mio_quiche();
    without_ipv6(&mut get, server.dir());
    let got = get.args(["get", "-k", &url]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&got.stdout), "Hello, HTTP/3!\n", "{}", String::from_utf8_lossy(&got.stderr));

    let mut other = mio_quiche();
    without_ipv6(&mut other, server.dir());
    let (cert, key) = (server.dir().join("cert.pem"), server.dir().join("key.pem"));
    let failed = other
        .args(["serve", "--demo", "--listen", "[::1]:0", "--cert"])
        .arg(cert)
        .arg("--key")
        .arg(key)
        .output()
        .unwrap();
    assert_eq!(failed.status.code(), Some(1), "an address of its own has no substitute");
}

#[test]
fn signals_without_a_meaning_leave_a_server_as_it_is() {
    // K16
    let mut server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    for signal in ["USR1", "USR2", "PIPE", "HUP"] {
        server.signal(signal);
        client.assert_alive();
        assert!(!server.has_ended(), "SIG{signal} ended the server");
    }
    wait_for("the reload", DEADLINE, || server.log().contains("certificate and keys reloaded").then_some(()));
    assert_eq!(curl(&server, "/", &[]).status, 200);
    server.signal("TERM");
    assert_eq!(server.wait(DEADLINE).code(), Some(0), "{}", server.log());
}

#[test]
fn sigusr1_opens_the_key_log_again() {
    // K16: a key log that was rotated.
    let server = Server::start(&["--keylog", "keys"]);
    let (keys, rotated) = (server.dir().join("keys"), server.dir().join("keys.1"));
    Client::connect(server.addr()).assert_alive();
    fs::rename(&keys, &rotated).unwrap();
    server.signal("USR1");
    wait_for("another key log", DEADLINE, || keys.exists().then_some(()));
    let before = fs::read_to_string(&rotated).unwrap();
    Client::connect(server.addr()).assert_alive();
    let after = fs::read_to_string(&keys).unwrap();
    assert_eq!(fs::read_to_string(&rotated).unwrap(), before);
    for log in [before, after] {
        assert_eq!(log.matches("CLIENT_TRAFFIC_SECRET_0 ").count(), 1, "{log}");
    }
}

#[test]
fn a_full_disk_is_reported_once_and_counted() {
    // K13
    let mut server = Server::start(&["--keylog", "/dev/full"]);
    for _ in 0..3 {
        assert_eq!(curl(&server, "/", &[]).status, 200);
    }
    let stats = server.stop();
    assert_eq!(stats.get("log_failures"), 15, "five secrets of each connection");
    let log = server.log();
    let told = "cannot write the key log '/dev/full', which is cut off: No space left on device (os error 28)";
    assert_eq!(log.matches(told).count(), 1, "{log}");
}
