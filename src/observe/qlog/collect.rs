//! Folds events into a summary.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::event::{Event, Frame, Metrics, Packet, PacketType, What, text};
use super::read::{Header, Trace};
use super::{Close, Count, Listed, MAX_LISTED, MAX_REQUESTS, Request, Rtt, Skipped, Streams, Summary};

/// Streams whose bytes are known.
const MAX_STREAMS: usize = 1 << 20;

#[derive(Default)]
struct StreamEnds {
    sent: u64,
    received: u64,
}

#[derive(Default)]
pub(super) struct Collector {
    summary: Summary,
    streams: HashMap<u64, StreamEnds>,
    /// From the metrics: quiche logs no packet_lost events.
    lost_by_metrics: Count,
    close_frame: Option<Close>,
    saw_http3: bool,
    /// Destination of the first Initial packet sent and received. Which one is the client's, the file may say at its end.
    first_destination: [Option<String>; 2],
}

impl Trace for Collector {
    fn skip(&mut self, line: u64, reason: String) {
        self.summary.skipped += 1;
        self.summary.first_skipped.get_or_insert(Skipped { line, reason });
    }

    fn event(&mut self, event: Event) {
        self.summary.events += 1;
        let at = event.at;
        self.summary.duration_ms = self.summary.duration_ms.max(at);
        let handshake = &mut self.summary.handshake;
        match event.what {
            What::Packet(packet) => self.packet(at, packet),
            What::Dropped => self.summary.packets.dropped += 1,
            What::Lost { .. } => self.summary.packets.lost.count += 1,
            What::Metrics(metrics) => self.metrics(&metrics),
            What::CongestionState(state) => list(&mut self.summary.congestion.states, (at, state)),
            What::Parameters { is_local: false, values } => {
                handshake.established_ms.get_or_insert(at);
                handshake.cipher = values.get("tls_cipher").and_then(text);
            }
            What::Alpn(alpn) => handshake.alpn = Some(alpn),
            What::Version(version) => handshake.version = Some(version),
            What::State(state) if state == "handshake_confirmed" => {
                handshake.confirmed_ms.get_or_insert(at);
            }
            What::Closed(close) => self.summary.close = Some(close),
            What::Http3 { stream, frame, .. } => self.http3_frame(stream, &frame),
            _ => {}
        }
    }
}

impl Collector {
    fn packet(&mut self, at: f64, packet: Packet) {
        let packets = &mut self.summary.packets;
        let counts = if packet.is_sent { &mut packets.sent } else { &mut packets.received };
        let count = counts.entry(packet.ty.name().to_owned()).or_default();
        count.count += 1;
        count.bytes = count.bytes.saturating_add(packet.len);
        if packet.version.is_some() {
            self.summary.handshake.version.clone_from(&packet.version);
        }
        let cids = &mut self.summary.cids;
        if packet.ty == PacketType::Initial {
            let first = &mut self.first_destination[usize::from(packet.is_sent)];
            *first = first.take().or(packet.dcid);
        }
        if let Some(scid) = &packet.scid {
            list_new(if packet.is_sent { &mut cids.local } else { &mut cids.remote }, scid);
        }
        for frame in packet.frames {
            self.frame(at, packet.is_sent, frame);
        }
    }

    fn frame(&mut self, at: f64, is_sent: bool, frame: Frame) {
        match frame {
            Frame::Stream { id, offset, len, .. } => self.stream(id, is_sent, offset.saturating_add(len)),
            Frame::Datagram(len) => {
                let summary = &mut self.summary;
                let count = if is_sent { &mut summary.datagrams_sent } else { &mut summary.datagrams_received };
                count.count += 1;
                count.bytes = count.bytes.saturating_add(len);
            }
            Frame::NewConnectionId(id) => {
                let cids = &mut self.summary.cids;
                list_new(if is_sent { &mut cids.local } else { &mut cids.remote }, &id);
            }
            Frame::HandshakeDone => {
                self.summary.handshake.confirmed_ms.get_or_insert(at);
            }
            Frame::ConnectionClose(close) => {
                let initiator = if is_sent { "local" } else { "remote" };
                self.close_frame.get_or_insert(Close { at_ms: at, initiator: Some(initiator.to_owned()), ..close });
            }
            _ => {}
        }
    }

    fn stream(&mut self, id: u64, is_sent: bool, end: u64) {
        let is_full = self.streams.len() >= MAX_STREAMS;
        let ends = match self.streams.get_mut(&id) {
            Some(ends) => ends,
            None if is_full => return,
            None => self.streams.entry(id).or_default(),
        };
        let known = if is_sent { &mut ends.sent } else { &mut ends.received };
        *known = end.max(*known);
    }

    fn metrics(&mut self, metrics: &Metrics) {
        // Before the first sample there are only the initial guesses of RFC 9002, section 6.2.2.
        if let Some(latest) = metrics.latest_rtt {
            let rtt = self.summary.rtt.get_or_insert(Rtt { min_ms: latest, smoothed_ms: latest, ..Rtt::default() });
            rtt.latest_ms = latest;
            rtt.max_ms = rtt.max_ms.max(latest);
        }
        if let Some(rtt) = &mut self.summary.rtt {
            rtt.min_ms = metrics.min_rtt.unwrap_or(rtt.min_ms);
            rtt.smoothed_ms = metrics.smoothed_rtt.unwrap_or(rtt.smoothed_ms);
        }
        let congestion = &mut self.summary.congestion;
        congestion.window = metrics.window.or(congestion.window);
        congestion.max_window = congestion.max_window.max(metrics.window);
        congestion.max_in_flight = congestion.max_in_flight.max(metrics.in_flight);
        congestion.max_pto_count = congestion.max_pto_count.max(metrics.pto_count.unwrap_or(0));
        let lost = &mut self.lost_by_metrics;
        lost.count = lost.count.saturating_add(metrics.lost_packets);
        lost.bytes = lost.bytes.saturating_add(metrics.lost_bytes);
    }

    fn http3_frame(&mut self, stream: u64, frame: &Map<String, Value>) {
        self.saw_http3 = true;
        let Some(headers) = frame.get("headers").filter(|_| frame.get("frame_type").is_some_and(|ty| ty == "headers"))
        else {
            return;
        };
        let field = |name: &str| field(headers, name);
        if let Some(method) = field(":method") {
            self.summary.requests_total += 1;
            let protocol = field(":protocol");
            if protocol.as_deref().is_some_and(|p| p.starts_with("webtransport")) {
                self.summary.webtransport_sessions += 1;
            }
            if self.summary.requests.len() < MAX_REQUESTS {
                let path = field(":path").or_else(|| field(":authority")).unwrap_or_default();
                self.summary.requests.push(Request { stream, method, path, protocol, status: None });
            }
        } else if let Some(status) = field(":status")
            && let Some(request) = self.summary.requests.iter_mut().find(|r| r.stream == stream)
        {
            // An interim 1xx is overwritten by what follows.
            request.status = Some(status);
        }
    }

    pub(super) fn finish(mut self, file: String, header: Header) -> Summary {
        let summary = &mut self.summary;
        let is_server = header.vantage_point == "server";
        (summary.file, summary.title, summary.vantage_point) = (file, header.title, header.vantage_point);
        (summary.started, summary.truncated) = (header.started, header.is_truncated);
        summary.cids.original = self.first_destination[usize::from(!is_server)].take();
        if self.saw_http3 {
            summary.handshake.alpn.get_or_insert_with(|| "h3".to_owned());
        }
        if self.lost_by_metrics.count > summary.packets.lost.count {
            summary.packets.lost = self.lost_by_metrics;
        }
        // The frame has more details than the event if the connection never was established; otherwise they agree.
        match (&mut summary.close, self.close_frame) {
            (Some(close), Some(frame)) if close.code.is_none() => {
                *close = Close { trigger: close.trigger.take(), at_ms: close.at_ms, ..frame };
            }
            (close @ None, frame) => *close = frame,
            (Some(_), _) => {}
        }
        for (id, ends) in self.streams {
            let streams = summary.streams.entry(stream_kind(id).to_owned()).or_default();
            *streams = Streams {
                count: streams.count + 1,
                bytes_in: streams.bytes_in.saturating_add(ends.received),
                bytes_out: streams.bytes_out.saturating_add(ends.sent),
            };
        }
        self.summary
    }
}

/// The value of a field in a list of names and values, or in an object (draft 00).
pub(super) fn field(headers: &Value, name: &str) -> Option<String> {
    match headers {
        Value::Array(fields) => text(&fields.iter().find(|field| field["name"] == name)?["value"]),
        Value::Object(fields) => text(fields.get(name)?),
        _ => None,
    }
}

/// RFC 9000, section 2.1.
pub(super) fn stream_kind(id: u64) -> &'static str {
    match id & 0b11 {
        0 => "client bidi",
        1 => "server bidi",
        2 => "client uni",
        _ => "server uni",
    }
}

fn list<T>(listed: &mut Listed<T>, item: T) {
    listed.total += 1;
    if listed.first.len() < MAX_LISTED {
        listed.first.push(item);
    }
}

/// Lists a new value. Once the list is full, repetitions are counted as well.
fn list_new(listed: &mut Listed<String>, item: &str) {
    if !listed.first.iter().any(|known| known == item) {
        list(listed, item.to_owned());
    }
}

/// Sum over the values of a map of counts.
pub(super) fn sum(counts: &BTreeMap<String, Count>) -> Count {
    counts
        .values()
        .fold(Count::default(), |sum, c| Count { count: sum.count + c.count, bytes: sum.bytes.saturating_add(c.bytes) })
}
