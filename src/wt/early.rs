//! Streams and datagrams that come before their session, as packets overtake each other.

use std::collections::VecDeque;

use bytes::Bytes;

use super::filter::Arrival;

/// Streams kept per connection on a server.
pub(crate) const EARLY_STREAMS: usize = 16;
/// Datagrams kept per connection.
pub(crate) const EARLY_DATAGRAMS: usize = 32;

/// What waits for its session. When it is full the oldest goes.
#[derive(Debug)]
pub(crate) struct Early {
    max_streams: usize,
    streams: VecDeque<Arrival>,
    datagrams: VecDeque<(u64, Bytes)>,
}

impl Early {
    pub(super) fn new(max_streams: usize) -> Self {
        Early { max_streams, streams: VecDeque::new(), datagrams: VecDeque::new() }
    }

    pub(super) fn contains(&self, stream: u64) -> bool {
        self.streams.iter().any(|arrival| arrival.stream == stream)
    }

    /// Keeps a stream; gives back the one that had to make room.
    pub(crate) fn keep_stream(&mut self, arrival: Arrival) -> Option<Arrival> {
        self.streams.push_back(arrival);
        (self.streams.len() > self.max_streams).then(|| self.streams.pop_front()).flatten()
    }

    /// Keeps a datagram; true if another one had to go for it.
    pub(crate) fn keep_datagram(&mut self, flow: u64, payload: Bytes) -> bool {
        self.datagrams.push_back((flow, payload));
        self.datagrams.len() > EARLY_DATAGRAMS && self.datagrams.pop_front().is_some()
    }

    /// Takes out what waited for `session`.
    pub(crate) fn take(&mut self, session: u64) -> (Vec<Arrival>, Vec<Bytes>) {
        let (mine, others) = self.streams.drain(..).partition::<Vec<_>, _>(|arrival| arrival.session == session);
        self.streams = others.into();
        let mut payloads = Vec::new();
        self.datagrams.retain_mut(|(flow, payload)| {
            if *flow == session {
                payloads.push(std::mem::take(payload));
            }
            *flow != session
        });
        (mine, payloads)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.streams.len() + self.datagrams.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_a_session_gets_its_own_in_order() {
        let mut early = Early::new(EARLY_STREAMS);
        let arrival = |stream, session| Arrival { stream, session, fin: false };
        for n in 0..EARLY_STREAMS as u64 {
            assert_eq!(early.keep_stream(arrival(4 * n, n % 2 * 4)), None);
        }
        assert_eq!(early.keep_stream(arrival(400, 4)), Some(arrival(0, 0)));
        assert!(early.contains(400) && !early.contains(0));
        for n in 0..EARLY_DATAGRAMS as u8 {
            assert!(!early.keep_datagram(u64::from(n % 2) * 4, Bytes::from(vec![n])));
        }
        assert!(early.keep_datagram(0, Bytes::from_static(b"last")));
        let (streams, datagrams) = early.take(4);
        assert_eq!(streams.iter().map(|a| a.stream).collect::<Vec<_>>(), [4, 12, 20, 28, 36, 44, 52, 60, 400]);
        assert_eq!(datagrams.iter().map(|d| d[0]).collect::<Vec<_>>(), (1..32).step_by(2).collect::<Vec<_>>());
        assert_eq!(early.len(), 7 + 16);
        assert_eq!(early.take(4), (vec![], vec![]));
    }
}
