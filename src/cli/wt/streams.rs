//! Handlers of the streams of a session.

use std::sync::mpsc::TryRecvError;

use bytes::Bytes;
use mio_quiche::{Progress, Recv, Result, Stream, StreamHandler};

use super::input::Input;
use super::output::{Lines, raw};
use super::state::{PeerStream, Shared, State};

/// Bytes read per call.
const CHUNK: usize = 64 * 1024;
/// Bytes of a server's stream kept for the report.
const KEPT: usize = 64 * 1024;

/// Writes content `n` from `sent` on, with FIN at its end. Returns true when everything is written.
fn send_content(s: &mut Stream<'_>, state: &State, n: u64, sent: &mut u64) -> Result<bool> {
    let size = state.content.size();
    loop {
        let mut piece = state.content.piece(n, *sent);
        let len = piece.len() as u64;
        if *sent + len == size {
            let done = s.finish_with(&mut piece)?;
            *sent += len - piece.len() as u64;
            return Ok(done);
        }
        s.write_bytes(&mut piece)?;
        *sent += len - piece.len() as u64;
        if !piece.is_empty() {
            return Ok(false);
        }
    }
}

/// Sends content on a bidirectional stream, and checks the echo.
pub(super) struct EchoCheck {
    n: u64,
    sent: u64,
    all_sent: bool,
    received: u64,
    shared: Shared,
}

impl EchoCheck {
    pub(super) fn new(n: u64, shared: Shared) -> Self {
        EchoCheck { n, sent: 0, all_sent: false, received: 0, shared }
    }

    /// `Err` describes a wrong echo.
    fn run(&mut self, s: &mut Stream<'_>) -> Result<std::result::Result<Progress, String>> {
        let mut state = self.shared.borrow_mut();
        if !self.all_sent {
            self.all_sent = send_content(s, &state, self.n, &mut self.sent)?;
        }
        loop {
            match s.read_chunk(CHUNK)? {
                Recv::Data(data) => {
                    state.last = s.now();
                    if let Some(at) = state.content.differs(self.n, self.received, &data) {
                        return Ok(Err(format!("the echo differs at byte {at}")));
                    }
                    self.received += data.len() as u64;
                    state.bidi.bytes += data.len() as u64;
                }
                Recv::Pending => return Ok(Ok(Progress::Pending)),
                Recv::Finished if self.received < state.content.size() => {
                    let size = state.content.size();
                    return Ok(Err(format!("the echo has {} of {size} bytes", self.received)));
                }
                Recv::Finished => return Ok(Ok(Progress::Done)),
            }
        }
    }
}

impl StreamHandler for EchoCheck {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let result = self.run(s);
        let problem = match &result {
            Ok(Ok(Progress::Pending)) => return Ok(Progress::Pending),
            Ok(Ok(Progress::Done)) => None,
            Ok(Err(what)) => Some(what.clone()),
            Err(error) => Some(error.to_string()),
        };
        let mut state = self.shared.borrow_mut();
        state.bidi.end(s.now());
        match problem {
            None => state.bidi.equal += 1,
            Some(what) => state.problem(format!("bidirectional stream {}: {what}", self.n)),
        }
        result.map(|_| Progress::Done)
    }
}

/// Sends content on a unidirectional stream.
pub(super) struct SendUni {
    n: u64,
    sent: u64,
    shared: Shared,
}

impl SendUni {
    pub(super) fn new(n: u64, shared: Shared) -> Self {
        SendUni { n, sent: 0, shared }
    }
}

impl StreamHandler for SendUni {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let mut state = self.shared.borrow_mut();
        let result = send_content(s, &state, self.n, &mut self.sent);
        if matches!(result, Ok(false)) {
            return Ok(Progress::Pending);
        }
        state.last = s.now();
        state.uni.end(s.now());
        if let Err(error) = &result {
            state.problem(format!("unidirectional stream {}: {error}", self.n));
        }
        result.map(|_| Progress::Done)
    }
}

/// A stream that the server opened: an answer to one of ours, or something of its own, which is shown.
pub(super) struct FromPeer {
    shared: Shared,
    record: PeerStream,
    /// It may still turn out to be an answer.
    answers: bool,
    lines: Lines,
    finished: bool,
}

impl FromPeer {
    pub(super) fn new(is_bidi: bool, shared: Shared) -> Self {
        let mut state = shared.borrow_mut();
        state.peer_open += 1;
        state.last = mio_quiche::net::now();
        let kind = if is_bidi { "bidi" } else { "uni" };
        let lines = Lines::new(format!("server's {kind} stream: "), !state.plan.shows);
        let answers = !is_bidi && state.plan.uni > 0;
        drop(state);
        let record = PeerStream { is_bidi, bytes: 0, text: Vec::new() };
        FromPeer { shared, record, answers, lines, finished: false }
    }

    fn take(&mut self, data: &[u8]) {
        let mut state = self.shared.borrow_mut();
        let at = self.record.bytes;
        self.record.bytes += data.len() as u64;
        state.peer_open_bytes += data.len() as u64;
        let before = self.record.text.len();
        self.record.text.extend_from_slice(&data[..data.len().min(KEPT - before)]);
        state.last = mio_quiche::net::now();
        if !self.answers {
            return self.lines.push(data);
        }
        let head = state.content.head_len();
        if self.record.text.len() < head && self.record.bytes < state.content.size() {
            return;
        }
        let number = state.content.number(&self.record.text);
        // Rechecks data that arrived before the number was known.
        let equal = match at < head as u64 {
            true => state.content.differs(number, 0, &self.record.text).is_none(),
            false => state.content.differs(number, at, data).is_none(),
        };
        if !equal || !state.may_answer(number) {
            self.answers = false;
            self.lines.push(&self.record.text);
        }
    }

    fn run(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        if self.record.is_bidi && !self.finished {
            // A stream that the server stopped counts as sent.
            let _ = s.finish();
            self.finished = true;
        }
        loop {
            match s.read_chunk(CHUNK)? {
                Recv::Data(data) => self.take(&data),
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => return Ok(Progress::Done),
            }
        }
    }
}

impl StreamHandler for FromPeer {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let result = self.run(s);
        if matches!(result, Ok(Progress::Pending)) {
            return result;
        }
        let mut state = self.shared.borrow_mut();
        state.peer_open -= 1;
        state.peer_open_bytes -= self.record.bytes;
        state.last = s.now();
        if let Err(error) = &result {
            state.problem(format!("a stream of the server: {error}"));
        }
        let number = state.content.number(&self.record.text);
        if self.answers && self.record.bytes == state.content.size() && state.may_answer(number) {
            state.answered(s.now(), number);
            return result;
        }
        if self.answers {
            self.lines.push(&self.record.text);
        }
        self.lines.flush();
        let empty = PeerStream { is_bidi: self.record.is_bidi, bytes: 0, text: Vec::new() };
        state.peer.push(std::mem::replace(&mut self.record, empty));
        result
    }
}

/// A typed line, on its own stream; the answer is shown as it arrives.
pub(super) struct Ask {
    text: Bytes,
    bidi: bool,
    sent: bool,
    lines: Lines,
    shared: Shared,
}

impl Ask {
    pub(super) fn new(text: Vec<u8>, bidi: bool, shows: bool, shared: Shared) -> Self {
        let lines = Lines::new("< ".to_owned(), !shows);
        Ask { text: text.into(), bidi, sent: false, lines, shared }
    }

    fn run(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        if !self.sent {
            self.sent = s.finish_with(&mut self.text)?;
        }
        if !self.bidi {
            return Ok(if self.sent { Progress::Done } else { Progress::Pending });
        }
        loop {
            match s.read_chunk(CHUNK)? {
                Recv::Data(data) => {
                    self.shared.borrow_mut().last = s.now();
                    self.lines.push(&data);
                }
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => return Ok(Progress::Done),
            }
        }
    }
}

impl StreamHandler for Ask {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let result = self.run(s);
        if matches!(result, Ok(Progress::Pending)) {
            return result;
        }
        self.lines.flush();
        let mut state = self.shared.borrow_mut();
        state.asking -= 1;
        if let Err(error) = &result {
            eprintln!("mio-quiche: {error}");
            state.problem(error.to_string());
        }
        result
    }
}

/// Standard input on one bidirectional stream; the echo goes to standard output unchanged.
pub(super) struct Pipe {
    input: Input,
    chunk: Bytes,
    ended: bool,
    sent: bool,
    shared: Shared,
}

impl Pipe {
    pub(super) fn new(input: Input, shared: Shared) -> Self {
        Pipe { input, chunk: Bytes::new(), ended: false, sent: false, shared }
    }

    /// Sends what was read, until the stream is full.
    fn send(&mut self, s: &mut Stream<'_>) -> Result<()> {
        while !self.sent {
            if self.chunk.is_empty() && !self.ended {
                match self.input.next() {
                    Ok(chunk) => self.chunk = chunk,
                    Err(TryRecvError::Empty) => return Ok(()),
                    Err(TryRecvError::Disconnected) => self.ended = true,
                }
            }
            if self.ended {
                self.sent = s.finish_with(&mut self.chunk)?;
                return Ok(());
            }
            s.write_bytes(&mut self.chunk)?;
            if !self.chunk.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn run(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        self.send(s)?;
        loop {
            match s.read_chunk(CHUNK)? {
                Recv::Data(data) => raw(&data),
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => return Ok(Progress::Done),
            }
        }
    }
}

impl StreamHandler for Pipe {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let result = self.run(s);
        if matches!(result, Ok(Progress::Pending)) {
            return result;
        }
        let mut state = self.shared.borrow_mut();
        state.asking -= 1;
        if let Err(error) = &result {
            state.problem(error.to_string());
        }
        result
    }
}
