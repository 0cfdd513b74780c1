//! The application's part of WebTransport: the decision about a request, and a handler for the session.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Item, List, ListEntry, Parser};

#[cfg(feature = "client")]
use super::client::ClientError;
use super::handler_result::HandlerResult;
use super::response::Response;
use super::stream_handler::{Progress, StreamHandle, StreamHandler};
use super::topic::{Loop, Membership, Slow, Topic};
use crate::endpoint;
use crate::error::{DatagramError, ErrorCode, HttpError, PostError, Result, SessionError};
use crate::h3::{Request, ResponseHead};
use crate::transport::table::StreamId;
use crate::wt::SessionEnd;

const AVAILABLE_PROTOCOLS: HeaderName = HeaderName::from_static("wt-available-protocols");
const PROTOCOL: HeaderName = HeaderName::from_static("wt-protocol");

/// A client's request for a session, to accept or reject. It dereferences to [`Request`].
#[derive(Debug)]
pub struct SessionRequest<'a> {
    request: &'a Request,
}

impl Deref for SessionRequest<'_> {
    type Target = Request;

    fn deref(&self) -> &Request {
        self.request
    }
}

impl<'a> SessionRequest<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        SessionRequest { request }
    }

    /// The origin of the requesting page, such as `https://example.com`. It has been checked against
    /// [`allow_origins`](crate::WebTransportConfig::allow_origins).
    pub fn origin(&self) -> Option<&str> {
        self.request.header("origin")
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn subprotocols(&self) -> Vec<String> {
        // Several lines are one list (RFC 9651 section 4.2); one that is no list of strings is ignored.
        let lines: Vec<_> =
            self.request.headers().get_all(AVAILABLE_PROTOCOLS).iter().map(HeaderValue::as_bytes).collect();
        let list: List = Parser::new(&lines.join(&b", "[..])).parse().unwrap_or_default();
        let name = |entry: &ListEntry| match entry {
            ListEntry::Item(Item { bare_item: BareItem::String(name), .. }) => Some(name.as_str().to_owned()),
            _ => None,
        };
        list.iter().filter_map(name).collect()
    }

    /// Accepts the session.
    pub fn accept(self, handler: impl SessionHandler + 'static) -> SessionResponse {
        SessionResponse(SessionDecision::Accept(Box::new(handler), HeaderMap::new()))
    }

    /// Accepts the session with one of the offered subprotocols.
    pub fn accept_with(self, subprotocol: &str, handler: impl SessionHandler + 'static) -> SessionResponse {
        let mut headers = HeaderMap::new();
        let quoted = format!("\"{}\"", subprotocol.replace('\\', "\\\\").replace('"', "\\\""));
        match HeaderValue::try_from(quoted) {
            Ok(value) if self.subprotocols().iter().any(|offered| offered == subprotocol) => {
                headers.insert(PROTOCOL, value);
                SessionResponse(SessionDecision::Accept(Box::new(handler), headers))
            }
            _ => {
                log::error!("a handler chose the subprotocol {subprotocol:?}, which was not offered");
                self.reject(500)
            }
        }
    }

    /// Rejects the session with a 4xx or 5xx status.
    pub fn reject(self, status: u16) -> SessionResponse {
        SessionResponse::reject(match status {
            400..=599 => Response::default().status(status),
            _ => Response::default().status(500),
        })
    }
}

/// The response to a request for a session.
#[derive(Debug)]
pub struct SessionResponse(pub(super) SessionDecision);

pub(super) enum SessionDecision {
    Accept(Box<dyn SessionHandler>, HeaderMap),
    Reject(Box<Response>),
}

impl std::fmt::Debug for SessionDecision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SessionDecision::Accept(_, headers) => f.debug_tuple("Accept").field(headers).finish(),
            SessionDecision::Reject(response) => f.debug_tuple("Reject").field(response).finish(),
        }
    }
}

impl SessionResponse {
    /// Rejects the session with a custom response.
    pub fn reject(response: Response) -> Self {
        SessionResponse(SessionDecision::Reject(Box::new(response)))
    }
}

impl HandlerResult<SessionResponse> for SessionResponse {
    fn into_result(self) -> Result<SessionResponse, HttpError> {
        Ok(self)
    }
}

/// A borrowed handle to a session, with everything that [`endpoint::Session`] has: datagrams, streams, the close.
pub struct Session<'a> {
    pub(super) inner: endpoint::Session<'a>,
    pub(super) changes: &'a mut Changes,
    pub(super) ties: &'a mut Ties,
    pub(super) the_loop: &'a Arc<dyn SessionLoop>,
}

/// What a [`SessionHandle`](super::SessionHandle) wants of a session.
pub(super) type SessionCall = Box<dyn FnOnce(&mut dyn SessionHandler, &mut Session<'_>) -> Result<()> + Send>;

/// The loop that runs a session, as handles see it.
pub(super) trait SessionLoop: Loop {
    /// Passes a call to the loop.
    fn call(&self, id: StreamId, call: SessionCall) -> Result<(), PostError>;
}

/// What ends with a session.
#[derive(Default)]
pub(super) struct Ties {
    pub(super) has_ended: HasEnded,
    topics: Vec<Membership>,
}

impl Ties {
    /// Whether the session is a member.
    pub(super) fn has_joined(&self, topic: &Topic) -> bool {
        self.topics.iter().any(|membership| membership.is_of(topic))
    }
}

/// Tells a session's handles of its end. Dropping it is the end.
#[derive(Default)]
pub(super) struct HasEnded(Option<Arc<AtomicBool>>);

impl HasEnded {
    pub(super) fn share(&mut self) -> Arc<AtomicBool> {
        Arc::clone(self.0.get_or_insert_default())
    }
}

impl Drop for HasEnded {
    fn drop(&mut self) {
        if let Some(has_ended) = &self.0 {
            has_ended.store(true, Ordering::Release);
        }
    }
}

/// The changes that a handler made to streams in one call.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) opened: Vec<StreamId>,
    pub(super) started: Vec<(StreamId, Box<dyn StreamHandler>)>,
    pub(super) released: Vec<StreamId>,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl<'a> Deref for Session<'a> {
    type Target = endpoint::Session<'a>;

    fn deref(&self) -> &endpoint::Session<'a> {
        &self.inner
    }
}

impl<'a> DerefMut for Session<'a> {
    fn deref_mut(&mut self) -> &mut endpoint::Session<'a> {
        &mut self.inner
    }
}

impl Session<'_> {
    /// Calls the handler's [`woken`](SessionHandler::woken) at `at`. A later call replaces the time of an earlier one.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use mio_quiche::{Result, Session, SessionHandler};
    ///
    /// /// Sends a datagram each second.
    /// struct Clock;
    ///
    /// impl SessionHandler for Clock {
    ///     fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
    ///         self.woken(s)
    ///     }
    ///
    ///     fn woken(&mut self, s: &mut Session<'_>) -> Result<()> {
    ///         s.wake_at(s.now() + Duration::from_secs(1));
    ///         Ok(s.send_datagram(b"tick")?)
    ///     }
    /// }
    /// ```
    pub fn wake_at(&mut self, at: Instant) {
        self.inner.wake_at(at);
    }

    /// Opens a bidirectional stream. The handler [runs](SessionHandler::ready) it itself, unless it lets a stream handler
    /// [do that](Session::run).
    ///
    /// # Errors
    /// [`SessionError::StreamLimit`] when the peer allows no more for now;
    /// [`streams_available`](SessionHandler::streams_available) is called when it does.
    pub fn open_bidi(&mut self) -> Result<StreamId, SessionError> {
        self.inner.open_bidi().inspect(|&id| self.changes.opened.push(id))
    }

    /// Opens a unidirectional stream.
    ///
    /// # Errors
    /// As [`open_bidi`](Session::open_bidi).
    pub fn open_uni(&mut self) -> Result<StreamId, SessionError> {
        self.inner.open_uni().inspect(|&id| self.changes.opened.push(id))
    }

    /// Lets a stream handler run a stream that was opened here or by the peer.
    pub fn run(&mut self, id: StreamId, handler: impl StreamHandler + 'static) {
        self.changes.started.push((id, Box::new(handler)));
    }

    /// Opens a unidirectional stream, and sends these bytes and its end on it.
    ///
    /// # Errors
    /// As [`open_bidi`](Session::open_bidi); nothing is sent then.
    pub fn send_stream(&mut self, bytes: impl Into<Bytes>) -> Result<StreamId, SessionError> {
        let mut bytes = bytes.into();
        let id = self.open_uni()?;
        self.run(id, move |stream: &mut endpoint::Stream<'_>| {
            let is_done = stream.finish_with(&mut bytes)?;
            Ok(if is_done { Progress::Done } else { Progress::Pending })
        });
        Ok(id)
    }

    /// Joins a topic: the handler's [`published`](SessionHandler::published) is called with the last `history` messages
    /// that the topic holds, and with each that is published until the session ends or [leaves](Session::leave).
    ///
    /// Does nothing if the session has joined already.
    ///
    /// A game: each player sends where it is, and gets where all are, twenty times a second and in one datagram.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::sync::{Arc, Mutex};
    /// use std::time::Duration;
    ///
    /// use bytes::Bytes;
    /// use mio_quiche::{Result, Router, Session, SessionEnd, SessionHandler, Slow, StreamId, Topic};
    ///
    /// /// Where the players are: x and y by number.
    /// type Positions = Arc<Mutex<BTreeMap<u16, [u8; 8]>>>;
    ///
    /// struct Player {
    ///     number: u16,
    ///     positions: Positions,
    ///     field: Topic,
    /// }
    ///
    /// impl SessionHandler for Player {
    ///     fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
    ///         s.join(&self.field, 0);
    ///         Ok(())
    ///     }
    ///
    ///     fn datagram(&mut self, _: &mut Session<'_>, payload: Bytes) -> Result<()> {
    ///         if let Ok(position) = payload[..].try_into() {
    ///             self.positions.lock().unwrap().insert(self.number, position);
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn closed(&mut self, _: StreamId, _: &SessionEnd) {
    ///         self.positions.lock().unwrap().remove(&self.number);
    ///     }
    /// }
    ///
    /// /// The message of a moment: number, x and y of each player.
    /// fn snapshot(positions: &Positions) -> Vec<u8> {
    ///     let positions = positions.lock().unwrap();
    ///     positions.iter().flat_map(|(number, position)| [&number.to_be_bytes()[..], position].concat()).collect()
    /// }
    ///
    /// // Only the latest moment counts.
    /// let (positions, field) = (Positions::default(), Topic::with(1, Slow::Drop));
    /// let (seen, published) = (positions.clone(), field.clone());
    /// std::thread::spawn(move || loop {
    ///     std::thread::sleep(Duration::from_millis(50));
    ///     published.publish(snapshot(&seen));
    /// });
    /// let mut number = 0;
    /// let router = Router::new().webtransport("/game", move |req| {
    ///     number += 1;
    ///     req.accept(Player { number, positions: positions.clone(), field: field.clone() })
    /// });
    /// assert!(router.check().is_ok());
    /// ```
    pub fn join(&mut self, topic: &Topic, history: usize) {
        if !self.ties.has_joined(topic) {
            self.ties.topics.push(topic.join_session(self.the_loop.clone(), self.id(), history));
        }
    }

    /// Leaves a topic.
    pub fn leave(&mut self, topic: &Topic) {
        self.ties.topics.retain(|membership| !membership.is_of(topic));
    }

    /// Lets a stream of this session send the messages of a topic, one after the other, as
    /// [`Response::feed`](crate::Response::feed) does. What the peer sends on the stream is not read.
    pub fn feed(&mut self, id: StreamId, topic: &Topic, history: usize) {
        let feed = topic.feed(self.the_loop.clone(), id, history);
        self.run(id, feed);
    }

    /// A handle of a stream of this session for other threads, such as one that the handler
    /// [runs](Session::run) or will run.
    pub fn stream_handle(&self, id: StreamId) -> StreamHandle {
        let the_loop = Arc::clone(self.the_loop);
        StreamHandle::new(id, move || the_loop.wake(id))
    }

    /// Resets a stream with a code of the application, and releases it.
    pub(super) fn abort(&mut self, id: StreamId, code: u32) {
        if let Some(mut stream) = self.inner.stream(id) {
            stream.reset(ErrorCode::webtransport(code));
        }
        self.release(id);
    }

    /// Releases a stream that the handler ran itself: an unfinished sending side is reset, unread data is discarded.
    pub fn release(&mut self, id: StreamId) {
        self.inner.release(id);
        self.changes.released.push(id);
    }
}

/// The application's side of a session.
///
/// Every method has a default. An error from any of them closes the session, but for an error of a stream
/// ([`Error::Stream`](crate::Error::Stream)), such as a peer's reset: that ends only the stream. A panic on a server
/// is like an error.
///
/// ```
/// use bytes::Bytes;
/// use mio_quiche::app::{Session, SessionHandler};
/// use mio_quiche::Result;
///
/// /// Sends every datagram back.
/// struct Ping;
///
/// impl SessionHandler for Ping {
///     fn datagram(&mut self, s: &mut Session<'_>, payload: Bytes) -> Result<()> {
///         Ok(s.send_datagram(&payload)?)
///     }
/// }
/// ```
pub trait SessionHandler {
    /// On a client: the server's response to the request, with any status and the chosen `wt-protocol`.
    fn response(&mut self, head: &ResponseHead) {
        let _ = head;
    }

    /// On a client: the session could not be opened.
    #[cfg(feature = "client")]
    fn failed(&mut self, error: &ClientError) {
        let _ = error;
    }

    /// The session is open.
    ///
    /// # Errors
    /// Any error but that of a stream closes the session.
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        let _ = s;
        Ok(())
    }

    /// A datagram arrived. By default it is dropped.
    ///
    /// # Errors
    /// Any error but that of a stream closes the session.
    fn datagram(&mut self, s: &mut Session<'_>, payload: Bytes) -> Result<()> {
        let _ = (s, payload);
        Ok(())
    }

    /// The peer opened a stream. Returns a handler for it, or `None` if this handler runs it in
    /// [`ready`](SessionHandler::ready). By default the stream is reset.
    ///
    /// # Errors
    /// An error of a stream ([`Error::Stream`](crate::Error::Stream)) resets this one, any other closes the session.
    fn stream(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        s.abort(id, 0);
        Ok(None)
    }

    /// A stream that the handler runs itself is ready for reading or writing. [Release](Session::release) it when done.
    ///
    /// # Errors
    /// As [`stream`](SessionHandler::stream).
    fn ready(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<()> {
        let _ = (s, id);
        Ok(())
    }

    /// The peer allows more streams, after a stream could not be opened.
    ///
    /// # Errors
    /// Any error but that of a stream closes the session.
    fn streams_available(&mut self, s: &mut Session<'_>) -> Result<()> {
        let _ = s;
        Ok(())
    }

    /// [`SessionHandle::wake`](super::SessionHandle::wake) was called, or the time of
    /// [`wake_at`](Session::wake_at) has come.
    ///
    /// # Errors
    /// Any error but that of a stream closes the session.
    fn woken(&mut self, s: &mut Session<'_>) -> Result<()> {
        let _ = s;
        Ok(())
    }

    /// A message of a topic that the session has [joined](Session::join). By default it is sent as a datagram, which is
    /// dropped if it cannot be sent; with [`Slow::End`], one that cannot because too many wait closes the session.
    ///
    /// # Errors
    /// Any error but that of a stream closes the session.
    fn published(&mut self, s: &mut Session<'_>, topic: &Topic, message: Bytes) -> Result<()> {
        match s.send_datagram(&message) {
            Err(DatagramError::QueueFull) if topic.slow() == Slow::End => Err(DatagramError::QueueFull.into()),
            _ => Ok(()),
        }
    }

    /// The peer asks to end the session soon.
    ///
    /// # Errors
    /// Any error but that of a stream closes the session.
    fn draining(&mut self, s: &mut Session<'_>) -> Result<()> {
        let _ = s;
        Ok(())
    }

    /// The session of this id has ended. One that the peer closes in the flight of its answer may end without having
    /// [opened](SessionHandler::opened).
    fn closed(&mut self, id: StreamId, end: &SessionEnd) {
        let _ = (id, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(protocols: &'static str) -> Request {
        let mut request = Request::for_test("CONNECT", "/wt");
        request.head.headers.insert(AVAILABLE_PROTOCOLS, HeaderValue::from_static(protocols));
        request
    }

    struct Nothing;
    impl SessionHandler for Nothing {}

    #[test]
    fn a_subprotocol_is_chosen_from_those_offered() {
        let request = request("\"echo-v1\", \"a \\\"b\\\"\";q=1, token, (\"inner\")");
        let ask = || SessionRequest::new(&request);
        assert_eq!(ask().subprotocols(), ["echo-v1", "a \"b\""]);
        let chosen = |name: &str| match ask().accept_with(name, Nothing).0 {
            SessionDecision::Accept(_, headers) => {
                headers.get(PROTOCOL).map(|v| v.to_str().unwrap_or_default().to_owned())
            }
            SessionDecision::Reject(response) => Some(response.head.status.to_string()),
        };
        assert_eq!(chosen("echo-v1").as_deref(), Some("\"echo-v1\""));
        assert_eq!(chosen("a \"b\"").as_deref(), Some("\"a \\\"b\\\"\""));
        assert_eq!(chosen("other").as_deref(), Some("500 Internal Server Error"));
        assert!(SessionRequest::new(&super::tests::request("1, nonsense,,")).subprotocols().is_empty());
        let mut request = self::request("\"a\"");
        request.head.headers.append(AVAILABLE_PROTOCOLS, HeaderValue::from_static("\"b\", \"c\""));
        assert_eq!(SessionRequest::new(&request).subprotocols(), ["a", "b", "c"], "several lines are one list");
    }
}
