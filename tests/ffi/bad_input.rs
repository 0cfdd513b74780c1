//! Calls that make no sense: each is a code, and nothing else happens.

use std::ffi::CStr;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mio_quiche::ffi::*;

use crate::abi::{DEADLINE, Engine, NOTHING, last_error, ok, server_settings};

#[test]
fn versions_and_texts_are_there() {
    // SAFETY: both are texts with a NUL.
    let (version, text) = unsafe { (CStr::from_ptr(mq_version()), CStr::from_ptr(mq_error_text(MQ_ERR_NULL))) };
    assert_eq!(version.to_str().unwrap(), mio_quiche::version());
    assert_eq!(text.to_str().unwrap(), "a pointer is null");
    assert_eq!(mq_abi_version(), MQ_ABI_VERSION);
}

#[test]
fn null_and_impossible_lengths_are_codes() {
    let mut server = Engine::server(&[]);
    let (handle, settings) = (server.handle, server_settings(&[]));
    let mut place = 0u64;
    let client = Engine::client(&[]);
    client.get(&server.url("/"));
    let id = server.next(MQ_EVENT_REQUEST).id;
    // SAFETY: nothing is behind the pointers, which the functions notice.
    unsafe {
        assert_eq!(mq_server_new(NOTHING, 1, None, &mut place), MQ_ERR_NULL);
        assert_eq!(mq_server_new(settings.as_ptr(), settings.len(), None, null_mut()), MQ_ERR_NULL);
        assert_eq!(mq_server_new(settings.as_ptr(), usize::MAX, None, &mut place), MQ_ERR_ARGUMENT);
        assert_eq!(mq_client_new(NOTHING, 0, None, null_mut()), MQ_ERR_NULL);
        assert_eq!(mq_poll(handle, null_mut(), 1, 0), MQ_ERR_NULL);
        assert_eq!(mq_poll(handle, null_mut(), 0, 0), MQ_ERR_ARGUMENT);
        assert_eq!(mq_poll(handle, std::ptr::without_provenance_mut(1), 1, 0), MQ_ERR_ARGUMENT, "not aligned");
        assert_eq!(mq_poll(handle, std::ptr::dangling_mut(), usize::MAX, 0), MQ_ERR_ARGUMENT);
        assert_eq!(mq_poll_into(handle, std::ptr::dangling_mut(), 1, null_mut(), 1, 0), MQ_ERR_NULL);
        assert_eq!(mq_respond(handle, id, 200, NOTHING, 1, NOTHING, 0, 0), MQ_ERR_NULL);
        assert_eq!(mq_respond(handle, id, 200, NOTHING, 0, NOTHING, 9, 0), MQ_ERR_NULL);
        assert_eq!(mq_respond(handle, id, 200, NOTHING, 0, b"".as_ptr(), 1 << 63, 0), MQ_ERR_ARGUMENT);
        for status in [0, 99, 100, 199, 600, 1000, u32::MAX] {
            assert_eq!(mq_respond(handle, id, status, NOTHING, 0, NOTHING, 0, 1), MQ_ERR_ARGUMENT);
        }
        assert_eq!(mq_respond(handle, id, 200, NOTHING, 0, NOTHING, 0, 0x8000_0001), MQ_ERR_ARGUMENT);
        assert_eq!(mq_inform(handle, id, 101, NOTHING, 0), MQ_ERR_ARGUMENT);
        assert_eq!(mq_write(handle, id, NOTHING, 1, 0), MQ_ERR_NULL);
        assert_eq!(mq_read(handle, id, null_mut(), 1), MQ_ERR_NULL);
        assert_eq!(mq_read_lent(handle, id, null_mut()), MQ_ERR_NULL);
        assert_eq!(mq_finish(handle, id, NOTHING, 1), MQ_ERR_NULL);
        assert_eq!(mq_accept(handle, id, NOTHING, 0), MQ_ERR_ID, "not a session");
        assert_eq!(mq_open_stream(handle, id, 0, &mut place), MQ_ERR_ID);
        assert_eq!(mq_open_stream(handle, id, 0, null_mut()), MQ_ERR_NULL);
        assert_eq!(mq_send_datagram(handle, id, settings.as_ptr(), 65_536.min(settings.len())), MQ_OK);
        let huge = vec![0u8; 1 << 20];
        assert_eq!(mq_send_datagram(handle, id, huge.as_ptr(), huge.len()), MQ_ERR_TOO_LARGE);
        assert_eq!(mq_close_session(handle, id, 0, huge.as_ptr(), 1025), MQ_ERR_TOO_LARGE);
        assert_eq!(mq_close_session(handle, id, 0, b"\xff".as_ptr(), 1), MQ_ERR_ARGUMENT);
        assert_eq!(mq_close_connection(handle, id, u64::MAX, NOTHING, 0), MQ_ERR_ARGUMENT);
        assert_eq!(mq_local_addr(handle, null_mut(), 0), 15, "only the length");
        assert_eq!(mq_last_error(null_mut(), 5), MQ_ERR_NULL);
    }
    assert_eq!(place, 0);
    assert_eq!(mq_reset(handle, id, u64::MAX), MQ_ERR_ARGUMENT);
    assert_eq!(mq_reset_send(handle, id, 0), MQ_ERR_UNSUPPORTED);
    assert_eq!(last_error(), "a request and its response can only be aborted together, by mq_reset");
    // After all of that, it works.
    assert_eq!(server.respond(id, 200, &[], b"fine", MQ_FLAG_END), 4);
}

#[test]
fn ids_that_were_never_given_or_are_gone_are_codes() {
    let (mut server, client) = (Engine::server(&[]), Engine::client(&[]));
    client.get(&server.url("/"));
    let id = server.next(MQ_EVENT_REQUEST).id;
    ok(mq_release(server.handle, id));
    server.poll(1, 0);
    for (id, code) in [(0, MQ_ERR_ID), (id + 1000, MQ_ERR_ID), (u64::MAX, MQ_ERR_ID)] {
        assert_eq!(server.write(id, b"x", 0), code);
        assert_eq!(server.read(id, 1), Err(code));
        assert_eq!(server.respond(id, 200, &[], b"", 0), code);
        assert_eq!(server.accept(id, &[]), code);
        assert_eq!(server.send_datagram(id, b"x"), code);
        assert_eq!(server.close_session(id, 0, ""), code);
        assert_eq!(mq_release(server.handle, id), code);
        assert_eq!(mq_max_datagram(server.handle, id), code);
        assert_eq!(mq_drain_session(server.handle, id), code);
        assert_eq!(mq_reset(server.handle, id, 0), code);
    }
    // The engine forgets what was released in its own time.
    let until = std::time::Instant::now() + DEADLINE;
    while mq_release(server.handle, id) != MQ_ERR_GONE {
        assert!(std::time::Instant::now() < until);
        server.poll(1, 1);
    }
    assert_eq!(server.write(id, b"x", 0), MQ_ERR_GONE);
}

#[test]
fn a_handle_is_an_error_after_its_end() {
    let server = Engine::server(&[]);
    let handle = server.handle;
    assert_eq!(mq_stop(handle), MQ_OK);
    let mut place = 0;
    // SAFETY: everything that is used is there.
    unsafe {
        assert_eq!(mq_poll(handle, std::ptr::dangling_mut(), 1, -1), MQ_ERR_HANDLE);
        assert_eq!(mq_respond(handle, 1, 200, NOTHING, 0, NOTHING, 0, 1), MQ_ERR_HANDLE);
        assert_eq!(mq_write(handle, 1, NOTHING, 0, 0), MQ_ERR_HANDLE);
        assert_eq!(mq_read_lent(handle, 1, &mut null()), MQ_ERR_HANDLE);
        assert_eq!(mq_open_stream(handle, 1, 0, &mut place), MQ_ERR_HANDLE);
        assert_eq!(mq_local_addr(handle, null_mut(), 0), MQ_ERR_HANDLE);
    }
    for call in [mq_stop, mq_shutdown, mq_reload, mq_stats, mq_metrics, mq_fd] {
        assert_eq!(call(handle), MQ_ERR_HANDLE);
    }
}

/// Polls in another thread, without a limit, and returns what that gives.
fn poll_elsewhere(handle: u64) -> thread::JoinHandle<i32> {
    thread::spawn(move || {
        loop {
            // SAFETY: all-zero is a valid event, and there is room for one.
            let code = unsafe { mq_poll(handle, &mut std::mem::zeroed(), 1, -1) };
            // Whoever looks whether this thread polls may have come first.
            if code != MQ_ERR_BUSY {
                return code;
            }
        }
    })
}

#[test]
fn two_threads_may_call_but_not_poll_at_once() {
    let mut server = Engine::server(&[]);
    let handle = server.handle;
    let polling = poll_elsewhere(handle);
    let until = std::time::Instant::now() + DEADLINE;
    // SAFETY: all-zero is a valid event, and there is room for one.
    while unsafe { mq_poll(handle, &mut std::mem::zeroed(), 1, 0) } != MQ_ERR_BUSY {
        assert!(std::time::Instant::now() < until);
    }
    // Calls from four threads at once, under a poll.
    let client = Engine::client(&[]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..200 {
                    assert_eq!(server.write(n + 10_000, b"x", 0), MQ_ERR_ID);
                    client.get(&server.url("/"));
                    ok(mq_stats(client.handle));
                }
            });
        }
    });
    assert_eq!(polling.join().unwrap(), 1, "the first event ended the poll");
    let mut requests = 0;
    while requests < 4 {
        server.next(MQ_EVENT_REQUEST);
        requests += 1;
    }
}

#[test]
fn a_stop_ends_a_poll_in_another_thread() {
    let server = Engine::server(&[]);
    let handle = server.handle;
    let polling = poll_elsewhere(handle);
    let until = std::time::Instant::now() + DEADLINE;
    // SAFETY: all-zero is a valid event, and there is room for one.
    while unsafe { mq_poll(handle, &mut std::mem::zeroed(), 1, 0) } != MQ_ERR_BUSY {
        assert!(std::time::Instant::now() < until);
    }
    assert_eq!(mq_stop(handle), MQ_OK);
    assert_eq!(polling.join().unwrap(), MQ_ERR_HANDLE);
}

extern "C" fn stop_from_inside() {
    INSIDE.store(mq_stop(STOPPING.load(Ordering::SeqCst) as u64), Ordering::SeqCst);
}

static STOPPING: AtomicUsize = AtomicUsize::new(0);
static INSIDE: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(1);

#[test]
fn the_engines_own_thread_cannot_stop_it() {
    let settings = server_settings(&[("thread", "on")]);
    let mut handle = 0;
    // SAFETY: everything is there.
    ok(unsafe { mq_server_new(settings.as_ptr(), settings.len(), Some(stop_from_inside), &mut handle) });
    STOPPING.store(handle as usize, Ordering::SeqCst);
    let server = Engine::adopt(handle);
    ok(mq_stats(server.handle));
    let until = std::time::Instant::now() + DEADLINE;
    while INSIDE.load(Ordering::SeqCst) == 1 {
        assert!(std::time::Instant::now() < until);
    }
    assert_eq!(INSIDE.load(Ordering::SeqCst), MQ_ERR_THREAD);
}

#[test]
fn an_engine_ends_with_the_thread_that_it_runs_in() {
    let (handle, addr) = thread::spawn(|| {
        let server = Engine::server_here(&[]);
        let (handle, addr) = (server.handle, server.addr());
        std::mem::forget(server);
        (handle, addr)
    })
    .join()
    .unwrap();
    assert_eq!(mq_stats(handle), MQ_ERR_ENDED);
    assert_eq!(mq_stop(handle), MQ_OK);
    std::net::UdpSocket::bind(addr).unwrap();
}

static WAKE_UPS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn wake() {
    WAKE_UPS.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn many_events_are_one_wake_up_until_they_are_taken() {
    let settings = server_settings(&[("thread", "on")]);
    let mut handle = 0;
    // SAFETY: everything is there.
    ok(unsafe { mq_server_new(settings.as_ptr(), settings.len(), Some(wake), &mut handle) });
    let fd = ok(mq_fd(handle)) as i32;
    let readable = || {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    };
    let mut server = Engine::adopt(handle);
    assert!(!readable());
    let mut polls = 0;
    for round in 1..=3 {
        for _ in 0..50 {
            ok(mq_stats(handle));
        }
        let mut taken = 0;
        while taken < 50 {
            // The engine may not have come to all of them.
            let until = std::time::Instant::now() + DEADLINE;
            while !readable() {
                assert!(std::time::Instant::now() < until);
                thread::yield_now();
            }
            taken += server.poll(7, 1000).len();
            polls += 1;
        }
        assert!(!readable());
        assert!(WAKE_UPS.load(Ordering::SeqCst) >= round);
    }
    // The first one, and at most one more after each poll that left nothing.
    let wake_ups = WAKE_UPS.load(Ordering::SeqCst);
    assert!(wake_ups <= 1 + polls, "{wake_ups} after {polls} polls");
}
