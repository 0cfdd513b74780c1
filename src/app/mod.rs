//! The application: routes, handlers, responses, files, and the server that runs them.

mod admin;
pub mod cert;
mod checksum;
mod client;
mod datagrams;
mod deliveries;
pub mod demo;
mod demo_sessions;
pub mod files;
mod layer;
mod mailbox;
mod offload;
mod origin;
mod panics;
mod response;
mod router;
mod server;
mod serving;
mod session;
mod session_handle;
mod sessions;
mod static_files;
mod stream_handler;
mod topic;

#[cfg(test)]
mod router_tests;
#[cfg(test)]
mod sim_tests;

pub use admin::admin_origins;
pub use client::{
    AltService, Client, ClientError, ClientHandle, ClientRequest, ClientResponse, FetchAll, RequestId, ResponseHandler,
    SessionOptions,
};
#[cfg(feature = "fuzzing")]
pub(crate) use client::{AltServices, Origin};
pub use datagrams::DatagramHandler;
pub use demo_sessions::EchoSession;
pub use layer::Next;
pub use response::{Reply, Response};
pub use router::Router;
pub use server::{Server, ServerHandle};
#[cfg(feature = "fuzzing")]
pub(crate) use serving::App;
pub use serving::ServerContext;
pub use session::{Session, SessionHandler, SessionRequest, SessionResponse};
pub use session_handle::SessionHandle;
pub use static_files::StaticFiles;
pub use stream_handler::{Echo, Progress, StreamHandle, StreamHandler};
pub use topic::{Slow, Topic};
