//! Responses.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use serde::Serialize;

use super::stream_handler::StreamHandler;
use crate::h3::{Request, ResponseHead, TEXT_PLAIN, decimal, plain_response};

/// A response under construction. A handler receives an empty 200 and returns the response.
///
/// Setters do not fail: an invalid field name or status turns the response into a 500 and is logged.
pub struct Response {
    pub(super) head: ResponseHead,
    pub(super) body: Body,
}

pub(super) enum Body {
    Bytes(Bytes),
    Handler(Box<dyn StreamHandler>),
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = match &self.body {
            Body::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Body::Handler(_) => "streamed".to_owned(),
        };
        f.debug_struct("Response").field("head", &self.head).field("body", &body).finish()
    }
}

impl Default for Response {
    fn default() -> Self {
        Response {
            head: ResponseHead { status: StatusCode::OK, headers: HeaderMap::new() },
            body: Body::Bytes(Bytes::new()),
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
    /// The plain response for a status, with its phrase as the body.
    pub(crate) fn plain(status: StatusCode) -> Self {
        let (headers, body) = plain_response(status, None);
        Response { head: ResponseHead { status, headers }, body: Body::Bytes(body) }
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

#[cfg(test)]
impl Response {
    pub(super) fn body_text(&self) -> String {
        match &self.body {
            Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Body::Handler(_) => "streamed".to_owned(),
        }
    }
}
