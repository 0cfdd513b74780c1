//! Origins and addresses of a transfer.

use std::net::{SocketAddr, UdpSocket};

use url::Url;

/// The origin of a URL, as `https://HOST:PORT`.
pub(super) fn host(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(format!("https://{}:{}", url.host_str()?, url.port_or_known_default()?))
}

/// The address that packets to a peer come from, if the socket is bound to none.
pub(super) fn source(local: SocketAddr, peer: SocketAddr) -> SocketAddr {
    if !local.ip().is_unspecified() {
        return local;
    }
    // Connecting a UDP socket looks up the route, and sends nothing.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let any: std::net::IpAddr = if peer.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let routed = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(peer).and_then(|()| socket.local_addr()));
    SocketAddr::new(routed.map_or(local.ip(), |at| at.ip()), local.port())
}
