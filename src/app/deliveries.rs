//! Messages of topics on their way to the members on a loop, some in each round.

use std::collections::VecDeque;
use std::sync::Arc;

use super::topic::{Delivery, Loop, News, Topic};

/// Members served in a round, so that packets are received and sent in between.
pub(super) const DELIVERIES_PER_ROUND: usize = 1024;

/// The topics with something new, in turn.
pub(super) struct Deliveries {
    news: VecDeque<News>,
    the_loop: Arc<dyn Loop>,
}

impl Deliveries {
    /// For members on this loop.
    pub(super) fn new(the_loop: Arc<dyn Loop>) -> Self {
        Deliveries { news: VecDeque::new(), the_loop }
    }

    /// A topic has news.
    pub(super) fn begin(&mut self, topic: &Topic) {
        self.news.extend(topic.take(&self.the_loop));
    }

    /// The next delivery, and its topic.
    pub(super) fn next(&mut self) -> Option<(Topic, Delivery)> {
        loop {
            let news = self.news.front_mut()?;
            if let Some(delivery) = news.next() {
                return Some((news.topic.clone(), delivery));
            }
            // What was published meanwhile comes after the other topics.
            if let Some(News { topic, .. }) = self.news.pop_front() {
                self.begin(&topic);
            }
        }
    }
}
