//! WebTransport over HTTP/3: classification of streams, and the state of sessions and their streams.

mod buffered;
mod classify;
mod flow;
mod peer;
mod session;
mod sessions;
mod stream;

pub(crate) use classify::{Classification, PartialHeader, classify, has_signal_next, is_bidi, is_http_stream_type};
pub(crate) use flow::Flow;
pub(crate) use peer::PeerSupport;
pub(crate) use session::{Abort, SessionState};
pub use session::{EndedBy, SessionEnd};
pub(crate) use sessions::{Named, Sessions};
pub(crate) use stream::{SessionStream, SessionStreamState};
