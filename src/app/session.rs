//! The application's part of WebTransport: the decision about a request, and a handler for the session.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Item, List, ListEntry, Parser};

#[cfg(feature = "client")]
use super::client::ClientError;
use super::response::Response;
use super::stream_handler::{Progress, StreamHandler};
use crate::endpoint;
use crate::error::{ErrorCode, PostError, Result, SessionError};
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

/// A borrowed handle to a session, with everything that [`endpoint::Session`] has: datagrams, streams, the close.
pub struct Session<'a> {
    pub(super) inner: endpoint::Session<'a>,
    pub(super) changes: &'a mut Changes,
    /// For handles.
    pub(super) post: &'a Post,
    pub(super) has_ended: &'a mut HasEnded,
}

/// What a [`SessionHandle`] wants of a session.
pub(super) type SessionCall = Box<dyn FnOnce(&mut dyn SessionHandler, &mut Session<'_>) -> Result<()> + Send>;

/// Passes a call to the loop.
pub(super) type Post = Arc<dyn Fn(StreamId, SessionCall) -> Result<(), PostError> + Send + Sync>;

/// Tells a session's handles of its end. Dropping it is the end.
#[derive(Default)]
pub(super) struct HasEnded(Option<Arc<AtomicBool>>);

impl HasEnded {
    fn share(&mut self) -> Arc<AtomicBool> {
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

/// A handle of an open session for other threads, and for the handlers of other sessions: see [`Session::handle`].
///
/// Every method queues a message for the loop, where up to 16384 wait, and returns at once. The messages of a thread
/// arrive in their order.
#[derive(Clone)]
pub struct SessionHandle {
    id: StreamId,
    post: Post,
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
    /// [`SessionHandler`].
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
        (self.post)(self.id, call)
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
        let mut bytes = bytes.into();
        self.post(move |s| match s.open_uni() {
            Ok(id) => {
                s.run(id, move |stream: &mut endpoint::Stream<'_>| {
                    stream.finish_with(&mut bytes)?;
                    Ok(if bytes.is_empty() { Progress::Done } else { Progress::Pending })
                });
                Ok(())
            }
            Err(error) => {
                log::debug!("{:?}: a stream of a handle is dropped: {error}", s.id());
                Ok(())
            }
        })
    }

    /// Calls the handler's [`woken`](SessionHandler::woken).
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
        SessionHandle { id: self.inner.id(), post: Arc::clone(self.post), has_ended: self.has_ended.share() }
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

    /// [`SessionHandle::wake`] was called.
    ///
    /// # Errors
    /// Any error but that of a stream closes the session.
    fn woken(&mut self, s: &mut Session<'_>) -> Result<()> {
        let _ = s;
        Ok(())
    }

    /// The peer asks to end the session soon.
    ///
    /// # Errors
    /// Any error but that of a stream closes the session.
    fn draining(&mut self, s: &mut Session<'_>) -> Result<()> {
        let _ = s;
        Ok(())
    }

    /// The session has ended. One that the peer closes in the flight of its answer may end without having
    /// [opened](SessionHandler::opened).
    fn closed(&mut self, end: &SessionEnd) {
        let _ = end;
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
