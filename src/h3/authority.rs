//! The grammar of `:authority` (RFC 3986 section 3.2, RFC 9110 section 4.2.1).

use std::net::Ipv6Addr;

/// Bytes of a registered name (RFC 3986 section 3.2.2).
const MAX_NAME: usize = 255;

/// Whether it is HOST or HOST:PORT, with a host that is not empty. `needs_port`: the port is not optional, as in CONNECT
/// (RFC 9110 section 9.3.6).
pub(super) fn is_authority(text: &[u8], needs_port: bool) -> bool {
    match text {
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|&b| b == b']');
            end.is_some_and(|end| is_ipv6(&rest[..end]) && is_port(&rest[end + 1..], needs_port))
        }
        _ => {
            let end = text.iter().position(|&b| !IS_NAME[usize::from(b)]).unwrap_or(text.len());
            let (host, port) = text.split_at(end);
            (1..=MAX_NAME).contains(&host.len()) && is_encoded(host) && is_port(port, needs_port)
        }
    }
}

/// The characters of a registered name or an IPv4 address, by byte. `%` begins an encoded byte.
static IS_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~!$&'()*+,;=%";
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
};

/// Whether two hexadecimal digits follow each `%`.
fn is_encoded(mut host: &[u8]) -> bool {
    while let Some(at) = host.iter().position(|&b| b == b'%') {
        match &host[at + 1..] {
            [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => host = rest,
            _ => return false,
        }
    }
    true
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Nothing, or a colon and a port, which may be empty.
fn is_port(text: &[u8], needed: bool) -> bool {
    match text {
        [] | [b':'] => !needed,
        [b':', digits @ ..] => {
            let mut port = 0u32;
            digits.iter().all(|b| {
                port = port * 10 + u32::from(b.wrapping_sub(b'0'));
                b.is_ascii_digit() && port <= u32::from(u16::MAX)
            })
        }
        _ => false,
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
            "localhost:0000000000000000000443",
            "localhost:65535",
            "localhost:0",
            "a%20b",
            "a,b",
            "a'b",
            &long,
        ];
        for text in good {
            assert!(is_authority(text.as_bytes(), false), "{text}");
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
            "localhost:4294967739",
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
            assert!(!is_authority(text.as_bytes(), false), "{text}");
        }
        for (text, ok) in [("a:1", true), ("[::1]:1", true), ("a", false), ("a:", false), ("[::1]", false)] {
            assert_eq!(is_authority(text.as_bytes(), true), ok, "{text}");
        }
    }
}
