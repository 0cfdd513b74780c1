//! Values out of a query, or of a body of `application/x-www-form-urlencoded`.

use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// What is wrong with a form.
#[derive(Debug)]
pub(crate) enum FormError {
    /// The value of one field.
    Field { name: String, value: String, reason: String },
    /// Anything else, such as a field that is missing.
    Whole(String),
}

/// The values of a field, percent-decoded and with `+` for a space.
pub(crate) fn values<'a>(form: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let decode = |s: &str| percent_decode_str(&s.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = form.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(move |(key, _)| decode(key) == name).map(move |(_, value)| decode(value))
}

/// A form as a value.
pub(crate) fn parse<T: DeserializeOwned>(form: &[u8]) -> Result<T, FormError> {
    let deserializer = serde_html_form::Deserializer::from_bytes(form);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let reason = error.inner().to_string();
        let mut path = error.path().iter();
        let Some(Segment::Map { key: name }) = path.next() else { return FormError::Whole(reason) };
        // Which of the values, if they are a list.
        let index = path.find_map(|segment| match segment {
            Segment::Seq { index } => Some(*index),
            _ => None,
        });
        let form = String::from_utf8_lossy(form);
        if index.is_none() && values(&form, name).nth(1).is_some() {
            return FormError::Whole(format!("{name:?} comes more than once"));
        }
        match values(&form, name).nth(index.unwrap_or(0)) {
            Some(value) => FormError::Field { name: name.clone(), value, reason },
            None => FormError::Whole(reason),
        }
    })
}
