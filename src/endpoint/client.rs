//! A client's side: connections out, requests, their answers, and sessions asked for.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use http::{HeaderMap, Method};
use quiche::h3;
use ring::digest;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::conn::{Conn, Role, push_ready};
use super::{Core, Endpoint, Event, qlog};
use crate::config::ClientConfig;
use crate::error::{ConnectError, ErrorCode, MigrateError, StreamError, Violation};
use crate::h3::{Priority, StreamState, validate_response};
use crate::quic::table::{ConnId, StreamId};
use crate::wt::{Flow, SessionState};

/// RFC 8446 section 6: the alert for a certificate that does not do, as a QUIC error (RFC 9001 section 4.8).
const BAD_CERTIFICATE: u64 = 0x100 + 42;
/// Informational responses in front of a final one that are borne.
const MAX_INFORMATIONAL: u8 = 32;

/// A request's head as a client sends it.
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
    /// The header fields; connection-specific ones (RFC 9114 section 4.2) are left out.
    pub headers: HeaderMap,
}

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The connection is gone, or has not got that far.
    #[error("the connection cannot take requests")]
    Closed,
    /// No room for now: [`Event::RequestsPossible`] tells when there is.
    #[error("no request can be sent on this connection now")]
    Blocked,
    /// The handshake chose another protocol than HTTP/3.
    #[error("the connection does not speak HTTP/3")]
    NoHttp3,
    /// The server goes away (RFC 9114 section 5.2): a new connection is needed.
    #[error("the server takes no more requests on this connection")]
    GoingAway,
    /// The head does not fit into what the server or quiche takes.
    #[error("the request's head cannot be sent")]
    Head,
    /// The server does no WebTransport.
    #[error("the server does no WebTransport")]
    NoWebTransport,
    /// The connection has streams of sessions, whose ids the request's stream could not avoid.
    #[error("a connection with sessions takes no further requests")]
    HasSessions,
}

/// What a client asks of a server's certificate beyond what quiche checks.
#[derive(Debug, Default)]
pub(super) struct Trust {
    hashes: Vec<[u8; 32]>,
    checks_authority: bool,
}

impl Trust {
    pub(super) fn of(config: &ClientConfig) -> Self {
        Trust { hashes: config.cert_hashes.clone(), checks_authority: config.checks_authority() }
    }
}

/// What a client's connection waits for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// A request could not be sent: the application wants to know when one can.
    wants_requests: bool,
    /// The server's address, where it is asked for by address: its certificate must name it.
    ip: Option<IpAddr>,
    going_away: bool,
    /// What could not be sent asks for a session, which needs the server's SETTINGS.
    wants_settings: bool,
}

impl Endpoint {
    /// Begins a connection from our address `local` to `remote`. `host` is whom the certificate must be for: a name, or
    /// an address. `ticket` resumes an [earlier session](Endpoint::ticket).
    ///
    /// # Errors
    /// [`ConnectError::Ticket`] for a ticket that cannot be read, and what else quiche refuses.
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
        // quiche asks certificates for names only.
        let name = if ip.is_some() { None } else { Some(host) };
        let scid = cid.to_quiche();
        let quic = quiche::connect_with_buffer_factory(name, &scid, local, remote, &mut core.quic);
        let mut quic = quic.map_err(ConnectError::refused)?;
        core.observe(&mut quic, cid, "client");
        if let Some(ticket) = ticket {
            quic.set_session(ticket).map_err(ConnectError::ticket)?;
        }
        core.stats.connections += 1;
        core.handshakes += 1;
        let deadline = now + core.settings.transport.handshake_timeout;
        let mut conn = Box::new(Conn::new(quic, Role::Client, remote, deadline));
        conn.asked.ip = ip;
        let id = self.table.insert(cid, conn);
        if let Some(conn) = self.table.get_mut(id) {
            self.core.mark(conn, id);
        }
        log::debug!("{id:?}: connecting to {remote}");
        Ok(id)
    }

    /// Sends a request; with `end` it has no body, otherwise its body is written to the stream.
    /// [`Event::Response`] tells of the answer.
    ///
    /// # Errors
    /// [`RequestError::Blocked`] when there is no room or credit now, or others for good.
    pub fn request(&mut self, id: ConnId, head: &RequestHead, end: bool) -> Result<StreamId, RequestError> {
        let conn = self.table.get_mut(id).ok_or(RequestError::Closed)?;
        self.core.mark(conn, id);
        conn.request(id, head, end, &mut self.core)
    }

    /// The session that a later connection to the same server can resume, with the server's transport parameters. Known
    /// some time after the handshake.
    pub fn ticket(&self, id: ConnId) -> Option<&[u8]> {
        self.table.get(id)?.quic.session()
    }

    /// Whether requests that are sent now go in the first flight (0-RTT), where they can be replayed.
    pub fn is_early(&self, id: ConnId) -> bool {
        self.table.get(id).is_some_and(|conn| conn.is_early())
    }

    /// Whether a handshake resumed a session.
    pub fn is_resumed(&self, id: ConnId) -> bool {
        self.table.get(id).is_some_and(|conn| conn.quic.is_resumed())
    }

    /// Whether the server took what was sent in the first flight (0-RTT).
    pub fn is_early_accepted(&self, id: ConnId) -> bool {
        self.table.get(id).is_some_and(|conn| conn.is_early_accepted())
    }

    /// The server's address.
    pub fn peer_addr(&self, id: ConnId) -> Option<SocketAddr> {
        self.table.get(id).map(|conn| conn.peer())
    }

    /// The server's certificate (DER), once it is known.
    pub fn peer_certificate(&self, id: ConnId) -> Option<&[u8]> {
        self.table.get(id)?.quic.peer_cert()
    }

    /// Moves a connection to another address of ours (RFC 9000 section 9). Packets that come to the old one are lost.
    ///
    /// # Errors
    /// [`MigrateError::NoConnectionId`] without a spare connection id of the server's, and what else quiche refuses, as
    /// before the handshake is complete.
    pub fn migrate(&mut self, id: ConnId, local: SocketAddr) -> Result<(), MigrateError> {
        let conn = self.table.get_mut(id).ok_or(MigrateError::Closed)?;
        let old = conn.quic.path_stats().find(|path| path.active).map(|path| path.local_addr);
        conn.quic.migrate_source(local).map_err(MigrateError::refused)?;
        if let Some(old) = old.filter(|old| *old != local) {
            let peer = conn.peer();
            conn.leave_path(old, peer);
        }
        self.core.mark(conn, id);
        Ok(())
    }
}

impl Conn {
    fn request(
        &mut self,
        id: ConnId,
        head: &RequestHead,
        end: bool,
        core: &mut Core,
    ) -> Result<StreamId, RequestError> {
        let is_session = head.protocol.is_some();
        if self.quic.is_closed() || self.quic.is_draining() || self.role == Role::Server {
            return Err(RequestError::Closed);
        }
        if self.asked.going_away {
            return Err(RequestError::GoingAway);
        }
        if self.wt.as_ref().is_some_and(|wt| wt.streams.values().any(|s| !s.from_peer)) {
            return Err(RequestError::HasSessions);
        }
        let Some(h3) = &mut self.h3 else {
            if self.has_begun() {
                return Err(RequestError::NoHttp3);
            }
            self.asked.wants_requests = true;
            return Err(RequestError::Blocked);
        };
        if is_session {
            // RFC 9220: not before the server has said that it does.
            if h3.peer_settings_raw().is_none() {
                (self.asked.wants_requests, self.asked.wants_settings) = (true, true);
                return Err(RequestError::Blocked);
            }
            if self.wt.is_none() || !h3.extended_connect_enabled_by_peer() {
                return Err(RequestError::NoWebTransport);
            }
        }
        let mut fields = vec![h3::HeaderRef::new(b":method", head.method.as_str().as_bytes())];
        if let Some(protocol) = &head.protocol {
            fields.push(h3::HeaderRef::new(b":protocol", protocol.as_bytes()));
        }
        fields.push(h3::HeaderRef::new(b":scheme", head.scheme.as_bytes()));
        fields.push(h3::HeaderRef::new(b":authority", head.authority.as_bytes()));
        fields.push(h3::HeaderRef::new(b":path", head.path.as_bytes()));
        let usable = head.headers.iter().filter(|(name, _)| !crate::h3::is_hop_by_hop(name));
        fields.extend(usable.map(|(name, value)| h3::HeaderRef::new(name.as_str().as_bytes(), value.as_bytes())));
        let end = end && !is_session;
        let stream = match h3.send_request(&mut self.quic, &fields, end) {
            Ok(stream) => stream,
            Err(h3::Error::StreamBlocked | h3::Error::Done)
            | Err(h3::Error::TransportError(quiche::Error::StreamLimit | quiche::Error::Done)) => {
                self.asked.wants_requests = true;
                return Err(RequestError::Blocked);
            }
            Err(h3::Error::FrameUnexpected) => return Err(RequestError::GoingAway),
            Err(e) => {
                log::debug!("{id:?}: a request cannot be sent: {e}");
                return Err(RequestError::Head);
            }
        };
        if let Some(wt) = &mut self.wt {
            wt.on_request(stream);
        }
        if is_session {
            // See `Conn::extra_sends`; it fails only for a stream that is gone.
            let _ = self.quic.stream_priority(stream, Priority::default().quiche_urgency(), true);
        }
        self.had_request |= !is_session;
        self.streams.insert(stream, StreamState::asked(head.method == Method::HEAD, end, is_session));
        core.stats.requests += 1;
        Ok(StreamId { conn: id, id: stream })
    }

    /// Tells when requests can be sent that could not.
    pub(super) fn continue_asking(&mut self, id: ConnId, core: &mut Core) {
        if self.role == Role::Server || !self.asked.wants_requests {
            return;
        }
        let Some(h3) = &self.h3 else { return };
        let known = !self.asked.wants_settings || h3.peer_settings_raw().is_some();
        if known && self.quic.peer_streams_left_bidi() > 0 {
            self.asked.wants_settings = false;
            self.asked.wants_requests = false;
            core.events.push_back(Event::RequestsPossible(id));
        }
    }

    /// The head of a response, an informational one, or trailers.
    pub(super) fn on_response_fields(
        &mut self,
        now: Instant,
        id: StreamId,
        list: &[h3::Header],
        more: bool,
        core: &mut Core,
    ) {
        let Some(state) = self.streams.get_mut(&id.id) else { return };
        if !state.is_awaiting() {
            return self.on_trailers(id, list, core);
        }
        let limits = &core.settings.request_limits;
        let head = match validate_response(list, limits) {
            Ok(head) => head,
            Err(violation) => return self.fail(id, violation, core),
        };
        if head.status.is_informational() {
            if state.on_informational() > MAX_INFORMATIONAL || !more {
                let violation = if more { Violation::TooManyInformational } else { Violation::Incomplete };
                return self.fail(id, violation, core);
            }
            core.events.push_back(Event::Informational(id, Box::new(head)));
            return;
        }
        let is_connect = state.is_connect();
        if let Err(violation) = state.on_response(&head) {
            return self.fail(id, violation, core);
        }
        if !more && let Err(violation) = state.on_finished() {
            return self.fail(id, violation, core);
        }
        let opened = is_connect && head.status.is_success() && more;
        if opened {
            self.open_session(now, id, core);
        } else if is_connect {
            state.connect_refused();
        }
        core.events.push_back(Event::Response(id, Box::new(head)));
        if opened {
            self.deliver_early(now, id, core);
            self.read_capsules(now, id, core);
        } else {
            self.announce(now, id, core);
        }
    }

    /// The server accepted a session that we asked for.
    fn open_session(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        let ours = core.settings.webtransport.limits();
        let Some(wt) = &mut self.wt else { return };
        let flow = wt.peer.filter(|peer| ours.any() && peer.limits.any()).map(|peer| Flow::new(ours, peer.limits));
        wt.sessions.insert(id.id, SessionState::new(now, flow));
        wt.had_session = true;
        core.stats.sessions_opened += 1;
        core.sessions += 1;
        qlog::session(&mut self.quic, "session_opened", id.id, None);
        log::debug!("{id:?}: session opened");
    }

    /// GOAWAY: requests from a stream on were not processed, and may be sent again elsewhere.
    pub(super) fn on_goaway(&mut self, id: StreamId, core: &mut Core) {
        let (conn, first) = (id.conn, id.id);
        log::debug!("{conn:?}: the server goes away; requests from stream {first} on were not processed");
        self.asked.going_away = true;
        core.events.push_back(Event::GoingAway(conn));
        let rejected = self.streams.iter_mut().filter(|(stream, state)| **stream >= first && state.is_awaiting());
        for (&stream, state) in rejected {
            state.fail(StreamError::Reset(ErrorCode::H3_REQUEST_REJECTED));
            push_ready(&mut state.announced, StreamId { conn, id: stream }, core);
        }
    }

    /// The certificate is one of those asked for, or names the address that was asked. If not, the connection is closed.
    pub(super) fn trusts_server(&mut self, id: ConnId, core: &Core) -> bool {
        let trust = &core.trust;
        let cert = self.quic.peer_cert();
        let reason = if !trust.hashes.is_empty() {
            let hash = cert.map(|cert| digest::digest(&digest::SHA256, cert));
            let known = hash.is_some_and(|hash| trust.hashes.iter().any(|trusted| trusted == hash.as_ref()));
            if known { None } else { Some("the certificate has none of the expected hashes") }
        } else if let (true, Some(ip)) = (trust.checks_authority, self.asked.ip) {
            let named = cert.is_some_and(|cert| names_address(cert, ip));
            if named { None } else { Some("the certificate is not for this address") }
        } else {
            None
        };
        let Some(reason) = reason else { return true };
        log::debug!("{id:?}: {reason}");
        // Fails when it is closed already.
        let _ = self.quic.close(false, BAD_CERTIFICATE, reason.as_bytes());
        false
    }
}

/// Whether a certificate's subject alternative names have an address (RFC 5280 section 4.2.1.6).
fn names_address(cert: &[u8], ip: IpAddr) -> bool {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let Ok((_, cert)) = X509Certificate::from_der(cert) else { return false };
    let Ok(Some(names)) = cert.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| matches!(name, GeneralName::IPAddress(bytes) if *bytes == octets))
}
