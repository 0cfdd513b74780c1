//! The peer's SETTINGS about WebTransport.

use crate::config::{self, SessionLimits};

/// The features that the peer offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerSupport {
    /// A setting of some draft says that the peer supports WebTransport.
    pub(crate) offered: bool,
    /// The initial limits of its sessions.
    pub(crate) limits: SessionLimits,
}

impl PeerSupport {
    pub(crate) fn of(settings: &[(u64, u64)]) -> Self {
        let value = |id| settings.iter().find(|(setting, _)| *setting == id).map_or(0, |(_, value)| *value);
        let offers = [
            config::SETTING_ENABLE_DRAFT02,
            config::SETTING_MAX_SESSIONS_DRAFT07,
            config::SETTING_MAX_SESSIONS_DRAFT13,
            config::SETTING_ENABLED_DRAFT15,
        ];
        PeerSupport {
            offered: offers.into_iter().any(|id| value(id) > 0),
            limits: SessionLimits {
                data: value(config::SETTING_INITIAL_MAX_DATA),
                bidi: value(config::SETTING_INITIAL_MAX_STREAMS_BIDI),
                uni: value(config::SETTING_INITIAL_MAX_STREAMS_UNI),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_draft_says_in_its_own_way_that_it_does_webtransport() {
        let none = SessionLimits { data: 0, bidi: 0, uni: 0 };
        assert_eq!(PeerSupport::of(&[(0x33, 1), (8, 1)]), PeerSupport { offered: false, limits: none });
        for setting in [(0x2b60_3742, 1), (0xc671_706a, 4), (0x14e9_cd29, 1), (0x2c7c_f000, 1)] {
            assert!(PeerSupport::of(&[(0x33, 1), setting]).offered, "{setting:x?}");
        }
        assert!(!PeerSupport::of(&[(0x2b60_3742, 0)]).offered);
        let limits = PeerSupport::of(&[(0x2b61, 10), (0x2b65, 3), (0x2b64, 2)]).limits;
        assert_eq!(limits, SessionLimits { data: 10, bidi: 3, uni: 2 });
    }
}
