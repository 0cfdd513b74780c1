//! A UDP socket that receives in batches (recvmmsg, GRO) and sends runs of equal-sized datagrams at once (GSO), with
//! fallbacks where the kernel has neither.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use quinn_udp::{RecvMeta, TransportErrorPayload, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use crate::endpoint::Transmit;
use crate::error::{Error, Result};
use crate::stats::Syscalls;

/// Holds one datagram, or with GRO several of one sender.
const RECV_BUFFER: usize = 64 * 1024;
/// Buffers to receive into by one system call: each costs memory from the first burst on.
const BATCH_SIZE: usize = if quinn_udp::BATCH_SIZE < 16 { quinn_udp::BATCH_SIZE } else { 16 };
/// The largest run that is sent at once: to the kernel, before segmentation, it is one IPv4 datagram.
const SEND_BUFFER: usize = 65_507;
/// Datagrams received in one turn at most (some more if the last batch is large), so that sending gets its share.
const MAX_DATAGRAMS_PER_TURN: usize = 64;

/// A received datagram.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Its bytes.
    pub data: &'a mut [u8],
    /// Who sent it.
    pub from: SocketAddr,
    /// The local address that it was sent to, even if the socket is bound to all addresses.
    pub to: SocketAddr,
}

/// A non-blocking UDP socket.
pub struct UdpSocket {
    pub(super) io: mio::net::UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    recv_buffer: Box<[u8]>,
    pub(super) send_buffer: Box<[u8]>,
    pub(super) receive_calls: Syscalls,
}

impl std::fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (gso, gro) = (self.state.max_gso_segments(), self.state.gro_segments());
        let mut out = f.debug_struct("UdpSocket");
        out.field("local", &self.local).field("gso", &gso).field("gro", &gro).finish_non_exhaustive()
    }
}

impl UdpSocket {
    /// Binds `addr`; `[::]` includes IPv4, and is IPv4 alone on a system without IPv6. `buffer` is the size in bytes
    /// requested from the kernel in each direction.
    ///
    /// # Errors
    /// [`Error::Bind`] when the system refuses.
    pub fn bind(addr: SocketAddr, buffer: usize) -> Result<Self> {
        bind_any(addr, |addr| Self::open(addr, buffer, false).map_err(|source| Error::Bind { addr, source }))
    }

    /// Takes a UDP socket that is bound already, such as one of systemd's.
    ///
    /// # Errors
    /// An error of the system.
    pub fn from_std(io: std::net::UdpSocket, buffer: usize) -> io::Result<Self> {
        io.set_nonblocking(true)?;
        set_buffers(&io, buffer);
        Self::with_io(io)
    }

    /// Binds `count` sockets to one address, as [`bind`](UdpSocket::bind) does, for the workers of a server: each gets
    /// the datagrams [for its worker](worker_of).
    ///
    /// # Errors
    /// [`Error::Bind`] when the system refuses.
    #[cfg(feature = "workers")]
    pub(crate) fn bind_group(addr: SocketAddr, buffer: usize, count: u8) -> Result<Vec<Self>> {
        let open = |addr| Self::open(addr, buffer, true).map_err(|source| Error::Bind { addr, source });
        let first = bind_any(addr, open)?;
        let addr = first.local;
        if let Err(e) = super::steering::attach(&first.io, count) {
            log::warn!("the system does not steer datagrams to their workers ({e}): the workers do, which is slower");
        }
        // The kernel numbers the sockets in this order.
        std::iter::once(Ok(first)).chain((1..count).map(|_| open(addr))).collect()
    }

    /// Another handle of the same socket.
    ///
    /// # Errors
    /// An error of the system.
    #[cfg(feature = "workers")]
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        use std::os::fd::AsFd;
        Self::with_io(std::net::UdpSocket::from(self.io.as_fd().try_clone_to_owned()?))
    }

    fn open(addr: SocketAddr, buffer: usize, in_group: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_port(in_group)?;
        socket.bind(&addr.into())?;
        let io = std::net::UdpSocket::from(socket);
        set_buffers(&io, buffer);
        Self::with_io(io)
    }

    fn with_io(io: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let local = io.local_addr()?;
        let zeroed = |len| vec![0; len].into_boxed_slice();
        let socket = UdpSocket {
            io: mio::net::UdpSocket::from_std(io),
            state,
            local,
            recv_buffer: zeroed(RECV_BUFFER * BATCH_SIZE),
            send_buffer: zeroed(SEND_BUFFER),
            receive_calls: Syscalls::default(),
        };
        log::debug!("{socket:?}");
        Ok(socket)
    }

    /// The address that it is bound to, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Asks the system to keep ICMP errors for [`unreachable`](UdpSocket::unreachable), if supported.
    ///
    /// # Errors
    /// An error of the system.
    pub fn keep_errors(&self) -> io::Result<()> {
        self.state.enable_transport_errors(UdpSockRef::from(&self.io))
    }

    /// The next address where a port, or the host itself, cannot be reached.
    pub fn unreachable(&self) -> Option<IpAddr> {
        while let Ok(Some(error)) = self.state.recv_transport_error(UdpSockRef::from(&self.io)) {
            if matches!(error.payload, TransportErrorPayload::Unreachable)
                && let Some(addr) = error.addr
            {
                return Some(addr.ip().to_canonical());
            }
        }
        None
    }

    /// Datagrams that [`send`](UdpSocket::send) accepts per call.
    pub fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Passes every waiting datagram to `each`, up to a bound. Returns true if the bound was reached, so more may wait.
    ///
    /// # Errors
    /// An error of the system, except `WouldBlock`.
    pub fn receive(&mut self, mut each: impl FnMut(Datagram<'_>)) -> io::Result<bool> {
        let mut taken = 0;
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        while taken < MAX_DATAGRAMS_PER_TURN {
            let mut chunks = self.recv_buffer.chunks_exact_mut(RECV_BUFFER);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let (io, state) = (&self.io, &self.state);
            let received = io.try_io(|| state.recv(UdpSockRef::from(io), &mut slices, &mut metas));
            self.receive_calls.count(&received);
            let count = match received {
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            for (meta, buffer) in metas[..count].iter().zip(self.recv_buffer.chunks_exact_mut(RECV_BUFFER)) {
                let to = SocketAddr::new(meta.dst_ip.unwrap_or(self.local.ip()), self.local.port());
                // An empty datagram has no chunks, but is one.
                if meta.len == 0 {
                    taken += 1;
                    each(Datagram { data: &mut [], from: meta.addr, to });
                }
                for data in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
                    taken += 1;
                    each(Datagram { data, from: meta.addr, to });
                }
            }
        }
        Ok(true)
    }

    /// Sends the datagrams that `transmit` describes, from the front of `data`.
    ///
    /// # Errors
    /// An error of the system; after [`WouldBlock`](io::ErrorKind::WouldBlock) nothing was sent: repeat the call when
    /// the socket is writable.
    pub fn send(&self, transmit: &Transmit, data: &[u8]) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: transmit.to,
            ecn: None,
            contents: &data[..transmit.len],
            segment_size: (transmit.len > transmit.segment).then_some(transmit.segment),
            src_ip: Some(transmit.from.ip()).filter(|ip| !ip.is_unspecified()),
        };
        self.io.try_io(|| self.state.try_send(UdpSockRef::from(&self.io), &transmit))
    }
}

/// Binds `addr`, or `0.0.0.0` in place of `[::]` on a system without IPv6.
pub(super) fn bind_any<T>(addr: SocketAddr, bind: impl Fn(SocketAddr) -> Result<T>) -> Result<T> {
    let error = match bind(addr) {
        Err(error) if addr.is_ipv6() && addr.ip().is_unspecified() => error,
        other => return other,
    };
    let (Error::Bind { source, .. } | Error::Port { source, .. }) = &error else { return Err(error) };
    if !is_without_ipv6(source) {
        return Err(error);
    }
    let only_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
    log::info!("this system has no IPv6 ({source}): {only_v4} in place of {addr}");
    bind(only_v4)
}

/// The kernel was built or booted without IPv6, or has it turned off.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Requests kernel buffers, beyond the system's limits if privileges allow it. Smaller ones only cost speed.
fn set_buffers(io: &std::net::UdpSocket, size: usize) {
    use rustix::net::sockopt;
    let receive = sockopt::set_socket_recv_buffer_size_force(io, size)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(io, size));
    let send = sockopt::set_socket_send_buffer_size_force(io, size)
        .or_else(|_| sockopt::set_socket_send_buffer_size(io, size));
    if let Err(e) = receive.and(send) {
        log::debug!("socket buffers of {size} bytes: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address to bind instead of `addr` if IPv6 fails with this error.
    fn bound(addr: &str, errno: i32) -> std::result::Result<String, String> {
        let bind = |addr: SocketAddr| match addr.is_ipv6() {
            true => Err(Error::Bind { addr, source: io::Error::from_raw_os_error(errno) }),
            false => Ok(addr.to_string()),
        };
        bind_any(addr.parse().unwrap(), bind).map_err(|e| e.to_string())
    }

    #[test]
    fn calls_that_receive_are_counted() {
        let mut socket = UdpSocket::bind(([127, 0, 0, 1], 0).into(), 65536).unwrap();
        let sender = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let mut received = Vec::new();
        let mut receive = |socket: &mut UdpSocket| {
            assert!(!socket.receive(|d| received.push(d.data.len())).unwrap());
            socket.receive_calls
        };
        assert_eq!(receive(&mut socket), Syscalls { ok: 0, would_block: 1, failed: 0 });
        for len in [1, 2, 3] {
            sender.send_to(&[0; 3][..len], socket.local_addr()).unwrap();
        }
        // All in one batch, where the system has such.
        let ok = if BATCH_SIZE > 1 { 1 } else { 3 };
        assert_eq!(receive(&mut socket), Syscalls { ok, would_block: 2, failed: 0 });
        assert_eq!(received, [1, 2, 3]);
    }

    #[test]
    fn only_the_address_for_all_falls_back_and_only_without_ipv6() {
        for errno in [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL] {
            assert_eq!(bound("[::]:4433", errno), Ok("0.0.0.0:4433".to_owned()));
        }
        let error = bound("[::]:4433", libc::EADDRINUSE).unwrap_err();
        assert!(error.contains("[::]:4433"), "{error}");
        let error = bound("[::1]:4433", libc::EAFNOSUPPORT).unwrap_err();
        assert!(error.contains("[::1]:4433"), "{error}");
    }
}
