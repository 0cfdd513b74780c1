//! One QUIC connection: quiche's, with workarounds for its quirks.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quiche::{SendInfo, h3};

use super::amplification::Amplification;
use super::buf::{Buffers, Quic};
use super::cid::{Cid, CidGenerator};
use super::close::CloseCause;
use super::early;
use super::gone::Retired;
use super::last_close::LastClose;
use super::load::{Excess, Load};
use super::local_ids::LocalIds;
use super::migration::{MIN_CHALLENGE_DATAGRAM, Migrated};
use super::packet::MIN_INITIAL_DATAGRAM;
use super::paths::Paths;
use super::signals::Counters;
use super::stall::Stall;
use super::stop_credit::StopCredit;
use super::unseen_fin::UnseenFins;
use super::unsent_close::UnsentClose;
use super::untold::Untold;
use super::write_limit::WriteLimit;
use crate::error::{ConnectError, DatagramError, ErrorCode, MigrateError};

/// Bytes that a datagram can be expected to move.
const BYTES_PER_USE: usize = 1024;

/// A QUIC connection, with HTTP/3 on it once started.
pub(crate) struct Transport {
    pub(super) quic: Quic,
    pub(super) h3: Option<h3::Connection>,
    paths: Paths,
    amplification: Amplification,
    pub(super) counters: Counters,
    pub(super) unseen_fins: UnseenFins,
    pub(super) retired: Retired,
    pub(super) stall: Stall,
    pub(super) stop_credit: StopCredit,
    unsent_close: UnsentClose,
    last_close: LastClose,
    pub(super) write_limit: WriteLimit,
    load: Load,
    pub(super) ids: LocalIds,
    /// quiche::h3 may have more to report.
    pub(super) repoll: bool,
    /// Streams with data that quiche::h3 does not report.
    pub(super) unread: Vec<u64>,
    /// See [`note_use`](Transport::note_use).
    pub(super) uses: u32,
    /// A stateless reset ended the connection.
    pub(super) was_reset: bool,
    /// 0-RTT packets arrived before the handshake was complete.
    early_arrived: bool,
    /// QUIC datagrams that were read.
    datagrams_read: u64,
    untold: Untold,
}

/// A packet to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) len: usize,
    pub(crate) info: SendInfo,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("trace_id", &self.quic.trace_id()).finish_non_exhaustive()
    }
}

impl Transport {
    fn new(quic: Quic, local: SocketAddr, peer: SocketAddr, validated: bool) -> Self {
        Transport {
            paths: Paths::new(local, peer),
            amplification: Amplification::new(validated),
            counters: Counters::default(),
            unseen_fins: UnseenFins::default(),
            retired: Retired::default(),
            stall: Stall::default(),
            stop_credit: StopCredit::default(),
            unsent_close: UnsentClose::default(),
            last_close: LastClose::default(),
            write_limit: WriteLimit::default(),
            load: Load::new(),
            ids: LocalIds::new(quic.is_server(), 0),
            h3: None,
            repoll: false,
            unread: Vec::new(),
            uses: 0,
            was_reset: false,
            early_arrived: false,
            datagrams_read: 0,
            untold: Untold::default(),
            quic,
        }
    }

    /// A server's connection for a client's first packet. `retry` holds the destination ids of the client's very first
    /// packet and of this one, when it proved its address by a Retry token in between. `reset_token` is that of `scid`,
    /// if there is room for it.
    pub(crate) fn accept(
        scid: Cid,
        reset_token: Option<u128>,
        retry: Option<(&[u8], &[u8])>,
        local: SocketAddr,
        peer: SocketAddr,
        config: &mut quiche::Config,
    ) -> Result<Self, quiche::Error> {
        let scid = scid.to_quiche();
        config.set_stateless_reset_token(reset_token);
        let quic = match retry {
            Some((original, retry)) => {
                let ids = quiche::RetryConnectionIds {
                    original_destination_cid: &quiche::ConnectionId::from_ref(original),
                    retry_source_cid: &quiche::ConnectionId::from_ref(retry),
                };
                quiche::accept_with_retry(&scid, ids, local, peer, config)
            }
            None => quiche::accept_with_buf_factory(&scid, None, local, peer, config),
        }?;
        Ok(Self::new(quic, local, peer, retry.is_some()))
    }

    /// A client's connection. `name` is sent in the handshake and checked in the certificate.
    pub(crate) fn connect(
        name: Option<&str>,
        scid: Cid,
        local: SocketAddr,
        peer: SocketAddr,
        config: &mut quiche::Config,
    ) -> Result<Self, ConnectError> {
        let quic = quiche::connect_with_buffer_factory::<Buffers>(name, &scid.to_quiche(), local, peer, config);
        let quic = quic.map_err(ConnectError::refused)?;
        Ok(Self::new(quic, local, peer, true))
    }

    /// Resumes an earlier TLS session.
    pub(crate) fn set_session(&mut self, ticket: &[u8]) -> Result<(), ConnectError> {
        self.quic.set_session(ticket).map_err(ConnectError::ticket)
    }

    /// Receives a datagram, which is decrypted in place. `to_our_id`: it is addressed to a local connection id, not to
    /// one that the client made up. False if the packet was rejected.
    pub(crate) fn recv(&mut self, datagram: &mut [u8], from: SocketAddr, to: SocketAddr, to_our_id: bool) -> bool {
        self.stall.on_received();
        self.unseen_fins.on_received();
        self.unsent_close.on_progress();
        self.last_close.on_received();
        self.repoll = true;
        let is_established = self.quic.is_established();
        let validates = to_our_id && !is_established;
        self.early_arrived |= !is_established && early::has_packet(datagram);
        let before = self.load.before(&self.quic);
        let received = self.paths.recv(&mut self.quic, datagram, (to, from), &mut self.amplification, validates);
        if let Some(before) = before {
            self.load.after(&self.quic, datagram, before);
        }
        match received {
            Ok(()) | Err(quiche::Error::Done) => true,
            Err(e) => {
                log::debug!("{}: a packet was refused: {e}", self.quic.trace_id());
                false
            }
        }
    }

    /// A request or `bytes` of data arrived for the application.
    pub(crate) fn note_use(&mut self, bytes: usize) {
        self.uses = self.uses.wrapping_add(1 + (bytes / BYTES_PER_USE) as u32);
    }

    /// The number of the peer's datagrams that would have sufficed for the connection's use so far, modulo 2^32.
    pub(crate) fn use_so_far(&self) -> u32 {
        self.uses.wrapping_add((self.quic.stats().acked_bytes / BYTES_PER_USE as u64) as u32)
    }

    /// Whether to ask for an [excess](Transport::excess). Cheap.
    pub(crate) fn is_load_check_due(&self) -> bool {
        self.load.is_due() || self.retired.has_too_many()
    }

    /// Whether the peer has made quiche hold too much.
    pub(crate) fn excess(&mut self, now: Instant) -> Option<Excess> {
        self.load.check(&self.quic, now).or_else(|| self.retired.has_too_many().then_some(Excess::Aborted))
    }

    /// Whether it is time to count the heads that are not complete.
    pub(crate) fn take_heads_check(&mut self) -> bool {
        self.load.take_heads_check()
    }

    /// Small pieces of streams that quiche holds, and how many more these are than at the last call.
    pub(crate) fn held_pieces(&mut self, now: Instant) -> (f64, f64) {
        self.load.pieces(now)
    }

    /// Writes the next packet into `buf`; `None` when there is nothing to send. `tries` is the number of calls of
    /// quiche that may find nothing before the connection counts as idle; it is reduced by those made.
    pub(crate) fn send(&mut self, buf: &mut [u8], tries: &mut usize) -> Option<Packet> {
        if let Some((packet, info)) = self.paths.take_packet() {
            buf[..packet.len()].copy_from_slice(&packet);
            return Some(Packet { len: packet.len(), info });
        }
        if let Some((packet, info)) = self.last_close.take_due() {
            buf[..packet.len()].copy_from_slice(packet);
            return Some(Packet { len: packet.len(), info });
        }
        if self.untold_error().is_some() || self.unsent_close.is_waiting() {
            return None;
        }
        loop {
            let least = match self.quic.is_established() {
                true => MIN_CHALLENGE_DATAGRAM,
                false => MIN_INITIAL_DATAGRAM,
            };
            let allowed = self.amplification.allowed(buf.len(), least).unwrap_or(0);
            match self.paths.send(&mut self.quic, buf, allowed) {
                Ok((len, info)) => {
                    self.untold.on_sent(&self.quic);
                    self.unsent_close.on_sent(&self.quic);
                    self.write_limit.on_sent(len);
                    self.paths.on_sent(&info, len, &mut self.amplification);
                    let Some(info) = self.paths.outgoing(&self.quic, &buf[..len], info) else { continue };
                    // To an address that may not be the peer's, more could exceed the limit of section 8.1.
                    if !self.paths.is_moving() {
                        self.last_close.on_sent(&self.quic, &buf[..len], info);
                    }
                    return Some(Packet { len, info });
                }
                Err(quiche::Error::Done) if *tries > 0 => *tries -= 1,
                Err(quiche::Error::Done) => {
                    self.write_limit.on_idle();
                    return None;
                }
                Err(e) => {
                    log::debug!("quiche cannot send: {e}");
                    const INTERNAL_ERROR: u64 = 0x1;
                    // Fails only if the connection is already closing.
                    self.quic.close(false, INTERNAL_ERROR, b"cannot send").ok()?;
                }
            }
        }
    }

    /// Calls of [`send`](Transport::send) to make beyond one that has nothing.
    pub(crate) fn extra_sends(&mut self, open_streams: usize, has_sessions: bool) -> usize {
        self.stall.extra_sends(open_streams, has_sessions)
    }

    /// The size of the packets that are sent, in bytes.
    pub(crate) fn packet_size(&self) -> usize {
        self.quic.max_send_udp_payload_size()
    }

    /// When [`on_timeout`](Transport::on_timeout) is to be called.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.quic.timeout_instant()
    }

    /// Runs quiche's timers, and gives up a close that is not sent. False if nothing was due.
    pub(crate) fn on_timeout(&mut self, now: Instant) -> bool {
        self.unsent_close.on_timeout(now);
        let due = self.quic.timeout_instant().is_some_and(|at| at <= now);
        if due {
            self.quic.on_timeout();
            self.unsent_close.on_progress();
            self.paths.on_timeout(&mut self.quic);
        }
        due || self.unsent_close.is_given_up()
    }

    /// When a close that quiche could not send is given up; [`on_timeout`](Transport::on_timeout) is to be called then.
    pub(crate) fn unsent_close_deadline(&mut self, now: Instant) -> Option<Instant> {
        // RFC 9000 section 10.2.
        const CLOSING_PERIOD: u32 = 3;
        if !self.has_closed() {
            return None;
        }
        self.unsent_close.wait(&self.quic, now, CLOSING_PERIOD * self.probe_timeout())
    }

    /// Closes the connection with an application error code.
    pub(crate) fn close(&mut self, code: ErrorCode, reason: &[u8]) {
        // Fails when it is closed already.
        let _ = self.quic.close(true, code.0, reason);
    }

    /// Closes the connection with a transport error code.
    pub(crate) fn close_transport(&mut self, code: u64, reason: &[u8]) {
        let _ = self.quic.close(false, code, reason);
    }

    /// The error of QUIC that closed a server's connection before its first flight, which quiche cannot send to the
    /// client, and the number of packets sent before.
    pub(crate) fn untold_error(&self) -> Option<(u64, usize)> {
        self.untold.error(&self.quic)
    }

    /// Ends a connection whose error was sent by other means.
    pub(crate) fn abandon(&mut self) {
        self.untold.abandoned = true;
    }

    /// Makes the peer acknowledge something, so that neither side's idle timeout passes.
    pub(crate) fn ping(&mut self) {
        // Fails when the connection is closed.
        let _ = self.quic.send_ack_eliciting();
    }

    pub(crate) fn is_established(&self) -> bool {
        self.quic.is_established()
    }

    /// Whether the peer's address is validated (RFC 9000 section 8.1). To a client, its server's always is.
    pub(crate) fn is_peer_validated(&self) -> bool {
        matches!(self.amplification, Amplification::Validated) || self.quic.is_established()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.was_reset || self.untold.abandoned || self.quic.is_closed() || self.unsent_close.is_given_up()
    }

    /// Whether the connection is closing or draining (RFC 9000 section 10.2).
    pub(crate) fn is_draining(&self) -> bool {
        self.quic.is_draining()
    }

    /// This side has closed the connection; the close may not be sent yet.
    pub(crate) fn has_closed(&self) -> bool {
        self.quic.local_error().is_some()
    }

    /// Closed, closing or draining.
    pub(crate) fn is_over(&self) -> bool {
        self.is_closed() || self.quic.is_draining()
    }

    pub(crate) fn close_cause(&self) -> CloseCause {
        match self.was_reset {
            true => CloseCause::stateless_reset(),
            false => CloseCause::of(&self.quic),
        }
    }

    /// Whether the client's data is sent in 0-RTT packets.
    pub(crate) fn is_in_early_data(&self) -> bool {
        self.quic.is_in_early_data()
    }

    pub(crate) fn is_early_accepted(&self) -> bool {
        early::is_accepted(&self.quic)
    }

    /// Whether 0-RTT packets arrived, of which nothing may have been taken.
    pub(crate) fn has_early_arrived(&self) -> bool {
        self.early_arrived
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.quic.is_resumed()
    }

    pub(crate) fn application_proto(&self) -> &[u8] {
        self.quic.application_proto()
    }

    pub(crate) fn peer_certificate(&self) -> Option<&[u8]> {
        self.quic.peer_cert()
    }

    pub(crate) fn session(&self) -> Option<&[u8]> {
        self.quic.session()
    }

    /// The idle timeout that both sides agreed on, as far as it is known.
    pub(crate) fn idle_timeout(&self, ours: Duration) -> Duration {
        let theirs = self.quic.peer_transport_params().map_or(0, |params| params.max_idle_timeout);
        match theirs {
            0 => ours,
            ms => ours.min(Duration::from_millis(ms)),
        }
    }

    /// The probe timeout of the path in use (RFC 9002 section 6.2.1).
    pub(crate) fn probe_timeout(&self) -> Duration {
        let active = self.quic.path_stats().find(|path| path.active);
        active.map_or(Duration::ZERO, |path| super::probe_timeout(path.rtt, path.rttvar))
    }

    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.paths.peer()
    }

    /// Whether there is a connection id for another address (RFC 9000 section 9.5).
    pub(crate) fn can_migrate(&self) -> bool {
        self.quic.destination_id().is_empty() || self.quic.available_dcids() > 0
    }

    /// Whether the peer allows migration; quiche does not ask.
    pub(crate) fn allows_migration(&self) -> bool {
        self.quic.peer_transport_params().is_none_or(|params| !params.disable_active_migration)
    }

    /// Migrates a client's connection to another local address.
    pub(crate) fn migrate(&mut self, local: SocketAddr) -> Result<(), MigrateError> {
        if !self.allows_migration() {
            return Err(MigrateError::Forbidden);
        }
        self.paths.migrate(&mut self.quic, local).map_err(MigrateError::refused)
    }

    /// The next migration of the peer.
    pub(crate) fn poll_migrated(&mut self) -> Option<Migrated> {
        self.paths.poll(&mut self.quic)
    }

    /// The next local connection id that the peer has retired.
    pub(crate) fn poll_retired_cid(&mut self) -> Option<Cid> {
        loop {
            let retired = self.quic.retired_scid_next()?;
            if let Some(cid) = Cid::from_slice(&retired) {
                return Some(cid);
            }
        }
    }

    /// Issues another connection id if fewer than `wanted` are active. Not while the peer is moving: quiche cannot send
    /// anything more when it finds a NEW_CONNECTION_ID frame lost whose id the peer has retired, having received it in
    /// another packet.
    pub(crate) fn issue_cid(&mut self, cids: &mut CidGenerator, wanted: usize) -> Option<Cid> {
        let ready = self.quic.is_established() && !self.quic.is_closed() && !self.paths.is_moving();
        if !ready || self.quic.scids_left() == 0 || self.quic.active_scids() >= wanted {
            return None;
        }
        let (cid, reset_token) = cids.next();
        self.quic.new_scid(&cid.to_quiche(), reset_token, false).ok().map(|_| cid)
    }

    // Datagrams.

    /// The largest QUIC DATAGRAM payload that can be sent now.
    pub(crate) fn max_datagram_len(&self) -> Option<usize> {
        self.quic.dgram_max_writable_len()
    }

    /// Queues a QUIC DATAGRAM frame.
    pub(crate) fn send_datagram(&mut self, payload: Vec<u8>) -> Result<(), DatagramError> {
        self.quic.dgram_send_buf(payload).map_err(|e| match e {
            quiche::Error::Done => DatagramError::QueueFull,
            quiche::Error::InvalidState => DatagramError::DisabledByPeer,
            _ => DatagramError::Closed,
        })
    }

    pub(crate) fn recv_datagram(&mut self) -> Option<Vec<u8>> {
        let datagram = self.quic.dgram_recv_buf().ok()?;
        self.datagrams_read += 1;
        self.note_use(datagram.len());
        Some(datagram)
    }

    /// Received datagrams not read yet.
    pub(crate) fn datagrams_received(&self) -> usize {
        self.quic.dgram_recv_queue_len()
    }

    /// Datagrams queued for sending.
    pub(crate) fn datagrams_queued(&self) -> usize {
        self.quic.dgram_send_queue_len()
    }

    /// QUIC datagrams that were received while too many waited, for which quiche drops older ones.
    pub(crate) fn datagrams_overflowed(&self) -> u64 {
        let received = self.quic.stats().dgram_recv as u64;
        received.saturating_sub(self.datagrams_read + self.datagrams_received() as u64)
    }

    /// Packets lost, and QUIC datagrams in them, on the paths that there are.
    pub(crate) fn lost(&self) -> (u64, u64) {
        let datagrams = self.quic.path_stats().map(|path| path.dgram_lost as u64).sum();
        (self.quic.stats().lost as u64, datagrams)
    }

    /// The smoothed round-trip time and the congestion window in bytes of the path in use, once one was measured.
    pub(crate) fn path_in_use(&self) -> Option<(Duration, u64)> {
        let path = self.quic.path_stats().find(|path| path.active)?;
        path.min_rtt.map(|_| (path.rtt, path.cwnd as u64))
    }

    /// Drops the queued datagrams for which `predicate` is true.
    pub(crate) fn purge_datagrams(&mut self, predicate: impl Fn(&[u8]) -> bool) {
        self.quic.dgram_purge_outgoing(predicate);
    }

    // Stalls.

    /// Arms the [check for a stall](super::stall).
    pub(crate) fn arm_stall_check(&mut self, now: Instant) {
        self.stall.arm(now);
    }

    pub(crate) fn stall_deadline(&self) -> Option<Instant> {
        self.stall.deadline()
    }

    /// Whether the connection may have stalled: its sending streams must then be made incremental. `next`: the next request
    /// stream.
    pub(crate) fn check_stall(&mut self, now: Instant, next: u64) -> bool {
        self.stall.check(now, &mut self.quic, next)
    }

    // Logs.

    /// Writes TLS secrets to `keylog`, each line at once.
    pub(crate) fn set_keylog(&mut self, keylog: Box<dyn Write + Send + Sync>) {
        self.quic.set_keylog(keylog);
    }

    /// Writes the connection's events to `file`.
    #[cfg(feature = "qlog")]
    pub(crate) fn set_qlog(&mut self, file: Box<dyn Write + Send + Sync>, description: String) {
        self.quic.set_qlog_with_level(file, "mio-quiche".to_owned(), description, quiche::QlogLevel::Extra);
    }

    /// The connection's qlog file, if there is one.
    #[cfg(feature = "qlog")]
    pub(crate) fn qlog(&mut self) -> Option<&mut qlog::streamer::QlogStreamer> {
        self.quic.qlog_streamer()
    }

    /// The state of the paths.
    #[cfg(test)]
    pub(crate) fn path_state(&self) -> String {
        let of_quiche: Vec<_> = self.quic.path_stats().collect();
        format!("{of_quiche:?} {:?} {:?}", self.paths, self.amplification)
    }

    /// RESET_STREAM and STOP_SENDING frames received.
    #[cfg(test)]
    pub(crate) fn signal_counts(&self) -> (u64, u64) {
        let stats = self.quic.stats();
        (stats.reset_stream_count_remote, stats.stopped_stream_count_remote)
    }
}
