//! Errors of parameters.

use std::borrow::Cow;

/// Characters of a value that an error's text shows.
const SHOWN: usize = 100;

/// A parameter of a request's path or query is not what the handler expects.
///
/// The text names the parameter, and shows the first 100 characters of its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamError {
    /// The route has no such parameter.
    #[error("the path has no parameter {name:?}")]
    Missing {
        /// The parameter.
        name: String,
    },
    /// The value of a parameter of the path cannot be parsed.
    #[error("path parameter {name:?} is {:?}: {reason}", shorten(.value))]
    Invalid {
        /// The parameter.
        name: String,
        /// Its value, percent-decoded.
        value: String,
        /// The text of the parser's error.
        reason: String,
    },
    /// The value of a parameter of the query cannot be parsed.
    #[error("query parameter {:?} is {:?}: {reason}", shorten(.name), shorten(.value))]
    InvalidQuery {
        /// The parameter.
        name: String,
        /// Its value, percent-decoded.
        value: String,
        /// The text of the parser's error.
        reason: String,
    },
    /// The query does not have the expected parameters. With the text of the parser's error.
    #[error("the query is not as expected: {}", shorten(.0))]
    Query(String),
}

/// A text for an error: what the client sent may be long.
pub(crate) fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => Cow::Owned(format!("{}...", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_not_repeated() {
        let value = "\u{e9}\"\n".repeat(100);
        let error = ParamError::Invalid { name: "id".to_owned(), value, reason: "no number".to_owned() };
        let shown = "\u{e9}\\\"\\n".repeat(33);
        assert_eq!(error.to_string(), format!("path parameter \"id\" is \"{shown}\u{e9}...\": no number"));
        assert_eq!((shorten(""), shorten(&"x".repeat(100))), ("".into(), "x".repeat(100).into()));
    }
}
