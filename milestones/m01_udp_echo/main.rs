//! Milestone 1: a UDP echo on the event loop that will carry QUIC.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use mio_quiche::endpoint::Transmit;
use mio_quiche::net::{self, Datagram, EventLoop, UdpSocket};

#[path = "../exit.rs"]
mod exit;

/// Sends every UDP datagram back to its sender.
#[derive(Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    listen: SocketAddr,
}

const SECOND: Duration = Duration::from_secs(1);
const SOCKET_BUFFER: usize = 1024 * 1024;

fn main() -> ExitCode {
    exit::code(serve(&Args::parse()))
}

#[derive(Clone, Copy, Default)]
struct Count {
    datagrams: u64,
    bytes: u64,
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} datagrams, {} bytes", self.datagrams, self.bytes)
    }
}

/// Datagrams that were received and not sent back yet: at most those of one turn of the loop.
#[derive(Default)]
struct Echo {
    waiting: VecDeque<(Transmit, Vec<u8>)>,
    sent: Count,
}

impl Echo {
    fn take(&mut self, datagram: &Datagram<'_>) {
        let len = datagram.data.len();
        let back = Transmit { from: datagram.to, to: datagram.from, len, segment: len };
        self.waiting.push_back((back, datagram.data.to_vec()));
    }

    fn give(&mut self, buf: &mut [u8]) -> Option<Transmit> {
        let (transmit, data) = self.waiting.pop_front()?;
        buf[..data.len()].copy_from_slice(&data);
        self.sent.datagrams += 1;
        self.sent.bytes += data.len() as u64;
        Some(transmit)
    }
}

fn serve(args: &Args) -> mio_quiche::Result<()> {
    let mut event_loop = EventLoop::new(UdpSocket::bind(args.listen, SOCKET_BUFFER)?, true)?;
    println!("listening on {}", event_loop.local_addr());
    let mut echo = Echo::default();
    let mut shown = Count::default();
    let mut report: Option<Instant> = None;
    let mut all_sent = true;
    loop {
        let now = net::now();
        let wakeup = match (all_sent, event_loop.is_blocked()) {
            (true, _) => event_loop.wait(now, report)?,
            // The socket is full: nothing more is received until it has room. The kernel's receive buffer fills
            // meanwhile, and when that is full too, datagrams are lost, as on a network.
            (false, true) => event_loop.wait_writable(now, report)?,
            // More is left than one turn may send.
            (false, false) => event_loop.wait(now, Some(now))?,
        };
        if all_sent {
            event_loop.receive_each(|datagram| echo.take(&datagram));
        }
        all_sent = event_loop.transmit_each(|buf, _segments| echo.give(buf))?;
        if wakeup.signals > 0 {
            break;
        }

        let now = net::now();
        if report.is_some_and(|at| at <= now) {
            let Count { datagrams, bytes } = echo.sent;
            let second = Count { datagrams: datagrams - shown.datagrams, bytes: bytes - shown.bytes };
            println!("last second: {second}");
            (shown, report) = (echo.sent, None);
        }
        // An idle echo sleeps without a deadline: the clock only runs when there is something to report.
        if echo.sent.datagrams > shown.datagrams && report.is_none() {
            report = Some(now + SECOND);
        }
    }
    println!("total: {}", echo.sent);
    Ok(())
}
