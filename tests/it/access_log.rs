//! The access log.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::client::{Client, get, post};
use crate::support::curl::curl;
use crate::support::frames::{fields, headers};
use crate::support::server::{Guard, Server, make_cert, mio_quiche};
use crate::support::{DEADLINE, wait_for};

/// The lines of a log, once there are `count`.
fn lines(path: &Path, count: usize) -> Vec<String> {
    wait_for("lines of the access log", DEADLINE, || {
        let text = fs::read_to_string(path).unwrap_or_default();
        (text.ends_with('\n') && text.lines().count() >= count).then(|| text.lines().map(str::to_owned).collect())
    })
}

fn json_lines(path: &Path, count: usize) -> Vec<Value> {
    let lines = lines(path, count);
    assert_eq!(lines.len(), count, "{lines:?}");
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Runs a client command against the server, which has to succeed.
fn client(server: &Server, command: &str, args: &[&str]) {
    let output = mio_quiche().arg(command).args(args).current_dir(server.dir()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_a_json_line_says() {
    let server = Server::start(&["--access-log", "log.json", "--access-log-format", "json", "--access-log-peers"]);
    let path = server.dir().join("log.json");
    curl(&server, "/api/users/1?full=%22", &["-A", "me \"and\" more", "-e", "https://a.example/"]);
    curl(&server, "/upload", &["--data-binary", "12345"]);
    curl(&server, "/slow?delay=100", &[]);
    curl(&server, "/nowhere", &["-I"]);
    let mut values = json_lines(&path, 4);
    for value in &mut values {
        let object = value.as_object_mut().unwrap();
        let time = object.remove("time").unwrap();
        assert!(time.as_str().is_some_and(|time| time.len() == 24 && time.ends_with('Z')), "{time}");
        let peer = object.remove("peer").unwrap();
        assert!(peer.as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{peer}");
    }
    let seconds: Vec<f64> = values
        .iter_mut()
        .map(|value| value.as_object_mut().unwrap().remove("duration").unwrap().as_f64().unwrap())
        .collect();
    assert!(
        seconds[2] >= 0.1 && seconds[2] < DEADLINE.as_secs_f64(),
        "the time of the handler is part of it: {seconds:?}"
    );
    assert!(seconds.iter().all(|seconds| *seconds > 0.0), "{seconds:?}");
    let agent = values[1]["user_agent"].clone();
    assert!(agent.as_str().is_some_and(|agent| agent.starts_with("curl/")), "{agent}");
    let common = |method: &str, path: &str, route: Value, status: u16, bytes: u64| {
        json!({
            "method": method, "authority": server.addr().to_string(), "path": path, "protocol": "HTTP/3.0",
            "route": route, "status": status, "bytes": bytes, "received": 0, "resumed": false, "early": false,
            "referer": null, "user_agent": agent, "error": null,
        })
    };
    let user = curl(&server, "/api/users/1", &[]).body.len() as u64;
    let mut expected = [
        common("GET", "/api/users/1?full=%22", "/api/users/:id".into(), 200, user),
        common("POST", "/upload", "/upload".into(), 200, 88),
        common("GET", "/slow?delay=100", "/slow".into(), 200, 14),
        common("HEAD", "/nowhere", Value::Null, 404, 0),
    ];
    expected[0]["user_agent"] = "me \"and\" more".into();
    expected[0]["referer"] = "https://a.example/".into();
    expected[1]["received"] = 5.into();
    assert_eq!(values, expected);
    assert!(!server.log().contains("mio_quiche::access"), "the log does not have them, too: {}", server.log());
}

#[test]
fn what_a_line_of_text_says() {
    let server = Server::start(&["--access-log", "access"]);
    curl(&server, "/api/users/1", &["-A", "mé \"", "-H", "x: y"]);
    let line = lines(&server.dir().join("access"), 1).remove(0);
    let (before, rest) = line.split_once('[').unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    let (what, took) = rest.split_once(" time=0.").unwrap();
    let user = curl(&server, "/api/users/1", &[]).body.len();
    assert_eq!((before, time.len(), &time[20..]), ("- - - ", 26, " +0000"), "no address is there: {line}");
    assert_eq!(what, format!("\"GET /api/users/1 HTTP/3.0\" 200 {user} \"-\" \"m\\xC3\\xA9 \\x22\""));
    assert_eq!(&took[6..], " received=0 route=\"/api/users/:id\"");
}

#[test]
fn resumed_and_early_requests_and_sessions_are_told_apart() {
    let args = ["--early-data", "--access-log", "access", "--access-log-format", "json"];
    let server = Server::start(&args);
    let url = server.url("/");
    let get = ["--cacert", "ca.pem", "--resume-session", "ticket", "--0rtt", &url];
    client(&server, "get", &get);
    let path = server.dir().join("access");
    let first = json_lines(&path, 1).remove(0);
    assert_eq!((&first["resumed"], &first["early"]), (&json!(false), &json!(false)));
    // On a busy machine, a request may come too late for the first flight.
    let mut count = 1;
    wait_for("an early request", DEADLINE, || {
        client(&server, "get", &get);
        count += 1;
        let value = json_lines(&path, count).remove(count - 1);
        assert_eq!(value["resumed"], true);
        (value["early"] == true).then_some(())
    });
    client(&server, "wt", &["--cacert", "ca.pem", "--bidi", "1", &server.url("/wt/echo")]);
    let session = json_lines(&path, count + 1).remove(count);
    assert_eq!((&session["resumed"], &session["early"]), (&json!(false), &json!(false)));
    assert_eq!([&session["method"], &session["protocol"], &session["route"]], ["CONNECT", "webtransport", "/wt/echo"]);
    assert_eq!((&session["status"], &session["bytes"], &session["error"]), (&json!(200), &Value::Null, &Value::Null));
    assert!(session.get("peer").is_none(), "{session}");
}

#[test]
fn a_client_that_leaves_is_logged_with_what_it_got() {
    let server = Server::start(&["--access-log", "access", "--access-log-format", "json"]);
    let mut child = mio_quiche();
    child.args(["get", "--cacert", "ca.pem", "--limit-rate", "100k", "-o", "body", &server.url("/stream/100000000")]);
    let mut child = Guard(child.current_dir(server.dir()).spawn().unwrap());
    let body = server.dir().join("body");
    wait_for("a part of the body", DEADLINE, || fs::metadata(&body).is_ok_and(|meta| meta.len() > 0).then_some(()));
    crate::support::server::signal(&child.0, "INT");
    child.wait("the client ends", DEADLINE);
    let value = json_lines(&server.dir().join("access"), 1).remove(0);
    assert_eq!(value["status"], 200);
    assert!(value["bytes"].as_u64().is_some_and(|bytes| (1..100_000_000).contains(&bytes)), "{value}");
    assert!(value["error"].is_string(), "{value}");
}

#[test]
fn requests_that_the_engine_answers_itself_are_logged() {
    let server = Server::start(&["--access-log", "access", "--access-log-peers"]);
    let mut client = Client::connect(server.addr());
    let mut status = |spec: &str| {
        let id = client.request(spec, true);
        let answer = client.answer(id);
        (answer.status(), answer.body.len())
    };
    let agent = "user-agent me|referer https://a.example/";
    let bad = status(&format!(":method GET|:scheme https|:authority a:b|:path /bad?q|{agent}"));
    let long = status(&get(&format!("/{}", "p".repeat(9000))));
    let large = status(&format!(":method HEAD|:scheme https|:authority a|:path /large{}", "|x 1".repeat(201)));
    let unknown = status(":method CONNECT|:protocol x-unknown|:scheme https|:authority a|:path /session");
    assert_eq!([bad.0, long.0, large.0, unknown.0], [400, 414, 431, 501]);
    assert_eq!(large.1, 0);
    let mut reset = |spec: &str| {
        let id = client.raw_stream(&headers(&fields(spec)), true);
        client.reset_code(id)
    };
    assert_eq!(reset(":method GET|:scheme https|:authority a|:path /two|:path /\"x"), 0x10e);
    assert_eq!(reset(":scheme https"), 0x10e);
    let id = client.raw_stream(b"", true);
    assert_eq!(client.reset_code(id), 0x10d);
    // An answer without a body to read, before the request's own end.
    let id = client.request(&format!("{}|content-length x", post("/upload")), false);
    assert_eq!(client.reset_code(id), 0x10e);
    client.assert_alive();

    let lines = lines(&server.dir().join("access"), 9);
    assert_eq!(lines.len(), 9, "{lines:?}");
    let what = lines.iter().map(|line| {
        assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
        line.split_once("] ").unwrap().1
    });
    let none = "\"-\" \"-\" time=0.000000 received=0";
    let path = "p".repeat(1023);
    let expected = [
        format!(
            "\"GET /bad?q HTTP/3.0\" 400 {} \"https://a.example/\" \"me\" time=0.000000 received=0 \
             error=\"authority \\x22a:b\\x22 is neither HOST nor HOST:PORT\"",
            bad.1
        ),
        format!(
            "\"GET /{path} HTTP/3.0\" 414 {} {none} \
             error=\"the request target has 9001 bytes, more than 8192 (max_target)\"",
            long.1
        ),
        format!(
            "\"HEAD /large HTTP/3.0\" 431 0 {none} \
             error=\"201 fields, more than 200 (max_fields)\""
        ),
        format!("\"CONNECT /session HTTP/3.0\" 501 {} {none} protocol=\"x-unknown\"", unknown.1),
        format!("\"GET /two HTTP/3.0\" - 0 {none} error=\"pseudo-header :path is duplicated\""),
        format!("\"- - HTTP/3.0\" - 0 {none} error=\"pseudo-header :method is missing\""),
        format!("\"- - HTTP/3.0\" - 0 {none} error=\"the stream ended before the message's head\""),
        format!("\"POST /upload HTTP/3.0\" - 0 {none} error=\"content-length is invalid\""),
    ];
    assert_eq!(what.take(8).collect::<Vec<_>>(), expected);
}

#[test]
fn requests_that_are_not_processed_are_logged() {
    let server = Server::start(&["--access-log", "access", "--max-requests", "1", "--request-timeout", "2"]);
    let none = "\"-\" \"-\" time=0.000000 received=0";
    let log = server.dir().join("access");
    let mut expected = Vec::new();
    let mut next = |line: String| {
        expected.push(line);
        let lines = lines(&log, expected.len());
        let what: Vec<&str> = lines.iter().map(|line| line.split_once("] ").unwrap().1).collect();
        assert_eq!(what, expected);
    };

    let mut client = Client::connect(server.addr());
    // Without SETTINGS_WT_ENABLED.
    let session = client.request(":method CONNECT|:protocol webtransport|:scheme https|:authority a|:path /wt", false);
    assert_eq!(client.reset_code(session), 0x212c_0d48);
    next(format!(
        "\"CONNECT /wt HTTP/3.0\" - 0 {none} protocol=\"webtransport\" error=\"rejected with WT_REQUIREMENTS_NOT_MET\""
    ));

    let upload = client.request(&post("/upload"), false);
    let second = client.request(&format!("{}|user-agent me", get("/second")), true);
    assert_eq!(client.reset_code(second), 0x10b);
    next(format!(
        "\"GET /second HTTP/3.0\" - 0 {} error=\"rejected with H3_REQUEST_REJECTED\"",
        none.replacen("\"-\" \"-\"", "\"-\" \"me\"", 1)
    ));
    client.send_body(upload, b"x", true);
    assert_eq!(client.answer(upload).status(), 200);
    let line = lines(&log, 3).pop().unwrap();
    next(line.split_once("] ").unwrap().1.to_owned());

    // A head that does not arrive, on a connection with nothing else.
    let head = headers(&fields(&get("/third")));
    client.raw_stream(&head[..head.len() - 1], false);
    assert_eq!(client.close_code(), (true, 0x107));
    next(format!("\"- - HTTP/3.0\" - 0 {none} error=\"rejected with H3_REQUEST_REJECTED\""));
}

#[test]
fn requests_over_the_rate_are_logged() {
    let args = ["--access-log", "access", "--access-log-format", "json", "--max-request-rate", "1"];
    let server = Server::start(&args);
    let mut client = Client::connect(server.addr());
    // The first second allows one request, and further ones of the same moment are too many.
    let ids: Vec<u64> = (0..5).map(|n| client.get(&format!("/n/{n}"))).collect();
    let statuses: Vec<u16> = ids.iter().map(|id| client.answer(*id).status()).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    let values = json_lines(&server.dir().join("access"), 5);
    for (n, status) in statuses.iter().enumerate() {
        let path = format!("/n/{n}");
        let line = values.iter().find(|value| value["path"] == *path).unwrap();
        let expected = [json!("GET"), json!(status), json!(null)];
        assert_eq!([&line["method"], &line["status"], &line["error"]].map(Clone::clone), expected);
        assert!(line["bytes"].as_u64().unwrap() > 0 && line.get("peer").is_none(), "{line}");
    }
}

#[test]
fn sigusr1_opens_the_file_again() {
    for workers in ["1", "2"] {
        let mut server = Server::start(&["--access-log", "access", "--workers", workers]);
        let (log, rotated) = (server.dir().join("access"), server.dir().join("access.1"));
        curl(&server, "/before", &[]);
        lines(&log, 1);
        fs::rename(&log, &rotated).unwrap();
        server.signal("USR1");
        wait_for("another file", DEADLINE, || log.exists().then_some(()));
        curl(&server, "/after", &[]);
        server.stop();
        let (before, after) = (fs::read_to_string(&rotated).unwrap(), fs::read_to_string(&log).unwrap());
        assert!(before.lines().count() == 1 && before.contains("\"GET /before HTTP/3.0\" 404"), "{before}");
        assert!(after.lines().count() == 1 && after.contains("\"GET /after HTTP/3.0\" 404"), "{after}");
    }
}

#[test]
fn standard_output_and_wrong_settings() {
    let dir = tempfile::TempDir::new().unwrap();
    make_cert(dir.path());
    let serve = |args: &[&str]| {
        let mut command = mio_quiche();
        command
            .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--cert", "cert.pem", "--key", "key.pem"])
            .args(args);
        command.current_dir(dir.path());
        command
    };
    let out = fs::File::create(dir.path().join("out")).unwrap();
    let child = Guard(serve(&["--access-log", "-"]).stdout(out).spawn().unwrap());
    let first = lines(&dir.path().join("out"), 1).remove(0);
    let addr = first.strip_prefix("listening on ").unwrap().parse().unwrap();
    Client::connect(addr).assert_alive();
    let second = lines(&dir.path().join("out"), 2).remove(1);
    assert!(second.starts_with("- - - ["), "{second}");
    drop(child);

    let fails = |args: &[&str]| {
        let output = serve(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let told = "mio-quiche: cannot use access log 'nowhere/log': No such file or directory (os error 2)\n";
    assert_eq!(fails(&["--access-log", "nowhere/log"]), (Some(2), told.to_owned()));
    assert_eq!(fails(&["--access-log-peers"]).0, Some(2));
}
