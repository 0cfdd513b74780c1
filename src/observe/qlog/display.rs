//! The summary as a page of text.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use super::collect::sum;
use super::{Close, Count, Listed, Skipped, Summary};
use crate::error::transport_error;

/// Longest foreign text shown, in characters.
const MAX_TEXT: usize = 100;

/// Several aligned lines, each with a newline at its end.
impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        line(f, "file", &self.file)?;
        line(
            f,
            "title",
            format_args!("{} ({})", text(self.title.as_deref().unwrap_or("-")), text(&self.vantage_point)),
        )?;
        if let Some(started) = &self.started {
            line(f, "started", text(started))?;
        }
        let cut = if self.truncated { ", the last record is cut off" } else { "" };
        let skipped = match &self.first_skipped {
            Some(Skipped { line: 0, reason }) => format!(": {}", text(reason)),
            Some(Skipped { line, reason }) => format!(": line {line}: {}", text(reason)),
            None => String::new(),
        };
        line(
            f,
            "duration",
            format_args!("{} ({} events, {} skipped{skipped}{cut})", ms(self.duration_ms), self.events, self.skipped),
        )?;
        self.fmt_handshake(f)?;
        self.fmt_cids(f)?;
        self.fmt_packets(f)?;
        self.fmt_recovery(f)?;
        self.fmt_streams(f)?;
        self.fmt_requests(f)?;
        match &self.close {
            Some(close) => fmt_close(f, close),
            None => line(f, "closed", "not in this log"),
        }
    }
}

impl Summary {
    fn fmt_handshake(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let h = &self.handshake;
        match h.established_ms {
            Some(at) => line(f, "handshake", format_args!("established after {}", ms(at)))?,
            None => line(f, "handshake", "not established")?,
        }
        if let Some(at) = h.confirmed_ms {
            line(f, "", format_args!("confirmed after {}", ms(at)))?;
        }
        let known = |value: &Option<String>| value.as_deref().map_or_else(|| "?".to_owned(), text);
        line(f, "", format_args!("version {}, ALPN {}, cipher {}", known(&h.version), known(&h.alpn), known(&h.cipher)))
    }

    fn fmt_cids(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut label = "CIDs";
        if let Some(original) = &self.cids.original {
            line(f, label, format_args!("original {}", text(original)))?;
            label = "";
        }
        for (side, cids) in [("local", &self.cids.local), ("remote", &self.cids.remote)] {
            if cids.total > 0 {
                let names: Vec<_> = cids.first.iter().map(|c| text(c)).collect();
                line(f, label, format_args!("{side:8} {}{}", names.join(" "), more(cids)))?;
                label = "";
            }
        }
        Ok(())
    }

    fn fmt_packets(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (label, counts) in [("sent", &self.packets.sent), ("received", &self.packets.received)] {
            let Count { count, bytes } = sum(counts);
            line(f, label, format_args!("{count:>9} packets {bytes:>14} bytes{}", by_type(counts)))?;
        }
        let Count { count, bytes } = self.packets.lost;
        // quiche's metrics count the bytes with some congestion controllers only.
        match bytes {
            0 => line(f, "lost", format_args!("{count:>9} packets"))?,
            _ => line(f, "lost", format_args!("{count:>9} packets {bytes:>14} bytes"))?,
        }
        if self.packets.dropped > 0 {
            line(f, "dropped", format_args!("{:>9} packets", self.packets.dropped))?;
        }
        Ok(())
    }

    fn fmt_recovery(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.rtt {
            Some(r) => line(
                f,
                "RTT",
                format_args!(
                    "min {:.3}, smoothed {:.3}, latest {:.3}, max {:.3} ms",
                    r.min_ms, r.smoothed_ms, r.latest_ms, r.max_ms
                ),
            )?,
            None => line(f, "RTT", "not measured")?,
        }
        let c = &self.congestion;
        if let (Some(last), Some(max)) = (c.window, c.max_window) {
            line(
                f,
                "cwnd",
                format_args!("last {last}, max {max} bytes; in flight max {}", c.max_in_flight.unwrap_or(0)),
            )?;
        }
        if c.max_pto_count > 0 {
            line(f, "PTO", format_args!("{} in a row at most", c.max_pto_count))?;
        }
        if c.states.total > 0 {
            let states: Vec<_> = c.states.first.iter().map(|(at, s)| format!("{} ({})", text(s), ms(*at))).collect();
            line(f, "congestion", format_args!("{}{}", states.join(" -> "), more(&c.states)))?;
        }
        Ok(())
    }

    fn fmt_streams(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut label = "streams";
        for (kind, s) in &self.streams {
            line(
                f,
                label,
                format_args!("{:>9} {kind:11} {:>14} bytes in {:>14} out", s.count, s.bytes_in, s.bytes_out),
            )?;
            label = "";
        }
        let (sent, received) = (self.datagrams_sent, self.datagrams_received);
        if sent.count + received.count > 0 {
            line(
                f,
                "datagrams",
                format_args!(
                    "{} in ({} bytes), {} out ({} bytes)",
                    received.count, received.bytes, sent.count, sent.bytes
                ),
            )?;
        }
        Ok(())
    }

    fn fmt_requests(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.requests_total == 0 {
            return Ok(());
        }
        line(
            f,
            "HTTP/3",
            format_args!("{} requests, {} WebTransport sessions", self.requests_total, self.webtransport_sessions),
        )?;
        for r in &self.requests {
            let status = r.status.as_deref().map_or_else(|| "-".to_owned(), text);
            let protocol = r.protocol.as_deref().map(|p| format!(" ({})", text(p))).unwrap_or_default();
            line(f, "", format_args!("{:>9} {status:>3} {} {}{protocol}", r.stream, text(&r.method), text(&r.path)))?;
        }
        match self.requests_total.saturating_sub(self.requests.len() as u64) {
            0 => Ok(()),
            rest => line(f, "", format_args!("... and {rest} more")),
        }
    }
}

fn fmt_close(f: &mut Formatter<'_>, close: &Close) -> fmt::Result {
    write!(f, "{:<12}after {}", "closed", ms(close.at_ms))?;
    if let Some(initiator) = &close.initiator {
        write!(f, ", {}", text(initiator))?;
    }
    if let Some(code) = close.code {
        write!(f, ", {} error 0x{code:x}", text(close.space.as_deref().unwrap_or("unknown")))?;
        if let Some(name) = code_name(close.space.as_deref(), code) {
            write!(f, " ({name})")?;
        }
    }
    if let Some(reason) = close.reason.as_deref().filter(|r| !r.is_empty()) {
        write!(f, ", \"{}\"", text(reason))?;
    }
    if let Some(trigger) = &close.trigger {
        write!(f, ", trigger {}", text(trigger))?;
    }
    writeln!(f)
}

/// Names of RFC 9000, section 20.1, and RFC 9114, section 8.1.
fn code_name(space: Option<&str>, code: u64) -> Option<&'static str> {
    const HTTP3: [&str; 17] = [
        "H3_NO_ERROR",
        "H3_GENERAL_PROTOCOL_ERROR",
        "H3_INTERNAL_ERROR",
        "H3_STREAM_CREATION_ERROR",
        "H3_CLOSED_CRITICAL_STREAM",
        "H3_FRAME_UNEXPECTED",
        "H3_FRAME_ERROR",
        "H3_EXCESSIVE_LOAD",
        "H3_ID_ERROR",
        "H3_SETTINGS_ERROR",
        "H3_MISSING_SETTINGS",
        "H3_REQUEST_REJECTED",
        "H3_REQUEST_CANCELLED",
        "H3_REQUEST_INCOMPLETE",
        "H3_MESSAGE_ERROR",
        "H3_CONNECT_ERROR",
        "H3_VERSION_FALLBACK",
    ];
    match space? {
        "transport" if (0x100..0x200).contains(&code) => Some("CRYPTO_ERROR"),
        "transport" => transport_error(code),
        _ => HTTP3.get(usize::try_from(code.checked_sub(0x100)?).ok()?).copied(),
    }
}

fn line(f: &mut Formatter<'_>, label: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{label:<12}{value}")
}

fn by_type(counts: &BTreeMap<String, Count>) -> String {
    let types: Vec<_> = counts.iter().map(|(name, c)| format!("{name} {}", c.count)).collect();
    if types.is_empty() { String::new() } else { format!("  ({})", types.join(", ")) }
}

fn more<T>(listed: &Listed<T>) -> String {
    match listed.total.saturating_sub(listed.first.len() as u64) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    }
}

pub(super) fn ms(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.1} ms") } else { format!("{:.3} s", ms / 1000.0) }
}

/// Text from the file, fit for a terminal: the peer chose some of it.
pub(super) fn text(foreign: &str) -> String {
    let mut out: String = foreign
        .chars()
        .take(MAX_TEXT)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if foreign.chars().nth(MAX_TEXT).is_some() {
        out.push_str("...");
    }
    out
}
