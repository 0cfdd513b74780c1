//! A peer that writes its streams by hand: a connection of quiche's own, without HTTP/3.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{ClientConfig, ServerConfig};

pub(super) const CLIENT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5000);
pub(super) const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 4433);

pub(super) struct Peer {
    quic: quiche::Connection,
}

impl Peer {
    pub(super) fn client(config: &ClientConfig) -> Self {
        let mut config = config.to_endpoint().and_then(|config| config.to_quiche()).expect("settings");
        let scid = quiche::ConnectionId::from_ref(&[0xc1; 16]);
        let quic = quiche::connect(Some("localhost"), &scid, CLIENT, SERVER, &mut config).expect("a client");
        Peer { quic }
    }

    pub(super) fn server(config: ServerConfig) -> Self {
        let mut config = config.into_endpoint().and_then(|config| config.to_quiche()).expect("settings");
        let scid = quiche::ConnectionId::from_ref(&[0x5e; 16]);
        let quic = quiche::accept(&scid, None, SERVER, CLIENT, &mut config).expect("a server");
        Peer { quic }
    }

    /// Receives a datagram. If quiche rejects it, its next packets show it.
    pub(super) fn recv(&mut self, datagram: &mut [u8], from: SocketAddr, to: SocketAddr) {
        let _ = self.quic.recv(datagram, quiche::RecvInfo { from, to });
    }

    /// The next datagram to send, with its addresses.
    pub(super) fn send(&mut self) -> Option<(Vec<u8>, SocketAddr, SocketAddr)> {
        let mut packet = vec![0; 1500];
        let (len, info) = self.quic.send(&mut packet).ok()?;
        packet.truncate(len);
        Some((packet, info.from, info.to))
    }

    pub(super) fn on_timeout(&mut self) {
        if self.quic.timeout() == Some(Duration::ZERO) {
            self.quic.on_timeout();
        }
    }

    pub(super) fn is_established(&self) -> bool {
        self.quic.is_established()
    }

    /// Writes as much as there is credit for.
    pub(super) fn write(&mut self, stream: u64, bytes: &[u8], fin: bool) {
        let _ = self.quic.stream_send(stream, bytes, fin);
    }

    /// Reads and discards received data.
    pub(super) fn read_all(&mut self) {
        let mut buf = [0; 4096];
        for stream in self.quic.readable() {
            while self.quic.stream_recv(stream, &mut buf).is_ok() {}
        }
        while self.quic.dgram_recv(&mut buf).is_ok() {}
    }

    pub(super) fn reset(&mut self, stream: u64, code: u64) {
        let _ = self.quic.stream_shutdown(stream, quiche::Shutdown::Write, code);
    }

    pub(super) fn stop(&mut self, stream: u64, code: u64) {
        let _ = self.quic.stream_shutdown(stream, quiche::Shutdown::Read, code);
    }

    pub(super) fn send_datagram(&mut self, payload: &[u8]) {
        let _ = self.quic.dgram_send(payload);
    }

    pub(super) fn close(&mut self, code: u64, reason: &[u8]) {
        let _ = self.quic.close(true, code, reason);
    }
}
