//! Standard input, read by a thread of its own so that the loop never waits for it.

use std::io::{BufRead, Read};
use std::sync::mpsc::{Receiver, channel, sync_channel};

use bytes::Bytes;
use mio_quiche::net::Waker;

use crate::cli::notify::Notifier;

/// The longest reason in bytes.
const MAX_REASON: usize = 1024;

/// Bytes read per call.
const CHUNK: usize = 64 * 1024;
/// Chunks read ahead of the stream.
const AHEAD: usize = 4;

/// The commands that can be typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Line(String),
    Datagram(String),
    Uni(String),
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
    pub(super) fn parse(line: &str) -> Self {
        let Some(command) = line.strip_prefix('/') else { return Command::Line(line.to_owned()) };
        if command.starts_with('/') {
            return Command::Line(command.to_owned());
        }
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match name {
            "dgram" => Command::Datagram(rest.to_owned()),
            "uni" => Command::Uni(rest.to_owned()),
            "close" => match close_of(&rest.trim().replacen(' ', ":", 1)) {
                Ok((code, reason)) => Command::Close(code, reason),
                Err(_) if rest.trim().is_empty() => Command::Close(0, String::new()),
                Err(_) => Command::Wrong("/close takes a code from 0 to 4294967295 and a reason of at most 1024 bytes"),
            },
            "help" => Command::Help,
            _ => Command::Wrong("no such command; /help lists them"),
        }
    }
}

/// Reads the typed lines; the channel closes at the end of the input.
pub(super) fn lines(waker: Waker) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
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

/// The input in chunks, and what wakes the loop for new ones.
pub(super) fn chunks(waker: Waker) -> (Receiver<Bytes>, Notifier) {
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
        assert_eq!(Command::parse("hello /there"), Command::Line("hello /there".to_owned()));
        assert_eq!(Command::parse(""), Command::Line(String::new()));
        assert_eq!(Command::parse("//slash"), Command::Line("/slash".to_owned()));
        assert_eq!(Command::parse("/dgram a b"), Command::Datagram("a b".to_owned()));
        assert_eq!(Command::parse("/dgram"), Command::Datagram(String::new()));
        assert_eq!(Command::parse("/uni x"), Command::Uni("x".to_owned()));
        assert_eq!(Command::parse("/close"), close(0, ""));
        assert_eq!(Command::parse("/close 7"), close(7, ""));
        assert_eq!(Command::parse("/close 7 so: long"), close(7, "so: long"));
        assert!(matches!(Command::parse("/close bye"), Command::Wrong(_)));
        assert!(matches!(Command::parse("/close 4294967296"), Command::Wrong(_)));
        assert_eq!(Command::parse("/help"), Command::Help);
        assert!(matches!(Command::parse("/quit"), Command::Wrong(_)));
    }
}
