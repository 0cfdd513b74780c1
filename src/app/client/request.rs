//! Requests, and handlers of their responses.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use serde::Serialize;
use url::{Host, ParseError, Url};

use super::error::ClientError;
use crate::app::stream_handler::Progress;
use crate::endpoint::{RequestHead, Stream};
use crate::error::Result;
use crate::h3::ResponseHead;

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
    pub(super) url: Url,
    pub(super) max_redirects: Option<usize>,
    pub(super) save_to: Option<PathBuf>,
}

impl ClientRequest {
    /// A request without a body.
    ///
    /// # Errors
    /// [`ClientError::Url`] for anything but an `https` URL.
    pub fn new(method: Method, url: &str) -> std::result::Result<Self, ClientError> {
        let parsed = Url::parse(url).map_err(|e| match e {
            ParseError::InvalidIpv6Address if url.contains('%') => {
                ClientError::url(url, "IPv6 addresses with a zone are not supported")
            }
            e => ClientError::url(url, &e.to_string()),
        })?;
        Self::to(method, parsed).map_err(|reason| ClientError::url(url, reason))
    }

    /// A request to a URL.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(super) fn to(method: Method, mut url: Url) -> std::result::Result<Self, &'static str> {
        if url.scheme() != "https" {
            return Err("HTTP/3 needs https");
        }
        let host = match url.host().ok_or("it has no host")? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let origin = Origin { host, port: url.port_or_known_default().unwrap_or(443) };
        let authority = match url.port() {
            Some(_) => origin.to_string(),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("mio-quiche/", env!("CARGO_PKG_VERSION"))));
        if !url.username().is_empty() || url.password().is_some() {
            let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            let user = format!("{}:{}", decode(url.username()), decode(url.password().unwrap_or_default()));
            let value = format!("Basic {}", data_encoding::BASE64.encode(user.as_bytes()));
            headers.insert(AUTHORIZATION, HeaderValue::try_from(value).map_err(|_| "its user is malformed")?);
            // Not shown with the response. Neither fails for a URL with a host.
            let _ = (url.set_username(""), url.set_password(None));
        }
        let head = RequestHead { method, scheme: "https".to_owned(), authority, path, protocol: None, headers };
        let (has_body, body) = Default::default();
        let (timeout, max_redirects, save_to) = Default::default();
        Ok(ClientRequest { origin, head, has_body, body, timeout, url, max_redirects, save_to })
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

    /// A body in JSON, with its `content-type`.
    ///
    /// # Errors
    /// [`ClientError::Json`] if the value cannot be written as JSON, as a map whose keys are no strings.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> std::result::Result<Self, ClientError> {
        let body = serde_json::to_vec(value).map_err(|e| ClientError::Json(Arc::new(e)))?;
        Ok(self.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body))
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

    /// Follows at most `max` redirects (RFC 9110 section 15.4); one more is the error
    /// [`TooManyRedirects`](ClientError::TooManyRedirects). With 0, a redirect is a response like any other. Default: 0 for
    /// requests with a handler, as [`start`](crate::Client::start) and [`run_one`](crate::Client::run_one) take;
    /// [`ClientConfig::max_redirects`](crate::ClientConfig::max_redirects) for those without, as
    /// [`fetch`](crate::Client::fetch) takes.
    ///
    /// 301 and 302 change POST into a GET without a body, 303 any method but HEAD. All others keep method and body. At
    /// another origin, the request has no `authorization`, `proxy-authorization` and `cookie` fields of its own any more.
    /// Only `https` URLs are followed. The [timeout](ClientRequest::timeout) covers all of them together.
    #[must_use]
    pub fn max_redirects(mut self, max: usize) -> Self {
        self.max_redirects = Some(max);
        self
    }

    /// Writes the body of a successful (2xx) response into this file as it arrives, without a limit of its length and
    /// without holding it in memory; [`ClientResponse::body`](crate::ClientResponse::body) is then empty. The body of any
    /// other response is kept in memory, and there is no file. For requests without a handler, as
    /// [`fetch`](crate::Client::fetch) and [`fetch_all`](crate::Client::fetch_all) take.
    ///
    /// ```no_run
    /// use mio_quiche::{Client, ClientConfig, ClientRequest};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut client = Client::new(ClientConfig::default())?;
    /// let request = ClientRequest::get("https://example.com/large.iso")?.save_to("large.iso");
    /// client.fetch(request)?.error_for_status()?;
    /// # Ok(()) }
    /// ```
    ///
    /// The file appears when the body is complete, and replaces an earlier one. Until then it has a temporary name in the
    /// same directory, such as `.large.iso.Xy1Z2w.part`, and it is removed after a failure. What is not a regular file, as
    /// a device or a pipe, is written to directly.
    #[must_use]
    pub fn save_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.save_to = Some(path.into());
        self
    }

    /// The URL, without user and password.
    pub fn url(&self) -> &str {
        self.url.as_str()
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

    /// Appends a header field, which the server's [`SessionRequest`](crate::SessionRequest) shows.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.request = self.request.append_header(name, value);
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

    /// The request goes on at another URL, because of a redirect that is [followed](ClientRequest::max_redirects). If its
    /// body is to be written again, [`restart`](ResponseHandler::restart) was called; if it became a GET, there is none
    /// any more, and [`Stream::is_sending`] is false.
    fn redirected(&mut self, url: &str) {
        let _ = url;
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

    /// The server did not process the request, which can be sent again on another connection, or redirected it with its
    /// body. Returns whether the body can be written again from the start. Called only for requests with a body. Default: false, and the request
    /// fails.
    fn restart(&mut self) -> bool {
        false
    }

    /// The request has ended. Called exactly once, with the result.
    fn finished(&mut self, result: std::result::Result<(), ClientError>);
}
