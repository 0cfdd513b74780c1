//! The integration tests: the real `mio-quiche` binary against third-party clients and against a raw client.
//!
//! `scripts/test` installs the clients and exports where they are; without it, the tests that need them fail and
//! say so. Nothing is skipped.

#![expect(clippy::disallowed_methods, reason = "tests have deadlines of their own and read the clock")]
#![allow(clippy::unwrap_used, reason = "a panic with its place is what a test helper is to give")]

mod support;

mod access_log;
mod admin;
mod aioquic;
mod attacks;
mod bench_cli;
mod bench_table;
mod browser;
mod certificates;
mod cli;
mod client;
mod conformance;
mod course;
mod curl;
mod fallback;
mod get;
mod gtls;
mod handlers;
mod layers;
mod metrics;
mod msrv;
mod qlog;
mod quic_datagrams;
mod quiche_client;
mod raw;
mod redirect;
mod restart;
mod service;
mod shutdown;
mod site;
mod system;
mod transfer;
mod web_socket;
mod workers;
mod wt_cli;
mod wtransport;
