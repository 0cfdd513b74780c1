//! No GREASE frames on the streams of sessions.
//!
//! quiche::h3 sends reserved frames before the first head of a connection, whichever that is, and some clients wait for
//! ever for the response to a CONNECT that follows them. It skips sending them if a stream has no room, and
//! never tries again. A peer's stream without a sending side never has any; a head that cannot be encoded then
//! ends the call before anything else happens.

use std::cell::Cell;

use quiche::h3;

use super::buf::Quic;

/// The peer's first unidirectional streams, one of which is its control stream.
const PEER_STREAMS: u64 = 8;

/// Keeps quiche::h3 from sending GREASE frames on a server's connection. Call it once the peer's SETTINGS, and
/// with them its control stream, have arrived.
pub(super) fn skip_frames(quic: &mut Quic, h3: &mut h3::Connection) {
    for n in 0..PEER_STREAMS {
        let stream = 2 + 4 * n;
        match h3.send_response(quic, stream, &[Growing::default()], false) {
            // quiche::h3 does not know the stream.
            Err(h3::Error::FrameUnexpected) => {}
            _ => return,
        }
    }
}

/// A field that is longer than its declared length, so that it does not fit into the buffer made for it.
#[derive(Default)]
struct Growing(Cell<bool>);

impl h3::NameValue for Growing {
    fn name(&self) -> &[u8] {
        b"x"
    }

    fn value(&self) -> &[u8] {
        const LONG: &[u8] = &[0; 256];
        if self.0.replace(true) { LONG } else { b"" }
    }
}
