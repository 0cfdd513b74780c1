//! The application's side: routes, handlers, responses, files and the server that runs them.

mod admin;
pub mod cert;
pub mod demo;
mod exchange;
pub mod files;
mod response;
mod router;
mod server;
mod static_files;

#[cfg(test)]
mod router_tests;
#[cfg(test)]
mod sim_tests;

pub use admin::admin_origins;
pub use exchange::{Echo, Exchange, Progress};
pub use response::Response;
pub use router::Router;
pub use server::{Server, ServerHandle};
pub use static_files::StaticFiles;
