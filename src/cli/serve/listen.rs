//! The address to listen on, as people write it.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use crate::cli::Failure;

/// Without one in the address.
const DEFAULT_PORT: u16 = 4433;

/// The address for an option such as `--listen`: `ADDRESS:PORT`, `HOST:PORT`, `:PORT`, or one of them without the other part. `port`
/// replaces that of it. Of the addresses of a name, the first one.
pub(super) fn address(option: &str, listen: &str, port: Option<u16>) -> Result<SocketAddr, Failure> {
    let invalid = || {
        Failure::Usage(format!(
            "{option} '{listen}': give ADDRESS:PORT, HOST:PORT or :PORT, such as 127.0.0.1:4433, localhost:4433 or :4433"
        ))
    };
    let whole = match listen.strip_prefix(':') {
        Some(port) if !port.contains(':') => format!("[::]:{port}"),
        _ if !listen.is_empty() && listen.bytes().all(|b| b.is_ascii_digit()) => format!("[::]:{listen}"),
        _ => listen.to_owned(),
    };
    let replaced = |addr: SocketAddr| SocketAddr::new(addr.ip(), port.unwrap_or(addr.port()));
    if let Ok(addr) = whole.parse() {
        return Ok(replaced(addr));
    }
    let unbracketed = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&whole);
    if let Ok(ip) = unbracketed.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port.unwrap_or(DEFAULT_PORT)));
    }
    let (host, own_port) = match whole.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| invalid())?),
        None => (&*whole, DEFAULT_PORT),
    };
    if host.is_empty() || host.contains([':', '[', ']', '/']) {
        return Err(invalid());
    }
    let found = (host, port.unwrap_or(own_port))
        .to_socket_addrs()
        .map_err(|e| Failure::Usage(format!("{option} '{listen}': {e}")))?;
    let (first, others) = first_of(found).ok_or_else(invalid)?;
    if !others.is_empty() {
        log::warn!("{option} '{listen}': listening on {} only, not on {}", first.ip(), others.join(", "));
    }
    Ok(first)
}

/// The first address of a name, and the others.
fn first_of(mut found: impl Iterator<Item = SocketAddr>) -> Option<(SocketAddr, Vec<String>)> {
    let first = found.next()?;
    Some((first, found.filter(|addr| *addr != first).map(|addr| addr.ip().to_string()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        for (listen, port, expected) in [
            ("127.0.0.1:8443", None, "127.0.0.1:8443"),
            ("127.0.0.1:8443", Some(1), "127.0.0.1:1"),
            ("[::1]:8443", None, "[::1]:8443"),
            (":8443", None, "[::]:8443"),
            (":8443", Some(1), "[::]:1"),
            ("8443", None, "[::]:8443"),
            (":0", None, "[::]:0"),
            ("127.0.0.1", None, "127.0.0.1:4433"),
            ("127.0.0.1", Some(1), "127.0.0.1:1"),
            ("::1", None, "[::1]:4433"),
            ("[::1]", Some(1), "[::1]:1"),
            ("[::]:4433", Some(8080), "[::]:8080"),
        ] {
            let addr = address("--listen", listen, port).map(|addr| addr.to_string());
            assert_eq!(addr.unwrap_or_else(|e| e.message().to_owned()), expected, "{listen}");
        }
        for (listen, port) in [("localhost:8443", 8443), ("localhost", 4433)] {
            let addr = address("--listen", listen, None).unwrap();
            assert!(addr.ip().is_loopback() && addr.port() == port, "{listen}: {addr}");
        }
        for listen in ["", ":", ":70000", "70000", "127.0.0.1:70000", "[::1", "a:b:1", "https://localhost", "host:"] {
            let message = address("--listen", listen, None).unwrap_err().message().to_owned();
            assert!(message.starts_with(&format!("--listen '{listen}': give ADDRESS:PORT")), "{message}");
        }
        let found = ["[::1]:1", "[::1]:1", "127.0.0.1:1"].map(|addr| addr.parse().unwrap());
        let expected = (found[0], vec!["127.0.0.1".to_owned()]);
        assert_eq!(first_of(found.into_iter()), Some(expected), "the others are named");
        let message = address("--listen", "no.such.host.invalid:1", None).unwrap_err().message().to_owned();
        assert!(message.starts_with("--listen 'no.such.host.invalid:1': failed to lookup address"), "{message}");
    }
}
