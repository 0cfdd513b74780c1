//! What an engine's thread and its callers' threads share, and how they wake each other.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::code::{MQ_ERR_SYSTEM, Outcome, because};
use super::event::mq_wake;
use super::state::State;
use crate::net::Waker;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// There are events, or the engine has ended.
    has_events: Condvar,
    /// There is room for events, or the engine is to stop.
    has_room: Condvar,
    waker: Waker,
    wake: mq_wake,
    /// Readable while events wait; only if the engine has a thread of its own.
    event_fd: Option<OwnedFd>,
}

impl Shared {
    /// `waker` ends the sleep of the engine. With `threaded`, the engine has a thread of its own.
    pub(super) fn new(state: State, waker: Waker, wake: mq_wake, threaded: bool) -> Outcome<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let event_fd = match threaded.then(|| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)) {
            Some(Ok(fd)) => Some(fd),
            Some(Err(error)) => return because(MQ_ERR_SYSTEM, format!("no eventfd: {error}")),
            None => None,
        };
        let (has_events, has_room) = (Condvar::new(), Condvar::new());
        Ok(Shared { state: Mutex::new(state), has_events, has_room, waker, wake, event_fd })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked has left a state that is whole enough: each call checks what it finds.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the engine has a thread of its own.
    pub(super) fn is_threaded(&self) -> bool {
        self.event_fd.is_some()
    }

    /// The descriptor that is readable while events wait.
    pub(super) fn fd(&self) -> Option<i32> {
        self.event_fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Ends the engine's sleep if it has something to do now.
    pub(super) fn wake_engine(&self, mut state: MutexGuard<'_, State>) {
        if state.sleeps && state.has_work() {
            state.sleeps = false;
            drop(state);
            if let Err(error) = self.waker.wake() {
                log::error!("the engine cannot be woken: {error}");
            }
        }
    }

    /// Tells the caller of events, once until they are taken.
    pub(super) fn signal(&self, mut state: MutexGuard<'_, State>) {
        if state.event_count() == 0 || state.signalled {
            return;
        }
        state.signalled = true;
        self.has_events.notify_all();
        if let Some(fd) = &self.event_fd {
            // It cannot be full: what is written is read before the next time.
            let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
        }
        drop(state);
        if let Some(wake) = self.wake {
            wake();
        }
    }

    /// The caller has taken all events: the next one is a new signal.
    pub(super) fn clear_signal(&self, state: &mut State) {
        if std::mem::take(&mut state.signalled)
            && let Some(fd) = &self.event_fd
        {
            let _ = rustix::io::read(fd, &mut [0; 8]);
        }
    }

    /// Waits for events, for at most `timeout`.
    pub(super) fn wait_for_events<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        let idle = |state: &mut State| state.front().is_none() && !state.ended && !state.stopping;
        match timeout {
            None => self.has_events.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                self.has_events.wait_timeout_while(state, timeout, idle).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Waits until there is room for events. Returns false if the engine is to stop.
    pub(super) fn wait_for_room(&self) -> bool {
        let is_full = |state: &mut State| state.is_full() && !state.stopping;
        let state = self.has_room.wait_while(self.lock(), is_full).unwrap_or_else(PoisonError::into_inner);
        !state.stopping
    }

    /// The caller has made room.
    pub(super) fn made_room(&self) {
        self.has_room.notify_one();
    }

    /// Tells the engine and every waiting caller to stop.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        self.has_events.notify_all();
        self.has_room.notify_all();
        state.sleeps = true;
        self.wake_engine(state);
    }
}
