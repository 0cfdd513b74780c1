//! Wakes a loop.

use std::io;
use std::sync::Arc;

/// Wakes the loop from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Waker(Arc::new(waker))
    }

    /// Ends the loop's sleep.
    ///
    /// # Errors
    /// An error of the system.
    pub fn wake(&self) -> io::Result<()> {
        self.0.wake()
    }
}
