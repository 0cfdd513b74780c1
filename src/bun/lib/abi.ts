/** Constants of `include/mio_quiche.h`, which has their documentation. */
export const ABI_VERSION = 1;

export const ERR_AGAIN = -1;
export const ERR_ID = -5;
export const ERR_GONE = -6;
export const ERR_STATE = -7;
export const ERR_FULL = -8;
export const ERR_TOO_LARGE = -9;
export const ERR_RESET = -10;
export const ERR_STOPPED = -11;
export const ERR_ENDED = -16;

/** The names behind `ERR_MQ_` in the `code` of an error, by the code of the ABI without its sign. */
export const ERROR_NAMES = [
  "OK", "AGAIN", "NULL", "ARGUMENT", "HANDLE", "ID", "GONE", "STATE", "FULL", "TOO_LARGE", "RESET", "STOPPED", "BUSY",
  "THREAD", "CONFIG", "SYSTEM", "ENDED", "UNSUPPORTED", "INTERNAL", "RESOLVE", "CONNECT", "TIMEOUT", "CERTIFICATE",
  "REJECTED", "CLOSED", "CANCELLED", "MALFORMED",
];

export const EVENT_CONNECTED = 1;
export const EVENT_CLOSED = 2;
export const EVENT_REQUEST = 3;
export const EVENT_SESSION_REQUEST = 4;
export const EVENT_RESPONSE = 5;
export const EVENT_READABLE = 7;
export const EVENT_WRITABLE = 8;
export const EVENT_TRAILERS = 9;
export const EVENT_RESET = 10;
export const EVENT_STOPPED = 11;
export const EVENT_ABORTED = 12;
export const EVENT_DATAGRAM = 13;
export const EVENT_SESSION_OPENED = 15;
export const EVENT_SESSION_CLOSED = 16;
export const EVENT_SESSION_DRAINING = 17;
export const EVENT_STREAM = 18;
export const EVENT_STREAM_OPENED = 19;
export const EVENT_FAILED = 20;
export const EVENT_RELOADED = 21;
export const EVENT_STATS = 22;
export const EVENT_METRICS = 23;
export const EVENT_ENDED = 24;

export const FLAG_END = 1;
export const FLAG_UNI = 2;
export const FLAG_BY_PEER = 4;
export const FLAG_LOCAL = 8;
export const FLAG_EARLY = 32;

/** H3_NO_ERROR, H3_INTERNAL_ERROR and H3_REQUEST_CANCELLED (RFC 9114, section 8.1). */
export const H3_NO_ERROR = 0x100;
export const H3_INTERNAL_ERROR = 0x102;
export const H3_REQUEST_CANCELLED = 0x10c;

/** Bytes of an event. */
export const EVENT_SIZE = 64;

/**
 * The types of parameters: `u32`, `i32`, `u64` (an id, a handle, a length or a code, as a number), `in` (bytes to
 * read), `out` (memory to write) and `wake` (the function that wakes, or null).
 */
export type Parameter = "u32" | "i32" | "u64" | "in" | "out" | "wake";

/** The functions with their parameters. All return an `int32_t`. */
export const FUNCTIONS = {
  mq_abi_version: [],
  mq_last_error: ["out", "u64"],
  mq_server_new: ["in", "u64", "wake", "out"],
  mq_client_new: ["in", "u64", "wake", "out"],
  mq_poll_into: ["u64", "out", "u64", "out", "u64", "i32"],
  mq_fd: ["u64"],
  mq_local_addr: ["u64", "out", "u64"],
  mq_shutdown: ["u64"],
  mq_reload: ["u64"],
  mq_stats: ["u64"],
  mq_metrics: ["u64"],
  mq_stop: ["u64"],
  mq_request: ["u64", "in", "u64", "in", "u64", "in", "u64", "in", "u64", "u32", "out"],
  mq_connect: ["u64", "in", "u64", "in", "u64", "out"],
  mq_accept: ["u64", "u64", "in", "u64"],
  mq_open_stream: ["u64", "u64", "u32", "out"],
  mq_send_datagram: ["u64", "u64", "in", "u64"],
  mq_max_datagram: ["u64", "u64"],
  mq_close_session: ["u64", "u64", "u32", "in", "u64"],
  mq_drain_session: ["u64", "u64"],
  mq_respond: ["u64", "u64", "u32", "in", "u64", "in", "u64", "u32"],
  mq_write: ["u64", "u64", "in", "u64", "u32"],
  mq_finish: ["u64", "u64", "in", "u64"],
  mq_read: ["u64", "u64", "out", "u64"],
  mq_reset: ["u64", "u64", "u64"],
  mq_reset_send: ["u64", "u64", "u64"],
  mq_stop_receiving: ["u64", "u64", "u64"],
  mq_release: ["u64", "u64"],
} satisfies Record<string, Parameter[]>;

type Argument<P> = P extends "in" | "out" | "wake" ? unknown : number;
type Arguments<P extends readonly unknown[]> = { [K in keyof P]: Argument<P[K]> };

/** The functions of an open library. */
export type Functions = {
  [N in keyof typeof FUNCTIONS]: (...values: Arguments<(typeof FUNCTIONS)[N]>) => number;
};
