//! What other threads have for the loop. Any number of messages costs one wake-up, until the loop takes them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::response::Answer;
use crate::transport::table::StreamId;

pub(super) enum Message {
    /// The answer of a deferred response, or `None` if nobody will answer.
    Reply(StreamId, Option<Answer>),
}

/// Shared by the loop and the handles of it. A clone is another handle.
#[derive(Clone)]
pub(super) struct Mailbox(Arc<Inner>);

struct Inner {
    messages: Mutex<VecDeque<Message>>,
    /// The loop has been woken, and has not looked since.
    is_woken: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").field("messages", &self.messages().len()).finish()
    }
}

impl Mailbox {
    /// `wake` ends the sleep of the loop, or keeps the next one from beginning.
    pub(super) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        let (messages, is_woken) = Default::default();
        Mailbox(Arc::new(Inner { messages, is_woken, wake: Box::new(wake) }))
    }

    fn messages(&self) -> MutexGuard<'_, VecDeque<Message>> {
        // A panic in between leaves a queue that is whole.
        self.0.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the end of a deferred response. There are no more of them than open requests.
    pub(super) fn reply(&self, id: StreamId, answer: Option<Answer>) {
        self.messages().push_back(Message::Reply(id, answer));
        // After the message is in the queue, and before the loop looks into it.
        if !self.0.is_woken.swap(true, Ordering::AcqRel) {
            (self.0.wake)();
        }
    }

    /// The messages so far.
    pub(super) fn take(&self) -> VecDeque<Message> {
        if self.0.is_woken.swap(false, Ordering::AcqRel) {
            std::mem::take(&mut *self.messages())
        } else {
            VecDeque::new()
        }
    }
}
