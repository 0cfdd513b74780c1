//! Standard input, read by a thread of its own so that the loop never waits for it.

use std::fs::File;
use std::io::{BufRead, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use bytes::Bytes;
use mio_quiche::net::Waker;

use crate::cli::notify::Notifier;

/// The longest reason in bytes.
const MAX_REASON: usize = 1024;

/// Bytes read per call.
const CHUNK: usize = 64 * 1024;
/// Chunks read ahead of the stream.
const AHEAD: usize = 4;
/// Bytes of a typed line.
const MAX_LINE: u64 = 1024 * 1024;
/// Lines read ahead of the streams.
const LINES_AHEAD: usize = 16;

/// The commands that can be typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Line(Vec<u8>),
    Datagram(Vec<u8>),
    Uni(Vec<u8>),
    Close(u32, String),
    Help,
    Wrong(&'static str),
}

pub(super) const HELP: &str = "\
TEXT                 sends the line on a bidirectional stream of its own
/dgram TEXT          sends a datagram
/uni TEXT            sends a unidirectional stream
/close CODE REASON   closes the session; end of input (Ctrl-D) closes it too
/help                this
A line that begins with / is sent with a second one in front: //TEXT
";

impl Command {
    pub(super) fn parse(line: &[u8]) -> Self {
        let Some(command) = line.strip_prefix(b"/") else { return Command::Line(line.to_owned()) };
        if command.starts_with(b"/") {
            return Command::Line(command.to_owned());
        }
        let end = command.iter().position(|byte| *byte == b' ').unwrap_or(command.len());
        let (name, rest) = (&command[..end], command.get(end + 1..).unwrap_or_default());
        match name {
            b"dgram" => Command::Datagram(rest.to_owned()),
            b"uni" => Command::Uni(rest.to_owned()),
            b"close" => {
                // A reason is UTF-8.
                let rest = std::str::from_utf8(rest).map(str::trim);
                match rest.ok().map(|rest| (rest, close_of(&rest.replacen(' ', ":", 1)))) {
                    Some((_, Ok((code, reason)))) => Command::Close(code, reason),
                    Some(("", Err(_))) => Command::Close(0, String::new()),
                    _ => Command::Wrong(
                        "/close takes a code from 0 to 4294967295 and a reason of at most 1024 bytes of UTF-8",
                    ),
                }
            }
            b"help" => Command::Help,
            _ => Command::Wrong("no such command; /help lists them"),
        }
    }
}

/// Reads the typed lines; the channel closes at the end of the input.
pub(super) fn lines(waker: Waker) -> Receiver<Vec<u8>> {
    let (send, lines) = sync_channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            // A longer one is sent in pieces. An unreadable input counts as ended.
            match stdin.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(n) if n > 0 => {}
                _ => break,
            }
            if line.ends_with(b"\n") {
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
            }
            // Fails when the session has ended.
            if send.send(line).and(Ok(waker.wake())).is_err() {
                return;
            }
        }
        drop(send);
        let _ = waker.wake();
    });
    lines
}

/// Whether standard input is a pipe, a socket or a file.
pub(super) fn is_piped() -> bool {
    let file = std::io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let kind = file.and_then(|file| file.metadata()).map(|data| data.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket() || kind.is_file())
}

/// Standard input in chunks.
pub(super) struct Input {
    first: Option<Bytes>,
    rest: Receiver<Bytes>,
}

impl Input {
    /// Reads on a thread. The other part tells when there is more.
    pub(super) fn read(waker: Waker) -> (Self, Notifier) {
        let (rest, notifier) = chunks(waker);
        (Input { first: None, rest }, notifier)
    }

    pub(super) fn next(&mut self) -> Result<Bytes, TryRecvError> {
        self.first.take().map_or_else(|| self.rest.try_recv(), Ok)
    }

    /// Gives a chunk back.
    pub(super) fn put_back(&mut self, chunk: Bytes) {
        self.first = Some(chunk);
    }
}

/// The input in chunks, and what wakes the loop for new ones.
fn chunks(waker: Waker) -> (Receiver<Bytes>, Notifier) {
    let (send, chunks) = sync_channel(AHEAD);
    let notifier = Notifier::new(waker);
    let news = notifier.clone();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buf = vec![0; CHUNK];
        loop {
            match stdin.read(&mut buf) {
                Ok(n) if n > 0 => {
                    if send.send(Bytes::copy_from_slice(&buf[..n])).is_err() {
                        return;
                    }
                    news.notify();
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // An unreadable input counts as ended.
                _ => break,
            }
        }
        drop(send);
        news.notify();
    });
    (chunks, notifier)
}

pub(super) fn close_of(text: &str) -> Result<(u32, String), String> {
    let (code, reason) = text.split_once(':').unwrap_or((text, ""));
    let code = code.parse().map_err(|_| "the code must be a number from 0 to 4294967295".to_owned())?;
    match reason.len() {
        0..=MAX_REASON => Ok((code, reason.to_owned())),
        len => Err(format!("the reason has {len} bytes, but at most {MAX_REASON} are sent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed() {
        let close = |code, reason: &str| Command::Close(code, reason.to_owned());
        let parse = |line: &str| Command::parse(line.as_bytes());
        assert_eq!(parse("hello /there"), Command::Line(b"hello /there".to_vec()));
        assert_eq!(parse(""), Command::Line(Vec::new()));
        assert_eq!(parse("//slash"), Command::Line(b"/slash".to_vec()));
        assert_eq!(parse("/dgram a b"), Command::Datagram(b"a b".to_vec()));
        assert_eq!(parse("/dgram"), Command::Datagram(Vec::new()));
        assert_eq!(parse("/uni x"), Command::Uni(b"x".to_vec()));
        assert_eq!(parse("/close"), close(0, ""));
        assert_eq!(parse("/close 7"), close(7, ""));
        assert_eq!(parse("/close 7 so: long"), close(7, "so: long"));
        assert!(matches!(parse("/close bye"), Command::Wrong(_)));
        assert!(matches!(parse("/close 4294967296"), Command::Wrong(_)));
        assert_eq!(parse("/help"), Command::Help);
        assert!(matches!(parse("/quit"), Command::Wrong(_)));
        // Bytes that are not UTF-8.
        assert_eq!(Command::parse(b"\xff\0"), Command::Line(b"\xff\0".to_vec()));
        assert_eq!(Command::parse(b"/dgram \xff "), Command::Datagram(b"\xff ".to_vec()));
        assert!(matches!(Command::parse(b"/close 7 \xff"), Command::Wrong(_)));
    }
}
