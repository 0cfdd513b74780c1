//! Ids of the streams that this side opens for sessions.
//!
//! quiche::h3 counts the ids of requests by itself: 0, 4, 8 and so on, whatever else was opened. On a client the
//! bidirectional streams of sessions therefore keep clear of the next few requests, and when those are used up the
//! connection takes no further one.

/// Requests that still fit in front of the first stream of a session.
const RESERVED: u64 = 0;

/// The next stream id of each kind.
#[derive(Debug)]
pub(super) struct LocalIds {
    next_bidi: u64,
    next_uni: u64,
    next_request: u64,
    /// The first bidirectional stream of a session.
    first_bidi: Option<u64>,
    is_server: bool,
}

impl LocalIds {
    /// `uni_opened` streams were opened by quiche::h3.
    pub(super) fn new(is_server: bool, uni_opened: u64) -> Self {
        // RFC 9000 section 2.1.
        let (bidi, uni) = if is_server { (1, 3) } else { (0, 2) };
        LocalIds { next_bidi: bidi, next_uni: uni + 4 * uni_opened, next_request: 0, first_bidi: None, is_server }
    }

    /// quiche::h3 sent a request on `stream`.
    pub(super) fn on_request(&mut self, stream: u64) {
        self.next_request = stream + 4;
    }

    /// The stream of the next request.
    pub(super) fn next_request(&self) -> u64 {
        self.next_request
    }

    /// Whether the next request's id is free.
    pub(super) fn takes_requests(&self) -> bool {
        self.first_bidi.is_none_or(|first| self.is_server || self.next_request < first)
    }

    /// Takes the next id of a kind of which the peer lets us open `left` more.
    pub(super) fn take(&mut self, bidi: bool, left: u64) -> u64 {
        if bidi && self.first_bidi.is_none() {
            if !self.is_server {
                // Streams in front of one that is opened count as opened.
                self.next_bidi = self.next_request + 4 * RESERVED.min(left / 4);
            }
            self.first_bidi = Some(self.next_bidi);
        }
        let next = if bidi { &mut self.next_bidi } else { &mut self.next_uni };
        std::mem::replace(next, *next + 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_sessions_keep_clear_of_requests_and_of_the_streams_of_http3() {
        let mut ids = LocalIds::new(true, 4);
        assert_eq!((ids.take(true, 100), ids.take(true, 99), ids.take(false, 96)), (1, 5, 19));
        assert!(ids.takes_requests());
        let mut ids = LocalIds::new(false, 3);
        ids.on_request(0);
        assert_eq!((ids.take(false, 97), ids.takes_requests()), (14, true));
        assert_eq!((ids.take(true, 99), ids.take(true, 90)), (36, 40));
        for request in 1..=RESERVED {
            assert!(ids.takes_requests(), "request {request}");
            ids.on_request(4 * request);
        }
        assert!(!ids.takes_requests());
    }

    #[test]
    fn little_credit_is_not_spent_on_requests_to_come() {
        let mut ids = LocalIds::new(false, 3);
        ids.on_request(0);
        assert_eq!(ids.take(true, 3), 4);
        assert!(!ids.takes_requests());
    }
}
