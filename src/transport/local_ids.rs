//! Ids of the streams that this side opens for sessions.
//!
//! quiche::h3 counts the ids of requests by itself: 0, 4, 8 and so on, whatever else was opened. On a client the
//! bidirectional streams of sessions therefore follow all requests, and once there is one the connection accepts no
//! more requests. (Leaving a gap for later requests does not help: using an id opens all smaller ones, and servers on
//! quinn wait for the headers of those.)

/// The next stream id of each kind.
#[derive(Debug)]
pub(super) struct LocalIds {
    next_bidi: u64,
    next_uni: u64,
    has_bidi: bool,
    is_server: bool,
}

impl LocalIds {
    /// `uni_opened` streams were opened by quiche::h3.
    pub(super) fn new(is_server: bool, uni_opened: u64) -> Self {
        // RFC 9000 section 2.1.
        let (bidi, uni) = if is_server { (1, 3) } else { (0, 2) };
        LocalIds { next_bidi: bidi, next_uni: uni + 4 * uni_opened, has_bidi: false, is_server }
    }

    /// quiche::h3 sent a request on `stream`.
    pub(super) fn on_request(&mut self, stream: u64) {
        self.next_bidi = stream + 4;
    }

    /// The stream of the next request, if the connection [takes requests](LocalIds::takes_requests).
    pub(super) fn next_request(&self) -> u64 {
        self.next_bidi
    }

    /// Whether the next request's id is free.
    pub(super) fn takes_requests(&self) -> bool {
        self.is_server || !self.has_bidi
    }

    /// Takes the next id of a kind.
    pub(super) fn take(&mut self, bidi: bool) -> u64 {
        self.has_bidi |= bidi;
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
        assert_eq!((ids.take(true), ids.take(true), ids.take(false)), (1, 5, 19));
        assert!(ids.takes_requests());
        let mut ids = LocalIds::new(false, 3);
        ids.on_request(0);
        ids.on_request(4);
        assert_eq!((ids.take(false), ids.takes_requests()), (14, true));
        assert_eq!((ids.take(true), ids.takes_requests()), (8, false));
    }
}
