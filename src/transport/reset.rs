//! Stateless resets (RFC 9000 section 10.3).
//!
//! quiche recognises the token of the transport parameters for ever, also when the id that it belongs to was retired,
//! and no token of a NEW_CONNECTION_ID frame. So a datagram that may be a reset is checked here before quiche sees it.
//! The tokens of other ids stay unknown: a client that has moved to one of them does not recognise its reset.
//!
//! A server's transport parameters have 128 bytes in quiche, and a connection that needs more ends. So the first id has
//! no token if the settings are so large that it might not fit.

use std::net::{Ipv4Addr, SocketAddr};

use ring::rand::{SecureRandom, SystemRandom};

use super::Transport;
use super::buf::Buffers;
use super::cid::{CID_LEN, Cid, RETRY_CID_LEN};

const TOKEN_LEN: usize = 16;
/// The smallest reset: 5 bytes that look like a short header and a packet's beginning, and the token.
const MIN_RESET: usize = 21;
/// A reset looks like a packet for a client whose connection ids have up to 20 bytes.
const MAX_RESET: usize = 43;
/// The smallest packet that a client can send to a connection id of this server: a short header, four bytes of packet
/// number and payload, and the tag.
const MIN_TRIGGER: usize = 1 + CID_LEN + 4 + 16;

const _: () = assert!(MIN_TRIGGER > MIN_RESET);

/// The reset that answers a packet of `trigger` bytes: smaller than that, so that two servers that answer each other
/// come to an end. `None` for a packet that is too small to come from a connection, or if the system provides no random
/// numbers.
pub(crate) fn stateless_reset(trigger: usize, token: u128) -> Option<Vec<u8>> {
    if trigger < MIN_TRIGGER {
        return None;
    }
    let mut packet = vec![0; (trigger - 1).min(MAX_RESET)];
    let (random, tail) = packet.split_last_chunk_mut::<TOKEN_LEN>()?;
    SystemRandom::new().fill(random).ok()?;
    const SHORT_HEADER: u8 = 0x40;
    random[0] = random[0] & 0x3f | SHORT_HEADER;
    *tail = token.to_be_bytes();
    Some(packet)
}

/// Whether the transport parameters of new connections have room for a reset token.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenRoom {
    with_retry: bool,
    without: bool,
}

impl TokenRoom {
    /// Tries settings out on the longest ids that a client may choose.
    pub(crate) fn in_settings(config: &mut quiche::Config) -> Self {
        const LONGEST: [u8; 20] = [0; 20];
        config.set_stateless_reset_token(Some(0));
        let mut has_room = |retry_cid: &[u8]| {
            let ids = quiche::RetryConnectionIds {
                original_destination_cid: &quiche::ConnectionId::from_ref(&LONGEST),
                retry_source_cid: &quiche::ConnectionId::from_ref(retry_cid),
            };
            let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let scid = Cid([0; CID_LEN]).to_quiche();
            quiche::accept_with_retry::<Buffers>(&scid, ids, nowhere, nowhere, config).is_ok()
        };
        TokenRoom { with_retry: has_room(&[0; RETRY_CID_LEN]), without: has_room(&[]) }
    }

    /// For a connection with a Retry token, or one without.
    pub(crate) fn fits(self, with_retry: bool) -> bool {
        if with_retry { self.with_retry } else { self.without }
    }
}

impl Transport {
    /// Whether a datagram resets this connection. A token counts only while the id that it belongs to is in use (RFC
    /// 9000 section 10.3.1), and a resumed session's is not the one of this connection (section 7.4.1).
    pub(crate) fn is_stateless_reset(&self, datagram: &[u8]) -> bool {
        let Some(params) = self.quic.peer_transport_params().filter(|_| self.quic.is_established()) else {
            return false;
        };
        let Some(token) = params.stateless_reset_token.filter(|_| datagram.len() >= MIN_RESET) else { return false };
        let Some(tail) = datagram.last_chunk::<TOKEN_LEN>() else { return false };
        // In constant time: how many bytes match must not show.
        u128::from_be_bytes(*tail) ^ token == 0
            && params.initial_source_connection_id.as_ref() == Some(&self.quic.destination_id())
    }

    /// Ends the connection by a stateless reset.
    pub(crate) fn on_stateless_reset(&mut self, datagram: &mut [u8], from: SocketAddr, to: SocketAddr) {
        self.was_reset = true;
        // quiche's part ends, too.
        self.recv(datagram, from, to, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_smaller_than_its_trigger_and_looks_like_a_short_header() {
        assert_eq!(stateless_reset(36, 7), None);
        for (trigger, len) in [(37, 36), (43, 42), (44, 43), (45, 43), (1350, 43)] {
            let reset = stateless_reset(trigger, 7).unwrap();
            assert_eq!((reset.len(), reset[0] & 0xc0), (len, 0x40), "for {trigger}");
            assert!(reset.ends_with(&7_u128.to_be_bytes()));
        }
        assert_ne!(stateless_reset(1350, 7), stateless_reset(1350, 7));
    }
}
