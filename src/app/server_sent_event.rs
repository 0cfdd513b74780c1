//! Server-sent events: the format of one.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;

/// One event of a stream of server-sent events (`text/event-stream`, section 9.2 of the HTML standard), for a response
/// that begins as [`event_stream`](crate::Response::event_stream).
///
/// Line breaks in `data` and in a comment make several lines, which the client joins again; in a name or an id, where
/// the format has no place for them, they become spaces.
///
/// ```
/// use std::time::Duration;
///
/// use mio_quiche::{Router, ServerSentEvent, Topic};
///
/// let news = Topic::new();
/// let publisher = news.clone();
/// let router = Router::new().get("/events", move |_req, res| res.event_stream().feed(&news, 0));
/// assert!(router.check().is_ok());
///
/// let event = ServerSentEvent::new().event("note").id(7).retry(Duration::from_secs(2)).data("buy milk\nand oats");
/// publisher.publish(event.clone());
/// assert_eq!(
///     event.into_bytes(),
///     "event: note\nid: 7\nretry: 2000\ndata: buy milk\ndata: and oats\n\n",
/// );
/// // Nothing for the page, but proxies see that the connection is alive.
/// publisher.publish(ServerSentEvent::new().comment("alive"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSentEvent {
    lines: String,
}

impl ServerSentEvent {
    /// An event without fields. A browser passes it to the page only with [data](ServerSentEvent::data).
    pub fn new() -> Self {
        Self::default()
    }

    /// The data, such as a number or JSON (`serde_json::json!(value)`). A second call adds lines.
    #[must_use]
    pub fn data(self, data: impl Display) -> Self {
        self.lines("data: ", &data.to_string())
    }

    /// The event's name, for which the page listens. The default is `message`.
    #[must_use]
    pub fn event(self, name: impl Display) -> Self {
        self.line("event: ", &name.to_string())
    }

    /// The event's id. After an interruption, the browser sends the last one as `last-event-id` in its next request,
    /// unless it has a NUL.
    #[must_use]
    pub fn id(self, id: impl Display) -> Self {
        self.line("id: ", &id.to_string())
    }

    /// How long the browser waits after an interruption until it connects again, in whole milliseconds.
    #[must_use]
    pub fn retry(self, after: Duration) -> Self {
        self.line("retry: ", &after.as_millis().to_string())
    }

    /// A comment, which clients ignore.
    #[must_use]
    pub fn comment(self, text: impl Display) -> Self {
        self.lines(": ", &text.to_string())
    }

    /// The event as it is sent, with the empty line at its end.
    pub fn into_bytes(mut self) -> Bytes {
        self.lines.push('\n');
        self.lines.into()
    }

    fn line(mut self, field: &str, value: &str) -> Self {
        self.lines.push_str(field);
        self.lines.push_str(&value.replace("\r\n", " ").replace(['\r', '\n'], " "));
        self.lines.push('\n');
        self
    }

    fn lines(self, field: &str, text: &str) -> Self {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        text.split('\n').fold(self, |event, line| event.line(field, line))
    }
}

impl From<ServerSentEvent> for Bytes {
    fn from(event: ServerSentEvent) -> Bytes {
        event.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_the_framing() {
        let text = |event: ServerSentEvent| String::from_utf8(event.into_bytes().to_vec()).expect("text");
        let event = ServerSentEvent::new;
        assert_eq!(text(event()), "\n");
        assert_eq!(text(event().data("")), "data: \n\n");
        assert_eq!(text(event().data("a\n\nb\r\nc\rd\n")), "data: a\ndata: \ndata: b\ndata: c\ndata: d\ndata: \n\n");
        assert_eq!(text(event().data(1).data(2)), "data: 1\ndata: 2\n\n");
        assert_eq!(text(event().event("a\ndata: b\r\n\rc").data(' ')), "event: a data: b  c\ndata:  \n\n");
        assert_eq!(text(event().id("7\n\n")), "id: 7  \n\n");
        assert_eq!(text(event().comment("a\nb")), ": a\n: b\n\n");
        assert_eq!(text(event().retry(Duration::from_micros(1999))), "retry: 1\n\n");
    }
}
