//! `mio-quiche wt` against our server, aioquic's WebTransport and wtransport.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::mpsc;

use serde_json::{Value, json};
use tempfile::TempDir;
use wtransport::{Endpoint, Identity, ServerConfig, VarInt};

use crate::support::aioquic::Aioquic;
use crate::support::curl::curl;
use crate::support::pty::{CTRL_C, CTRL_D, Terminal};
use crate::support::server::{Server, make_cert, mio_quiche};
use crate::support::{DEADLINE, payload};

/// Seconds for what a server sends on its own: enough on a busy machine.
const WAIT: &str = "3";

/// Exit code, standard output and standard error.
type Ran = (i32, String, String);

fn wt_with(args: &[&str], stdin: &[u8]) -> Ran {
    let mut command = mio_quiche();
    command.arg("wt").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("mio-quiche wt runs");
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    let writer = std::thread::spawn(move || {
        // Fails where nobody reads it.
        let _ = pipe.write_all(&stdin);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// As [`wt_with`], with standard output as bytes.
fn wt_bytes(args: &[&str], stdin: &[u8]) -> (i32, Vec<u8>, String) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("stdin");
    fs::write(&path, stdin).unwrap();
    let output = mio_quiche().arg("wt").args(args).stdin(fs::File::open(path).unwrap()).output().unwrap();
    (output.status.code().unwrap(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

fn wt(args: &[&str]) -> Ran {
    wt_with(&[&["-k"], args].concat(), b"")
}

/// The object that `--json` prints, of a run that must end with `code`.
fn report(code: i32, args: &[&str]) -> Value {
    let (ended, out, err) = wt(&[&["--json"], args].concat());
    assert_eq!(ended, code, "{out}{err}");
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).unwrap()
}

fn closes(server: &Server) -> Value {
    serde_json::from_str(curl(server, "/wt/closes", &[]).text()).unwrap()
}

#[test]
fn datagrams_and_streams_that_come_back() {
    let mut server = Server::start(&[]);
    let url = server.url("/wt/echo");
    let all = ["--datagrams", "100", "--bidi", "150", "--uni", "150", "--close", "7:enough: bye", &url];
    for size in ["0", "1", "5000"] {
        let datagrams = if size == "5000" { "0" } else { "100" };
        let found = report(0, &[&["--size", size, "--datagrams", datagrams][..], &all[2..]].concat());
        let size: u64 = size.parse().unwrap();
        let counts = ["bidi", "uni"].map(|kind| found[kind]["bytes"].as_u64().unwrap());
        assert_eq!(counts, [150 * size; 2], "{found}");
        assert_eq!((&found["bidi"]["opened"], &found["bidi"]["equal"]), (&json!(150), &json!(150)));
        assert_eq!((&found["uni"]["opened"], &found["uni"]["answered"]), (&json!(150), &json!(150)));
        let sent: u64 = datagrams.parse().unwrap();
        let Value::Object(datagrams) = &found["datagrams"] else { panic!("{found}") };
        assert_eq!((&datagrams["sent"], &datagrams["wrong"]), (&json!(sent), &json!(0)));
        assert_eq!(datagrams["back"].as_u64().unwrap() + datagrams["lost"].as_u64().unwrap(), sent);
        assert_eq!((&found["ok"], &found["error"]), (&json!(true), &Value::Null));
        assert_eq!(found["closed"], json!({ "by": "us", "code": 7, "reason": "enough: bye" }));
        assert_eq!(closes(&server), json!([{ "path": "/wt/echo", "by": "peer", "code": 7, "reason": "enough: bye" }]));
    }
    let (code, out, err) = wt(&all);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("session    opened after ") && lines[0].ends_with(" ms"), "{out}");
    let counted = lines[1].strip_prefix("datagrams  100 of 1000 bytes sent, ").expect("a line of datagrams");
    let (back, lost) = counted.split_once(" came back, ").expect("two counts");
    let back: u64 = back.parse().unwrap();
    assert!((1..=100).contains(&back), "{out}");
    assert_eq!(lost, format!("{0} lost ({0}.0 %)", 100 - back));
    assert!(lines[2].starts_with("           round trip in ms: min "), "{out}");
    assert!(lines[3].starts_with("bidi       150 streams of 1000 bytes opened, 150 came back equal, "), "{out}");
    assert!(lines[4].starts_with("uni        150 streams of 1000 bytes sent, 150 answered with the same, "), "{out}");
    assert_eq!(lines[5..], ["session    closed by us with code 7 (enough: bye)"]);
    assert_eq!(wt(&["-q", "--bidi", "1", &url]), (0, String::new(), String::new()));
    server.stop();
}

#[test]
fn what_does_not_come_back_equal_is_a_failure() {
    let mut server = Server::start(&[]);
    let url = server.url("/wt/hash");
    let found = report(1, &["--bidi", "2", "--size", "20", &url]);
    assert_eq!((&found["bidi"]["opened"], &found["bidi"]["equal"]), (&json!(2), &json!(0)));
    assert_eq!(found["error"], "bidirectional stream 0: the echo differs at byte 0 (and 1 more)");
    let error = "2 of 2 unidirectional streams were not answered";
    assert_eq!(report(1, &["--uni", "2", &url])["error"], error);
    let error = "3 of 3 datagrams were not sent";
    assert_eq!(report(1, &["--datagrams", "3", &server.url("/wt/close")])["error"], error);
    let (code, out, err) = wt(&["--datagrams", "1", "--size", "2000", &server.url("/wt/echo")]);
    assert_eq!(code, 1, "{out}");
    assert!(err.starts_with("mio-quiche: a datagram of 2000 bytes is larger than the "), "{err}");
    server.stop();
}

#[test]
fn streams_that_the_server_opens_are_shown() {
    let mut server = Server::start(&[]);
    let url = server.url("/wt/echo?open=3");
    let (code, out, err) = wt(&["--wait", WAIT, &url]);
    assert_eq!((code, err.as_str()), (0, ""));
    let mut lines: Vec<&str> = out.lines().filter(|line| line.starts_with("server's bidi stream: ")).collect();
    lines.sort_unstable();
    let expected: Vec<_> = (0..3).map(|n| format!("server's bidi stream: server stream {n}")).collect();
    assert_eq!(lines, expected);
    assert!(out.lines().any(|line| line == "server's   3 streams with 48 bytes"), "{out}");
    let found = report(0, &["--wait", WAIT, &url]);
    let texts: Vec<&Value> = found["peer_streams"].as_array().unwrap().iter().map(|s| &s["bytes"]).collect();
    assert_eq!(texts, [&json!(16); 3], "{found}");
    server.stop();
}

#[test]
fn the_servers_close() {
    let mut server = Server::start(&[]);
    let close = server.url("/wt/close?code=4294967295&reason=enough");
    let expected = json!({ "by": "peer", "code": u32::MAX, "reason": "enough" });
    assert_eq!(report(0, &["--expect-close", &close])["closed"], expected);
    let (code, out, err) = wt(&["--expect-close", &close]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out.lines().last(), Some("session    closed by the peer with code 4294967295 (enough)"));
    let error = "the session was closed by the peer with code 4294967295 (enough) before everything was done";
    assert_eq!(report(1, &[&close])["error"], error);
    let on_datagram = server.url("/wt/close?code=3&on=datagram");
    let found = report(0, &["--expect-close", "--datagrams", "1", &on_datagram]);
    assert_eq!(found["closed"], json!({ "by": "peer", "code": 3, "reason": "" }));
    // None comes.
    let (code, _, err) = wt(&["--expect-close", "--timeout", WAIT, &server.url("/wt/echo")]);
    let message = format!("mio-quiche: it took longer than {WAIT} s: the server did not close the session\n");
    assert_eq!((code, err), (28, message));
    server.stop();
}

#[test]
fn origins_and_subprotocols() {
    let mut server = Server::start(&["--allow-origin", "https://good.example"]);
    let url = server.url("/wt/echo");
    let chosen = |args: &[&str]| report(0, &[args, &[&url]].concat())["subprotocol"].clone();
    assert_eq!(chosen(&[]), Value::Null);
    assert_eq!(chosen(&["--subprotocol", "other", "--subprotocol", "echo-v1", "--subprotocol", "echo-v2"]), "echo-v1");
    assert_eq!(chosen(&["--subprotocol", "other"]), Value::Null);
    assert_eq!(chosen(&["--origin", "https://good.example"]), Value::Null);
    let own = url.strip_suffix("/wt/echo").unwrap();
    assert_eq!(chosen(&["--origin", own]), Value::Null);
    let refused = "the server rejected the session with status 403 Forbidden";
    for origin in [
        "https://bad.example",
        "null",
        "https://good.example/",
        "https://good.example:443",
        // M8
        &format!("{own}/path"),
        &format!("{own}#x"),
        &format!("{own}\\@evil.example"),
        &own.replace("//", "//user@"),
    ] {
        assert_eq!(report(1, &["--origin", origin, &url])["error"], refused, "{origin}");
    }
    let refused = "the server rejected the session with status 429 Too Many Requests";
    assert_eq!(report(1, &[&server.url("/wt/reject?status=429")])["error"], refused);
    server.stop();
    let mut server = Server::start(&["--no-webtransport"]);
    assert_eq!(report(1, &[&server.url("/wt/echo")])["error"], "the server does not support WebTransport");
    server.stop();
}

#[test]
fn standard_input_on_one_stream() {
    let mut server = Server::start(&[]);
    let data: Vec<u8> = payload(3_000_000).into_iter().map(|byte| byte % 95 + 32).collect();
    let (code, out, err) = wt_with(&["-k", "--stdin", &server.url("/wt/echo")], &data);
    assert_eq!(code, 0, "{err}");
    assert!(out.as_bytes() == data, "{} bytes came back", out.len());
    assert!(err.ends_with("session    closed by us with code 0\n"), "{err}");
    assert_eq!(wt_with(&["-kq", "--stdin", &server.url("/wt/echo")], b""), (0, String::new(), String::new()));
    server.stop();
}

/// T2
#[test]
fn what_is_piped_in_is_sent_byte_for_byte() {
    let mut server = Server::start(&[]);
    let url = server.url("/wt/echo");
    let data: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    // From a file, and without the scheme of the URL.
    let (code, out, err) = wt_bytes(&["-k", url.strip_prefix("https://").unwrap()], &data);
    assert_eq!((code, out == data), (0, true), "{} bytes came back: {err}", out.len());
    assert!(err.ends_with("session    closed by us with code 0\n"), "{err}");
    // Nothing is no stream, so that a script can check that there is a session, of any kind.
    let (code, out, err) = wt_bytes(&["-k", &server.url("/wt/echo")], b"");
    assert_eq!((code, out.as_slice()), (0, &b""[..]), "{err}");
    assert_eq!(err.lines().count(), 2, "{err}");
    assert_eq!(wt_bytes(&["-kq", &url], b"\xff"), (0, b"\xff".to_vec(), String::new()));
    // Typed lines, too, and what follows them.
    let (code, out, err) = wt_bytes(&["-k", "--interactive", &url], b"a\xffb\nnext\n/dgram \xfe\n");
    assert_eq!((code, err.as_str()), (0, ""));
    let out = String::from_utf8(out).unwrap();
    let mut lines: Vec<&str> = out.lines().filter(|line| !line.starts_with("session ")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["< a\\xffb", "< next", "datagram: \\xfe"]);
    server.stop();
}

#[test]
fn options_that_a_session_cannot_have() {
    let fails = |args: &[&str], told: &str| {
        let (code, _, err) = wt_with(args, b"");
        assert!(code == 2 && err.contains(told), "{args:?}: {code}, {err}");
    };
    // T2: these would be left out of the field.
    for name in ["", "caf\u{e9}", "a\tb"] {
        let told = "a subprotocol consists of one or more printable ASCII characters";
        fails(&["--subprotocol", name, "https://localhost/"], told);
    }
    fails(&["--timeout", "1d", "https://localhost/"], "not a time such as 10, 10s, 500ms, 2m or 1h");
    let mut server = Server::start(&[]);
    // No limit, as curl has it.
    let found = report(0, &["--timeout", "0", "--bidi", "1", "--size", "1k", &server.url("/wt/echo")]);
    assert_eq!(found["bidi"]["bytes"], json!(1024));
    server.stop();
}

#[test]
fn lines_typed() {
    let mut server = Server::start(&[]);
    let mut command = mio_quiche();
    command.args(["wt", "-k", "--interactive", &server.url("/wt/echo")]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    keyboard.write_all(b"first\n//second\n/uni third\n/dgram fourth\n/bogus\n").unwrap();
    // Each has its answer before the session is closed.
    let mut out = String::new();
    for _ in 0..4 {
        screen.read_line(&mut out).unwrap();
    }
    keyboard.write_all(b"/close 5 so long\n").unwrap();
    screen.read_to_string(&mut out).unwrap();
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), err.as_str()), (Some(0), "mio-quiche: no such command; /help lists them\n"));
    let mut lines: Vec<&str> = out.lines().filter(|line| !line.starts_with("session    opened")).collect();
    lines.sort_unstable();
    let expected = [
        "< /second",
        "< first",
        "datagram: fourth",
        "server's   1 stream with 6 bytes",
        "server's uni stream: third",
        "session    closed by us with code 5 (so long)",
    ];
    assert_eq!(lines, expected);
    assert_eq!(closes(&server), json!([{ "path": "/wt/echo", "by": "peer", "code": 5, "reason": "so long" }]));
    // The end of the input closes, too, once all is answered.
    let (code, out, _) = wt_with(&["-k", "--interactive", "--close", "6:eof", &server.url("/wt/hash")], b"text");
    assert_eq!(code, 0);
    assert!(out.contains("< {\"bytes\":5,\"sha256\":\""), "{out}");
    assert_eq!(closes(&server), json!([{ "path": "/wt/hash", "by": "peer", "code": 6, "reason": "eof" }]));
    server.stop();
}

#[test]
fn lines_typed_on_a_terminal() {
    let mut server = Server::start(&[]);
    let dir = TempDir::new().unwrap();
    let url = server.url("/wt/echo");
    let begin = || {
        let terminal = Terminal::run(dir.path(), &["wt", "-k", &url]);
        terminal.wait_for("The session is open. Each line is sent on a stream; /help lists commands.\r\n");
        terminal
    };
    let mut terminal = begin();
    for (typed, answer) in [
        ("first\n", "first\r\n< first\r\n"),
        // The terminal has edited the line.
        ("sex\x7fcond\n", "< second\r\n"),
        ("/dgram third\n", "datagram: third\r\n"),
        ("/uni fourth\n", "server's uni stream: fourth\r\n"),
        ("/bogus\n", "mio-quiche: no such command; /help lists them\r\n"),
        ("/help\n", "closes the session; end of input (Ctrl-D) closes it too\r\n"),
    ] {
        terminal.press(typed);
        terminal.wait_for(answer);
    }
    terminal.press(CTRL_D);
    let (code, shown) = terminal.finish();
    assert_eq!((code, shown.lines().last()), (0, Some("session    closed by us with code 0")), "{shown}");
    let closed =
        |code: u32, reason: &str| json!([{ "path": "/wt/echo", "by": "peer", "code": code, "reason": reason }]);
    assert_eq!(closes(&server), closed(0, ""));

    // A command that closes.
    let mut terminal = begin();
    terminal.press("/close 5 so long\n");
    let (code, shown) = terminal.finish();
    assert_eq!((code, shown.lines().last()), (0, Some("session    closed by us with code 5 (so long)")), "{shown}");
    assert_eq!(closes(&server), closed(5, "so long"));

    // Ctrl-C in the middle of a line, which is not sent. The server is told nonetheless.
    let mut terminal = begin();
    terminal.press("never\n");
    terminal.wait_for("< never\r\n");
    terminal.press("sent");
    terminal.wait_for("sent");
    terminal.press(CTRL_C);
    let (code, shown) = terminal.finish();
    assert_eq!(code, 130, "{shown}");
    assert!(!shown.contains("< sent"), "{shown}");
    assert_eq!(closes(&server), closed(0, ""));
    server.stop();
}

#[test]
fn certificates_and_failures() {
    let mut server = Server::start(&[]);
    let url = server.url("/wt/echo");
    let fails = |args: &[&str], code: i32, message: &str| {
        let expected = (code, String::new(), format!("mio-quiche: {message}\n"));
        assert_eq!(wt_with(&[&["-q"], args].concat(), b""), expected, "{args:?}");
    };
    let addr = server.addr();
    let remedy = "(use --cacert FILE, --cert-hash HASH or -k)";
    let message = format!("cannot connect to {addr}: the certificate is not signed by a trusted authority {remedy}");
    fails(&[&url], 60, &message);
    let ca = server.dir().join("ca.pem");
    assert_eq!(wt_with(&["-q", "--cacert", ca.to_str().unwrap(), &url], b""), (0, String::new(), String::new()));
    let made = mio_quiche().args(["cert", "--if-needed", "--print-hash", "--out"]).arg(server.dir()).output().unwrap();
    let hash = String::from_utf8(made.stdout).unwrap();
    assert_eq!(wt_with(&["-q", "--cert-hash", hash.trim(), &url], b""), (0, String::new(), String::new()));
    let message = format!("cannot connect to {addr}: the certificate has none of the expected hashes {remedy}");
    fails(&["--cert-hash", &"00".repeat(32), &url], 60, &message);
    // A socket that answers nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = format!("https://{}/wt", silent.local_addr().unwrap());
    fails(&["--timeout", "0.3", &silent], 28, &format!("no session at {silent} within 0.3 s"));
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let message =
        format!("cannot connect to {closed}: connection refused (is it an HTTP/3 server, on UDP, and the port right?)");
    fails(&[&format!("https://{closed}/wt")], 7, &message);
    fails(&["http://localhost/"], 2, "URL 'http://localhost/': HTTP/3 needs https");
    let (code, out, err) = wt_with(&["-q", "https://nowhere.invalid/"], b"");
    assert_eq!((code, out.as_str()), (6, ""));
    assert!(
        err.starts_with("mio-quiche: cannot resolve host 'nowhere.invalid': ") && err.lines().count() == 1,
        "{err}"
    );
    for wrong in [["--close", "x"], ["--close", "4294967296:"], ["--cert-hash", "abcd"], ["--timeout", "-1"]] {
        assert_eq!(wt_with(&[&wrong[..], &[&url]].concat(), b"").0, 2, "{wrong:?}");
    }
    server.stop();
}

#[test]
fn qlog_and_keys_are_written() {
    let mut server = Server::start(&[]);
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let url = server.url("/wt/echo");
    assert_eq!(wt(&["-q", "--qlog-dir", &at("qlogs"), "--keylog", &at("keys"), "--bidi", "1", &url]).0, 0);
    let qlog = fs::read_dir(at("qlogs")).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(qlog).unwrap().contains("session_opened"));
    assert!(fs::read_to_string(at("keys")).unwrap().contains("CLIENT_TRAFFIC_SECRET_0 "));
    server.stop();
}

#[test]
fn aioquics_server() {
    let server = Aioquic::start();
    let url = server.url("/echo");
    let found = report(
        0,
        &["--datagrams", "50", "--bidi", "20", "--uni", "20", "--size", "1100", "--close", "9:from us", &url],
    );
    assert_eq!((&found["bidi"]["equal"], &found["bidi"]["bytes"]), (&json!(20), &json!(22_000)));
    assert_eq!((&found["uni"]["answered"], &found["uni"]["bytes"]), (&json!(20), &json!(22_000)));
    assert_eq!((&found["datagrams"]["sent"], &found["datagrams"]["wrong"]), (&json!(50), &json!(0)));
    assert!(found["datagrams"]["back"].as_u64().unwrap() > 0, "{found}");
    assert_eq!(server.next_close(), json!({ "code": 9, "reason": "from us" }));
    let found = report(0, &["--subprotocol", "a", "--subprotocol", "b", "--bidi", "1", "--size", "300000", &url]);
    assert_eq!((&found["subprotocol"], &found["bidi"]["bytes"]), (&json!("b"), &json!(300_000)));
    let (code, out, err) = wt(&["--wait", WAIT, &server.url("/open")]);
    assert_eq!((code, err.as_str()), (0, ""));
    let mut lines: Vec<&str> = out.lines().filter(|line| line.contains("stream: ")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["server's bidi stream: both ways", "server's uni stream: one way"]);
    let found = report(0, &["--expect-close", &server.url("/close")]);
    assert_eq!(found["closed"], json!({ "by": "peer", "code": 40, "reason": "aioquic says bye" }));
    let refused = "the server rejected the session with status 403 Forbidden";
    assert_eq!(report(1, &[&server.url("/other")])["error"], refused);
}

/// Runs wtransport's server, which sends everything back, while `run` runs. A session at `/close` is closed on the
/// first datagram, one at `/open` gets a stream of each kind, and one at `/deaf` no datagrams. Gives how each session ended.
fn with_wtransport(run: impl FnOnce(&str)) -> Vec<String> {
    let dir = TempDir::new().unwrap();
    make_cert(dir.path());
    let path = dir.path().to_owned();
    let (ready, port) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let identity = Identity::load_pemfiles(path.join("cert.pem"), path.join("key.pem")).await.unwrap();
            let config = ServerConfig::builder().with_bind_address("127.0.0.1:0".parse().unwrap());
            let endpoint = Endpoint::server(config.with_identity(identity).build()).unwrap();
            ready.send(endpoint.local_addr().unwrap()).unwrap();
            let mut ends = Vec::new();
            let accept = async {
                loop {
                    let request = endpoint.accept().await.await.unwrap();
                    let path = request.path().to_owned();
                    let session = request.accept().await.unwrap();
                    ends.push(serve(session, &path).await);
                }
            };
            tokio::select! {
                () = accept => {}
                _ = stopped => {}
            }
            ends
        })
    });
    run(&format!("https://{}", port.recv_timeout(DEADLINE).unwrap()));
    let _ = stop.send(());
    server.join().unwrap()
}

async fn serve(session: wtransport::Connection, path: &str) -> String {
    match path {
        "/close" => {
            session.receive_datagram().await.unwrap();
            session.close(VarInt::from_u32(30), b"wtransport says bye");
        }
        "/open" => {
            let mut uni = session.open_uni().await.unwrap().await.unwrap();
            uni.write_all(b"one way\n").await.unwrap();
            uni.finish().await.unwrap();
            let (mut bidi, _) = session.open_bi().await.unwrap().await.unwrap();
            bidi.write_all(b"both ways\n").await.unwrap();
            bidi.finish().await.unwrap();
        }
        _ => {}
    }
    loop {
        tokio::select! {
            datagram = session.receive_datagram() => match datagram {
                Ok(_) if path == "/deaf" => {}
                Ok(datagram) => session.send_datagram(datagram.payload()).unwrap(),
                Err(error) => return error.to_string(),
            },
            bidi = session.accept_bi() => match bidi {
                Ok((send, recv)) => drop(tokio::spawn(echo(send, recv))),
                Err(error) => return error.to_string(),
            },
            uni = session.accept_uni() => match uni {
                Ok(recv) => {
                    let send = session.open_uni().await.unwrap().await.unwrap();
                    tokio::spawn(echo(send, recv));
                }
                Err(error) => return error.to_string(),
            },
        }
    }
}

async fn echo(mut send: wtransport::SendStream, mut recv: wtransport::RecvStream) {
    let mut buf = [0; 16 * 1024];
    while let Some(len) = recv.read(&mut buf).await.unwrap() {
        send.write_all(&buf[..len]).await.unwrap();
    }
    // It waits for the acknowledgement, which the end of the session may overtake.
    let _ = send.finish().await;
}

#[test]
fn wtransports_server() {
    let ends = with_wtransport(|url| {
        let echo = format!("{url}/echo");
        let found = report(
            0,
            &["--datagrams", "50", "--bidi", "50", "--uni", "50", "--size", "1100", "--close", "9:from us", &echo],
        );
        assert_eq!((&found["bidi"]["equal"], &found["bidi"]["bytes"]), (&json!(50), &json!(55_000)));
        assert_eq!((&found["uni"]["answered"], &found["uni"]["bytes"]), (&json!(50), &json!(55_000)));
        assert_eq!((&found["datagrams"]["sent"], &found["datagrams"]["wrong"]), (&json!(50), &json!(0)));
        assert!(found["datagrams"]["back"].as_u64().unwrap() > 0, "{found}");
        assert_eq!(report(0, &["--bidi", "2", "--size", "300000", &echo])["bidi"]["bytes"], json!(600_000));
        let (code, out, err) = wt(&["--wait", WAIT, &format!("{url}/open")]);
        assert_eq!((code, err.as_str()), (0, ""));
        let mut lines: Vec<&str> = out.lines().filter(|line| line.contains("stream: ")).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["server's bidi stream: both ways", "server's uni stream: one way"]);
        let found = report(1, &["--datagrams", "3", &format!("{url}/deaf")]);
        assert_eq!(found["error"], "none of 3 datagrams came back");
        // It closes the connection instead of the session.
        let found = report(1, &["--expect-close", "--datagrams", "1", &format!("{url}/close")]);
        let reason = "closed by the peer with 0x1e (wtransport says bye)";
        assert_eq!(found["closed"], json!({ "by": "connection", "code": 0, "reason": reason }));
    });
    assert_eq!(ends.len(), 5);
    assert!(ends.iter().all(|end| !end.contains("timed out")), "a client left without a word: {ends:?}");
}
