//! `--alt-svc`: alternative services in a file, as curl keeps them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mio_quiche::{AltService, Client};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{PrimitiveDateTime, UtcDateTime};

use super::failure::{Problem, READ, WRITE};
use super::replace::replace;
use crate::cli::input;

const EXPIRES: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day] [hour]:[minute]:[second]");
const HEADING: &str = "# Alternative services, as curl --alt-svc keeps them.\n";

#[derive(Debug)]
pub(super) struct AltServiceFile {
    path: PathBuf,
    known: Vec<AltService>,
    /// Alternatives of other protocols, kept for other programs.
    others: Vec<String>,
}

impl AltServiceFile {
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        let text = match input::read(path) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            // As in curl, an empty name stores nothing.
            Err(_) if path.as_os_str().is_empty() => String::new(),
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => {
                let message = format!("cannot read the alternative services in '{}': {e} (--alt-svc)", path.display());
                return Err(Problem::new(READ, message));
            }
        };
        let (mut known, mut others) = (Vec::new(), Vec::new());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match parse(line) {
                Some(Line::Known(service)) => known.push(service),
                Some(Line::Other) => others.push(line.to_owned()),
                None => {}
            }
        }
        Ok(AltServiceFile { path: path.to_owned(), known, others })
    }

    pub(super) fn give_to(&mut self, client: &mut Client) {
        self.known.drain(..).for_each(|service| client.add_alternative(service));
    }

    pub(super) fn save(&self, client: &Client) -> Result<(), Problem> {
        if self.path.as_os_str().is_empty() {
            return Ok(());
        }
        let mut text = HEADING.to_owned();
        let lines = client.alternatives().iter().filter_map(line).collect::<Vec<_>>();
        for line in lines.iter().chain(&self.others) {
            text += line;
            text.push('\n');
        }
        let failed = |e: std::io::Error| {
            let path = self.path.display();
            Problem::new(WRITE, format!("cannot keep alternative services in '{path}': {e} (--alt-svc)"))
        };
        replace(&self.path, &text).map_err(failed)
    }
}

enum Line {
    Known(AltService),
    Other,
}

/// PROTOCOL HOST PORT PROTOCOL HOST PORT "DATE TIME" PERSIST PRIORITY
fn parse(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, origin_host, origin_port, protocol, host, port, date, time, persist, _] = words[..] else { return None };
    if protocol != "h3" {
        return Some(Line::Other);
    }
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let expires = format!("{} {}", date.trim_start_matches('"'), time.trim_end_matches('"'));
    Some(Line::Known(AltService {
        origin_host: bare(origin_host),
        origin_port: origin_port.parse().ok()?,
        host: bare(host),
        port: port.parse().ok()?,
        expires: PrimitiveDateTime::parse(&expires, EXPIRES).ok()?.assume_utc().into(),
        persist: persist == "1",
    }))
}

fn line(service: &AltService) -> Option<String> {
    let expires = UtcDateTime::from(service.expires).format(EXPIRES).ok()?;
    let host = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let AltService { origin_host, origin_port, port, persist, .. } = service;
    let (from, to, persist) = (host(origin_host), host(&service.host), u8::from(*persist));
    Some(format!("h3 {from} {origin_port} h3 {to} {port} \"{expires}\" {persist} 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_curls() {
        for text in [
            "h3 www.example.com 443 h3 shiny.example.com 8443 \"20390904 01:02:03\" 1 0",
            "h3 [2001:db8::1] 443 h3 [2001:db8::2] 443 \"20390904 00:00:00\" 0 0",
        ] {
            let Some(Line::Known(service)) = parse(text) else { panic!("{text}") };
            assert_eq!(line(&service).as_deref(), Some(text));
        }
        let learnt_by_tcp = "h2 a.example 443 h3 a.example 443 \"20390904 00:00:00\" 0 0";
        assert!(matches!(parse(learnt_by_tcp), Some(Line::Known(_))));
        assert!(matches!(parse(&learnt_by_tcp.replace("h3", "h2")), Some(Line::Other)));
        for wrong in
            ["", "h3 a 443 h3 b 443", "h3 a x h3 b 443 \"20390904 00:00:00\" 0 0", "h3 a 1 h3 b 1 \"2039 x\" 0 0"]
        {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
