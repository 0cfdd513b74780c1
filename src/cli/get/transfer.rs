//! One request and its response.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{
    CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, LOCATION,
};
use mio_quiche::{
    ClientError, Error, ErrorCode, Progress, Recv, RequestHead, ResponseHandler, ResponseHead, Result, Stream,
    StreamError, StreamId, net,
};

use super::body::{Next, Source};
use super::decode::{Decoded, Decoder};
use super::disposition;
use super::failure::{ENCODING, Problem, RANGE, READ, STATUS, TOO_LARGE};
use super::output::Output;
use super::rate::Limiter;

/// Bytes read per call.
const CHUNK: usize = 64 * 1024;

/// State shared by all transfers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Heads are part of the output.
    pub(super) heads: bool,
    pub(super) fail: bool,
    pub(super) fail_with_body: bool,
    pub(super) max_filesize: Option<u64>,
    pub(super) follow: bool,
    pub(super) verbose: bool,
    pub(super) limit_rate: Option<u64>,
    /// Bytes of the body that are there already (`-C`).
    pub(super) resume_from: u64,
    /// Files are named by `content-disposition`.
    pub(super) remote_header_name: bool,
    /// Bodies are decoded.
    pub(super) compressed: bool,
}

/// Text for `-v`.
#[derive(Debug)]
pub(super) enum Note {
    /// The request's head was sent.
    Sent,
    Text(String),
}

/// The state of a transfer.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) stream: Option<StreamId>,
    pub(super) early: bool,
    pub(super) sent_at: Option<Instant>,
    /// The whole request was sent.
    pub(super) sent_all_at: Option<Instant>,
    pub(super) first_byte_at: Option<Instant>,
    pub(super) status: Option<u16>,
    /// The fields of the final response.
    pub(super) fields: HeaderMap,
    /// Bytes of the responses' heads, as text.
    pub(super) header_size: u64,
    pub(super) location: Option<String>,
    /// A redirect to follow.
    pub(super) redirect: Option<String>,
    pub(super) length: Option<u64>,
    pub(super) received: u64,
    /// Bytes of the body that were written.
    pub(super) delivered: u64,
    pub(super) sent: u64,
    pub(super) notes: Vec<Note>,
    /// All of the body is there already.
    is_there: bool,
    /// The body does not begin where it should.
    cannot_resume: bool,
    /// Blocked by something other than QUIC.
    pub(super) waits: bool,
    pub(super) problem: Option<Problem>,
    pub(super) result: Option<std::result::Result<(), ClientError>>,
}

impl State {
    fn failed(&mut self, problem: Problem) -> Error {
        let message = problem.message.clone();
        self.problem.get_or_insert(problem);
        Error::handler(message)
    }
}

pub(super) struct Transfer {
    pub(super) options: Options,
    pub(super) state: Rc<RefCell<State>>,
    pub(super) output: Rc<RefCell<Output>>,
    /// Heads go here, too.
    heads: Option<Rc<RefCell<Output>>>,
    source: Option<Source>,
    /// The body is not sent completely, and the server still reads it.
    sending: bool,
    unsent: Bytes,
    up: Option<Limiter>,
    down: Option<Limiter>,
    decoder: Option<Decoder>,
}

impl Transfer {
    pub(super) fn new(
        options: Options,
        state: Rc<RefCell<State>>,
        output: Rc<RefCell<Output>>,
        heads: Option<Rc<RefCell<Output>>>,
        source: Option<Source>,
    ) -> Self {
        let (up, down) = (options.limit_rate.map(Limiter::new), options.limit_rate.map(Limiter::new));
        let sending = source.is_some();
        Transfer { options, state, output, heads, source, sending, unsent: Bytes::new(), up, down, decoder: None }
    }

    /// Sends available data of the body; returns when to continue, if it waits for a time.
    fn send(&mut self, state: &mut State, s: &mut Stream<'_>) -> Result<Option<Instant>> {
        loop {
            let Some(source) = self.source.as_mut().filter(|_| self.sending) else { return Ok(None) };
            if self.unsent.is_empty() {
                match source.next().map_err(|message| state.failed(Problem::new(READ, message)))? {
                    Next::Chunk(chunk) => self.unsent = chunk,
                    Next::Pending => {
                        state.waits = true;
                        return Ok(None);
                    }
                    Next::End => {
                        self.sending = false;
                        state.sent_all_at = Some(net::now());
                        return match s.finish() {
                            Ok(()) | Err(StreamError::Stopped(_)) => Ok(None),
                            Err(e) => Err(e.into()),
                        };
                    }
                }
            }
            let max = match self.up.as_mut().map(|limiter| limiter.allowance(s.now())) {
                Some(Err(at)) => return Ok(Some(at)),
                Some(Ok(max)) => max.min(self.unsent.len()),
                None => self.unsent.len(),
            };
            let mut part = self.unsent.slice(..max);
            let taken = match s.write_bytes(&mut part) {
                Ok(taken) => taken,
                // The server stopped reading: a response or a reset will follow.
                Err(StreamError::Stopped(_)) => {
                    self.sending = false;
                    return Ok(None);
                }
                Err(e) => return Err(e.into()),
            };
            let _ = self.unsent.split_to(taken);
            state.sent += taken as u64;
            if let Some(limiter) = &mut self.up {
                limiter.moved(taken);
            }
            if taken < max {
                return Ok(None);
            }
        }
    }

    fn receive(&mut self, state: &mut State, s: &mut Stream<'_>) -> Result<(Progress, Option<Instant>)> {
        let mut output = self.output.borrow_mut();
        loop {
            // On a terminal, heads must precede the body.
            let is_behind = self.options.verbose && !state.notes.is_empty();
            if is_behind || !output.has_room() {
                state.waits = true;
                return Ok((Progress::Pending, None));
            }
            if let Some(decoder) = &mut self.decoder {
                match decoder.next().map_err(|why| state.failed(bad_encoding(&why)))? {
                    Decoded::Hungry | Decoded::End => {}
                    Decoded::Bytes(bytes) => {
                        deliver(state, &mut output, bytes)?;
                        self.check_size(state, state.delivered)?;
                        continue;
                    }
                }
            }
            let max = match self.down.as_mut().map(|limiter| limiter.allowance(s.now())) {
                Some(Err(at)) => return Ok((Progress::Pending, Some(at))),
                Some(Ok(max)) => max.min(CHUNK),
                None => CHUNK,
            };
            match s.read_chunk(max)? {
                Recv::Data(_) if state.cannot_resume => {
                    let message = "the server cannot resume: it sends all of the body (-C)";
                    return Err(state.failed(Problem::new(RANGE, message)));
                }
                Recv::Data(chunk) => {
                    state.received += chunk.len() as u64;
                    self.check_size(state, state.received)?;
                    if let Some(limiter) = &mut self.down {
                        limiter.moved(chunk.len());
                    }
                    match &mut self.decoder {
                        Some(decoder) => decoder.push(&chunk),
                        None => deliver(state, &mut output, chunk)?,
                    }
                }
                Recv::Pending => return Ok((Progress::Pending, None)),
                Recv::Finished => {
                    if state.received > 0 && self.decoder.as_mut().is_some_and(Decoder::end) {
                        continue;
                    }
                    if let Some(trailers) = s.trailers().filter(|trailers| !trailers.is_empty()) {
                        self.note_fields(state, trailers);
                        if self.options.heads {
                            let text = field_lines(trailers, "", "\r\n");
                            output.write(text.into()).map_err(|problem| state.failed(problem))?;
                        }
                    }
                    output.finish().map_err(|problem| state.failed(problem))?;
                    return Ok((Progress::Done, None));
                }
            }
        }
    }

    fn check_size(&self, state: &mut State, size: u64) -> Result<()> {
        match self.options.max_filesize {
            Some(max) if size > max => {
                let message = format!("the body has more than {max} bytes (--max-filesize)");
                Err(state.failed(Problem::new(TOO_LARGE, message)))
            }
            _ => Ok(()),
        }
    }

    fn note_fields(&self, state: &mut State, fields: &HeaderMap) {
        if self.options.verbose {
            state.notes.push(Note::Text(field_lines(fields, "< ", "\n")));
        }
    }

    /// Shows a head, informational or final.
    fn show(&self, state: &mut State, head: &ResponseHead) -> Result<()> {
        if self.options.verbose {
            let text = format!("< HTTP/3 {}\n{}<\n", head.status.as_u16(), field_lines(&head.headers, "< ", "\n"));
            state.notes.push(Note::Text(text));
        }
        let text = format!("HTTP/3 {} \r\n{}\r\n", head.status.as_u16(), field_lines(&head.headers, "", "\r\n"));
        state.header_size += text.len() as u64;
        let outputs = [self.options.heads.then_some(&self.output), self.heads.as_ref()];
        for output in outputs.into_iter().flatten() {
            output.borrow_mut().write(text.clone().into()).map_err(|problem| state.failed(problem))?;
        }
        Ok(())
    }
}

impl ResponseHandler for Transfer {
    fn informational(&mut self, head: &ResponseHead) {
        let state = Rc::clone(&self.state);
        // A write error comes up again with the final head.
        let _ = self.show(&mut state.borrow_mut(), head);
    }

    fn response(&mut self, _: &mut Stream<'_>, head: &ResponseHead) -> Result<()> {
        let state = Rc::clone(&self.state);
        let state = &mut *state.borrow_mut();
        state.first_byte_at = Some(net::now());
        let status = head.status.as_u16();
        state.status = Some(status);
        let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        state.length = length.and_then(|value| value.parse().ok());
        let disposition = head.headers.get(CONTENT_DISPOSITION).filter(|_| self.options.remote_header_name);
        if let Some(value) = disposition
            && let Some(name) = disposition::file_name(&String::from_utf8_lossy(value.as_bytes()))
        {
            self.output.borrow_mut().rename(name);
        }
        self.show(state, head)?;
        state.fields = head.headers.clone();
        if matches!(status, 300..400) {
            let location = head
                .headers
                .get(LOCATION)
                .filter(|value| !value.is_empty())
                .map(|value| String::from_utf8_lossy(value.as_bytes()));
            state.location = location.map(std::borrow::Cow::into_owned);
        }
        if self.options.follow && matches!(status, 301 | 302 | 303 | 307 | 308) {
            state.redirect.clone_from(&state.location);
        }
        if self.options.fail && status >= 400 {
            let option = if self.options.fail_with_body { "--fail-with-body" } else { "-f" };
            let message = format!("the server answered with status {status} ({option} was given)");
            let problem = Problem::new(STATUS, message);
            if !self.options.fail_with_body {
                return Err(state.failed(problem));
            }
            state.problem = Some(problem);
        }
        if self.options.resume_from > 0 {
            let from = self.options.resume_from;
            state.is_there = status == 416 || status != 206 && state.length == Some(from);
            state.cannot_resume = content_range_start(&head.headers) != Some(from);
        }
        self.check_size(state, state.length.unwrap_or_default())?;
        if self.options.compressed {
            let codings: Vec<_> = head.headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::to_str).collect();
            let codings = codings.into_iter().flatten().collect::<Vec<_>>().join(",");
            self.decoder = Decoder::new(&codings).map_err(|why| state.failed(bad_encoding(&why)))?;
        }
        Ok(())
    }

    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let state = Rc::clone(&self.state);
        let state = &mut *state.borrow_mut();
        if state.stream != Some(s.id()) {
            (state.stream, state.early, state.sent_at) = (Some(s.id()), s.is_early(), Some(net::now()));
            state.sent_all_at = state.sent_at.filter(|_| !self.sending);
            state.notes.push(Note::Sent);
        }
        if state.redirect.is_some() || state.is_there {
            return Ok(Progress::Done);
        }
        state.waits = false;
        let send_at = self.send(state, s)?;
        let (progress, receive_at) = self.receive(state, s)?;
        if progress == Progress::Done && self.sending {
            // The response does not depend on the rest of the body.
            s.reset(ErrorCode::H3_NO_ERROR);
        }
        if let Some(at) = [send_at, receive_at].into_iter().flatten().min() {
            s.wake_at(at);
        }
        Ok(progress)
    }

    fn restart(&mut self) -> bool {
        let Some(source) = self.source.as_mut() else { return true };
        let again = source.restart();
        if again {
            (self.sending, self.unsent) = (true, Bytes::new());
            self.state.borrow_mut().sent = 0;
        }
        again
    }

    fn finished(&mut self, result: std::result::Result<(), ClientError>) {
        self.state.borrow_mut().result = Some(result);
    }
}

fn bad_encoding(why: &str) -> Problem {
    Problem::new(ENCODING, format!("the body cannot be decoded: {why} (--compressed)"))
}

/// Writes a part of a body.
fn deliver(state: &mut State, output: &mut Output, bytes: Bytes) -> Result<()> {
    state.delivered += bytes.len() as u64;
    output.write_body(bytes).map_err(|problem| state.failed(problem))
}

/// Where the part of a body begins (RFC 9110 section 14.4).
fn content_range_start(fields: &HeaderMap) -> Option<u64> {
    let range = fields.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.trim_start().split('-').next()?.parse().ok()
}

/// Fields, one per line.
fn field_lines(fields: &HeaderMap, start: &str, end: &str) -> String {
    let line = |(name, value): (_, &http::HeaderValue)| {
        format!("{start}{name}: {}{end}", String::from_utf8_lossy(value.as_bytes()))
    };
    fields.iter().map(line).collect()
}

/// A request's head for `-v`.
pub(super) fn show_request(head: &RequestHead) -> String {
    let fields = field_lines(&head.headers, "> ", "\n");
    format!("> {} {} HTTP/3\n> host: {}\n{fields}>\n", head.method, head.path, head.authority)
}

/// A request's head as text in the form of HTTP/1.1.
pub(super) fn request_text(head: &RequestHead) -> String {
    let fields = field_lines(&head.headers, "", "\r\n");
    format!("{} {} HTTP/3\r\nhost: {}\r\n{fields}\r\n", head.method, head.path, head.authority)
}
