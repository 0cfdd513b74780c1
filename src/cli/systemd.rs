//! What systemd passes to a service, and what it wants to know of it.

use std::net::{SocketAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{self, UnixDatagram};

use listenfd::ListenFd;

use super::Failure;

/// The UDP socket that systemd has bound for this service (sd_listen_fds(3)), if it has.
pub(super) fn socket() -> Result<Option<UdpSocket>, Failure> {
    let mut passed = ListenFd::from_env();
    let unusable = |what: &str| Failure::Usage(format!("the socket that was passed on (LISTEN_FDS): {what}"));
    match passed.len() {
        0 => Ok(None),
        1 => passed.take_udp_socket(0).map_err(|e| unusable(&e.to_string())),
        count => Err(unusable(&format!("one is served, but there are {count}"))),
    }
}

/// Fails if systemd has bound a socket that cannot be used.
pub(super) fn no_socket(reason: &str) -> Result<(), Failure> {
    match ListenFd::from_env().len() {
        0 => Ok(()),
        _ => Err(Failure::Usage(format!("the socket that was passed on (LISTEN_FDS): {reason}"))),
    }
}

/// Tells systemd that the service is up (sd_notify(3)), if it wants to know.
pub(super) fn ready(addr: SocketAddr) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let to = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => net::SocketAddr::from_abstract_name(name),
        None => net::SocketAddr::from_pathname(&name),
    };
    let message = format!("READY=1\nSTATUS=listening on {addr}\n");
    let sent = to.and_then(|to| UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &to));
    if let Err(e) = sent {
        log::warn!("cannot notify '{}' (NOTIFY_SOCKET): {e}", name.display());
    }
}
