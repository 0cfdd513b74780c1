//! WebSockets (RFC 6455) on a port, for the demo. The protocol is tungstenite's, without a socket of its own.
//!
//! Bounded are the size of a message, what waits to be sent (one message, behind which nothing is read), the time that
//! a message may take to leave, the silence of the peer, and what is read in a turn.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use http::StatusCode;
use tungstenite::handshake::server::{create_response, write_response};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Error, Message};

use super::{Http1Answer, Http1Request, Http1Response, REQUEST_TIMEOUT, Transport, Turn, Upgrade, Upgraded};

pub use tungstenite::Message as WebSocketMessage;
pub use tungstenite::protocol::CloseFrame;
pub use tungstenite::protocol::frame::coding::CloseCode;

/// The most bytes that a message may have; a longer one closes the WebSocket with 1009.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The most bytes of a close's reason: those of a control frame, without the code.
const MAX_REASON: usize = 123;
/// After so much silence the peer gets a ping, and after twice as much the WebSocket ends.
const PING_AFTER: Duration = Duration::from_secs(30);
/// Bytes read in a turn, so that one peer does not keep the port from others.
const READ_PER_TURN: usize = 16 * 1024;
/// Replies are sent when there are so many bytes of them, or when there is nothing more to read.
const WRITE_BUFFER: usize = 16 * 1024;

/// What is behind a WebSocket.
pub trait WebSocketHandler: Send {
    /// What is sent first, if anything. A close ends the WebSocket.
    fn opened(&mut self) -> Option<Message>;
    /// The reply to a text or binary message, if any. A close ends the WebSocket.
    fn message(&mut self, message: Message) -> Option<Message>;
}

/// The answer to a request for a WebSocket, or the refusal of one that is not.
pub fn accept(request: &Http1Request<'_>, handler: impl WebSocketHandler + 'static) -> Http1Answer {
    head(request).map_or_else(
        |error| {
            let response = Http1Response::text(StatusCode::UPGRADE_REQUIRED, format!("not for a WebSocket: {error}\n"));
            let fields = vec![("upgrade", "websocket".to_owned()), ("sec-websocket-version", "13".to_owned())];
            Http1Answer::Response(Http1Response { fields, ..response })
        },
        |head| {
            let start = |input, now| -> Box<dyn Upgraded> {
                Box::new(WebSocket {
                    context: context(input),
                    handler: Box::new(handler),
                    phase: Phase::Opening,
                    blocked: false,
                    pinged: false,
                    deadline: now + PING_AFTER,
                })
            };
            Http1Answer::Upgrade(Upgrade { head, start: Box::new(start) })
        },
    )
}

/// A close with as much of the reason as fits (RFC 6455 section 5.5).
pub fn close_frame(code: CloseCode, reason: &str) -> CloseFrame {
    let end = (0..=reason.len().min(MAX_REASON)).rev().find(|&end| reason.is_char_boundary(end));
    CloseFrame { code, reason: reason[..end.unwrap_or(0)].into() }
}

/// The head of the response that accepts a request.
fn head(request: &Http1Request<'_>) -> tungstenite::Result<Vec<u8>> {
    let version = if request.version == 1 { http::Version::HTTP_11 } else { http::Version::HTTP_10 };
    let mut copy = http::Request::builder().method(request.method).version(version);
    for field in request.fields {
        copy = copy.header(field.name, field.value);
    }
    let mut head = Vec::new();
    write_response(&mut head, &create_response(&copy.body(())?)?)?;
    Ok(head)
}

fn context(input: Vec<u8>) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_PER_TURN)
        .write_buffer_size(WRITE_BUFFER)
        // Besides a message there is room for pongs.
        .max_write_buffer_size(WRITE_BUFFER + 2 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    WebSocketContext::from_partially_read(input, Role::Server, Some(config))
}

struct WebSocket {
    context: WebSocketContext,
    handler: Box<dyn WebSocketHandler>,
    phase: Phase,
    /// The socket did not take everything; nothing is read until it has.
    blocked: bool,
    /// A ping is sent, and nothing has come since.
    pinged: bool,
    deadline: Instant,
}

#[derive(PartialEq)]
enum Phase {
    Opening,
    Open,
    /// The handler has closed it; the peer's close is to come.
    Closing,
    /// The peer has broken the protocol; only our close is to be sent.
    Failed,
}

/// A stream of which a turn reads no more than its share.
struct Share<'a> {
    stream: &'a mut Transport,
    left: usize,
}

impl Read for Share<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = buf.len().min(self.left);
        let n = self.stream.read(&mut buf[..len])?;
        self.left -= n;
        Ok(n)
    }
}

impl Write for Share<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Upgraded for WebSocket {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn turn(&mut self, stream: &mut Transport, now: Instant) -> io::Result<Turn> {
        if self.deadline <= now {
            if self.blocked || self.pinged || self.phase != Phase::Open {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.pinged = true;
            self.deadline = now + PING_AFTER;
            self.send(stream, now, Message::Ping(Bytes::new()))?;
        }
        let mut share = Share { stream, left: READ_PER_TURN };
        loop {
            let result = self.advance(&mut share, now);
            match result {
                Ok(()) => {}
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                    let unfinished = share.left == 0 && !self.blocked;
                    return Ok(if unfinished { Turn::Unfinished } else { Turn::Waiting });
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(Turn::Ended),
                Err(Error::Io(e)) => return Err(e),
                Err(_) if self.phase == Phase::Failed => return Ok(Turn::Ended),
                Err(error) => self.fail(share.stream, now, &error)?,
            }
        }
    }
}

impl WebSocket {
    /// One step: what waits is sent, or a message is received and replied to.
    fn advance(&mut self, stream: &mut (impl Read + Write), now: Instant) -> tungstenite::Result<()> {
        if self.phase == Phase::Opening {
            self.phase = Phase::Open;
            if let Some(message) = self.handler.opened() {
                return self.send(stream, now, message).map_err(Error::Io);
            }
        }
        if self.blocked || self.phase == Phase::Failed {
            self.flush(stream, now)?;
        }
        if self.phase == Phase::Failed {
            return Err(Error::ConnectionClosed);
        }
        match self.context.read(stream) {
            Ok(message) => {
                if self.phase == Phase::Open {
                    self.pinged = false;
                    self.deadline = now + PING_AFTER;
                }
                let reply = match message {
                    Message::Text(_) | Message::Binary(_) if self.phase == Phase::Open => self.handler.message(message),
                    Message::Close(_) => {
                        // The reply to it is under way.
                        self.begin_end(now);
                        None
                    }
                    _ => None,
                };
                reply.map_or(Ok(()), |reply| self.send(stream, now, reply).map_err(Error::Io))
            }
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                self.flush(stream, now)?;
                Err(e.into())
            }
            Err(error) => Err(error),
        }
    }

    fn begin_end(&mut self, now: Instant) {
        self.phase = Phase::Closing;
        self.deadline = now + REQUEST_TIMEOUT;
    }

    /// Sends a message, or as much of it as the socket takes.
    fn send(&mut self, stream: &mut (impl Read + Write), now: Instant, message: Message) -> io::Result<()> {
        if message.is_close() {
            self.begin_end(now);
        }
        match self.context.write(stream, message) {
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                self.block(now);
                Ok(())
            }
            Err(Error::Io(e)) => Err(e),
            Err(error) => Err(io::Error::other(error)),
            Ok(()) => Ok(()),
        }
    }

    /// Sends what waits.
    fn flush(&mut self, stream: &mut (impl Read + Write), now: Instant) -> tungstenite::Result<()> {
        let result = self.context.flush(stream);
        match &result {
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => self.block(now),
            _ if self.blocked => {
                self.blocked = false;
                if self.phase == Phase::Open {
                    self.deadline = now + PING_AFTER;
                }
            }
            _ => {}
        }
        result
    }

    fn block(&mut self, now: Instant) {
        if !self.blocked && self.phase == Phase::Open {
            self.deadline = now + REQUEST_TIMEOUT;
        }
        self.blocked = true;
    }

    /// Tells the peer what it did wrong (RFC 6455 section 7.4.1).
    fn fail(&mut self, stream: &mut Transport, now: Instant, error: &Error) -> io::Result<()> {
        let code = match error {
            Error::Capacity(_) => CloseCode::Size,
            Error::Utf8(_) => CloseCode::Invalid,
            _ => CloseCode::Protocol,
        };
        self.begin_end(now);
        self.phase = Phase::Failed;
        match self.context.close(stream, Some(close_frame(code, &error.to_string()))) {
            Err(Error::Io(e)) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            // Closed already, or under way.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Silent;

    impl WebSocketHandler for Silent {
        fn opened(&mut self) -> Option<Message> {
            None
        }

        fn message(&mut self, _: Message) -> Option<Message> {
            None
        }
    }

    /// A WebSocket that opened at `now`, its socket, and the peer's.
    fn open(now: Instant) -> (WebSocket, Transport, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let socket = WebSocket {
            context: context(Vec::new()),
            handler: Box::new(Silent),
            phase: Phase::Opening,
            blocked: false,
            pinged: false,
            deadline: now + PING_AFTER,
        };
        (socket, Transport::Plain(mio::net::TcpStream::from_std(stream)), peer)
    }

    fn receive<const N: usize>(peer: &mut std::net::TcpStream) -> [u8; N] {
        let mut bytes = [0; N];
        peer.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_silent_peer_gets_a_ping_and_then_the_end() {
        const PING: [u8; 2] = [0x89, 0];
        let begun = crate::net::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let (mut socket, mut stream, mut peer) = open(begun);
        assert!(matches!(socket.turn(&mut stream, at(29)), Ok(Turn::Waiting)));
        assert_eq!(socket.deadline(), at(30));
        assert!(matches!(socket.turn(&mut stream, at(30)), Ok(Turn::Waiting)));
        assert_eq!((receive(&mut peer), socket.deadline()), (PING, at(60)));
        // Its pong, masked.
        peer.write_all(&[0x8a, 0x80, 1, 2, 3, 4]).unwrap();
        while socket.pinged {
            socket.turn(&mut stream, at(40)).unwrap();
        }
        assert_eq!(socket.deadline(), at(70));
        assert!(matches!(socket.turn(&mut stream, at(70)), Ok(Turn::Waiting)));
        assert_eq!(receive(&mut peer), PING);
        assert_eq!(socket.turn(&mut stream, at(100)).err().unwrap().kind(), io::ErrorKind::TimedOut);
    }
}
