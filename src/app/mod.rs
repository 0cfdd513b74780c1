//! The application: routes, handlers, responses, files, and the server that runs them.

#[cfg_attr(not(feature = "admin"), path = "no_admin.rs")]
mod admin;
#[cfg(feature = "cert")]
pub mod cert;
#[cfg(feature = "demo")]
mod checksum;
#[cfg(feature = "client")]
mod client;
mod datagrams;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(feature = "demo")]
mod demo_sessions;
#[cfg(feature = "files")]
pub mod files;
mod mailbox;
mod origin;
mod panics;
mod response;
mod router;
mod server;
mod session;
mod sessions;
#[cfg(feature = "files")]
mod static_files;
mod stream_handler;

#[cfg(test)]
#[cfg(feature = "webtransport")]
mod router_tests;
#[cfg(test)]
#[cfg(feature = "cli")]
mod sim_tests;

#[cfg(feature = "admin")]
pub use admin::admin_origins;
#[cfg(all(feature = "client", feature = "webtransport"))]
pub use client::SessionOptions;
#[cfg(feature = "client")]
pub use client::{AltService, Client, ClientError, ClientRequest, FullResponse, RequestId, ResponseHandler};
#[cfg(feature = "fuzzing")]
pub(crate) use client::{AltServices, Origin};
pub use datagrams::DatagramHandler;
#[cfg(feature = "demo")]
pub use demo_sessions::EchoSession;
pub use response::{Reply, Response};
pub use router::Router;
#[cfg(feature = "fuzzing")]
pub(crate) use server::App;
pub use server::{Server, ServerHandle};
#[cfg(feature = "webtransport")]
pub use session::{Session, SessionHandle, SessionHandler, SessionRequest, SessionResponse};
#[cfg(feature = "files")]
pub use static_files::StaticFiles;
pub use stream_handler::{Echo, Progress, StreamHandler};
