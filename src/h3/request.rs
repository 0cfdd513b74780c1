//! A request as the application sees it.

use std::borrow::Cow;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::form::{self, FormError};
use super::validate::Head;
use crate::error::ParamError;
use crate::transport::table::StreamId;

/// A request's head: valid, and not yet answered. Read the body from its [`Stream`](crate::Stream).
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) head: Head,
    stream: StreamId,
    peer: SocketAddr,
    is_early: bool,
    is_resumed: bool,
    pattern: Option<Arc<str>>,
    /// The path in normal form, if that differs.
    normal_path: Option<String>,
    /// Where each parameter's value is in the normal path.
    params: Vec<(Arc<str>, Range<usize>)>,
    extensions: Extensions,
}

impl Request {
    pub(crate) fn new(head: Head, stream: StreamId, peer: SocketAddr, is_early: bool, is_resumed: bool) -> Self {
        let (pattern, normal_path, params, extensions) = Default::default();
        Request { head, stream, peer, is_early, is_resumed, pattern, normal_path, params, extensions }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// `:protocol` of an extended CONNECT (RFC 9220), such as `webtransport`.
    pub fn protocol(&self) -> Option<&str> {
        self.head.protocol.as_deref()
    }

    /// `:scheme`: `https`, or empty for CONNECT.
    pub fn scheme(&self) -> &str {
        self.head.scheme
    }

    /// `:authority`, or `host` when it is missing.
    pub fn authority(&self) -> &str {
        &self.head.authority
    }

    /// The path as sent, percent-encoded. It may differ from the normal form that routes are compared with.
    pub fn path(&self) -> &str {
        self.head.target.split('?').next().unwrap_or_default()
    }

    /// The query after the `?`, percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.head.target.split_once('?').map(|(_, query)| query)
    }

    /// The first query parameter of this name, percent-decoded and with `+` for a space.
    pub fn query_param(&self, name: &str) -> Option<Cow<'_, str>> {
        form::values(self.query()?, name).next().map(Cow::Owned)
    }

    /// The header fields, without the pseudo-header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// A header field's value, if it is there and visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The body's length, if the client declared it.
    pub fn content_length(&self) -> Option<u64> {
        self.head.content_length
    }

    /// The value of the route's parameter `:name` (or `*`, for the rest of the path), percent-decoded; `%2F` is then
    /// part of the value, not a separator. `None` if the route has no such parameter or the value is not UTF-8.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.param_bytes(name)? {
            Cow::Borrowed(value) => std::str::from_utf8(value).ok().map(Cow::Borrowed),
            Cow::Owned(value) => String::from_utf8(value).ok().map(Cow::Owned),
        }
    }

    /// As [`param`](Request::param), for values that may not be UTF-8, such as file names.
    pub fn param_bytes(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let (_, range) = self.params.iter().find(|(n, _)| &**n == name)?;
        Some(percent_decode_str(self.normal_path().get(range.clone())?).into())
    }

    /// The value of the route's parameter `:name` as a number or another type.
    ///
    /// ```
    /// use mio_quiche::Router;
    ///
    /// let router = Router::new().get("/users/:id", |req, res| {
    ///     let id: u64 = req.param_as("id")?;
    ///     Ok(res.json(&id))
    /// });
    /// assert!(router.check().is_ok());
    /// ```
    ///
    /// # Errors
    /// [`ParamError::Missing`] if the route has no such parameter, [`ParamError::Invalid`].
    pub fn param_as<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, ParamError> {
        let bytes = self.param_bytes(name).ok_or_else(|| ParamError::Missing { name: name.to_owned() })?;
        let invalid = |reason: &dyn Display| ParamError::Invalid {
            name: name.to_owned(),
            value: String::from_utf8_lossy(&bytes).into_owned(),
            reason: reason.to_string(),
        };
        std::str::from_utf8(&bytes).map_err(|e| invalid(&e))?.parse().map_err(|e| invalid(&e))
    }

    /// The query as a value, such as a struct with a field for each parameter; a parameter that comes several times
    /// fills a `Vec`.
    ///
    /// ```
    /// use mio_quiche::Router;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Page {
    ///     #[serde(default)]
    ///     from: u64,
    ///     limit: Option<u64>,
    /// }
    ///
    /// let router = Router::new().get("/list", |req, res| {
    ///     // For `?limit=x`: query parameter "limit" is "x": invalid digit found in string
    ///     let page: Page = req.query_as()?;
    ///     Ok(res.json(&(page.from..page.from + page.limit.unwrap_or(10)).collect::<Vec<_>>()))
    /// });
    /// assert!(router.check().is_ok());
    /// ```
    ///
    /// # Errors
    /// [`ParamError::InvalidQuery`], or [`ParamError::Query`] if a parameter is missing.
    pub fn query_as<T: DeserializeOwned>(&self) -> Result<T, ParamError> {
        form::parse(self.query().unwrap_or_default().as_bytes()).map_err(|error| match error {
            FormError::Field { name, value, reason } => ParamError::InvalidQuery { name, value, reason },
            FormError::Whole(reason) => ParamError::Query(reason),
        })
    }

    /// Values that [layers](crate::Router::layer) have set for the handler, one of each type.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The values to change.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// The pattern of the route that matched, such as `/api/users/:id`: a label for metrics.
    pub fn pattern(&self) -> Option<&str> {
        self.pattern.as_deref()
    }

    /// The client's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Whether it arrived in the first flight of a connection (0-RTT), and so may be a replay (RFC 8470).
    pub fn is_early(&self) -> bool {
        self.is_early
    }

    /// Whether the connection resumed a TLS session (RFC 8446 section 2.2).
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The id of the stream, which includes the connection.
    pub fn stream_id(&self) -> StreamId {
        self.stream
    }

    /// The path that routes are compared with, once there is a route.
    pub(crate) fn normal_path(&self) -> &str {
        self.normal_path.as_deref().unwrap_or_else(|| self.path())
    }

    pub(crate) fn set_route(
        &mut self,
        pattern: Arc<str>,
        normal_path: Option<String>,
        params: Vec<(Arc<str>, Range<usize>)>,
    ) {
        self.pattern = Some(pattern);
        self.normal_path = normal_path;
        self.params = params;
    }
}

#[cfg(test)]
impl Request {
    /// A request without a connection.
    pub(crate) fn for_test(method: &str, target: &str) -> Self {
        use crate::transport::table::ConnId;
        let head = Head {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            scheme: "https",
            authority: "localhost".to_owned(),
            target: target.to_owned(),
            protocol: None,
            headers: HeaderMap::new(),
            content_length: None,
        };
        let stream = StreamId { conn: ConnId { index: 0, generation: 0 }, id: 0 };
        Request::new(head, stream, SocketAddr::from(([192, 0, 2, 1], 1)), false, false)
    }
}
