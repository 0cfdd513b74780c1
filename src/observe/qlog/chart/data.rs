//! What is drawn, collected from the events.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use super::super::collect::Collector;
use super::super::error::QlogError;
use super::super::event::{Event, Frame, Packet, PacketType, Space, What};
use super::super::read::{self, Header, Trace};
use super::super::summary::Summary;
use super::series::{Marks, Series, Spans};

/// Packets in flight that are remembered.
const MAX_OUTSTANDING: usize = 1 << 17;

/// Streams whose ends are known, for flow control.
const MAX_STREAMS: usize = 1 << 20;

/// Streams that are drawn; more are counted.
const MAX_LANES: usize = 40;

/// Events that are named; more are counted.
const MAX_NOTES: usize = 200;

/// Pictures of the first connection in a qlog file. Their size is bounded: of a long connection, every n-th packet is
/// drawn, and lines keep their extremes.
#[derive(Debug)]
pub struct Chart {
    pub(super) summary: Summary,
    /// Where the pictures end: the last packet, or soon after the last one received if the peer is silent for long.
    pub(super) end: f64,
    pub(super) last_received: f64,
    pub(super) sent: Marks<Sent>,
    pub(super) lost: Marks<Lost>,
    pub(super) received: Marks<Received>,
    /// The least and the greatest packet number of each space, sent and received.
    pub(super) numbers: [[Option<(u64, u64)>; 3]; 2],
    pub(super) acked: u64,
    pub(super) window: Series,
    pub(super) in_flight: Series,
    pub(super) latest_rtt: Series,
    pub(super) smoothed_rtt: Series,
    pub(super) min_rtt: Series,
    pub(super) sending: Flow,
    pub(super) receiving: Flow,
    pub(super) lanes: Vec<Lane>,
    pub(super) streams: u64,
    pub(super) notes: Vec<Note>,
    pub(super) notes_omitted: u64,
}

/// A packet that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) at: f64,
    pub(super) ty: PacketType,
    pub(super) number: u64,
    pub(super) len: u64,
    pub(super) acked: Option<f64>,
}

/// A packet that was declared lost.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) sent: f64,
    pub(super) at: f64,
    pub(super) space: Space,
    pub(super) number: u64,
}

#[derive(Debug)]
pub(super) struct Received {
    pub(super) at: f64,
    pub(super) ty: PacketType,
    pub(super) number: u64,
    pub(super) len: u64,
}

/// Flow control of a connection in one direction (RFC 9000, section 4.1).
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) limit: Series,
    pub(super) used: Series,
    pub(super) sum: u64,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) id: u64,
    pub(super) sent: Spans,
    pub(super) received: Spans,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Handshake,
    Path,
    Congestion,
    Session,
    Close,
}

#[derive(Debug)]
pub(super) struct Note {
    pub(super) at: f64,
    pub(super) kind: Kind,
    pub(super) text: String,
}

impl Chart {
    /// Reads the first trace of a file's content; `path` is its name in errors. Memory is bounded.
    ///
    /// # Errors
    /// As [`Summary::read`].
    pub fn read(reader: impl Read, path: &Path) -> Result<Self, QlogError> {
        let mut chart = None;
        let mut done = |drawing: Drawing, header| {
            chart.get_or_insert_with(|| drawing.finish(path, header));
        };
        read::read(reader, path, &mut Drawing::default, &mut done)?;
        chart.ok_or_else(|| QlogError::Format {
            path: path.to_owned(),
            line: None,
            reason: "it has no traces".to_owned(),
        })
    }
}

/// A packet that is neither acknowledged nor lost.
struct Outstanding {
    at: f64,
    mark: u64,
    is_eliciting: bool,
}

/// A chart in the making.
#[derive(Default)]
struct Drawing {
    collector: Collector,
    now: f64,
    last_packet: f64,
    last_received: f64,
    sent: Marks<Sent>,
    lost: Marks<Lost>,
    received: Marks<Received>,
    numbers: [[Option<(u64, u64)>; 3]; 2],
    acked: u64,
    outstanding: BTreeMap<(Space, u64), Outstanding>,
    largest_acked: BTreeMap<Space, u64>,
    window: Series,
    in_flight: Series,
    latest_rtt: Series,
    smoothed_rtt: Series,
    min_rtt: Series,
    sending: Flow,
    receiving: Flow,
    ends: HashMap<u64, [u64; 2]>,
    lanes: Vec<Lane>,
    notes: Vec<Note>,
    notes_omitted: u64,
    is_confirmed: bool,
}

impl Trace for Drawing {
    fn skip(&mut self, line: u64, reason: String) {
        self.collector.skip(line, reason);
    }

    fn event(&mut self, event: Event) {
        // Some logs are not quite in order.
        self.now = self.now.max(event.at);
        match &event.what {
            What::Packet(packet) => self.packet(packet),
            What::Lost { space, number: Some(number) } => self.lose(*space, *number),
            What::Metrics(metrics) => {
                let lines = [
                    (&mut self.window, metrics.window.map(|bytes| bytes as f64)),
                    (&mut self.in_flight, metrics.in_flight.map(|bytes| bytes as f64)),
                    (&mut self.latest_rtt, metrics.latest_rtt),
                ];
                for (line, value) in lines {
                    if let Some(value) = value {
                        line.push(self.now, value);
                    }
                }
                // Before the first sample there are only guesses (RFC 9002, section 6.2.2).
                if !self.latest_rtt.points().is_empty() {
                    for (line, value) in
                        [(&mut self.smoothed_rtt, metrics.smoothed_rtt), (&mut self.min_rtt, metrics.min_rtt)]
                    {
                        if let Some(value) = value {
                            line.push(self.now, value);
                        }
                    }
                }
                self.lose_some(metrics.lost_packets);
            }
            What::Parameters { is_local, values } => {
                let max = values.get("initial_max_data").and_then(super::super::event::number);
                let flow = if *is_local { &mut self.receiving } else { &mut self.sending };
                if let Some(max) = max {
                    flow.limit.push(self.now, max as f64);
                }
                if !is_local {
                    self.note(Kind::Handshake, "the peer's transport parameters".to_owned());
                }
            }
            What::CongestionState(state) => self.note(Kind::Congestion, state.clone()),
            What::State(state) => self.note(Kind::Handshake, state.clone()),
            What::Path(text) => {
                let name = event.name.rsplit(':').next().unwrap_or_default();
                self.note(Kind::Path, format!("{name}: {text}"));
            }
            What::Session { session, stream } => {
                let mut text = event.name.rsplit(':').next().unwrap_or_default().to_owned();
                for (what, id) in [("session", session), ("stream", stream)] {
                    if let Some(id) = id {
                        let _ = write!(text, ", {what} {id}");
                    }
                }
                self.note(Kind::Session, text);
            }
            What::Closed(close) => {
                let by = close.initiator.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
                let reason = close.reason.as_deref().or(close.trigger.as_deref()).unwrap_or_default();
                let code = close.code.map(|code| format!(" error 0x{code:x}")).unwrap_or_default();
                self.note(Kind::Close, format!("closed{by}{code} {reason}").trim_end().to_owned());
            }
            _ => {}
        }
        self.collector.event(event);
    }
}

impl Drawing {
    fn note(&mut self, kind: Kind, text: String) {
        match self.notes.len() < MAX_NOTES {
            true => self.notes.push(Note { at: self.now, kind, text }),
            false => self.notes_omitted += 1,
        }
    }

    fn packet(&mut self, packet: &Packet) {
        let (at, is_sent, ty) = (self.now, packet.is_sent, packet.ty);
        self.last_packet = at;
        if let Some(number) = packet.number {
            let range = &mut self.numbers[usize::from(!is_sent)][ty.space() as usize];
            let known = range.get_or_insert((number, number));
            *known = (known.0.min(number), known.1.max(number));
        }
        let number = packet.number.unwrap_or(0);
        match is_sent {
            true => {
                let mark = self.sent.push(Sent { at, ty, number, len: packet.len, acked: None });
                let is_eliciting = packet
                    .frames
                    .iter()
                    .any(|frame| !matches!(frame, Frame::Ack { .. } | Frame::Padding(_) | Frame::ConnectionClose(_)));
                if packet.number.is_some() {
                    self.outstanding.insert((ty.space(), number), Outstanding { at, mark, is_eliciting });
                }
                if self.outstanding.len() > MAX_OUTSTANDING {
                    self.outstanding.pop_first();
                }
            }
            false => {
                self.last_received = at;
                self.received.push(Received { at, ty, number, len: packet.len });
            }
        }
        for frame in &packet.frames {
            self.frame(is_sent, ty.space(), frame);
        }
    }

    fn frame(&mut self, is_sent: bool, space: Space, frame: &Frame) {
        let side = if is_sent { "sent" } else { "received" };
        match frame {
            Frame::Ack { ranges, .. } if !is_sent => ranges.iter().for_each(|range| self.ack(space, *range)),
            Frame::Stream { id, offset, len, .. } => self.stream(is_sent, *id, *offset, *len),
            Frame::MaxData(max) => {
                let flow = if is_sent { &mut self.receiving } else { &mut self.sending };
                flow.limit.push(self.now, *max as f64);
            }
            Frame::PathChallenge => self.note(Kind::Path, format!("PATH_CHALLENGE {side}")),
            Frame::PathResponse => self.note(Kind::Path, format!("PATH_RESPONSE {side}")),
            Frame::HandshakeDone if !self.is_confirmed => {
                self.is_confirmed = true;
                self.note(Kind::Handshake, format!("HANDSHAKE_DONE {side}"));
            }
            Frame::ConnectionClose(close) => {
                let code = close.code.map(|code| format!(" 0x{code:x}")).unwrap_or_default();
                self.note(Kind::Close, format!("CONNECTION_CLOSE{code} {side}"));
            }
            _ => {}
        }
    }

    fn ack(&mut self, space: Space, (low, high): (u64, u64)) {
        let largest = self.largest_acked.entry(space).or_default();
        *largest = high.max(*largest);
        while let Some((key, _)) = self.outstanding.range((space, low)..=(space, high)).next() {
            let key = *key;
            let Some(packet) = self.outstanding.remove(&key) else { return };
            self.acked += 1;
            if let Some(mark) = self.sent.get_mut(packet.mark) {
                mark.acked = Some(self.now);
            }
        }
    }

    fn lose(&mut self, space: Space, number: u64) {
        let sent = self.outstanding.remove(&(space, number)).map_or(self.now, |packet| packet.at);
        self.lost.push(Lost { sent, at: self.now, space, number });
    }

    /// The log says how many were lost, not which: the oldest that elicit an acknowledgement, and got none when a later
    /// one did (RFC 9002, section 6.1).
    fn lose_some(&mut self, count: u64) {
        for _ in 0..count.min(MAX_OUTSTANDING as u64) {
            let largest = &self.largest_acked;
            let is_late =
                |&(space, number): &(Space, u64)| largest.get(&space).is_some_and(|largest| number < *largest);
            let oldest = self.outstanding.iter().find(|(key, packet)| packet.is_eliciting && is_late(key));
            let Some((&(space, number), _)) = oldest else { return };
            self.lose(space, number);
        }
    }

    fn stream(&mut self, is_sent: bool, id: u64, offset: u64, len: u64) {
        let is_new = !self.ends.contains_key(&id);
        if is_new && self.ends.len() >= MAX_STREAMS {
            return;
        }
        let ends = self.ends.entry(id).or_default();
        let known = &mut ends[usize::from(!is_sent)];
        let more = offset.saturating_add(len).saturating_sub(*known);
        *known = known.saturating_add(more);
        let flow = if is_sent { &mut self.sending } else { &mut self.receiving };
        flow.sum = flow.sum.saturating_add(more);
        flow.used.push(self.now, flow.sum as f64);

        if is_new && self.lanes.len() < MAX_LANES {
            self.lanes.push(Lane { id, ..Lane::default() });
        }
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.id == id) else { return };
        let (spans, bytes) = match is_sent {
            true => (&mut lane.sent, &mut lane.sent_bytes),
            false => (&mut lane.received, &mut lane.received_bytes),
        };
        spans.push(self.now, len);
        *bytes = bytes.saturating_add(more);
    }

    fn finish(mut self, path: &Path, header: Header) -> Chart {
        self.lanes.sort_by_key(|lane| lane.id);
        // Probes of a peer that is gone would push all that happened to the left.
        let is_gone = self.last_received > 0.0 && self.last_packet > 2.0 * self.last_received;
        Chart {
            summary: self.collector.finish(path.display().to_string(), header),
            end: if is_gone { 1.25 * self.last_received } else { self.last_packet },
            last_received: self.last_received,
            sent: self.sent,
            lost: self.lost,
            received: self.received,
            numbers: self.numbers,
            acked: self.acked,
            window: self.window,
            in_flight: self.in_flight,
            latest_rtt: self.latest_rtt,
            smoothed_rtt: self.smoothed_rtt,
            min_rtt: self.min_rtt,
            sending: self.sending,
            receiving: self.receiving,
            lanes: self.lanes,
            streams: self.ends.len() as u64,
            notes: self.notes,
            notes_omitted: self.notes_omitted,
        }
    }
}
