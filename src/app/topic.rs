//! Topics: messages for many sessions and streaming responses at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::stream_handler::{Progress, StreamHandler};
use crate::endpoint::Stream;
use crate::error::{ErrorCode, PostError, Result};
use crate::transport::table::StreamId;

/// Messages that a topic keeps, unless told otherwise.
const CAPACITY: usize = 256;

/// What happens to a member that is so slow that the topic no longer holds the next message for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slow {
    /// It misses messages, whole ones, the oldest first.
    #[default]
    Drop,
    /// It ends: a session is closed, a stream is reset.
    End,
}

/// Publishes messages to its members: sessions and streaming responses, of any number of servers and clients in this
/// process. A clone is another handle of the same topic, for handlers and other threads.
///
/// A session becomes a member by [`Session::join`](crate::Session::join), a response by
/// [`Response::feed`](crate::Response::feed). Each stops being one when it ends.
///
/// A message is kept once, whatever the number of members: the topic holds the last messages, 256 by default, and each
/// member its position. Publishing copies nothing, and neither waits nor fails: a member that is too slow misses
/// messages or ends, as [`Slow`] says. Members on other threads' loops are woken, once for any number of messages.
///
/// ```
/// use mio_quiche::{Router, ServerSentEvent, Topic};
///
/// let news = Topic::new();
/// let publisher = news.clone();
/// let router = Router::new()
///     // Server-sent events.
///     .get("/events", move |_req, res| res.event_stream().feed(&news, 0))
///     .post("/publish/:word", move |req, res| {
///         publisher.publish(ServerSentEvent::new().data(req.param("word").unwrap_or_default()));
///         res.status(204)
///     });
/// assert!(router.check().is_ok());
/// ```
#[derive(Clone)]
pub struct Topic(Arc<Inner>);

struct Inner {
    capacity: usize,
    slow: Slow,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last messages.
    messages: VecDeque<Bytes>,
    /// The number of the first of them.
    first: u64,
    is_closed: bool,
    /// The loops that run members.
    loops: Vec<Listening>,
}

impl State {
    /// The number that the next message gets.
    fn next(&self) -> u64 {
        self.first + self.messages.len() as u64
    }
}

/// A loop with members.
struct Listening {
    the_loop: Arc<dyn Loop>,
    /// It knows that there is something new, and has not taken it all.
    is_told: bool,
    /// The number of the first message that it has not taken.
    next: u64,
    /// It has taken the end of the topic.
    is_over: bool,
    members: BTreeMap<StreamId, Member>,
}

#[derive(Clone, Copy)]
enum Member {
    /// Its handler is called with each message. With the number of the next one.
    Session(u64),
    /// A [`Feed`], which reads the messages itself.
    Feed,
}

/// The loop that runs a stream or session.
pub(super) trait Loop: Send + Sync {
    /// Makes a stream ready.
    fn wake(&self, id: StreamId) -> Result<(), PostError>;

    /// Makes a stream ready whose work for another thread is done. It is not refused: there is no more of it than there
    /// are streams.
    #[cfg_attr(not(feature = "files"), allow(dead_code, reason = "files are read on other threads"))]
    fn resume(&self, id: StreamId);

    /// A topic has messages for members there, or has closed.
    fn on_news(&self, topic: &Topic);
}

fn is_same(a: &Arc<dyn Loop>, b: &Arc<dyn Loop>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

impl Default for Topic {
    fn default() -> Self {
        Topic::new()
    }
}

impl PartialEq for Topic {
    /// Whether both are handles of the same topic.
    fn eq(&self, other: &Topic) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Topic {}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic").field("members", &self.members()).finish_non_exhaustive()
    }
}

impl Topic {
    /// A topic that holds 256 messages, and whose slow members miss some.
    pub fn new() -> Self {
        Topic::with(CAPACITY, Slow::Drop)
    }

    /// A topic that holds the last `capacity` messages, at least one.
    pub fn with(capacity: usize, slow: Slow) -> Self {
        Topic(Arc::new(Inner { capacity: capacity.max(1), slow, state: Mutex::default() }))
    }

    /// What happens to slow members.
    pub fn slow(&self) -> Slow {
        self.0.slow
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes a message to everyone who is a member now.
    pub fn publish(&self, message: impl Into<Bytes>) {
        self.change(|state| {
            if state.is_closed {
                return None;
            }
            let is_full = state.messages.len() == self.0.capacity;
            let oldest = if is_full { state.messages.pop_front() } else { None };
            state.first += u64::from(oldest.is_some());
            state.messages.push_back(message.into());
            oldest
        });
    }

    /// Ends the topic: feeds end after the messages so far, and nothing is published any more.
    pub fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    /// Changes the state and tells the loops. What `change` returns is dropped when nothing is locked.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) {
        let mut untold = Vec::new();
        let _removed = {
            let state = &mut *self.state();
            let removed = change(state);
            for listening in state.loops.iter_mut().filter(|listening| !listening.is_told) {
                listening.is_told = true;
                untold.push(Arc::clone(&listening.the_loop));
            }
            removed
        };
        untold.iter().for_each(|the_loop| the_loop.on_news(self));
    }

    /// The number of members.
    pub fn members(&self) -> usize {
        self.state().loops.iter().map(|listening| listening.members.len()).sum()
    }

    /// The messages that the topic holds, the oldest first.
    pub fn history(&self) -> Vec<Bytes> {
        self.state().messages.iter().cloned().collect()
    }

    /// Makes a session a member, which the last `history` messages are delivered to.
    pub(super) fn join_session(&self, the_loop: Arc<dyn Loop>, id: StreamId, history: usize) -> Membership {
        self.join(the_loop, id, history, Member::Session).0
    }

    /// A handler that streams the messages, beginning with the last `history`.
    pub(super) fn feed(&self, the_loop: Arc<dyn Loop>, id: StreamId, history: usize) -> Feed {
        let (membership, next) = self.join(the_loop, id, history, |_| Member::Feed);
        Feed { membership, next, rest: Bytes::new(), is_draining: false }
    }

    fn join(
        &self,
        the_loop: Arc<dyn Loop>,
        id: StreamId,
        history: usize,
        member: impl FnOnce(u64) -> Member,
    ) -> (Membership, u64) {
        let state = &mut *self.state();
        let end = state.next();
        let next = state.first.max(end.saturating_sub(history as u64));
        let member = member(next);
        let at = state.loops.iter().position(|listening| is_same(&listening.the_loop, &the_loop));
        let at = at.unwrap_or_else(|| {
            let (the_loop, members) = (Arc::clone(&the_loop), BTreeMap::new());
            state.loops.push(Listening { the_loop, is_told: false, next: end, is_over: false, members });
            state.loops.len() - 1
        });
        let listening = &mut state.loops[at];
        let is_behind = next < end && matches!(member, Member::Session(_));
        listening.members.insert(id, member);
        if is_behind && !std::mem::replace(&mut listening.is_told, true) {
            the_loop.on_news(self);
        }
        (Membership { topic: self.clone(), the_loop, id }, next)
    }

    fn leave(&self, the_loop: &Arc<dyn Loop>, id: StreamId) {
        let state = &mut *self.state();
        for listening in state.loops.iter_mut().filter(|listening| is_same(&listening.the_loop, the_loop)) {
            listening.members.remove(&id);
        }
        state.loops.retain(|listening| !listening.members.is_empty());
    }

    /// What is new for the members on a loop. `None` if nothing is; the loop is told of what comes then.
    pub(super) fn take(&self, the_loop: &Arc<dyn Loop>) -> Option<News> {
        let state = &mut *self.state();
        let (oldest, end, is_closed) = (state.first, state.next(), state.is_closed);
        let listening = state.loops.iter_mut().find(|listening| is_same(&listening.the_loop, the_loop))?;
        let is_news_for_feeds = listening.next < end || is_closed && !listening.is_over;
        (listening.next, listening.is_over) = (end, is_closed);
        let (mut first, mut members) = (end, Vec::new());
        for (&id, member) in &mut listening.members {
            match member {
                Member::Session(next) if *next < end => {
                    let from = std::mem::replace(next, end).max(oldest);
                    first = first.min(from);
                    members.push((id, Some(from)));
                }
                Member::Session(_) => {}
                Member::Feed if is_news_for_feeds => members.push((id, None)),
                Member::Feed => {}
            }
        }
        listening.is_told = !members.is_empty();
        if members.is_empty() {
            return None;
        }
        let messages = state.messages.range((first - oldest) as usize..).cloned().collect();
        Some(News { topic: self.clone(), first, messages, members: members.into_iter(), current: None })
    }

    /// The message with this number, or the number of the next that is held, or that there is none yet.
    fn message(&self, number: u64) -> Held {
        let state = self.state();
        let Some(offset) = number.checked_sub(state.first) else { return Held::From(state.first) };
        match state.messages.get(offset as usize) {
            Some(message) => Held::Message(message.clone()),
            None => Held::NotYet { is_closed: state.is_closed },
        }
    }
}

enum Held {
    Message(Bytes),
    From(u64),
    NotYet { is_closed: bool },
}

/// A member of a topic, until this is dropped.
pub(super) struct Membership {
    topic: Topic,
    the_loop: Arc<dyn Loop>,
    id: StreamId,
}

impl Membership {
    pub(super) fn is_of(&self, topic: &Topic) -> bool {
        self.topic == *topic
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.topic.leave(&self.the_loop, self.id);
    }
}

/// Messages on their way to the members on a loop.
pub(super) struct News {
    pub(super) topic: Topic,
    /// The number of the first message.
    first: u64,
    messages: Vec<Bytes>,
    /// With the number of its first message if it is a session.
    members: std::vec::IntoIter<(StreamId, Option<u64>)>,
    /// The session whose turn it is, and the number of its next message.
    current: Option<(StreamId, u64)>,
}

/// The next thing to do with a member.
pub(super) enum Delivery {
    /// Pass this message to a session.
    Message(StreamId, Bytes),
    /// Let a feed go on.
    Feed(StreamId),
}

impl Iterator for News {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        loop {
            if let Some((id, number)) = &mut self.current {
                let message = self.messages.get((*number - self.first) as usize);
                *number += 1;
                if let Some(message) = message {
                    return Some(Delivery::Message(*id, message.clone()));
                }
            }
            match self.members.next()? {
                (id, Some(from)) => self.current = Some((id, from)),
                (id, None) => {
                    self.current = None;
                    return Some(Delivery::Feed(id));
                }
            }
        }
    }
}

/// Streams the messages of a topic, one after the other as they are.
pub(super) struct Feed {
    membership: Membership,
    /// The number of the next message.
    next: u64,
    /// What is left of a message.
    rest: Bytes,
    /// The server shuts down: it ends after the messages so far.
    is_draining: bool,
}

impl StreamHandler for Feed {
    fn draining(&mut self) {
        self.is_draining = true;
    }

    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        if !s.is_session_stream() {
            // Before the first message.
            s.send_head()?;
        }
        let topic = &self.membership.topic;
        loop {
            s.write_bytes(&mut self.rest)?;
            let is_stuck = !self.rest.is_empty();
            if is_stuck && topic.slow() == Slow::Drop {
                return Ok(Progress::Pending);
            }
            match topic.message(self.next) {
                Held::From(first) if topic.slow() == Slow::Drop => {
                    log::debug!("{:?}: too slow for {} messages of a topic", s.id(), first - self.next);
                    self.next = first;
                }
                Held::From(_) => {
                    log::info!("{:?}: too slow for a topic: reset", s.id());
                    s.reset(match s.is_session_stream() {
                        true => ErrorCode::webtransport(0),
                        false => ErrorCode::H3_EXCESSIVE_LOAD,
                    });
                    return Ok(Progress::Done);
                }
                _ if is_stuck => return Ok(Progress::Pending),
                Held::Message(message) => (self.rest, self.next) = (message, self.next + 1),
                Held::NotYet { is_closed } if is_closed || self.is_draining => return Ok(Progress::Done),
                Held::NotYet { .. } => return Ok(Progress::Pending),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crate::transport::table::ConnId;

    use super::*;

    /// Counts how often it is told.
    #[derive(Default)]
    struct Told(AtomicUsize);

    impl Loop for Told {
        fn resume(&self, _: StreamId) {}

        fn wake(&self, _: StreamId) -> Result<(), PostError> {
            Err(PostError::Closed)
        }

        fn on_news(&self, _: &Topic) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn stream(id: u64) -> StreamId {
        StreamId { conn: ConnId { index: 0, generation: 0 }, id }
    }

    /// The messages for each member that is a session, in the order of their delivery.
    fn deliveries(news: Option<News>) -> Vec<(u64, String)> {
        let message = |delivery| match delivery {
            Delivery::Message(id, message) => (id.id, String::from_utf8_lossy(&message).into_owned()),
            Delivery::Feed(id) => (id.id, "feed".to_owned()),
        };
        news.into_iter().flatten().map(message).collect()
    }

    #[test]
    fn a_loop_is_told_once_until_it_has_taken_everything() {
        let topic = Topic::with(3, Slow::Drop);
        let (told, other) = (Arc::<Told>::default(), Arc::<Told>::default());
        let (the_loop, other_loop): (Arc<dyn Loop>, Arc<dyn Loop>) = (told.clone(), other.clone());
        topic.publish("before");
        let zero = topic.join_session(the_loop.clone(), stream(0), 0);
        let _feed = topic.feed(the_loop.clone(), stream(4), 0);
        assert_eq!(told.0.load(Ordering::Relaxed), 0, "nothing is new for them");
        let _one = topic.join_session(the_loop.clone(), stream(8), 9);
        let _far = topic.join_session(other_loop.clone(), stream(0), 0);
        let count = |told: &Told| told.0.load(Ordering::Relaxed);
        assert_eq!((count(&told), count(&other)), (1, 0), "one is behind");
        assert_eq!(topic.members(), 4);
        topic.publish("a");
        topic.publish("b");
        assert_eq!((count(&told), count(&other)), (1, 1));
        let news = topic.take(&the_loop);
        topic.publish("c");
        let text = |list: &[(u64, &str)]| list.iter().map(|(id, text)| (*id, (*text).to_owned())).collect::<Vec<_>>();
        let expected = [(0, "a"), (0, "b"), (4, "feed"), (8, "before"), (8, "a"), (8, "b")];
        assert_eq!(deliveries(news), text(&expected));
        assert_eq!(count(&told), 1, "it has not taken everything");
        assert_eq!(deliveries(topic.take(&the_loop)), text(&[(0, "c"), (4, "feed"), (8, "c")]));
        assert!(topic.take(&the_loop).is_none());
        (0..9).for_each(|n| topic.publish(n.to_string()));
        assert_eq!((count(&told), count(&other)), (2, 1));
        drop(zero);
        let last = [(4, "feed"), (8, "6"), (8, "7"), (8, "8")];
        assert_eq!(deliveries(topic.take(&the_loop)), text(&last), "those before are not held any more");
        assert_eq!(deliveries(topic.take(&other_loop)).len(), 3);
        assert!(topic.take(&the_loop).is_none());
        topic.close();
        assert_eq!(count(&told), 3);
        assert_eq!(deliveries(topic.take(&the_loop)), text(&[(4, "feed")]));
        assert!(topic.take(&the_loop).is_none());
        assert_eq!(topic.history(), ["6", "7", "8"]);
    }
}
