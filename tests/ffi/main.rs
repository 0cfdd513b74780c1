//! Tests of the C ABI, through its functions as C sees them: a server and a client in one process, curl, and programs in
//! C, Python and TypeScript.
#![expect(clippy::disallowed_methods, reason = "tests have deadlines of their own and read the clock")]
#![allow(clippy::unwrap_used, reason = "a panic with its place is what a test helper is to give")]
#![expect(unsafe_code, reason = "functions of a C ABI are called")]

mod abi;
mod bad_input;
mod bun;
mod client;
mod programs;
mod random;
mod server;
mod sessions;
