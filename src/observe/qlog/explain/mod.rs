//! A handshake told packet by packet.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::collect::field;
use super::display::{ms, text};
use super::error::QlogError;
use super::event::{Event, Frame, Packet, PacketType, What};
use super::read::{self, Header, Trace};

mod names;

/// Events that are told: a handshake has far fewer.
const MAX_EVENTS: usize = 150;
/// Frames in them.
const MAX_FRAMES: usize = 2000;
/// Columns of the text.
const WIDTH: usize = 110;
/// Before what is said of a packet.
const INDENT: &str = "            ";

/// Tells the handshake of the first connection in a file's content, packet by packet, up to the first response: what
/// each packet, frame and transport parameter is for, with sections of the RFCs. `path` is the file's name.
///
/// # Errors
/// As [`Summary::read`](super::Summary::read).
pub fn explain(reader: impl Read, path: &Path) -> Result<String, QlogError> {
    let mut told = None;
    let mut done = |first: FirstEvents, header: Header| {
        told.get_or_insert_with(|| first.tell(path, &header));
    };
    read::read(reader, path, &mut FirstEvents::default, &mut done)?;
    Ok(told.unwrap_or_default())
}

/// The events that are told. They are kept, as a file may say at its end which side wrote it.
#[derive(Default)]
struct FirstEvents {
    events: Vec<Event>,
    frames: usize,
    is_over: bool,
}

impl Trace for FirstEvents {
    fn skip(&mut self, _line: u64, _reason: String) {}

    fn event(&mut self, event: Event) {
        if self.is_over {
            return;
        }
        let is_told = match &event.what {
            What::Packet(packet) => {
                self.frames += packet.frames.len();
                true
            }
            What::Parameters { .. } | What::StreamType { .. } | What::Closed(_) | What::Dropped => true,
            What::Http3 { frame, .. } => {
                self.is_over = frame.get("headers").is_some_and(|headers| field(headers, ":status").is_some());
                true
            }
            _ => false,
        };
        if is_told {
            self.events.push(event);
        }
        self.is_over |= self.events.len() >= MAX_EVENTS || self.frames >= MAX_FRAMES;
    }
}

impl FirstEvents {
    fn tell(self, path: &Path, header: &Header) -> String {
        let is_client = match header.vantage_point.as_str() {
            "client" => true,
            "server" => false,
            // Whoever sends first.
            _ => {
                self.events.iter().find_map(|e| if let What::Packet(p) = &e.what { Some(p.is_sent) } else { None })
                    != Some(false)
            }
        };
        let side = if is_client { "client" } else { "server" };
        let mut story =
            Story { is_client, out: String::new(), said: BTreeSet::new(), is_complete: false, is_confirmed: false };
        story.paragraph(
            "",
            &format!(
                "The first handshake in {}, as the {side} saw it. Times are from the log's first event.",
                text(&path.display().to_string())
            ),
        );
        for event in &self.events {
            story.event(event);
        }
        story.end(self.events.is_empty());
        story.out
    }
}

struct Story {
    is_client: bool,
    out: String,
    /// What has been explained.
    said: BTreeSet<String>,
    is_complete: bool,
    is_confirmed: bool,
}

impl Story {
    /// Whether this has not been said yet.
    fn is_new(&mut self, what: &str) -> bool {
        self.said.insert(what.to_owned())
    }

    fn paragraph(&mut self, indent: &str, words: &str) {
        let mut column = WIDTH;
        for word in words.split(' ').filter(|word| !word.is_empty()) {
            let len = word.chars().count();
            if column + 1 + len > WIDTH {
                if !self.out.is_empty() && !self.out.ends_with('\n') {
                    self.out.push('\n');
                }
                self.out.push_str(indent);
                column = indent.len();
            } else {
                self.out.push(' ');
                column += 1;
            }
            self.out.push_str(word);
            column += len;
        }
        self.out.push('\n');
    }

    fn say(&mut self, words: &str) {
        self.paragraph(INDENT, words);
    }

    fn head(&mut self, at: f64, what: &str) {
        let _ = writeln!(self.out, "\n{:>9}   {what}", ms(at));
    }

    fn side(&self, is_ours: bool) -> &'static str {
        if is_ours == self.is_client { "client" } else { "server" }
    }

    fn event(&mut self, event: &Event) {
        match &event.what {
            What::Packet(packet) => self.packet(event.at, packet),
            What::Dropped => {
                self.head(event.at, "a packet was dropped");
                self.say("It could not be read, or there were no keys for it yet (RFC 9000, section 12.2; RFC 9001, section 5.7).");
            }
            What::Parameters { is_local, values } => self.parameters(event.at, *is_local, values),
            What::StreamType { stream, is_ours, ty } => {
                let side = self.side(*is_ours);
                self.head(event.at, &format!("HTTP/3: stream {stream} of the {side} is of type {}", text(ty)));
                self.say(names::stream_type(ty));
            }
            What::Http3 { stream, is_ours, frame } => self.http3(event.at, *stream, *is_ours, frame),
            What::Closed(close) => {
                self.head(event.at, "the connection is closed");
                let reason =
                    close.reason.as_deref().map(|reason| format!(", \"{}\"", text(reason))).unwrap_or_default();
                let code = close.code.map(|code| format!(" with error 0x{code:x}")).unwrap_or_default();
                self.say(&format!(
                    "By the {} side{code}{reason}.",
                    text(close.initiator.as_deref().unwrap_or("unknown"))
                ));
            }
            _ => {}
        }
    }

    fn packet(&mut self, at: f64, packet: &Packet) {
        let (from, to) = (self.side(packet.is_sent), self.side(!packet.is_sent));
        let kind = names::packet_type(packet.ty);
        let number = packet.number.map(|number| format!(" packet {number}")).unwrap_or_default();
        let len = if packet.len > 0 { format!(", {} bytes", packet.len) } else { String::new() };
        self.head(at, &format!("{from} -> {to}: {kind}{number}{len}"));
        if self.is_new(&format!("{kind} of {from}")) {
            self.header(from, packet);
        }
        for frame in &packet.frames {
            self.frame(from, to, packet.ty, frame);
        }
        if packet.ty == PacketType::Initial && from == "client" && self.is_new("size") && packet.len >= 1200 {
            self.say(
                "A datagram with an Initial packet of a client has at least 1200 bytes, filled up with PADDING: so the path is \
                 known to carry that much, and the server may answer with three times as much before it knows that the \
                 address is real (RFC 9000, sections 14.1 and 8.1).",
            );
        }
    }

    fn header(&mut self, from: &str, packet: &Packet) {
        let id = |id: &Option<String>| id.as_deref().map(text);
        let mut words = names::header(packet.ty, from).to_owned();
        if let Some(version) = &packet.version {
            let _ = write!(words, " The header names version {}.", text(version));
        }
        match (id(&packet.dcid), id(&packet.scid)) {
            (Some(to), Some(own)) => {
                let _ = write!(words, " It is for connection id {to}, and asks to be answered at {own}.");
            }
            (Some(to), None) => {
                let _ = write!(words, " It is for connection id {to}.");
            }
            _ => {}
        }
        self.say(&words);
    }

    fn frame(&mut self, from: &str, to: &str, ty: PacketType, frame: &Frame) {
        match frame {
            Frame::Crypto { offset, len } => {
                let what = names::crypto(ty.space(), from);
                let is_new = self.is_new(what);
                let is_rest = if is_new || *offset == 0 { "" } else { "more of " };
                let explained = if is_new { names::crypto_meaning(ty.space(), from) } else { "" };
                self.say(&format!("CRYPTO, {}: {is_rest}{what}. {explained}", range(*offset, *len)));
            }
            Frame::Ack { ranges, delay } => {
                let of: Vec<_> = ranges
                    .iter()
                    .take(8)
                    .map(|(low, high)| if low == high { low.to_string() } else { format!("{low} to {high}") })
                    .collect();
                let plural = if ranges.iter().map(|(low, high)| high - low).sum::<u64>() + ranges.len() as u64 > 1 {
                    "s"
                } else {
                    ""
                };
                let mut words = format!("ACK: the {from} has received packet{plural} {} of this kind", of.join(", "));
                if let Some(delay) = delay.filter(|delay| *delay > 0.0) {
                    let _ = write!(words, ", and waited {} to say so", ms(delay));
                }
                words.push('.');
                if self.is_new("ack") {
                    words += " Each of the three packet number spaces (Initial, Handshake, application data) is acknowledged by \
                              itself (RFC 9000, sections 12.3 and 19.3). The first acknowledgement gives the first round-trip \
                              time (RFC 9002, section 5).";
                }
                self.say(&words);
            }
            Frame::Stream { id, offset, len, is_last } => {
                let end = if *is_last { ", the last ones" } else { "" };
                let kind = super::collect::stream_kind(*id);
                let mut words = format!("STREAM {id} ({kind}): {}{end}.", range(*offset, *len));
                if self.is_new("stream") {
                    words += " The last two bits of the id say who opened the stream, and whether it carries data in both \
                              directions (RFC 9000, sections 2.1 and 19.8).";
                }
                self.say(&words);
            }
            Frame::Padding(len) => {
                let len = len.map(|len| format!(", {len} bytes")).unwrap_or_default();
                self.say(&format!("PADDING{len}: nothing, to make the packet larger (RFC 9000, section 19.1)."));
            }
            Frame::NewConnectionId(id) => {
                let is_new = self.is_new(&format!("new id of {from}"));
                let why = match is_new {
                    true => format!(
                        " The {to} may use it instead, such as on another path, so that observers cannot link the two (RFC 9000, \
                         sections 5.1.1 and 9.5). It comes with a token for stateless resets."
                    ),
                    false => String::new(),
                };
                self.say(&format!("NEW_CONNECTION_ID: the {from} also answers to {}.{why}", text(id)));
            }
            Frame::HandshakeDone => {
                self.is_confirmed = true;
                self.say(
                    "HANDSHAKE_DONE: the server has the client's Finished; the handshake is confirmed, and both sides discard \
                     their Handshake keys (RFC 9001, sections 4.1.2 and 4.9.2; RFC 9000, section 19.20).",
                );
            }
            Frame::ConnectionClose(close) => {
                let code = close.code.map(|code| format!(" Error 0x{code:x}.")).unwrap_or_default();
                let reason = close
                    .reason
                    .as_deref()
                    .filter(|r| !r.is_empty())
                    .map(|r| format!(" \"{}\".", text(r)))
                    .unwrap_or_default();
                self.say(&format!(
                    "CONNECTION_CLOSE: the {from} ends the connection (RFC 9000, section 10.2).{code}{reason}"
                ));
            }
            Frame::Datagram(len) => {
                self.say(&format!("DATAGRAM, {len} bytes: data that is not repeated when it is lost (RFC 9221)."));
            }
            Frame::MaxData(max) => {
                self.say(&format!(
                    "MAX_DATA: on all streams together, the {from} takes bytes up to {max} (RFC 9000, section 19.9)."
                ));
            }
            Frame::Ping | Frame::PathChallenge | Frame::PathResponse | Frame::NewToken | Frame::Other(_) => {
                let (name, meaning) = names::frame(frame);
                self.say(&format!("{}: {meaning}", text(&name)));
            }
        }
    }

    fn parameters(&mut self, at: f64, is_local: bool, values: &Map<String, Value>) {
        let side = self.side(is_local);
        self.head(at, &format!("transport parameters of the {side}"));
        self.is_complete |= !is_local;
        let carrier = if side == "client" { "ClientHello" } else { "EncryptedExtensions" };
        let mut words = format!(
            "What the {side} allows and can do. They travel in its {carrier}, and TLS protects them (RFC 9000, section 18; \
             RFC 9001, section 8.2)."
        );
        if !is_local {
            words += " With them the limits for what this side sends are known.";
        }
        self.say(&words);
        let known = values.iter().filter_map(|(name, value)| Some((name, value, names::parameter(name)?)));
        let mut known: Vec<_> = known.collect();
        known.sort_by_key(|(.., known)| known.id);
        for (name, value, known) in known {
            let shown = match value {
                Value::String(text_value) => text(text_value),
                Value::Object(object) => object.get("data").and_then(Value::as_str).map(text).unwrap_or_default(),
                other => text(&other.to_string()),
            };
            let explained = if self.is_new(name) { format!(": {}", known.meaning) } else { String::new() };
            self.paragraph(
                &format!("{INDENT}    "),
                &format!("{} (0x{:02x}) = {shown}{}{explained}", text(name), known.id, known.unit),
            );
        }
        if let Some(cipher) = values.get("tls_cipher").and_then(Value::as_str) {
            self.say(&format!("The TLS cipher is {}.", text(cipher)));
        }
    }

    fn http3(&mut self, at: f64, stream: u64, is_ours: bool, frame: &Map<String, Value>) {
        let from = self.side(is_ours);
        let ty = frame.get("frame_type").and_then(Value::as_str).unwrap_or("unknown");
        let len =
            frame.get("length").and_then(super::event::number).map(|len| format!(", {len} bytes")).unwrap_or_default();
        self.head(
            at,
            &format!("HTTP/3: {} frame of the {from} on stream {stream}{len}", text(&ty.to_ascii_uppercase())),
        );
        match ty {
            "settings" => {
                self.say(
                    "The first frame of each control stream. Settings are not negotiated: each side says what it can do, or takes \
                     (RFC 9114, sections 6.2.1 and 7.2.4).",
                );
                let settings = frame.get("settings").and_then(Value::as_array);
                for setting in settings.into_iter().flatten().take(40) {
                    let name = setting["name"].as_str().unwrap_or("unknown");
                    let (name, meaning) = names::setting(name);
                    let value = text(&setting["value"].to_string());
                    self.paragraph(&format!("{INDENT}    "), &format!("{} = {value}{meaning}", text(&name)));
                }
            }
            "headers" => {
                if self.is_new("headers") {
                    self.say("A message's fields, compressed by QPACK (RFC 9114, section 4.1; RFC 9204).");
                }
                let headers = frame.get("headers").unwrap_or(&Value::Null);
                for name in [":method", ":scheme", ":authority", ":path", ":protocol", ":status"] {
                    if let Some(value) = field(headers, name) {
                        self.paragraph(&format!("{INDENT}    "), &format!("{name}: {}", text(&value)));
                    }
                }
            }
            "data" => self.say("A part of the content (RFC 9114, section 7.2.1)."),
            "reserved" => self.say(
                "Its type is reserved so that peers keep ignoring what they do not know (GREASE; RFC 9114, section 7.2.8).",
            ),
            _ => {}
        }
    }

    fn end(&mut self, is_empty: bool) {
        let words = match (is_empty, self.is_complete, self.is_confirmed) {
            (true, ..) => "There are no packets in this log.",
            (_, false, _) => "The handshake is not completed in this part of the log.",
            (_, true, false) => {
                "The handshake is complete: each side has the other's Finished. It is not confirmed in this part of the log."
            }
            (_, true, true) => "The handshake is complete and confirmed; what follows is application data.",
        };
        self.out.push('\n');
        self.paragraph("", words);
    }
}

/// Bytes of a stream.
fn range(offset: u64, len: u64) -> String {
    match len {
        0 => "no bytes".to_owned(),
        1 => format!("byte {offset}"),
        _ => format!("bytes {offset} to {}", offset.saturating_add(len - 1)),
    }
}

#[cfg(test)]
mod tests;
