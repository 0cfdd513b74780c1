//! The command line: exit codes, messages, certificates, qlog summaries.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use ring::digest;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::curl::curl;
use crate::support::server::{Server, make_cert, mio_quiche};

/// Exit code, standard output and standard error of a run in `dir`.
fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = mio_quiche().args(args).current_dir(dir).output().expect("mio-quiche runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A directory with `cert.pem` and `key.pem`.
fn certified() -> TempDir {
    let dir = TempDir::new().unwrap();
    make_cert(dir.path());
    dir
}

/// It must fail with exactly this on standard error, and nothing on standard output.
fn assert_fails(dir: &Path, args: &[&str], code: i32, message: &str) {
    assert_eq!(run(dir, args), (Some(code), String::new(), format!("mio-quiche: {message}\n")), "{args:?}");
}

const PAIR: [&str; 4] = ["--cert", "cert.pem", "--key", "key.pem"];

fn serve<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["serve", "--demo", "--listen", "127.0.0.1:0"], &PAIR[..], more].concat()
}

#[test]
fn certificates_and_keys_that_do_not_do() {
    let dir = certified();
    let dir = dir.path();
    let with = |cert, key| ["serve", "--demo", "--listen", "127.0.0.1:0", "--cert", cert, "--key", key];
    const REMEDY: &str = "(make one with: mio-quiche cert)";
    let missing = "No such file or directory (os error 2)";
    let message = format!("cannot read certificate 'nowhere.pem': {missing} {REMEDY}");
    assert_fails(dir, &with("nowhere.pem", "key.pem"), 2, &message);
    let message = format!("cannot read private key 'nowhere.pem': {missing} {REMEDY}");
    assert_fails(dir, &with("cert.pem", "nowhere.pem"), 2, &message);
    fs::write(dir.join("text.pem"), "some text\n").unwrap();
    assert_fails(
        dir,
        &with("text.pem", "key.pem"),
        2,
        &format!("'text.pem' holds no certificate in PEM form {REMEDY}"),
    );
    assert_fails(
        dir,
        &with("cert.pem", "text.pem"),
        2,
        &format!("'text.pem' holds no private key in PEM form {REMEDY}"),
    );
    // The right label with nonsense in it, and the files the wrong way round.
    fs::write(dir.join("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let message = "certificate 'broken.pem' cannot be used: its PEM block is damaged";
    assert_fails(dir, &with("broken.pem", "key.pem"), 2, message);
    let swapped = "it holds a private key and no certificate: are the two files swapped?";
    let message = format!("certificate 'key.pem' cannot be used: {swapped}");
    assert_fails(dir, &with("key.pem", "cert.pem"), 2, &message);
    // T5: the authority's certificate, and a chain in the wrong order.
    let message = "certificate 'ca.pem' cannot be used: the private key does not belong to it, and it has signed itself: \
                   is it that of an authority?";
    assert_fails(dir, &with("ca.pem", "key.pem"), 2, message);
    let read = |name| fs::read_to_string(dir.join(name)).unwrap();
    fs::write(dir.join("chain.pem"), read("ca.pem") + &read("cert.pem")).unwrap();
    let message = "certificate 'chain.pem' cannot be used: the private key belongs to certificate 2 of the chain, but has \
                   to belong to the first";
    assert_fails(dir, &with("chain.pem", "key.pem"), 2, message);
    make_cert(&dir.join("other"));
    let message = "private key 'other/key.pem' does not belong to certificate 'cert.pem' \
                   (make a new pair with: mio-quiche cert)";
    assert_fails(dir, &with("cert.pem", "other/key.pem"), 2, message);
    let two = [&with("cert.pem", "key.pem")[..], &["--cert", "other/cert.pem"]].concat();
    assert_fails(dir, &two, 2, "2 --cert, but 1 --key: give one for each");
}

#[test]
fn addresses_that_do_not_do() {
    let dir = certified();
    for listen in ["127.0.0.1:70000", "https://localhost", ":", ""] {
        let message = format!(
            "--listen '{listen}': give ADDRESS:PORT, HOST:PORT or :PORT, such as 127.0.0.1:4433, localhost:4433 or :4433"
        );
        assert_fails(dir.path(), &[&["serve", "--demo", "--listen", listen], &PAIR[..]].concat(), 2, &message);
    }
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let message = format!(
        "cannot listen on {addr}: Address already in use (os error 98) \
         (another server runs there); choose a port with --listen ADDR:PORT"
    );
    assert_fails(dir.path(), &[&["serve", "--demo", "--listen", &addr], &PAIR[..]].concat(), 1, &message);
    let message = "cannot listen on 192.0.2.1:0: Cannot assign requested address (os error 99) \
                   (no interface of this machine has that address)";
    assert_fails(dir.path(), &[&["serve", "--demo", "--listen", "192.0.2.1:0"], &PAIR[..]].concat(), 1, message);
}

#[test]
fn settings_that_do_not_do() {
    let dir = certified();
    let dir = dir.path();
    for bytes in ["0", "100", "1199", "65528"] {
        let message = format!("max_udp_payload is {bytes}, but must be 1200 to 65527 bytes");
        assert_fails(dir, &serve(&["--max-udp-payload", bytes]), 2, &message);
    }
    assert_fails(dir, &serve(&["--max-data", "0"]), 2, "initial_max_data is 0, but must be 1 to 2^62-1 bytes");
    assert_fails(dir, &serve(&["--max-requests", "0"]), 2, "max_streams_bidi is 0, but must be 1 to 2^60 streams");
    assert_fails(dir, &serve(&["--max-connections", "0"]), 2, "max_connections is 0, but must be at least 1");
    assert_fails(dir, &serve(&["--idle-timeout", "0"]), 2, "idle_timeout is 0ns, but must be longer than 0");
    assert_fails(
        dir,
        &serve(&["--max-field-section", "1048577"]),
        2,
        "request_limits.max_field_section is 1048577, but must be 1 to 1048576 bytes",
    );
    // M8
    for (origin, proposal) in [
        ("example.com", "https://example.com"),
        ("https://example.com/path", "https://example.com"),
        ("null", "SCHEME://HOST or SCHEME://HOST:PORT, or * for any"),
    ] {
        let message = format!("'{origin}' in webtransport.allow_origins is not an origin: write {proposal}");
        assert_fails(dir, &serve(&["--allow-origin", "https://good.example", "--allow-origin", origin]), 2, &message);
    }
    let wanted = "32 to 4096 random bytes (make them with: head -c 32 /dev/urandom >FILE)";
    let message = format!("host key is more than 4096 bytes in '/dev/zero', but must be {wanted}");
    assert_fails(dir, &serve(&["--host-key", "/dev/zero"]), 2, &message);
    let missing = "No such file or directory (os error 2)";
    assert_fails(dir, &serve(&["--host-key", "nowhere"]), 2, &format!("cannot use host key 'nowhere': {missing}"));
    let message = "ticket key is more than 4096 bytes in '/dev/zero', but must be 48 random bytes (make them with: head \
                   -c 48 /dev/urandom)";
    assert_fails(dir, &serve(&["--ticket-key", "/dev/zero"]), 2, message);
    let (code, out, err) = run(dir, &serve(&["nowhere"]));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("mio-quiche: cannot use root directory 'nowhere': ") && err.lines().count() == 1, "{err}");
    let (code, out, err) = run(dir, &serve(&["--keylog", "nowhere/keys"]));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(err, "mio-quiche: cannot use key log 'nowhere/keys': No such file or directory (os error 2)\n");
    let (code, _, err) = run(dir, &serve(&["--qlog-dir", "cert.pem"]));
    assert_eq!(code, Some(2));
    assert_eq!(err, "mio-quiche: cannot use qlog directory 'cert.pem': File exists (os error 17)\n");
    // K13: a directory in which nobody can make files, root neither.
    let (code, _, err) = run(dir, &serve(&["--qlog-dir", "/proc/self"]));
    assert_eq!(code, Some(2));
    assert!(
        err.starts_with("mio-quiche: cannot use qlog directory '/proc/self': ") && err.lines().count() == 1,
        "{err}"
    );
}

#[test]
fn arguments_that_do_not_do() {
    let dir = TempDir::new().unwrap();
    for (args, said) in [
        (&["serve", "--unknown"][..], "error: unexpected argument '--unknown' found"),
        (&["serve", "--retry", "maybe"], "error: invalid value 'maybe' for '--retry <RETRY>'"),
        (&["serve", "--cc", "fast"], "error: invalid value 'fast' for '--cc <CC>'"),
        (&["serve", "--idle-timeout", "x"], "error: invalid value 'x' for '--idle-timeout <SECONDS>'"),
        (&["serve", "--idle-timeout=-1"], "error: invalid value '-1' for '--idle-timeout <SECONDS>'"),
        (
            &["serve", "--qlog-dir", "q", "--no-qlog"],
            "error: the argument '--qlog-dir <DIR>' cannot be used with '--no-qlog'",
        ),
        (&["nonsense"], "error: unrecognized subcommand 'nonsense'"),
        (&["qlog"], "error: the following required arguments were not provided:"),
    ] {
        let (code, out, err) = run(dir.path(), args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}");
        assert!(err.lines().next().is_some_and(|first| first.starts_with(said)), "{args:?}: {err}");
    }
    let (code, out, err) = run(dir.path(), &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("Usage: mio-quiche"), "{err}");
}

#[test]
fn version_and_help() {
    let dir = TempDir::new().unwrap();
    let manifest = include_str!("../../Cargo.toml");
    let value = |line: &str| {
        let rest = manifest.lines().find_map(|l| l.strip_prefix(line)).expect("a line of Cargo.toml");
        rest.trim_matches(['"', '=']).to_owned()
    };
    let line = format!("mio-quiche {} (quiche {})\n", value("version = "), value("quiche = "));
    assert_eq!(run(dir.path(), &["--version"]), (Some(0), line.clone(), String::new()));
    assert_eq!(format!("{}\n", mio_quiche::version()), line);
    let (code, help, _) = run(dir.path(), &["--help"]);
    assert_eq!(code, Some(0));
    for word in ["serve", "cert", "qlog", "Exit codes: 0 success, 1 failure"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let (code, help, _) = run(dir.path(), &["serve", "--help"]);
    assert_eq!(code, Some(0));
    for option in [
        "--listen",
        "--cert",
        "--key",
        "--demo",
        "--spa",
        "--cache-control",
        "--config",
        "--qlog-dir",
        "--no-qlog",
        "--retry",
        "--cc",
        "--no-grease",
        "--keylog",
    ] {
        assert!(help.contains(option), "{option}: {help}");
    }
}

fn der(path: &Path) -> Vec<u8> {
    let pem = fs::read_to_string(path).unwrap();
    let body: String = pem.lines().skip(1).take_while(|line| !line.starts_with("-----")).collect();
    BASE64.decode(body.as_bytes()).unwrap()
}

#[test]
fn certificates_are_made_and_kept() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let (code, told, err) = run(dir, &["cert", "--out", "made"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let sum = digest::digest(&digest::SHA256, &der(&dir.join("made/cert.pem")));
    let (hex, base64) = (HEXLOWER.encode(sum.as_ref()), BASE64.encode(sum.as_ref()));
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("certificate made/cert.pem (CA beside it in ca.pem), valid until "), "{told}");
    assert_eq!(lines[1], format!("SHA-256, hex      {hex}"));
    assert_eq!(lines[2], format!("SHA-256, base64   {base64}"));
    let mode = |name: &str| fs::metadata(dir.join("made").join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("key.pem"), mode("cert.pem"), mode("ca.pem")), (0o600, 0o644, 0o644));
    // Kept if it is good for another day; made anew if not asked so.
    let read = || ["cert.pem", "key.pem", "ca.pem"].map(|name| fs::read(dir.join("made").join(name)).unwrap());
    let first = read();
    assert_eq!(run(dir, &["cert", "--out", "made", "--if-needed"]), (Some(0), String::new(), String::new()));
    assert_eq!(read(), first);
    let hash = run(dir, &["cert", "--out", "made", "--if-needed", "--print-hash"]);
    assert_eq!((hash, read()), ((Some(0), format!("{base64}\n"), String::new()), first.clone()));
    assert_eq!(run(dir, &["cert", "--out", "made"]).0, Some(0));
    let second = read();
    assert!(first.iter().zip(&second).all(|(a, b)| a != b), "all three are new");
    fs::remove_file(dir.join("made/key.pem")).unwrap();
    assert_eq!(run(dir, &["cert", "--out", "made", "--if-needed"]).0, Some(0));
    assert_ne!(read()[0], second[0], "a certificate without its key is of no use");
}

#[test]
fn a_certificate_that_is_not_for_the_names_is_not_good_enough() {
    let dir = TempDir::new().unwrap();
    let made = |names: &[&str]| {
        let before = fs::read(dir.path().join("certs/cert.pem")).unwrap_or_default();
        let names: Vec<&str> = names.iter().flat_map(|name| ["--name", name]).collect();
        assert_eq!(run(dir.path(), &[&["cert", "--if-needed"], &names[..]].concat()).0, Some(0));
        fs::read(dir.path().join("certs/cert.pem")).unwrap() != before
    };
    assert!(made(&[]) && !made(&[]) && !made(&["127.0.0.1"]));
    assert!(made(&["a.test", "192.0.2.1"]) && !made(&["192.0.2.1"]) && !made(&["A.test"]) && !made(&[]));
    assert!(made(&["b.test"]) && made(&["*.test"]) && !made(&["c.test"]));
    // The key of another certificate.
    make_cert(&dir.path().join("other"));
    fs::copy(dir.path().join("other/key.pem"), dir.path().join("certs/key.pem")).unwrap();
    let message = "'certs/key.pem' is not a file of a development certificate: it is kept \
                   (--force replaces it, --out names another directory)";
    assert_fails(dir.path(), &["cert", "--if-needed"], 1, message);
}

#[test]
fn what_cert_did_not_make_is_kept() {
    let dir = TempDir::new().unwrap();
    let certs = dir.path().join("certs");
    fs::create_dir(&certs).unwrap();
    for name in ["key.pem", "cert.pem", "ca.pem"] {
        fs::write(certs.join(name), "precious\n").unwrap();
        let message = format!(
            "'certs/{name}' is not a file of a development certificate: it is kept \
             (--force replaces it, --out names another directory)"
        );
        for args in [&["cert"][..], &["cert", "--if-needed"]] {
            assert_fails(dir.path(), args, 1, &message);
        }
        assert_eq!(fs::read_to_string(certs.join(name)).unwrap(), "precious\n");
        assert_eq!(fs::read_dir(&certs).unwrap().count(), 1, "and nothing was made beside it");
        fs::remove_file(certs.join(name)).unwrap();
    }
    fs::write(certs.join("key.pem"), "precious\n").unwrap();
    assert_eq!(run(dir.path(), &["cert", "--force"]).0, Some(0));
    assert!(fs::read_to_string(certs.join("key.pem")).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(run(dir.path(), &["cert"]).0, Some(0), "its own files are replaced");
}

#[test]
fn hash_and_trust_only_read() {
    let dir = TempDir::new().unwrap();
    let missing = "cannot read certificate 'certs/cert.pem': No such file or directory (os error 2) \
                   (make one with: mio-quiche cert)";
    for option in ["--print-hash", "--trust"] {
        assert_fails(dir.path(), &["cert", option], 1, missing);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{option}");
    }
    let told = run(dir.path(), &["cert", "--if-needed", "--print-hash"]);
    assert_eq!((told.0, told.2.as_str()), (Some(0), ""));
    let before = fs::read(dir.path().join("certs/cert.pem")).unwrap();
    assert_eq!(run(dir.path(), &["cert", "--print-hash"]), told);
    let (code, text, _) = run(dir.path(), &["cert", "--trust"]);
    assert_eq!(code, Some(0));
    for part in [
        "curl --http3-only --cacert certs/ca.pem ",
        "update-ca-certificates",
        "certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n mio-quiche -i certs/ca.pem",
        "network.http.http3.disable_when_third_party_roots_found",
        told.1.trim(),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(fs::read(dir.path().join("certs/cert.pem")).unwrap(), before);
}

#[test]
fn certificates_that_cannot_be_made() {
    let dir = TempDir::new().unwrap();
    let message = "cannot put 'a b' into a certificate: give a host name or an IP address (other scripts as xn--...)";
    assert_fails(dir.path(), &["cert", "--out", "made", "--name", "a b"], 2, message);
    fs::write(dir.path().join("file"), "").unwrap();
    let message = "cannot write 'file': File exists (os error 17) (name a directory you may write to)";
    assert_fails(dir.path(), &["cert", "--out", "file"], 1, message);
}

#[test]
fn qlog_of_a_real_run() {
    let mut server = Server::start(&["--qlog-dir", "qlogs"]);
    assert_eq!(curl(&server, "/api/users/42", &[]).status, 200);
    server.stop();
    let (file, _) = server.qlogs("qlogs").remove(0);
    let file = file.to_str().unwrap();
    // RFC 9000's connection id in hexadecimal, 16 bytes of it.
    let stem = Path::new(file).file_stem().unwrap().to_str().unwrap();
    assert!(stem.len() == 32 && HEXLOWER.decode(stem.as_bytes()).is_ok(), "{stem}");
    let (code, summary, err) = run(server.dir(), &["qlog", file]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let line = |start: &str| {
        let found = summary.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start} in {summary}"))
    };
    assert!(line("handshake").contains("established after"), "{summary}");
    assert!(summary.contains("ALPN h3"), "{summary}");
    assert!(line("HTTP/3").ends_with("1 requests, 0 WebTransport sessions"), "{summary}");
    assert!(summary.lines().any(|line| line.trim() == "0 200 GET /api/users/42"), "{summary}");
    let (code, json, err) = run(server.dir(), &["qlog", "--json", file, file]);
    assert_eq!((code, err.as_str(), json.lines().count()), (Some(0), "", 2));
    for line in json.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let request = &value["requests"][0];
        assert_eq!((&request["method"], &request["path"]), (&Value::from("GET"), &Value::from("/api/users/42")));
    }
}

#[test]
fn qlog_of_what_is_not_there() {
    let dir = TempDir::new().unwrap();
    let (code, out, err) = run(dir.path(), &["qlog", "nowhere.sqlog"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("mio-quiche: ") && err.contains("'nowhere.sqlog'"), "{err}");
    assert!(err.contains("No such file or directory") && err.lines().count() == 1, "{err}");
    fs::write(dir.path().join("text"), "no qlog\n").unwrap();
    let (code, _, err) = run(dir.path(), &["qlog", "text", "nowhere.sqlog"]);
    assert_eq!((code, err.lines().count()), (Some(1), 2), "a line for each file: {err}");
}

#[test]
fn no_grease() {
    // RFC 9114 section 7.2.4.1: reserved settings, which are to be ignored.
    let reserved = |args: &[&str]| {
        let server = Server::start(args);
        let mut client = Client::connect(server.addr());
        let settings = client.until("the server's SETTINGS", |c| {
            let settings = c.h3.as_ref().and_then(|h3| h3.peer_settings_raw());
            settings.map(<[(u64, u64)]>::to_vec)
        });
        assert!(!settings.is_empty(), "SETTINGS came");
        settings.iter().filter(|(id, _)| *id >= 0x21 && (id - 0x21) % 0x1f == 0).count()
    };
    assert_eq!(reserved(&[]), 1);
    assert_eq!(reserved(&["--no-grease"]), 0);
}

#[test]
fn no_qlog_and_keylog() {
    let mut server = Server::start(&["--no-qlog", "--keylog", "keys.log"]);
    curl(&server, "/", &[]);
    server.stop();
    let names: Vec<_> = fs::read_dir(server.dir()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("qlog")), "{names:?}");
    let keys = fs::read_to_string(server.dir().join("keys.log")).unwrap();
    for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"] {
        assert!(keys.lines().any(|line| line.starts_with(&format!("{label} "))), "{label}: {keys}");
    }
}

#[test]
fn files_without_an_end_are_refused() {
    let dir = certified();
    let dir = dir.path();
    fs::create_dir(dir.join("made")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.join("made/cert.pem")).unwrap();
    for (args, code, more_than) in [
        (&["cert", "--out", "made", "--print-hash"][..], 1, "4194304"),
        (&["cert", "--out", "made"], 1, "4194304"),
        (&["get", "--cacert", "/dev/zero", "https://127.0.0.1/"], 77, "16777216"),
        (&["get", "--alt-svc", "/dev/zero", "https://127.0.0.1/"], 26, "16777216"),
        (&["get", "--resume-session", "/dev/zero", "https://127.0.0.1/"], 26, "16777216"),
    ] {
        let (ended, _, err) = run(dir, args);
        assert_eq!(ended, Some(code), "{args:?}: {err}");
        assert!(err.contains(&format!(": it has more than {more_than} bytes")), "{args:?}: {err}");
    }
}
