//! A solution of milestone 9's exercise: what a datagram costs in a run, and alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio_quiche::Result;
use mio_quiche::endpoint::Transmit;
use mio_quiche::net::UdpSocket;
use rustix::time::{ClockId, clock_gettime};

/// Bytes in a datagram.
const SIZE: usize = 1350;
/// Datagrams that are sent before the other socket receives them.
const BURST: usize = 48;

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// What sending and receiving cost.
pub(crate) struct Cost {
    /// CPU time per datagram.
    pub(crate) send: Duration,
    pub(crate) receive: Duration,
    pub(crate) received: u32,
}

/// Sends `bursts` over loopback, each in runs of `segments` datagrams.
pub(crate) fn cost(bursts: u32, segments: usize) -> Result<Cost> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (sender, mut receiver) = (UdpSocket::bind(any, 1 << 20)?, UdpSocket::bind(any, 1 << 20)?);
    let data = [7; SIZE * BURST];
    let run = Transmit { from: sender.local_addr(), to: receiver.local_addr(), len: SIZE * segments, segment: SIZE };
    let mut cost = Cost { send: Duration::ZERO, receive: Duration::ZERO, received: 0 };
    for _ in 0..bursts {
        let start = cpu_time();
        for _ in 0..BURST / segments {
            sender.send(&run, &data)?;
        }
        let sent = cpu_time();
        while receiver.receive(|_| cost.received += 1)? {}
        cost.send += sent - start;
        cost.receive += cpu_time() - sent;
    }
    let count = cost.received.max(1);
    Ok(Cost { send: cost.send / count, receive: cost.receive / count, ..cost })
}
