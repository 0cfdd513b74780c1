//! `-w`: what a transfer was, in curl's variables.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::Value as Json;

use super::active::Facts;
use super::failure::{Problem, READ, WRITE};
use crate::cli::input;

/// The variables, in the order of `%{json}`.
const NAMES: &str = "\
    certs conn_id content_type errormsg exitcode filename_effective ftp_entry_path http_code http_connect \
    http_version local_ip local_port method num_certs num_connects num_headers num_redirects num_retries \
    proxy_ssl_verify_result proxy_used redirect_url referer remote_ip remote_port response_code scheme \
    size_delivered size_download size_header size_request size_upload speed_download speed_upload \
    ssl_verify_result time_appconnect time_connect time_namelookup time_posttransfer time_pretransfer time_queue \
    time_redirect time_starttransfer time_total tls_earlydata url url.fragment url.host url.options url.password \
    url.path url.port url.query url.scheme url.user url.zoneid url_effective urle.fragment urle.host \
    urle.options urle.password urle.path urle.port urle.query urle.scheme urle.user urle.zoneid urlnum xfer_id";

pub(in crate::cli) const HELP: &str = "\
Variables of -w, as curl's; %{json} shows all of them, and a format @FILE is read from that file:
  certs conn_id content_type errormsg exitcode filename_effective http_code http_version local_ip local_port
  method num_certs num_connects num_headers num_redirects num_retries redirect_url referer remote_ip remote_port
  response_code scheme size_delivered size_download size_header size_request size_upload speed_download
  speed_upload ssl_verify_result time_appconnect time_connect time_namelookup time_posttransfer time_pretransfer
  time_queue time_redirect time_starttransfer time_total tls_earlydata url url_effective urlnum xfer_id
  url.PART and urle.PART of url and url_effective: scheme host port path query fragment user password
  header_json (the response's fields), %header{NAME} (one of them), %output{FILE} and %output{>>FILE}, stderr and
  stdout (where the rest goes), onerror (the rest is for transfers that failed); \\n \\r \\t %%";

/// Where a piece of the output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    Stdout,
    Stderr,
    File { path: PathBuf, append: bool },
}

impl Sink {
    /// Writes to a file.
    pub(super) fn write_file(path: &Path, append: bool, text: &str) -> Result<(), Problem> {
        let file = OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|e| Problem::new(WRITE, format!("cannot write to '{}': {e} (-w)", path.display())))
    }
}

/// What a variable says.
#[derive(Debug, PartialEq)]
enum Value<'a> {
    Nothing,
    Text(Cow<'a, str>),
    Number(i128),
    /// Three digits in text.
    Code(u16),
    Time(Duration),
}

impl Value<'_> {
    fn show(self) -> String {
        match self {
            Value::Nothing => String::new(),
            Value::Text(text) => text.into_owned(),
            Value::Number(number) => number.to_string(),
            Value::Code(code) => format!("{code:03}"),
            Value::Time(time) => format!("{:.6}", time.as_secs_f64()),
        }
    }

    fn json(self) -> String {
        match self {
            Value::Nothing => "null".to_owned(),
            Value::Text(text) => Json::from(text.into_owned()).to_string(),
            Value::Code(code) => code.to_string(),
            other => other.show(),
        }
    }
}

/// The format that `-w` gives, read from a file if it is `@FILE`.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn format(given: &str) -> Result<String, Problem> {
    let Some(file) = given.strip_prefix('@') else { return Ok(given.to_owned()) };
    let failed = |e| Problem::new(READ, format!("cannot read '{file}': {e} (-w)"));
    let text = input::read_or_stdin(file.as_ref()).map_err(failed)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The output for a transfer, in pieces, and the names in the format that are not known.
pub(super) fn write_out(format: &str, facts: &Facts) -> (Vec<(Sink, String)>, Vec<String>) {
    let (mut pieces, mut unknown) = (vec![(Sink::Stdout, String::new())], Vec::new());
    let mut rest = format;
    while let Some(at) = rest.find(['%', '\\']) {
        let special = &rest[at..];
        push(&mut pieces, &rest[..at]);
        let braced = |start: &str| special.strip_prefix(start).and_then(|rest| rest.split_once('}'));
        if let Some((name, after)) = braced("%{") {
            rest = after;
            match name {
                "stdout" => pieces.push((Sink::Stdout, String::new())),
                "stderr" => pieces.push((Sink::Stderr, String::new())),
                "onerror" if facts.exit_code == 0 => return (pieces, unknown),
                "onerror" => {}
                "json" => push(&mut pieces, &json(facts)),
                "header_json" => push(&mut pieces, &header_json(facts)),
                name => match value(facts, name) {
                    Some(value) => push(&mut pieces, &value.show()),
                    None => unknown.push(name.to_owned()),
                },
            }
        } else if let Some((name, after)) = braced("%header{") {
            rest = after;
            let value = facts.fields.get(name.trim()).map(|value| String::from_utf8_lossy(value.as_bytes()));
            push(&mut pieces, &value.unwrap_or_default());
        } else if let Some((name, after)) = braced("%output{") {
            rest = after;
            let (path, append) = name.strip_prefix(">>").map_or((name, false), |path| (path, true));
            pieces.push((Sink::File { path: path.into(), append }, String::new()));
        } else {
            let escapes = [("%%", "%"), ("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t")];
            let known = escapes.into_iter().find(|(escape, _)| special.starts_with(escape));
            // Others stand for themselves, with the character behind them.
            let plain = special.char_indices().nth(2).map_or(special, |(end, _)| &special[..end]);
            push(&mut pieces, known.map_or(plain, |(_, shown)| shown));
            rest = &special[known.map_or(plain.len(), |(escape, _)| escape.len())..];
        }
    }
    push(&mut pieces, rest);
    (pieces, unknown)
}

fn push(pieces: &mut [(Sink, String)], text: &str) {
    if let Some((_, piece)) = pieces.last_mut() {
        piece.push_str(text);
    }
}

/// All variables in one object.
fn json(facts: &Facts) -> String {
    let member = |name: &str| {
        let value = value(facts, name).unwrap_or(Value::Nothing).json();
        format!("\"{name}\":{value}")
    };
    let members: Vec<String> = NAMES.split(' ').map(member).collect();
    format!("{{{}}}", members.join(","))
}

/// The response's fields in an object, each name with all of its values.
fn header_json(facts: &Facts) -> String {
    let member = |name: &http::HeaderName| {
        let values = facts.fields.get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        format!("\"{name}\":{}", Json::from(values))
    };
    let members: Vec<String> = facts.fields.keys().map(member).collect();
    format!("{{{}\n}}", members.join(",\n"))
}

fn value<'a>(facts: &'a Facts, name: &str) -> Option<Value<'a>> {
    let text = |text: Option<&'a str>| text.map_or(Value::Nothing, |text| Value::Text(text.into()));
    let number = |number: u64| Value::Number(number.into());
    let time = |time: Option<Duration>| Value::Time(time.unwrap_or_default());
    let (link, times) = (facts.link.as_deref(), facts.times);
    // As in curl, a connection that is used again shows none.
    let certificate = link.filter(|_| facts.connects > 0).and_then(|link| link.certificate.as_deref());
    let address = |address: Option<std::net::SocketAddr>| {
        Value::Text(address.map(|at| at.ip().to_canonical().to_string()).unwrap_or_default().into())
    };
    let port = |address: Option<std::net::SocketAddr>| Value::Number(address.map_or(-1, |at| at.port().into()));
    let speed = |bytes: u64| match times.total.as_micros() {
        0 => Value::Number(0),
        micros => Value::Number((u128::from(bytes) * 1_000_000 / micros) as i128),
    };
    Some(match name {
        "certs" => Value::Text(certificate.map_or_else(String::new, pem).into()),
        "conn_id" => Value::Number(link.map_or(-1, |link| link.number as i128)),
        "content_type" => {
            let value = facts.fields.get(http::header::CONTENT_TYPE);
            value.map_or(Value::Nothing, |value| Value::Text(String::from_utf8_lossy(value.as_bytes())))
        }
        "errormsg" => text(facts.error.as_deref()),
        "exitcode" => number(facts.exit_code.into()),
        "filename_effective" => facts.file.as_ref().map_or(Value::Nothing, |file| Value::Text(file.to_string_lossy())),
        "ftp_entry_path" => Value::Nothing,
        "http_code" | "response_code" => Value::Code(facts.status.unwrap_or_default()),
        "http_connect" => Value::Code(0),
        "http_version" => text(Some(if facts.status.is_some() { "3" } else { "0" })),
        "local_ip" => address(link.map(|link| link.local)),
        "local_port" => port(link.map(|link| link.local)),
        "method" => text(Some(facts.method.as_str())),
        "num_certs" => number(certificate.is_some().into()),
        "num_connects" => number(facts.connects as u64),
        "num_headers" => number(facts.fields.len() as u64),
        "num_redirects" => number(facts.redirects as u64),
        "num_retries" => number(facts.retries.into()),
        "proxy_ssl_verify_result" | "proxy_used" => number(0),
        "redirect_url" => text(facts.redirect_url.as_deref()),
        "referer" => text(facts.referer.as_deref()),
        "remote_ip" => address(link.map(|link| link.peer)),
        "remote_port" => port(link.map(|link| link.peer)),
        "scheme" => text(Some("https")),
        "size_delivered" => number(facts.delivered),
        "size_download" => number(facts.received),
        "size_header" => number(facts.header_size),
        "size_request" => number(facts.request_size),
        "size_upload" => number(facts.sent),
        "speed_download" => speed(facts.received),
        "speed_upload" => speed(facts.sent),
        "ssl_verify_result" => number(link.is_none().into()),
        "time_appconnect" | "time_connect" | "time_pretransfer" => time(times.connect),
        "time_namelookup" => time(times.name_lookup),
        "time_posttransfer" => time(times.sent),
        "time_queue" => time(None),
        "time_redirect" => time(Some(times.redirect)),
        "time_starttransfer" => time(times.first_byte),
        "time_total" => time(Some(times.total)),
        "tls_earlydata" => number(if facts.early { facts.request_size } else { 0 }),
        "url" => text(Some(&facts.given)),
        "url_effective" => text(Some(&facts.url)),
        "urlnum" => number(facts.number as u64),
        "xfer_id" => number(facts.id),
        name => return part(facts, name),
    })
}

/// `url.PART` and `urle.PART`.
fn part<'a>(facts: &Facts, name: &str) -> Option<Value<'a>> {
    let (of, part) = name.split_once('.')?;
    let url = match of {
        "url" if facts.given.contains("://") => facts.given.clone(),
        "url" => format!("https://{}", facts.given),
        "urle" => facts.url.clone(),
        _ => return None,
    };
    let Ok(url) = url::Url::parse(&url) else { return Some(Value::Nothing) };
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let value = match part {
        "fragment" => url.fragment().map(str::to_owned),
        "host" => url.host_str().map(str::to_owned),
        "password" => url.password().map(str::to_owned),
        "path" => some(url.path()),
        "port" => url.port_or_known_default().map(|port| port.to_string()),
        "query" => url.query().map(str::to_owned),
        "scheme" => some(url.scheme()),
        "user" => some(url.username()),
        "options" | "zoneid" => None,
        _ => return None,
    };
    Some(value.map_or(Value::Nothing, |value| Value::Text(value.into())))
}

/// A certificate in PEM form (RFC 7468).
fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]);
    let lines: Vec<&str> = lines.collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
