//! Wakes the loop when a thread has something for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio_quiche::net::Waker;

/// Wakes the loop and sets a flag, so that only a turn with news checks the waiting transfers.
#[derive(Clone, Debug)]
pub(super) struct Notifier {
    waker: Waker,
    fresh: Arc<AtomicBool>,
}

impl Notifier {
    pub(super) fn new(waker: Waker) -> Self {
        Notifier { waker, fresh: Arc::default() }
    }

    /// False when the loop is gone.
    pub(super) fn notify(&self) -> bool {
        self.fresh.store(true, Ordering::Release);
        self.waker.wake().is_ok()
    }

    /// Whether there was news since this was last called.
    pub(super) fn take(&self) -> bool {
        self.fresh.swap(false, Ordering::AcqRel)
    }
}
