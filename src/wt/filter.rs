//! Which new streams of the peer belong to WebTransport sessions. Those are hidden from quiche::h3, which would read
//! them as frames.

use super::peek::{PEEK, peek};
use super::state::WtConn;
use crate::quic;
use crate::wire::{code, varint};

/// A stream whose header, signal and session id, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// The stream.
    pub(crate) stream: u64,
    /// The session that it names. Not looked at yet.
    pub(crate) session: u64,
    /// The stream ended with its header.
    pub(crate) fin: bool,
}

/// What was read of a stream that is not sorted yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    bytes: [u8; PEEK],
    len: usize,
    hidden: bool,
}

/// What a look at a stream came to.
#[derive(Debug)]
enum Verdict {
    /// quiche::h3 shall have it, untouched.
    Http,
    /// It belongs to a session.
    Session(u64, bool),
    /// More bytes are needed.
    Undecided,
    /// It ended, or was reset, within its header.
    Dead,
    /// Another frame or stream type, whose first bytes came apart and are read already.
    Foreign(u64),
    /// quiche does not behave as it did when this was written.
    Broken,
}

/// What a connection's streams came to in one round.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// New streams of sessions.
    pub(crate) arrivals: Vec<Arrival>,
    /// Streams of sessions with something to read.
    pub(crate) readable: Vec<u64>,
    /// Streams that ended within their header, or began with half of something else: to be cut off.
    pub(crate) dead: Vec<u64>,
    /// The signal of a session's stream stands behind the head of a request.
    pub(crate) misplaced_signal: bool,
    /// The peek failed: the connection cannot go on.
    pub(crate) broken: bool,
}

impl WtConn {
    /// Sorts the streams that have something to read, before quiche::h3 looks at them.
    pub(crate) fn sort(&mut self, quic: &mut quic::Connection) -> Sorted {
        let mut sorted = Sorted::default();
        // A hidden stream does not come up again by itself when more of its header arrives.
        let undecided: Vec<u64> = self.opening.keys().copied().collect();
        for stream in undecided {
            self.look(quic, stream, &mut sorted);
        }
        for stream in std::mem::take(&mut self.watched) {
            sorted.misplaced_signal |= self.watch(quic, stream);
        }
        for stream in quic.readable() {
            if self.http.contains(&stream) || self.opening.contains_key(&stream) {
                continue;
            }
            if self.streams.contains_key(&stream) {
                sorted.broken |= !hide(quic, stream, self.priority_of(stream));
                sorted.readable.push(stream);
            } else if self.early.contains(stream) {
                sorted.broken |= !hide(quic, stream, DEFAULT_PRIORITY);
            } else if is_from_client(stream) == self.is_server {
                self.look(quic, stream, &mut sorted);
            }
        }
        sorted
    }

    /// Whether the signal of a session's stream stands next on a request stream. While nothing does, the stream is
    /// looked at again.
    pub(crate) fn watch(&mut self, quic: &mut quic::Connection, stream: u64) -> bool {
        match peek(quic, stream) {
            Ok(Some(peeked)) => varint::read(peeked.bytes()).is_some_and(|(kind, _)| kind == code::BIDI_SIGNAL),
            Ok(None) => {
                if !quic.stream_finished(stream) && !quic::is_collected(quic, stream) {
                    self.watched.push(stream);
                }
                false
            }
            // Found out for certain by the next stream that is sorted.
            Err(()) => false,
        }
    }

    fn look(&mut self, quic: &mut quic::Connection, stream: u64, sorted: &mut Sorted) {
        let mut opening = self.opening.remove(&stream).unwrap_or_default();
        match decide(quic, stream, &mut opening) {
            Verdict::Http => {
                self.http.insert(stream);
                if opening.hidden {
                    show(quic, stream);
                }
            }
            Verdict::Session(session, fin) => {
                sorted.broken |= !hide(quic, stream, DEFAULT_PRIORITY);
                sorted.arrivals.push(Arrival { stream, session, fin });
            }
            Verdict::Undecided => {
                if !std::mem::replace(&mut opening.hidden, true) {
                    sorted.broken |= !hide(quic, stream, DEFAULT_PRIORITY);
                }
                self.opening.insert(stream, opening);
            }
            // A GREASE stream that came in pieces, for example, is read and forgotten like any unknown one.
            Verdict::Foreign(kind) if !is_bidi(stream) && !is_http_stream_type(kind) => {
                sorted.broken |= !hide(quic, stream, DEFAULT_PRIORITY);
                self.drain(stream);
            }
            Verdict::Foreign(_) | Verdict::Dead => sorted.dead.push(stream),
            Verdict::Broken => sorted.broken = true,
        }
    }

    /// Streams that are not sorted. quiche::h3 can make nothing of them, as they were begun to be read.
    pub(crate) fn unsorted(&self) -> impl Iterator<Item = u64> {
        self.opening.keys().copied()
    }
}

fn decide(quic: &mut quic::Connection, stream: u64, opening: &mut Opening) -> Verdict {
    let wanted = if is_bidi(stream) { code::BIDI_SIGNAL } else { code::UNI_TYPE };
    // The usual case: the header is in one piece, or the stream is none of ours.
    if opening.len == 0 {
        let peeked = match peek(quic, stream) {
            Ok(Some(peeked)) => peeked,
            Ok(None) => return Verdict::Http,
            Err(()) => return Verdict::Broken,
        };
        if let Some((kind, kind_len)) = varint::read(peeked.bytes()) {
            if kind != wanted {
                return Verdict::Http;
            }
            if let Some((session, len)) = varint::read(&peeked.bytes()[kind_len..]) {
                let mut header = [0; PEEK];
                return match quic.stream_recv(stream, &mut header[..kind_len + len]) {
                    Ok((_, fin)) => Verdict::Session(session, fin),
                    Err(_) => Verdict::Dead,
                };
            }
        }
    }
    loop {
        // `40 xx` says the same as `xx` for xx < 0x40, so nothing is lost to quiche::h3 when the first byte is gone.
        if opening.bytes() == [0x40] {
            match peek(quic, stream) {
                Ok(Some(peeked)) if peeked.bytes()[0] < 0x40 => return Verdict::Http,
                Ok(_) => {}
                Err(()) => return Verdict::Broken,
            }
        }
        let mut byte = [0];
        let fin = match quic.stream_recv(stream, &mut byte) {
            Ok((1, fin)) => fin,
            Ok((_, true)) => return Verdict::Dead,
            Ok(_) | Err(quiche::Error::Done) => return Verdict::Undecided,
            Err(_) => return Verdict::Dead,
        };
        opening.bytes[opening.len] = byte[0];
        opening.len += 1;
        if let Some((kind, len)) = varint::read(opening.bytes()) {
            if kind != wanted {
                return Verdict::Foreign(kind);
            }
            if let Some((session, _)) = varint::read(&opening.bytes()[len..]) {
                return Verdict::Session(session, fin);
            }
        }
        if fin {
            return Verdict::Dead;
        }
    }
}

impl Opening {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Urgency and incremental flag that quiche gives a new stream.
pub(super) const DEFAULT_PRIORITY: (u8, bool) = (127, true);

/// Takes a stream off the list that quiche::h3 goes through. False if that did not work.
///
/// quiche pops only the front of its list, so the stream is made the most urgent for that moment.
pub(super) fn hide(quic: &mut quic::Connection, stream: u64, (urgency, incremental): (u8, bool)) -> bool {
    if !quic.stream_readable(stream) {
        return true;
    }
    // Fails only for a stream that is gone.
    let _ = quic.stream_priority(stream, 0, false);
    let popped = quic.stream_readable_next();
    let _ = quic.stream_priority(stream, urgency, incremental);
    popped == Some(stream)
}

/// Puts a stream with data back on that list: a read of nothing moves an incremental stream to its end.
fn show(quic: &mut quic::Connection, stream: u64) {
    if quic.stream_readable_len(stream, 1) > 0 {
        let _ = quic.stream_recv(stream, &mut []);
    }
}

pub(super) fn is_bidi(stream: u64) -> bool {
    stream & 2 == 0
}

fn is_from_client(stream: u64) -> bool {
    stream & 1 == 0
}

/// Control, push and the two of QPACK (RFC 9114 section 6.2, RFC 9204 section 4.2).
fn is_http_stream_type(kind: u64) -> bool {
    kind <= 3
}
