//! The check of milestone 8: visits with `wt` and aioquic, who is let in, and the chapter's lines in two browsers.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

#[path = "../check_support.rs"]
mod check_support;
mod solution;

use check_support::{Example, Lines, Local, Process, chapter_codes, client, mio_quiche, run, run_python};
use mio_quiche::Router;
use serde_json::{Value, json};

/// The lines of a case for `client.py`, whose connection is `client`. Its sessions are of the server's own origin.
fn case(example: &Example, body: &str) -> Vec<String> {
    case_at(example.addr, body)
}

fn case_at(addr: SocketAddr, body: &str) -> Vec<String> {
    let program = format!("import sys\nfrom client import *\n\nclient = Client(sys.argv[1])\n{body}\nclient.close()\n");
    run_python(&program, &[&format!("https://{addr}")])
}

/// A running example that has told where its certificate's hash is.
fn start(args: &[&str]) -> Example {
    let mut example = Example::start("m08_webtransport", args);
    if args.is_empty() {
        let line = example.line();
        let hash = line.strip_prefix("hash = \"").and_then(|rest| rest.split_once("\"; url = "));
        assert_eq!(
            hash.map(|(hash, url)| (hash.len(), url)),
            Some((44, &*format!("\"https://{}/visit\"", example.addr)))
        );
    }
    example
}

#[test]
fn a_visit() {
    let mut example = start(&[]);
    let lines = case(
        &example,
        r"
settings = client.h3.received_settings
print({hex(name): settings.get(name) for name in (0x08, 0x33, 0x2b603742, 0xc671706a)})
visit = client.session('/visit')

# Streams of the server's: one each way.
def news(count):
    [stream] = [n for n, s in client.streams.items() if s.session == visit and n % 4 == 3]
    client.until('news', lambda: client.streams[stream].text.count('\n') == count)
    return client.streams[stream].text.splitlines()[-1]

client.until('the news', lambda: any(s.session == visit for s in client.streams.values()))
print(news(1))
# Its first, on which nothing has come but that it belongs to the session.
book = client.until('the guest book', lambda: 1 in client.quic._streams and 1)
client.send(book, b'Ada', fin=True)
print(repr(client.finished(book)))

# Streams of the client's: one each way. And a datagram, and a request beside it all.
print(client.finished(client.bidi(visit, b'there and back', fin=True)))
for n, note in enumerate((b'a note', b'x' * 4096)):
    client.uni(visit, note, fin=True)
    print(news(n + 2))
print(client.echo(visit, 'ping'), client.get('/'))

# The server closes, and the streams of the session end with it.
open_stream = client.bidi(visit, b'not finished')
client.uni(visit, b'bye', fin=True)
print(client.closed_session(visit))
print(hex(client.reset_code(open_stream)), client.get('/'))
",
    );
    let page = "[200, 'Hello, HTTP/3!\\n']";
    let expected = [
        "{'0x8': 1, '0x33': 1, '0x2b603742': 1, '0xc671706a': 16}",
        "welcome, please sign the guest book",
        "''",
        "there and back",
        "note 1 has 6 bytes",
        "note 2 has 4096 bytes",
        &format!("ping {page}"),
        "[[2, 'goodbye, Ada']]",
        &format!("0x170d7b68 {page}"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(example.line(), format!("conn 0.0 stream 0: a visit from https://{}", example.addr));
    assert_eq!(example.line(), "\"Ada\" left: closed by us with code 2 (goodbye, Ada)");
    let (rest, _) = example.stop();
    assert_eq!(rest, [""; 0]);
}

#[test]
fn a_visit_that_is_typed() {
    let mut example = start(&[]);
    let url = format!("https://{}/visit", example.addr);
    let mut command = mio_quiche();
    command.args(["wt", "-k", "--interactive", &url]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut visitor = Process::start(&mut command);
    let lines = Lines::of(visitor.child.stdout.take().expect("a pipe"));
    let mut stdin = visitor.child.stdin.take().expect("a pipe");
    assert_eq!(lines.next(), "server's uni stream: welcome, please sign the guest book");
    let said = [
        ("hello", "< hello"),
        ("/dgram ping", "datagram: ping"),
        ("/uni a note", "server's uni stream: note 1 has 6 bytes"),
    ];
    for (line, answer) in said {
        writeln!(stdin, "{line}").expect("it reads");
        assert_eq!(lines.next(), answer);
    }
    writeln!(stdin, "/close 7 that is all").expect("it reads");
    assert!(lines.next().starts_with("session    opened after "));
    assert_eq!(
        lines.rest(),
        ["server's   2 streams with 55 bytes, 1 not ended", "session    closed by us with code 7 (that is all)"]
    );
    assert_eq!(visitor.wait().code(), Some(0));
    assert_eq!(example.line(), format!("conn 0.0 stream 0: a visit from https://{}", example.addr));
    assert_eq!(example.line(), "\"\" left: closed by the peer with code 7 (that is all)");
    example.stop();
}

#[test]
fn a_certificate_by_its_hash() {
    let mut example = Example::start("m08_webtransport", &[]);
    let url = format!("https://{}/visit", example.addr);
    let told = example.line();
    let hash = told.split('"').nth(1).expect("the hash");
    let other = format!("{}=", "A".repeat(43));
    for (hash, code) in [(hash, 0), (&other, 60)] {
        let output = run(mio_quiche().args(["wt", "--cert-hash", hash, "--bidi", "1", &url]), b"");
        assert_eq!(output.status.code(), Some(code), "{hash}: {}", output.stderr);
    }
    example.stop();
}

#[test]
fn the_visitor_closes_or_goes_too_far() {
    let mut example = start(&[]);
    let lines = case(
        &example,
        r"
visit = client.session('/visit')
client.end_session(visit, 7, b'that is all')
# A note that is too long, and one that is taken back: the visit goes on.
visit = client.session('/visit')
long = client.uni(visit, b'x' * 4097)
print(hex(client.stop_code(long)), client.echo(visit, 'ping'))
client.end_session(visit, 7, b'')
# Something behind the capsule that is the last one: this session alone is cut off.
visit, other = client.session('/visit'), client.session('/visit')
client.send(visit, data_frame(close_capsule(7, b'') + b'more'))
print(hex(client.reset_code(visit)), client.echo(other, 'ping'))
",
    );
    assert_eq!(lines, ["0x52e4a40fa8db ping", "0x10e ping"]);
    let mut left = Vec::new();
    while left.len() < 4 {
        let line = example.line();
        if let Some(end) = line.strip_prefix("\"\" left: ") {
            left.push(end.to_owned());
        }
    }
    // The last one ends with the client's connection.
    let ends = [
        "closed by the peer with code 7 (that is all)",
        "closed by the peer with code 7",
        "ended with its connection (data behind a CLOSE capsule)",
        "ended with its connection (closed by the peer with H3_NO_ERROR)",
    ];
    assert_eq!(left, ends);
    example.stop();
}

#[test]
fn who_is_let_in() {
    let mut example = start(&[]);
    let lines = case(
        &example,
        r"
def ask(path, **arguments):
    return client.status(client.connect(path, **arguments))

print('no origin', ask('/visit', origin=None))
print('another origin', ask('/visit', origin='https://example.com'))
print('own origin', ask('/visit'))
print('no such path', ask('/nowhere'))
print('no session there', ask('/'))
print('another protocol', ask('/visit', protocol='websocket'))
plain = Client(sys.argv[1], settings={})
print('a GET', plain.get('/visit')[0])
plain.close()
",
    );
    let expected = [
        "no origin 403",
        "another origin 403",
        "own origin 200",
        "no such path 404",
        "no session there 405",
        "another protocol 501",
        "a GET 405",
    ];
    assert_eq!(lines, expected);
    assert_eq!(example.line(), format!("conn 0.0 stream 8: a visit from https://{}", example.addr));
    example.stop();
}

#[test]
fn the_solution_ends_a_visit_with_a_note_that_is_too_long() {
    let server = Local::start(|| Router::new().webtransport("/visit", |req| req.accept(solution::Visit::default())));
    let lines = case_at(
        server.addr,
        r"
visit = client.session('/visit')
client.uni(visit, b'x' * 4096, fin=True)
taken_back = client.uni(visit, b'half')
client.quic.reset_stream(taken_back, wire_code(0))
client.flush()
client.uni(visit, b'x' * 4097, fin=True)
print(client.closed_session(visit))
",
    );
    assert_eq!(lines, ["[[2, 'your note is too long']]"]);
    server.stop();
}

/// A browser, and the driver of `tests/it/browser` that it ends with.
struct Browser {
    stdin: Option<ChildStdin>,
    lines: Lines,
    node: Process,
}

impl Browser {
    fn start(driver: &str) -> Self {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser").join(driver);
        let mut command = Command::new(client("MIO_QUICHE_NODE"));
        let mut node = Process::start(command.arg(driver).stdin(Stdio::piped()).stdout(Stdio::piped()));
        let lines = Lines::of(node.child.stdout.take().expect("a pipe"));
        let browser = Browser { stdin: node.child.stdin.take(), lines, node };
        // It tells of pages of its own, which are not needed here.
        browser.lines.next();
        browser
    }

    /// Types a script into a page's console and gives the value of its last line.
    fn type_in(&mut self, page: &str, script: &str) -> Value {
        let console = json!({ "name": "console", "at": page, "args": { "script": script } });
        writeln!(self.stdin.as_mut().expect("a pipe"), "{console}").expect("node reads");
        let mut outcome: Value = serde_json::from_str(&self.lines.next()).expect("a line of JSON");
        outcome["result"].take()
    }
}

impl Drop for Browser {
    /// Killed at once, the driver would leave the browser behind.
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.node.wait();
    }
}

fn the_chapters_lines(driver: &str) {
    let mut example = start(&["--admin", "127.0.0.1:0"]);
    let line = example.line();
    let page = line.strip_prefix("a page is on ").expect("the page is told").to_owned();
    let told = example.line();
    let code = chapter_codes("m08_webtransport", "js").concat();
    let script = format!(
        "const said = []; console.log = (...all) => said.push(all.join(' '));\n\
         {told}\n{code}\nsaid"
    );
    let said = ["welcome, please sign the guest book\n", "there and back", "note 1 has 6 bytes\n", "ping"];
    assert_eq!(Browser::start(driver).type_in(&page, &script), json!(said));
    let origin = page.trim_end_matches('/');
    assert_eq!(example.line(), format!("conn 0.0 stream 0: a visit from {origin}"));
    assert_eq!(example.line(), "\"Ada\" left: closed by the peer with code 7 (that is all)");
    // The second visit, of the exercise.
    assert!(example.line().ends_with(&format!(": a visit from {origin}")));
    // The browser has ended and acknowledges nothing more, and the server would wait for that until its shutdown timeout.
    assert_eq!(example.process.stop_at_once().code(), Some(0));
}

#[test]
fn the_chapters_lines_in_chromium() {
    client("MIO_QUICHE_CHROMIUM");
    the_chapters_lines("chromium.mjs");
}

#[test]
fn the_chapters_lines_in_firefox() {
    client("MIO_QUICHE_FIREFOX");
    the_chapters_lines("firefox.mjs");
}
