//! curl against every route of the demo.

mod files;
mod limits;
mod routes;
