//! The connections that are kept open, and their sessions.

use std::net::IpAddr;
use std::time::Instant;

use mio_quiche::endpoint::{CloseCause, ClosedBy};
use mio_quiche::{ClientError, ConnId, Endpoint, ErrorCode, RequestError, StreamId};

use super::engine::{Engine, Mode};
use super::slot::Slot;
use crate::cli::Failure;

/// Handshakes at a time, few enough not to overflow the server's receive buffer.
const MAX_OPENING: usize = 32;
/// Consecutive failures of a connection before the run fails.
pub(super) const MAX_FAILURES: u32 = 3;

impl Engine {
    /// Tries all addresses, if there are several.
    pub(super) fn race(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.addresses.len() > 1 {
            for addr in self.addresses.clone() {
                match endpoint.connect(now, &self.host, self.local, addr, None) {
                    Ok(id) => drop(self.racing.insert(id, addr)),
                    Err(e) => log::debug!("cannot connect to {addr}: {e}"),
                }
            }
        }
    }

    /// Whether all connections take requests.
    pub(super) fn is_open(&self) -> bool {
        self.slots.iter().all(|slot| slot.ready)
    }

    /// Replaces the connections that are missing.
    pub(super) fn connect(&mut self, now: Instant, endpoint: &mut Endpoint) -> Result<(), Failure> {
        if self.by_conn.len() >= self.plan.connections || self.addresses.len() > 1 {
            return Ok(());
        }
        for index in 0..self.plan.connections {
            let slot = &mut self.slots[index];
            if slot.conn.is_some() || slot.failures >= MAX_FAILURES || endpoint.handshake_count() >= MAX_OPENING {
                continue;
            }
            let made = endpoint.connect(now, &self.host, self.local, self.addresses[0], None);
            let id = made.map_err(|e| Failure::Coded(7, format!("cannot connect to {}: {e}", self.host)))?;
            slot.conn = Some(id);
            self.by_conn.insert(id, index);
        }
        Ok(())
    }

    /// The host is reported to be unreachable: attempts at it end at once. (ICMP is not trusted further than that.)
    pub(super) fn on_unreachable(&mut self, now: Instant, ip: IpAddr, endpoint: &mut Endpoint) {
        let waiting = self.by_conn.iter().filter(|(_, index)| !self.slots[**index].ready).map(|(id, _)| *id);
        let is_there = |id: &ConnId| endpoint.peer_addr(*id).is_some_and(|peer| peer.ip().to_canonical() == ip);
        let tried: Vec<ConnId> = waiting.chain(self.racing.keys().copied()).filter(is_there).collect();
        // RFC 9000 section 20.1: CONNECTION_REFUSED.
        let (by, code, reason) = (ClosedBy::Us, ErrorCode(0x2), "unreachable".to_owned());
        let cause = CloseCause { by, application: false, code, reason };
        for id in tried {
            endpoint.close(id, ErrorCode::H3_NO_ERROR, b"");
            self.on_closed(now, id, &cause, endpoint);
        }
    }

    pub(super) fn on_connected(&mut self, id: ConnId, endpoint: &mut Endpoint) {
        if let Some(addr) = self.racing.get(&id) {
            self.addresses = vec![*addr];
            for (conn, _) in self.racing.drain() {
                endpoint.close(conn, ErrorCode::H3_NO_ERROR, b"");
            }
            return;
        }
        let Some(&index) = self.by_conn.get(&id) else { return };
        self.slots[index].failures = 0;
        match self.plan.mode {
            Mode::Http { .. } => {
                self.slots[index].ready = true;
                self.list(index);
            }
            _ => self.ask_for_session(index, endpoint),
        }
    }

    pub(super) fn ask_for_session(&mut self, index: usize, endpoint: &mut Endpoint) {
        let Some(conn) = self.slots[index].conn.filter(|_| self.slots[index].session.is_none()) else { return };
        match endpoint.request(conn, &self.head, false) {
            Ok(id) => self.slots[index].session = Some(id),
            Err(RequestError::Blocked) => {}
            Err(error) => self.failure = Some(Failure::Runtime(error.to_string())),
        }
    }

    pub(super) fn on_session(&mut self, id: StreamId) {
        let Some(&index) = self.by_conn.get(&id.conn) else { return };
        self.slots[index].ready = true;
        self.list(index);
    }

    /// Closes a connection that takes no more requests; another one follows.
    pub(super) fn leave_if_idle(&mut self, index: usize, endpoint: &mut Endpoint) {
        if let Some(conn) = self.slots[index].conn.filter(|_| self.slots[index].active == 0) {
            endpoint.close(conn, ErrorCode::H3_NO_ERROR, b"");
        }
    }

    pub(super) fn on_closed(&mut self, now: Instant, id: ConnId, cause: &CloseCause, endpoint: &mut Endpoint) {
        if self.racing.remove(&id).is_some() && self.racing.is_empty() {
            self.failure = Some(self.connect_error(cause).into());
        }
        let Some(index) = self.by_conn.remove(&id) else { return };
        let cut: Vec<StreamId> = self.requests.keys().filter(|stream| stream.conn == id).copied().collect();
        let lost = || Some(("connection", format!("the connection was {cause}")));
        for stream in cut {
            if let Some(request) = self.requests.remove(&stream) {
                self.over(now, endpoint, request, lost());
            }
        }
        let cut: Vec<u64> = self.datagrams.iter().filter(|(_, r)| r.slot == index).map(|(number, _)| *number).collect();
        for number in cut {
            if let Some(request) = self.datagrams.remove(&number) {
                self.over(now, endpoint, request, lost());
            }
        }
        let was_ready = self.slots[index].ready;
        let failures = self.slots[index].failures + u32::from(!was_ready);
        let listed = self.slots[index].listed;
        self.slots[index] = Slot { failures, listed, ..Slot::default() };
        self.tally.reconnects += u64::from(self.counting);
        if was_ready {
            return;
        }
        let error = self.connect_error(cause);
        if !self.counting {
            self.failure = Some(error.into());
        } else if failures >= MAX_FAILURES {
            self.tally.first.get_or_insert_with(|| error.to_string());
        }
    }

    fn connect_error(&self, cause: &CloseCause) -> ClientError {
        let (host, port) = self.plan.request.host();
        let host = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        match cause.by == ClosedBy::IdleTimeout || cause.reason == "handshake timeout" {
            true => ClientError::ConnectTimeout { host, seconds: self.connect_timeout.as_secs_f64() },
            false => ClientError::Handshake { host, cause: cause.clone() },
        }
    }
}
