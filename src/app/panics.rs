//! Panics of a server's handlers: each ends its request, stream or session, and the loop continues.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};
use crate::stats::PanicCounts;

/// A handler panicked.
#[derive(Debug, thiserror::Error)]
#[error("the handler panicked: {0}")]
struct Panic(String);

/// Calls a handler. State that it shares may be half changed after a panic, as with a thread that panics.
///
/// # Errors
/// [`Error::Handler`] with the message of a panic.
pub(super) fn catch<T>(call: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| Error::handler(Panic(message(&*payload))))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message").to_owned()
}

/// Counts an error if it is a panic.
pub(super) fn count(panics: &mut PanicCounts, route: Option<&str>, error: &Error) {
    if matches!(error, Error::Handler(inner) if inner.is::<Panic>()) {
        panics.count(route);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_panic_is_in_the_error_and_the_route_in_the_count() {
        let message = |call: fn()| catch(call).expect_err("a panic").to_string();
        assert_eq!(message(|| panic!("no {}", "luck")), "the handler panicked: no luck");
        assert_eq!(message(|| panic!("plain")), "the handler panicked: plain");
        assert_eq!(message(|| std::panic::panic_any(7)), "the handler panicked: without a message");
        assert_eq!(catch(|| 3).ok(), Some(3));

        let mut panics = PanicCounts::default();
        let error = catch(|| -> () { panic!("again") }).expect_err("a panic");
        count(&mut panics, Some("/a/:id"), &error);
        count(&mut panics, Some("/a/:id"), &Error::handler("not a panic"));
        count(&mut panics, None, &error);
        let sum = panics.clone().sum(Some(&panics));
        assert_eq!(sum.iter().collect::<Vec<_>>(), [("-", 2), ("/a/:id", 2)]);
    }
}
