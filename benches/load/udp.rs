//! Connected UDP sockets with the kernel's batching: recvmmsg and GRO in, GSO out.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;

use quiche::WireErrorCode;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use crate::engine::Quic;

/// Largest UDP payload sent, the one quiche's own tools use.
pub(crate) const MTU: usize = 1350;

/// Most bytes the kernel takes as one GSO send, a little under the 64 KiB of an IP packet.
const MAX_RUN: usize = 65_000;

/// Room for one received GRO run. Not a power of two, or all slots would share the same few sets of the CPU's cache.
const SLOT: usize = 65_536 + 1_344;

/// What to ask of the kernel, which caps it at net.core.rmem_max and wmem_max.
const SOCKET_BUFFER: usize = 4 << 20;

/// One socket, connected to the server, and the packets that wait to be sent on it.
pub(crate) struct Udp {
    pub(crate) io: mio::net::UdpSocket,
    state: UdpSocketState,
    pub(crate) local: SocketAddr,
    peer: SocketAddr,
    /// `run` bytes of packets that are `segment` long each (the last may be shorter), then a packet of `tail` bytes
    /// that did not fit to them.
    out: Box<[u8]>,
    run: usize,
    segment: usize,
    tail: usize,
}

impl Udp {
    /// Opens a socket to `peer` on an unused port.
    pub(crate) fn connect(peer: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
        socket.set_send_buffer_size(SOCKET_BUFFER)?;
        socket.connect(&peer.into())?;
        let state = UdpSocketState::new((&socket).into())?;
        let io = mio::net::UdpSocket::from_std(socket.into());
        Ok(Self {
            local: io.local_addr()?,
            io,
            state,
            peer,
            out: vec![0; MAX_RUN + MTU].into(),
            run: 0,
            segment: 0,
            tail: 0,
        })
    }

    /// Sends all that `quic` has to send, in runs of equal-sized packets.
    ///
    /// False when the socket would block: what could not be sent stays here and goes first next time.
    pub(crate) fn flush(&mut self, quic: &mut Quic) -> io::Result<bool> {
        loop {
            // A waiting tail means that the run before it is complete.
            if self.tail > 0 && !self.send_run()? {
                return Ok(false);
            }
            match quic.send(&mut self.out[self.run..self.run + MTU]) {
                Ok((len, _)) => self.append(len),
                Err(quiche::Error::Done) => return self.send_run(),
                Err(_) => {
                    // Not closed by itself; the packet after this is the CONNECTION_CLOSE.
                    if quic.close(false, WireErrorCode::InternalError as u64, b"").is_err() {
                        return self.send_run();
                    }
                }
            }
        }
    }

    /// Takes the packet of `len` bytes that was written behind the run into it, or makes it the tail.
    fn append(&mut self, len: usize) {
        if self.run == 0 {
            self.segment = len;
        }
        let complete =
            !self.run.is_multiple_of(self.segment) || self.run / self.segment == self.state.max_gso_segments();
        if complete || len > self.segment || self.run + len > MAX_RUN {
            self.tail = len;
        } else {
            self.run += len;
        }
    }

    /// Sends the run and lets the tail begin the next one; false when the socket would block.
    fn send_run(&mut self) -> io::Result<bool> {
        if self.run == 0 {
            return Ok(true);
        }
        let transmit = Transmit {
            destination: self.peer,
            ecn: None,
            contents: &self.out[..self.run],
            segment_size: Some(self.segment),
            src_ip: None,
        };
        match self.state.try_send((&self.io).into(), &transmit) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            sent => sent?,
        }
        self.out.copy_within(self.run..self.run + self.tail, 0);
        self.segment = self.tail;
        self.run = std::mem::take(&mut self.tail);
        Ok(true)
    }
}

/// The buffers for one batch of received packets, shared by all sockets.
pub(crate) struct Inbox {
    slots: Vec<u8>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { slots: vec![0; SLOT * BATCH_SIZE], meta: [RecvMeta::default(); BATCH_SIZE] }
    }

    /// Hands each packet of one batch to `take`; true when the socket may hold more.
    pub(crate) fn receive(&mut self, udp: &Udp, mut take: impl FnMut(&mut [u8])) -> io::Result<bool> {
        let mut slots = self.slots.chunks_exact_mut(SLOT);
        let mut bufs: [_; BATCH_SIZE] = std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
        let count = match udp.state.recv((&udp.io).into(), &mut bufs, &mut self.meta) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            count => count?,
        };
        for (buf, meta) in bufs.iter_mut().zip(&self.meta[..count]) {
            // A datagram of no bytes has a stride of 0.
            buf[..meta.len].chunks_mut(meta.stride.max(1)).for_each(&mut take);
        }
        // A batch that was not filled has emptied the socket, and what comes later wakes the loop again.
        Ok(count == BATCH_SIZE)
    }
}
