//! Checksums of bodies, for the demo's routes.

use data_encoding::HEXLOWER;
use ring::digest;

pub(super) fn hex(context: digest::Context) -> String {
    HEXLOWER.encode(context.finish().as_ref())
}

pub(super) fn sha256() -> digest::Context {
    digest::Context::new(&digest::SHA256)
}
