//! Streams and datagrams that arrive before their session, as packets are reordered (draft-ietf-webtrans-http3
//! section 4.6).

use std::collections::VecDeque;

use bytes::Bytes;

/// Streams buffered per connection on a server.
pub(crate) const MAX_STREAMS: usize = 16;
/// Datagrams buffered per connection.
pub(crate) const MAX_DATAGRAMS: usize = 32;

/// Streams and datagrams that wait for their session. The oldest is evicted. Streams are in the stream table; this is
/// their order.
#[derive(Debug)]
pub(crate) struct Buffered {
    max_streams: usize,
    /// Empty until something arrives early, which is rare.
    held: Option<Box<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    streams: VecDeque<(u64, u64)>,
    datagrams: VecDeque<(u64, Bytes)>,
}

impl Buffered {
    pub(crate) fn new(max_streams: usize) -> Self {
        Buffered { max_streams, held: None }
    }

    /// Keeps `stream` for `session`; returns the evicted stream.
    pub(crate) fn keep_stream(&mut self, stream: u64, session: u64) -> Option<u64> {
        let streams = &mut self.held.get_or_insert_default().streams;
        streams.push_back((stream, session));
        let full = streams.len() > self.max_streams;
        full.then(|| streams.pop_front()).flatten().map(|(stream, _)| stream)
    }

    /// Keeps a datagram; returns true if another one was evicted.
    pub(crate) fn keep_datagram(&mut self, session: u64, payload: Bytes) -> bool {
        let datagrams = &mut self.held.get_or_insert_default().datagrams;
        datagrams.push_back((session, payload));
        datagrams.len() > MAX_DATAGRAMS && datagrams.pop_front().is_some()
    }

    /// Removes the entries of `session`.
    pub(crate) fn take(&mut self, session: u64) -> (Vec<u64>, Vec<Bytes>) {
        self.held.as_mut().map(|held| held.take(session)).unwrap_or_default()
    }
}

impl Held {
    fn take(&mut self, session: u64) -> (Vec<u64>, Vec<Bytes>) {
        let mut streams = Vec::new();
        self.streams.retain(|(stream, named)| {
            let mine = *named == session;
            if mine {
                streams.push(*stream);
            }
            !mine
        });
        let mut payloads = Vec::new();
        self.datagrams.retain_mut(|(named, payload)| {
            let mine = *named == session;
            if mine {
                payloads.push(std::mem::take(payload));
            }
            !mine
        });
        (streams, payloads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_a_session_gets_its_own_in_order() {
        let mut buffered = Buffered::new(MAX_STREAMS);
        for n in 0..MAX_STREAMS as u64 {
            assert_eq!(buffered.keep_stream(4 * n, n % 2 * 4), None);
        }
        assert_eq!(buffered.keep_stream(400, 4), Some(0));
        for n in 0..MAX_DATAGRAMS as u8 {
            assert!(!buffered.keep_datagram(u64::from(n % 2) * 4, Bytes::from(vec![n])));
        }
        assert!(buffered.keep_datagram(0, Bytes::from_static(b"last")));
        let (streams, datagrams) = buffered.take(4);
        assert_eq!(streams, [4, 12, 20, 28, 36, 44, 52, 60, 400]);
        assert_eq!(datagrams.iter().map(|d| d[0]).collect::<Vec<_>>(), (1..32).step_by(2).collect::<Vec<_>>());
        let held = buffered.held.as_ref().unwrap();
        assert_eq!((held.streams.len(), held.datagrams.len()), (7, 16));
        assert_eq!(buffered.take(4), (vec![], vec![]));
    }
}
