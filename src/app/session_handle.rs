//! Sessions used by other threads, and by the handlers of other sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::session::{Session, SessionCall, SessionLoop};
use crate::error::{PostError, Result};
use crate::transport::table::StreamId;

/// A handle of an open session for other threads, and for the handlers of other sessions: see [`Session::handle`].
///
/// Every method queues a message for the loop, where up to 16384 wait, and returns at once. The messages of a thread
/// arrive in their order.
#[derive(Clone)]
pub struct SessionHandle {
    id: StreamId,
    the_loop: Arc<dyn SessionLoop>,
    has_ended: Arc<AtomicBool>,
}

impl std::fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SessionHandle {
    /// The session's id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Calls `call` on the loop's thread, unless the session ends before. Its errors mean the same as those of a
    /// [`SessionHandler`](super::SessionHandler).
    ///
    /// # Errors
    /// [`PostError`].
    pub fn post(&self, call: impl FnOnce(&mut Session<'_>) -> Result<()> + Send + 'static) -> Result<(), PostError> {
        self.post_call(Box::new(|_, s| call(s)))
    }

    fn post_call(&self, call: SessionCall) -> Result<(), PostError> {
        if self.is_closed() {
            return Err(PostError::Closed);
        }
        self.the_loop.call(self.id, call)
    }

    /// Sends a datagram. As it may be lost on the way, it may also be dropped here: if it is too large, or too many
    /// wait.
    ///
    /// # Errors
    /// [`PostError`].
    pub fn send_datagram(&self, payload: impl Into<Bytes>) -> Result<(), PostError> {
        let payload = payload.into();
        self.post(move |s| {
            if let Err(error) = s.send_datagram(&payload) {
                log::debug!("{:?}: a datagram of a handle is dropped: {error}", s.id());
            }
            Ok(())
        })
    }

    /// Opens a unidirectional stream with these bytes and its end. If the peer allows no more streams, nothing is sent;
    /// [`post`](SessionHandle::post) can do otherwise.
    ///
    /// # Errors
    /// [`PostError`].
    pub fn send_stream(&self, bytes: impl Into<Bytes>) -> Result<(), PostError> {
        let bytes = bytes.into();
        self.post(move |s| {
            if let Err(error) = s.send_stream(bytes) {
                log::debug!("{:?}: a stream of a handle is dropped: {error}", s.id());
            }
            Ok(())
        })
    }

    /// Calls the handler's [`woken`](super::SessionHandler::woken).
    ///
    /// # Errors
    /// [`PostError`].
    pub fn wake(&self) -> Result<(), PostError> {
        self.post_call(Box::new(|handler, s| handler.woken(s)))
    }

    /// Closes the session.
    ///
    /// # Errors
    /// [`PostError`].
    pub fn close(&self, code: u32, reason: impl Into<String>) -> Result<(), PostError> {
        let reason = reason.into();
        self.post(move |s| {
            s.close(code, &reason);
            Ok(())
        })
    }
}

impl Session<'_> {
    /// A handle of this session for other threads and other handlers.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use mio_quiche::{Result, Session, SessionHandler};
    ///
    /// /// Sends the time that has passed, each second.
    /// struct Clock;
    ///
    /// impl SessionHandler for Clock {
    ///     fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
    ///         let handle = s.handle();
    ///         std::thread::spawn(move || {
    ///             let seconds = (0u64..).map(|n| n.to_be_bytes().to_vec());
    ///             for message in seconds.take_while(|_| !handle.is_closed()) {
    ///                 let _ = handle.send_datagram(message);
    ///                 std::thread::sleep(Duration::from_secs(1));
    ///             }
    ///         });
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn handle(&mut self) -> SessionHandle {
        let has_ended = self.ties.has_ended.share();
        SessionHandle { id: self.inner.id(), the_loop: Arc::clone(self.the_loop), has_ended }
    }
}
