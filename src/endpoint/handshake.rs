//! A connection's handshake: its deadline, and when HTTP/3 can begin.

use std::time::Instant;

use super::core::{Core, Cx, Role};
use super::first_flight::FirstFlight;
use super::logs::HeldLogs;
use crate::transport::Transport;

#[derive(Debug)]
pub(super) struct Handshake {
    /// `None` once it has ended.
    pending: Option<Box<Pending>>,
    pub(super) logs: Option<Box<HeldLogs>>,
    /// The application protocol has started.
    begun: bool,
}

#[derive(Debug)]
struct Pending {
    deadline: Instant,
    /// On a server: data from the client's first packet.
    first_flight: Option<FirstFlight>,
}

/// The progress of a handshake since the last check.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The application protocol can begin: the handshake is complete, or a first flight can carry data (0-RTT).
    pub(super) begins: bool,
    pub(super) completed: bool,
}

impl Handshake {
    pub(super) fn new(deadline: Instant) -> Self {
        Handshake { pending: Some(Box::new(Pending { deadline, first_flight: None })), logs: None, begun: false }
    }

    pub(super) fn began_with(&mut self, first_flight: FirstFlight) {
        if let Some(pending) = &mut self.pending {
            pending.first_flight = Some(first_flight);
        }
    }

    pub(super) fn take_first_flight(&mut self) -> Option<FirstFlight> {
        self.pending.as_mut()?.first_flight.take()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.deadline)
    }

    pub(super) fn advance(&mut self, transport: &Transport, cx: &mut Cx<'_>) -> Progress {
        if let Some(held) = self.logs.as_mut().filter(|_| transport.is_peer_validated()) {
            let Core { logs, settings, .. } = &mut *cx.core;
            held.write(logs, &settings.transport);
            self.logs.take_if(|_| transport.is_established());
        }
        if self.begun && self.pending.is_none() || transport.is_closed() {
            return Progress::default();
        }
        let established = transport.is_established();
        let was_early = self.begun && cx.core.role == Role::Client || transport.has_early_arrived();
        let begins = !self.begun && (established || transport.is_in_early_data());
        self.begun |= begins;
        let completed = established && self.pending.is_some();
        if completed {
            self.end(transport, cx);
            let core = &mut *cx.core;
            core.stats.handshakes += 1;
            core.stats.resumed_handshakes += u64::from(transport.is_resumed());
            match transport.is_early_accepted() {
                true => core.stats.early_handshakes += 1,
                false => core.stats.rejected_early_handshakes += u64::from(was_early),
            }
        }
        Progress { begins, completed }
    }

    /// It has ended, with or without success.
    pub(super) fn end(&mut self, transport: &Transport, cx: &mut Cx<'_>) {
        if self.pending.take().is_some() {
            cx.core.handshakes.end(transport.peer_addr(), cx.conn);
        }
    }

    /// Whether it took too long.
    pub(super) fn is_late(&self, now: Instant, transport: &Transport) -> bool {
        self.deadline().is_some_and(|at| at <= now) && !transport.is_established()
    }
}
