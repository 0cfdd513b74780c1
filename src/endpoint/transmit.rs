//! Sending: runs of equal-sized packets, as generic segmentation offload requires, and pacing.

use std::time::{Duration, Instant};

use super::Endpoint;
use super::connection::Connection;
use super::core::Cx;
use super::outgoing::{Deferred, Transmit};

/// The event loop sleeps in milliseconds, so packets due within the next one are sent at once.
const PACING_GRANULARITY: Duration = Duration::from_millis(1);

impl Endpoint {
    /// Writes the next datagrams to send into `buf`: at most `max_segments` (and at least one), all to one address.
    ///
    /// `buf` must have room for a packet of the configured size, and should have it for `max_segments`.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut [u8], max_segments: usize) -> Option<Transmit> {
        loop {
            if let Some((packet, transmit)) = self.core.stateless.pop() {
                buf[..packet.len()].copy_from_slice(&packet);
                self.count(transmit);
                return Some(transmit);
            }
            let id = self.core.sending.pop_front()?;
            let Some(conn) = self.table.get_mut(id) else { continue };
            let mut cx = Cx { now, conn: id, core: &mut self.core };
            let (transmit, more) = conn.fill(now, buf, max_segments);
            conn.tell_failure(&mut cx);
            if conn.may_begin_early() {
                conn.mark(&mut cx);
            }
            if more {
                cx.core.sending.push_back(id);
            } else {
                conn.turn.sending = false;
                if conn.settle(&mut cx) {
                    self.remove(id);
                }
            }
            if let Some(transmit) = transmit {
                self.count(transmit);
                return Some(transmit);
            }
        }
    }

    fn count(&mut self, transmit: Transmit) {
        self.core.stats.datagrams_out += transmit.len.div_ceil(transmit.segment) as u64;
        self.core.stats.bytes_out += transmit.len as u64;
    }
}

impl Connection {
    /// Sends the error of a failed first flight if quiche cannot, and ends the connection.
    fn tell_failure(&mut self, cx: &mut Cx<'_>) {
        let Some((code, sent)) = self.transport.untold_error() else { return };
        self.transport.abandon();
        cx.core.stats.failed_first_flights += 1;
        let Some(flight) = self.handshake.take_first_flight() else { return };
        if let Some(close) = flight.close(code, sent) {
            cx.core.stateless.close(cx.now, close.clone(), flight.asked);
            cx.core.failed.insert(cx.now, flight.cid, close);
        }
    }

    /// Fills `buf` with a run of packets; also returns whether there may be more to send now.
    fn fill(&mut self, now: Instant, buf: &mut [u8], max_segments: usize) -> (Option<Transmit>, bool) {
        let horizon = now + PACING_GRANULARITY;
        let packet_size = self.transport.packet_size();
        let mut run: Option<Transmit> = None;
        let mut segments = 0;
        let has_sessions = self.sessions.as_ref().is_some_and(|s| !s.map.is_empty()) || self.streams.of_sessions() > 0;
        let mut tries = self.transport.extra_sends(self.streams.requests(), has_sessions);
        while segments < max_segments.max(1) {
            let start = run.map_or(0, |run| run.len);
            if segments > 0 && buf.len() - start < packet_size {
                break;
            }
            let packet = match self.turn.deferred.take() {
                Some(deferred) if deferred.due() > horizon => {
                    self.turn.deferred = Some(deferred);
                    return (run, false);
                }
                Some(deferred) => {
                    buf[start..start + deferred.bytes.len()].copy_from_slice(&deferred.bytes);
                    deferred.packet
                }
                None => match self.transport.send(&mut buf[start..], &mut tries) {
                    Some(packet) => packet,
                    None => return (run, false),
                },
            };
            let (n, info) = (packet.len, packet.info);
            let fits = run.is_none_or(|run| n <= run.segment && (run.from, run.to) == (info.from, info.to));
            if !fits || info.at > horizon {
                let bytes = buf[start..start + n].to_vec();
                self.turn.deferred = Some(Box::new(Deferred { bytes, packet }));
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
