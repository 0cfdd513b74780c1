//! Exports: sessions, datagrams, connections.

use bytes::Bytes;

use super::code::{
    MQ_ERR_ARGUMENT, MQ_ERR_FULL, MQ_ERR_STATE, MQ_ERR_TOO_LARGE, MQ_ERR_UNSUPPORTED, MQ_OK, Outcome, because, fail,
    guard,
};
use super::command::Command;
use super::fields;
use super::handle::{self, Role};
use super::memory::{self, count};
use super::state::{Object, SessionState};
use super::stream::{Kind, Stream};
use super::stream_calls::section;

/// Bytes of a reason (RFC 9000 section 19.19, and the draft's section 6).
const MAX_REASON: usize = 1024;
/// Bytes of a datagram that can fit into a packet.
const MAX_DATAGRAM: usize = 65_535;
/// Streams of a session that wait for the peer to allow them.
const MAX_OPENING: usize = 1024;

/// Server: accepts a session, with further fields for the response. `MQ_EVENT_SESSION_OPENED` or `MQ_EVENT_SESSION_CLOSED`
/// follows. One of the subprotocols that the client offers in `wt-available-protocols` is chosen by a field `wt-protocol`
/// with its name in double quotes.
///
/// # Safety
/// `fields` points to `fields_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_accept(handle: u64, session: u64, fields: *const u8, fields_len: usize) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let headers = fields::read(unsafe { section(fields, fields_len) }?)?;
        let handle = handle::get(handle)?;
        handle.must_be(Role::Server)?;
        handle.with(|state| {
            if state.session(session)?.state != SessionState::Requested {
                return because(MQ_ERR_STATE, "the session was accepted before");
            }
            state.command(Command::Accept { id: session, headers })?;
            state.session(session)?.state = SessionState::Opening;
            Ok(MQ_OK)
        })
    })
}

/// Opens a stream in a session, bidirectional unless `unidirectional` is not 0, and writes its id to `stream`. It can be
/// written to at once. `MQ_EVENT_STREAM_OPENED` comes when the peer allows it, `MQ_EVENT_ABORTED` if the session ends before.
///
/// Returns 0, or `MQ_ERR_FULL` if a thousand streams wait already.
///
/// # Safety
/// `stream` points to room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_open_stream(handle: u64, session: u64, unidirectional: u32, stream: *mut u64) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { memory::place(stream) }?;
        handle::get(handle)?.with(|state| {
            let found = state.session(session)?;
            match found.state {
                SessionState::Requested => return because(MQ_ERR_STATE, "the session is not accepted"),
                SessionState::Closing => return because(MQ_ERR_STATE, "the session was closed"),
                SessionState::Opening | SessionState::Open if found.opening >= MAX_OPENING => return fail(MQ_ERR_FULL),
                SessionState::Opening | SessionState::Open => {}
            }
            let bidi = unidirectional == 0;
            let id = state.insert(Object::Stream(Box::new(Stream::new(Kind::Session, session, bidi, true))));
            if let Err(failure) = state.command(Command::OpenStream { id, session, bidi }) {
                state.remove(id);
                return Err(failure);
            }
            state.session(session)?.opening += 1;
            place.write(id);
            Ok(MQ_OK)
        })
    })
}

/// Sends an HTTP datagram of the session or request `id`. Datagrams may be lost, also here: if too many wait, or the peer
/// takes none.
///
/// Returns 0; `MQ_ERR_TOO_LARGE` if it cannot fit into a packet, `MQ_ERR_FULL` if too much waits for the engine.
///
/// # Safety
/// `data` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_send_datagram(handle: u64, id: u64, data: *const u8, len: usize) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let data = unsafe { datagram(data, len) }?;
        handle::get(handle)?.with(|state| {
            match state.find(id)? {
                Object::Session(session) if session.state == SessionState::Requested => {
                    return because(MQ_ERR_STATE, "the session is not accepted");
                }
                Object::Session(session) if session.max_datagram.is_some_and(|max| data.len() > max) => {
                    return fail(MQ_ERR_TOO_LARGE);
                }
                Object::Session(session) if session.state == SessionState::Open && session.max_datagram.is_none() => {
                    return because(MQ_ERR_UNSUPPORTED, "the peer takes no datagrams, or the settings turn them off");
                }
                Object::Stream(stream) if stream.kind == Kind::Session => {
                    return because(MQ_ERR_UNSUPPORTED, "datagrams belong to the session, not to its streams");
                }
                Object::Connection(_) => {
                    return because(MQ_ERR_UNSUPPORTED, "mq_send_quic_datagram is for connections");
                }
                Object::Session(_) | Object::Stream(_) => {}
            }
            state.command(Command::Datagram { id, payload: Bytes::copy_from_slice(data) })?;
            Ok(MQ_OK)
        })
    })
}

/// The largest datagram that the session can send at the moment, in bytes.
///
/// Returns the size, or `MQ_ERR_UNSUPPORTED` if the peer takes none, or it is not known yet.
#[unsafe(no_mangle)]
pub extern "C" fn mq_max_datagram(handle: u64, session: u64) -> i32 {
    guard(|| {
        handle::get(handle)?.with(|state| match state.session(session)?.max_datagram {
            Some(max) => Ok(count(max)),
            None => fail(MQ_ERR_UNSUPPORTED),
        })
    })
}

/// Sends a QUIC datagram on a connection whose datagrams do not belong to HTTP. It may be lost, also here.
///
/// # Safety
/// `data` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_send_quic_datagram(handle: u64, connection: u64, data: *const u8, len: usize) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let data = unsafe { datagram(data, len) }?;
        handle::get(handle)?.with(|state| {
            state.connection(connection)?;
            state.command(Command::QuicDatagram { id: connection, payload: Bytes::copy_from_slice(data) })?;
            Ok(MQ_OK)
        })
    })
}

/// The bytes of a datagram.
///
/// # Safety
/// As [`memory::bytes`].
unsafe fn datagram<'a>(data: *const u8, len: usize) -> Outcome<&'a [u8]> {
    // SAFETY: the caller's promise.
    let data = unsafe { memory::bytes(data, len) }?;
    if data.len() > MAX_DATAGRAM {
        return fail(MQ_ERR_TOO_LARGE);
    }
    Ok(data)
}

/// Closes a session with a code and a reason (UTF-8, at most 1024 bytes). Its streams end with it.
/// `MQ_EVENT_SESSION_CLOSED` follows. A request for a session is rejected by `mq_respond`.
///
/// # Safety
/// `reason` points to `reason_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_close_session(
    handle: u64,
    session: u64,
    code: u32,
    reason: *const u8,
    reason_len: usize,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let reason = unsafe { memory::text(reason, reason_len) }?;
        if reason.len() > MAX_REASON {
            return fail(MQ_ERR_TOO_LARGE);
        }
        handle::get(handle)?.with(|state| {
            match state.session(session)?.state {
                SessionState::Requested => return because(MQ_ERR_STATE, "mq_respond rejects a session"),
                SessionState::Closing => return because(MQ_ERR_STATE, "the session was closed"),
                SessionState::Opening | SessionState::Open => {}
            }
            state.command(Command::CloseSession { id: session, code, reason: reason.to_owned() })?;
            state.session(session)?.state = SessionState::Closing;
            Ok(MQ_OK)
        })
    })
}

/// Asks the peer to end a session soon.
#[unsafe(no_mangle)]
pub extern "C" fn mq_drain_session(handle: u64, session: u64) -> i32 {
    guard(|| {
        handle::get(handle)?.with(|state| {
            if state.session(session)?.state != SessionState::Open {
                return because(MQ_ERR_STATE, "the session is not open");
            }
            state.command(Command::Drain { id: session })?;
            Ok(MQ_OK)
        })
    })
}

/// Closes a connection with an error code of HTTP/3 and a reason of at most 1024 bytes.
///
/// # Safety
/// `reason` points to `reason_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_close_connection(
    handle: u64,
    connection: u64,
    code: u64,
    reason: *const u8,
    reason_len: usize,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let reason = unsafe { memory::bytes(reason, reason_len) }?;
        if reason.len() > MAX_REASON {
            return fail(MQ_ERR_TOO_LARGE);
        }
        if code >= 1 << 62 {
            return because(MQ_ERR_ARGUMENT, "an error code is less than 2^62");
        }
        handle::get(handle)?.with(|state| {
            state.connection(connection)?;
            let reason = Bytes::copy_from_slice(reason);
            state.command(Command::CloseConnection { id: connection, code, reason })?;
            Ok(MQ_OK)
        })
    })
}
