//! What other threads have for the loop. Any number of messages costs one wake-up, until the loop takes them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::response::Answer;
use super::session::{Post, SessionCall};
use crate::error::PostError;
use crate::net::Waker;
use crate::transport::table::StreamId;

pub(super) enum Message {
    /// The answer of a deferred response, or `None` if nobody will answer.
    Reply(StreamId, Option<Answer>),
    /// What a handle wants of a session.
    Session(StreamId, SessionCall),
}

/// Messages that wait. Answers of deferred responses are not refused, but count.
pub(super) const CAPACITY: usize = 16 * 1024;

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
        self.wake();
    }

    /// Passes what handles want of sessions to this mailbox.
    pub(super) fn post(&self) -> Post {
        let mailbox = self.clone();
        Arc::new(move |id, call| {
            {
                let mut messages = mailbox.messages();
                if messages.len() >= CAPACITY {
                    return Err(PostError::Full);
                }
                messages.push_back(Message::Session(id, call));
            }
            mailbox.wake();
            Ok(())
        })
    }

    fn wake(&self) {
        // After the message is in the queue, and before the loop looks into it.
        if !self.0.is_woken.swap(true, Ordering::AcqRel) {
            (self.0.wake)();
        }
    }

    /// The messages so far.
    pub(super) fn take(&self) -> VecDeque<Message> {
        // Each round of the loop asks.
        if !self.0.is_woken.load(Ordering::Relaxed) || !self.0.is_woken.swap(false, Ordering::AcqRel) {
            return VecDeque::new();
        }
        std::mem::take(&mut *self.messages())
    }
}

/// Ends the sleep of an event loop.
pub(super) fn waking(waker: Waker) -> impl Fn() + Send + Sync + 'static {
    move || {
        if let Err(e) = waker.wake() {
            log::error!("the loop cannot be woken: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use crate::transport::table::ConnId;

    use super::*;

    #[test]
    fn many_messages_cost_one_wake_up_until_they_are_taken() {
        let count = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&count);
        let mailbox = Mailbox::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let id = StreamId { conn: ConnId { index: 0, generation: 0 }, id: 0 };
        for wake_ups in 1..=3 {
            for _ in 0..100 {
                mailbox.reply(id, None);
            }
            assert_eq!(count.load(Ordering::Relaxed), wake_ups);
            assert_eq!(mailbox.take().len(), 100);
            assert_eq!(mailbox.take().len(), 0);
        }
    }
}
