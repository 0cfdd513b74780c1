//! `mio-quiche qlog` on files of our server, ngtcp2's client and aioquic, and the limits of the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::curl::curl;
use crate::support::server::{Guard, Server};
use crate::support::{DEADLINE, payload, tool};

const LEN: usize = 300_000;

fn server() -> Server {
    Server::with_files(|root| fs::write(root.join("file.bin"), payload(LEN)).unwrap(), &["--qlog-dir", "qlogs"])
}

fn qlog(args: &[&str], stdin: &[u8]) -> (Option<i32>, String, String) {
    use std::io::Write;
    let command = Command::new(env!("CARGO_BIN_EXE_mio-quiche"))
        .arg("qlog")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = command.expect("mio-quiche starts");
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let out = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

fn json(path: &Path) -> Value {
    let (code, out, err) = qlog(&["--json", path.to_str().unwrap()], b"");
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    serde_json::from_str(&out).unwrap()
}

fn only_file(dir: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

/// Both ends' files of one connection agree.
fn assert_same(client: &Value, server: &Value) {
    assert_eq!((&client["vantage_point"], &server["vantage_point"]), (&"client".into(), &"server".into()));
    for log in [client, server] {
        assert_eq!((&log["skipped"], &log["truncated"]), (&0.into(), &false.into()), "{log}");
        assert!(log["handshake"]["established_ms"].is_f64() && log["handshake"]["confirmed_ms"].is_f64(), "{log}");
        assert!(log["rtt"]["smoothed_ms"].as_f64().unwrap() >= 0.0 && log["congestion"]["window"].is_u64(), "{log}");
    }
    let requests = |log: &Value| log["streams"]["client bidi"].clone();
    let (ours, theirs) = (requests(server), requests(client));
    assert_eq!((&ours["count"], &theirs["count"]), (&1.into(), &1.into()));
    assert_eq!((&ours["bytes_out"], &ours["bytes_in"]), (&theirs["bytes_in"], &theirs["bytes_out"]));
    assert!(ours["bytes_out"].as_u64().unwrap() >= LEN as u64, "{ours}");
    assert_eq!(client["close"]["code"], server["close"]["code"]);
    assert_eq!((&client["close"]["initiator"], &server["close"]["initiator"]), (&"local".into(), &"remote".into()));
}

fn assert_drawn_and_told(path: &Path, log: &Value) {
    let path = path.to_str().unwrap();
    let (code, svg, err) = qlog(&["--svg", "-", path], b"");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let document = roxmltree::Document::parse(&svg).expect("well-formed XML");
    let count =
        |class: &str| document.descendants().filter(|node| node.attribute("class") == Some(class)).count() as u64;
    for way in ["sent", "received"] {
        let packets = log["packets"][way].as_object().unwrap().values();
        let packets: u64 = packets.map(|count| count["count"].as_u64().unwrap()).sum();
        assert_eq!(count(&format!("m {way}")), packets, "packets {way}");
    }
    let (code, told, err) = qlog(&["--explain", path], b"");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for part in ["client -> server: Initial", "ClientHello", "transport parameters of the server", "HANDSHAKE_DONE"] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    let wrapped = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(wrapped.ends_with("The handshake is complete and confirmed; what follows is application data."), "{told}");
}

#[test]
fn ngtcp2s_file() {
    let mut server = server();
    let dir = TempDir::new().unwrap();
    let out = fs::File::create(dir.path().join("out.log")).unwrap();
    let file = dir.path().join("made.sqlog");
    let child = Command::new(tool("MIO_QUICHE_GTLSCLIENT"))
        .args(["-q", "--exit-on-all-streams-close", "--no-quic-dump", "--no-http-dump"])
        .arg(format!("--qlog-file={}", file.display()))
        .args(["127.0.0.1", &server.port().to_string(), &server.url("/files/file.bin")])
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn();
    let status = Guard(child.expect("gtlsclient starts")).wait("gtlsclient ends", 3 * DEADLINE);
    assert!(status.success(), "{}", fs::read_to_string(dir.path().join("out.log")).unwrap());
    server.stop();
    let ours = server.qlogs("qlogs").remove(0).0;
    let (theirs, ours) = (json(&file), json(&ours));
    assert_same(&theirs, &ours);
    assert_drawn_and_told(&file, &theirs);
}

#[test]
fn aioquics_file() {
    let mut server = server();
    let dir = TempDir::new().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/aioquic/qlog.py");
    let child = Command::new(tool("MIO_QUICHE_PYTHON"))
        .arg("-B")
        .arg(script)
        .args([&server.port().to_string(), dir.path().to_str().unwrap(), "/files/file.bin"])
        .stdin(Stdio::null())
        .spawn();
    let status = Guard(child.expect("python starts")).wait("aioquic's client ends", 3 * DEADLINE);
    assert!(status.success());
    server.stop();
    let (file, ours) = (only_file(dir.path()), server.qlogs("qlogs").remove(0).0);
    let (theirs, ours) = (json(&file), json(&ours));
    assert_same(&theirs, &ours);
    assert_eq!(theirs["requests"][0]["path"], "/files/file.bin");
    assert_eq!(theirs["cids"]["original"], ours["cids"]["original"]);
    assert_drawn_and_told(&file, &theirs);
}

#[test]
fn directories_and_standard_input() {
    let mut server = server();
    for _ in 0..3 {
        assert_eq!(curl(&server, "/", &[]).status, 200);
    }
    server.stop();
    let dir = server.dir().join("qlogs");
    fs::write(dir.join("notes.txt"), "not read").unwrap();
    let logs = server.qlogs("qlogs");
    let (code, table, err) = qlog(&[dir.to_str().unwrap()], b"");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 6, "{table}");
    assert_eq!(lines[0], format!("{}:", dir.display()));
    assert!(lines[1].starts_with("file "), "{table}");
    assert!(lines[2..5].is_sorted() && lines[2..5].iter().all(|line| line.contains(".sqlog server ")), "{table}");
    assert!(lines[5].starts_with("3 connections ") && lines[5].split_whitespace().last() == Some("3"), "{table}");

    let sqlog = logs.iter().find(|(path, _)| path.extension().is_some_and(|e| e == "sqlog")).unwrap();
    let (code, from_stdin, _) = qlog(&["-"], sqlog.1.as_bytes());
    let (_, from_file, _) = qlog(&[sqlog.0.to_str().unwrap()], b"");
    let without_name = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    assert_eq!((code, from_stdin.lines().next()), (Some(0), Some("file        standard input")));
    assert_eq!(without_name(&from_stdin), without_name(&from_file));

    // One bad file does not hide the others.
    fs::write(dir.join("bad.qlog"), "{\n\"traces\": [\n{\"events\": [oops").unwrap();
    let (code, table, err) = qlog(&[dir.to_str().unwrap()], b"");
    assert_eq!((code, table.lines().count()), (Some(1), 6));
    assert!(err.contains("bad.qlog' is not a qlog file: line 3: expected value"), "{err}");
    let (code, _, err) = qlog(&["--html", "-", dir.to_str().unwrap()], b"");
    assert_eq!((code, err.as_str()), (Some(2), "mio-quiche: --svg and --html draw one file\n"));
}

#[test]
fn a_server_keeps_the_newest_files() {
    let fill = |root: &Path| fs::write(root.join("file.bin"), payload(3_000_000)).unwrap();
    let mut server = Server::with_files(fill, &["--qlog-dir", "qlogs", "--qlog-max", "40000,4"]);
    assert_eq!(curl(&server, "/", &[]).status, 200);
    assert_eq!(curl(&server, "/files/file.bin", &[]).body.len(), 3_000_000);
    server.stop();
    let mut logs = server.qlogs("qlogs");
    logs.sort_by_key(|(path, _)| fs::metadata(path).unwrap().modified().unwrap());
    assert_eq!(logs.len(), 4, "of a connection with more, and none of the one before");
    let ids: Vec<_> =
        logs.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()[..32].to_owned()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    for (path, text) in &logs {
        assert!(text.len() <= 40_000, "{}", text.len());
        let log = json(path);
        assert_eq!((&log["skipped"], &log["truncated"]), (&0.into(), &false.into()), "{log}");
        assert!(log["events"].as_u64().unwrap() > 10, "{log}");
    }
    assert!(json(&logs[3].0)["close"].is_object(), "the last one has the end");
}
