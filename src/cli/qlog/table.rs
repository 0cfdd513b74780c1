//! A line for each connection, and the total.

use std::path::Path;

use mio_quiche::observe::qlog::{Close, Count, Summary};

/// Longest name shown, in characters.
const MAX_NAME: usize = 60;

/// What has been shown so far.
pub(super) struct Table {
    width: usize,
    connections: u64,
    sent: Count,
    received: Count,
    lost: u64,
    requests: u64,
}

impl Table {
    /// For names of up to `width` characters.
    pub(super) fn new(width: usize) -> Self {
        let width = width.clamp("file".len(), MAX_NAME);
        let (sent, received) = (Count::default(), Count::default());
        Table { width, connections: 0, sent, received, lost: 0, requests: 0 }
    }

    pub(super) fn head(&self) -> String {
        let cells = ["side", "seconds", "sent", "bytes", "received", "bytes", "lost", "RTT ms", "requests", "closed"];
        self.line("file", cells.map(str::to_owned))
    }

    pub(super) fn row(&mut self, path: &Path, summary: &Summary) -> String {
        let sum = |counts: &std::collections::BTreeMap<String, Count>| {
            counts.values().fold((0, 0), |(n, bytes), c| (n + c.count, c.bytes.saturating_add(bytes)))
        };
        let (sent, received) = (sum(&summary.packets.sent), sum(&summary.packets.received));
        let lost = summary.packets.lost.count;
        self.connections += 1;
        for (total, (count, bytes)) in [(&mut self.sent, sent), (&mut self.received, received)] {
            total.count += count;
            total.bytes = total.bytes.saturating_add(bytes);
        }
        self.lost = self.lost.saturating_add(lost);
        self.requests += summary.requests_total;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let cells = [
            printable(&summary.vantage_point),
            format!("{:.3}", summary.duration_ms / 1000.0),
            sent.0.to_string(),
            sent.1.to_string(),
            received.0.to_string(),
            received.1.to_string(),
            lost.to_string(),
            summary.rtt.map_or_else(|| "-".to_owned(), |rtt| format!("{:.1}", rtt.smoothed_ms)),
            summary.requests_total.to_string(),
            summary.close.as_ref().map_or_else(|| "-".to_owned(), closed),
        ];
        self.line(&printable(&name), cells)
    }

    pub(super) fn total(&self) -> String {
        let [empty, dash] = [String::new(), "-".to_owned()];
        let cells = [
            empty.clone(),
            empty.clone(),
            self.sent.count.to_string(),
            self.sent.bytes.to_string(),
            self.received.count.to_string(),
            self.received.bytes.to_string(),
            self.lost.to_string(),
            dash,
            self.requests.to_string(),
            empty,
        ];
        let plural = if self.connections == 1 { "" } else { "s" };
        self.line(&format!("{} connection{plural}", self.connections), cells)
    }

    fn line(&self, name: &str, cells: [String; 10]) -> String {
        let [side, seconds, sent, sent_bytes, received, received_bytes, lost, rtt, requests, closed] = cells;
        let line = format!(
            "{name:<width$} {side:<7} {seconds:>9} {sent:>8} {sent_bytes:>12} {received:>8} {received_bytes:>12} {lost:>6} \
             {rtt:>8} {requests:>8}  {closed}",
            width = self.width
        );
        format!("{}\n", line.trim_end())
    }
}

fn closed(close: &Close) -> String {
    let by = close.initiator.as_deref().unwrap_or("?");
    match (close.code, &close.trigger) {
        (Some(code), _) => printable(&format!("{by} 0x{code:x}")),
        (None, Some(trigger)) => printable(&format!("{by} {trigger}")),
        (None, None) => printable(by),
    }
}

/// Fit for a terminal, and not too long.
fn printable(text: &str) -> String {
    text.chars().take(MAX_NAME).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
