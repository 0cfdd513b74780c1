//! A connection's handshake: its deadline, and when HTTP/3 can begin.

use std::time::Instant;

use super::core::Cx;
use crate::transport::Transport;

#[derive(Debug)]
pub(super) struct Handshake {
    /// Its deadline; `None` once it has ended.
    deadline: Option<Instant>,
    /// The application protocol has started.
    begun: bool,
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
        Handshake { deadline: Some(deadline), begun: false }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn advance(&mut self, transport: &Transport, cx: &mut Cx<'_>) -> Progress {
        if self.begun && self.deadline.is_none() || transport.is_closed() {
            return Progress::default();
        }
        let established = transport.is_established();
        let begins = !self.begun && (established || transport.is_in_early_data());
        self.begun |= begins;
        let completed = established && self.deadline.is_some();
        if completed {
            self.end(transport, cx);
            let core = &mut *cx.core;
            core.stats.handshakes += 1;
            core.stats.resumed_handshakes += u64::from(transport.is_resumed());
            core.stats.early_handshakes += u64::from(transport.is_early_accepted());
        }
        Progress { begins, completed }
    }

    /// It has ended, with or without success.
    pub(super) fn end(&mut self, transport: &Transport, cx: &mut Cx<'_>) {
        if self.deadline.take().is_some() {
            cx.core.handshakes.end(transport.peer_addr(), cx.conn);
        }
    }

    /// Whether it took too long.
    pub(super) fn is_late(&self, now: Instant, transport: &Transport) -> bool {
        self.deadline.is_some_and(|at| at <= now) && !transport.is_established()
    }
}
