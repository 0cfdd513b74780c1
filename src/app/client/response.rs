//! Responses as a whole.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::error::ClientError;
use super::file::PartFile;

/// A complete response.
///
/// ```no_run
/// use mio_quiche::{Client, ClientConfig};
///
/// #[derive(serde::Deserialize)]
/// struct Weather {
///     celsius: f32,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::new(ClientConfig::default())?;
/// let weather: Weather = client.get("https://weather.example/now")?.error_for_status()?.json()?;
/// println!("{} C", weather.celsius);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientResponse {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body. Empty if it was [saved](crate::ClientRequest::save_to).
    pub body: Bytes,
    /// The trailer fields.
    pub trailers: HeaderMap,
    /// The URL that answered, after redirects.
    pub url: String,
}

impl ClientResponse {
    /// The body, in the same memory.
    pub fn bytes(&self) -> Bytes {
        self.body.clone()
    }

    /// The body as UTF-8, with U+FFFD for what is none. Other character sets are not decoded.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON, whatever its media type.
    ///
    /// # Errors
    /// [`ClientError::Json`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|e| ClientError::Json(Arc::new(e)))
    }

    /// Writes the body into a file, whatever the status, as [`ClientRequest::save_to`](crate::ClientRequest::save_to)
    /// does while it arrives: complete, or not at all.
    ///
    /// # Errors
    /// [`ClientError::Save`].
    pub fn save_to(&self, path: impl AsRef<Path>) -> Result<(), ClientError> {
        let mut file = PartFile::create(path.as_ref())?;
        file.write(&self.body)?;
        file.complete()
    }

    /// The response, unless its status is an error.
    ///
    /// # Errors
    /// [`ClientError::Status`] for a status of 400 or above.
    pub fn error_for_status(self) -> Result<Self, ClientError> {
        match self.status.is_client_error() || self.status.is_server_error() {
            true => Err(ClientError::Status(self.status)),
            false => Ok(self),
        }
    }
}
