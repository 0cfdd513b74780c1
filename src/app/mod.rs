//! The application: routes, handlers, responses, files, and the server that runs them.

mod admin;
pub mod cert;
mod checksum;
mod client;
mod datagrams;
pub mod demo;
mod demo_sessions;
pub mod files;
mod mailbox;
mod origin;
mod panics;
mod response;
mod router;
mod server;
mod session;
mod sessions;
mod static_files;
mod stream_handler;

#[cfg(test)]
mod router_tests;
#[cfg(test)]
mod sim_tests;

pub use admin::admin_origins;
pub use client::{
    AltService, Client, ClientError, ClientRequest, ClientResponse, FetchAll, RequestId, ResponseHandler,
    SessionOptions,
};
#[cfg(feature = "fuzzing")]
pub(crate) use client::{AltServices, Origin};
pub use datagrams::DatagramHandler;
pub use demo_sessions::EchoSession;
pub use response::{Reply, Response};
pub use router::Router;
#[cfg(feature = "fuzzing")]
pub(crate) use server::App;
pub use server::{Server, ServerHandle};
pub use session::{Session, SessionHandle, SessionHandler, SessionRequest, SessionResponse};
pub use static_files::StaticFiles;
pub use stream_handler::{Echo, Progress, StreamHandler};
