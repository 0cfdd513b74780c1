//! WebTransport over HTTP/3 on unmodified quiche: streams of sessions are kept from quiche::h3, sessions live on their
//! CONNECT streams.

mod early;
mod filter;
mod flow;
mod peek;
mod session;
mod state;
mod stream;

pub(crate) use filter::Arrival;
pub(crate) use flow::Flow;
pub(crate) use session::SessionState;
pub use session::{EndedBy, SessionEnd};
pub(crate) use state::{Owner, PeerSupport, WtConn};
pub(crate) use stream::{WtState, WtStream};
