//! The demo's routes for datagrams and WebTransport.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ring::digest;
use serde::Serialize;

use super::checksum::{hex, sha256};
use super::response::Response;
use super::router::Router;
use super::session::{Session, SessionHandler, SessionRequest};
use super::stream_handler::{Echo, Progress, StreamHandler};
use crate::endpoint::{Datagrams, Stream};
use crate::error::{DatagramError, Error, ErrorCode, Result, SessionError};
use crate::h3::{Recv, Request};
use crate::transport::table::StreamId;
use crate::wt::{EndedBy, SessionEnd};

/// Largest N of `?open=N`.
const MAX_OPEN: u64 = 100;
/// Closed sessions kept for `/wt/closes`.
const MAX_CLOSES: usize = 1000;
/// Largest N of `?repeat=N`.
const MAX_REASON: usize = 1024;
/// Bytes read per call.
const CHUNK: usize = 64 * 1024;

/// How a session ended, for `/wt/closes`.
#[derive(Debug, Serialize)]
struct Close {
    path: String,
    by: &'static str,
    code: u32,
    reason: String,
}

pub(super) fn add_routes(mut router: Router) -> Router {
    router.is_demo = true;
    let (closes, ended): (_, Receiver<Close>) = sync_channel(MAX_CLOSES);
    let noted = move |req: &Request| Noted { path: req.path().to_owned(), closes: closes.clone() };
    let (of_hash, of_close) = (noted.clone(), noted.clone());
    router
        .get("/h3dgram/echo", |_req, res| res.stream(DatagramEcho::default()))
        .post("/h3dgram/echo", |_req, res| res.stream(DatagramEcho::default()))
        .quic_datagrams(|datagrams: &mut Datagrams<'_>, payload: Bytes| {
            if let Err(error) = datagrams.send(&payload) {
                log::debug!("{:?}: {error}", datagrams.id());
            }
        })
        .webtransport("/wt/echo", move |req| {
            let open = req.query_param("open").and_then(|n| n.parse().ok()).unwrap_or(0).min(MAX_OPEN);
            let handler = EchoSession { to_open: open, noted: Some(noted(&req)), ..EchoSession::default() };
            let known = |name: &String| ["echo-v1", "echo-v2"].contains(&name.as_str());
            match req.subprotocols().into_iter().find(known) {
                Some(subprotocol) => req.accept_with(&subprotocol, handler),
                None => req.accept(handler),
            }
        })
        .webtransport("/wt/hash", move |req| {
            let pause = req.query_param("pause").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
            let noted = of_hash(&req);
            req.accept(HashSession { pause, noted })
        })
        .webtransport("/wt/close", move |req| {
            let code = req.query_param("code").and_then(|code| code.parse().ok()).unwrap_or(0);
            // A long reason would not fit into a path.
            let repeat = req.query_param("repeat").and_then(|n| n.parse().ok()).unwrap_or(1).min(MAX_REASON);
            let reason = req.query_param("reason").unwrap_or_default().repeat(repeat);
            let on_datagram = req.query_param("on").as_deref() == Some("datagram");
            let echo = req.query_param("streams").as_deref() == Some("echo");
            let noted = of_close(&req);
            req.accept(CloseSession { code, reason, on_datagram, echo, noted })
        })
        .webtransport("/wt/reject", |req: SessionRequest<'_>| {
            let status = req.query_param("status").and_then(|status| status.parse().ok()).unwrap_or(403);
            req.reject(status)
        })
        .get("/wt/closes", move |_req, res: Response| res.json(&ended.try_iter().collect::<Vec<_>>()))
}

/// Records how a session ended.
#[derive(Debug)]
struct Noted {
    path: String,
    closes: SyncSender<Close>,
}

impl Noted {
    fn note(&self, end: &SessionEnd) {
        let by = match end.by {
            EndedBy::Us => "us",
            EndedBy::Peer => "peer",
            EndedBy::Connection => "connection",
        };
        let (path, code, reason) = (self.path.clone(), end.code, end.reason.clone());
        // If nobody fetches them, the first ones are kept.
        let _ = self.closes.try_send(Close { path, by, code, reason });
    }
}

/// A datagram that cannot be sent now is dropped, as the network might.
fn send_back(result: Result<(), DatagramError>) -> Result<()> {
    match result {
        Ok(()) | Err(DatagramError::QueueFull | DatagramError::TooLarge { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Echoes the datagrams of a request until its body ends.
#[derive(Default)]
struct DatagramEcho {
    count: u64,
    answer: Option<Bytes>,
}

impl StreamHandler for DatagramEcho {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let mut sink = [0; 1024];
        while self.answer.is_none() {
            match s.read(&mut sink)? {
                Recv::Data(_) => {}
                Recv::Pending => {
                    if s.head_mut().is_some() {
                        s.send_head()?;
                    }
                    return Ok(Progress::Pending);
                }
                Recv::Finished => self.answer = Some(format!("{} datagrams\n", self.count).into()),
            }
        }
        Ok(match s.finish_with(self.answer.get_or_insert_default())? {
            true => Progress::Done,
            false => Progress::Pending,
        })
    }

    fn datagram(&mut self, s: &mut Stream<'_>, payload: Bytes) -> Result<()> {
        self.count += 1;
        send_back(s.send_datagram(&payload))
    }
}

/// A session that echoes datagrams, bidirectional streams, and unidirectional ones on streams of its own.
#[derive(Debug, Default)]
pub struct EchoSession {
    to_open: u64,
    opened: u64,
    /// The peer's unidirectional streams that wait until a stream can be opened for their echo.
    waiting: VecDeque<StreamId>,
    /// For each of the peer's streams: the local stream that answers it, and the data still to be written there.
    answers: HashMap<StreamId, Relay>,
    /// For each local stream: the peer's stream that it answers.
    sources: HashMap<StreamId, StreamId>,
    noted: Option<Noted>,
}

#[derive(Debug)]
struct Relay {
    to: StreamId,
    chunk: Bytes,
    finished: bool,
}

impl EchoSession {
    fn open_streams(&mut self, s: &mut Session<'_>) -> Result<()> {
        while self.opened < self.to_open {
            let id = match s.open_bidi() {
                Ok(id) => id,
                Err(SessionError::StreamLimit) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            s.run(id, Greeting { text: format!("server stream {}\n", self.opened).into(), echo: Echo::default() });
            self.opened += 1;
        }
        Ok(())
    }

    fn answer_waiting(&mut self, s: &mut Session<'_>) -> Result<()> {
        while let Some(&from) = self.waiting.front() {
            let to = match s.open_uni() {
                Ok(to) => to,
                Err(SessionError::StreamLimit) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.waiting.pop_front();
            self.answers.insert(from, Relay { to, chunk: Bytes::new(), finished: false });
            self.sources.insert(to, from);
            self.relay(s, from);
        }
        Ok(())
    }

    /// Moves bytes from a peer's stream to the local one, until either blocks.
    fn relay(&mut self, s: &mut Session<'_>, from: StreamId) {
        let Some(relay) = self.answers.get_mut(&from) else { return };
        let to = relay.to;
        let over = relay.run(s, from).unwrap_or_else(|error| {
            // The peer aborted one of them: aborts the other as well.
            let code = if let Error::Stream(error) = &error { error.session_code() } else { 0 };
            for id in [from, to] {
                if let Some(mut stream) = s.stream(id) {
                    stream.reset(ErrorCode::webtransport(code));
                }
            }
            true
        });
        if over && let Some(relay) = self.answers.remove(&from) {
            self.sources.remove(&relay.to);
            s.release(from);
            s.release(relay.to);
        }
    }
}

impl Relay {
    /// Returns true when everything is written.
    fn run(&mut self, s: &mut Session<'_>, from: StreamId) -> Result<bool> {
        loop {
            if !self.finished && self.chunk.is_empty() {
                let Some(mut source) = s.stream(from) else { return Ok(true) };
                match source.read_chunk(CHUNK)? {
                    Recv::Data(chunk) => self.chunk = chunk,
                    Recv::Pending => return Ok(false),
                    Recv::Finished => self.finished = true,
                }
            }
            let Some(mut sink) = s.stream(self.to) else { return Ok(true) };
            if self.finished {
                return Ok(sink.finish_with(&mut self.chunk)?);
            }
            sink.write_bytes(&mut self.chunk)?;
            if !self.chunk.is_empty() {
                return Ok(false);
            }
        }
    }
}

impl SessionHandler for EchoSession {
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        self.open_streams(s)
    }

    fn datagram(&mut self, s: &mut Session<'_>, payload: Bytes) -> Result<()> {
        send_back(s.send_datagram(&payload))
    }

    fn stream(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        if id.is_bidi() {
            return Ok(Some(Box::new(Echo::default())));
        }
        self.waiting.push_back(id);
        self.answer_waiting(s)?;
        Ok(None)
    }

    fn ready(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<()> {
        let from = self.sources.get(&id).copied().unwrap_or(id);
        self.relay(s, from);
        Ok(())
    }

    fn streams_available(&mut self, s: &mut Session<'_>) -> Result<()> {
        self.open_streams(s)?;
        self.answer_waiting(s)
    }

    fn closed(&mut self, _: StreamId, end: &SessionEnd) {
        if let Some(noted) = &self.noted {
            noted.note(end);
        }
    }
}

/// Sends a greeting, then echoes the stream.
struct Greeting {
    text: Bytes,
    echo: Echo,
}

impl StreamHandler for Greeting {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        s.write_bytes(&mut self.text)?;
        if !self.text.is_empty() {
            return Ok(Progress::Pending);
        }
        self.echo.poll(s)
    }
}

/// Answers streams with their length and hash.
#[derive(Debug)]
struct HashSession {
    /// Delay before the first stream is read.
    pause: Option<Duration>,
    noted: Noted,
}

impl SessionHandler for HashSession {
    fn datagram(&mut self, s: &mut Session<'_>, payload: Bytes) -> Result<()> {
        send_back(s.send_datagram(&payload))
    }

    fn stream(&mut self, s: &mut Session<'_>, _id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        let due = self.pause.take().map(|pause| s.now() + pause);
        Ok(Some(Box::new(HashStream { due, digest: Some(sha256()), bytes: 0, answer: Bytes::new() })))
    }

    fn closed(&mut self, _: StreamId, end: &SessionEnd) {
        self.noted.note(end);
    }
}

struct HashStream {
    due: Option<Instant>,
    digest: Option<digest::Context>,
    bytes: u64,
    answer: Bytes,
}

impl StreamHandler for HashStream {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        if let Some(due) = self.due.filter(|due| *due > s.now()) {
            s.wake_at(due);
            return Ok(Progress::Pending);
        }
        while let Some(digest) = &mut self.digest {
            match s.read_chunk(CHUNK)? {
                Recv::Data(chunk) => {
                    self.bytes += chunk.len() as u64;
                    digest.update(&chunk);
                }
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => {
                    let sha256 = self.digest.take().map(hex).unwrap_or_default();
                    self.answer = format!("{}\n", serde_json::json!({ "bytes": self.bytes, "sha256": sha256 })).into();
                }
            }
        }
        if !s.id().is_bidi() {
            return Ok(Progress::Done);
        }
        Ok(match s.finish_with(&mut self.answer)? {
            true => Progress::Done,
            false => Progress::Pending,
        })
    }
}

/// A session that closes itself.
#[derive(Debug)]
struct CloseSession {
    code: u32,
    reason: String,
    on_datagram: bool,
    /// Echoes streams instead of resetting them.
    echo: bool,
    noted: Noted,
}

impl SessionHandler for CloseSession {
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        if !self.on_datagram {
            s.close(self.code, &self.reason);
        }
        Ok(())
    }

    fn datagram(&mut self, s: &mut Session<'_>, _payload: Bytes) -> Result<()> {
        s.close(self.code, &self.reason);
        Ok(())
    }

    fn stream(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        if self.echo && id.is_bidi() {
            return Ok(Some(Box::new(Echo::default())));
        }
        if let Some(mut stream) = s.stream(id) {
            stream.reset(ErrorCode::webtransport(0));
        }
        s.release(id);
        Ok(None)
    }

    fn closed(&mut self, _: StreamId, end: &SessionEnd) {
        self.noted.note(end);
    }
}
