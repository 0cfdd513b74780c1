//! Settings, their defaults and their checks.
//!
//! A [`ServerConfig`] and a [`ClientConfig`] each hold a [`TransportConfig`], for what both sides have in common, and a
//! [`WebTransportConfig`].

mod access_log;
mod certificate;
mod check;
mod client;
mod endpoint;
mod limits;
mod pem;
mod secret;
mod server;
mod tls;
mod transport;
mod webtransport;

pub use access_log::{AccessLog, AccessLogFormat};
pub use certificate::Certificate;
#[cfg(feature = "cert")]
pub(crate) use check::read_file;
pub use client::{ClientConfig, Dangerous, Resolver};
pub(crate) use endpoint::EndpointConfig;
pub(crate) use limits::{HeadLimits, MAX_PATHS};
pub use limits::{MAX_RESPONSE_HEAD, RequestLimits, ResponseLimits};
pub(crate) use server::OFFLOAD_THREADS;
pub use server::ServerConfig;
#[cfg(feature = "admin")]
pub(crate) use tls::tcp_context;
#[cfg(feature = "qlog")]
pub use transport::QlogMax;
pub use transport::{CongestionControl, RetryPolicy, TransportConfig};
pub use webtransport::{Drafts, WebTransportConfig};
pub(crate) use webtransport::{
    SETTING_ENABLE_DRAFT02, SETTING_ENABLED_DRAFT15, SETTING_INITIAL_MAX_DATA, SETTING_INITIAL_MAX_STREAMS_BIDI,
    SETTING_INITIAL_MAX_STREAMS_UNI, SETTING_MAX_SESSIONS_DRAFT07, SETTING_MAX_SESSIONS_DRAFT13, SessionLimits,
};
