//! The application's side: routes, handlers, responses, files and the server that runs them.

pub mod demo;
mod exchange;
mod response;
mod router;
mod server;

pub use exchange::{Echo, Exchange, Progress};
pub use response::Response;
pub use router::Router;
pub use server::{Server, ServerHandle};
