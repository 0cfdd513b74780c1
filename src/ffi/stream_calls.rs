//! Exports: requests, responses and the data of streams.

use std::ptr;

use http::StatusCode;

use super::code::{MQ_ERR_ARGUMENT, MQ_ERR_ID, MQ_ERR_TOO_LARGE, MQ_OK, Outcome, because, fail, guard};
use super::event::MQ_FLAG_END;
use super::fields;
use super::handle::{self, Role};
use super::memory::{self, count};
use super::state::{Object, SessionState, State};
use super::stream::{Kind, Received, Stream};
use crate::h3::ResponseHead;

/// Bytes of a field section that a caller may pass.
const MAX_FIELDS: usize = 1024 * 1024;

/// The bytes of a field section.
///
/// # Safety
/// As [`memory::bytes`].
pub(super) unsafe fn section<'a>(fields: *const u8, len: usize) -> Outcome<&'a [u8]> {
    // SAFETY: the caller's promise.
    let section = unsafe { memory::bytes(fields, len) }?;
    if section.len() > MAX_FIELDS {
        return fail(MQ_ERR_TOO_LARGE);
    }
    Ok(section)
}

pub(super) fn is_end(flags: u32) -> Outcome<bool> {
    match flags {
        0 => Ok(false),
        MQ_FLAG_END => Ok(true),
        _ => because(MQ_ERR_ARGUMENT, "the only flag here is MQ_FLAG_END"),
    }
}

/// Server: responds to the request `id` with a status of 200 to 599, header fields, and a body or the beginning of one.
/// With `MQ_FLAG_END`, the body is all of it, and the response gets its `content-length` unless the fields have one.
/// Without, go on by `mq_write` or `mq_finish`. A `date` is added. On a session request, this rejects the session.
///
/// Returns how many bytes of the body were taken, which are copied. If they are fewer than `body_len`, pass the rest to
/// `mq_write` after `MQ_EVENT_WRITABLE`.
///
/// # Safety
/// `fields` points to `fields_len` bytes and `body` to `body_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_respond(
    handle: u64,
    id: u64,
    status: u32,
    fields: *const u8,
    fields_len: usize,
    body: *const u8,
    body_len: usize,
    flags: u32,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let (section, body) = unsafe { (section(fields, fields_len)?, memory::bytes(body, body_len)?) };
        let end = is_end(flags)?;
        let head = response_head(status, 200..=599, section)?;
        let handle = handle::get(handle)?;
        handle.must_be(Role::Server)?;
        handle.with(|state| {
            let bound = state.bounds.write_buffer;
            let taken = request(state, id)?.respond(head, body, end, bound)?;
            state.mark(id);
            Ok(count(taken))
        })
    })
}

/// Server: sends an informational response (103, such as with `link` fields) before the response to the request `id`.
///
/// # Safety
/// `fields` points to `fields_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_inform(handle: u64, id: u64, status: u32, fields: *const u8, fields_len: usize) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let section = unsafe { section(fields, fields_len) }?;
        let head = response_head(status, 102..=199, section)?;
        let handle = handle::get(handle)?;
        handle.must_be(Role::Server)?;
        handle.with(|state| {
            state.stream(id)?.inform(head)?;
            state.mark(id);
            Ok(MQ_OK)
        })
    })
}

fn response_head(status: u32, allowed: std::ops::RangeInclusive<u32>, section: &[u8]) -> Outcome<ResponseHead> {
    let known = u16::try_from(status).ok().filter(|_| allowed.contains(&status));
    match known.and_then(|status| StatusCode::from_u16(status).ok()) {
        Some(status) => Ok(ResponseHead { status, headers: fields::read(section)? }),
        None => because(MQ_ERR_ARGUMENT, format!("{status} is not a status of such a response")),
    }
}

/// The stream of a request to respond to. A request for a session that is rejected becomes one.
fn request(state: &mut State, id: u64) -> Outcome<&mut Stream> {
    if let Object::Session(session) = state.find(id)? {
        if session.state != SessionState::Requested {
            return fail(MQ_ERR_ID);
        }
        let mut stream = Stream::new(Kind::Request { is_head: false }, session.parent, false, true);
        stream.at = session.at;
        state.replace(id, Object::Stream(Box::new(stream)));
    }
    let stream = state.stream(id)?;
    match stream.kind {
        Kind::Request { .. } => Ok(stream),
        _ => fail(MQ_ERR_ID),
    }
}

/// Sends bytes of a body or a stream of a session. With `MQ_FLAG_END`, nothing follows, which counts only if all were
/// taken.
///
/// Returns how many bytes were taken, which are copied. If they are fewer than `len`, or with `MQ_ERR_AGAIN` none,
/// `MQ_EVENT_WRITABLE` follows.
///
/// # Safety
/// `data` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_write(handle: u64, id: u64, data: *const u8, len: usize, flags: u32) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let data = unsafe { memory::bytes(data, len) }?;
        let end = is_end(flags)?;
        handle::get(handle)?.with(|state| {
            let bound = state.bounds.write_buffer;
            let taken = state.stream(id)?.write(data, end, bound)?;
            state.mark(id);
            Ok(count(taken))
        })
    })
}

/// Ends the sending direction, after everything that was written; of a request or response optionally with trailer fields.
///
/// # Safety
/// `trailers` points to `trailers_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_finish(handle: u64, id: u64, trailers: *const u8, trailers_len: usize) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let trailers = fields::read(unsafe { section(trailers, trailers_len) }?)?;
        handle::get(handle)?.with(|state| {
            state.stream(id)?.finish(trailers)?;
            state.mark(id);
            Ok(MQ_OK)
        })
    })
}

/// Reads up to `cap` bytes of a body or a stream of a session into `buf`.
///
/// Returns how many bytes were read; 0 at the end; `MQ_ERR_AGAIN` if there is nothing now, and `MQ_EVENT_READABLE` follows.
///
/// # Safety
/// `buf` has room for `cap` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_read(handle: u64, id: u64, buf: *mut u8, cap: usize) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let room = unsafe { memory::room(buf, cap.min(i32::MAX as usize)) }?;
        handle::get(handle)?.with(|state| {
            let taken = state.stream(id)?.read(room);
            after_read(state, id);
            taken.map(count)
        })
    })
}

/// As `mq_read`, without a copy: writes where the bytes are to `data`. They are lent until the next `mq_read_lent` of this
/// stream, or the next `mq_poll`, `mq_poll_into` or `mq_stop` of the handle.
///
/// # Safety
/// `data` points to room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_read_lent(handle: u64, id: u64, data: *mut *const u8) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let data = unsafe { memory::place(data) }?;
        data.write(ptr::null());
        handle::get(handle)?.with(|state| {
            let taken = state.stream(id)?.read_chunk();
            after_read(state, id);
            let chunk = taken?;
            let len = chunk.len();
            if len > 0 {
                data.write(chunk.as_ptr());
                state.lend_chunk(id, chunk);
            }
            Ok(count(len))
        })
    })
}

/// Lets the engine continue with a stream if there is room for more, or if it is over.
fn after_read(state: &mut State, id: u64) {
    let bound = state.bounds.read_buffer;
    let Some(stream) = state.get_stream(id) else { return };
    let receiving = &stream.receiving;
    if stream.is_over() || (receiving.state == Received::Open && receiving.len <= bound / 2) {
        state.mark(id);
    }
}

/// Aborts a request, a response or a stream of a session in both directions, with an error code: of HTTP/3 on a request,
/// such as 0x10c (H3_REQUEST_CANCELLED), and of the application (32 bits) on a stream of a session. Its id is gone.
#[unsafe(no_mangle)]
pub extern "C" fn mq_reset(handle: u64, id: u64, code: u64) -> i32 {
    guard(|| {
        handle::get(handle)?.with(|state| {
            let stream = state.stream(id)?;
            check_code(stream.kind, code)?;
            stream.abort(code);
            state.mark(id);
            Ok(MQ_OK)
        })
    })
}

/// Aborts the sending direction of a stream of a session, with an error code of the application.
#[unsafe(no_mangle)]
pub extern "C" fn mq_reset_send(handle: u64, id: u64, code: u64) -> i32 {
    guard(|| {
        handle::get(handle)?.with(|state| {
            let stream = state.stream(id)?;
            check_code(stream.kind, code)?;
            stream.abort_sending(code)?;
            state.mark(id);
            Ok(MQ_OK)
        })
    })
}

/// Aborts the receiving direction of a stream of a session, with an error code of the application: asks the peer to stop.
#[unsafe(no_mangle)]
pub extern "C" fn mq_stop_receiving(handle: u64, id: u64, code: u64) -> i32 {
    guard(|| {
        handle::get(handle)?.with(|state| {
            let stream = state.stream(id)?;
            check_code(stream.kind, code)?;
            stream.abort_receiving(code)?;
            state.mark(id);
            Ok(MQ_OK)
        })
    })
}

fn check_code(kind: Kind, code: u64) -> Outcome<()> {
    let largest = if kind == Kind::Session { u64::from(u32::MAX) } else { (1 << 62) - 1 };
    match code <= largest {
        true => Ok(()),
        false => because(MQ_ERR_ARGUMENT, format!("an error code is at most {largest}")),
    }
}

/// Gives up a request, a response or a stream of a session: what is not finished is reset, and what is unread is
/// discarded. Its id is gone.
#[unsafe(no_mangle)]
pub extern "C" fn mq_release(handle: u64, id: u64) -> i32 {
    guard(|| {
        handle::get(handle)?.with(|state| {
            state.stream(id)?.released = true;
            state.mark(id);
            Ok(MQ_OK)
        })
    })
}
