//! The grammar of `:authority` (RFC 3986 section 3.2, RFC 9110 section 4.2.1).

use std::net::Ipv6Addr;

/// Bytes of a registered name (RFC 3986 section 3.2.2).
const MAX_NAME: usize = 255;

/// Whether it is HOST or HOST:PORT, with a host that is not empty. `needs_port`: the port is not optional, as in CONNECT
/// (RFC 9110 section 9.3.6).
pub(super) fn is_authority(text: &str, needs_port: bool) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => (None, port),
            _ => return false,
        },
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (Some(host), port)
        }
    };
    host.is_none_or(is_name) && is_port(port, needs_port)
}

/// A registered name, or an IPv4 address, which has the same characters.
fn is_name(host: &str) -> bool {
    let mut rest = host.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            _ if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) => after,
            _ => return false,
        };
    }
    (1..=MAX_NAME).contains(&host.len())
}

/// Nothing, or a colon and a port, which may be empty.
fn is_port(text: &str, needed: bool) -> bool {
    let Some(digits) = text.strip_prefix(':') else { return text.is_empty() && !needed };
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    match digits {
        "" => !needed,
        _ => is_number && digits.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port() {
        let long = "x".repeat(255);
        let good = [
            "a",
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "a.example:443",
            "a_b.example",
            "xn--e1afmkfd.example",
            "127.0.0.1:4433",
            "[::1]",
            "[::1]:1",
            "[::ffff:192.0.2.1]:65535",
            "localhost:",
            "localhost:00443",
            "localhost:0",
            "a%20b",
            "a,b",
            "a'b",
            &long,
        ];
        for text in good {
            assert!(is_authority(text, false), "{text}");
        }
        let longer = "x".repeat(256);
        let bad = [
            "",
            ":443",
            "[::1",
            "::1",
            "[zz]",
            "[]",
            "[::1]x",
            "[::1]x:1",
            "[::1%25eth0]",
            "[1.2.3.4]",
            "[v1.a]",
            "localhost:99999",
            "localhost:65536",
            "localhost:port",
            "localhost:-1",
            "localhost:+1",
            "localhost:1:2",
            "a<b>",
            "a\"b",
            "a`b",
            "a|b",
            "a{b}",
            "a^b",
            "a\\b",
            "a/b",
            "a?b",
            "a#b",
            "a@b",
            "a b",
            "a%zz",
            "a%2",
            "a%",
            "\u{17e}lu\u{165}.example",
            &longer,
        ];
        for text in bad {
            assert!(!is_authority(text, false), "{text}");
        }
        for (text, ok) in [("a:1", true), ("[::1]:1", true), ("a", false), ("a:", false), ("[::1]", false)] {
            assert_eq!(is_authority(text, true), ok, "{text}");
        }
    }
}
