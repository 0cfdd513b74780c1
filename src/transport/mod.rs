//! QUIC on quiche: the only module that calls `quiche::Connection` and `quiche::h3::Connection`.
//!
//! It offers streams, datagrams, paths and HTTP/3 messages without quiche's quirks; each has a workaround in one file,
//! which explains it, and a test in `tests/quiche_behaviour`. Besides quiche, it has connection ids, Retry tokens, the
//! connection table and timers.

mod amplification;
pub(crate) mod buf;
pub(crate) mod cid;
mod close;
mod connection;
mod decrypted;
mod defer;
mod early;
mod gone;
mod grease;
mod http3;
pub(crate) mod initial;
mod last_close;
mod left;
mod load;
mod local_ids;
mod migration;
pub(crate) mod packet;
mod path_state;
mod paths;
mod peek;
mod reset;
mod signals;
mod silence;
mod stall;
pub(crate) mod steering;
mod stop_credit;
mod stream_io;
pub(crate) mod table;
pub(crate) mod timers;
pub(crate) mod token;
mod unseen_fin;
mod unsent_close;
mod untold;
mod write_limit;

use std::time::Duration;

pub(crate) use buf::Unacked;
pub use close::{CloseCause, ClosedBy};
pub(crate) use connection::{Packet, Transport};
pub(crate) use decrypted::{Opening, Openings};
pub(crate) use http3::{RequestRefused, Section, URGENCY_OFFSET};
pub(crate) use peek::PEEK;
#[cfg(all(test, feature = "webtransport"))]
pub(crate) use peek::count as peek_count;
pub(crate) use quiche::h3::{Event as Http3Event, Header, HeaderRef, NameValue};
pub(crate) use reset::{TokenRoom, stateless_reset};
pub(crate) use stream_io::{PeekFailed, ReadError, WriteError};

/// RFC 9002 section 6.2.1, with the usual maximum ACK delay.
fn probe_timeout(rtt: Duration, variation: Duration) -> Duration {
    const GRANULARITY: Duration = Duration::from_millis(1);
    const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
    rtt + (4 * variation).max(GRANULARITY) + MAX_ACK_DELAY
}
