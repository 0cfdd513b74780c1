//! The application: routes, handlers, responses, files, and the server that runs them.

mod access_log;
#[cfg(feature = "admin")]
mod admin;
#[cfg(feature = "cert")]
pub mod cert;
#[cfg(feature = "demo")]
mod checksum;
#[cfg(feature = "client")]
mod client;
mod datagrams;
mod deliveries;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(feature = "demo")]
mod demo_sessions;
#[cfg(all(feature = "admin", feature = "demo"))]
mod demo_socket;
#[cfg(feature = "files")]
mod file_body;
#[cfg(feature = "files")]
pub mod files;
mod handler_result;
mod http_error;
mod job;
mod layer;
mod mailbox;
mod offload;
mod origin;
mod panics;
#[cfg_attr(not(feature = "admin"), path = "no_ports.rs")]
mod ports;
#[cfg(feature = "admin")]
mod redirect;
mod response;
mod router;
mod server;
mod server_context;
mod server_sent_event;
mod serving;
mod session;
mod session_handle;
mod sessions;
#[cfg(feature = "files")]
mod static_files;
mod stream_handler;
mod topic;
mod typed_body;
#[cfg(feature = "workers")]
mod workers;

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
pub use client::{
    AltService, Client, ClientError, ClientHandle, ClientRequest, ClientResponse, FetchAll, RequestId, ResponseHandler,
};
#[cfg(feature = "fuzzing")]
pub(crate) use client::{AltServices, Origin};
pub use datagrams::DatagramHandler;
#[cfg(feature = "demo")]
pub use demo_sessions::EchoSession;
pub use handler_result::HandlerResult;
pub use layer::Next;
pub use origin::allows_origin;
pub use response::{Reply, Response};
pub use router::Router;
pub use server::{Server, ServerHandle};
pub use server_context::ServerContext;
pub use server_sent_event::ServerSentEvent;
#[cfg(feature = "fuzzing")]
pub(crate) use serving::App;
#[cfg(feature = "webtransport")]
pub use session::{Session, SessionHandler, SessionRequest, SessionResponse};
#[cfg(feature = "webtransport")]
pub use session_handle::SessionHandle;
#[cfg(feature = "files")]
pub use static_files::StaticFiles;
pub use stream_handler::{Echo, Progress, StreamHandle, StreamHandler};
pub use topic::{Slow, Topic};
#[cfg(feature = "workers")]
pub use workers::{Workers, WorkersHandle};
