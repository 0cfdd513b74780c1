//! Folds events into a summary.

use std::collections::{BTreeMap, HashMap};

use qlog::events::http3::{Http3Frame, HttpHeader};
use qlog::events::quic::{
    ConnectionClosed, PacketHeader, PacketType, QuicFrame, RecoveryMetricsUpdated, TransportInitiator,
};
use qlog::events::{Event, EventData, ExData, RawInfo};
use qlog::{QlogSeq, VantagePointType};
use serde::Serialize;

use super::{Close, Count, Listed, MAX_LISTED, MAX_REQUESTS, Request, Rtt, Streams, Summary};

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Sent,
    Received,
}

#[derive(Default)]
struct StreamEnds {
    sent: u64,
    received: u64,
}

pub(super) struct Collector {
    summary: Summary,
    is_server: bool,
    first: Option<f64>,
    last: f64,
    streams: HashMap<u64, StreamEnds>,
    /// From `cf_lost_packets`, which quiche logs in place of packet_lost events.
    lost_by_metrics: Count,
    close_frame: Option<Close>,
    saw_http3: bool,
}

impl Collector {
    pub(super) fn new(file: String, header: QlogSeq) -> Self {
        let trace = header.trace;
        let vantage_point = trace.vantage_point.map(|v| v.ty).unwrap_or_default();
        let started = trace.common_fields.as_ref().and_then(|common| {
            let common = serde_json::to_value(common).ok()?;
            Some(common.get("reference_time")?.get("wall_clock_time")?.as_str()?.to_owned())
        });
        Self {
            summary: Summary {
                file,
                title: trace.title.or(header.title),
                vantage_point: name(&vantage_point).unwrap_or_default(),
                started,
                ..Summary::default()
            },
            is_server: vantage_point == VantagePointType::Server,
            first: None,
            last: 0.0,
            streams: HashMap::new(),
            lost_by_metrics: Count::default(),
            close_frame: None,
            saw_http3: false,
        }
    }

    /// A record that is not a known event.
    pub(super) fn skip(&mut self) {
        self.summary.skipped += 1;
    }

    pub(super) fn event(&mut self, event: Event) {
        self.summary.events += 1;
        let first = *self.first.get_or_insert(event.time);
        self.last = self.last.max(event.time - first);
        let at = event.time - first;
        match event.data {
            EventData::QuicPacketSent(p) => self.packet(at, Direction::Sent, &p.header, p.raw, p.frames),
            EventData::QuicPacketReceived(p) => self.packet(at, Direction::Received, &p.header, p.raw, p.frames),
            EventData::QuicPacketDropped(_) => self.summary.packets.dropped += 1,
            EventData::QuicPacketLost(_) => self.summary.packets.lost.count += 1,
            EventData::QuicMetricsUpdated(metrics) => self.metrics(&metrics),
            EventData::QuicCongestionStateUpdated(c) => list(&mut self.summary.congestion.states, (at, c.new)),
            EventData::QuicParametersSet(p) if p.initiator == Some(TransportInitiator::Remote) => {
                self.summary.handshake.established_ms.get_or_insert(at);
                self.summary.handshake.cipher = p.tls_cipher;
            }
            EventData::QuicAlpnInformation(alpn) => {
                let chosen = alpn.chosen_alpn.and_then(|a| a.string_value.or(a.byte_value));
                self.summary.handshake.alpn = chosen.or(self.summary.handshake.alpn.take());
            }
            EventData::QuicVersionInformation(v) if v.chosen_version.is_some() => {
                self.summary.handshake.version = v.chosen_version;
            }
            EventData::QuicConnectionClosed(closed) => self.closed(at, closed),
            EventData::Http3FrameCreated(f) => self.http3_frame(f.stream_id, f.frame),
            EventData::Http3FrameParsed(f) => self.http3_frame(f.stream_id, f.frame),
            _ => {}
        }
    }

    fn packet(
        &mut self,
        at: f64,
        direction: Direction,
        header: &PacketHeader,
        raw: Option<RawInfo>,
        frames: Option<Vec<QuicFrame>>,
    ) {
        let counts = match direction {
            Direction::Sent => &mut self.summary.packets.sent,
            Direction::Received => &mut self.summary.packets.received,
        };
        let count = counts.entry(name(&header.packet_type).unwrap_or_default()).or_default();
        count.count += 1;
        count.bytes = count.bytes.saturating_add(packet_len(direction, header, raw.as_ref()));
        if header.version.is_some() {
            self.summary.handshake.version.clone_from(&header.version);
        }
        self.header_cids(direction, header);
        for frame in frames.into_iter().flatten() {
            self.frame(at, direction, frame);
        }
    }

    fn header_cids(&mut self, direction: Direction, header: &PacketHeader) {
        let cids = &mut self.summary.cids;
        let from_client = self.is_server == (direction == Direction::Received);
        if header.packet_type == PacketType::Initial && from_client && cids.original.is_none() {
            cids.original.clone_from(&header.dcid);
        }
        if let Some(scid) = &header.scid {
            list_new(if direction == Direction::Sent { &mut cids.local } else { &mut cids.remote }, scid);
        }
    }

    fn frame(&mut self, at: f64, direction: Direction, frame: QuicFrame) {
        match frame {
            QuicFrame::Stream { stream_id, offset, raw, .. } => {
                let end = offset.unwrap_or(0).saturating_add(raw_len(raw.as_deref()));
                let ends = self.streams.entry(stream_id).or_default();
                let known = if direction == Direction::Sent { &mut ends.sent } else { &mut ends.received };
                *known = end.max(*known);
            }
            QuicFrame::Datagram { raw } => {
                let count = match direction {
                    Direction::Sent => &mut self.summary.datagrams_sent,
                    Direction::Received => &mut self.summary.datagrams_received,
                };
                count.count += 1;
                count.bytes = count.bytes.saturating_add(raw_len(raw.as_deref()));
            }
            QuicFrame::NewConnectionId { connection_id, .. } => {
                let cids = &mut self.summary.cids;
                list_new(if direction == Direction::Sent { &mut cids.local } else { &mut cids.remote }, &connection_id);
            }
            QuicFrame::HandshakeDone { .. } => {
                self.summary.handshake.confirmed_ms.get_or_insert(at);
            }
            QuicFrame::ConnectionClose { error_space, error_code, reason, .. } => {
                let initiator = if direction == Direction::Sent { "local" } else { "remote" };
                self.close_frame.get_or_insert(Close {
                    at_ms: at,
                    initiator: Some(initiator.to_owned()),
                    space: error_space.as_ref().and_then(name),
                    code: error_code,
                    reason,
                    trigger: None,
                });
            }
            _ => {}
        }
    }

    fn metrics(&mut self, metrics: &RecoveryMetricsUpdated) {
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
        congestion.window = metrics.congestion_window.or(congestion.window);
        congestion.max_window = congestion.max_window.max(metrics.congestion_window);
        congestion.max_in_flight = congestion.max_in_flight.max(metrics.bytes_in_flight);
        congestion.max_pto_count = congestion.max_pto_count.max(metrics.pto_count.unwrap_or(0));
        let lost = &mut self.lost_by_metrics;
        lost.count = total(&metrics.ex_data, "cf_lost_packets").unwrap_or(lost.count);
        lost.bytes = total(&metrics.ex_data, "cf_lost_bytes").unwrap_or(lost.bytes);
    }

    fn closed(&mut self, at: f64, closed: ConnectionClosed) {
        let space = match (&closed.application_error, &closed.connection_error) {
            (Some(_), _) => Some("application".to_owned()),
            (None, Some(_)) => Some("transport".to_owned()),
            (None, None) => None,
        };
        self.summary.close = Some(Close {
            at_ms: at,
            initiator: closed.initiator.as_ref().and_then(name),
            space,
            code: closed.error_code,
            reason: closed.reason,
            trigger: closed.trigger.as_ref().and_then(name),
        });
    }

    fn http3_frame(&mut self, stream: u64, frame: Http3Frame) {
        self.saw_http3 = true;
        let Http3Frame::Headers { headers, .. } = frame else { return };
        let field = |name: &str| -> Option<String> {
            let is = |h: &&HttpHeader| h.name.as_deref() == Some(name);
            headers.iter().find(is).and_then(|h| h.value.clone())
        };
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

    pub(super) fn finish(mut self, truncated: bool) -> Summary {
        let summary = &mut self.summary;
        summary.truncated = truncated;
        summary.duration_ms = self.last;
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

/// RFC 9000, section 2.1.
fn stream_kind(id: u64) -> &'static str {
    match id & 0b11 {
        0 => "client bidi",
        1 => "server bidi",
        2 => "client uni",
        _ => "server uni",
    }
}

/// Bytes of one packet. For a received one with a long header quiche logs all that was left of the datagram, so header
/// and payload are added up (RFC 9000, section 17.2; a token is not seen).
fn packet_len(direction: Direction, header: &PacketHeader, raw: Option<&RawInfo>) -> u64 {
    let Some(raw) = raw else { return 0 };
    let logged = raw.length.or(raw.payload_length).unwrap_or(0);
    match (direction, raw.payload_length, header.dcil, header.scil) {
        (Direction::Received, Some(payload), Some(dcil), Some(scil)) => {
            // First byte, version, lengths of the ids, Length; the token's length in an Initial. The packet number is
            // part of quiche's payload.
            let fixed = if header.packet_type == PacketType::Initial { 10 } else { 9 };
            payload.saturating_add(fixed + u64::from(dcil) + u64::from(scil)).min(logged)
        }
        _ => logged,
    }
}

fn raw_len(raw: Option<&RawInfo>) -> u64 {
    raw.and_then(|raw| raw.payload_length.or(raw.length)).unwrap_or(0)
}

fn total(ex_data: &ExData, name: &str) -> Option<u64> {
    ex_data.get(name)?.get("total")?.as_u64()
}

/// The name that an enum of the `qlog` crate has in the file.
fn name(value: &impl Serialize) -> Option<String> {
    Some(serde_json::to_value(value).ok()?.as_str()?.to_owned())
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
