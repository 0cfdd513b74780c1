//! What `-d` and its relatives send, as a body or, with `-G`, in the query.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use clap::Args as ClapArgs;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::body::{Body, Part, is_kept};
use super::failure::{Problem, READ, USAGE};

/// What curl leaves as it is: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, ClapArgs)]
pub(super) struct DataArgs {
    /// POST this, or the contents of @FILE without line ends (@- is standard input); repeatable, joined by &
    #[arg(short = 'd', long, visible_alias = "data-ascii", value_name = "DATA|@FILE", allow_hyphen_values = true)]
    data: Vec<String>,
    /// As --data, but @ is nothing special
    #[arg(long, value_name = "DATA", allow_hyphen_values = true)]
    data_raw: Vec<String>,
    /// As --data, with line ends
    #[arg(long, value_name = "DATA|@FILE", allow_hyphen_values = true)]
    data_binary: Vec<String>,
    /// As --data, encoded as a form: DATA, =DATA, NAME=DATA, @FILE or NAME@FILE
    #[arg(long, value_name = "DATA", allow_hyphen_values = true)]
    data_urlencode: Vec<String>,
    /// Append the data to the query of the URLs, and send GET
    #[arg(short = 'G', long)]
    pub(super) get: bool,
}

impl DataArgs {
    /// The data, unless there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or standard input twice.
    pub(super) fn parts(&self) -> Result<Vec<Part>, Problem> {
        let mut parts = Vec::new();
        for text in &self.data {
            add(&mut parts, part(text, true)?);
        }
        for text in &self.data_raw {
            add(&mut parts, Part::Bytes(Bytes::from(text.clone())));
        }
        for text in &self.data_binary {
            add(&mut parts, part(text, false)?);
        }
        for text in &self.data_urlencode {
            add(&mut parts, encoded(text)?);
        }
        if parts.iter().filter(|part| matches!(part, Part::Stdin { .. })).count() > 1 {
            return Err(Problem::new(USAGE, "standard input can be sent only once, but @- is given twice"));
        }
        Ok(parts)
    }

    /// The data as a body, which `-G` does not send.
    pub(super) fn body(&self) -> Result<Option<Body>, Problem> {
        let parts = if self.get { Vec::new() } else { self.parts()? };
        Ok((!parts.is_empty()).then(|| Body::form(parts)))
    }

    /// The data for the query, with `-G`.
    pub(super) fn query(&self) -> Result<Option<String>, Problem> {
        let parts = if self.get { self.parts()? } else { Vec::new() };
        let mut query = Vec::new();
        for part in &parts {
            match part {
                Part::Bytes(bytes) => query.extend_from_slice(bytes),
                Part::File { path, strip, .. } => query.extend(stripped(contents(path)?, *strip)),
                Part::Stdin { strip } => query.extend(stripped(contents(Path::new("-"))?, *strip)),
            }
        }
        Ok((!query.is_empty()).then(|| String::from_utf8_lossy(&query).into_owned()))
    }
}

fn add(parts: &mut Vec<Part>, part: Part) {
    if !parts.is_empty() {
        parts.push(Part::Bytes(Bytes::from_static(b"&")));
    }
    parts.push(part);
}

fn part(text: &str, strip: bool) -> Result<Part, Problem> {
    Ok(match text.strip_prefix('@') {
        Some("-") => Part::Stdin { strip },
        Some(file) => Part::file(Path::new(file), strip)?,
        None => Part::Bytes(Bytes::from(text.to_owned())),
    })
}

/// The first = or @ ends the name, which is sent as it is. A space is a +, as in forms.
fn encoded(text: &str) -> Result<Part, Problem> {
    let (name, data) = match text.find(['=', '@']) {
        None => ("", text.as_bytes().to_vec()),
        Some(at) if text[at..].starts_with('=') => (&text[..at], text.as_bytes()[at + 1..].to_vec()),
        Some(at) => (&text[..at], contents(Path::new(&text[at + 1..]))?),
    };
    let data = percent_encode(&data, ENCODED).to_string().replace("%20", "+");
    let text = if name.is_empty() { data } else { format!("{name}={data}") };
    Ok(Part::Bytes(text.into()))
}

fn contents(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut data = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_end(&mut data),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut data)),
    };
    read.map_err(|e| Problem::new(READ, format!("cannot read '{}': {e}", path.display())))?;
    Ok(data)
}

fn stripped(data: Vec<u8>, strip: bool) -> impl Iterator<Item = u8> {
    data.into_iter().filter(move |byte| !strip || is_kept(&byte))
}
