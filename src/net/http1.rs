//! A small HTTP/1.1 server on its own thread, for the admin port and the redirect port; with TLS if it gets a context.
//!
//! Everything is bounded: connections, the size of a head, time. It serves one request per connection and ignores
//! request bodies; a connection can go on as a WebSocket (`web_socket`). tiny_http is not used because (as of 0.12) it
//! allocates as much as a `content-length` claims, and aborts the process if that fails.

#[cfg(feature = "demo")]
pub mod web_socket;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use boring::ssl::{Ssl, SslContext, SslStream};
use bytes::Bytes;
use http::StatusCode;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::socket::bind_any;
use crate::error::{Error, Result};

/// The TLS settings of new connections.
pub type TlsContext = Arc<Mutex<SslContext>>;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// Concurrent connections; others wait in the system's queue. A browser opens some in advance.
const MAX_CONNECTIONS: usize = 16;
/// As [`MAX_CONNECTIONS`], of a port with TLS, which is for anybody.
const MAX_TLS_CONNECTIONS: usize = 1024;
/// Bytes of a request's head.
const MAX_HEAD: usize = 8 * 1024;
/// Header fields of a request.
const MAX_FIELDS: usize = 64;
/// Bytes of a request's body that are discarded, so that closing the connection does not lose the response.
const MAX_BODY: usize = 64 * 1024;
/// Time for a connection to send its request and to receive the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Concurrent connections that speak another protocol after an upgrade, besides those of [`MAX_CONNECTIONS`].
const MAX_UPGRADED: usize = 64;

/// A request to a port.
#[derive(Debug)]
pub struct Http1Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The query, or an empty string.
    pub query: &'a str,
    /// The address that the port listens on.
    pub local_addr: SocketAddr,
    version: u8,
    fields: &'a [httparse::Header<'a>],
}

impl Http1Request<'_> {
    /// The first value of a header field, if it is UTF-8.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    }
}

/// What follows a request.
#[derive(Debug)]
pub enum Http1Answer {
    /// A response, which ends the connection.
    Response(Http1Response),
    /// Another protocol.
    Upgrade(Upgrade),
}

/// The change of a connection to another protocol (RFC 9110 section 7.8).
pub struct Upgrade {
    /// The head of the response.
    head: Vec<u8>,
    /// Makes the protocol, with the bytes that came behind the request's head.
    start: Box<dyn FnOnce(Vec<u8>, Instant) -> Box<dyn Upgraded> + Send>,
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("head", &self.head).finish_non_exhaustive()
    }
}

/// A connection after an upgrade.
trait Upgraded: Send {
    /// Progresses for a turn. An error closes the connection at once.
    fn turn(&mut self, stream: &mut Transport, now: Instant) -> io::Result<Turn>;
    /// When to call [`turn`](Self::turn) if nothing happens before.
    fn deadline(&self) -> Instant;
}

/// How a turn ended.
#[cfg_attr(not(feature = "demo"), expect(dead_code, reason = "of the WebSockets of the demo"))]
enum Turn {
    /// With nothing to do until the socket's next event.
    Waiting,
    /// With its share used up.
    Unfinished,
    /// With the protocol's end.
    Ended,
}

/// A response of a port.
#[derive(Clone, Debug)]
pub struct Http1Response {
    /// The status.
    pub status: StatusCode,
    /// The media type of the body.
    pub content_type: &'static str,
    /// Additional header fields, besides those of every response.
    pub fields: Vec<(&'static str, String)>,
    /// The body; omitted for HEAD.
    pub body: Bytes,
}

impl Http1Response {
    /// A plain text response.
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Http1Response { status, content_type: "text/plain; charset=utf-8", fields: Vec::new(), body: text.into() }
    }

    fn into_state(self, with_body: bool) -> State {
        State::Writing { output: self.serialize(with_body), sent: 0, then: None }
    }

    fn serialize(&self, with_body: bool) -> Vec<u8> {
        let date = httpdate::fmt_http_date(super::wall_clock());
        let mut head = format!(
            "HTTP/1.1 {}\r\ndate: {date}\r\ncontent-type: {}\r\ncontent-length: {}\r\n\
             cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n",
            self.status,
            self.content_type,
            self.body.len()
        );
        for (name, value) in &self.fields {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        let mut all = head.into_bytes();
        if with_body {
            all.extend_from_slice(&self.body);
        }
        all
    }
}

/// An open port. Dropping it ends its thread and closes it.
#[derive(Debug)]
pub struct Http1Port {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: mio::Waker,
    thread: Option<JoinHandle<()>>,
}

impl Http1Port {
    /// Listens on `addr`, as a [`UdpSocket`](super::UdpSocket) does; `answer` is called on the port's own thread with
    /// each request. `name` is for errors, logs and the thread.
    ///
    /// # Errors
    /// An address that cannot be bound, or another error of the system.
    pub fn open(
        name: &'static str,
        addr: SocketAddr,
        tls: Option<TlsContext>,
        answer: impl FnMut(&Http1Request<'_>) -> Http1Answer + Send + 'static,
    ) -> Result<Self> {
        let bind = |addr| TcpListener::bind(addr).map_err(|source| Error::Port { name, addr, source });
        let mut listener = bind_any(addr, bind)?;
        let addr = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        let stop = Arc::<AtomicBool>::default();
        let mut port = Port { name, addr, poll, listener, tls, peers: Slab::new(), stop: stop.clone(), answer };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(e) = port.run() {
                log::error!("the {name} port failed: {e}");
            }
        })?;
        Ok(Http1Port { addr, stop, waker, thread: Some(thread) })
    }

    /// The address that it listens on, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Http1Port {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A thread that cannot be woken is left alone rather than waited for.
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

struct Port<F> {
    name: &'static str,
    addr: SocketAddr,
    poll: Poll,
    listener: TcpListener,
    tls: Option<TlsContext>,
    peers: Slab<Peer>,
    stop: Arc<AtomicBool>,
    answer: F,
}

impl<F: FnMut(&Http1Request<'_>) -> Http1Answer> Port<F> {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        // Those that have more to do without another event.
        let mut unfinished: Vec<usize> = Vec::new();
        loop {
            let now = super::now();
            let deadline = self.peers.iter().map(|(_, peer)| peer.deadline()).min();
            let timeout = match unfinished.is_empty() {
                true => deadline.map(|at| at.saturating_duration_since(now)),
                false => Some(Duration::ZERO),
            };
            match self.poll.poll(&mut events, timeout) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            if self.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            let now = super::now();
            let mut due = std::mem::take(&mut unfinished);
            due.extend(events.iter().map(|event| event.token().0));
            due.extend(self.peers.iter().filter(|(_, peer)| peer.is_upgraded() && peer.deadline() <= now).map(|p| p.0));
            for index in due {
                let may_upgrade = self.upgraded() < MAX_UPGRADED;
                let Some(peer) = self.peers.get_mut(index) else { continue };
                match peer.step(&mut self.answer, self.addr, may_upgrade, now) {
                    Ok(true) if unfinished.contains(&index) => {}
                    Ok(true) => unfinished.push(index),
                    Ok(false) => {}
                    Err(_) => drop(self.peers.remove(index)),
                }
            }
            let now = super::now();
            self.peers.retain(|_, peer| matches!(peer.state, State::Upgraded(_)) || peer.deadline() > now);
            // In every turn, as a slot may have become free for a waiting connection.
            self.accept(now)?;
        }
    }

    fn upgraded(&self) -> usize {
        self.peers.iter().filter(|(_, peer)| peer.is_upgraded()).count()
    }

    fn accept(&mut self, now: Instant) -> io::Result<()> {
        let limit = if self.tls.is_some() { MAX_TLS_CONNECTIONS } else { MAX_CONNECTIONS };
        while self.peers.len() - self.upgraded() < limit {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => {
                    log::debug!("the {} port cannot accept: {e}", self.name);
                    break;
                }
            };
            let slot = self.peers.vacant_entry();
            // The first event, that it is writable, comes at once.
            self.poll.registry().register(&mut stream, Token(slot.key()), Interest::READABLE | Interest::WRITABLE)?;
            let stream = match &self.tls {
                None => Transport::Plain(stream),
                Some(context) => {
                    // Nothing panics while it is locked.
                    let ssl = Ssl::new(&context.lock().unwrap_or_else(PoisonError::into_inner))?;
                    Transport::Tls(SslStream::new(ssl, stream)?)
                }
            };
            slot.insert(Peer { stream, request_deadline: now + REQUEST_TIMEOUT, state: State::Reading(Vec::new()) });
        }
        Ok(())
    }
}

enum Transport {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

impl Transport {
    /// Ends the sending direction.
    fn finish(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(stream) => stream.shutdown(Shutdown::Write),
            Transport::Tls(stream) => {
                // Fails when the peer is gone, as the next step shows.
                let _ = stream.shutdown();
                stream.get_ref().shutdown(Shutdown::Write)
            }
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.read(buf),
            Transport::Tls(stream) if !stream.ssl().is_init_finished() => {
                stream.accept().map_err(|e| e.into_io_error().unwrap_or_else(io::Error::other))?;
                stream.read(buf)
            }
            Transport::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.write(buf),
            Transport::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Peer {
    stream: Transport,
    /// Of everything but an upgraded connection.
    request_deadline: Instant,
    state: State,
}

enum State {
    /// The head received so far.
    Reading(Vec<u8>),
    /// The response, how much of it is sent, and what comes then.
    Writing { output: Vec<u8>, sent: usize, then: Option<Box<dyn Upgraded>> },
    /// Another protocol.
    Upgraded(Box<dyn Upgraded>),
    /// The response is sent; the number of discarded bytes of the body.
    Discarding(usize),
}

impl Peer {
    fn deadline(&self) -> Instant {
        match &self.state {
            State::Upgraded(protocol) => protocol.deadline(),
            _ => self.request_deadline,
        }
    }

    fn is_upgraded(&self) -> bool {
        matches!(self.state, State::Upgraded(_) | State::Writing { then: Some(_), .. })
    }

    /// Progresses as far as the socket allows, or as is fair; true if there is more to do at once. An error, including
    /// the one for the regular end, closes the connection.
    fn step(
        &mut self,
        answer: &mut impl FnMut(&Http1Request<'_>) -> Http1Answer,
        local_addr: SocketAddr,
        may_upgrade: bool,
        now: Instant,
    ) -> io::Result<bool> {
        loop {
            if let State::Upgraded(protocol) = &mut self.state {
                match protocol.turn(&mut self.stream, now)? {
                    Turn::Waiting => return Ok(false),
                    Turn::Unfinished => return Ok(true),
                    Turn::Ended => {
                        self.stream.finish()?;
                        self.request_deadline = now + REQUEST_TIMEOUT;
                        self.state = State::Discarding(0);
                    }
                }
                continue;
            }
            match self.advance(answer, local_addr, may_upgrade, now) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => other?,
            }
        }
    }

    fn advance(
        &mut self,
        answer: &mut impl FnMut(&Http1Request<'_>) -> Http1Answer,
        local_addr: SocketAddr,
        may_upgrade: bool,
        now: Instant,
    ) -> io::Result<()> {
        let mut buf = [0; 2048];
        match &mut self.state {
            State::Reading(input) => {
                let n = read(&mut self.stream, &mut buf)?;
                input.extend_from_slice(&buf[..n]);
                let Some((answer, rest, with_body)) = respond(input, local_addr, answer) else { return Ok(()) };
                self.state = match answer {
                    Http1Answer::Upgrade(Upgrade { head, start }) if may_upgrade => {
                        State::Writing { output: head, sent: 0, then: Some(start(rest, now)) }
                    }
                    Http1Answer::Upgrade(_) => refusal(StatusCode::SERVICE_UNAVAILABLE).into_state(true),
                    Http1Answer::Response(response) => response.into_state(with_body),
                };
            }
            State::Writing { output, sent, then } => {
                *sent += self.stream.write(&output[*sent..])?;
                if *sent == output.len() {
                    self.state = match then.take() {
                        Some(protocol) => State::Upgraded(protocol),
                        None => {
                            self.stream.finish()?;
                            State::Discarding(0)
                        }
                    };
                }
            }
            State::Discarding(thrown) => {
                *thrown += read(&mut self.stream, &mut buf)?;
                if *thrown > MAX_BODY {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
            }
            State::Upgraded(_) => {}
        }
        Ok(())
    }
}

/// As [`Read::read`], with the end as an error.
fn read(stream: &mut Transport, buf: &mut [u8]) -> io::Result<usize> {
    match stream.read(buf)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}

fn refusal(status: StatusCode) -> Http1Response {
    Http1Response::text(status, format!("{status}\n"))
}

/// What follows a complete or invalid head, the input behind it, and whether a response has a body.
fn respond(
    input: &[u8],
    local_addr: SocketAddr,
    answer: &mut impl FnMut(&Http1Request<'_>) -> Http1Answer,
) -> Option<(Http1Answer, Vec<u8>, bool)> {
    const TOO_LARGE: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let refuse = |status| Some((Http1Answer::Response(refusal(status)), Vec::new(), true));
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let len = match request.parse(input) {
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return refuse(TOO_LARGE),
        Ok(httparse::Status::Complete(len)) => len,
        Err(_) => return refuse(StatusCode::BAD_REQUEST),
    };
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let version = request.version.unwrap_or_default();
    let request = Http1Request { method, path, query, local_addr, version, fields: request.headers };
    Some((answer(&request), input.get(len..).unwrap_or_default().to_vec(), method != "HEAD"))
}

#[cfg(test)]
mod tests;
