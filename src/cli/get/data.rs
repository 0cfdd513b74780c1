//! What `-d` and its relatives send, as a body or, with `-G`, in the query.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;
use clap::{ArgMatches, Args as ClapArgs};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::body::{self, Body, Part, is_kept};
use super::failure::{Problem, READ, USAGE};
use super::form::{self, Field};

/// What curl leaves as it is: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Clone, Debug, ClapArgs)]
#[group(id = "data_options")]
struct Flags {
    /// POST this, or the contents of @FILE without line ends (@- is standard input); repeatable, joined by &
    #[arg(short = 'd', long, visible_alias = "data-ascii", value_name = "DATA|@FILE", allow_hyphen_values = true)]
    data: Vec<OsString>,
    /// As --data, but @ is nothing special
    #[arg(long, value_name = "DATA", allow_hyphen_values = true)]
    data_raw: Vec<OsString>,
    /// As --data, with line ends
    #[arg(long, value_name = "DATA|@FILE", allow_hyphen_values = true)]
    data_binary: Vec<OsString>,
    /// As --data, encoded as a form: DATA, =DATA, NAME=DATA, @FILE or NAME@FILE
    #[arg(long, value_name = "DATA", allow_hyphen_values = true)]
    data_urlencode: Vec<OsString>,
    /// As --data-binary, as JSON (content-type and accept), and joined by nothing
    #[arg(long, value_name = "DATA|@FILE", allow_hyphen_values = true)]
    json: Vec<OsString>,
    /// A field of a form with files: NAME=CONTENT, @FILE,FILE... or <FILE (its contents only), with ;type= and ;filename=
    #[arg(short = 'F', long, value_name = "NAME=CONTENT", conflicts_with_all = ["data", "data_raw", "data_binary",
        "data_urlencode", "json", "get"])]
    form: Vec<OsString>,
    /// As --form, but @, < and ; are nothing special
    #[arg(long, value_name = "NAME=CONTENT", conflicts_with_all = ["data", "data_raw", "data_binary",
        "data_urlencode", "json", "get"])]
    form_string: Vec<OsString>,
    /// Append the data to the query of the URLs, and send GET
    #[arg(short = 'G', long)]
    get: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Raw,
    Binary,
    Encoded,
    Json,
    Field,
    PlainField,
}

/// The names of the options.
const KINDS: [(&str, Kind); 7] = [
    ("data", Kind::Data),
    ("data_raw", Kind::Raw),
    ("data_binary", Kind::Binary),
    ("data_urlencode", Kind::Encoded),
    ("json", Kind::Json),
    ("form", Kind::Field),
    ("form_string", Kind::PlainField),
];

/// The data in the order of the command line.
#[derive(Debug)]
pub(super) struct DataArgs {
    data: Vec<(Kind, OsString)>,
    get: bool,
}

impl clap::FromArgMatches for DataArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = Flags::from_arg_matches(matches)?;
        let mut data = Vec::new();
        for (name, kind) in KINDS {
            let values = matches.get_many::<OsString>(name).into_iter().flatten();
            let places = matches.indices_of(name).into_iter().flatten();
            data.extend(places.zip(values).map(|(place, value)| (place, kind, value.clone())));
        }
        data.sort_by_key(|(place, ..)| *place);
        Ok(DataArgs { data: data.into_iter().map(|(_, kind, value)| (kind, value)).collect(), get: flags.get })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl ClapArgs for DataArgs {
    fn group_id() -> Option<clap::Id> {
        Some("data_options".into())
    }

    fn augment_args(command: clap::Command) -> clap::Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Flags::augment_args_for_update(command)
    }
}

impl DataArgs {
    /// The data, unless there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or standard input twice.
    fn parts(&self) -> Result<Vec<Part>, Problem> {
        let mut parts = Vec::new();
        for (kind, text) in &self.data {
            if !parts.is_empty() && *kind != Kind::Json {
                parts.push(Part::Bytes(Bytes::from_static(b"&")));
            }
            let text = text.as_bytes();
            parts.push(match kind {
                Kind::Data => part(text, true)?,
                // The command line has either fields or data.
                Kind::Field | Kind::PlainField => continue,
                Kind::Raw => Part::Bytes(Bytes::copy_from_slice(text)),
                Kind::Binary | Kind::Json => part(text, false)?,
                Kind::Encoded => encoded(text)?,
            });
        }
        if parts.iter().filter(|part| matches!(part, Part::Stdin { .. })).count() > 1 {
            return Err(Problem::new(USAGE, "standard input can be sent only once, but @- is given twice"));
        }
        Ok(parts)
    }

    fn is_json(&self) -> bool {
        self.data.iter().any(|(kind, _)| *kind == Kind::Json)
    }

    /// The data as a body, which `-G` does not send.
    pub(super) fn body(&self) -> Result<Option<Body>, Problem> {
        let mut fields = Vec::new();
        for (kind, text) in &self.data {
            match kind {
                Kind::Field => fields.push(Field::Any(text)),
                Kind::PlainField => fields.push(Field::Plain(text)),
                _ => {}
            }
        }
        if !fields.is_empty() {
            return form::body(&fields).map(Some);
        }
        let parts = if self.get { Vec::new() } else { self.parts()? };
        let kind = if self.is_json() { body::Kind::Json } else { body::Kind::Form };
        Ok((!parts.is_empty()).then(|| Body::new(parts, kind)))
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

fn part(text: &[u8], strip: bool) -> Result<Part, Problem> {
    Ok(match text.strip_prefix(b"@") {
        Some(b"-") => Part::Stdin { strip },
        Some(file) => Part::file(path(file), strip)?,
        None => Part::Bytes(Bytes::copy_from_slice(text)),
    })
}

fn path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

/// The first = or @ ends the name, which is sent as it is. A space is a +, as in forms.
fn encoded(text: &[u8]) -> Result<Part, Problem> {
    let (name, data) = match text.iter().position(|byte| [b'=', b'@'].contains(byte)) {
        None => (&[][..], text.to_vec()),
        Some(at) if text[at] == b'=' => (&text[..at], text[at + 1..].to_vec()),
        Some(at) => (&text[..at], contents(path(&text[at + 1..]))?),
    };
    let data = percent_encode(&data, ENCODED).to_string().replace("%20", "+");
    let named = [name, b"=", data.as_bytes()].concat();
    Ok(Part::Bytes(if name.is_empty() { data.into() } else { named.into() }))
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
