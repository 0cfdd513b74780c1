//! The caller's memory: every look at it goes through here.

use std::mem::MaybeUninit;
use std::slice;

use super::code::{MQ_ERR_ARGUMENT, MQ_ERR_NULL, Outcome, because, fail};

/// The bytes that a caller passes. Null stands for no bytes if `len` is 0.
///
/// # Safety
/// `data` points to `len` readable bytes that do not change while the result is in use, unless it is null.
pub(super) unsafe fn bytes<'a>(data: *const u8, len: usize) -> Outcome<&'a [u8]> {
    check(data, len)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: not null, at most isize::MAX bytes, and readable by the caller's promise.
    Ok(unsafe { slice::from_raw_parts(data, len) })
}

/// A text that a caller passes.
///
/// # Safety
/// As [`bytes`].
pub(super) unsafe fn text<'a>(data: *const u8, len: usize) -> Outcome<&'a str> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { bytes(data, len) }?;
    std::str::from_utf8(bytes).or_else(|_| because(MQ_ERR_ARGUMENT, "a text is not UTF-8"))
}

/// Room of the caller for `cap` values.
///
/// # Safety
/// `data` points to room for `cap` values that nobody else uses while the result is in use, unless it is null.
pub(super) unsafe fn room<'a, T>(data: *mut T, cap: usize) -> Outcome<&'a mut [MaybeUninit<T>]> {
    check(data, cap)?;
    if cap == 0 {
        return Ok(&mut []);
    }
    // SAFETY: not null, aligned, at most isize::MAX bytes, writable by the caller's promise; and it may be uninitialized.
    Ok(unsafe { slice::from_raw_parts_mut(data.cast(), cap) })
}

/// Room of the caller for one result.
///
/// # Safety
/// `place` points to room for a value, unless it is null.
pub(super) unsafe fn place<'a, T>(place: *mut T) -> Outcome<&'a mut MaybeUninit<T>> {
    // SAFETY: the caller's promise.
    let room = unsafe { room(place, 1) }?;
    room.first_mut().map_or_else(|| fail(MQ_ERR_NULL), Ok)
}

fn check<T>(data: *const T, len: usize) -> Outcome<()> {
    if len == 0 {
        return Ok(());
    }
    if data.is_null() {
        return fail(MQ_ERR_NULL);
    }
    if !data.is_aligned() {
        return because(MQ_ERR_ARGUMENT, "a pointer is not aligned");
    }
    match len.checked_mul(size_of::<T>()) {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
        _ => because(MQ_ERR_ARGUMENT, "a length is negative or too large"),
    }
}

/// Copies bytes to the front of the room. Returns how many fit.
pub(super) fn fill(room: &mut [MaybeUninit<u8>], data: &[u8]) -> usize {
    for (to, from) in room.iter_mut().zip(data) {
        to.write(*from);
    }
    room.len().min(data.len())
}

/// Copies a text as far as it fits, and returns its whole length.
///
/// # Safety
/// As [`room`].
pub(super) unsafe fn copy_text(text: &str, buf: *mut u8, cap: usize) -> Outcome {
    // SAFETY: the caller's promise.
    fill(unsafe { room(buf, cap) }?, text.as_bytes());
    Ok(count(text.len()))
}

/// A number as functions return it.
pub(super) fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_pointers_and_lengths_are_codes() {
        let byte = 7u8;
        // SAFETY: what is read is there.
        unsafe {
            assert_eq!(bytes(&byte, 1).unwrap(), [7]);
            assert!(bytes(std::ptr::null(), 0).unwrap().is_empty());
            assert_eq!(bytes(std::ptr::null(), 1).unwrap_err().code, MQ_ERR_NULL);
            assert_eq!(bytes(&byte, usize::MAX).unwrap_err().code, MQ_ERR_ARGUMENT);
            assert_eq!(bytes(&byte, 1 << 63).unwrap_err().code, MQ_ERR_ARGUMENT);
            assert_eq!(text(b"\xff".as_ptr(), 1).unwrap_err().code, MQ_ERR_ARGUMENT);
            let mut words = [0u64; 2];
            let odd = words.as_mut_ptr().cast::<u8>().add(1).cast::<u64>();
            assert_eq!(room(odd, 1).unwrap_err().code, MQ_ERR_ARGUMENT);
            assert_eq!(room(words.as_mut_ptr(), usize::MAX / 4).unwrap_err().code, MQ_ERR_ARGUMENT);
            assert_eq!(place(std::ptr::null_mut::<u64>()).unwrap_err().code, MQ_ERR_NULL);
        }
    }
}
