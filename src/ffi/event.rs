//! Events as the ABI has them.

use std::mem::offset_of;
use std::ptr;

use bytes::Bytes;

/// The version of this interface. A library with another one is not compatible; new functions, kinds and settings do
/// not change it.
pub const MQ_ABI_VERSION: u32 = 1;

/// Bytes of an ABI event.
const EVENT_SIZE: usize = 64;

/// A function of the program's that wakes it when there are events to poll. It is called from the engine's thread, must not
/// wait for anything, and must not call `mq_stop`. May be null.
pub type mq_wake = Option<extern "C" fn()>;

/// An event. The fields have the same places on every platform: those of 64 bits at 8, 16, 24, 32 and 40.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mq_event {
    /// What happened: one of `MQ_EVENT_...`. Ignore kinds that you do not know.
    pub kind: u32,
    /// `MQ_FLAG_...`, as the kind says.
    pub flags: u32,
    /// What it happened to: a connection, a request, a session or a stream; 0 for the engine.
    pub id: u64,
    /// What that belongs to: the connection of a request or session, the session of a stream; 0 if there is none.
    pub parent: u64,
    /// A status, an error code or a close code, as the kind says.
    pub code: u64,
    /// From `mq_poll`: the payload, lent until the next `mq_poll` or `mq_stop` of this handle; null if it is empty. From
    /// `mq_poll_into`: null.
    pub data: *const u8,
    /// Bytes of the payload.
    pub len: u64,
    /// From `mq_poll_into`: where in the caller's buffer the payload begins.
    pub offset: u64,
    /// 0.
    pub reserved: u64,
}

// What programs in other languages rely on.
const _: () = assert!(size_of::<mq_event>() == EVENT_SIZE && offset_of!(mq_event, len) == 40);

/// The peer has completed a handshake. `id` is the connection; the payload is its address, such as `192.0.2.1:50000`.
pub const MQ_EVENT_CONNECTED: u32 = 1;
/// A connection has ended, and with it everything on it, of which each had its own last event before. `code` is the error
/// code, of HTTP/3 with `MQ_FLAG_APPLICATION` and of QUIC otherwise, `MQ_FLAG_BY_PEER` says who ended it, and the payload
/// is a text for people.
pub const MQ_EVENT_CLOSED: u32 = 2;
/// Server: a request. The payload has its fields, the pseudo-header fields `:method`, `:scheme`, `:authority`, `:path` and
/// `:protocol` in front. `MQ_FLAG_END`: it has no body. `MQ_FLAG_EARLY`: it may be a replay (0-RTT). Answer it by
/// `mq_respond`, or `mq_release` it.
pub const MQ_EVENT_REQUEST: u32 = 3;
/// Server: a request for a WebTransport session, with the fields as in `MQ_EVENT_REQUEST`. `mq_accept` it, or reject it by
/// `mq_respond` with a status of 400 or more. Its origin was checked against the setting `allow_origin`.
pub const MQ_EVENT_SESSION_REQUEST: u32 = 4;
/// Client: the head of the response. `code` is the status, the payload has its fields. `MQ_FLAG_END`: it has no body.
pub const MQ_EVENT_RESPONSE: u32 = 5;
/// Client: an informational response (1xx). `code` is the status, the payload has its fields.
pub const MQ_EVENT_INFORMATIONAL: u32 = 6;
/// There is something to read: call `mq_read` until it returns 0 (the end) or `MQ_ERR_AGAIN`, after which the event can
/// come again. `MQ_FLAG_END`: all that is left has arrived.
pub const MQ_EVENT_READABLE: u32 = 7;
/// There is room again after an `mq_write` that did not take everything.
pub const MQ_EVENT_WRITABLE: u32 = 8;
/// Trailer fields of a request or response arrived; the payload has them. Some of the body may still be unread.
pub const MQ_EVENT_TRAILERS: u32 = 9;
/// Nothing more can be read: the peer reset its sending side, and what was unread is lost. `code` is the peer's error
/// code: of the application on a stream of a session, of HTTP/3 on a request. With `MQ_FLAG_LOCAL`, this side found it
/// malformed, over a limit or too slow instead, and `code` is 0; the payload says why.
pub const MQ_EVENT_RESET: u32 = 10;
/// Nothing more can be written: the peer stopped this side's sending. `code` as in `MQ_EVENT_RESET`.
pub const MQ_EVENT_STOPPED: u32 = 11;
/// The stream has ended with its connection or session, in both directions; its id is gone.
pub const MQ_EVENT_ABORTED: u32 = 12;
/// An HTTP datagram of a request or a session; the payload is the datagram.
pub const MQ_EVENT_DATAGRAM: u32 = 13;
/// A QUIC datagram of a connection that does not belong to HTTP; the payload is the datagram.
pub const MQ_EVENT_QUIC_DATAGRAM: u32 = 14;
/// A session is open. On a client, `code` is the status and the payload has the response's fields.
pub const MQ_EVENT_SESSION_OPENED: u32 = 15;
/// A session has ended, and with it its streams. `code` and the payload are the code and the reason of its close;
/// `MQ_FLAG_BY_PEER`: the peer closed it. Neither `MQ_FLAG_BY_PEER` nor `MQ_FLAG_LOCAL`: its connection ended, and the
/// payload says why.
pub const MQ_EVENT_SESSION_CLOSED: u32 = 16;
/// The peer asks to end the session soon.
pub const MQ_EVENT_SESSION_DRAINING: u32 = 17;
/// The peer opened a stream in a session, `parent`. `MQ_FLAG_UNI`: it is unidirectional, and can only be read.
pub const MQ_EVENT_STREAM: u32 = 18;
/// A stream that `mq_open_stream` returned is open: the peer allows it.
pub const MQ_EVENT_STREAM_OPENED: u32 = 19;
/// Client: a request or session failed; its id is gone. `code` is the `MQ_ERR_...` code without its sign, and the payload
/// a text for people.
pub const MQ_EVENT_FAILED: u32 = 20;
/// The result of `mq_reload`. `code` is 0 or an `MQ_ERR_...` code without its sign, and the payload then a text for people.
pub const MQ_EVENT_RELOADED: u32 = 21;
/// The result of `mq_stats`: the payload is a JSON object of numbers.
pub const MQ_EVENT_STATS: u32 = 22;
/// The result of `mq_metrics`: the payload is text for Prometheus.
pub const MQ_EVENT_METRICS: u32 = 23;
/// The engine has ended, after `mq_shutdown` or by an error: `code` is 0 or an `MQ_ERR_...` code without its sign, and the
/// payload then a text for people. No event follows; only `mq_stop` is left to call.
pub const MQ_EVENT_ENDED: u32 = 24;

/// There is no more to come in the receiving direction. In calls: nothing follows in the sending direction.
pub const MQ_FLAG_END: u32 = 1;
/// The stream is unidirectional.
pub const MQ_FLAG_UNI: u32 = 2;
/// The peer did it.
pub const MQ_FLAG_BY_PEER: u32 = 4;
/// This side did it.
pub const MQ_FLAG_LOCAL: u32 = 8;
/// The code is one of HTTP/3, not of QUIC.
pub const MQ_FLAG_APPLICATION: u32 = 16;
/// It came in the first flight of a connection (0-RTT), and may be a replay (RFC 8470).
pub const MQ_FLAG_EARLY: u32 = 32;

/// An event that waits for `mq_poll`.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) code: u64,
    pub(super) data: Bytes,
}

impl Event {
    pub(super) fn new(kind: u32, id: u64) -> Self {
        Event { kind, flags: 0, id, parent: 0, code: 0, data: Bytes::new() }
    }

    pub(super) fn flags(self, flags: u32) -> Self {
        Event { flags, ..self }
    }

    pub(super) fn parent(self, parent: u64) -> Self {
        Event { parent, ..self }
    }

    pub(super) fn code(self, code: u64) -> Self {
        Event { code, ..self }
    }

    pub(super) fn data(self, data: impl Into<Bytes>) -> Self {
        Event { data: data.into(), ..self }
    }

    /// An event with a failure's code and text.
    pub(super) fn failure(self, code: i32, text: impl Into<String>) -> Self {
        self.code(u64::from(code.unsigned_abs())).data(text.into())
    }

    pub(super) fn is_datagram(&self) -> bool {
        matches!(self.kind, MQ_EVENT_DATAGRAM | MQ_EVENT_QUIC_DATAGRAM)
    }

    /// Whether it means nothing to a caller that has given up what it names.
    pub(super) fn needs_object(&self) -> bool {
        matches!(self.kind, MQ_EVENT_READABLE | MQ_EVENT_WRITABLE | MQ_EVENT_DATAGRAM)
    }

    /// The event for the caller, with a payload that is elsewhere.
    pub(super) fn to_abi(&self) -> mq_event {
        let &Event { kind, flags, id, parent, code, ref data } = self;
        mq_event { kind, flags, id, parent, code, data: ptr::null(), len: data.len() as u64, offset: 0, reserved: 0 }
    }
}
