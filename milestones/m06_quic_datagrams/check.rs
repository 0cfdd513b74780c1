//! The check of milestone 6: the chapter's client gets what it asks for, with and without HTTP/3, and the bounds hold.

use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};

#[path = "../check_support.rs"]
mod check_support;

use check_support::{Example, Lines, Process, chapter_codes, fetch, python, run, run_python};

/// The chapter's client, in which a line typed is a datagram sent.
struct Terminal {
    process: Process,
    stdin: ChildStdin,
    lines: Lines,
}

fn program(example: &Example, code: &str) -> Command {
    let mut command = python(code);
    command.arg(example.addr.port().to_string());
    command
}

impl Terminal {
    fn start(example: &Example) -> Self {
        let mut command = program(example, &chapter_codes("m06_quic_datagrams", "python")[0]);
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let stdin = process.child.stdin.take().expect("a pipe");
        let lines = Lines::of(process.child.stdout.take().expect("a pipe"));
        Terminal { process, stdin, lines }
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the client reads");
    }

    /// Types a line and gives so many of the datagrams that come.
    fn ask(&mut self, line: &str, count: usize) -> Vec<String> {
        self.type_line(line);
        (0..count).map(|_| self.lines.next()).collect()
    }

    fn stop(self) {
        let Terminal { mut process, stdin, lines } = self;
        drop(stdin);
        assert_eq!(process.wait().code(), Some(0));
        assert_eq!(lines.rest(), [""; 0], "nothing came that was not asked for");
    }
}

#[test]
fn the_chapters_client() {
    let mut example = Example::start("m06_quic_datagrams", &[]);
    let mut terminal = Terminal::start(&example);
    assert_eq!(terminal.ask("hello", 1), ["5 bytes: hello"]);
    // Far more than the congestion window of a new connection; the rest waits its turn.
    let expected: Vec<String> = (0..64).map(|n| format!("1318 bytes: {n} of 100")).collect();
    assert_eq!(terminal.ask("burst 100", 64), expected);
    assert_eq!(example.line(), "conn 0.0: burst of 100: 36 refused, 64 waiting");
    assert_eq!(terminal.ask("latest 100", 1), ["8 bytes: state 99"]);
    assert_eq!(example.line(), "conn 0.0: latest of 100: 99 purged, 1 waiting");
    let whole = format!("1318 bytes: {}", ".".repeat(30));
    assert_eq!(terminal.ask("size 1318", 1), [whole]);
    terminal.type_line("size 1319");
    let too_large = "conn 0.0: not sent: a datagram of 1319 bytes is larger than the 1318 bytes that fit into a packet";
    assert_eq!(example.line(), too_large);
    assert_eq!(terminal.ask("still here", 1), ["10 bytes: still here"]);
    terminal.stop();
    let (rest, _) = example.stop();
    // 36 refused, 99 purged, one too large.
    assert_eq!(rest, ["total: 6 datagrams came, 136 were dropped"]);
}

#[test]
fn each_connection_has_a_queue_of_its_own() {
    let mut example = Example::start("m06_quic_datagrams", &["--queue", "3"]);
    let mut terminals = [Terminal::start(&example), Terminal::start(&example)];
    for terminal in &mut terminals {
        // So that they are numbered in this order.
        assert_eq!(terminal.ask("hello", 1), ["5 bytes: hello"]);
    }
    for (n, terminal) in terminals.iter_mut().enumerate() {
        let expected: Vec<String> = (0..3).map(|n| format!("1318 bytes: {n} of 5")).collect();
        assert_eq!(terminal.ask("burst 5", 3), expected);
        let said = example.line();
        assert!(said.ends_with(": burst of 5: 2 refused, 3 waiting"), "connection {n}: {said}");
    }
    terminals.into_iter().for_each(Terminal::stop);
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 4 datagrams came, 4 were dropped"]);
}

#[test]
fn http3_is_on_the_same_port() {
    let mut example = Example::start("m06_quic_datagrams", &[]);
    // A client that asks for h3 and for no HTTP datagrams may have both on one connection.
    let both = "
import sys
from client import Client

client = Client(sys.argv[1], settings={})
client.quic.send_datagram_frame(b'burst 2')
client.until('two datagrams', lambda: len(client.raw_datagrams) == 2)
print(client.get('/'), [data.decode().strip() for data in client.raw_datagrams])
client.close()
";
    let lines = run_python(both, &[&format!("https://{}", example.addr)]);
    assert_eq!(lines, ["[200, 'Hello, HTTP/3!\\n'] ['0 of 2', '1 of 2']"]);
    assert_eq!(example.line(), "conn 0.0: burst of 2: 0 refused, 2 waiting");
    let reply = fetch(example.addr, "/", &[]);
    assert_eq!((reply.status, reply.body.as_str()), (200, "Hello, HTTP/3!\n"));
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 1 datagrams came, 0 were dropped"]);
}

#[test]
fn who_takes_none_gets_none() {
    let mut example = Example::start("m06_quic_datagrams", &[]);
    let code = &chapter_codes("m06_quic_datagrams", "python")[0];
    let deaf = code.replace("max_datagram_frame_size=65536", "max_datagram_frame_size=None");
    let output = run(&mut program(&example, &deaf), b"hello\n");
    assert_eq!((output.status.code(), output.text()), (Some(0), ""));
    assert_eq!(example.line(), "conn 0.0: not sent: the peer does not accept datagrams of this kind");
    // The handshake ends without a protocol in common.
    let stranger = code.replace("\"m06\"", "\"m99\"");
    let output = run(&mut program(&example, &stranger), b"hello\n");
    assert_eq!((output.status.success(), output.text()), (false, ""));
    assert!(output.stderr.contains("ConnectionError"), "{}", output.stderr);
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 1 datagrams came, 1 were dropped"]);
}
