//! quiche never frees a unidirectional stream that was stopped, nor a bidirectional one that was only stopped, so its
//! credit never returns to the peer. A connection therefore stops a bounded number of them; data on others is
//! discarded.

/// How many streams may still be stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StopCredit(u64);

impl StopCredit {
    /// For a peer that may open `max_streams` unidirectional streams: half of them.
    pub(super) fn new(max_streams: u64) -> Self {
        StopCredit(max_streams / 2)
    }

    /// Uses one stop; false if none is left.
    pub(super) fn take(&mut self) -> bool {
        let some = self.0 > 0;
        self.0 -= u64::from(some);
        some
    }
}
