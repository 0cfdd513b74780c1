//! What the access log is told.

use std::time::Duration;

use http::StatusCode;

use crate::h3::Request;

/// A request or a session that has ended.
pub(in crate::app) struct Entry<'a> {
    pub(in crate::app) request: &'a Request,
    pub(in crate::app) status: Option<StatusCode>,
    /// Body bytes, if they are known.
    pub(in crate::app) sent: Option<u64>,
    pub(in crate::app) received: Option<u64>,
    pub(in crate::app) duration: Duration,
    /// Why it was not completed.
    pub(in crate::app) error: Option<String>,
}
