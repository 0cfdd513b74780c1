//! The codes that functions return, and their texts.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::app::ClientError;
use crate::error::{ConfigError, Error};

/// Success.
pub const MQ_OK: i32 = 0;
/// Nothing can be read, written or opened now. An event follows when it can.
pub const MQ_ERR_AGAIN: i32 = -1;
/// A pointer is null that must not be.
pub const MQ_ERR_NULL: i32 = -2;
/// An argument has a value that it cannot have, such as a length above `PTRDIFF_MAX` or a text that is not UTF-8.
pub const MQ_ERR_ARGUMENT: i32 = -3;
/// The handle names no engine: it was never given out, or `mq_stop` has ended it.
pub const MQ_ERR_HANDLE: i32 = -4;
/// The id was never given out by this engine, or names something of another kind.
pub const MQ_ERR_ID: i32 = -5;
/// What the id names has ended.
pub const MQ_ERR_GONE: i32 = -6;
/// The call does not fit the state, such as a second response or data after the end.
pub const MQ_ERR_STATE: i32 = -7;
/// Too much waits already, such as datagrams. Call `mq_poll`, and try again.
pub const MQ_ERR_FULL: i32 = -8;
/// It is larger than what fits, such as a datagram or an event's payload.
pub const MQ_ERR_TOO_LARGE: i32 = -9;
/// The stream was reset: nothing more can be read.
pub const MQ_ERR_RESET: i32 = -10;
/// The stream was stopped: nothing more can be written.
pub const MQ_ERR_STOPPED: i32 = -11;
/// Another thread is in `mq_poll` of the same handle.
pub const MQ_ERR_BUSY: i32 = -12;
/// The engine runs in its caller's thread, and this is another one.
pub const MQ_ERR_THREAD: i32 = -13;
/// A setting is unknown, has an invalid value, or names a file that cannot be used.
pub const MQ_ERR_CONFIG: i32 = -14;
/// An error of the operating system, such as an address in use.
pub const MQ_ERR_SYSTEM: i32 = -15;
/// The engine has ended by a shutdown. Only `mq_poll` and `mq_stop` are of use.
pub const MQ_ERR_ENDED: i32 = -16;
/// The peer, the settings or the role (server, client) do not offer this.
pub const MQ_ERR_UNSUPPORTED: i32 = -17;
/// An error in this library. The handle is best stopped.
pub const MQ_ERR_INTERNAL: i32 = -18;
/// The host has no address.
pub const MQ_ERR_RESOLVE: i32 = -19;
/// The server cannot be reached or refuses connections, or the handshake failed.
pub const MQ_ERR_CONNECT: i32 = -20;
/// It was not done in time.
pub const MQ_ERR_TIMEOUT: i32 = -21;
/// The server's certificate is not trusted.
pub const MQ_ERR_CERTIFICATE: i32 = -22;
/// The server rejected the session.
pub const MQ_ERR_REJECTED: i32 = -23;
/// The connection ended.
pub const MQ_ERR_CLOSED: i32 = -24;
/// It was cancelled by this side.
pub const MQ_ERR_CANCELLED: i32 = -25;
/// The message breaks a rule of HTTP/3, or a limit.
pub const MQ_ERR_MALFORMED: i32 = -26;

/// The text of a code, with a NUL behind it.
pub(super) fn text(code: i32) -> &'static str {
    match code {
        MQ_OK => "success\0",
        MQ_ERR_AGAIN => "not now: an event follows\0",
        MQ_ERR_NULL => "a pointer is null\0",
        MQ_ERR_ARGUMENT => "an argument is invalid\0",
        MQ_ERR_HANDLE => "no such handle, or its engine was stopped\0",
        MQ_ERR_ID => "no such id, or one of another kind\0",
        MQ_ERR_GONE => "what the id names has ended\0",
        MQ_ERR_STATE => "the call does not fit the state\0",
        MQ_ERR_FULL => "too much waits already\0",
        MQ_ERR_TOO_LARGE => "too large\0",
        MQ_ERR_RESET => "the stream was reset\0",
        MQ_ERR_STOPPED => "the stream was stopped\0",
        MQ_ERR_BUSY => "another thread polls this handle\0",
        MQ_ERR_THREAD => "this engine belongs to another thread\0",
        MQ_ERR_CONFIG => "a setting is invalid\0",
        MQ_ERR_SYSTEM => "an error of the operating system\0",
        MQ_ERR_ENDED => "the engine has ended\0",
        MQ_ERR_UNSUPPORTED => "not available here\0",
        MQ_ERR_INTERNAL => "an error in this library\0",
        MQ_ERR_RESOLVE => "the host's name cannot be resolved\0",
        MQ_ERR_CONNECT => "no connection to the server\0",
        MQ_ERR_TIMEOUT => "not done in time\0",
        MQ_ERR_CERTIFICATE => "the server's certificate is not trusted\0",
        MQ_ERR_REJECTED => "the server rejected the session\0",
        MQ_ERR_CLOSED => "the connection ended\0",
        MQ_ERR_CANCELLED => "cancelled\0",
        MQ_ERR_MALFORMED => "a malformed message, or one over a limit\0",
        1.. => "success\0",
        _ => "not a code of this library\0",
    }
}

/// Why a function fails: its code, and what there is to say besides the code's text.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: i32,
    pub(super) detail: String,
}

pub(super) type Outcome<T = i32> = Result<T, Failure>;

/// A failure with nothing more to say.
pub(super) fn fail<T>(code: i32) -> Outcome<T> {
    Err(Failure { code, detail: String::new() })
}

/// A failure with a detail.
pub(super) fn because<T>(code: i32, detail: impl fmt::Display) -> Outcome<T> {
    Err(Failure { code, detail: detail.to_string() })
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure { code: MQ_ERR_CONFIG, detail: error.to_string() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Config(_) => MQ_ERR_CONFIG,
            _ => MQ_ERR_SYSTEM,
        };
        Failure { code, detail: error.to_string() }
    }
}

impl From<&ClientError> for Failure {
    fn from(error: &ClientError) -> Self {
        let code = match error {
            ClientError::Url { .. } => MQ_ERR_ARGUMENT,
            ClientError::Cancelled => MQ_ERR_CANCELLED,
            error if error.is_timeout() => MQ_ERR_TIMEOUT,
            ClientError::Resolve { .. } => MQ_ERR_RESOLVE,
            error if error.is_certificate() => MQ_ERR_CERTIFICATE,
            ClientError::Handshake { .. } => MQ_ERR_CONNECT,
            ClientError::Refused(_) => MQ_ERR_REJECTED,
            ClientError::Closed(_) => MQ_ERR_CLOSED,
            ClientError::Stream(crate::error::StreamError::Reset(_)) => MQ_ERR_RESET,
            ClientError::Stream(crate::error::StreamError::Stopped(_)) => MQ_ERR_STOPPED,
            ClientError::Stream(_) | ClientError::Redirect { .. } | ClientError::TooManyRedirects(_) => {
                MQ_ERR_MALFORMED
            }
            _ => MQ_ERR_UNSUPPORTED,
        };
        Failure { code, detail: error.to_string() }
    }
}

thread_local! {
    /// The detail of this thread's latest failure.
    static DETAIL: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs the body of an exported function: a panic in it is a code, and the detail of a failure is kept.
pub(super) fn guard(body: impl FnOnce() -> Outcome) -> i32 {
    let outcome = catch_unwind(AssertUnwindSafe(body));
    let failure = match outcome {
        Ok(Ok(value)) => return value,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure { code: MQ_ERR_INTERNAL, detail: panic_text(&*panic) },
    };
    // The thread may be ending.
    let _ = DETAIL.try_with(|detail| *detail.borrow_mut() = failure.detail);
    failure.code
}

/// The message of a panic.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic").to_owned()
}

/// Calls `look` with the detail of this thread's latest failure.
pub(super) fn with_detail<T>(look: impl FnOnce(&str) -> T) -> Option<T> {
    DETAIL.try_with(|detail| look(&detail.borrow())).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_text_of_its_own() {
        let texts: BTreeSet<&str> = (MQ_ERR_MALFORMED..=0).map(text).collect();
        assert_eq!(texts.len(), 27);
        assert!(texts.iter().all(|text| text.ends_with('\0') && !text.contains("not a code")));
        assert_eq!((text(7), text(MQ_ERR_MALFORMED - 1)), ("success\0", "not a code of this library\0"));
    }

    #[test]
    fn a_panic_is_a_code() {
        assert_eq!(guard(|| panic!("on purpose")), MQ_ERR_INTERNAL);
        assert_eq!(DETAIL.with(|detail| detail.borrow().clone()), "on purpose");
    }
}
