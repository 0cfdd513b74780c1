//! Exports: versions and texts.

use std::ffi::c_char;

use super::code::{MQ_ERR_INTERNAL, guard, text, with_detail};
use super::event::MQ_ABI_VERSION;
use super::memory;

/// The versions of this library and of quiche, such as `mio-quiche 0.1.0 (quiche 0.30.0)`. Static, never null.
#[unsafe(no_mangle)]
pub extern "C" fn mq_version() -> *const c_char {
    const VERSION: &str =
        concat!("mio-quiche ", env!("CARGO_PKG_VERSION"), " (quiche ", env!("MIO_QUICHE_QUICHE_VERSION"), ")\0");
    VERSION.as_ptr().cast()
}

/// `MQ_ABI_VERSION` of the library that is loaded. Compare it with the one that you were written for.
#[unsafe(no_mangle)]
pub extern "C" fn mq_abi_version() -> u32 {
    MQ_ABI_VERSION
}

/// The text of a code. Static, never null.
#[unsafe(no_mangle)]
pub extern "C" fn mq_error_text(code: i32) -> *const c_char {
    text(code).as_ptr().cast()
}

/// Copies what there is to say about the latest failure on this thread, besides its code's text, such as
/// `cannot read certificate 'cert.pem': No such file or directory`; often nothing. No NUL is appended.
///
/// Returns the text's length, even if only `cap` bytes of it fit.
///
/// # Safety
/// `buf` has room for `cap` bytes, or is null and `cap` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mq_last_error(buf: *mut u8, cap: usize) -> i32 {
    // SAFETY: the caller's promise. Outside of `guard`, as a failure would replace the text.
    let copied = with_detail(|detail| unsafe { memory::copy_text(detail, buf, cap) });
    match copied {
        Some(Ok(len)) => len,
        Some(Err(failure)) => guard(|| Err(failure)),
        None => MQ_ERR_INTERNAL,
    }
}
