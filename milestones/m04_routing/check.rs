//! The check of milestone 4: routes, parameters, and the answers that nobody wrote a handler for.

use std::process::Stdio;

#[path = "../check_support.rs"]
mod check_support;
mod solution;

use check_support::{Example, Lines, Local, Process, Reply, curl, fetch, get};

/// Status, media type and body, after a look at the length.
fn whole(reply: &Reply) -> (u16, Option<&str>, &str) {
    assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
    (reply.status, reply.header("content-type"), &reply.body)
}

const JSON: Option<&str> = Some("application/json");
const TEXT: Option<&str> = Some("text/plain;charset=utf-8");

#[test]
fn routes_and_parameters() {
    let example = Example::start("m04_routing", &[]);
    let get = |path: &str| fetch(example.addr, path, &["--path-as-is"]);
    assert_eq!(whole(&get("/")), (200, TEXT, "Hello, HTTP/3!\n"));
    let users = "[{\"id\":1,\"name\":\"Ada\"},{\"id\":42,\"name\":\"Grace\"}]\n";
    assert_eq!(whole(&get("/api/users")), (200, JSON, users));
    assert_eq!(whole(&get("/api/users/42")), (200, JSON, "{\"id\":42,\"name\":\"Grace\"}\n"));
    assert_eq!(whole(&get("/api/users/42?x=y")), (200, JSON, "{\"id\":42,\"name\":\"Grace\"}\n"));
    assert_eq!(whole(&get("/api/users/%34%32")), (200, JSON, "{\"id\":42,\"name\":\"Grace\"}\n"));
    assert_eq!(whole(&get("/api/users/7")), (404, JSON, "{\"error\":\"no such user\"}\n"));
    assert_eq!(whole(&get("/api/users/x")), (400, JSON, "{\"error\":\"id must be a number\"}\n"));
    assert_eq!(whole(&get("/hello/J%C3%BCrgen")), (200, TEXT, "Hello, Jürgen!\n"));
    assert_eq!(whole(&get("/hello/a%2Fb%20c")), (200, TEXT, "Hello, a/b c!\n"));
    assert_eq!(whole(&get("/hello/%FF")), (400, TEXT, "the name must be UTF-8\n"));
    assert_eq!(whole(&get("/files/a/b%20c.txt")), (200, TEXT, "the rest of the path is a/b c.txt\n"));
    example.stop();
}

#[test]
fn answers_without_a_handler() {
    let example = Example::start("m04_routing", &[]);
    let request = |method: &str, path: &str| fetch(example.addr, path, &["--request", method]);
    assert_eq!(whole(&request("GET", "/nowhere")), (404, TEXT, "404 Not Found\n"));
    assert_eq!(whole(&request("GET", "/hello/a/b")), (404, TEXT, "404 Not Found\n"));
    let reply = request("DELETE", "/api/users");
    assert_eq!(whole(&reply), (405, TEXT, "405 Method Not Allowed\n"));
    assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS"));
    let reply = request("GET", "/api/visits");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("OPTIONS, POST")));
    let reply = request("OPTIONS", "/api/users/42");
    assert_eq!((reply.status, reply.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
    assert_eq!(request("BREW", "/").status, 501);
    example.stop();
}

#[test]
fn head_is_get_without_the_body() {
    let example = Example::start("m04_routing", &[]);
    let get = fetch(example.addr, "/api/users/42", &[]);
    let head = fetch(example.addr, "/api/users/42", &["--head"]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for field in ["content-type", "content-length"] {
        assert_eq!(head.header(field), get.header(field));
    }
    assert_eq!(head.header("content-length"), Some("25"));
    example.stop();
}

#[test]
fn a_handler_keeps_its_state() {
    let example = Example::start("m04_routing", &[]);
    for visits in 1..=3 {
        let reply = fetch(example.addr, "/api/visits", &["--request", "POST"]);
        assert_eq!(whole(&reply), (201, JSON, format!("{{\"visits\":{visits}}}\n").as_str()));
    }
    let visits = get(example.addr, "/api/visits", &["-X", "POST", "--repeat", "3"]);
    assert_eq!(visits, "{\"visits\":4}\n{\"visits\":5}\n{\"visits\":6}\n");
    example.stop();
}

#[test]
fn the_solution_deletes_users() {
    let server = Local::start(solution::router);
    let request = |method: &str| fetch(server.addr, "/api/users/42", &["--request", method]);
    assert_eq!(whole(&request("GET")), (200, JSON, "{\"id\":42,\"name\":\"Grace\"}\n"));
    let reply = request("OPTIONS");
    assert_eq!((reply.status, reply.header("allow")), (204, Some("DELETE, GET, HEAD, OPTIONS")));
    assert_eq!((request("DELETE").status, request("DELETE").status, request("GET").status), (204, 404, 404));
    assert_eq!(whole(&fetch(server.addr, "/api/users", &[])), (200, JSON, "[{\"id\":1,\"name\":\"Ada\"}]\n"));
    server.stop();
}

/// curl at an endless response, of which the head has come.
fn events(example: &Example, path: &str) -> (Process, Lines) {
    let mut command = curl();
    command.args(["--no-buffer", "--verbose"]).arg(format!("https://{}{path}", example.addr));
    let mut process = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let lines = Lines::of(process.child.stdout.take().expect("a pipe"));
    // It prints the head on standard output only with the first event.
    let verbose = Lines::of(process.child.stderr.take().expect("a pipe"));
    let head: Vec<String> = std::iter::repeat_with(|| verbose.next()).take_while(|line| line != "< ").collect();
    assert!(head.contains(&"< HTTP/3 200 ".to_owned()), "{head:?}");
    assert!(head.contains(&"< content-type: text/event-stream".to_owned()), "{head:?}");
    (process, lines)
}

#[test]
fn a_rest_service() {
    let example = Example::start("m04_rest", &[]);
    let (_curl, events) = events(&example, "/events");
    let fetch = |path: &str, args: &[&str]| fetch(example.addr, path, args);
    let reply = fetch("/api/notes", &["--header", "authorization: Bearer wrong"]);
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")));
    let get = |path: &str| fetch(path, &["--oauth2-bearer", "secret"]);
    let post = |content_type: &str, body: &str| {
        let content_type = format!("content-type: {content_type}");
        fetch("/api/notes", &["--oauth2-bearer", "secret", "--header", &content_type, "--data", body])
    };
    assert_eq!(post("text/plain", "buy milk").status, 415);
    assert_eq!(post("application/json", "buy milk").status, 400);
    assert_eq!(post("application/json", r#"{"name":"milk"}"#).status, 422);
    assert_eq!(whole(&get("/api/notes")), (200, JSON, "[]\n"));
    for (n, text) in ["buy milk", "buy oats"].iter().enumerate() {
        let note = format!(r#"{{"text":"{text}"}}"#);
        let reply = post("application/json", &note);
        assert_eq!((reply.status, reply.header("location")), (201, Some(format!("/api/notes/{n}").as_str())));
        assert_eq!([events.next(), events.next()], [format!("data: {note}"), String::new()]);
        assert_eq!(whole(&get(&format!("/api/notes/{n}"))), (200, JSON, format!("{note}\n").as_str()));
    }
    assert_eq!(whole(&get("/api/notes?limit=1")), (200, JSON, "[{\"text\":\"buy milk\"}]\n"));
    assert_eq!(
        (get("/api/notes?limit=x").status, get("/api/notes/2").status, get("/api/notes/x").status),
        (400, 404, 400)
    );
    let text = "query parameter \"limit\" is \"x\": invalid digit found in string\n";
    assert_eq!(whole(&get("/api/notes?limit=x")), (400, TEXT, text));
    example.stop();
}

#[test]
fn a_slow_store_delays_nobody_else() {
    let example = Example::start("m04_rest", &[]);
    // The second request is answered first, on the same connection.
    let slow = format!("https://{}/api/notes", example.addr);
    let both = get(example.addr, "/nowhere", &["-Z", "--report", "-H", "authorization: Bearer secret", &slow]);
    let order: Vec<bool> = both.lines().map(|line| line.contains(&slow)).collect();
    assert_eq!(order, [false, true], "{both}");
    example.stop();
}

#[test]
fn tokio_beside_the_loop() {
    let example = Example::start("m04_tokio", &[]);
    let (_curl, ticks) = events(&example, "/ticks");
    let tick = || {
        let number = ticks.next().strip_prefix("data: ").and_then(|n| n.parse::<u64>().ok()).expect("a number");
        assert_eq!(ticks.next(), "");
        number
    };
    let first = tick();
    assert_eq!([tick(), tick()], [first + 1, first + 2]);
    let get = |path: &str| fetch(example.addr, path, &[]);
    assert_eq!(whole(&get("/query/20")), (200, TEXT, "rows after 20 ms\n"));
    assert_eq!(get("/query/60000").status, 504);
    assert_eq!(get("/query/x").status, 400);
    example.stop();
}
