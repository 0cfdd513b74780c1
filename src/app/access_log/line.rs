//! The lines of the access log, which consist of printable ASCII and end with a line feed.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::entry::Entry;

/// Apache's combined log format and fields with names.
pub(super) fn text(entry: &Entry<'_>, time: SystemTime, peers: bool) -> String {
    let subject = entry.subject;
    let mut out = match peers {
        true => subject.peer().ip().to_canonical().to_string(),
        false => "-".to_owned(),
    };
    let _ = write!(out, " - - [{}] \"", clf_time(time));
    escape(&mut out, subject.method().unwrap_or(b"-"));
    out.push(' ');
    escape(&mut out, subject.target().unwrap_or(b"-"));
    out.push_str(" HTTP/3.0\" ");
    or_dash(&mut out, entry.status.map(|status| u64::from(status.as_u16())));
    out.push(' ');
    or_dash(&mut out, entry.sent);
    for value in [subject.referer(), subject.user_agent()] {
        out.push_str(" \"");
        escape(&mut out, value.unwrap_or(b"-"));
        out.push('"');
    }
    let _ = write!(out, " time={:.6} received=", entry.duration.as_secs_f64());
    or_dash(&mut out, entry.received);
    let route = subject.route().map(str::as_bytes);
    let error = entry.error.as_deref().map(str::as_bytes);
    for (name, value) in [("route", route), ("protocol", subject.protocol()), ("error", error)] {
        if let Some(value) = value {
            let _ = write!(out, " {name}=\"");
            escape(&mut out, value);
            out.push('"');
        }
    }
    for (word, is_so) in [(" resumed", subject.is_resumed()), (" early", subject.is_early())] {
        out.push_str(if is_so { word } else { "" });
    }
    out.push('\n');
    out
}

pub(super) fn json(entry: &Entry<'_>, time: SystemTime, peers: bool) -> String {
    let subject = entry.subject;
    let mut out = format!("{{\"time\":\"{}\"", rfc3339(time));
    let texts = [
        ("method", subject.method()),
        ("authority", subject.authority()),
        ("path", subject.target()),
        ("protocol", subject.protocol().or(Some(b"HTTP/3.0"))),
        ("route", subject.route().map(str::as_bytes)),
    ];
    for (name, value) in texts {
        json_text(&mut out, name, value);
    }
    let status = entry.status.map(|status| u64::from(status.as_u16()));
    for (name, value) in [("status", status), ("bytes", entry.sent), ("received", entry.received)] {
        let _ = match value {
            Some(value) => write!(out, ",\"{name}\":{value}"),
            None => write!(out, ",\"{name}\":null"),
        };
    }
    let (resumed, early) = (subject.is_resumed(), subject.is_early());
    let seconds = entry.duration.as_secs_f64();
    let _ = write!(out, ",\"duration\":{seconds:.6},\"resumed\":{resumed},\"early\":{early}");
    json_text(&mut out, "referer", subject.referer());
    json_text(&mut out, "user_agent", subject.user_agent());
    json_text(&mut out, "error", entry.error.as_deref().map(str::as_bytes));
    if peers {
        json_text(&mut out, "peer", Some(subject.peer().to_string().as_bytes()));
    }
    out.push_str("}\n");
    out
}

fn or_dash(out: &mut String, value: Option<u64>) {
    let _ = match value {
        Some(value) => write!(out, "{value}"),
        None => write!(out, "-"),
    };
}

/// As Apache and nginx do: quotes, backslashes and all that is not printable ASCII as `\xHH`.
fn escape(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' | ..0x20 | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            _ => out.push(char::from(*byte)),
        }
    }
}

/// Another member of an object, in ASCII.
fn json_text(out: &mut String, name: &str, value: Option<&[u8]>) {
    let _ = write!(out, ",\"{name}\":");
    let Some(value) = value else { return out.push_str("null") };
    out.push('"');
    for c in String::from_utf8_lossy(value).chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// Year, month, day, hour, minute, second and millisecond, UTC.
fn parts(time: SystemTime) -> [u64; 7] {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years begin in March, so that the day that not every year has is the last one. Days are counted from March 1st of the
    // year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    [year, month, day, rest / 3600, rest / 60 % 60, rest % 60, u64::from(since.subsec_millis())]
}

fn rfc3339(time: SystemTime) -> String {
    let [year, month, day, hour, minute, second, milli] = parts(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

fn clf_time(time: SystemTime) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let [year, month, day, hour, minute, second, _] = parts(time);
    let month = MONTHS.get(month as usize - 1).unwrap_or(&"-");
    format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use http::header::{HeaderValue, REFERER, USER_AGENT};

    use super::super::entry::{MAX_FIELD, Subject};
    use super::*;
    use crate::h3::Request;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7)
    }

    #[test]
    fn times() {
        let cases = [
            (0, "1970-01-01T00:00:00.007Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_399, "2000-02-28T23:59:59.007Z", "28/Feb/2000:23:59:59 +0000"),
            (951_782_400, "2000-02-29T00:00:00.007Z", "29/Feb/2000:00:00:00 +0000"),
            (1_795_743_425, "2026-11-27T01:37:05.007Z", "27/Nov/2026:01:37:05 +0000"),
            (4_107_542_399, "2100-02-28T23:59:59.007Z", "28/Feb/2100:23:59:59 +0000"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z", "01/Mar/2100:00:00:00 +0000"),
        ];
        for (seconds, rfc, clf) in cases {
            assert_eq!((rfc3339(at(seconds)).as_str(), clf_time(at(seconds)).as_str()), (rfc, clf));
        }
    }

    #[test]
    fn a_line_cannot_be_forged() {
        let mut request = Request::for_test("GET", "/a\"b\\c\r\n\u{1b}[2J\u{7f}é?q");
        let agent = HeaderValue::from_bytes(b"x\"\t\xff \\").unwrap();
        request.head.headers.insert(USER_AGENT, agent);
        request.head.headers.insert(REFERER, HeaderValue::from_str(&"r".repeat(5000)).unwrap());
        let error = Some("\u{2028}no\n".to_owned());
        let duration = Duration::from_micros(1500);
        let entry =
            Entry { subject: Subject::Request(&request), status: None, sent: Some(3), received: None, duration, error };
        let referer = "r".repeat(MAX_FIELD);
        let expected = format!(
            "192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] \"GET /a\\x22b\\x5Cc\\x0D\\x0A\\x1B[2J\\x7F\\xC3\\xA9?q \
             HTTP/3.0\" - 3 \"{referer}\" \"x\\x22\\x09\\xFF \\x5C\" time=0.001500 received=- \
             error=\"\\xE2\\x80\\xA8no\\x0A\"\n"
        );
        assert_eq!(text(&entry, at(0), true), expected);
        let line = json(&entry, at(0), true);
        assert!(line.trim_end_matches('\n').bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:00.007Z", "method": "GET", "authority": "localhost",
            "path": "/a\"b\\c\r\n\u{1b}[2J\u{7f}é?q", "protocol": "HTTP/3.0", "route": null, "status": null, "bytes": 3,
            "received": null, "duration": 0.0015, "resumed": false, "early": false, "referer": referer,
            "user_agent": "x\"\t\u{fffd} \\", "error": "\u{2028}no\n", "peer": "192.0.2.1:1",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn addresses_are_there_only_if_wanted() {
        let request = Request::for_test("HEAD", "/");
        let (status, duration) = (Some(StatusCode::OK), Duration::ZERO);
        let entry = Entry {
            subject: Subject::Request(&request),
            status,
            sent: Some(0),
            received: Some(0),
            duration,
            error: None,
        };
        let expected =
            "- - - [01/Jan/1970:00:00:00 +0000] \"HEAD / HTTP/3.0\" 200 0 \"-\" \"-\" time=0.000000 received=0\n";
        assert_eq!(text(&entry, at(0), false), expected);
        assert!(!json(&entry, at(0), false).contains("192.0.2.1"));
    }
}
