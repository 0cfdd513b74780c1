//! HTTP/3 on Cloudflare's quiche and one single-threaded mio event loop.
//!
//! ```no_run
//! use mio_quiche::{Router, Server, ServerConfig};
//!
//! fn main() -> mio_quiche::Result<()> {
//!     let app = Router::new().get("/", |_req, res| res.text("Hello, HTTP/3!\n"));
//!     Server::bind("[::]:4433", ServerConfig::from_pem("certs/cert.pem", "certs/key.pem")?, app)?.run()
//! }
//! ```
//!
//! # Features
//!
//! A program that uses the library needs no command: `default-features = false`, with the features that it uses.
//! HTTP/3 with routes and handlers, QUIC datagrams and the engine are always there.
//!
//! - `cli` (default): the command `mio-quiche`; adds all of these but `qlog`.
//! - `client` (default): `Client`, with alternative services.
//! - `webtransport` (default): sessions (`Router::webtransport`, `Client::open_session`). Without it, the settings in
//!   [`WebTransportConfig`] have no effect. Not with `panic = "abort"`.
//! - `qlog` (default): qlog files of connections (`TransportConfig::qlog_dir`), and reading them (`observe::qlog`).
//! - `files`: `StaticFiles`.
//! - `admin`: the admin port (`ServerConfig::admin`), and metrics for Prometheus (`observe::prometheus`).
//! - `cert`: development certificates (`app::cert`).
//! - `demo`: the routes of the demo server (`app::demo`); adds `files` and `webtransport`.
//!
//! # Platforms
//!
//! Linux only: nothing else is tested.

// Both roles, sessions and counters are one engine, of which some is then out of reach.
#![cfg_attr(
    not(all(feature = "admin", feature = "client", feature = "webtransport")),
    allow(dead_code, unreachable_pub)
)]

#[cfg(not(target_os = "linux"))]
compile_error!("mio-quiche is for Linux only: nothing else is tested");

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub mod app;
pub mod config;
pub mod endpoint;
pub mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod h3;
pub mod net;
pub mod observe;
pub mod stats;
mod transport;
pub mod turn;
mod wire;
mod wt;

#[cfg(all(feature = "client", feature = "webtransport"))]
pub use app::SessionOptions;
#[cfg(feature = "files")]
pub use app::StaticFiles;
#[cfg(feature = "client")]
pub use app::{
    AltService, Client, ClientError, ClientHandle, ClientRequest, ClientResponse, FetchAll, ResponseHandler,
};
pub use app::{
    DatagramHandler, Echo, Next, Progress, Reply, Response, Router, Server, ServerContext, ServerHandle, Slow,
    StreamHandle, StreamHandler, Topic,
};
#[cfg(feature = "webtransport")]
pub use app::{Session, SessionHandle, SessionHandler, SessionRequest, SessionResponse};
pub use config::{
    Certificate, ClientConfig, CongestionControl, Drafts, MAX_RESPONSE_HEAD, RequestLimits, Resolver, ResponseLimits,
    RetryPolicy, ServerConfig, TransportConfig, WebTransportConfig,
};
pub use endpoint::{Datagrams, Endpoint, RequestError, RequestHead, Stream};
pub use error::{
    ConfigError, ConnectError, DatagramError, Error, ErrorCode, MigrateError, ParamError, PostError, Result,
    SessionError, StreamError, Violation,
};
pub use h3::{Priority, Recv, Request, ResponseHead};
pub use transport::table::{ConnId, StreamId};
pub use wt::{EndedBy, SessionEnd};

/// This crate's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of quiche in use.
pub const QUICHE_VERSION: &str = env!("MIO_QUICHE_QUICHE_VERSION");

/// Both versions in one line, such as `mio-quiche 0.1.0 (quiche 0.30.0)`.
pub fn version() -> String {
    format!("mio-quiche {VERSION} (quiche {QUICHE_VERSION})")
}

/// The course: a server for HTTP/3 and WebTransport in nine steps, from the build to a session with a browser.
///
/// Each chapter has a program of about a hundred lines in `milestones/` that runs on this library, and a check with
/// real clients: `cargo run --example m03_http3`, `scripts/milestone 3`.
pub mod guide {
    #[doc = include_str!("../milestones/m00_build/README.md")]
    pub mod m00_build {}
    #[doc = include_str!("../milestones/m01_udp_echo/README.md")]
    pub mod m01_udp_echo {}
    #[doc = include_str!("../milestones/m02_handshake/README.md")]
    pub mod m02_handshake {}
    #[doc = include_str!("../milestones/m03_http3/README.md")]
    pub mod m03_http3 {}
    #[doc = include_str!("../milestones/m04_routing/README.md")]
    pub mod m04_routing {}
    #[doc = include_str!("../milestones/m05_streaming/README.md")]
    pub mod m05_streaming {}
    #[doc = include_str!("../milestones/m06_quic_datagrams/README.md")]
    pub mod m06_quic_datagrams {}
    #[doc = include_str!("../milestones/m07_h3_datagrams/README.md")]
    pub mod m07_h3_datagrams {}
    #[doc = include_str!("../milestones/m08_webtransport/README.md")]
    pub mod m08_webtransport {}
}

#[cfg(test)]
mod property_tests;
