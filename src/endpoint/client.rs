//! A client's calls of the endpoint: connections, requests, tickets, migration.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use http::{HeaderMap, Method};

use super::Endpoint;
use super::connection::Connection;
use super::core::{Cx, Role};
use crate::error::{ConnectError, MigrateError};
use crate::transport::Transport;
use crate::transport::table::{ConnId, StreamId};

/// The head of a client's request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The scheme: `https`.
    pub scheme: String,
    /// Host and port.
    pub authority: String,
    /// Path and query, percent-encoded.
    pub path: String,
    /// `:protocol` of an extended CONNECT (RFC 9220); `webtransport` asks for a session.
    pub protocol: Option<String>,
    /// The header fields; connection-specific ones (RFC 9114 section 4.2) are omitted.
    pub headers: HeaderMap,
}

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The connection has ended, or is not ready for requests yet.
    #[error("the connection cannot carry requests")]
    Closed,
    /// No stream credit for now: [`Event::RequestsPossible`](super::Event::RequestsPossible) follows when there is.
    #[error("no request can be sent on this connection now")]
    Blocked,
    /// The handshake chose another protocol than HTTP/3.
    #[error("the connection does not speak HTTP/3")]
    NoHttp3,
    /// The server sent GOAWAY (RFC 9114 section 5.2): a new connection is needed.
    #[error("the server accepts no more requests on this connection")]
    GoingAway,
    /// The head is larger than the congestion window, and heads are sent in one piece.
    #[error("the request's head has {size} bytes, more than the {limit} that fit")]
    HeadTooLarge {
        /// Bytes of its names and values.
        size: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// The head cannot be sent.
    #[error("the request's head cannot be sent")]
    Head,
    /// The server does not support WebTransport.
    #[error("the server does not support WebTransport")]
    NoWebTransport,
    /// A session opened a bidirectional stream on the connection, which accepts no more requests after that.
    #[error("a connection on which a session opened a stream accepts no more requests")]
    HasSessions,
}

impl Endpoint {
    /// Opens a connection from the local address `local` to `remote`. The certificate must be for `host`: a name, or
    /// an address. `ticket` resumes an [earlier session](Endpoint::ticket).
    ///
    /// # Errors
    /// [`ConnectError::Ticket`] for an invalid ticket, or another error of quiche.
    pub fn connect(
        &mut self,
        now: Instant,
        host: &str,
        local: SocketAddr,
        remote: SocketAddr,
        ticket: Option<&[u8]>,
    ) -> Result<ConnId, ConnectError> {
        let core = &mut self.core;
        let (cid, _) = core.cids.next();
        let ip: Option<IpAddr> = host.parse().ok();
        // quiche checks certificates for names only.
        let name = if ip.is_some() { None } else { Some(host) };
        let mut transport = Transport::connect(name, cid, local, remote, &mut core.quic)?;
        let logs = core.logs.observe(&core.settings.transport, &mut transport, cid, "client");
        if let Some(ticket) = ticket {
            transport.set_session(ticket)?;
        }
        core.stats.connections += 1;
        let deadline = now + core.settings.transport.handshake_timeout;
        let mut conn = Box::new(Connection::new(transport, Role::Client, now, deadline));
        conn.requests.server_ip = ip.map(Box::new);
        conn.handshake.logs = Some(Box::new(logs));
        let id = self.table.insert(cid, conn);
        self.core.handshakes.begin(remote, id);
        self.mark(id);
        log::debug!("{id:?}: connecting to {remote}");
        Ok(id)
    }

    /// Sends a request; with `end` it has no body, otherwise its body is written to the stream.
    /// [`Event::Response`](super::Event::Response) reports the response.
    ///
    /// # Errors
    /// [`RequestError::Blocked`] if there is no credit now; the other errors are permanent.
    pub fn request(&mut self, id: ConnId, head: &RequestHead, end: bool) -> Result<StreamId, RequestError> {
        // A request does not depend on the time.
        let conn = self.table.get_mut(id).ok_or(RequestError::Closed)?;
        let mut cx = Cx { now: self.now, conn: id, core: &mut self.core };
        conn.mark(&mut cx);
        conn.request(&mut cx, head, end)
    }

    /// The TLS session that a later connection to the same server can resume, with its transport parameters. Known
    /// some time after the handshake.
    pub fn ticket(&self, id: ConnId) -> Option<&[u8]> {
        self.table.get(id)?.transport.session()
    }

    /// Whether requests sent now are part of the first flight (0-RTT), where they can be replayed.
    pub fn is_early(&self, id: ConnId) -> bool {
        self.table.get(id).is_some_and(|conn| conn.is_early())
    }

    /// Whether a handshake resumed a TLS session.
    pub fn is_resumed(&self, id: ConnId) -> bool {
        self.table.get(id).is_some_and(|conn| conn.transport.is_resumed())
    }

    /// Whether the server accepted the first flight's data (0-RTT).
    pub fn is_early_accepted(&self, id: ConnId) -> bool {
        self.table.get(id).is_some_and(|conn| conn.transport.is_early_accepted())
    }

    /// The server's address.
    pub fn peer_addr(&self, id: ConnId) -> Option<SocketAddr> {
        self.table.get(id).map(|conn| conn.transport.peer_addr())
    }

    /// The peer's certificate (DER), once it is known: the server's, or on a server that of a client, which has one only if
    /// the [settings](crate::ServerConfig::client_ca) require it.
    pub fn peer_certificate(&self, id: ConnId) -> Option<&[u8]> {
        self.table.get(id)?.transport.peer_certificate()
    }

    /// Whether a connection can be migrated now.
    pub fn can_migrate(&self, id: ConnId) -> bool {
        self.table.get(id).is_some_and(|conn| conn.transport.can_migrate())
    }

    /// Whether the server of a connection allows migration, as far as is known (RFC 9000 section 18.2).
    pub fn allows_migration(&self, id: ConnId) -> bool {
        self.table.get(id).is_some_and(|conn| conn.transport.allows_migration())
    }

    /// Migrates a connection to another local address (RFC 9000 section 9). Packets to the old one are lost.
    ///
    /// # Errors
    /// [`MigrateError::Forbidden`] if the server allows no migration, [`MigrateError::NoConnectionId`] without a spare
    /// connection id of the server, or another error of quiche, e.g.
    /// before the handshake is complete.
    pub fn migrate(&mut self, id: ConnId, local: SocketAddr) -> Result<(), MigrateError> {
        let conn = self.table.get_mut(id).ok_or(MigrateError::Closed)?;
        conn.transport.migrate(local)?;
        self.mark(id);
        Ok(())
    }
}
