//! Events of QUIC and HTTP/3, whatever version of the drafts they are written in.
//!
//! The drafts renamed categories (`transport:packet_sent`, `quic:packet_sent`), moved fields and wrote numbers as
//! strings, so events are taken from values leniently: what is missing is `None`.

use serde_json::{Map, Value};

use super::Close;

/// An event and its time in milliseconds from the first event.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) at: f64,
    /// The name in the file, in lower case.
    pub(super) name: String,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Packet(Packet),
    Lost {
        space: Space,
        number: Option<u64>,
    },
    Dropped,
    Metrics(Metrics),
    CongestionState(String),
    Parameters {
        is_local: bool,
        values: Map<String, Value>,
    },
    Alpn(String),
    Version(String),
    Closed(Close),
    Http3 {
        stream: u64,
        is_ours: bool,
        frame: Map<String, Value>,
    },
    /// What a stream of HTTP/3 is for, such as `control`.
    StreamType {
        stream: u64,
        is_ours: bool,
        ty: String,
    },
    /// The connection's path changed: what the event says, as text.
    Path(String),
    /// The state of the connection, such as `handshake_confirmed`.
    State(String),
    /// A WebTransport session or one of its streams.
    Session {
        session: Option<u64>,
        stream: Option<u64>,
    },
    Other,
}

/// A space of packet numbers (RFC 9000, section 12.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Space {
    Initial,
    Handshake,
    Application,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacketType {
    Initial,
    Handshake,
    ZeroRtt,
    OneRtt,
    Retry,
    VersionNegotiation,
    StatelessReset,
    Unknown,
}

impl PacketType {
    fn new(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "initial" => PacketType::Initial,
            "handshake" => PacketType::Handshake,
            "0rtt" | "zerortt" | "zero_rtt" => PacketType::ZeroRtt,
            "1rtt" | "onertt" | "one_rtt" => PacketType::OneRtt,
            "retry" => PacketType::Retry,
            "version_negotiation" => PacketType::VersionNegotiation,
            "stateless_reset" => PacketType::StatelessReset,
            _ => PacketType::Unknown,
        }
    }

    /// The name in the drafts.
    pub(super) fn name(self) -> &'static str {
        match self {
            PacketType::Initial => "initial",
            PacketType::Handshake => "handshake",
            PacketType::ZeroRtt => "0RTT",
            PacketType::OneRtt => "1RTT",
            PacketType::Retry => "retry",
            PacketType::VersionNegotiation => "version_negotiation",
            PacketType::StatelessReset => "stateless_reset",
            PacketType::Unknown => "unknown",
        }
    }

    pub(super) fn space(self) -> Space {
        match self {
            PacketType::Initial | PacketType::Retry | PacketType::VersionNegotiation => Space::Initial,
            PacketType::Handshake => Space::Handshake,
            _ => Space::Application,
        }
    }
}

#[derive(Debug)]
pub(super) struct Packet {
    pub(super) is_sent: bool,
    pub(super) ty: PacketType,
    pub(super) number: Option<u64>,
    /// Bytes, 0 if the log has none.
    pub(super) len: u64,
    pub(super) version: Option<String>,
    pub(super) dcid: Option<String>,
    pub(super) scid: Option<String>,
    pub(super) frames: Vec<Frame>,
}

#[derive(Debug)]
pub(super) enum Frame {
    Padding(Option<u64>),
    Ping,
    Ack {
        ranges: Vec<(u64, u64)>,
        delay: Option<f64>,
    },
    Crypto {
        offset: u64,
        len: u64,
    },
    Stream {
        id: u64,
        offset: u64,
        len: u64,
        is_last: bool,
    },
    Datagram(u64),
    MaxData(u64),
    NewConnectionId(String),
    PathChallenge,
    PathResponse,
    HandshakeDone,
    NewToken,
    ConnectionClose(Close),
    /// Any other, by name.
    Other(String),
}

/// Recovery (RFC 9002). Times are in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) min_rtt: Option<f64>,
    pub(super) smoothed_rtt: Option<f64>,
    pub(super) latest_rtt: Option<f64>,
    pub(super) window: Option<u64>,
    pub(super) in_flight: Option<u64>,
    pub(super) pto_count: Option<u64>,
    /// Packets and bytes lost since the last such event: quiche counts them in place of events for each.
    pub(super) lost_packets: u64,
    pub(super) lost_bytes: u64,
}

impl Event {
    /// `name` is `category:event`.
    pub(super) fn new(at: f64, name: &str, data: &Value) -> Self {
        let name = name.to_ascii_lowercase();
        let (category, event) = name.split_once(':').unwrap_or(("", &name));
        let what = match event {
            _ if category == "webtransport" => {
                What::Session { session: number(&data["session_id"]), stream: number(&data["stream_id"]) }
            }
            "frame_created" | "frame_parsed" if category.starts_with('h') => http3(event == "frame_created", data),
            "stream_type_set" if category.starts_with('h') => stream_type(data),
            "packet_sent" => What::Packet(Packet::new(true, data)),
            "packet_received" => What::Packet(Packet::new(false, data)),
            "packet_dropped" => What::Dropped,
            "packet_lost" => {
                let header = &data["header"];
                let ty = packet_type(data);
                What::Lost {
                    space: ty.space(),
                    number: number(first(&[&header["packet_number"], &data["packet_number"]])),
                }
            }
            "metrics_updated" | "metric_update" | "recovery_metrics_updated" => What::Metrics(Metrics::new(data)),
            "congestion_state_updated" => What::CongestionState(text(&data["new"]).unwrap_or_default()),
            "parameters_set" | "transport_parameters_update"
                if category != "recovery" && !category.starts_with('h') =>
            {
                parameters(data)
            }
            "alpn_information" => named(What::Alpn, &[&data["chosen_alpn"]["string_value"], &data["chosen_alpn"]]),
            "version_information" => named(What::Version, &[&data["chosen_version"]]),
            "connection_closed" => What::Closed(closed(at, data)),
            "migration_state_updated" | "path_updated" | "path_assigned" | "tuple_assigned" => What::Path(path(data)),
            "connection_state_updated" => named(What::State, &[&data["new"]]),
            _ => What::Other,
        };
        Event { at, name, what }
    }
}

impl Packet {
    fn new(is_sent: bool, data: &Value) -> Self {
        let header = &data["header"];
        let ty = packet_type(data);
        let frames = data["frames"].as_array().map(Vec::as_slice).unwrap_or_default();
        Packet {
            is_sent,
            ty,
            number: number(&header["packet_number"]),
            len: packet_len(is_sent, ty, data),
            version: version(&header["version"]),
            // aioquic writes an empty one in short headers.
            dcid: text(&header["dcid"]).filter(|id| !id.is_empty()),
            scid: text(&header["scid"]).filter(|id| !id.is_empty()),
            frames: frames.iter().map(Frame::new).collect(),
        }
    }
}

fn packet_type(data: &Value) -> PacketType {
    let header = &data["header"];
    let name = first(&[&header["packet_type"], &data["packet_type"], &data["type"]]);
    PacketType::new(name.as_str().unwrap_or_default())
}

/// Bytes of one packet. For a received one with a long header quiche logs all that was left of the datagram, so header
/// and payload are added up (RFC 9000, section 17.2; a token is not seen).
fn packet_len(is_sent: bool, ty: PacketType, data: &Value) -> u64 {
    let (raw, header) = (&data["raw"], &data["header"]);
    let payload = number(&raw["payload_length"]);
    let all = [&raw["length"], &raw["payload_length"], &header["packet_size"], &data["packet_size"]];
    let logged = number(first(&all)).unwrap_or(0);
    match (is_sent, payload, number(&header["dcil"]), number(&header["scil"])) {
        (false, Some(payload), Some(dcil), Some(scil)) => {
            // First byte, version, lengths of the ids, Length; the token's length in an Initial. The packet number is
            // part of quiche's payload.
            let fixed = if ty == PacketType::Initial { 10 } else { 9 };
            payload.saturating_add(fixed).saturating_add(dcil).saturating_add(scil).min(logged)
        }
        _ => logged,
    }
}

impl Frame {
    fn new(frame: &Value) -> Self {
        let get = |name: &str| number(&frame[name]);
        let raw = &frame["raw"];
        let raw_len = first(&[&raw["payload_length"], &raw["length"], &frame["length"], &frame["payload_length"]]);
        let len = || number(raw_len).unwrap_or(0);
        let stream = || get("stream_id").or_else(|| get("id"));
        let name = frame["frame_type"].as_str().unwrap_or("unknown").to_ascii_lowercase();
        match (name.as_str(), stream()) {
            ("padding", _) => Frame::Padding(number(raw_len)),
            ("ping", _) => Frame::Ping,
            ("ack", _) => Frame::Ack { ranges: ranges(&frame["acked_ranges"]), delay: float(&frame["ack_delay"]) },
            ("crypto", _) => Frame::Crypto { offset: get("offset").unwrap_or(0), len: len() },
            ("stream", Some(id)) => Frame::Stream {
                id,
                offset: get("offset").unwrap_or(0),
                len: len(),
                is_last: frame["fin"].as_bool().unwrap_or(false),
            },
            ("datagram", _) => Frame::Datagram(len()),
            ("max_data", _) => Frame::MaxData(get("maximum").unwrap_or(0)),
            ("new_connection_id", _) => Frame::NewConnectionId(text(&frame["connection_id"]).unwrap_or_default()),
            ("path_challenge", _) => Frame::PathChallenge,
            ("path_response", _) => Frame::PathResponse,
            ("handshake_done", _) => Frame::HandshakeDone,
            ("new_token", _) => Frame::NewToken,
            ("connection_close", _) => Frame::ConnectionClose(Close {
                space: text(&frame["error_space"]),
                code: get("error_code").or_else(|| get("raw_error_code")),
                reason: text(&frame["reason"]),
                ..Close::default()
            }),
            _ => Frame::Other(name),
        }
    }
}

impl Metrics {
    fn new(data: &Value) -> Self {
        let rtt = |name: &str| float(&data[name]).filter(|ms| ms.is_finite() && *ms >= 0.0);
        let lost = |name: &str| number(&data[name]["delta"]).unwrap_or(0);
        // Of a path without a sample, quiche writes the initial guess (RFC 9002, section 6.2.2).
        let is_guess =
            data["latest_rtt"].is_null() && !data["min_rtt"].is_null() && data["min_rtt"] == data["smoothed_rtt"];
        Metrics {
            min_rtt: rtt("min_rtt").filter(|_| !is_guess),
            smoothed_rtt: rtt("smoothed_rtt").filter(|_| !is_guess),
            // Before the first sample, ngtcp2 writes 0, and no least one.
            latest_rtt: rtt("latest_rtt").filter(|ms| *ms > 0.0 || !data["min_rtt"].is_null()),
            window: number(first(&[&data["congestion_window"], &data["cwnd"]])),
            in_flight: number(&data["bytes_in_flight"]),
            pto_count: number(&data["pto_count"]),
            lost_packets: lost("cf_lost_packets"),
            lost_bytes: lost("cf_lost_bytes"),
        }
    }
}

fn http3(is_ours: bool, data: &Value) -> What {
    match (number(&data["stream_id"]), &data["frame"]) {
        (Some(stream), Value::Object(frame)) => {
            let mut frame = frame.clone();
            if let Some(len) = data.get("length") {
                frame.entry("length").or_insert_with(|| len.clone());
            }
            What::Http3 { stream, is_ours, frame }
        }
        _ => What::Other,
    }
}

fn stream_type(data: &Value) -> What {
    let is_ours = first(&[&data["initiator"], &data["owner"]]) != "remote";
    match (number(&data["stream_id"]), text(first(&[&data["stream_type"], &data["new"]]))) {
        (Some(stream), Some(ty)) => What::StreamType { stream, is_ours, ty },
        _ => What::Other,
    }
}

fn parameters(data: &Value) -> What {
    let owner = first(&[&data["initiator"], &data["owner"]]).as_str().unwrap_or("local");
    What::Parameters { is_local: owner != "remote", values: data.as_object().cloned().unwrap_or_default() }
}

fn closed(at: f64, data: &Value) -> Close {
    let code = |name: &str| number(&data[name]);
    let has = |name: &str| !data[name].is_null();
    let space = match (
        has("application_error") || has("application_code"),
        has("connection_error") || has("connection_code"),
    ) {
        (true, _) => Some("application"),
        (_, true) => Some("transport"),
        _ => None,
    };
    let error = [code("error_code"), code("application_code"), code("connection_code")].into_iter().flatten().next();
    Close {
        at_ms: at,
        initiator: text(first(&[&data["initiator"], &data["owner"]])),
        space: space.map(str::to_owned),
        code: error,
        reason: text(&data["reason"]),
        trigger: text(&data["trigger"]),
    }
}

/// The text of an event of a path: its members.
fn path(data: &Value) -> String {
    let Some(members) = data.as_object() else { return String::new() };
    let text = |(name, value): (&String, &Value)| {
        format!("{name} {}", value.as_str().map_or(value.to_string(), str::to_owned))
    };
    members.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn named(what: fn(String) -> What, values: &[&Value]) -> What {
    let value = first(values);
    text(value).or_else(|| version(value)).map_or(What::Other, what)
}

/// A QUIC version in hexadecimal without zeros in front.
fn version(value: &Value) -> Option<String> {
    match value {
        Value::String(hex) => Some(hex.trim_start_matches("0x").trim_start_matches('0').to_owned()),
        value => number(value).map(|version| format!("{version:x}")),
    }
}

fn ranges(value: &Value) -> Vec<(u64, u64)> {
    let range = |range: &Value| {
        let range = range.as_array()?;
        let (low, high) = (number(range.first()?)?, number(range.last()?)?);
        (low <= high).then_some((low, high))
    };
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(range).collect()
}

/// The first that is there.
fn first<'a>(values: &[&'a Value]) -> &'a Value {
    values.iter().find(|value| !value.is_null()).copied().unwrap_or(&Value::Null)
}

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// An integer that is not negative, also as text.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64)),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}

pub(super) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}
