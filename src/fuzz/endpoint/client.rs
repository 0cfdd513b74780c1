//! The application of our client: actions of a script, and its own.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};

use crate::endpoint::{Endpoint, Event, RequestHead};
use crate::error::ErrorCode;
use crate::fuzz::input::Input;
use crate::fuzz::peer::{CLIENT, SERVER};
use crate::h3::{Priority, Recv};
use crate::transport::table::{ConnId, StreamId};
use crate::turn::Application;

/// Connections of one script.
const MAX_CONNECTIONS: usize = 3;
/// Reads of one stream in a row.
const MAX_READS: usize = 64;

#[derive(Default)]
pub(super) struct Client {
    pub(super) connections: Vec<ConnId>,
    pub(super) streams: Vec<StreamId>,
    pub(super) sessions: Vec<StreamId>,
    /// Requests for sessions without a response.
    asked: Vec<StreamId>,
    /// Leaves received data where it is.
    pub(super) paused: bool,
    pub(super) opened: usize,
    pub(super) closed: usize,
}

impl Application for Client {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Response(id, head) if self.asked.contains(&id) && head.status.is_success() => {
                self.asked.retain(|asked| *asked != id);
                self.sessions.push(id);
            }
            Event::SessionStream { stream, .. } => self.streams.push(stream),
            Event::SessionClosed(id, _) => self.sessions.retain(|session| *session != id),
            Event::Ready(id) if !self.paused => self.read(now, id, endpoint),
            Event::Closed(conn, _) => {
                self.closed += 1;
                self.connections.retain(|known| *known != conn);
                for streams in [&mut self.streams, &mut self.sessions, &mut self.asked] {
                    streams.retain(|stream| stream.conn != conn);
                }
            }
            _ => {}
        }
    }
}

impl Client {
    fn read(&mut self, now: Instant, id: StreamId, endpoint: &mut Endpoint) {
        let Some(mut stream) = endpoint.stream(now, id) else { return };
        let mut buf = [0; 4096];
        for _ in 0..MAX_READS {
            match stream.read(&mut buf) {
                Ok(Recv::Data(len)) => assert!(len <= buf.len()),
                Ok(Recv::Pending | Recv::Finished) => return,
                Err(_) => break,
            }
        }
    }

    pub(super) fn connect(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.opened < MAX_CONNECTIONS
            && let Ok(conn) = endpoint.connect(now, "localhost", CLIENT, SERVER, None)
        {
            self.opened += 1;
            self.connections.push(conn);
        }
    }

    /// One operation on the engine.
    pub(super) fn act(&mut self, now: Instant, endpoint: &mut Endpoint, input: &mut Input<'_>) {
        match input.byte() % 12 {
            0 => self.connect(now, endpoint),
            1 => self.request(endpoint, input),
            2 => self.ask_for_session(endpoint, input),
            3 => self.write(now, endpoint, input),
            4 => self.end(now, endpoint, input),
            5 => self.use_session(now, endpoint, input),
            6 => self.send_datagram(now, endpoint, input),
            7 => {
                self.paused = !self.paused;
                for id in self.streams.clone() {
                    self.read(now, id, endpoint);
                }
            }
            8 => {
                if let Some(conn) = pick(&self.connections, input) {
                    let local = (CLIENT.ip(), 5001 + u16::from(input.byte())).into();
                    let _ = endpoint.migrate(conn, local);
                }
            }
            9 => {
                if let Some(conn) = pick(&self.connections, input) {
                    endpoint.close(conn, ErrorCode(u64::from(input.byte())), input.short());
                }
            }
            10 => {
                if let Some(id) = pick(&self.streams, input) {
                    endpoint.release(now, id);
                    self.streams.retain(|stream| *stream != id);
                }
            }
            _ => {
                if let Some(id) = pick(&self.streams, input)
                    && let Some(mut stream) = endpoint.stream(now, id)
                {
                    stream.set_priority(Priority { urgency: input.byte(), incremental: input.byte() & 1 != 0 });
                }
            }
        }
    }

    fn request(&mut self, endpoint: &mut Endpoint, input: &mut Input<'_>) {
        const PATHS: [&str; 10] = [
            "/",
            "/api/users/42",
            "/api/echo",
            "/stream/100",
            "/stream/300000",
            "/upload",
            "/trailers/demo",
            "/slow?delay=200",
            "/h3dgram/echo",
            "/status/404",
        ];
        const METHODS: [&str; 5] = ["GET", "POST", "HEAD", "OPTIONS", "CONNECT"];
        let Some(conn) = pick(&self.connections, input) else { return };
        let method = Method::from_bytes(input.choose(&METHODS).as_bytes()).expect("a token");
        let path = input.choose(&PATHS);
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(input.short()) {
            headers.insert("x-fuzz", value);
        }
        let head = head(method, path, None, headers);
        if let Ok(id) = endpoint.request(conn, &head, input.byte() & 1 != 0) {
            self.streams.push(id);
        }
    }

    fn ask_for_session(&mut self, endpoint: &mut Endpoint, input: &mut Input<'_>) {
        const PATHS: [&str; 7] = [
            "/wt/echo",
            "/wt/echo?open=3",
            "/wt/hash",
            "/wt/close?code=7&reason=x",
            "/wt/close?on=datagram&streams=echo",
            "/wt/reject?status=404",
            "/",
        ];
        let Some(conn) = pick(&self.connections, input) else { return };
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static("https://localhost"));
        let head = head(Method::CONNECT, input.choose(&PATHS), Some("webtransport"), headers);
        if let Ok(id) = endpoint.request(conn, &head, false) {
            self.asked.push(id);
            self.streams.push(id);
        }
    }

    fn write(&mut self, now: Instant, endpoint: &mut Endpoint, input: &mut Input<'_>) {
        let Some(id) = pick(&self.streams, input) else { return };
        let Some(mut stream) = endpoint.stream(now, id) else { return };
        let kind = input.byte();
        let mut bytes = match kind & 4 {
            0 => Bytes::copy_from_slice(input.short()),
            _ => Bytes::from(vec![kind; usize::from(input.u16())]),
        };
        let len = bytes.len();
        let _ = match kind % 4 {
            0 => stream.write(&bytes).map(|n| assert!(n <= len)),
            1 => stream.finish_with(&mut bytes).map(|done| assert!(!done || bytes.is_empty())),
            2 => stream.finish(),
            _ => stream.write_bytes(&mut bytes).map(|n| assert_eq!(n + bytes.len(), len)),
        };
    }

    fn end(&mut self, now: Instant, endpoint: &mut Endpoint, input: &mut Input<'_>) {
        let Some(id) = pick(&self.streams, input) else { return };
        let Some(mut stream) = endpoint.stream(now, id) else { return };
        let code = ErrorCode::webtransport(u32::from(input.byte()));
        match input.byte() % 4 {
            0 => stream.reset(code),
            1 => drop(stream.reset_send(code)),
            2 => drop(stream.stop(code)),
            _ => drop(stream.finish_with_trailers(&HeaderMap::new())),
        }
    }

    fn use_session(&mut self, now: Instant, endpoint: &mut Endpoint, input: &mut Input<'_>) {
        let Some(id) = pick(&self.sessions, input) else { return };
        let Some(mut session) = endpoint.session(now, id) else { return };
        match input.byte() % 5 {
            0 => self.streams.extend(session.open_bidi().ok()),
            1 => self.streams.extend(session.open_uni().ok()),
            2 => session.drain(),
            3 => session.close(u32::from(input.byte()), &String::from_utf8_lossy(input.short())),
            _ => drop(session.send_datagram(input.short())),
        }
    }

    fn send_datagram(&mut self, now: Instant, endpoint: &mut Endpoint, input: &mut Input<'_>) {
        if let Some(conn) = pick(&self.connections, input)
            && let Some(mut datagrams) = endpoint.datagrams(conn)
        {
            let _ = datagrams.send(input.short());
        } else if let Some(id) = pick(&self.streams, input)
            && let Some(mut stream) = endpoint.stream(now, id)
        {
            let _ = stream.send_datagram(input.short());
        }
    }
}

fn head(method: Method, path: &str, protocol: Option<&str>, headers: HeaderMap) -> RequestHead {
    RequestHead {
        method,
        scheme: "https".to_owned(),
        authority: "localhost".to_owned(),
        path: path.to_owned(),
        protocol: protocol.map(str::to_owned),
        headers,
    }
}

/// One of `all`, the latest for 0.
pub(super) fn pick<T: Copy>(all: &[T], input: &mut Input<'_>) -> Option<T> {
    let back = usize::from(input.byte()) % all.len().max(1);
    all.iter().rev().nth(back).copied()
}
