//! The kernel steers datagrams to the workers of their connections.

use std::io;
use std::os::fd::AsFd;

use nix::libc::{sock_filter, sock_fprog};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::AttachReusePortCbpf;

use crate::transport::steering::program;

/// Makes the kernel steer the datagrams of a group of sockets, of which `socket` is one.
pub(super) fn attach(socket: &impl AsFd, count: u8) -> io::Result<()> {
    let mut filter = program(count).map(|i| sock_filter { code: i.code, jt: i.if_true, jf: i.if_false, k: i.k });
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    Ok(setsockopt(socket, AttachReusePortCbpf, &program)?)
}
