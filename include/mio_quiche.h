// C interface of mio-quiche: HTTP/3 and WebTransport, server and client.
//
// Made by cbindgen of src/ffi: do not edit. The manual is the documentation of the module `ffi`.


#ifndef MIO_QUICHE_H
#define MIO_QUICHE_H

#include <stddef.h>
#include <stdint.h>

// Success.
#define MQ_OK 0

// Nothing can be read, written or opened now. An event follows when it can.
#define MQ_ERR_AGAIN -1

// A pointer is null that must not be.
#define MQ_ERR_NULL -2

// An argument has a value that it cannot have, such as a length above `PTRDIFF_MAX` or a text that is not UTF-8.
#define MQ_ERR_ARGUMENT -3

// The handle names no engine: it was never given out, or `mq_stop` has ended it.
#define MQ_ERR_HANDLE -4

// The id was never given out by this engine, or names something of another kind.
#define MQ_ERR_ID -5

// What the id names has ended.
#define MQ_ERR_GONE -6

// The call does not fit the state, such as a second response or data after the end.
#define MQ_ERR_STATE -7

// Too much waits already, such as datagrams. Call `mq_poll`, and try again.
#define MQ_ERR_FULL -8

// It is larger than what fits, such as a datagram or an event's payload.
#define MQ_ERR_TOO_LARGE -9

// The stream was reset: nothing more can be read.
#define MQ_ERR_RESET -10

// The stream was stopped: nothing more can be written.
#define MQ_ERR_STOPPED -11

// Another thread is in `mq_poll` of the same handle.
#define MQ_ERR_BUSY -12

// The engine runs in its caller's thread, and this is another one.
#define MQ_ERR_THREAD -13

// A setting is unknown, has an invalid value, or names a file that cannot be used.
#define MQ_ERR_CONFIG -14

// An error of the operating system, such as an address in use.
#define MQ_ERR_SYSTEM -15

// The engine has ended by a shutdown. Only `mq_poll` and `mq_stop` are of use.
#define MQ_ERR_ENDED -16

// The peer, the settings or the role (server, client) do not offer this.
#define MQ_ERR_UNSUPPORTED -17

// An error in this library. The handle is best stopped.
#define MQ_ERR_INTERNAL -18

// The host has no address.
#define MQ_ERR_RESOLVE -19

// The server cannot be reached or refuses connections, or the handshake failed.
#define MQ_ERR_CONNECT -20

// It was not done in time.
#define MQ_ERR_TIMEOUT -21

// The server's certificate is not trusted.
#define MQ_ERR_CERTIFICATE -22

// The server rejected the session.
#define MQ_ERR_REJECTED -23

// The connection ended.
#define MQ_ERR_CLOSED -24

// It was cancelled by this side.
#define MQ_ERR_CANCELLED -25

// The message breaks a rule of HTTP/3, or a limit.
#define MQ_ERR_MALFORMED -26

// The version of this interface. A library with another one is not compatible; new functions, kinds and settings do
// not change it.
#define MQ_ABI_VERSION 1

// The peer has completed a handshake. `id` is the connection; the payload is its address, such as `192.0.2.1:50000`.
#define MQ_EVENT_CONNECTED 1

// A connection has ended, and with it everything on it, of which each had its own last event before. `code` is the error
// code, of HTTP/3 with `MQ_FLAG_APPLICATION` and of QUIC otherwise, `MQ_FLAG_BY_PEER` says who ended it, and the payload
// is a text for people.
#define MQ_EVENT_CLOSED 2

// Server: a request. The payload has its fields, the pseudo-header fields `:method`, `:scheme`, `:authority`, `:path` and
// `:protocol` in front. `MQ_FLAG_END`: it has no body. `MQ_FLAG_EARLY`: it may be a replay (0-RTT). Answer it by
// `mq_respond`, or `mq_release` it.
#define MQ_EVENT_REQUEST 3

// Server: a request for a WebTransport session, with the fields as in `MQ_EVENT_REQUEST`. `mq_accept` it, or reject it by
// `mq_respond` with a status of 400 or more. Its origin was checked against the setting `allow_origin`.
#define MQ_EVENT_SESSION_REQUEST 4

// Client: the head of the response. `code` is the status, the payload has its fields. `MQ_FLAG_END`: it has no body.
#define MQ_EVENT_RESPONSE 5

// Client: an informational response (1xx). `code` is the status, the payload has its fields.
#define MQ_EVENT_INFORMATIONAL 6

// There is something to read: call `mq_read` until it returns 0 (the end) or `MQ_ERR_AGAIN`, after which the event can
// come again. `MQ_FLAG_END`: all that is left has arrived.
#define MQ_EVENT_READABLE 7

// There is room again after an `mq_write` that did not take everything.
#define MQ_EVENT_WRITABLE 8

// Trailer fields of a request or response arrived; the payload has them. Some of the body may still be unread.
#define MQ_EVENT_TRAILERS 9

// Nothing more can be read: the peer reset its sending side, and what was unread is lost. `code` is the peer's error
// code: of the application on a stream of a session, of HTTP/3 on a request. With `MQ_FLAG_LOCAL`, this side found it
// malformed, over a limit or too slow instead, and `code` is 0; the payload says why.
#define MQ_EVENT_RESET 10

// Nothing more can be written: the peer stopped this side's sending. `code` as in `MQ_EVENT_RESET`.
#define MQ_EVENT_STOPPED 11

// The stream has ended with its connection or session, in both directions; its id is gone.
#define MQ_EVENT_ABORTED 12

// An HTTP datagram of a request or a session; the payload is the datagram.
#define MQ_EVENT_DATAGRAM 13

// A QUIC datagram of a connection that does not belong to HTTP; the payload is the datagram.
#define MQ_EVENT_QUIC_DATAGRAM 14

// A session is open. On a client, `code` is the status and the payload has the response's fields.
#define MQ_EVENT_SESSION_OPENED 15

// A session has ended, and with it its streams. `code` and the payload are the code and the reason of its close;
// `MQ_FLAG_BY_PEER`: the peer closed it. Neither `MQ_FLAG_BY_PEER` nor `MQ_FLAG_LOCAL`: its connection ended, and the
// payload says why.
#define MQ_EVENT_SESSION_CLOSED 16

// The peer asks to end the session soon.
#define MQ_EVENT_SESSION_DRAINING 17

// The peer opened a stream in a session, `parent`. `MQ_FLAG_UNI`: it is unidirectional, and can only be read.
#define MQ_EVENT_STREAM 18

// A stream that `mq_open_stream` returned is open: the peer allows it.
#define MQ_EVENT_STREAM_OPENED 19

// Client: a request or session failed; its id is gone. `code` is the `MQ_ERR_...` code without its sign, and the payload
// a text for people.
#define MQ_EVENT_FAILED 20

// The result of `mq_reload`. `code` is 0 or an `MQ_ERR_...` code without its sign, and the payload then a text for people.
#define MQ_EVENT_RELOADED 21

// The result of `mq_stats`: the payload is a JSON object of numbers.
#define MQ_EVENT_STATS 22

// The result of `mq_metrics`: the payload is text for Prometheus.
#define MQ_EVENT_METRICS 23

// The engine has ended, after `mq_shutdown` or by an error: `code` is 0 or an `MQ_ERR_...` code without its sign, and the
// payload then a text for people. No event follows; only `mq_stop` is left to call.
#define MQ_EVENT_ENDED 24

// There is no more to come in the receiving direction. In calls: nothing follows in the sending direction.
#define MQ_FLAG_END 1

// The stream is unidirectional.
#define MQ_FLAG_UNI 2

// The peer did it.
#define MQ_FLAG_BY_PEER 4

// This side did it.
#define MQ_FLAG_LOCAL 8

// The code is one of HTTP/3, not of QUIC.
#define MQ_FLAG_APPLICATION 16

// It came in the first flight of a connection (0-RTT), and may be a replay (RFC 8470).
#define MQ_FLAG_EARLY 32

// A function of the program's that wakes it when there are events to poll. It is called from the engine's thread, must not
// wait for anything, and must not call `mq_stop`. May be null.
typedef void (*mq_wake)(void);

// An event. The fields have the same places on every platform: those of 64 bits at 8, 16, 24, 32 and 40.
typedef struct {
  // What happened: one of `MQ_EVENT_...`. Ignore kinds that you do not know.
  uint32_t kind;
  // `MQ_FLAG_...`, as the kind says.
  uint32_t flags;
  // What it happened to: a connection, a request, a session or a stream; 0 for the engine.
  uint64_t id;
  // What that belongs to: the connection of a request or session, the session of a stream; 0 if there is none.
  uint64_t parent;
  // A status, an error code or a close code, as the kind says.
  uint64_t code;
  // From `mq_poll`: the payload, lent until the next `mq_poll` or `mq_stop` of this handle; null if it is empty. From
  // `mq_poll_into`: null.
  const uint8_t *data;
  // Bytes of the payload.
  uint64_t len;
  // From `mq_poll_into`: where in the caller's buffer the payload begins.
  uint64_t offset;
  // 0.
  uint64_t reserved;
} mq_event;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Starts a client, as `mq_server_new` starts a server.
//
// # Safety
// As `mq_server_new`.
int32_t mq_client_new(const uint8_t *settings, size_t len, mq_wake wake, uint64_t *handle);

// Client: sends a request to an `https` URL, on a connection of the pool or a new one, and writes its id to `request`.
// With `MQ_FLAG_END`, the body is all of it, and there is none if it is empty; without, go on by `mq_write` or
// `mq_finish`. `MQ_EVENT_RESPONSE` or `MQ_EVENT_FAILED` follows.
//
// Returns how many bytes of the body were taken, as `mq_respond` does.
//
// # Safety
// Each pointer points to as many bytes as the length behind it says, and `request` to room for a number.
int32_t mq_request(uint64_t handle,
                   const uint8_t *method,
                   size_t method_len,
                   const uint8_t *url,
                   size_t url_len,
                   const uint8_t *fields,
                   size_t fields_len,
                   const uint8_t *body,
                   size_t body_len,
                   uint32_t flags,
                   uint64_t *request);

// Client: asks for a WebTransport session at an `https` URL, on a connection of its own, and writes its id to `session`.
// `options` are names and values: `origin` (by default that of the URL), `protocol` for each subprotocol to offer,
// `timeout` in milliseconds; every other one is a header field. `MQ_EVENT_SESSION_OPENED` or `MQ_EVENT_FAILED` follows.
//
// # Safety
// Each pointer points to as many bytes as the length behind it says, and `session` to room for a number.
int32_t mq_connect(uint64_t handle,
                   const uint8_t *url,
                   size_t url_len,
                   const uint8_t *options,
                   size_t options_len,
                   uint64_t *session);

// Client: opens a connection for QUIC datagrams to the host and port of an `https` URL, by an application protocol of the
// setting `alpn`, and writes its id to `connection`. `MQ_EVENT_CONNECTED` or `MQ_EVENT_FAILED` follows.
//
// # Safety
// `url` points to `url_len` bytes and `connection` to room for a number.
int32_t mq_open_datagrams(uint64_t handle,
                          const uint8_t *url,
                          size_t url_len,
                          uint64_t *connection);

// Starts a server with the settings of `settings` (see the manual), which has `len` bytes, and writes its handle to
// `handle`.
//
// `wake` may be null. If the engine has a thread of its own (`thread=on`), it calls `wake` from there when there are events
// to poll, and not again before all of them were taken.
//
// Returns 0, `MQ_ERR_CONFIG`, or `MQ_ERR_SYSTEM` if the address cannot be used; `mq_last_error` says more.
//
// # Safety
// `settings` points to `len` bytes and `handle` to room for a number. `wake` is callable from any thread until `mq_stop` of
// the handle has returned.
int32_t mq_server_new(const uint8_t *settings,
                      size_t len,
                      mq_wake wake,
                      uint64_t *handle);

// Waits for events for at most `timeout_ms` (0: not at all; below 0: without a limit), and writes up to `cap` of them to
// `events`. Their payloads are lent until the next `mq_poll`, `mq_poll_into` or `mq_stop` of the handle. An engine without
// a thread of its own runs meanwhile, in this call only.
//
// Poll until fewer than `cap` events come before you wait for a wake-up again.
//
// Returns how many events were written, `MQ_ERR_BUSY` or `MQ_ERR_THREAD`.
//
// # Safety
// `events` points to room for `cap` events.
int32_t mq_poll(uint64_t handle,
                mq_event *events,
                size_t cap,
                int32_t timeout_ms);

// As `mq_poll`, but copies the payloads one behind the other to `buf`, which has `buf_cap` bytes; each event's `offset`
// says where its payload begins. An event whose payload does not fit any more is left for the next call.
//
// Returns how many events were written; `MQ_ERR_TOO_LARGE` if not even the first one's payload fits, whose event without
// the payload is then written, and left.
//
// # Safety
// `events` points to room for `cap` events, and `buf` to `buf_cap` bytes.
int32_t mq_poll_into(uint64_t handle,
                     mq_event *events,
                     size_t cap,
                     uint8_t *buf,
                     size_t buf_cap,
                     int32_t timeout_ms);

// A descriptor that is readable while events wait, for `poll`, `epoll` and the like. Only of an engine with a thread of
// its own. It belongs to the engine: do not read or close it, and do not use it after `mq_stop`.
//
// Returns the descriptor or `MQ_ERR_UNSUPPORTED`.
int32_t mq_fd(uint64_t handle);

// Copies the address that the engine's socket is bound to, such as `127.0.0.1:4433`, with the port that the system chose.
// No NUL is appended.
//
// Returns the text's length, even if only `cap` bytes of it fit.
//
// # Safety
// `buf` has room for `cap` bytes.
int32_t mq_local_addr(uint64_t handle,
                      uint8_t *buf,
                      size_t cap);

// Begins a graceful shutdown: no new requests, and the running ones may end, for the setting `shutdown_timeout` at most.
// `MQ_EVENT_ENDED` follows.
int32_t mq_shutdown(uint64_t handle);

// Reads certificates, keys and authorities from their files again, for new connections. `MQ_EVENT_RELOADED` has the result;
// after a failure, nothing has changed.
int32_t mq_reload(uint64_t handle);

// Asks for the counters: `MQ_EVENT_STATS` brings them.
int32_t mq_stats(uint64_t handle);

// Asks for the metrics: `MQ_EVENT_METRICS` brings them.
int32_t mq_metrics(uint64_t handle);

// Ends an engine at once, closes its connections, and frees everything that belongs to it. Waits for the engine's thread.
// The handle is an error from then on, also for calls that run in other threads.
//
// Returns 0; `MQ_ERR_THREAD` from the engine's own thread, or from another one than its caller's if it has none.
int32_t mq_stop(uint64_t handle);

// The versions of this library and of quiche, such as `mio-quiche 0.1.0 (quiche 0.30.0)`. Static, never null.
const char *mq_version(void);

// `MQ_ABI_VERSION` of the library that is loaded. Compare it with the one that you were written for.
uint32_t mq_abi_version(void);

// The text of a code. Static, never null.
const char *mq_error_text(int32_t code);

// Copies what there is to say about the latest failure on this thread, besides its code's text, such as
// `cannot read certificate 'cert.pem': No such file or directory`; often nothing. No NUL is appended.
//
// Returns the text's length, even if only `cap` bytes of it fit.
//
// # Safety
// `buf` has room for `cap` bytes, or is null and `cap` is 0.
int32_t mq_last_error(uint8_t *buf,
                      size_t cap);

// Server: accepts a session, with further fields for the response. `MQ_EVENT_SESSION_OPENED` or `MQ_EVENT_SESSION_CLOSED`
// follows. One of the subprotocols that the client offers in `wt-available-protocols` is chosen by a field `wt-protocol`
// with its name in double quotes.
//
// # Safety
// `fields` points to `fields_len` bytes.
int32_t mq_accept(uint64_t handle,
                  uint64_t session,
                  const uint8_t *fields,
                  size_t fields_len);

// Opens a stream in a session, bidirectional unless `unidirectional` is not 0, and writes its id to `stream`. It can be
// written to at once. `MQ_EVENT_STREAM_OPENED` comes when the peer allows it, `MQ_EVENT_ABORTED` if the session ends before.
//
// Returns 0, or `MQ_ERR_FULL` if a thousand streams wait already.
//
// # Safety
// `stream` points to room for a number.
int32_t mq_open_stream(uint64_t handle,
                       uint64_t session,
                       uint32_t unidirectional,
                       uint64_t *stream);

// Sends an HTTP datagram of the session or request `id`. Datagrams may be lost, also here: if too many wait, or the peer
// takes none.
//
// Returns 0; `MQ_ERR_TOO_LARGE` if it cannot fit into a packet, `MQ_ERR_FULL` if too much waits for the engine.
//
// # Safety
// `data` points to `len` bytes.
int32_t mq_send_datagram(uint64_t handle,
                         uint64_t id,
                         const uint8_t *data,
                         size_t len);

// The largest datagram that the session can send at the moment, in bytes.
//
// Returns the size, or `MQ_ERR_UNSUPPORTED` if the peer takes none, or it is not known yet.
int32_t mq_max_datagram(uint64_t handle, uint64_t session);

// Sends a QUIC datagram on a connection whose datagrams do not belong to HTTP. It may be lost, also here.
//
// # Safety
// `data` points to `len` bytes.
int32_t mq_send_quic_datagram(uint64_t handle,
                              uint64_t connection,
                              const uint8_t *data,
                              size_t len);

// Closes a session with a code and a reason (UTF-8, at most 1024 bytes). Its streams end with it.
// `MQ_EVENT_SESSION_CLOSED` follows. A request for a session is rejected by `mq_respond`.
//
// # Safety
// `reason` points to `reason_len` bytes.
int32_t mq_close_session(uint64_t handle,
                         uint64_t session,
                         uint32_t code,
                         const uint8_t *reason,
                         size_t reason_len);

// Asks the peer to end a session soon.
int32_t mq_drain_session(uint64_t handle, uint64_t session);

// Closes a connection with an error code of HTTP/3 and a reason of at most 1024 bytes.
//
// # Safety
// `reason` points to `reason_len` bytes.
int32_t mq_close_connection(uint64_t handle,
                            uint64_t connection,
                            uint64_t code,
                            const uint8_t *reason,
                            size_t reason_len);

// Server: responds to the request `id` with a status of 200 to 599, header fields, and a body or the beginning of one.
// With `MQ_FLAG_END`, the body is all of it, and the response gets its `content-length` unless the fields have one.
// Without, go on by `mq_write` or `mq_finish`. A `date` is added. On a session request, this rejects the session.
//
// Returns how many bytes of the body were taken, which are copied. If they are fewer than `body_len`, pass the rest to
// `mq_write` after `MQ_EVENT_WRITABLE`.
//
// # Safety
// `fields` points to `fields_len` bytes and `body` to `body_len` bytes.
int32_t mq_respond(uint64_t handle,
                   uint64_t id,
                   uint32_t status,
                   const uint8_t *fields,
                   size_t fields_len,
                   const uint8_t *body,
                   size_t body_len,
                   uint32_t flags);

// Server: sends an informational response (103, such as with `link` fields) before the response to the request `id`.
//
// # Safety
// `fields` points to `fields_len` bytes.
int32_t mq_inform(uint64_t handle,
                  uint64_t id,
                  uint32_t status,
                  const uint8_t *fields,
                  size_t fields_len);

// Sends bytes of a body or a stream of a session. With `MQ_FLAG_END`, nothing follows, which counts only if all were
// taken.
//
// Returns how many bytes were taken, which are copied. If they are fewer than `len`, or with `MQ_ERR_AGAIN` none,
// `MQ_EVENT_WRITABLE` follows.
//
// # Safety
// `data` points to `len` bytes.
int32_t mq_write(uint64_t handle,
                 uint64_t id,
                 const uint8_t *data,
                 size_t len,
                 uint32_t flags);

// Ends the sending direction, after everything that was written; of a request or response optionally with trailer fields.
//
// # Safety
// `trailers` points to `trailers_len` bytes.
int32_t mq_finish(uint64_t handle,
                  uint64_t id,
                  const uint8_t *trailers,
                  size_t trailers_len);

// Reads up to `cap` bytes of a body or a stream of a session into `buf`.
//
// Returns how many bytes were read; 0 at the end; `MQ_ERR_AGAIN` if there is nothing now, and `MQ_EVENT_READABLE` follows.
//
// # Safety
// `buf` has room for `cap` bytes.
int32_t mq_read(uint64_t handle,
                uint64_t id,
                uint8_t *buf,
                size_t cap);

// As `mq_read`, without a copy: writes where the bytes are to `data`. They are lent until the next `mq_read_lent` of this
// stream, or the next `mq_poll`, `mq_poll_into` or `mq_stop` of the handle.
//
// # Safety
// `data` points to room for a pointer.
int32_t mq_read_lent(uint64_t handle,
                     uint64_t id,
                     const uint8_t **data);

// Aborts a request, a response or a stream of a session in both directions, with an error code: of HTTP/3 on a request,
// such as 0x10c (H3_REQUEST_CANCELLED), and of the application (32 bits) on a stream of a session. Its id is gone.
int32_t mq_reset(uint64_t handle,
                 uint64_t id,
                 uint64_t code);

// Aborts the sending direction of a stream of a session, with an error code of the application.
int32_t mq_reset_send(uint64_t handle, uint64_t id, uint64_t code);

// Aborts the receiving direction of a stream of a session, with an error code of the application: asks the peer to stop.
int32_t mq_stop_receiving(uint64_t handle,
                          uint64_t id,
                          uint64_t code);

// Gives up a request, a response or a stream of a session: what is not finished is reset, and what is unread is
// discarded. Its id is gone.
int32_t mq_release(uint64_t handle,
                   uint64_t id);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MIO_QUICHE_H */
