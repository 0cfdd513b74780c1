//! A listing as a page and as JSON.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::listing::{Item, Key, Listing, Order};

/// RFC 3986 section 2.3: what is not unreserved. A colon, too: without a slash before it, it would end a scheme.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const SHOWN_DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]");
const JSON_DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}\
h1{font-size:1.2rem;font-weight:600;overflow-wrap:anywhere}\
a{text-decoration:none}a:hover{text-decoration:underline}\
table{border-collapse:collapse;width:100%}\
th,td{padding:.5rem .25rem;text-align:left;border-bottom:1px solid #8884;vertical-align:top}\
th{font-weight:600;white-space:nowrap}\
td:first-child{overflow-wrap:anywhere}td:first-child a{display:block}\
.s,.d{white-space:nowrap;font-variant-numeric:tabular-nums;color:#777}\
.s{text-align:right}\
p{color:#777}\
@media(max-width:30rem){.d i{display:none}td.d,td.s{font-size:.8rem;line-height:1.875}}\
i{font-style:normal}";

/// The page of a listing. `path` is that of the directory in the URL, percent-encoded; `is_root` if it is served as a
/// whole, and has no directory above.
pub(in crate::app) fn html(listing: &Listing, path: &str, is_root: bool, order: Order) -> String {
    let title: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let title = shown(&title);
    let mut page = String::with_capacity(1500 + 250 * listing.items.len());
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{}</h1>\n<table>\n<tr>",
        breadcrumbs(path)
    );
    for (key, name, class) in
        [(Key::Name, "Name", ""), (Key::Size, "Size", "s"), (Key::Date, "Modified<i> (UTC)</i>", "d")]
    {
        let is_key = order.key == key;
        let parameter = match key {
            Key::Name => "name",
            Key::Size => "size",
            Key::Date => "date",
        };
        let direction = if is_key && !order.descending { "desc" } else { "asc" };
        let mark = match (is_key, order.descending) {
            (true, false) => " \u{25b2}",
            (true, true) => " \u{25bc}",
            (false, _) => "",
        };
        let _ =
            write!(page, "<th class=\"{class}\"><a href=\"?sort={parameter}&amp;order={direction}\">{name}{mark}</a>");
    }
    page.push('\n');
    if !is_root {
        page.push_str("<tr><td><a href=\"../\">../</a><td class=\"s\"><td class=\"d\">\n");
    }
    for item in listing.ordered(order) {
        let (href, name) = (href(item), shown(item.name.as_bytes()));
        let slash = if item.is_dir { "/" } else { "" };
        let size = item.len.map(size).unwrap_or_default();
        let _ = write!(page, "<tr><td><a href=\"{href}\">{name}{slash}</a><td class=\"s\">{size}<td class=\"d\">");
        if let Some(date) = date(item.modified, SHOWN_DATE) {
            let (day, time) = date.split_once(' ').unwrap_or((&date, ""));
            let _ = write!(page, "{day}<i> {time}</i>");
        }
        page.push('\n');
    }
    page.push_str("</table>\n");
    let (count, total) = (listing.items.len(), listing.total);
    let _ = match total {
        _ if total > count as u64 => writeln!(page, "<p>The first {count} of {total} entries, by name.</p>"),
        0 => writeln!(page, "<p>Empty.</p>"),
        _ => Ok(()),
    };
    page
}

/// The listing as JSON: names as text, with U+FFFD for bytes that are not UTF-8, and `href`, which is exact.
pub(in crate::app) fn json(listing: &Listing, order: Order) -> Vec<u8> {
    let entry = |item: &&Item| {
        json!({
            "name": String::from_utf8_lossy(item.name.as_bytes()),
            "href": href(item),
            "type": if item.is_dir { "directory" } else { "file" },
            "size": item.len,
            "modified": date(item.modified, JSON_DATE),
        })
    };
    let entries: Vec<Value> = listing.ordered(order).iter().map(entry).collect();
    format!("{}\n", json!({ "total": listing.total, "entries": entries })).into_bytes()
}

/// A relative reference.
fn href(item: &Item) -> String {
    let slash = if item.is_dir { "/" } else { "" };
    format!("{}{slash}", percent_encode(OsStr::as_bytes(&item.name), SEGMENT))
}

/// The path with a link for each directory in it.
fn breadcrumbs(path: &str) -> String {
    let segments: Vec<&str> = path.trim_matches('/').split('/').filter(|segment| !segment.is_empty()).collect();
    let mut line = format!("<a href=\"{}\">/</a>", if segments.is_empty() { "./" } else { "/" });
    for (at, segment) in segments.iter().enumerate() {
        let name: Vec<u8> = percent_encoding::percent_decode_str(segment).collect();
        let above = segments.len() - 1 - at;
        let href = if above == 0 { "./".to_owned() } else { "../".repeat(above) };
        let _ = write!(line, " <a href=\"{href}\">{}/</a>", shown(&name));
    }
    line
}

/// A name as text in HTML. What could disguise it is replaced: control characters, and those that change the direction
/// of the text.
fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for c in String::from_utf8_lossy(name).chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => text.push('\u{fffd}'),
            c if c.is_control() => text.push('\u{fffd}'),
            c => text.push(c),
        }
    }
    text
}

/// A number of bytes in the largest unit of which it has at least one.
fn size(len: u64) -> Cow<'static, str> {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if len < 1024 {
        return format!("{len} B").into();
    }
    let unit = (len.ilog2() / 10) as usize;
    let value = len as f64 / (1u64 << (10 * unit)) as f64;
    format!("{value:.1} {}", UNITS[unit - 1]).into()
}

fn date(time: Option<SystemTime>, format: &[BorrowedFormatItem<'_>]) -> Option<String> {
    let seconds = match time?.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).ok()?,
        Err(before) => -i64::try_from(before.duration().as_secs()).ok()?,
    };
    // Years of more than four digits are not known here.
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(format).ok()
}

#[cfg(test)]
#[path = "listing_page_tests.rs"]
mod tests;
