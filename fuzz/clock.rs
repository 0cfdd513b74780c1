//! A virtual clock. quiche reads the clock itself; with this one seconds pass in no time, and the same input gives the
//! same times.
//!
//! The program's own `clock_gettime` takes precedence over the C library's, which `Instant::now` calls.

#![allow(unsafe_code, reason = "a function of the C library is replaced")]

use std::cell::Cell;
use std::time::Duration;

const NANOS: u64 = 1_000_000_000;

thread_local! {
    /// The virtual time in nanoseconds, 0 outside of [`virtual_time`].
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// Runs `run` in virtual time, which begins with the real time and passes by [`advance`] only.
pub(crate) fn virtual_time(run: impl FnOnce()) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writes.
    unsafe { clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    NOW.set(now.tv_sec.unsigned_abs() * NANOS + now.tv_nsec.unsigned_abs());
    run();
    NOW.set(0);
}

/// Lets time pass.
pub(crate) fn advance(time: Duration) {
    NOW.set(NOW.get() + time.as_secs() * NANOS + u64::from(time.subsec_nanos()));
}

/// # Safety
/// As that of the C library: `time` must be valid for writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let now = NOW.get();
    if now == 0 || clock != libc::CLOCK_MONOTONIC {
        // SAFETY: the same arguments, by the caller's promise.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } as libc::c_int;
    }
    let value = libc::timespec { tv_sec: (now / NANOS) as libc::time_t, tv_nsec: (now % NANOS) as libc::c_long };
    // SAFETY: the caller promises that `time` is valid for writes.
    unsafe { time.write(value) };
    0
}
