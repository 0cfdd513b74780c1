//! TLS sessions that a client can resume.

use std::collections::VecDeque;

use super::request::Origin;

/// Sessions kept; each is a few kilobytes.
const MAX: usize = 1000;

/// The last session of each origin, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct Tickets(VecDeque<(Origin, Vec<u8>)>);

impl Tickets {
    pub(super) fn get(&self, origin: &Origin) -> Option<&[u8]> {
        self.0.iter().find(|(of, _)| of == origin).map(|(_, ticket)| &ticket[..])
    }

    pub(super) fn insert(&mut self, origin: Origin, ticket: Vec<u8>) {
        self.0.retain(|(of, _)| *of != origin);
        if self.0.len() == MAX {
            self.0.pop_front();
        }
        self.0.push_back((origin, ticket));
    }
}
