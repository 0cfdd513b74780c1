//! The destination of a datagram.

use crate::transport::table::ConnId;

#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) conn: ConnId,
    /// It is addressed to a connection id that this side chose, not one that a client made up.
    pub(super) to_our_id: bool,
}

impl Route {
    pub(super) fn to_our_id(conn: ConnId) -> Self {
        Route { conn, to_our_id: true }
    }
}
