//! Slots of the connections that are kept open.

use mio_quiche::{ConnId, StreamId};

/// A slot for one connection.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) conn: Option<ConnId>,
    /// Requests can be sent, or the session is open.
    pub(super) ready: bool,
    pub(super) session: Option<StreamId>,
    pub(super) active: usize,
    /// No credit for a further request now.
    pub(super) blocked: bool,
    /// The server accepts no more requests on the connection.
    pub(super) going: bool,
    pub(super) failures: u32,
    pub(super) listed: bool,
}
