//! A solution of milestone 1's exercise: an echo that answers with at most 16 bytes.

use std::collections::VecDeque;

use mio_quiche::endpoint::Transmit;
use mio_quiche::net::Datagram;

/// The longest answer, in bytes.
const MAX: usize = 16;

/// Datagrams that were received and not sent back yet.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) waiting: VecDeque<(Transmit, Vec<u8>)>,
}

impl Echo {
    pub(crate) fn take(&mut self, datagram: &Datagram<'_>) {
        let data = &datagram.data[..datagram.data.len().min(MAX)];
        let back = Transmit { from: datagram.to, to: datagram.from, len: data.len(), segment: data.len() };
        self.waiting.push_back((back, data.to_vec()));
    }
}
