//! The C ABI: servers and clients for programs in other languages.
//!
//! `scripts/library` builds `libmio_quiche.so` and `libmio_quiche.a`; `include/mio_quiche.h` declares what is here, and
//! `examples/c` and `examples/python` are programs that use it. Every function returns a number that is not negative, or a
//! code `MQ_ERR_...` below 0: [`mq_error_text`] is its meaning, [`mq_last_error`] says more.
//!
//! ```c
//! const char settings[] = "listen\0[::]:4433\0cert_file\0cert.pem\0key_file\0key.pem\0";
//! uint64_t server;
//! mq_server_new((const uint8_t *)settings, sizeof settings - 1, NULL, &server);
//! for (;;) {
//!     mq_event events[64];
//!     int32_t count = mq_poll(server, events, 64, -1);
//!     for (int32_t i = 0; i < count; i++)
//!         if (events[i].kind == MQ_EVENT_REQUEST)
//!             mq_respond(server, events[i].id, 200, NULL, 0, (const uint8_t *)"hello\n", 6, MQ_FLAG_END);
//! }
//! ```
//!
//! # Why events are pulled
//!
//! A callback from a foreign thread is expensive or impossible in most languages, and one from within a call lets the
//! program call back into a library that is busy. So the library never calls, but for one function without arguments that
//! only wakes the program. What has happened waits in a queue, and [`mq_poll`] hands it over in batches: one call for many
//! events.
//!
//! # Threads
//!
//! An engine is a server or a client, named by a handle. It runs in one of two ways:
//!
//! - **In a thread of its own** (the setting `thread` is `on`). [`mq_poll`] waits for events. A program with a loop of its
//!   own waits for [`mq_fd`] instead, or gives [`mq_server_new`] a function that wakes it; either tells of any number of
//!   events once, until all of them are taken. QUIC goes on while the program computes.
//! - **In its caller's thread** (the default). It runs in [`mq_poll`], and only there; so poll often, or with a long
//!   timeout. Fewer switches between threads, and nothing happens while the program computes. [`mq_poll`] and [`mq_stop`]
//!   belong to the thread that started the engine; another one gets [`MQ_ERR_THREAD`].
//!
//! Every other function may be called from any thread at any time. Only [`mq_poll`] (until there are events) and
//! [`mq_stop`] (until the engine's thread has ended) wait; starting an engine reads files and binds a socket. One thread
//! polls at a time; another one gets [`MQ_ERR_BUSY`].
//!
//! # Ids
//!
//! Connections, requests, sessions and streams have ids of 64 bits, valid for their engine only. They count up from 1: none
//! is given twice, and all fit into a double, the number of JavaScript. What an id names ends by itself: a request with its
//! response, a stream when both directions have ended, a session by its close. A call with such an id is [`MQ_ERR_GONE`],
//! and one that was never given [`MQ_ERR_ID`]. A handle after [`mq_stop`] is [`MQ_ERR_HANDLE`]. An event that was under way
//! may still name what you have given up: ignore ids that you do not know.
//!
//! | names | begins with | ends with |
//! |---|---|---|
//! | connection | [`MQ_EVENT_CONNECTED`] | [`MQ_EVENT_CLOSED`] |
//! | request on a server | [`MQ_EVENT_REQUEST`] | the end of the response, [`mq_reset`], [`mq_release`], both of [`MQ_EVENT_RESET`] and [`MQ_EVENT_STOPPED`], or [`MQ_EVENT_ABORTED`] |
//! | request on a client | [`mq_request`] | the end of the response when it is read, [`mq_reset`], [`mq_release`], [`MQ_EVENT_RESET`], or [`MQ_EVENT_FAILED`] |
//! | session | [`MQ_EVENT_SESSION_REQUEST`], [`mq_connect`] | [`MQ_EVENT_SESSION_CLOSED`], [`MQ_EVENT_FAILED`], the response that rejects it |
//! | stream of a session | [`MQ_EVENT_STREAM`], [`mq_open_stream`] | both directions (finished, reset or stopped), or [`MQ_EVENT_ABORTED`] |
//!
//! # Memory
//!
//! What a program passes is copied before the call returns. What the library hands out is the caller's choice:
//!
//! - **Lent**: [`mq_poll`] and [`mq_read_lent`] give pointers that are valid until the next [`mq_poll`],
//!   [`mq_poll_into`] or [`mq_stop`] of the handle ([`mq_read_lent`]: at most until the next one on the same stream).
//! - **Copied**: [`mq_poll_into`] and [`mq_read`] fill memory of the caller. A language with a garbage collector reuses one
//!   buffer and makes no pointers into foreign memory.
//!
//! Nothing is to be freed but the handle, by [`mq_stop`].
//!
//! # Names and values
//!
//! Settings, header fields and trailer fields are one format both ways: `name`, NUL, `value`, NUL, and so on; neither can
//! contain a NUL. Many languages read it with one split. Fields that repeat are repeated. The pseudo-header fields of a
//! request (`:method` and so on) come first. Values of fields are bytes, usually ASCII.
//!
//! # Backpressure
//!
//! Nothing queues without a bound. What is not read stays in QUIC, beyond `read_buffer` bytes of a stream, and stops the
//! peer. [`mq_write`] takes what fits into `write_buffer`, and [`MQ_EVENT_WRITABLE`] says when there is room again.
//! Datagrams that nobody polls are dropped beyond 16384. Above `event_queue` events, or 64 MiB of payloads, the engine
//! pauses until the program polls.
//!
//! # Settings
//!
//! Their meanings and defaults are those of the fields of [`ServerConfig`](crate::ServerConfig),
//! [`ClientConfig`](crate::ClientConfig), [`TransportConfig`](crate::TransportConfig) and
//! [`WebTransportConfig`](crate::WebTransportConfig) with the same names. Times are in milliseconds, sizes in bytes,
//! switches `on` or `off`. Signals are never handled: they belong to the program.
//!
//! - Both: `thread` (off), `read_buffer` and `write_buffer` (262144 each), `event_queue` (65536); `cert_file` and
//!   `key_file`, or `cert_pem` and `key_pem` with the PEM text itself, in pairs, several on a server; `alpn`
//!   (several), `idle_timeout`, `handshake_timeout`, `initial_max_data`, `initial_max_stream_data`,
//!   `max_connection_window`, `max_stream_window`, `max_streams_bidi`, `max_streams_uni`, `max_udp_payload`,
//!   `discover_pmtu`, `active_migration`, `pacing`, `congestion_control` (`cubic`, `reno`, `bbr2`),
//!   `initial_congestion_window` (packets), `datagram_queue` (0 for none), `grease`, `early_data`, `qlog_dir`,
//!   `qlog_max` (`BYTES` or `BYTES,FILES`), `keylog`, `socket_buffer`; `webtransport` (on), `drafts` (`browsers`, `all`),
//!   `max_sessions`, `max_sessions_total`, `max_session_streams`, `max_wt_streams` (`max_streams` of
//!   [`WebTransportConfig`](crate::WebTransportConfig)), `session_max_data` (`initial_max_data`),
//!   `session_idle_timeout`, `session_linger`; `max_fields`, `max_name`, `max_value`, `max_field_section` of heads
//!   that are received.
//! - Servers: `listen` (`[::]:0`), `client_ca`, `ticket_key`, `host_key`, `shutdown_timeout`, `retry` (`off`, `on`, `auto`),
//!   `retry_threshold`, `retry_token_lifetime`, `max_connections`, `max_handshakes`, `request_timeout`, `max_request_rate`,
//!   `max_request_body`, `max_target`, `allow_origin` (several, or `*`).
//! - Clients: `ca_file`, `ca_dir`, `cert_hash` (SHA-256 in hexadecimal, several), `insecure`, `connect_timeout`,
//!   `pool_idle_timeout`, `keep_alive`, `max_redirects` (of requests without a body), `alt_svc`.
//!
//! # Versions
//!
//! [`mq_abi_version`] must be the [`MQ_ABI_VERSION`] that a program was written for. Functions, kinds of events, flags and
//! settings may be added within a version; ignore those that you do not know.
#![warn(clippy::undocumented_unsafe_blocks)]
#![expect(unsafe_code, reason = "the caller's memory is used by its address")]
#![expect(non_camel_case_types, reason = "types have the names that C programs see")]

mod client;
mod client_calls;
mod code;
mod command;
mod deliver;
mod driver;
mod engine;
mod engine_calls;
mod event;
mod fields;
mod handle;
mod info;
mod memory;
mod pump;
mod server;
mod session_calls;
mod settings;
mod shared;
mod state;
mod stats;
mod stream;
mod stream_calls;

pub use client_calls::{mq_client_new, mq_connect, mq_open_datagrams, mq_request};
pub use code::*;
pub use engine_calls::{
    mq_fd, mq_local_addr, mq_metrics, mq_poll, mq_poll_into, mq_reload, mq_server_new, mq_shutdown, mq_stats, mq_stop,
};
pub use event::*;
pub use info::{mq_abi_version, mq_error_text, mq_last_error, mq_version};
pub use session_calls::{
    mq_accept, mq_close_connection, mq_close_session, mq_drain_session, mq_max_datagram, mq_open_stream,
    mq_send_datagram, mq_send_quic_datagram,
};
pub use stream_calls::{
    mq_finish, mq_inform, mq_read, mq_read_lent, mq_release, mq_reset, mq_reset_send, mq_respond, mq_stop_receiving,
    mq_write,
};
