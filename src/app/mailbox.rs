//! What other threads have for the loop. Any number of messages costs one wake-up, until the loop takes them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::response::Answer;
use super::session::{SessionCall, SessionLoop};
use super::topic::{Loop, Topic};
use crate::error::PostError;
use crate::net::Waker;
use crate::transport::table::StreamId;

pub(super) enum Message<S> {
    /// The answer of a deferred response, or `None` if nobody will answer.
    Reply(StreamId, Option<Answer>),
    /// What a handle wants of a session.
    Session(StreamId, SessionCall),
    /// A stream is ready.
    Wake(StreamId),
    /// A topic has something new for its members.
    News(Topic),
    /// What a handle wants of the server or the client.
    Call(S),
}

/// Messages that wait. Answers of deferred responses, resumed streams and news of topics are not refused, but count.
pub(super) const CAPACITY: usize = 16 * 1024;

/// Shared by the loop and the handles of it. A clone is another handle. `S` is what [`post`](Mailbox::post) passes.
pub(super) struct Mailbox<S>(Arc<Inner<S>>);

struct Inner<S> {
    messages: Mutex<Messages<S>>,
    /// The loop has been woken, and has not looked since.
    is_woken: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

struct Messages<S> {
    queue: VecDeque<Message<S>>,
    /// The loop has ended.
    is_closed: bool,
}

impl<S> Clone for Mailbox<S> {
    fn clone(&self) -> Self {
        Mailbox(Arc::clone(&self.0))
    }
}

impl<S> std::fmt::Debug for Mailbox<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").field("messages", &self.0.messages().queue.len()).finish()
    }
}

impl<S: Send + 'static> Mailbox<S> {
    /// `wake` ends the sleep of the loop, or keeps the next one from beginning.
    pub(super) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        let messages = Mutex::new(Messages { queue: VecDeque::new(), is_closed: false });
        Mailbox(Arc::new(Inner { messages, is_woken: AtomicBool::new(false), wake: Box::new(wake) }))
    }

    /// Adds the end of a deferred response. There are no more of them than open requests.
    pub(super) fn reply(&self, id: StreamId, answer: Option<Answer>) {
        self.0.add(Message::Reply(id, answer));
    }

    /// Passes a call to the loop.
    pub(super) fn post(&self, call: S) -> Result<(), PostError> {
        self.0.offer(Message::Call(call))
    }

    /// For the handles of sessions and streams, and for topics.
    pub(super) fn as_loop(&self) -> Arc<dyn SessionLoop> {
        self.0.clone()
    }

    /// Lets the loop have another round at once.
    pub(super) fn wake(&self) {
        self.0.wake();
    }

    /// The messages so far.
    pub(super) fn take(&self) -> VecDeque<Message<S>> {
        // Each round of the loop asks.
        if !self.0.is_woken.load(Ordering::Relaxed) || !self.0.is_woken.swap(false, Ordering::AcqRel) {
            return VecDeque::new();
        }
        std::mem::take(&mut self.0.messages().queue)
    }

    /// The loop has ended: what waits is dropped, and nothing is taken any more.
    pub(super) fn close(&self) {
        let dropped = {
            let messages = &mut *self.0.messages();
            messages.is_closed = true;
            std::mem::take(&mut messages.queue)
        };
        // A message may have a handle, whose end is another message.
        drop(dropped);
    }
}

impl<S> Inner<S> {
    fn messages(&self) -> MutexGuard<'_, Messages<S>> {
        // A panic in between leaves a queue that is whole.
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, message: Message<S>) {
        {
            let messages = &mut *self.messages();
            if messages.is_closed {
                return;
            }
            messages.queue.push_back(message);
        }
        self.wake();
    }

    fn offer(&self, message: Message<S>) -> Result<(), PostError> {
        {
            let messages = &mut *self.messages();
            if messages.is_closed {
                return Err(PostError::Closed);
            }
            if messages.queue.len() >= CAPACITY {
                return Err(PostError::Full);
            }
            messages.queue.push_back(message);
        }
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        // After the message is in the queue, and before the loop looks into it.
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }
}

impl<S: Send> Loop for Inner<S> {
    fn wake(&self, id: StreamId) -> Result<(), PostError> {
        self.offer(Message::Wake(id))
    }

    fn resume(&self, id: StreamId) {
        self.add(Message::Wake(id));
    }

    fn on_news(&self, topic: &Topic) {
        self.add(Message::News(topic.clone()));
    }
}

impl<S: Send> SessionLoop for Inner<S> {
    fn call(&self, id: StreamId, call: SessionCall) -> Result<(), PostError> {
        self.offer(Message::Session(id, call))
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
        let mailbox = Mailbox::<()>::new(move || {
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
