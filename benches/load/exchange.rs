//! The requests of a connection that are not answered yet.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Buf, Bytes};

use crate::engine::Quic;
use crate::message::Answer;

/// One request and what is known of its answer.
pub(crate) struct Exchange {
    pub(crate) begun: Instant,
    pub(crate) answer: Answer,
    /// What quiche has not taken yet of the request's head and, in bytes, of its body.
    pub(crate) head: Bytes,
    pub(crate) body: u64,
}

impl Exchange {
    pub(crate) fn is_sent(&self) -> bool {
        self.head.is_empty() && self.body == 0
    }

    /// Gives quiche what it takes, the body in pieces of `block`; returns the body bytes taken.
    pub(crate) fn send(&mut self, quic: &mut Quic, stream: u64, block: &Bytes) -> u64 {
        let body = self.body;
        while !self.is_sent() {
            let in_head = !self.head.is_empty();
            let piece =
                if in_head { self.head.clone() } else { block.slice(..self.body.min(block.len() as u64) as usize) };
            let fin = if in_head { self.body == 0 } else { self.body == piece.len() as u64 };
            // quiche leaves the FIN out when it does not take all. An error is a limit that the server will raise, or
            // a server that has had enough, which its answer or its reset will tell.
            match quic.stream_send_zc(stream, piece, fin) {
                Ok((taken, _)) if in_head => self.head.advance(taken),
                Ok((taken, _)) => self.body -= taken as u64,
                Err(_) => break,
            }
        }
        body - self.body
    }
}

/// The open requests of a connection, by the order of their stream ids.
#[derive(Default)]
pub(crate) struct Exchanges {
    /// How many were dropped from the front of `slots`.
    passed: u64,
    slots: VecDeque<Option<Exchange>>,
    pub(crate) open: usize,
}

impl Exchanges {
    /// Adds the request on the next stream.
    pub(crate) fn push(&mut self, exchange: Exchange) {
        self.slots.push_back(Some(exchange));
        self.open += 1;
    }

    fn slot(&mut self, stream: u64) -> Option<&mut Option<Exchange>> {
        let index = (stream / 4).checked_sub(self.passed)?;
        self.slots.get_mut(usize::try_from(index).ok()?)
    }

    pub(crate) fn get(&mut self, stream: u64) -> Option<&mut Exchange> {
        self.slot(stream)?.as_mut()
    }

    /// The stream id the next request gets.
    pub(crate) fn next_stream(&self) -> u64 {
        (self.passed + self.slots.len() as u64) * 4
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Exchange)> {
        let streams = (self.passed..).map(|n| n * 4);
        streams.zip(&mut self.slots).filter_map(|(stream, slot)| Some((stream, slot.as_mut()?)))
    }

    pub(crate) fn take(&mut self, stream: u64) -> Option<Exchange> {
        let exchange = self.slot(stream)?.take()?;
        self.open -= 1;
        while self.slots.front().is_some_and(Option::is_none) {
            self.slots.pop_front();
            self.passed += 1;
        }
        Some(exchange)
    }
}
