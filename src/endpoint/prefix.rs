//! Networks, as limits per network distinguish them.

use std::net::{IpAddr, SocketAddr};

/// A network that one peer may own: /24 of IPv4, /56 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Prefix {
    V4([u8; 3]),
    V6([u8; 7]),
}

impl Prefix {
    pub(super) fn of(peer: SocketAddr) -> Self {
        match peer.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Prefix::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Prefix::V6([a, b, c, d, e, f, g])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_is_one_prefix() {
        let same = |a, b| Prefix::of(addr(a)) == Prefix::of(addr(b));
        assert!(same("192.0.2.1:1", "192.0.2.255:2"));
        assert!(!same("192.0.2.1:1", "192.0.3.1:1"));
        assert!(same("192.0.2.1:1", "[::ffff:192.0.2.9]:1"));
        assert!(same("[2001:db8:0:1::1]:1", "[2001:db8:0:ff:1::]:1"));
        assert!(!same("[2001:db8:0:1::1]:1", "[2001:db8:0:100::1]:1"));
    }
}
