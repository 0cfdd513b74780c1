//! Writes while a probe is due. quiche then ignores the congestion window not only for the probe (RFC 9002 section 7.5)
//! but also for writes, and accepts all that the peer's windows allow: gigabytes, if the peer likes.

use super::buf::Quic;

/// After this many bytes between two transmissions, the congestion window is checked.
const UNCHECKED: u32 = 256 * 1024;

/// Data written and not sent yet, as far as it matters.
#[derive(Debug, Default)]
pub(super) struct WriteLimit {
    written: u32,
    /// A write was refused, of which quiche knows nothing: it does not report when the stream can be written again.
    refused: bool,
}

impl WriteLimit {
    /// Whether a write has to wait.
    pub(super) fn is_reached(&mut self, quic: &Quic) -> bool {
        if self.written < UNCHECKED {
            return false;
        }
        let window = quic.path_stats().find(|path| path.active).map_or(0, |path| path.cwnd);
        self.refused |= self.written as usize >= UNCHECKED as usize + window;
        self.refused
    }

    pub(super) fn on_written(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    pub(super) fn on_sent(&mut self, bytes: usize) {
        self.written = self.written.saturating_sub(bytes as u32);
    }

    /// quiche has nothing more to send for now.
    pub(super) fn on_idle(&mut self) {
        self.written = 0;
    }

    /// Whether streams whose write was refused can be written again.
    pub(super) fn take_refused(&mut self) -> bool {
        self.written < UNCHECKED && std::mem::take(&mut self.refused)
    }
}
