//! Requests, and handlers of their responses.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use url::{Host, Url};

use super::error::ClientError;
use crate::app::stream_handler::Progress;
use crate::endpoint::{RequestHead, Stream};
use crate::error::Result;
use crate::h3::{Recv, ResponseHead};

/// The server of a connection: host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Identifies a request of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(super) u64);

/// A request to send.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    pub(super) origin: Origin,
    pub(super) head: RequestHead,
    /// The handler writes a body.
    pub(super) has_body: bool,
    pub(super) body: Bytes,
    pub(super) timeout: Option<Duration>,
}

impl ClientRequest {
    /// A request without a body.
    ///
    /// # Errors
    /// [`ClientError::Url`] for anything but an `https` URL.
    pub fn new(method: Method, url: &str) -> std::result::Result<Self, ClientError> {
        let wrong = |reason: &str| ClientError::Url { url: url.to_owned(), reason: reason.to_owned() };
        let parsed = Url::parse(url).map_err(|e| wrong(&e.to_string()))?;
        if parsed.scheme() != "https" {
            return Err(wrong("HTTP/3 needs https"));
        }
        let host = match parsed.host().ok_or_else(|| wrong("it has no host"))? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let origin = Origin { host, port: parsed.port_or_known_default().unwrap_or(443) };
        let authority = match parsed.port() {
            Some(_) => origin.to_string(),
            None => parsed.host_str().unwrap_or_default().to_owned(),
        };
        let path = match parsed.query() {
            Some(query) => format!("{}?{query}", parsed.path()),
            None => parsed.path().to_owned(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("mio-quiche/", env!("CARGO_PKG_VERSION"))));
        if !parsed.username().is_empty() {
            let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            let user = format!("{}:{}", decode(parsed.username()), decode(parsed.password().unwrap_or_default()));
            let value = format!("Basic {}", data_encoding::BASE64.encode(user.as_bytes()));
            headers.insert(AUTHORIZATION, HeaderValue::try_from(value).map_err(|_| wrong("its user is malformed"))?);
        }
        let head = RequestHead { method, scheme: "https".to_owned(), authority, path, protocol: None, headers };
        Ok(ClientRequest { origin, head, has_body: false, body: Bytes::new(), timeout: None })
    }

    /// GET.
    ///
    /// # Errors
    /// As [`new`](ClientRequest::new).
    pub fn get(url: &str) -> std::result::Result<Self, ClientError> {
        Self::new(Method::GET, url)
    }

    /// POST. The [body](ClientRequest::body) is empty unless there is one.
    ///
    /// # Errors
    /// As [`new`](ClientRequest::new).
    pub fn post(url: &str) -> std::result::Result<Self, ClientError> {
        Self::new(Method::POST, url)
    }

    /// The head of the request.
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Sets a header field, replacing earlier ones of that name. `host` sets the authority.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        match (name == HOST).then(|| value.to_str().map(str::to_owned)) {
            Some(Ok(authority)) => self.head.authority = authority,
            _ => {
                self.head.headers.insert(name, value);
            }
        }
        self
    }

    /// Appends a header field to others of that name.
    #[must_use]
    pub fn append_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.head.headers.append(name, value);
        self
    }

    /// Removes a header field that would be sent otherwise.
    #[must_use]
    pub fn without_header(mut self, name: &HeaderName) -> Self {
        self.head.headers.remove(name);
        self
    }

    /// A body in memory.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.has_body = true;
        self.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        self
    }

    /// A body that the handler writes, with its length if known.
    #[must_use]
    pub fn streamed_body(mut self, length: Option<u64>) -> Self {
        self.has_body = true;
        if let Some(length) = length {
            self.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        self
    }

    /// Time limit, from the start of the request to its end.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The server: a name or an address without brackets, and the port.
    pub fn host(&self) -> (&str, u16) {
        (&self.origin.host, self.origin.port)
    }

    pub(super) fn session(mut self, subprotocols: &[String], origin: Option<&str>) -> Self {
        self.head.method = Method::CONNECT;
        self.head.protocol = Some("webtransport".to_owned());
        let own = format!("https://{}", self.head.authority);
        if let Ok(value) = HeaderValue::try_from(origin.unwrap_or(&own)) {
            self.head.headers.insert("origin", value);
        }
        self.head.headers.insert("sec-webtransport-http3-draft02", HeaderValue::from_static("1"));
        let quote = |name: &String| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        let offered = subprotocols.iter().map(quote).collect::<Vec<_>>().join(", ");
        if !offered.is_empty()
            && let Ok(value) = HeaderValue::try_from(offered)
        {
            self.head.headers.insert("wt-available-protocols", value);
        }
        self
    }
}

/// Options of a session to request.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    pub(super) request: ClientRequest,
    pub(super) subprotocols: Vec<String>,
    pub(super) origin: Option<String>,
}

impl SessionOptions {
    /// A session at an `https` URL.
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub fn new(url: &str) -> std::result::Result<Self, ClientError> {
        let request = ClientRequest::new(Method::CONNECT, url)?;
        Ok(SessionOptions { request, subprotocols: Vec::new(), origin: None })
    }

    /// Offers a subprotocol, after those offered before.
    #[must_use]
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.subprotocols.push(name.to_owned());
        self
    }

    /// Time limit until the server has accepted the session.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout = Some(timeout);
        self
    }

    /// The request for the session, for your own loop around an [`Endpoint`](crate::Endpoint).
    pub fn into_request(self) -> ClientRequest {
        self.request.session(&self.subprotocols, self.origin.as_deref())
    }

    /// The origin to send; by default that of the URL.
    #[must_use]
    pub fn origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
        self
    }
}

/// Writes a request's body and reads its response.
pub trait ResponseHandler {
    /// An informational response arrived (RFC 9110 section 15.2).
    fn informational(&mut self, head: &ResponseHead) {
        let _ = head;
    }

    /// The head of the response arrived; [`poll`](ResponseHandler::poll) follows.
    ///
    /// # Errors
    /// Any error cancels the request.
    fn response(&mut self, s: &mut Stream<'_>, head: &ResponseHead) -> Result<()> {
        let _ = (s, head);
        Ok(())
    }

    /// Called whenever either direction may progress, once the request's head was sent; runs until it would block.
    /// Writes the [body](ClientRequest::streamed_body), if there is one. Returns `Done` when it needs nothing more; the
    /// stream is then stopped.
    ///
    /// # Errors
    /// Any error cancels the request.
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress>;

    /// An HTTP datagram arrived for this request.
    ///
    /// # Errors
    /// Any error cancels the request.
    fn datagram(&mut self, s: &mut Stream<'_>, payload: Bytes) -> Result<()> {
        let _ = (s, payload);
        Ok(())
    }

    /// The server did not process the request, which can be sent again on another connection. Returns whether the body
    /// can be written again from the start. Called only for requests with a body. Default: false, and the request
    /// fails.
    fn restart(&mut self) -> bool {
        false
    }

    /// The request has ended. Called exactly once, with the result.
    fn finished(&mut self, result: std::result::Result<(), ClientError>);
}

/// A complete response in memory.
#[derive(Clone, Debug)]
pub struct FullResponse {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailer fields.
    pub trailers: HeaderMap,
}

/// Collects a response in memory.
pub(super) struct Collect {
    pub(super) body: Bytes,
    /// The rest of the request's body.
    pub(super) unsent: Bytes,
    pub(super) max: u64,
    pub(super) head: Option<ResponseHead>,
    pub(super) received: BytesMut,
    pub(super) trailers: HeaderMap,
    pub(super) done: std::sync::mpsc::Sender<std::result::Result<FullResponse, ClientError>>,
}

impl ResponseHandler for Collect {
    fn response(&mut self, _: &mut Stream<'_>, head: &ResponseHead) -> Result<()> {
        self.head = Some(head.clone());
        Ok(())
    }

    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        if s.is_sending() {
            s.finish_with(&mut self.unsent)?;
        }
        loop {
            match s.read_chunk(64 * 1024)? {
                Recv::Data(chunk) => self.received.extend_from_slice(&chunk),
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => {
                    self.trailers = s.trailers().cloned().unwrap_or_default();
                    return Ok(Progress::Done);
                }
            }
            if self.received.len() as u64 > self.max {
                return Err(crate::error::Error::handler(format!("the response is larger than {} bytes", self.max)));
            }
        }
    }

    fn restart(&mut self) -> bool {
        self.unsent = self.body.clone();
        true
    }

    fn finished(&mut self, result: std::result::Result<(), ClientError>) {
        let result = result.and_then(|()| {
            let Some(head) = self.head.take() else { return Err(ClientError::Cancelled) };
            let (body, trailers) = (std::mem::take(&mut self.received).freeze(), std::mem::take(&mut self.trailers));
            Ok(FullResponse { status: head.status, headers: head.headers, body, trailers })
        });
        // Fails only if the caller has stopped waiting.
        let _ = self.done.send(result);
    }
}
