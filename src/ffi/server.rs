//! The driver of a server: an endpoint and its loop, without handlers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::HeaderMap;

use super::driver::{Driver, Raw};
use super::stream::Stream;
use crate::app::{ClientRequest, SessionOptions};
use crate::config::ServerConfig;
use crate::endpoint::{Endpoint, Event};
use crate::error::{ConfigError, ErrorCode, Result, SessionError};
use crate::net::{self, EventLoop, UdpSocket, Waker};
use crate::observe::prometheus::Snapshot;
use crate::transport::table::StreamId;

/// Time for sessions to end by themselves in a shutdown, unless half of the shutdown timeout is shorter.
const SESSION_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Server {
    endpoint: Endpoint,
    event_loop: EventLoop,
    shutdown_timeout: Duration,
    /// When the shutdown gives up waiting for responses, once it has begun.
    deadline: Option<Instant>,
    /// When the shutdown closes the sessions.
    session_deadline: Option<Instant>,
}

impl Server {
    pub(super) fn bind(addr: SocketAddr, config: ServerConfig) -> Result<Self> {
        let (buffer, shutdown_timeout) = (config.transport.socket_buffer, config.shutdown_timeout);
        let endpoint = Endpoint::server(config, net::now(), net::wall_clock())?;
        // Signals belong to the program that the library is in.
        let event_loop = EventLoop::new(UdpSocket::bind(addr, buffer)?, false)?;
        Ok(Server { endpoint, event_loop, shutdown_timeout, deadline: None, session_deadline: None })
    }

    fn run(&mut self, now: Instant, raw: &mut Vec<Raw>) -> Result<()> {
        let mut collect = |_: Instant, event: Event, _: &mut Endpoint| raw.push(Raw::Event(event));
        Ok(self.event_loop.turn(now, &mut self.endpoint, &mut collect)?)
    }
}

impl Driver for Server {
    fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn local_addr(&self) -> SocketAddr {
        self.event_loop.local_addr()
    }

    fn waker(&self) -> Waker {
        self.event_loop.waker()
    }

    fn turn(&mut self, until: Option<Instant>, raw: &mut Vec<Raw>) -> Result<()> {
        let until = [until, self.deadline, self.session_deadline].into_iter().flatten().min();
        self.event_loop.sleep(net::now(), &self.endpoint, until)?;
        let now = net::now();
        if self.session_deadline.is_some_and(|at| at <= now) {
            self.session_deadline = None;
            self.endpoint.close_sessions(now, 0, "shutting down");
        }
        self.run(now, raw)
    }

    fn release(&mut self, now: Instant, _: u64, stream: &Stream, _: Option<StreamId>) {
        if let Some(at) = stream.at {
            self.endpoint.release(now, at);
        }
    }

    // The functions for these return an error on a server.
    fn request(&mut self, _: u64, _: ClientRequest) {}

    fn connect(&mut self, _: u64, _: SessionOptions) {}

    fn open_datagrams(&mut self, _: u64, _: &str) {}

    fn accept(&mut self, now: Instant, at: StreamId, headers: HeaderMap) -> Result<(), SessionError> {
        self.endpoint.accept_session(now, at, headers)
    }

    fn open_stream(&mut self, now: Instant, session: StreamId, bidi: bool) -> Result<StreamId, SessionError> {
        let mut session = self.endpoint.session(now, session).ok_or(SessionError::Closed)?;
        if bidi { session.open_bidi() } else { session.open_uni() }
    }

    fn close_session(&mut self, now: Instant, at: StreamId, code: u32, reason: &str) {
        if let Some(mut session) = self.endpoint.session(now, at) {
            session.close(code, reason);
        }
    }

    fn drain_session(&mut self, now: Instant, at: StreamId) {
        if let Some(mut session) = self.endpoint.session(now, at) {
            session.drain();
        }
    }

    fn shutdown(&mut self, now: Instant) {
        if self.deadline.is_none() {
            self.deadline = Some(now + self.shutdown_timeout);
            self.session_deadline = Some(now + SESSION_SHUTDOWN_TIMEOUT.min(self.shutdown_timeout / 2));
            self.endpoint.shutdown();
        }
    }

    fn is_shut_down(&mut self) -> bool {
        let Some(deadline) = self.deadline else { return false };
        if !self.endpoint.is_shut_down() && net::now() >= deadline {
            log::warn!("{} connections did not end in time", self.endpoint.connection_count());
            self.stop();
            return true;
        }
        self.endpoint.is_shut_down()
    }

    fn stop(&mut self) {
        self.endpoint.close_all(ErrorCode::H3_NO_ERROR, b"shutting down");
        if let Err(error) = self.run(net::now(), &mut Vec::new()) {
            log::debug!("the last packets were not sent: {error}");
        }
    }

    fn reload(&mut self) -> Result<(), ConfigError> {
        self.endpoint.reload()
    }

    fn snapshot(&mut self) -> Snapshot {
        Snapshot {
            stats: self.endpoint.stats(),
            distributions: self.endpoint.distributions(),
            event_loop: self.event_loop.stats(),
            connections: self.endpoint.connection_count(),
            handshakes: self.endpoint.handshake_count(),
            sessions: self.endpoint.session_count(),
            shutting_down: self.endpoint.is_shutting_down(),
            ..Snapshot::default()
        }
    }
}
