//! What packets, frames, parameters and settings are for.

use super::super::event::{Frame, PacketType, Space};

pub(super) fn packet_type(ty: PacketType) -> &'static str {
    match ty {
        PacketType::Initial => "Initial",
        PacketType::Handshake => "Handshake",
        PacketType::ZeroRtt => "0-RTT",
        PacketType::OneRtt => "1-RTT",
        PacketType::Retry => "Retry",
        PacketType::VersionNegotiation => "Version Negotiation",
        PacketType::StatelessReset => "stateless reset",
        PacketType::Unknown => "unknown",
    }
}

/// The first packet of a kind from a side.
pub(super) fn header(ty: PacketType, from: &str) -> &'static str {
    match (ty, from) {
        (PacketType::Initial, "client") => {
            "A long header, as the connection has no keys yet (RFC 9000, section 17.2.2). The client made the destination up; \
             the keys of Initial packets come from it, so that anyone who sees the first packet can read them (RFC 9001, \
             section 5.2)."
        }
        (PacketType::Initial, _) => {
            "A long header (RFC 9000, section 17.2.2). The source is the id that the server chose; the client uses it from its \
             next packet on (section 7.2)."
        }
        (PacketType::Handshake, _) => {
            "A long header (RFC 9000, section 17.2.4). Its keys come from the Diffie-Hellman exchange in ClientHello and \
             ServerHello (RFC 9001, section 5.1): from here on, only the two sides can read."
        }
        (PacketType::OneRtt, _) => {
            "A short header: no version, and only the destination's id (RFC 9000, section 17.3.1). Its keys are those of \
             application data; a server has them before the client's Finished has come (RFC 9001, section 5.7)."
        }
        (PacketType::ZeroRtt, _) => {
            "A long header (RFC 9000, section 17.2.3). Data in the first flight, with keys of an earlier session; an attacker \
             can replay it (RFC 9001, sections 4.6 and 9.2)."
        }
        (PacketType::Retry, _) => {
            "The server asks for another Initial packet with this token, which proves that the client's address is real (RFC \
             9000, sections 8.1.2 and 17.2.5)."
        }
        (PacketType::VersionNegotiation, _) => {
            "The server does not speak the client's version, and lists those that it does (RFC 9000, sections 6 and 17.2.1)."
        }
        (PacketType::StatelessReset, _) => "The server has lost the connection (RFC 9000, section 10.3).",
        (PacketType::Unknown, _) => "",
    }
}

/// The TLS messages in CRYPTO frames.
pub(super) fn crypto(space: Space, from: &str) -> &'static str {
    match (space, from) {
        (Space::Initial, "client") => "the ClientHello of TLS 1.3",
        (Space::Initial, _) => "the ServerHello",
        (Space::Handshake, "client") => "the client's Finished",
        (Space::Handshake, _) => "EncryptedExtensions, Certificate, CertificateVerify and Finished of the server",
        (Space::Application, _) => "session tickets",
    }
}

pub(super) fn crypto_meaning(space: Space, from: &str) -> &'static str {
    match (space, from) {
        (Space::Initial, "client") => {
            "It offers ciphers, key shares, ALPN protocols and the client's transport parameters (RFC 9001, sections 4 and \
             8; RFC 8446, section 4.1.2)."
        }
        (Space::Initial, _) => "It picks a cipher and a key share (RFC 8446, section 4.1.3).",
        (Space::Handshake, "client") => {
            "The server now knows that the client has the same keys, and the client's address is validated (RFC 8446, section \
             4.4.4; RFC 9000, section 8.1). With mutual TLS, the client's certificate is in front of it."
        }
        (Space::Handshake, _) => {
            "They bring ALPN's choice and the server's transport parameters, show its certificate, prove that it has the key, \
             and that nobody changed what was said so far (RFC 8446, sections 4.3.1, 4.4)."
        }
        (Space::Application, _) => {
            "With one, the client can resume the session later (RFC 8446, section 4.6.1; RFC 9001, section 4.5)."
        }
    }
}

/// Frames that need few words.
pub(super) fn frame(frame: &Frame) -> (String, &'static str) {
    let name = match frame {
        Frame::Ping => "PING".to_owned(),
        Frame::PathChallenge => "PATH_CHALLENGE".to_owned(),
        Frame::PathResponse => "PATH_RESPONSE".to_owned(),
        Frame::NewToken => "NEW_TOKEN".to_owned(),
        Frame::Other(name) => name.to_ascii_uppercase(),
        _ => String::new(),
    };
    let meaning = match name.as_str() {
        "PING" => "asks for an acknowledgement (RFC 9000, section 19.2).",
        "PATH_CHALLENGE" => {
            "8 bytes that the peer is to send back on the same path (RFC 9000, sections 8.2 and 19.17)."
        }
        "PATH_RESPONSE" => "the bytes of a PATH_CHALLENGE: the path works (RFC 9000, section 19.18).",
        "NEW_TOKEN" => "a token for the Initial packet of a later connection (RFC 9000, sections 8.1.3 and 19.7).",
        "MAX_STREAM_DATA" => "more may be sent on a stream (RFC 9000, section 19.10).",
        "MAX_STREAMS" => "more streams may be opened (RFC 9000, section 19.11).",
        "DATA_BLOCKED" => "more would be sent if the connection's limit allowed it (RFC 9000, section 19.12).",
        "STREAM_DATA_BLOCKED" => "more would be sent if the stream's limit allowed it (RFC 9000, section 19.13).",
        "STREAMS_BLOCKED" => "a stream would be opened if the limit allowed it (RFC 9000, section 19.14).",
        "RETIRE_CONNECTION_ID" => "a connection id of the peer is used no more (RFC 9000, section 19.16).",
        "RESET_STREAM" => "the sender gives the stream up (RFC 9000, section 19.4).",
        "STOP_SENDING" => "the receiver wants no more of the stream (RFC 9000, section 19.5).",
        _ => "a frame that is not explained here.",
    };
    (name, meaning)
}

/// A transport parameter.
pub(super) struct Parameter {
    pub(super) id: u64,
    pub(super) unit: &'static str,
    pub(super) meaning: &'static str,
}

/// RFC 9000, section 18.2; RFC 9221, section 3; RFC 9287, section 3.
pub(super) fn parameter(name: &str) -> Option<Parameter> {
    let (id, unit, meaning) = match name {
        "original_destination_connection_id" => {
            (0x00, "", "where the client's first packet was for; it proves that nobody came between (section 7.3)")
        }
        "max_idle_timeout" => (0x01, " ms", "without packets for so long, the connection is over (section 10.1)"),
        "stateless_reset_token" => {
            (0x02, "", "a packet that ends with it says that the connection is lost (section 10.3)")
        }
        "max_udp_payload_size" => {
            (0x03, " bytes", "larger datagrams are not taken; 0, as quiche logs it: not sent, no limit")
        }
        "initial_max_data" => {
            (0x04, " bytes", "may be sent on all streams together, until MAX_DATA allows more (section 4.1)")
        }
        "initial_max_stream_data_bidi_local" => (0x05, " bytes", "on each bidirectional stream that this side opens"),
        "initial_max_stream_data_bidi_remote" => {
            (0x06, " bytes", "on each bidirectional stream that the other side opens")
        }
        "initial_max_stream_data_uni" => (0x07, " bytes", "on each unidirectional stream"),
        "initial_max_streams_bidi" => {
            (0x08, "", "bidirectional streams that the other side may open: requests, to a server")
        }
        "initial_max_streams_uni" => {
            (0x09, "", "unidirectional streams that the other side may open; HTTP/3 needs three")
        }
        "ack_delay_exponent" => {
            (0x0a, "", "delays in ACK frames are in units of 2 to the power of this, in microseconds")
        }
        "max_ack_delay" => (0x0b, " ms", "longest wait before an acknowledgement (section 13.2.1)"),
        "disable_active_migration" => (0x0c, "", "whether the peer is to stay at its address (section 9)"),
        "preferred_address" => (0x0d, "", "an address of the server to move to after the handshake (section 9.6)"),
        "active_connection_id_limit" => (0x0e, "", "connection ids of the peer that are kept (section 5.1.1)"),
        "initial_source_connection_id" => (0x0f, "", "the id in this side's first packet, confirmed (section 7.3)"),
        "retry_source_connection_id" => (0x10, "", "the id in the Retry packet, confirmed (section 7.3)"),
        "max_datagram_frame_size" => (0x20, " bytes", "DATAGRAM frames are taken up to this size (RFC 9221)"),
        "grease_quic_bit" => (0x2ab2, "", "whether the fixed bit of packets may vary (RFC 9287)"),
        _ => return None,
    };
    Some(Parameter { id, unit, meaning })
}

/// RFC 9114, section 6.2; RFC 9204, section 4.2.
pub(super) fn stream_type(ty: &str) -> &'static str {
    match ty {
        "control" => "Each side opens one control stream, for SETTINGS first (RFC 9114, section 6.2.1).",
        "qpack_encode" | "qpack_encoder" => {
            "It fills the table that QPACK compresses fields with (RFC 9204, section 4.2)."
        }
        "qpack_decode" | "qpack_decoder" => {
            "It acknowledges what the other side's QPACK encoder does (RFC 9204, section 4.2)."
        }
        "request" => "It carries one request and its response (RFC 9114, section 4.1).",
        "push" => "A response that was not asked for (RFC 9114, section 4.6).",
        _ => "Streams of unknown types are ignored (RFC 9114, section 6.2.3).",
    }
}

/// The name and the meaning of a setting. Logs have numbers for those that their writers do not know.
pub(super) fn setting(name: &str) -> (String, &'static str) {
    let known = match name {
        "MAX_FIELD_SECTION_SIZE" | "SETTINGS_MAX_FIELD_SECTION_SIZE" => {
            ": bytes of fields taken in one message (RFC 9114, section 7.2.4.1)"
        }
        "QPACK_MAX_TABLE_CAPACITY" | "SETTINGS_QPACK_MAX_TABLE_CAPACITY" => {
            ": bytes of QPACK's dynamic table; 0: none (RFC 9204, section 5)"
        }
        "QPACK_BLOCKED_STREAMS" | "SETTINGS_QPACK_BLOCKED_STREAMS" => {
            ": streams that may wait for entries of that table (RFC 9204, section 5)"
        }
        "SETTINGS_ENABLE_CONNECT_PROTOCOL" | "ENABLE_CONNECT_PROTOCOL" => {
            ": 1: extended CONNECT, such as for WebTransport (RFC 9220)"
        }
        "H3_DATAGRAM" | "SETTINGS_H3_DATAGRAM" => ": 1: HTTP datagrams in DATAGRAM frames (RFC 9297)",
        _ => "",
    };
    match (known, name.parse::<u64>()) {
        (_, Ok(0x2b60_3742)) => {
            ("0x2b603742 (SETTINGS_ENABLE_WEBTRANSPORT)".to_owned(), ": WebTransport, as browsers speak it")
        }
        (_, Ok(0xc671_706a)) => {
            ("0xc671706a (SETTINGS_WEBTRANSPORT_MAX_SESSIONS)".to_owned(), ": WebTransport sessions at a time")
        }
        (_, Ok(number)) if number >= 0x21 && (number - 0x21).is_multiple_of(0x1f) => (
            format!("0x{number:x}"),
            ": reserved, so that peers keep ignoring unknown settings (RFC 9114, section 7.2.4.1)",
        ),
        (_, Ok(number)) => (format!("0x{number:x}"), ""),
        (known, Err(_)) => (name.to_owned(), known),
    }
}
