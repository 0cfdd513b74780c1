//! Responses, those that are given later included.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::handler_result::HandlerResult;
#[cfg(feature = "files")]
use super::offload::Worker;
use super::offload::{CAPACITY, Pool};
use super::stream_handler::{StreamHandle, StreamHandler};
use super::topic::{Loop, Topic};
use super::typed_body;
use crate::endpoint::Stream;
use crate::error::{HttpError, StreamError};
use crate::h3::{Request, ResponseHead, TEXT_PLAIN, decimal, plain_response};
use crate::transport::table::StreamId;

/// A response under construction. A handler receives an empty 200 and returns the response.
///
/// Setters do not fail: an invalid field name or status turns the response into a 500 and is logged.
pub struct Response {
    pub(super) head: ResponseHead,
    pub(super) body: Body,
    /// For the request's body.
    pub(super) max_body: Option<u64>,
}

pub(super) enum Body {
    Bytes(Bytes),
    Handler(Box<dyn StreamHandler>),
    /// Makes the handler, once the stream is known.
    Make(Make),
    /// Called with the promise to answer.
    Later(Box<dyn FnOnce(Reply)>),
    /// Blocking work makes the answer, on another thread, if fewer jobs wait and run.
    Offload(Box<dyn FnOnce() -> Answer + Send>, usize),
    /// Needs the request's body.
    Collect(Collect),
}

/// Makes the handler of a response on this stream and loop, with these threads for blocking work.
type Make = Box<dyn FnOnce(StreamId, Arc<dyn Loop>, &Pool) -> Box<dyn StreamHandler>>;

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = match &self.body {
            Body::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Body::Handler(_) | Body::Make(_) => "streamed".to_owned(),
            Body::Later(_) | Body::Offload(..) => "later".to_owned(),
            Body::Collect(_) => "after the request's body".to_owned(),
        };
        f.debug_struct("Response").field("head", &self.head).field("body", &body).finish()
    }
}

impl Default for Response {
    fn default() -> Self {
        Response {
            head: ResponseHead { status: StatusCode::OK, headers: HeaderMap::new() },
            body: Body::Bytes(Bytes::new()),
            max_body: None,
        }
    }
}

impl Response {
    /// Sets the status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        match StatusCode::from_u16(status) {
            Ok(status) if !status.is_informational() => self.head.status = status,
            _ => return self.broken(&format!("{status} is not a final status")),
        }
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => {
                self.head.headers.append(name, value);
                self
            }
            (Ok(name), Err(_)) => self.broken(&format!("the value of field '{name}' is invalid")),
            (Err(_), _) => self.broken("a field name is invalid"),
        }
    }

    fn broken(self, why: &str) -> Self {
        log::error!("a handler returned an invalid response: {why}");
        Response::plain(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// A text body.
    #[must_use]
    pub fn text(self, text: impl Into<Bytes>) -> Self {
        self.bytes(TEXT_PLAIN, text)
    }

    /// An HTML body.
    #[must_use]
    pub fn html(self, html: impl Into<Bytes>) -> Self {
        self.bytes("text/html; charset=utf-8", html)
    }

    /// A JSON body; a value that cannot be serialised becomes a 500.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(mut json) => {
                json.push(b'\n');
                self.bytes("application/json", json)
            }
            Err(e) => self.broken(&format!("cannot serialise JSON: {e}")),
        }
    }

    /// A body of any media type.
    #[must_use]
    pub fn bytes(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Body::Bytes(body.into());
        self
    }

    /// A redirect to `location` with 301, 302, 303, 307 or 308.
    #[must_use]
    pub fn redirect(self, status: u16, location: &str) -> Self {
        self.status(status).header(LOCATION, location)
    }

    /// A body that `handler` streams. The handler may still change the head, by [`Stream::head_mut`], before it
    /// writes.
    ///
    /// [`Stream::head_mut`]: crate::Stream::head_mut
    #[must_use]
    pub fn stream(mut self, handler: impl StreamHandler + 'static) -> Self {
        self.body = Body::Handler(Box::new(handler));
        self
    }

    /// As [`stream`](Response::stream), with a handle by which another thread wakes the handler that `make` returns.
    ///
    /// ```
    /// use std::sync::mpsc::{TryRecvError, channel};
    ///
    /// use bytes::Bytes;
    /// use mio_quiche::{Progress, Router, Stream};
    ///
    /// let router = Router::new().get("/countdown", |_req, res| {
    ///     res.stream_with(|handle| {
    ///         let (sender, lines) = channel();
    ///         std::thread::spawn(move || {
    ///             for n in (0..10).rev() {
    ///                 // The client may be gone, and the handler with it.
    ///                 if sender.send(Bytes::from(format!("{n}\n"))).is_err() || handle.wake().is_err() {
    ///                     break;
    ///                 }
    ///                 std::thread::sleep(std::time::Duration::from_secs(1));
    ///             }
    ///             drop(sender);
    ///             let _ = handle.wake();
    ///         });
    ///         let mut line = Bytes::new();
    ///         move |s: &mut Stream<'_>| loop {
    ///             s.write_bytes(&mut line)?;
    ///             if !line.is_empty() {
    ///                 return Ok(Progress::Pending);
    ///             }
    ///             line = match lines.try_recv() {
    ///                 Ok(line) => line,
    ///                 Err(TryRecvError::Empty) => return Ok(Progress::Pending),
    ///                 Err(TryRecvError::Disconnected) => return Ok(Progress::Done),
    ///             };
    ///         }
    ///     })
    /// });
    /// assert!(router.check().is_ok());
    /// ```
    #[must_use]
    pub fn stream_with<H: StreamHandler + 'static>(mut self, make: impl FnOnce(StreamHandle) -> H + 'static) -> Self {
        self.body = Body::Make(Box::new(move |id, the_loop, _| {
            Box::new(make(StreamHandle::new(id, move || the_loop.wake(id))))
        }));
        self
    }

    /// As [`stream`](Response::stream), with threads for blocking work, of which `capacity` jobs may wait and run.
    #[cfg(feature = "files")]
    pub(super) fn stream_with_pool<H: StreamHandler + 'static>(
        mut self,
        capacity: usize,
        make: impl FnOnce(Worker) -> H + 'static,
    ) -> Self {
        self.body = Body::Make(Box::new(move |id, the_loop, pool| {
            Box::new(make(Worker { pool: pool.clone(), id, the_loop, capacity }))
        }));
        self
    }

    /// A body of the messages of a [topic](Topic), one after the other as they are: the last `history` that it holds,
    /// and then each that is published, until the topic is [closed](Topic::close) or the server shuts down. The head is sent at once.
    #[must_use]
    pub fn feed(mut self, topic: &Topic, history: usize) -> Self {
        let topic = topic.clone();
        self.body = Body::Make(Box::new(move |id, the_loop, _| Box::new(topic.feed(the_loop, id, history))));
        self
    }

    /// Begins a stream of [server-sent events](super::ServerSentEvent): sets the media type `text/event-stream`, and
    /// `cache-control: no-cache`, so that no cache repeats it. A body of events follows, such as a
    /// [feed](Response::feed).
    #[must_use]
    pub fn event_stream(mut self) -> Self {
        self.head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        self.head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self
    }

    /// A response that is given later, such as by another thread. `start` is called at once, on the loop's thread,
    /// and passes the [`Reply`] on. The loop serves others meanwhile. What was not read of the request's body is
    /// discarded after the answer.
    ///
    /// ```
    /// use mio_quiche::Router;
    ///
    /// let router = Router::new().get("/report/:id", |req, res| {
    ///     let id = req.param("id").unwrap_or_default().into_owned();
    ///     res.later(move |reply| {
    ///         std::thread::spawn(move || {
    ///             let report = format!("what a slow database says of {id}\n");
    ///             reply.send(move |res| res.text(report));
    ///         });
    ///     })
    /// });
    /// assert!(router.check().is_ok());
    /// ```
    #[must_use]
    pub fn later(mut self, start: impl FnOnce(Reply) + 'static) -> Self {
        self.body = Body::Later(Box::new(start));
        self
    }

    /// Runs blocking work, such as a query of a database, on a small pool of threads
    /// ([`offload_threads`](crate::ServerConfig::offload_threads)), and then calls `then` with its result on the loop's
    /// thread. The loop serves others meanwhile. The work does not run if the client is gone when its turn comes.
    ///
    /// When 1024 jobs run or wait, the answer is 503. A panic of the work costs its request only.
    ///
    /// ```
    /// use mio_quiche::Router;
    ///
    /// let router = Router::new().get("/hosts", |_req, res| {
    ///     // An error becomes a 500, and is logged.
    ///     res.offload(|| std::fs::read_to_string("/etc/hosts"), |hosts, res| Ok(res.text(hosts?)))
    /// });
    /// assert!(router.check().is_ok());
    /// ```
    #[must_use]
    pub fn offload<T: Send + 'static, R: HandlerResult<Response>>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(T, Response) -> R + Send + 'static,
    ) -> Self {
        self.offload_within(CAPACITY, work, then)
    }

    /// As [`offload`](Response::offload), with another number of jobs that may wait and run.
    pub(super) fn offload_within<T: Send + 'static, R: HandlerResult<Response>>(
        mut self,
        capacity: usize,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(T, Response) -> R + Send + 'static,
    ) -> Self {
        let job = || -> Answer {
            let result = work();
            Box::new(|res| then(result, res).into_result())
        };
        self.body = Body::Offload(Box::new(job), capacity);
        self
    }

    /// Reads the whole body of the request, of at most `limit` bytes, and then calls `then`, which makes the
    /// response: it receives this one. A longer body is answered with 413, and one that never ends is bounded by the
    /// server's time limits. As a handler, `then` may return [an error](super::HandlerResult).
    ///
    /// ```
    /// use mio_quiche::Router;
    ///
    /// let router = Router::new().post("/length", |_req, res| {
    ///     res.body(64 * 1024, |_req, body, res| res.text(format!("{} bytes\n", body.len())))
    /// });
    /// assert!(router.check().is_ok());
    /// ```
    #[must_use]
    pub fn body<R: HandlerResult<Response>>(
        mut self,
        limit: usize,
        then: impl FnOnce(&Request, Bytes, Response) -> R + 'static,
    ) -> Self {
        let then = |request: &Request, body: Bytes, res: Response| then(request, body, res).into_result();
        self.body = Body::Collect(Collect { body: Vec::new(), limit, then: Box::new(then) });
        self
    }

    /// As [`body`](Response::body), for the fields of a form (`application/x-www-form-urlencoded`), as browsers send it.
    /// A body of another media type is answered with 415, and fields that are not those of the value with 422 and a text
    /// that names the field.
    ///
    /// ```
    /// use mio_quiche::Router;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Entry {
    ///     name: String,
    ///     #[serde(default)]
    ///     tags: Vec<String>,
    /// }
    ///
    /// let router = Router::new().post("/guestbook", |_req, res| {
    ///     res.body_form(64 * 1024, |_req, entry: Entry, res| {
    ///         res.text(format!("{} has {} tags\n", entry.name, entry.tags.len()))
    ///     })
    /// });
    /// assert!(router.check().is_ok());
    /// ```
    #[must_use]
    pub fn body_form<T: DeserializeOwned + 'static, R: HandlerResult<Response>>(
        self,
        limit: usize,
        then: impl FnOnce(&Request, T, Response) -> R + 'static,
    ) -> Self {
        self.body(limit, |request, body, res| {
            let value = typed_body::form(request, &body)?;
            then(request, value, res).into_result()
        })
    }

    /// As [`body`](Response::body), for a value in JSON. A body of another media type is answered with 415, one that
    /// is not JSON with 400, and JSON of another value with 422 and a text that names the field.
    ///
    /// ```
    /// use mio_quiche::Router;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Message {
    ///     text: String,
    /// }
    ///
    /// let router = Router::new().post("/messages", |_req, res| {
    ///     res.body_json(64 * 1024, |_req, message: Message, res| res.status(201).text(message.text))
    /// });
    /// assert!(router.check().is_ok());
    /// ```
    #[must_use]
    pub fn body_json<T: DeserializeOwned + 'static, R: HandlerResult<Response>>(
        self,
        limit: usize,
        then: impl FnOnce(&Request, T, Response) -> R + 'static,
    ) -> Self {
        self.body(limit, |request, body, res| {
            let value = typed_body::json(request, &body)?;
            then(request, value, res).into_result()
        })
    }

    /// A 400 whose body is the text of an error, such as that of [`Request::param_as`](crate::Request::param_as). A
    /// handler that returns a `Result` gives the same response by `?`.
    #[must_use]
    pub fn bad_request(self, error: impl std::fmt::Display) -> Self {
        self.status(400).text(format!("{error}\n"))
    }

    /// Limits the request's body for a [streaming](Response::stream) handler, instead of
    /// [`max_request_body`](crate::ServerConfig::max_request_body). A longer body is answered with 413.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// This response, with the fields of the one that it was to begin with.
    pub(super) fn after(mut self, begun: Response) -> Self {
        let fields = std::mem::replace(&mut self.head.headers, begun.head.headers);
        self.head.headers.extend(fields);
        self
    }

    /// The plain response for a status, with its phrase as the body.
    pub(crate) fn plain(status: StatusCode) -> Self {
        let (headers, body) = plain_response(status, None);
        Response { head: ResponseHead { status, headers }, body: Body::Bytes(body), max_body: None }
    }

    /// Replaces an error without a body by its plain response, and sets `content-length` where it is known (RFC 9110
    /// section 8.6: not for 204 and 304).
    pub(super) fn complete(&mut self, request: &Request) {
        let status = self.head.status;
        if status == StatusCode::NO_CONTENT {
            self.head.headers.remove(CONTENT_LENGTH);
        }
        let Body::Bytes(body) = &mut self.body else { return };
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            self.head.headers.remove(CONTENT_LENGTH);
            *body = Bytes::new();
            return;
        }
        if status == StatusCode::RESET_CONTENT {
            *body = Bytes::new();
        }
        let is_error = status.is_client_error() || status.is_server_error();
        if body.is_empty() && is_error && !self.head.headers.contains_key(CONTENT_LENGTH) {
            let (headers, plain) = plain_response(status, None);
            *body = plain;
            self.head.headers.extend(headers);
        }
        // A response to HEAD may declare a length without a body.
        if !(request.method() == Method::HEAD && self.head.headers.contains_key(CONTENT_LENGTH)) {
            self.head.headers.insert(CONTENT_LENGTH, decimal(body.len() as u64));
        }
    }
}

impl HandlerResult<Response> for Response {
    fn into_result(self) -> Result<Response, HttpError> {
        Ok(self)
    }
}

type Then = Box<dyn FnOnce(&Request, Bytes, Response) -> Result<Response, HttpError>>;

/// A response that is made from the request's whole body.
pub(super) struct Collect {
    body: Vec<u8>,
    limit: usize,
    then: Then,
}

impl Collect {
    /// Whether a body of this length may come.
    pub(super) fn allows(&self, declared: Option<u64>) -> bool {
        declared.is_none_or(|len| len <= self.limit as u64)
    }

    /// Reads what is there. True once the body is whole.
    pub(super) fn poll(&mut self, stream: &mut Stream<'_>) -> Result<bool, StreamError> {
        stream.read_to_end(&mut self.body, self.limit)
    }

    /// The response, which `res` is the beginning of.
    pub(super) fn finish(self, request: &Request, res: Response) -> Result<Response, HttpError> {
        (self.then)(request, self.body.into(), res)
    }
}

/// Makes a deferred response, on the loop's thread.
pub(super) type Answer = Box<dyn FnOnce(Response) -> Result<Response, HttpError> + Send>;

/// The promise to answer a request, made by [`Response::later`]. It can be sent to another thread.
///
/// Dropping it unanswered answers with 500.
pub struct Reply {
    /// Passes the answer to the loop, or that there is none; `None` once it was called.
    pass: Option<Box<dyn FnOnce(Option<Answer>) + Send>>,
    cancellation: Arc<Cancellation>,
}

/// What tells a [`Reply`] that its answer is of no use any more.
#[derive(Debug, Default)]
struct Cancellation {
    is_cancelled: AtomicBool,
    /// The task that waits for it.
    task: Mutex<Option<Waker>>,
}

impl Cancellation {
    /// The new waiting task, and the one before.
    fn swap(&self, task: Option<Waker>) -> Option<Waker> {
        std::mem::replace(&mut *self.task.lock().unwrap_or_else(PoisonError::into_inner), task)
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("is_cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

impl Reply {
    /// Answers. `answer` runs on the loop's thread and receives the response on which [`Response::later`] was called;
    /// it is not called if the client is gone.
    ///
    /// The call neither blocks nor fails.
    pub fn send<R: HandlerResult<Response>>(mut self, answer: impl FnOnce(Response) -> R + Send + 'static) {
        if let Some(pass) = self.pass.take() {
            pass(Some(Box::new(|res| answer(res).into_result())));
        }
    }

    /// Whether the answer is of no use any more: the client cancelled the request or closed the connection, or the
    /// server has ended.
    pub fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled.load(Ordering::Acquire)
    }

    /// Waits, on any asynchronous runtime, until the answer [is of no use](Reply::is_cancelled), so that the work for it
    /// can be dropped. One task may wait: it is the latest that is woken. After the answer, the time is unspecified.
    ///
    /// ```
    /// use mio_quiche::Response;
    /// use tokio::runtime::Handle;
    ///
    /// fn report(tokio: Handle, res: Response) -> Response {
    ///     res.later(move |reply| {
    ///         tokio.spawn(async move {
    ///             tokio::select! {
    ///                 rows = query() => reply.send(|res| res.text(rows)),
    ///                 () = reply.cancelled() => {}
    ///             }
    ///         });
    ///     })
    /// }
    /// # async fn query() -> String { String::new() }
    /// ```
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        let cancellation = Arc::clone(&self.cancellation);
        poll_fn(move |task| {
            // First, so that a cancellation from now on finds it.
            cancellation.swap(Some(task.waker().clone()));
            match cancellation.is_cancelled.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            pass(None);
        }
    }
}

/// The server's side of a [`Reply`]. Dropping it cancels that.
#[derive(Debug)]
pub(super) struct Later {
    /// What the handler set before.
    pub(super) head: ResponseHead,
    cancellation: Arc<Cancellation>,
}

impl Later {
    /// For a response with this head. `pass` is called once, with the answer or without one.
    pub(super) fn new(head: ResponseHead, pass: impl FnOnce(Option<Answer>) + Send + 'static) -> (Self, Reply) {
        let cancellation = Arc::<Cancellation>::default();
        let reply = Reply { pass: Some(Box::new(pass)), cancellation: Arc::clone(&cancellation) };
        (Later { head, cancellation }, reply)
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        self.cancellation.is_cancelled.store(true, Ordering::Release);
        if let Some(task) = self.cancellation.swap(None) {
            task.wake();
        }
    }
}

#[cfg(test)]
impl Response {
    pub(super) fn body_text(&self) -> String {
        match &self.body {
            Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Body::Handler(_) | Body::Make(_) => "streamed".to_owned(),
            Body::Later(_) | Body::Offload(..) => "later".to_owned(),
            Body::Collect(_) => "after the request's body".to_owned(),
        }
    }
}
