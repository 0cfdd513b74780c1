//! HTTP/3 and WebTransport, server and client, on Cloudflare's quiche and one single-threaded mio event loop.
//!
//! ```no_run
//! use mio_quiche::{Router, Server, ServerConfig};
//!
//! fn main() -> mio_quiche::Result<()> {
//!     let app = Router::new().get("/", |_req, res| res.text("Hello, HTTP/3!\n"));
//!     let config = ServerConfig::from_pem("certs/cert.pem", "certs/key.pem")?;
//!     Server::bind("[::]:4433", config, app)?.run()
//! }
//! ```
//!
//! # Server
//!
//! A [`Router`] has the routes of a [`Server`]. A handler receives the [`Request`] and a [`Response`] to fill in and
//! return. It runs on the loop's thread: it may own what it uses, without a lock, and must not block.
//!
//! ```
//! use mio_quiche::Router;
//!
//! let mut visits = 0;
//! let router = Router::new()
//!     .get("/users/:id", |req, res| {
//!         let id: u64 = req.param_as("id")?;
//!         Ok(res.json(&id))
//!     })
//!     .post("/visits", move |_req, res| {
//!         visits += 1;
//!         res.status(201).text(visits.to_string())
//!     });
//! assert!(router.check().is_ok());
//! ```
//!
//! A handler that fails returns an [`HttpError`], which becomes the response; `?` converts other errors into it.
//! [`Response::body_json`] and [`body_form`](Response::body_form) parse a request's body. A body that does not fit into
//! memory is a [`StreamHandler`], in either direction. [`Router::nest`] and [`Router::layer`] compose routers;
//! [`StaticFiles`] serves a directory. [`Workers`] is a server on several threads.
//!
//! # Client
//!
//! A [`Client`] is the same engine in the other role:
//!
//! ```no_run
//! use mio_quiche::{Client, ClientConfig};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut client = Client::new(ClientConfig::default())?;
//!     let response = client.get("https://example.com/")?;
//!     println!("{}: {} bytes", response.status, response.body.len());
//!     Ok(())
//! }
//! ```
//!
//! [`Client::fetch_all`] makes many requests with a limit; [`Client::start`] begins requests that run side by side, each
//! with a [`ResponseHandler`], and [`Client::run`] runs them to their end. Redirects, cookies, files and certificates are
//! options.
//!
//! # Sessions
//!
//! A route accepts WebTransport sessions, each with a [`SessionHandler`] for its streams and datagrams. A client has
//! the same handlers ([`Client::open_session`]).
//!
//! ```
//! use bytes::Bytes;
//! use mio_quiche::{Result, Router, Session, SessionHandler};
//!
//! /// Sends every datagram back.
//! struct Ping;
//!
//! impl SessionHandler for Ping {
//!     fn datagram(&mut self, s: &mut Session<'_>, payload: Bytes) -> Result<()> {
//!         Ok(s.send_datagram(&payload)?)
//!     }
//! }
//!
//! let router = Router::new().webtransport("/ping", |req| req.accept(Ping));
//! assert!(router.check().is_ok());
//! ```
//!
//! Pages of other origins may open sessions only if [`allow_origins`](WebTransportConfig::allow_origins) names them.
//!
//! # Waiting and sharing
//!
//! What blocks runs elsewhere, and the loop serves others meanwhile: [`Response::offload`] on a small pool of threads,
//! [`Response::later`] wherever you like, such as on a tokio runtime. A [`Topic`] passes messages to many sessions and
//! responses, from handlers and from other threads, without a copy for each:
//!
//! ```
//! use mio_quiche::{Router, ServerSentEvent, Topic};
//!
//! let news = Topic::new();
//! let publisher = news.clone();
//! let router = Router::new()
//!     .get("/hosts", |_req, res| {
//!         res.offload(|| std::fs::read("/etc/hosts"), |hosts, res| Ok(res.text(hosts?)))
//!     })
//!     .get("/events", move |_req, res| {
//!         res.event_stream().feed(&news, 10)
//!     });
//! assert!(router.check().is_ok());
//! publisher.publish(ServerSentEvent::new().data("to everybody"));
//! ```
//!
//! Other threads have handles, all of which are `Send`: a [`SessionHandle`] or [`StreamHandle`] for one session or
//! stream, and a [`ServerHandle`] or [`ClientHandle`] to call something on the loop's thread. [`Session::wake_at`] is a
//! timer.
//!
//! # The engine
//!
//! An [`Endpoint`] is all of QUIC, HTTP/3 and WebTransport without I/O: datagrams and the time go in; datagrams, a
//! deadline and events come out. Use it for a loop of your own, alone or with [`net::EventLoop`].
//!
//! # Features
//!
//! A program that uses the library needs no command: `default-features = false`, with the features that it uses.
//! HTTP/3 with routes and handlers, QUIC datagrams and the engine are always there.
//!
//! - `cli` (default): the command `mio-quiche`; adds all of these but `qlog`.
//! - `client` (default): `Client`, with alternative services.
//! - `cookies` (default): a client's cookies (`ClientConfig::cookies`); adds `client`.
//! - `webtransport` (default): sessions (`Router::webtransport`, `Client::open_session`). Without it, the settings in
//!   [`WebTransportConfig`] have no effect. Not with `panic = "abort"`.
//! - `qlog` (default): qlog files of connections (`TransportConfig::qlog_dir`), and reading them (`observe::qlog`).
//! - `workers` (default): a server on several threads (`Workers`).
//! - `files`: `StaticFiles`.
//! - `admin`: the admin port (`ServerConfig::admin`), the redirect port for clients without HTTP/3
//!   (`ServerConfig::redirect`), and metrics for Prometheus (`observe::prometheus`).
//! - `cert`: development certificates (`app::cert`).
//! - `demo`: the routes of the demo server (`app::demo`); adds `files` and `webtransport`.
//! - `ffi`: the C ABI (`ffi`); adds `admin`, `client` and `webtransport`.
//!
//! # Platforms
//!
//! Linux only: nothing else is tested.
//!
//! # Requirements
//!
//! Rust 1.88. The build compiles BoringSSL, with cmake, a C++ compiler and libclang. A server needs a certificate;
//! `mio-quiche cert` makes one for development. HTTP/3 runs over UDP, and no server here listens on TCP, where browsers
//! look first: a web server there can send `Alt-Svc: h3=":4433"`. WebTransport needs no such thing.
//!
//! # Where to begin
//!
//! - [`guide`]: the course, with a program and an exercise for each step: `cargo run --example m03_http3`.
//! - `milestones/m04_routing/rest.rs` (`--example m04_rest`): a REST service with a slow store and server-sent events;
//!   `tokio.rs` beside it: a runtime on a thread of its own.
//! - `milestones/m08_webtransport/chat.rs` (`--example m08_chat`): a chat for browsers in fifty lines.
//! - `ARCHITECTURE.md`: how it works inside.

// Both roles, sessions and counters are one engine, of which some is then out of reach.
#![cfg_attr(
    not(all(feature = "admin", feature = "client", feature = "webtransport", feature = "workers")),
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
#[cfg(feature = "ffi")]
pub mod ffi;
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

#[doc(inline)]
#[cfg(all(feature = "client", feature = "webtransport"))]
pub use app::SessionOptions;
#[doc(inline)]
#[cfg(feature = "files")]
pub use app::StaticFiles;
#[doc(inline)]
#[cfg(feature = "client")]
pub use app::{
    AltService, Client, ClientError, ClientHandle, ClientRequest, ClientResponse, FetchAll, ResponseHandler,
};
#[doc(inline)]
pub use app::{
    DatagramHandler, Echo, HandlerResult, Next, Progress, Reply, Response, Router, Server, ServerContext, ServerHandle,
    ServerSentEvent, Slow, StreamHandle, StreamHandler, Topic,
};
#[doc(inline)]
#[cfg(feature = "webtransport")]
pub use app::{Session, SessionHandle, SessionHandler, SessionRequest, SessionResponse};
#[doc(inline)]
#[cfg(feature = "workers")]
pub use app::{Workers, WorkersHandle};
#[doc(inline)]
#[cfg(feature = "qlog")]
pub use config::QlogMax;
#[doc(inline)]
pub use config::{
    AccessLog, AccessLogFormat, Certificate, ClientConfig, CongestionControl, Drafts, MAX_RESPONSE_HEAD, RequestLimits,
    Resolver, ResponseLimits, RetryPolicy, ServerConfig, TransportConfig, WebTransportConfig,
};
#[doc(inline)]
pub use endpoint::{Datagrams, Endpoint, RequestError, RequestHead, Stream};
#[doc(inline)]
pub use error::{
    ConfigError, ConnectError, DatagramError, Error, ErrorCode, HttpError, MigrateError, ParamError, PostError, Result,
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

/// The course: a server for HTTP/3 and WebTransport in eleven steps, from the build to programs in other languages.
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
    #[doc = include_str!("../milestones/m09_interop_performance/README.md")]
    pub mod m09_interop_performance {}
    #[doc = include_str!("../milestones/m10_bun/README.md")]
    pub mod m10_bun {}
}

#[cfg(test)]
mod property_tests;
