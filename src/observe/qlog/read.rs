//! The forms of qlog files: JSON-SEQ (a record separator before each event), lines of JSON, and one JSON value with
//! all traces. Whatever the file holds, one record is in memory at a time, and it is bounded.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::error::QlogError;
use super::event::{Event, float, text};

/// Records end at the next record separator (RFC 7464, section 2.2).
pub(super) const RECORD_SEPARATOR: u8 = 0x1e;

/// Longest record in bytes: a file that is not a qlog must not fill the memory.
const MAX_RECORD: u64 = 1 << 20;

/// Traces read of one file; more are skipped.
const MAX_TRACES: usize = 1000;

/// What is made of the events of a trace.
pub(super) trait Trace {
    fn event(&mut self, event: Event);
    /// A record on a line of the file that is not an event.
    fn skip(&mut self, line: u64, reason: String);
}

/// What the file says of a trace.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) title: Option<String>,
    pub(super) vantage_point: String,
    pub(super) started: Option<String>,
    /// The last record is cut off.
    pub(super) is_truncated: bool,
}

/// Reads a file, and gives each trace to `done` when it ends.
pub(super) fn read<T: Trace>(
    reader: impl Read,
    path: &Path,
    new: &mut dyn FnMut() -> T,
    done: &mut dyn FnMut(T, Header),
) -> Result<(), QlogError> {
    let read_error = |source| QlogError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(reader);
    let mut reader: Box<dyn BufRead + '_> = match reader.fill_buf().map_err(read_error)? {
        [0x1f, 0x8b, ..] => Box::new(BufReader::new(MultiGzDecoder::new(reader))),
        _ => Box::new(reader),
    };
    let format_error =
        |line, reason: &str| QlogError::Format { path: path.to_owned(), line, reason: reason.to_owned() };
    match reader.fill_buf().map_err(read_error)? {
        [] => Err(format_error(None, "it is empty")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(format_error(None, "it is compressed, unpack it first (zstd -d)")),
        [RECORD_SEPARATOR, ..] => {
            let mut records = Records { reader, separator: RECORD_SEPARATOR, line: 1 };
            sequence(&mut records, path, new, done)
        }
        [b'{' | b' ' | b'\n' | b'\r' | b'\t', ..] => {
            let mut line = Vec::new();
            (&mut reader).take(MAX_RECORD).read_until(b'\n', &mut line).map_err(read_error)?;
            let is_header = serde_json::from_slice::<Value>(&line)
                .is_ok_and(|first| first.get("traces").is_none() && first.get("trace").is_some());
            let reader = Cursor::new(line).chain(reader);
            match is_header {
                true => {
                    let mut records = Records { reader: Box::new(reader), separator: b'\n', line: 1 };
                    sequence(&mut records, path, new, done)
                }
                false => whole(reader, path, new, done),
            }
        }
        _ => Err(format_error(Some(1), "it begins neither with a record separator (byte 0x1e) nor with {")),
    }
}

/// The records of a file with a separator before or after each.
struct Records<'a> {
    reader: Box<dyn BufRead + 'a>,
    separator: u8,
    /// The line on which the next record begins, from 1.
    line: u64,
}

impl Records<'_> {
    /// The next record that is not blank, and its line. `None` at the end of the file.
    fn next(&mut self, record: &mut Vec<u8>) -> io::Result<Option<u64>> {
        loop {
            record.clear();
            let read = (&mut self.reader).take(MAX_RECORD).read_until(self.separator, record)?;
            if read == 0 {
                return Ok(None);
            }
            let line = self.line + count_lines(&record[..record.len() - record.trim_ascii_start().len()]);
            self.line += count_lines(record);
            if record.last() == Some(&self.separator) {
                record.pop();
            }
            if !record.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn sequence<T: Trace>(
    records: &mut Records<'_>,
    path: &Path,
    new: &mut dyn FnMut() -> T,
    done: &mut dyn FnMut(T, Header),
) -> Result<(), QlogError> {
    let read_error = |source| QlogError::Read { path: path.to_owned(), source };
    let format_error = |line, reason| QlogError::Format { path: path.to_owned(), line: Some(line), reason };
    let mut record = Vec::new();
    let Some(line) = records.next(&mut record).map_err(read_error)? else {
        return Err(format_error(1, "it has no header record".to_owned()));
    };
    let header: Value =
        serde_json::from_slice(&record).map_err(|e| format_error(line, format!("its header is unusable: {e}")))?;
    let Some(of_trace) = header.get("trace").filter(|trace| trace.is_object()) else {
        return Err(format_error(line, "its header is unusable: it has no trace".to_owned()));
    };
    let mut meta = Meta { title: text(&header["title"]), ..Meta::default() };
    for (name, value) in of_trace.as_object().into_iter().flatten() {
        meta.member(name, value);
    }
    let mut trace = new();
    let mut is_truncated = false;
    while let Some(line) = records.next(&mut record).map_err(read_error)? {
        is_truncated = false;
        match serde_json::from_slice::<Value>(&record).map_err(|e| (e.is_eof(), reason(&e))) {
            Ok(value) => match meta.event(&value) {
                Some(event) => trace.event(event),
                None => trace.skip(line, "no event with a time and a name".to_owned()),
            },
            Err((is_eof, reason)) => {
                is_truncated = is_eof;
                trace.skip(line, reason);
            }
        }
    }
    done(trace, meta.finish(is_truncated));
    Ok(())
}

/// What is wrong, without the place, which counts from the record's begin.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

/// One JSON value with all traces.
fn whole<T: Trace>(
    reader: impl BufRead,
    path: &Path,
    new: &mut dyn FnMut() -> T,
    done: &mut dyn FnMut(T, Header),
) -> Result<(), QlogError> {
    let budget = Rc::new(Cell::new(MAX_RECORD));
    let mut json = serde_json::Deserializer::from_reader(Limited { reader, budget: budget.clone() });
    let mut file = WholeFile { budget, new, done, title: None, count: 0, events: 0, current: None };
    let result = FileSeed(&mut file).deserialize(&mut json);
    let count = file.count;
    match result {
        Ok(()) if count == 0 => {
            Err(QlogError::Format { path: path.to_owned(), line: None, reason: "it has no traces".to_owned() })
        }
        Ok(()) => Ok(()),
        Err(e) if e.is_eof() && file.events > 0 => {
            if let Some((trace, meta)) = file.current.take() {
                (file.done)(trace, meta.finish(true));
            }
            Ok(())
        }
        Err(e) if e.is_io() => Err(QlogError::Read { path: path.to_owned(), source: e.into() }),
        Err(e) => Err(QlogError::Format { path: path.to_owned(), line: Some(e.line() as u64), reason: reason(&e) }),
    }
}

/// Ends a value that is too long.
struct Limited<R> {
    reader: R,
    budget: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Limited<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(usize::try_from(self.budget.get()).unwrap_or(usize::MAX));
        if len == 0 && !buf.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a record has more than {MAX_RECORD} bytes"),
            ));
        }
        let read = self.reader.read(&mut buf[..len])?;
        self.budget.set(self.budget.get() - read as u64);
        Ok(read)
    }
}

struct WholeFile<'a, T> {
    budget: Rc<Cell<u64>>,
    new: &'a mut dyn FnMut() -> T,
    done: &'a mut dyn FnMut(T, Header),
    title: Option<String>,
    count: usize,
    events: u64,
    current: Option<(T, Meta)>,
}

impl<T> WholeFile<'_, T> {
    fn refill(&self) {
        self.budget.set(MAX_RECORD);
    }
}

/// A seed that reads a part of the file into its state.
macro_rules! seed {
    ($name:ident, $how:ident) => {
        struct $name<'s, 'a, T>(&'s mut WholeFile<'a, T>);

        impl<'de, T: Trace> DeserializeSeed<'de> for $name<'_, '_, T> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
                json.$how(self)
            }
        }
    };
}

seed!(FileSeed, deserialize_map);
seed!(TracesSeed, deserialize_seq);
seed!(TraceSeed, deserialize_map);
seed!(EventsSeed, deserialize_seq);

impl<'de, T: Trace> Visitor<'de> for FileSeed<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a qlog file")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "traces" => map.next_value_seed(TracesSeed(self.0))?,
                "title" => self.0.title = text(&map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            self.0.refill();
        }
        Ok(())
    }
}

impl<'de, T: Trace> Visitor<'de> for TracesSeed<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of traces")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut traces: S) -> Result<(), S::Error> {
        while traces.next_element_seed(TraceSeed(self.0))?.is_some() {
            self.0.refill();
        }
        Ok(())
    }
}

impl<'de, T: Trace> Visitor<'de> for TraceSeed<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trace")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let file = self.0;
        if file.count == MAX_TRACES {
            return Err(M::Error::custom(format!("it has more than {MAX_TRACES} traces")));
        }
        file.count += 1;
        file.current = Some(((file.new)(), Meta { title: file.title.clone(), ..Meta::default() }));
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "events" => map.next_value_seed(EventsSeed(file))?,
                "title" | "vantage_point" | "common_fields" | "configuration" | "event_fields" => {
                    let value = map.next_value()?;
                    if let Some((_, meta)) = &mut file.current {
                        meta.member(&name, &value);
                    }
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            file.refill();
        }
        if let Some((trace, meta)) = file.current.take() {
            (file.done)(trace, meta.finish(false));
        }
        Ok(())
    }
}

impl<'de, T: Trace> Visitor<'de> for EventsSeed<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut events: S) -> Result<(), S::Error> {
        let file = self.0;
        while let Some(value) = events.next_element::<Value>()? {
            file.refill();
            file.events += 1;
            let Some((trace, meta)) = &mut file.current else { continue };
            match meta.event(&value) {
                Some(event) => trace.event(event),
                None => trace.skip(0, format!("event {} has no time or no name", file.events)),
            }
        }
        Ok(())
    }
}

/// What is needed to understand the events of a trace.
#[derive(Debug, Default)]
struct Meta {
    title: Option<String>,
    vantage_point: Option<String>,
    started: Option<String>,
    /// Each time is the difference to the one before.
    is_delta: bool,
    /// Milliseconds of a unit of time.
    unit: Option<f64>,
    /// Names of the elements of events that are arrays (draft 01 of the schema).
    fields: Vec<String>,
    /// The first event's time, and the last one's if times are differences.
    first: Option<f64>,
    last: f64,
}

impl Meta {
    /// A member of the trace's object.
    fn member(&mut self, name: &str, value: &Value) {
        match name {
            "title" => self.title = text(value).or(self.title.take()),
            "vantage_point" => {
                self.vantage_point = text(&value["type"]).or_else(|| text(value)).map(|ty| ty.to_ascii_lowercase());
            }
            "event_fields" => {
                let names = value.as_array().into_iter().flatten();
                self.fields = names.filter_map(|name| Some(name.as_str()?.to_ascii_lowercase())).collect();
            }
            "configuration" => {
                self.unit = (value["time_units"] == "us").then_some(0.001);
            }
            "common_fields" => {
                let format = value["time_format"].as_str().unwrap_or_default();
                self.is_delta = matches!(format, "delta" | "relative_to_previous" | "relative_to_previous_event");
                self.started = text(&value["reference_time"]["wall_clock_time"]);
            }
            _ => {}
        }
    }

    fn event(&mut self, value: &Value) -> Option<Event> {
        let (time, name, data) = match value {
            Value::Object(event) => {
                let get = |name: &str| event.get(name);
                let time = get("time").or_else(|| get("relative_time"))?;
                let name = match (get("name"), get("category"), get("event").or_else(|| get("type"))) {
                    (Some(name), ..) => name.as_str()?.to_owned(),
                    (None, Some(category), Some(event)) => format!("{}:{}", category.as_str()?, event.as_str()?),
                    _ => return None,
                };
                (time, name, get("data").unwrap_or(&Value::Null))
            }
            Value::Array(event) => {
                let get =
                    |names: &[&str]| event.get(self.fields.iter().position(|field| names.contains(&field.as_str()))?);
                let category = get(&["category"])?.as_str()?;
                let name = format!("{category}:{}", get(&["event", "event_type", "type"])?.as_str()?);
                (get(&["time", "relative_time", "delta_time"])?, name, get(&["data"]).unwrap_or(&Value::Null))
            }
            _ => return None,
        };
        let time = float(time).filter(|time| time.is_finite())? * self.unit.unwrap_or(1.0);
        let at = match self.is_delta {
            true => {
                let at = self.first.map_or(0.0, |_| self.last + time);
                self.last = at;
                self.first.get_or_insert(time);
                at
            }
            false => time - *self.first.get_or_insert(time),
        };
        Some(Event::new(at, &name, data))
    }

    fn finish(self, is_truncated: bool) -> Header {
        /// Times from here on are since 1970, not since the connection's begin: 2001, in milliseconds.
        const SINCE_1970: f64 = 1e12;
        let of_first = || {
            let first = self.first.filter(|first| !self.is_delta && (SINCE_1970..1e14).contains(first))?;
            let since = std::time::Duration::from_millis(first as u64);
            Some(httpdate::fmt_http_date(std::time::UNIX_EPOCH + since))
        };
        Header {
            started: self.started.or_else(of_first),
            title: self.title,
            vantage_point: self.vantage_point.unwrap_or_else(|| "unknown".to_owned()),
            is_truncated,
        }
    }
}
