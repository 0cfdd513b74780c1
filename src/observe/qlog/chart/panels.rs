//! One picture for each aspect of a connection, all with the same axis of time.

use std::fmt::Display;

use super::super::collect::stream_kind;
use super::super::event::{PacketType, Space};
use super::data::{Chart, Flow, Kind, Lane};
use super::svg::{Number, Scale, Unit, add, bytes, escape, line, steps, time};

/// Measures of a picture, in units of which a letter has 11.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) width: f64,
    left: f64,
    right: f64,
    plot: f64,
    is_narrow: bool,
}

impl Layout {
    pub(super) const WIDE: Layout = Layout { width: 960.0, left: 116.0, right: 16.0, plot: 220.0, is_narrow: false };
    /// For phones.
    pub(super) const NARROW: Layout = Layout { width: 380.0, left: 68.0, right: 10.0, plot: 190.0, is_narrow: true };
}

/// Above the plot: the title and the legend. Below: labels of the axis.
const TOP: f64 = 50.0;
const BOTTOM: f64 = 40.0;

/// A picture.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// What the picture shows, in a sentence or two.
    pub(super) caption: String,
    /// Content of the SVG element.
    pub(super) body: String,
    pub(super) height: f64,
}

pub(super) fn panels(chart: &Chart, layout: Layout) -> Vec<Panel> {
    let drawn = [
        sent(chart, layout),
        received(chart, layout),
        congestion(chart, layout),
        round_trips(chart, layout),
        flow(chart, &chart.sending, "Flow control: sent", layout),
        flow(chart, &chart.receiving, "Flow control: received", layout),
        streams(chart, layout),
        events(chart, layout),
    ];
    drawn.into_iter().flatten().collect()
}

/// A picture in the making.
struct Canvas<'a> {
    chart: &'a Chart,
    layout: Layout,
    body: String,
    x: Scale,
    top: f64,
    bottom: f64,
    legend: Vec<(&'static str, &'static str)>,
}

impl<'a> Canvas<'a> {
    fn new(chart: &'a Chart, layout: Layout, plot: f64) -> Self {
        let x = Scale::new((0.0, chart.end), (layout.left, layout.width - layout.right));
        Canvas { chart, layout, body: String::new(), x, top: TOP, bottom: TOP + plot, legend: Vec::new() }
    }

    fn y(&mut self, max: f64, unit: Unit, what: &str) -> Scale {
        let y = Scale::new((0.0, max * 1.05), (self.bottom, self.top));
        let (left, right) = (self.layout.left, self.layout.width - self.layout.right);
        for tick in y.ticks(5) {
            let (at, label) = (y.at(tick), unit.label(tick));
            add!(self.body, r#"<path class="grid" d="M{left} {at}H{right}"/>"#);
            add!(
                self.body,
                r#"<text class="tick" x="{}" y="{}" text-anchor="end">{label}</text>"#,
                left - 5.0,
                Number(at.0 + 4.0)
            );
        }
        let unit = if unit.0.is_empty() || unit.0 == what { String::new() } else { format!(" ({})", unit.0) };
        add!(self.body, r#"<text class="axis" x="4" y="{}">{what}{unit}</text>"#, TOP - 13.0);
        y
    }

    fn times(&mut self) {
        let unit = Unit::of_time(self.chart.end);
        let count = if self.layout.is_narrow { 4 } else { 10 };
        for tick in self.x.ticks(count) {
            let (at, label) = (self.x.at(tick), unit.label(tick));
            add!(self.body, r#"<path class="grid" d="M{at} {}V{}"/>"#, self.top, Number(self.bottom + 4.0));
            add!(
                self.body,
                r#"<text class="tick" x="{at}" y="{}" text-anchor="middle">{label}</text>"#,
                Number(self.bottom + 17.0)
            );
        }
        let right = self.layout.width - self.layout.right;
        add!(
            self.body,
            r#"<text class="axis" x="{right}" y="{}" text-anchor="end">time ({})</text>"#,
            Number(self.bottom + 33.0),
            unit.0
        );
    }

    /// Lines at the moments when the connection changed.
    fn moments(&mut self) {
        let moments = self.chart.notes.iter().filter(|note| matches!(note.kind, Kind::Path | Kind::Handshake));
        for note in moments.filter(|note| note.at <= self.chart.end) {
            let class = if note.kind == Kind::Path { "path" } else { "handshake" };
            let (at, text) = (self.x.at(note.at), escape(&note.text));
            add!(
                self.body,
                r#"<path class="moment {class}" d="M{at} {}V{}"><title>{}: {text}</title></path>"#,
                self.top,
                self.bottom,
                time(note.at)
            );
        }
    }

    fn curve(&mut self, class: &'static str, name: &'static str, path: &str) {
        if !path.is_empty() {
            add!(self.body, r#"<path class="curve {class}" d="{path}"><title>{name}</title></path>"#);
            self.legend.push((class, name));
        }
    }

    fn finish(mut self, title: &'static str, caption: String) -> Panel {
        let mut body = format!(r#"<text class="title" x="4" y="15">{title}</text>"#);
        let right = self.layout.width - self.layout.right;
        add!(body, r#"<text class="legend" x="{right}" y="15" text-anchor="end">"#);
        for (n, (class, name)) in self.legend.iter().enumerate() {
            let gap = if n == 0 { "" } else { r#" dx="12""# };
            add!(body, r#"<tspan class="key {class}"{gap}>{name}</tspan>"#);
        }
        body.push_str("</text>");
        body.push_str(&self.body);
        self.bottom += BOTTOM;
        Panel { title, caption, body, height: self.bottom }
    }
}

/// Packet numbers of a direction, with the spaces one above the other.
struct Numbers([Option<(u64, f64)>; 3], f64);

impl Numbers {
    fn new(ranges: &[Option<(u64, u64)>; 3]) -> Self {
        let mut sum = 0.0;
        let bases = ranges.map(|range| {
            let (least, greatest) = range?;
            let base = sum;
            sum += (greatest - least) as f64 + 1.0;
            Some((least, base))
        });
        Numbers(bases, sum)
    }

    fn at(&self, space: Space, number: u64) -> f64 {
        self.0[space as usize].map_or(0.0, |(least, base)| base + number.saturating_sub(least) as f64)
    }
}

fn packet_title(what: &str, at: f64, ty: PacketType, number: u64, len: u64) -> String {
    format!("{what} {}: {} {number}, {len} bytes", time(at), ty.name())
}

fn every(what: &str, every: u64) -> String {
    match every {
        1 => String::new(),
        _ => format!(" One {what} in {every} is drawn."),
    }
}

fn sent(chart: &Chart, layout: Layout) -> Option<Panel> {
    if chart.sent.seen() == 0 {
        return None;
    }
    let mut canvas = Canvas::new(chart, layout, layout.plot);
    let numbers = Numbers::new(&chart.numbers[0]);
    let y = canvas.y(numbers.1, Unit::NONE, "packets");
    canvas.times();
    canvas.moments();
    for packet in chart.sent.iter().filter(|packet| packet.at <= chart.end) {
        let (x, y) = (canvas.x.at(packet.at), y.at(numbers.at(packet.ty.space(), packet.number)));
        let title = packet_title("sent", packet.at, packet.ty, packet.number, packet.len);
        add!(canvas.body, r#"<circle class="m sent" cx="{x}" cy="{y}" r="1.8"><title>{title}</title></circle>"#);
        if let Some(at) = packet.acked.filter(|at| *at <= chart.end) {
            let (x, title) = (canvas.x.at(at), format!("{}, acknowledged after {}", title, time(at - packet.at)));
            add!(canvas.body, r#"<circle class="m acked" cx="{x}" cy="{y}" r="1.8"><title>{title}</title></circle>"#);
        }
    }
    for lost in chart.lost.iter().filter(|lost| lost.sent <= chart.end) {
        let (x, y) = (canvas.x.at(lost.sent), y.at(numbers.at(lost.space, lost.number)));
        let title = format!("sent {}: packet {}, declared lost {}", time(lost.sent), lost.number, time(lost.at));
        add!(
            canvas.body,
            r#"<path class="m lost" d="M{} {}l7 7m0-7l-7 7"><title>{title}</title></path>"#,
            Number(x.0 - 3.5),
            Number(y.0 - 3.5)
        );
    }
    canvas.legend = vec![("sent", "\u{25cf} sent"), ("acked", "\u{25cf} acknowledged"), ("lost", "\u{d7} lost")];
    let caption = format!(
        "{} packets sent, {} acknowledged, {} lost. Height: the number of the packet.{}{}",
        chart.sent.seen(),
        chart.acked,
        chart.lost.seen(),
        every("packet", chart.sent.every()),
        every("lost packet", chart.lost.every())
    );
    Some(canvas.finish("Packets sent", caption))
}

fn received(chart: &Chart, layout: Layout) -> Option<Panel> {
    if chart.received.seen() == 0 {
        return None;
    }
    let mut canvas = Canvas::new(chart, layout, layout.plot);
    let numbers = Numbers::new(&chart.numbers[1]);
    let y = canvas.y(numbers.1, Unit::NONE, "packets");
    canvas.times();
    canvas.moments();
    for packet in chart.received.iter() {
        let (x, y) = (canvas.x.at(packet.at), y.at(numbers.at(packet.ty.space(), packet.number)));
        let title = packet_title("received", packet.at, packet.ty, packet.number, packet.len);
        add!(canvas.body, r#"<circle class="m received" cx="{x}" cy="{y}" r="1.8"><title>{title}</title></circle>"#);
    }
    canvas.legend = vec![("received", "\u{25cf} received")];
    let caption = format!(
        "{} packets received. Height: the number of the packet, so that one that is missing leaves a gap.{}",
        chart.received.seen(),
        every("packet", chart.received.every())
    );
    Some(canvas.finish("Packets received", caption))
}

fn congestion(chart: &Chart, layout: Layout) -> Option<Panel> {
    let max = chart.window.max().max(chart.in_flight.max());
    if max <= 0.0 {
        return None;
    }
    let mut canvas = Canvas::new(chart, layout, layout.plot);
    let y = canvas.y(max, Unit::of_bytes(max), "bytes");
    canvas.times();
    canvas.moments();
    let curves = [("flight", "in flight", &chart.in_flight), ("window", "window", &chart.window)];
    for (class, name, series) in curves {
        let path = steps(series.points(), chart.end, &canvas.x, &y);
        canvas.curve(class, name, &path);
    }
    let caption = format!(
        "The greatest congestion window is {}; at most {} were in flight.",
        bytes(chart.window.max()),
        bytes(chart.in_flight.max())
    );
    Some(canvas.finish("Congestion window", caption))
}

fn round_trips(chart: &Chart, layout: Layout) -> Option<Panel> {
    let max = chart.latest_rtt.max().max(chart.smoothed_rtt.max());
    if max <= 0.0 {
        return None;
    }
    let mut canvas = Canvas::new(chart, layout, layout.plot);
    let y = canvas.y(max, Unit::of_time(max), "round trip");
    canvas.times();
    canvas.moments();
    let within = |points: &[(f64, f64)]| points.iter().copied().filter(|(at, _)| *at <= chart.end).collect::<Vec<_>>();
    let latest = line(&within(chart.latest_rtt.points()), &canvas.x, &y);
    canvas.curve("latest", "latest", &latest);
    for (class, name, series) in [("smoothed", "smoothed", &chart.smoothed_rtt), ("least", "least", &chart.min_rtt)] {
        let path = steps(series.points(), chart.end, &canvas.x, &y);
        canvas.curve(class, name, &path);
    }
    let caption = "As this side measured them; with the peer's delay of acknowledgements.".to_owned();
    Some(canvas.finish("Round-trip time", caption))
}

fn flow(chart: &Chart, flow: &Flow, title: &'static str, layout: Layout) -> Option<Panel> {
    let (limit, used) = (flow.limit.max(), flow.used.max());
    if limit <= 0.0 || used <= 0.0 {
        return None;
    }
    // A limit far above all data would flatten it.
    let is_far = flow.limit.points().first().is_some_and(|(_, first)| *first > 4.0 * used);
    let max = if is_far { used } else { limit.max(used) };
    let mut canvas = Canvas::new(chart, layout, layout.plot);
    let y = canvas.y(max, Unit::of_bytes(max), "bytes");
    canvas.times();
    canvas.moments();
    let path = steps(flow.used.points(), chart.end, &canvas.x, &y);
    canvas.curve("used", "data", &path);
    let caption = match is_far {
        true => format!("{} on all streams. The limit, {}, is far above.", bytes(used), bytes(limit)),
        false => {
            let path = steps(flow.limit.points(), chart.end, &canvas.x, &y);
            canvas.curve("limit", "limit", &path);
            format!("{} on all streams, and the connection's limit (MAX_DATA).", bytes(used))
        }
    };
    Some(canvas.finish(title, caption))
}

fn streams(chart: &Chart, layout: Layout) -> Option<Panel> {
    const ROW: f64 = 18.0;
    if chart.lanes.is_empty() {
        return None;
    }
    let mut canvas = Canvas::new(chart, layout, ROW * chart.lanes.len() as f64);
    canvas.times();
    canvas.moments();
    add!(canvas.body, r#"<text class="axis" x="4" y="{}">stream</text>"#, TOP - 13.0);
    for (n, lane) in chart.lanes.iter().enumerate() {
        draw_lane(&mut canvas, lane, TOP + ROW * n as f64, ROW);
    }
    canvas.legend = vec![("sent", "\u{25a0} sent"), ("received", "\u{25a0} received")];
    let more = match chart.streams.saturating_sub(chart.lanes.len() as u64) {
        0 => String::new(),
        more => format!(" The first {} streams; {more} more are not drawn.", chart.lanes.len()),
    };
    let short = match layout.is_narrow {
        true => " c: opened by the client, s: by the server; \u{21c4}: bidirectional, \u{2192}: unidirectional.",
        false => "",
    };
    let caption = format!("When each stream's data was sent (upper bar) and received (lower bar).{short}{more}");
    Some(canvas.finish("Streams", caption))
}

fn draw_lane(canvas: &mut Canvas<'_>, lane: &Lane, top: f64, row: f64) {
    let (kind, left) = (stream_kind(lane.id), canvas.layout.left);
    let short = match lane.id & 3 {
        0 => "c\u{21c4}",
        1 => "s\u{21c4}",
        2 => "c\u{2192}",
        _ => "s\u{2192}",
    };
    let label = if canvas.layout.is_narrow { format!("{} {short}", lane.id) } else { format!("{} {kind}", lane.id) };
    let title = lane_title(canvas.chart, lane);
    let right = canvas.layout.width - canvas.layout.right;
    add!(canvas.body, r#"<path class="grid" d="M{left} {0}H{right}"/>"#, Number(top + row));
    add!(
        canvas.body,
        r#"<text class="tick" x="{}" y="{}" text-anchor="end">{label}<title>{title}</title></text>"#,
        left - 5.0,
        Number(top + row - 5.0)
    );
    for (class, verb, spans, y) in
        [("sent", "sent", &lane.sent, top + 2.0), ("received", "received", &lane.received, top + row / 2.0)]
    {
        for span in spans.iter().filter(|span| span.from <= canvas.chart.end) {
            let (from, to) = (canvas.x.at(span.from).0, canvas.x.at(span.to).0);
            let when =
                if span.to > span.from { format!("{} to {}", time(span.from), time(span.to)) } else { time(span.from) };
            add!(
                canvas.body,
                r#"<rect class="bar {class}" x="{}" y="{}" width="{}" height="{}"><title>{title}: {} {verb} in {} frames, {when}</title></rect>"#,
                Number(from),
                Number(y),
                Number((to - from).max(1.5)),
                Number(row / 2.0 - 3.0),
                bytes(span.bytes as f64),
                span.frames
            );
        }
    }
}

fn lane_title(chart: &Chart, lane: &Lane) -> String {
    let request = chart.summary.requests.iter().find(|request| request.stream == lane.id);
    let request = request.map(|r| format!(" {} {}", escape(&r.method), escape(&r.path))).unwrap_or_default();
    format!(
        "stream {} ({}){request}, {} sent, {} received",
        lane.id,
        stream_kind(lane.id),
        bytes(lane.sent_bytes as f64),
        bytes(lane.received_bytes as f64)
    )
}

fn events(chart: &Chart, layout: Layout) -> Option<Panel> {
    const ROW: f64 = 22.0;
    const KINDS: [(Kind, &str, &str); 5] = [
        (Kind::Handshake, "handshake", "handsh."),
        (Kind::Path, "path", "path"),
        (Kind::Congestion, "congestion", "congest."),
        (Kind::Session, "sessions", "sessions"),
        (Kind::Close, "close", "close"),
    ];
    let rows: Vec<_> = KINDS
        .iter()
        .filter(|(kind, ..)| chart.notes.iter().any(|note| note.kind == *kind && note.at <= chart.end))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let mut canvas = Canvas::new(chart, layout, ROW * rows.len() as f64);
    canvas.times();
    for (n, (kind, name, short)) in rows.iter().enumerate() {
        let (middle, left) = (TOP + ROW * (n as f64 + 0.5), layout.left);
        let label: &dyn Display = if layout.is_narrow { short } else { name };
        add!(canvas.body, r#"<path class="grid" d="M{left} {middle}H{}"/>"#, layout.width - layout.right);
        add!(
            canvas.body,
            r#"<text class="tick" x="{}" y="{}" text-anchor="end">{label}</text>"#,
            left - 5.0,
            middle + 4.0
        );
        for note in chart.notes.iter().filter(|note| note.kind == *kind && note.at <= chart.end) {
            let (x, text) = (canvas.x.at(note.at), escape(&note.text));
            add!(
                canvas.body,
                r#"<path class="event {name}" d="M{x} {}l4.5 6-4.5 6-4.5-6z"><title>{}: {text}</title></path>"#,
                Number(middle - 6.0),
                time(note.at)
            );
        }
    }
    let more = match chart.notes_omitted {
        0 => String::new(),
        more => format!(" {more} more are not shown."),
    };
    let caption = format!("Those of the handshake and of the path are lines in the other pictures.{more}");
    Some(canvas.finish("Events", caption))
}
