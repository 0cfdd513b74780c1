//! Exports: a client, its requests and sessions.

use http::Method;
use http::header::{HeaderName, HeaderValue};

use super::client::Client;
use super::code::{Failure, MQ_ERR_ARGUMENT, MQ_OK, Outcome, because, guard};
use super::command::Command;
use super::event::mq_wake;
use super::fields;
use super::handle::{self, Role};
use super::memory::{self, count};
use super::settings;
use super::state::{Object, Session, SessionState};
use super::stream::{Kind, Stream};
use super::stream_calls::{is_end, section};
use crate::app::{ClientRequest, SessionOptions};

/// Starts a client, as `mq_server_new` starts a server.
///
/// # Safety
/// As `mq_server_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_client_new(settings: *const u8, len: usize, wake: mq_wake, handle: *mut u64) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let (section, handle) = unsafe { (memory::bytes(settings, len)?, memory::place(handle)?) };
        let settings::ClientSettings { config, run } = settings::client(section)?;
        let make = move || Client::new(config).map_err(Into::into);
        handle.write(handle::start(Role::Client, run, wake, Vec::new(), make)?);
        Ok(MQ_OK)
    })
}

/// Client: sends a request to an `https` URL, on a connection of the pool or a new one, and writes its id to `request`.
/// With `MQ_FLAG_END`, the body is all of it, and there is none if it is empty; without, go on by `mq_write` or
/// `mq_finish`. `MQ_EVENT_RESPONSE` or `MQ_EVENT_FAILED` follows.
///
/// Returns how many bytes of the body were taken, as `mq_respond` does.
///
/// # Safety
/// Each pointer points to as many bytes as the length behind it says, and `request` to room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_request(
    handle: u64,
    method: *const u8,
    method_len: usize,
    url: *const u8,
    url_len: usize,
    fields: *const u8,
    fields_len: usize,
    body: *const u8,
    body_len: usize,
    flags: u32,
    request: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let (method, url, section, body, place) = unsafe {
            (
                memory::bytes(method, method_len)?,
                memory::text(url, url_len)?,
                section(fields, fields_len)?,
                memory::bytes(body, body_len)?,
                memory::place(request)?,
            )
        };
        let end = is_end(flags)?;
        let has_body = !(end && body.is_empty());
        let request = make_request(method, url, section, has_body.then_some((body.len(), end)))?;
        let handle = handle::get(handle)?;
        handle.must_be(Role::Client)?;
        handle.with(|state| {
            let mut stream = Stream::new(Kind::Response, 0, true, has_body);
            let taken = if has_body { stream.write(body, end, state.bounds.write_buffer)? } else { 0 };
            let id = state.insert(Object::Stream(Box::new(stream)));
            if let Err(failure) = state.command(Command::Request { id, request: Box::new(request) }) {
                state.remove(id);
                return Err(failure);
            }
            place.write(id);
            Ok(count(taken))
        })
    })
}

/// `body` is its length so far, and whether that is all.
fn make_request(method: &[u8], url: &str, section: &[u8], body: Option<(usize, bool)>) -> Outcome<ClientRequest> {
    let method = Method::from_bytes(method).or_else(|_| because(MQ_ERR_ARGUMENT, "this is not a method"))?;
    if method == Method::CONNECT {
        return because(MQ_ERR_ARGUMENT, "mq_connect is for sessions");
    }
    let mut request = ClientRequest::new(method, url).map_err(|error| Failure::from(&error))?;
    let mut has_length = false;
    for (name, value) in &fields::read(section)? {
        has_length |= name == http::header::CONTENT_LENGTH;
        request = request.append_header(name.clone(), value.clone());
    }
    Ok(match body {
        Some((len, true)) if !has_length => request.streamed_body(Some(len as u64)),
        Some(_) => request.streamed_body(None),
        None => request,
    })
}

/// Client: asks for a WebTransport session at an `https` URL, on a connection of its own, and writes its id to `session`.
/// `options` are names and values: `origin` (by default that of the URL), `protocol` for each subprotocol to offer,
/// `timeout` in milliseconds; every other one is a header field. `MQ_EVENT_SESSION_OPENED` or `MQ_EVENT_FAILED` follows.
///
/// # Safety
/// Each pointer points to as many bytes as the length behind it says, and `session` to room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_connect(
    handle: u64,
    url: *const u8,
    url_len: usize,
    options: *const u8,
    options_len: usize,
    session: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let (url, section, place) =
            unsafe { (memory::text(url, url_len)?, section(options, options_len)?, memory::place(session)?) };
        let mut options = SessionOptions::new(url).map_err(|error| Failure::from(&error))?;
        for (name, value) in fields::pairs(section)? {
            let text = std::str::from_utf8(value).or_else(|_| because(MQ_ERR_ARGUMENT, "an option is not UTF-8"));
            options = match name {
                b"origin" => options.origin(text?),
                b"protocol" => options.subprotocol(text?),
                b"timeout" => match text?.parse() {
                    Ok(timeout) => options.timeout(std::time::Duration::from_millis(timeout)),
                    Err(_) => return because(MQ_ERR_ARGUMENT, "timeout is not a number of milliseconds"),
                },
                _ => match (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                    (Ok(name), Ok(value)) => options.header(name, value),
                    _ => return because(MQ_ERR_ARGUMENT, "an option is neither known nor a header field"),
                },
            };
        }
        let handle = handle::get(handle)?;
        handle.must_be(Role::Client)?;
        handle.with(|state| {
            let id = state.insert(Object::Session(Session::new(0, None, SessionState::Opening)));
            if let Err(failure) = state.command(Command::Connect { id, options: Box::new(options) }) {
                state.remove(id);
                return Err(failure);
            }
            place.write(id);
            Ok(MQ_OK)
        })
    })
}

/// Client: opens a connection for QUIC datagrams to the host and port of an `https` URL, by an application protocol of the
/// setting `alpn`, and writes its id to `connection`. `MQ_EVENT_CONNECTED` or `MQ_EVENT_FAILED` follows.
///
/// # Safety
/// `url` points to `url_len` bytes and `connection` to room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_open_datagrams(handle: u64, url: *const u8, url_len: usize, connection: *mut u64) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let (url, place) = unsafe { (memory::text(url, url_len)?, memory::place(connection)?) };
        ClientRequest::get(url).map_err(|error| Failure::from(&error))?;
        let handle = handle::get(handle)?;
        handle.must_be(Role::Client)?;
        handle.with(|state| {
            let id = state.insert(Object::Connection(None));
            if let Err(failure) = state.command(Command::OpenDatagrams { id, url: url.to_owned() }) {
                state.remove(id);
                return Err(failure);
            }
            place.write(id);
            Ok(MQ_OK)
        })
    })
}
