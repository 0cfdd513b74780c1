//! Exports: engines and their events.

use super::code::{MQ_ERR_ARGUMENT, MQ_ERR_TOO_LARGE, MQ_ERR_UNSUPPORTED, MQ_OK, Outcome, because, fail, guard};
use super::command::Command;
use super::event::{mq_event, mq_wake};
use super::handle::{self, Role};
use super::memory::{self, count};
use super::server::Server;
use super::settings;

/// Starts a server with the settings of `settings` (see the manual), which has `len` bytes, and writes its handle to
/// `handle`.
///
/// `wake` may be null. If the engine has a thread of its own (`thread=on`), it calls `wake` from there when there are events
/// to poll, and not again before all of them were taken.
///
/// Returns 0, `MQ_ERR_CONFIG`, or `MQ_ERR_SYSTEM` if the address cannot be used; `mq_last_error` says more.
///
/// # Safety
/// `settings` points to `len` bytes and `handle` to room for a number. `wake` is callable from any thread until `mq_stop` of
/// the handle has returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_server_new(settings: *const u8, len: usize, wake: mq_wake, handle: *mut u64) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let (section, handle) = unsafe { (memory::bytes(settings, len)?, memory::place(handle)?) };
        let settings::ServerSettings { listen, config, run } = settings::server(section)?;
        let allow_origins = config.webtransport.allow_origins.clone();
        let make = move || Server::bind(listen, config).map_err(Into::into);
        handle.write(handle::start(Role::Server, run, wake, allow_origins, make)?);
        Ok(MQ_OK)
    })
}

/// Waits for events for at most `timeout_ms` (0: not at all; below 0: without a limit), and writes up to `cap` of them to
/// `events`. Their payloads are lent until the next `mq_poll`, `mq_poll_into` or `mq_stop` of the handle. An engine without
/// a thread of its own runs meanwhile, in this call only.
///
/// Poll until fewer than `cap` events come before you wait for a wake-up again.
///
/// Returns how many events were written, `MQ_ERR_BUSY` or `MQ_ERR_THREAD`.
///
/// # Safety
/// `events` points to room for `cap` events.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_poll(handle: u64, events: *mut mq_event, cap: usize, timeout_ms: i32) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let room = unsafe { memory::room(events, cap) }?;
        must_have_room(cap)?;
        handle::poll(handle, timeout_ms, |state| {
            let mut taken = 0;
            for place in room {
                if state.front().is_none() {
                    break;
                }
                let Some(event) = state.pop() else { break };
                let mut abi = event.to_abi();
                if !event.data.is_empty() {
                    abi.data = event.data.as_ptr();
                }
                state.lend(event.data);
                place.write(abi);
                taken += 1;
            }
            Ok(count(taken))
        })
    })
}

/// As `mq_poll`, but copies the payloads one behind the other to `buf`, which has `buf_cap` bytes; each event's `offset`
/// says where its payload begins. An event whose payload does not fit any more is left for the next call.
///
/// Returns how many events were written; `MQ_ERR_TOO_LARGE` if not even the first one's payload fits, whose event without
/// the payload is then written, and left.
///
/// # Safety
/// `events` points to room for `cap` events, and `buf` to `buf_cap` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_poll_into(
    handle: u64,
    events: *mut mq_event,
    cap: usize,
    buf: *mut u8,
    buf_cap: usize,
    timeout_ms: i32,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let (room, buf) = unsafe { (memory::room(events, cap)?, memory::room(buf, buf_cap)?) };
        must_have_room(cap)?;
        handle::poll(handle, timeout_ms, |state| {
            let (mut taken, mut used) = (0, 0);
            for place in room {
                let Some(event) = state.front() else { break };
                let mut abi = event.to_abi();
                if event.data.len() > buf.len() - used {
                    if taken == 0 {
                        place.write(abi);
                        return fail(MQ_ERR_TOO_LARGE);
                    }
                    break;
                }
                abi.offset = used as u64;
                used += memory::fill(&mut buf[used..], &event.data);
                state.pop();
                place.write(abi);
                taken += 1;
            }
            Ok(count(taken))
        })
    })
}

fn must_have_room(cap: usize) -> Outcome<()> {
    match cap {
        0 => because(MQ_ERR_ARGUMENT, "there is no room for events"),
        _ => Ok(()),
    }
}

/// A descriptor that is readable while events wait, for `poll`, `epoll` and the like. Only of an engine with a thread of
/// its own. It belongs to the engine: do not read or close it, and do not use it after `mq_stop`.
///
/// Returns the descriptor or `MQ_ERR_UNSUPPORTED`.
#[unsafe(no_mangle)]
pub extern "C" fn mq_fd(handle: u64) -> i32 {
    guard(|| match handle::get(handle)?.shared.fd() {
        Some(fd) => Ok(fd),
        None => because(MQ_ERR_UNSUPPORTED, "the engine has no thread of its own"),
    })
}

/// Copies the address that the engine's socket is bound to, such as `127.0.0.1:4433`, with the port that the system chose.
/// No NUL is appended.
///
/// Returns the text's length, even if only `cap` bytes of it fit.
///
/// # Safety
/// `buf` has room for `cap` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_local_addr(handle: u64, buf: *mut u8, cap: usize) -> i32 {
    guard(|| {
        let text = handle::get(handle)?.local_addr.to_string();
        // SAFETY: the caller's promise.
        unsafe { memory::copy_text(&text, buf, cap) }
    })
}

/// Begins a graceful shutdown: no new requests, and the running ones may end, for the setting `shutdown_timeout` at most.
/// `MQ_EVENT_ENDED` follows.
#[unsafe(no_mangle)]
pub extern "C" fn mq_shutdown(handle: u64) -> i32 {
    command(handle, Command::Shutdown)
}

/// Reads certificates, keys and authorities from their files again, for new connections. `MQ_EVENT_RELOADED` has the result;
/// after a failure, nothing has changed.
#[unsafe(no_mangle)]
pub extern "C" fn mq_reload(handle: u64) -> i32 {
    command(handle, Command::Reload)
}

/// Asks for the counters: `MQ_EVENT_STATS` brings them.
#[unsafe(no_mangle)]
pub extern "C" fn mq_stats(handle: u64) -> i32 {
    command(handle, Command::Stats)
}

/// Asks for the metrics: `MQ_EVENT_METRICS` brings them.
#[unsafe(no_mangle)]
pub extern "C" fn mq_metrics(handle: u64) -> i32 {
    command(handle, Command::Metrics)
}

fn command(handle: u64, command: Command) -> i32 {
    guard(|| {
        handle::get(handle)?.with(|state| state.command(command))?;
        Ok(MQ_OK)
    })
}

/// Ends an engine at once, closes its connections, and frees everything that belongs to it. Waits for the engine's thread.
/// The handle is an error from then on, also for calls that run in other threads.
///
/// Returns 0; `MQ_ERR_THREAD` from the engine's own thread, or from another one than its caller's if it has none.
#[unsafe(no_mangle)]
pub extern "C" fn mq_stop(handle: u64) -> i32 {
    guard(|| {
        handle::stop(handle)?;
        Ok(MQ_OK)
    })
}

#[cfg(test)]
mod tests {
    use super::super::code::MQ_ERR_HANDLE;
    use super::*;

    #[test]
    fn a_handle_that_was_never_given_is_an_error() {
        for handle in [0, u64::MAX] {
            assert_eq!(mq_shutdown(handle), MQ_ERR_HANDLE);
            assert_eq!(mq_stop(handle), MQ_ERR_HANDLE);
            assert_eq!(mq_fd(handle), MQ_ERR_HANDLE);
        }
    }
}
