//! A small HTTP/1.1 server on its own thread, for the admin port and the redirect port; with TLS if it gets a context.
//!
//! Everything is bounded: connections, the size of a head, time. It serves one request per connection and ignores
//! request bodies. tiny_http is not used because (as of 0.12) it allocates as much as a `content-length` claims, and
//! aborts the process if that fails.

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
    /// the method and the path of each request. `name` is for errors, logs and the thread.
    ///
    /// # Errors
    /// An address that cannot be bound, or another error of the system.
    pub fn open(
        name: &'static str,
        addr: SocketAddr,
        tls: Option<TlsContext>,
        answer: impl FnMut(&str, &str) -> Http1Response + Send + 'static,
    ) -> Result<Self> {
        let bind = |addr| TcpListener::bind(addr).map_err(|source| Error::Port { name, addr, source });
        let mut listener = bind_any(addr, bind)?;
        let addr = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        let stop = Arc::<AtomicBool>::default();
        let mut port = Port { name, poll, listener, tls, peers: Slab::new(), stop: stop.clone(), answer };
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
    poll: Poll,
    listener: TcpListener,
    tls: Option<TlsContext>,
    peers: Slab<Peer>,
    stop: Arc<AtomicBool>,
    answer: F,
}

impl<F: FnMut(&str, &str) -> Http1Response> Port<F> {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        loop {
            let now = super::now();
            let deadline = self.peers.iter().map(|(_, peer)| peer.deadline).min();
            match self.poll.poll(&mut events, deadline.map(|at| at.saturating_duration_since(now))) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            if self.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            for Token(index) in events.iter().map(|event| event.token()) {
                if self.peers.get_mut(index).is_some_and(|peer| peer.step(&mut self.answer).is_err()) {
                    self.peers.remove(index);
                }
            }
            let now = super::now();
            self.peers.retain(|_, peer| peer.deadline > now);
            // In every turn, as a slot may have become free for a waiting connection.
            self.accept(now)?;
        }
    }

    fn accept(&mut self, now: Instant) -> io::Result<()> {
        let limit = if self.tls.is_some() { MAX_TLS_CONNECTIONS } else { MAX_CONNECTIONS };
        while self.peers.len() < limit {
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
            slot.insert(Peer { stream, deadline: now + REQUEST_TIMEOUT, state: State::Reading(Vec::new()) });
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
    deadline: Instant,
    state: State,
}

enum State {
    /// The head received so far.
    Reading(Vec<u8>),
    /// The response, and how much of it is sent.
    Writing(Vec<u8>, usize),
    /// The response is sent; the number of discarded bytes of the body.
    Discarding(usize),
}

impl Peer {
    /// Progresses as far as the socket allows. An error, including the one for the regular end, closes the connection.
    fn step(&mut self, answer: &mut impl FnMut(&str, &str) -> Http1Response) -> io::Result<()> {
        loop {
            match self.advance(answer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => other?,
            }
        }
    }

    fn advance(&mut self, answer: &mut impl FnMut(&str, &str) -> Http1Response) -> io::Result<()> {
        let mut buf = [0; 2048];
        match &mut self.state {
            State::Reading(head) => {
                let n = read(&mut self.stream, &mut buf)?;
                head.extend_from_slice(&buf[..n]);
                if let Some(output) = respond(head, answer) {
                    self.state = State::Writing(output, 0);
                }
            }
            State::Writing(output, sent) => {
                *sent += self.stream.write(&output[*sent..])?;
                if *sent == output.len() {
                    self.stream.finish()?;
                    self.state = State::Discarding(0);
                }
            }
            State::Discarding(thrown) => {
                *thrown += read(&mut self.stream, &mut buf)?;
                if *thrown > MAX_BODY {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
            }
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

/// The response to a complete or invalid head.
fn respond(head: &[u8], answer: &mut impl FnMut(&str, &str) -> Http1Response) -> Option<Vec<u8>> {
    const TOO_LARGE: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let refuse = |status| Some(Http1Response::text(status, format!("{status}\n")).serialize(true));
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Partial) if head.len() < MAX_HEAD => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return refuse(TOO_LARGE),
        Ok(httparse::Status::Complete(_)) => {}
        Err(_) => return refuse(StatusCode::BAD_REQUEST),
    }
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    Some(answer(method, path).serialize(method != "HEAD"))
}

#[cfg(test)]
mod tests;
