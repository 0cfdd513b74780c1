//! What quiche 0.30 does that `src/transport/` and `src/endpoint/` cure or work around, shown on two bare
//! `quiche::Connection`s.
//!
//! Each test asserts what quiche does *today*, and its first comment names the file below `src/` that holds the cure, or
//! says that there is none. When a test fails after an upgrade of quiche, the quirk is gone or has changed: look at that
//! file, delete the cure or adapt it, and delete or adapt the test. ARCHITECTURE.md has the table of all quirks. There are no sockets here; packets are passed by hand, and the clock is the real one.

#![allow(clippy::unwrap_used, reason = "a panic with its place is what a test helper is to give")]

mod pair;

mod connection;
mod deferred;
mod fin;
mod gone;
mod http3;
mod http3_messages;
mod missing;
mod paths;
mod peek;
mod reset;
mod send;
mod signals;
mod stop_credit;
