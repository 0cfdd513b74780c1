//! Values out of a request's whole body.

use serde::de::DeserializeOwned;

use crate::error::{HttpError, shorten};
use crate::h3::{FormError, Request, parse_form};

/// The fields of a form.
pub(super) fn form<T: DeserializeOwned>(request: &Request, body: &[u8]) -> Result<T, HttpError> {
    if media_type(request) != "application/x-www-form-urlencoded" {
        return Err(HttpError::new(415, "the content-type must be application/x-www-form-urlencoded"));
    }
    parse_form(body).map_err(|error| {
        let text = match error {
            FormError::Field { name, value, reason } => {
                format!("field {:?} is {:?}: {}", shorten(&name), shorten(&value), shorten(&reason))
            }
            FormError::Whole(reason) => shorten(&reason).into_owned(),
        };
        HttpError::new(422, text)
    })
}

/// A value in JSON.
pub(super) fn json<T: DeserializeOwned>(request: &Request, body: &[u8]) -> Result<T, HttpError> {
    if !is_json(&media_type(request)) {
        return Err(HttpError::new(415, "the content-type must be application/json"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| invalid_json(&error.path().to_string(), error.inner()))?;
    json.end().map_err(|error| invalid_json(".", &error))?;
    Ok(value)
}

/// The error for a body that is not the expected JSON. `path` names the field, or is `.`.
fn invalid_json(path: &str, error: &serde_json::Error) -> HttpError {
    let text = error.to_string();
    // The reason may repeat a long string.
    let (reason, at) = text.split_at(text.rfind(" at line ").unwrap_or(text.len()));
    let reason = shorten(reason);
    match path {
        _ if !error.is_data() => HttpError::new(400, format!("{reason}{at}")),
        "." => HttpError::new(422, format!("{reason}{at}")),
        path => HttpError::new(422, format!("field {:?}: {reason}{at}", shorten(path))),
    }
}

/// The media type of a request's body, without parameters.
fn media_type(request: &Request) -> String {
    let content_type = request.header("content-type").unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a media type is JSON (RFC 8259, RFC 6839 section 3.1).
fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type.starts_with("application/") && media_type.ends_with("+json")
}
