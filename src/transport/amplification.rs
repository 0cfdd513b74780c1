//! The limit on what a server sends to an address that is not validated (RFC 9000 section 8.1). quiche does not count the
//! padding of Initial packets, so every byte is counted here.

/// Maximum bytes sent per byte received.
const FACTOR: usize = 3;

/// The limit for the client of a new connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Amplification {
    /// The client received data from us: it used a connection id, or a token, that only this server makes.
    Validated,
    /// Bytes that may still be sent.
    Limited(usize),
}

impl Amplification {
    pub(super) fn new(validated: bool) -> Self {
        if validated { Amplification::Validated } else { Amplification::Limited(0) }
    }

    /// A datagram arrived. `to_our_id`: it is addressed to a random local connection id (RFC 9000 section 8.1 accepts
    /// that as a validation).
    pub(super) fn on_received(&mut self, len: usize, to_our_id: bool) {
        match self {
            Amplification::Validated => {}
            Amplification::Limited(_) if to_our_id => *self = Amplification::Validated,
            Amplification::Limited(left) => *left = left.saturating_add(FACTOR * len),
        }
    }

    /// How many of `wanted` bytes the next datagram may have; `None` if fewer than the useful minimum `least`.
    pub(super) fn allowed(&self, wanted: usize, least: usize) -> Option<usize> {
        match *self {
            Amplification::Validated => Some(wanted),
            Amplification::Limited(left) => (left >= least).then(|| left.min(wanted)),
        }
    }

    pub(super) fn on_sent(&mut self, len: usize) {
        if let Amplification::Limited(left) = self {
            *left = left.saturating_sub(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::MIN_INITIAL_DATAGRAM;
    use super::*;

    #[test]
    fn at_most_three_bytes_leave_for_one_that_came_until_the_address_is_validated() {
        let mut limit = Amplification::new(false);
        assert_eq!(limit.allowed(1350, MIN_INITIAL_DATAGRAM), None);
        limit.on_received(1200, false);
        for _ in 0..3 {
            assert_eq!(limit.allowed(1200, MIN_INITIAL_DATAGRAM), Some(1200));
            limit.on_sent(1200);
        }
        assert_eq!(limit.allowed(1200, MIN_INITIAL_DATAGRAM), None);
        limit.on_received(40, false);
        assert_eq!(limit.allowed(1200, MIN_INITIAL_DATAGRAM), None, "120 bytes are not enough for an Initial packet");
        limit.on_received(40, true);
        assert_eq!(limit.allowed(1350, MIN_INITIAL_DATAGRAM), Some(1350));
        assert_eq!(Amplification::new(true).allowed(1350, MIN_INITIAL_DATAGRAM), Some(1350));
    }
}
