//! Packets out: runs of equal-sized packets, as generic segmentation offload wants them, and pacing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Endpoint;
use super::conn::Conn;

/// Where the bytes at the front of the buffer go: one datagram, or several of `segment` bytes (the last may be
/// shorter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Our address.
    pub from: SocketAddr,
    /// The peer's address.
    pub to: SocketAddr,
    /// Bytes in all.
    pub len: usize,
    /// Bytes in each datagram.
    pub segment: usize,
}

/// A packet that could not go out with the run that it was made for: larger than the run's, for another path, or to
/// be sent later.
#[derive(Debug)]
pub(crate) struct Held {
    packet: Vec<u8>,
    info: quiche::SendInfo,
}

impl Held {
    pub(crate) fn due(&self) -> Instant {
        self.info.at
    }
}

/// The event loop sleeps in milliseconds, so packets due within the next one leave at once.
const PACING_GRANULARITY: Duration = Duration::from_millis(1);

impl Endpoint {
    /// Writes the next datagrams to send into `buf`: at most `max_segments` (and at least one), all to one address.
    ///
    /// `buf` should have room for `max_segments` packets of the configured size, and at least for one.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut [u8], max_segments: usize) -> Option<Transmit> {
        if let Some((packet, transmit)) = self.core.stateless.pop_front() {
            buf[..packet.len()].copy_from_slice(&packet);
            self.count(transmit);
            return Some(transmit);
        }
        while let Some(id) = self.core.sending.pop_front() {
            let Some(conn) = self.table.get_mut(id) else { continue };
            let (transmit, more) = conn.fill(now, buf, max_segments);
            if conn.may_begin_early() {
                self.core.mark(conn, id);
            }
            if more {
                self.core.sending.push_back(id);
            } else {
                conn.sending = false;
                if conn.settle(now, id, &mut self.core) {
                    self.table.remove(id);
                }
            }
            if let Some(transmit) = transmit {
                self.count(transmit);
                return Some(transmit);
            }
        }
        None
    }

    fn count(&mut self, transmit: Transmit) {
        self.core.stats.datagrams_out += transmit.len.div_ceil(transmit.segment) as u64;
        self.core.stats.bytes_out += transmit.len as u64;
    }
}

impl Conn {
    /// Fills `buf` with a run of packets; also says whether there may be more to send now.
    fn fill(&mut self, now: Instant, buf: &mut [u8], max_segments: usize) -> (Option<Transmit>, bool) {
        let horizon = now + PACING_GRANULARITY;
        let packet_size = self.quic.max_send_udp_payload_size();
        let mut run: Option<Transmit> = None;
        let mut segments = 0;
        let mut more_tries = self.extra_sends();
        while segments < max_segments.max(1) {
            let start = run.map_or(0, |run| run.len);
            if segments > 0 && buf.len() - start < packet_size {
                break;
            }
            let (n, info) = match self.held.take() {
                Some(held) if held.info.at > horizon => {
                    self.held = Some(held);
                    return (run, false);
                }
                Some(held) => {
                    buf[start..start + held.packet.len()].copy_from_slice(&held.packet);
                    (held.packet.len(), held.info)
                }
                None => match self.quic.send(&mut buf[start..]) {
                    Ok((n, info)) => (n, quiche::SendInfo { to: self.destination(&info), ..info }),
                    Err(quiche::Error::Done) if more_tries > 0 => {
                        more_tries -= 1;
                        continue;
                    }
                    Err(quiche::Error::Done) => return (run, false),
                    Err(e) => {
                        log::debug!("quiche cannot send: {e}");
                        const INTERNAL_ERROR: u64 = 0x1;
                        // Fails when the connection is closing anyhow.
                        let closing = self.quic.close(false, INTERNAL_ERROR, b"cannot send").is_ok();
                        return (run, closing);
                    }
                },
            };
            let fits = run.is_none_or(|run| n <= run.segment && (run.from, run.to) == (info.from, info.to));
            if !fits || info.at > horizon {
                let packet = buf[start..start + n].to_vec();
                self.held = Some(Box::new(Held { packet, info }));
                return (run, info.at <= horizon);
            }
            let run = run.get_or_insert(Transmit { from: info.from, to: info.to, len: 0, segment: n });
            run.len += n;
            segments += 1;
            if n < run.segment {
                break;
            }
        }
        (run, true)
    }
}
