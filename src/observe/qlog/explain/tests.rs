use tempfile::TempDir;

use super::super::sample;
use super::*;

/// The text with its lines joined.
fn told(path: &Path) -> String {
    let text = explain(std::fs::File::open(path).unwrap(), path).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH + 20), "{text}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn both_sides_tell_the_same_handshake() {
    let tmp = TempDir::new().unwrap();
    let (client, server) = sample::logs(tmp.path(), 1, 0);
    for (path, side) in [(client, "client"), (server, "server")] {
        let text = told(&path);
        println!("{text}");
        let mut rest = text.as_str();
        // In this order.
        for part in [
            &format!("as the {side} saw it."),
            "client -> server: Initial packet 0, 1200 bytes A long header",
            "(RFC 9000, section 17.2.2)",
            "The header names version 1.",
            "CRYPTO, bytes 0 to ",
            "the ClientHello of TLS 1.3.",
            "server -> client: Initial packet 0",
            "ACK: the server has received packet",
            "the ServerHello.",
            "server -> client: Handshake packet ",
            "EncryptedExtensions, Certificate, CertificateVerify and Finished of the server.",
        ] {
            let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in {rest}"));
            rest = &rest[at + part.len()..];
        }
        for part in [
            "transport parameters of the client",
            "transport parameters of the server",
            "initial_max_data (0x04) = 10000000 bytes: may be sent on all streams together",
            "max_idle_timeout (0x01) = 5000 ms",
            "the client's Finished.",
            "HANDSHAKE_DONE: the server has the client's Finished; the handshake is confirmed",
            "HTTP/3: SETTINGS frame of the client on stream 2",
            "HTTP/3: SETTINGS frame of the server on stream 3",
            ":method: GET",
            ":path: /file/0",
            ":status: 200",
            "The handshake is complete and confirmed; what follows is application data.",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(!text.contains("not explained here"), "{text}");
    }
}

#[test]
fn foreign_text_is_fit_for_a_terminal_and_bounded() {
    let frames = vec![r#"{"frame_type":"ping\u001b[2J"}"#; 1000].join(",");
    let packet = format!(
        r#"{{"time":1,"name":"quic:packet_sent","data":{{"header":{{"packet_type":"initial","version":"\u001b","dcid":"\u001b\n","scid":"a"}},"frames":[{frames}]}}}}"#
    );
    let setting = r#"{"time":1,"name":"http3:frame_created","data":{"stream_id":3,"frame":{"frame_type":"settings","settings":[{"name":"\u001b","value":"\u001b"}]}}}"#;
    let parameters = r#"{"time":1,"name":"quic:parameters_set","data":{"initiator":"local","stateless_reset_token":{"data":"\u001b"},"tls_cipher":"\u001b"}}"#;
    let mut file = "\x1e{\"trace\":{}}\n".to_owned();
    for record in [setting, parameters].into_iter().chain(std::iter::repeat_n(packet.as_str(), 100)) {
        file += &format!("\x1e{record}\n");
    }
    let text = explain(file.as_bytes(), Path::new("a\u{1b}b")).unwrap();
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    assert!(text.matches("ping").count() + text.matches("PING").count() <= MAX_FRAMES + 1000);
    let empty = explain(&b"\x1e{\"trace\":{}}\n"[..], Path::new("empty")).unwrap();
    assert!(empty.ends_with("\nThere are no packets in this log.\n"), "{empty}");
}
