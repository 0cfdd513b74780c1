//! Failures, as one line and as curl's exit code.

use std::io;

use mio_quiche::endpoint::ClosedBy;
use mio_quiche::{ClientError, Error, ErrorCode, StreamError, Violation};

pub(super) const SCHEME: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const URL: u8 = 3;
pub(super) const PROXY: u8 = 5;
pub(super) const RESOLVE: u8 = 6;
pub(super) const CONNECT: u8 = 7;
const PARTIAL: u8 = 18;
pub(super) const STATUS: u8 = 22;
pub(super) const WRITE: u8 = 23;
pub(super) const READ: u8 = 26;
pub(super) const TIMEOUT: u8 = 28;
pub(super) const RANGE: u8 = 33;
const HANDSHAKE: u8 = 35;
pub(super) const REDIRECTS: u8 = 47;
const SEND: u8 = 55;
const RECV: u8 = 56;
pub(super) const CLIENT_CERTIFICATE: u8 = 58;
const CERTIFICATE: u8 = 60;
pub(super) const ENCODING: u8 = 61;
pub(super) const TOO_LARGE: u8 = 63;
pub(super) const REWIND: u8 = 65;
pub(super) const CA_FILE: u8 = 77;
const STREAM: u8 = 92;
const HTTP3: u8 = 95;
pub(super) const INTERRUPTED: u8 = 130;

pub(in crate::cli) const EXIT_CODES: &str = "\
Exit codes, as curl's; with several URLs, that of the last failure:
   0  done                                47  more than 50 redirects
   1  not an https URL                    55  sending failed
   2  wrong arguments or settings         56  receiving failed: the connection ended
   3  malformed URL                       58  the client's certificate or key cannot be used
   5  a proxy, which HTTP/3 has no use of 60  the certificate was rejected
   6  the host has no address             63  the body is larger than --max-filesize
   7  connection refused                  65  a redirect needs the body again, which cannot be repeated
  18  the response ended too early        77  a CA file or directory cannot be used
  22  status 400 or above, with -f        92  the server reset the stream
  23  writing failed                      95  the server broke the rules of HTTP/3, or the request is invalid
  26  reading what to send failed        130  interrupted
  28  -m or --connect-timeout passed
  33  the server cannot resume (-C)      61  the body cannot be decoded (--compressed)
  35  the handshake failed";

/// Why a transfer failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Problem { code, message: message.into() }
    }

    pub(super) fn of(error: &ClientError, url: &str) -> Self {
        let code = code(error);
        let message = match error {
            ClientError::Url { .. } | ClientError::Resolve { .. } | ClientError::ConnectTimeout { .. } => {
                error.to_string()
            }
            ClientError::Handshake { .. } => error.to_string(),
            ClientError::Timeout(_) => format!("{url}: not done within the time limit (-m)"),
            _ => format!("{url}: {error}"),
        };
        Problem { code, message: format!("{message}{}", hint(error)) }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Problem::new(RECV, error.to_string())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let code = if matches!(error, Error::Config(_)) { USAGE } else { SEND };
        Problem::new(code, error.to_string())
    }
}

fn code(error: &ClientError) -> u8 {
    match error {
        ClientError::Url { url, .. } => match url::Url::parse(url) {
            Ok(url) if url.scheme() != "https" => SCHEME,
            _ => URL,
        },
        _ if error.is_timeout() => TIMEOUT,
        ClientError::Resolve { .. } => RESOLVE,
        ClientError::Handshake { .. } if error.is_refusal() => CONNECT,
        ClientError::Handshake { .. } if error.is_certificate() => CERTIFICATE,
        ClientError::Handshake { .. } => HANDSHAKE,
        // A close by the peer is not a violation of the peer.
        ClientError::Closed(cause) if cause.application && cause.by == ClosedBy::Us => HTTP3,
        ClientError::Closed(_) => RECV,
        ClientError::Request(_) => HTTP3,
        ClientError::Stream(StreamError::Malformed(Violation::ContentLengthMismatch { declared, received }))
            if received < declared =>
        {
            PARTIAL
        }
        ClientError::Stream(StreamError::Reset(_) | StreamError::Stopped(_)) => STREAM,
        ClientError::Stream(StreamError::Closed) => RECV,
        ClientError::Stream(_) => HTTP3,
        _ => RECV,
    }
}

/// A hint, if there is one.
fn hint(error: &ClientError) -> &'static str {
    match error {
        ClientError::Resolve { .. } if error.is_timeout() => " (--connect-timeout gives more time)",
        ClientError::Resolve { .. } => " (is the name right?)",
        ClientError::ConnectTimeout { .. } => {
            " (only HTTP/3 is spoken here, on UDP: does the host offer it, \
            and is UDP let through? curl speaks the others; --connect-timeout gives more time)"
        }
        ClientError::Handshake { cause, .. } if error.is_refusal() && cause.by == ClosedBy::Us => {
            " (only HTTP/3 is spoken here, on UDP: does the host offer it, and is the port right? curl speaks the others)"
        }
        // quiche closes the connection when a head exceeds SETTINGS_MAX_FIELD_SECTION_SIZE.
        ClientError::Closed(cause) if cause.by == ClosedBy::Us && cause.code == ErrorCode::H3_EXCESSIVE_LOAD => {
            " (is a head of the response larger than 600 KiB?)"
        }
        ClientError::Handshake { .. } if error.is_certificate() => " (use --cacert FILE, --cert-hash HASH or -k)",
        _ => "",
    }
}
