//! Error codes of HTTP/3, QPACK and WebTransport.

use std::fmt;

/// An HTTP/3 or QPACK error code as sent on the wire (RFC 9114 section 8.1, RFC 9204 section 6).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u64);

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: ErrorCode = ErrorCode($value);)*

            /// The registered name, such as `H3_MESSAGE_ERROR`, if there is one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// No error: the connection or stream is simply no longer needed.
    H3_NO_ERROR = 0x100;
    /// A violation that no other code describes.
    H3_GENERAL_PROTOCOL_ERROR = 0x101;
    /// An internal error in the HTTP stack.
    H3_INTERNAL_ERROR = 0x102;
    /// A stream that will not be accepted was created.
    H3_STREAM_CREATION_ERROR = 0x103;
    /// A required stream was closed or reset.
    H3_CLOSED_CRITICAL_STREAM = 0x104;
    /// A frame was received where it is not permitted.
    H3_FRAME_UNEXPECTED = 0x105;
    /// A frame has a wrong layout or size.
    H3_FRAME_ERROR = 0x106;
    /// The peer generates excessive load.
    H3_EXCESSIVE_LOAD = 0x107;
    /// A stream id or push id was used incorrectly.
    H3_ID_ERROR = 0x108;
    /// The payload of a SETTINGS frame is wrong.
    H3_SETTINGS_ERROR = 0x109;
    /// The control stream did not begin with SETTINGS.
    H3_MISSING_SETTINGS = 0x10a;
    /// The server rejected the request without any application processing: it may be retried.
    H3_REQUEST_REJECTED = 0x10b;
    /// The request or its response is cancelled.
    H3_REQUEST_CANCELLED = 0x10c;
    /// The client's stream ended without a fully formed request.
    H3_REQUEST_INCOMPLETE = 0x10d;
    /// An HTTP message was malformed (RFC 9114 section 4.1.2).
    H3_MESSAGE_ERROR = 0x10e;
    /// The connection established for a CONNECT request was reset.
    H3_CONNECT_ERROR = 0x10f;
    /// The operation cannot be served over HTTP/3.
    H3_VERSION_FALLBACK = 0x110;
    /// QPACK: a field section could not be decompressed.
    QPACK_DECOMPRESSION_FAILED = 0x200;
    /// An HTTP datagram is malformed (RFC 9297 section 5.2).
    H3_DATAGRAM_ERROR = 0x33;
    /// WebTransport: too many streams arrived before their session.
    WT_BUFFERED_STREAM_REJECTED = 0x3994_bd84;
    /// WebTransport: the stream's session has ended.
    WT_SESSION_GONE = 0x170d_7b68;
    /// WebTransport: the session's flow control was violated.
    WT_FLOW_CONTROL_ERROR = 0x045d_4487;
    /// WebTransport: no subprotocol in common.
    WT_ALPN_ERROR = 0x0817_b3dd;
    /// WebTransport: the peer lacks a setting or a transport parameter that sessions need.
    WT_REQUIREMENTS_NOT_MET = 0x212c_0d48;
}

impl ErrorCode {
    const FIRST_WEBTRANSPORT: u64 = 0x52e4_a40f_a8db;
    const LAST_WEBTRANSPORT: u64 = 0x52e5_ac98_3162;

    /// The code that carries an application's error code on a stream of a WebTransport session. Codes of the form `0x1f
    /// * N + 0x21` are skipped, as HTTP/3 reserves them (RFC 9114 section 8.1).
    pub const fn webtransport(code: u32) -> Self {
        ErrorCode(Self::FIRST_WEBTRANSPORT + code as u64 + code as u64 / 0x1e)
    }

    /// The application's error code that a stream of a WebTransport session was ended with, if this is one.
    pub const fn to_webtransport(self) -> Option<u32> {
        let code = self.0;
        if code < Self::FIRST_WEBTRANSPORT || code > Self::LAST_WEBTRANSPORT || (code - 0x21).is_multiple_of(0x1f) {
            return None;
        }
        let shifted = code - Self::FIRST_WEBTRANSPORT;
        Some((shifted - shifted / 0x1f) as u32)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.to_webtransport()) {
            (Some(name), _) => f.write_str(name),
            (_, Some(code)) => write!(f, "application code {code}"),
            _ => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of an error code of QUIC (RFC 9000 section 20.1).
pub(crate) fn transport_error(code: u64) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "NO_ERROR",
        "INTERNAL_ERROR",
        "CONNECTION_REFUSED",
        "FLOW_CONTROL_ERROR",
        "STREAM_LIMIT_ERROR",
        "STREAM_STATE_ERROR",
        "FINAL_SIZE_ERROR",
        "FRAME_ENCODING_ERROR",
        "TRANSPORT_PARAMETER_ERROR",
        "CONNECTION_ID_LIMIT_ERROR",
        "PROTOCOL_VIOLATION",
        "INVALID_TOKEN",
        "APPLICATION_ERROR",
        "CRYPTO_BUFFER_EXCEEDED",
        "KEY_UPDATE_ERROR",
        "AEAD_LIMIT_REACHED",
        "NO_VIABLE_PATH",
    ];
    NAMES.get(usize::try_from(code).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_codes_map_to_unreserved_http_codes_and_back() {
        assert_eq!(ErrorCode::webtransport(0), ErrorCode(0x52e4_a40f_a8db));
        assert_eq!(ErrorCode::webtransport(139), ErrorCode(0x52e4_a40f_a96a));
        assert_eq!(ErrorCode::webtransport(u32::MAX), ErrorCode(0x52e5_ac98_3162));
        for code in (0..5000).chain([u32::MAX - 1, u32::MAX]) {
            let http = ErrorCode::webtransport(code);
            assert_ne!((http.0 - 0x21) % 0x1f, 0, "{code} maps to a reserved code");
            assert_eq!(http.to_webtransport(), Some(code));
        }
        let first = ErrorCode::webtransport(0).0;
        let reserved: Vec<u64> = (first..first + 1000).filter(|c| ErrorCode(*c).to_webtransport().is_none()).collect();
        assert!(reserved.iter().all(|code| (code - 0x21) % 0x1f == 0));
        assert_eq!(reserved.len(), 1000 / 0x1f);
        assert_eq!(ErrorCode(first - 1).to_webtransport(), None);
        assert_eq!(ErrorCode(0x52e5_ac98_3163).to_webtransport(), None);
        assert_eq!(ErrorCode::H3_NO_ERROR.to_webtransport(), None);
        assert_eq!(ErrorCode::webtransport(7).to_string(), "application code 7");
    }
}
