//! `-F`: forms with files (RFC 7578).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;
use data_encoding::HEXLOWER;

use super::body::{Body, Kind, Part};
use super::failure::{Problem, USAGE};

/// A field of a form.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    /// `NAME=CONTENT`, with `@` and `<` for files, attributes, and `,` between several files behind `@`.
    Any(&'a OsStr),
    /// `NAME=CONTENT`, as it is.
    Plain(&'a OsStr),
}

/// The body of a form.
///
/// # Errors
/// A field that is not of the form above, or a file that cannot be read.
pub(super) fn body(fields: &[Field<'_>]) -> Result<Body, Problem> {
    let boundary = new_boundary()?;
    let mut form = Writer::default();
    for field in fields {
        let Parsed { name, mut contents } = parse(*field)?;
        form.text(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"").as_bytes());
        form.text(&quoted(&name));
        form.text(b"\"");
        if contents.len() == 1 {
            form.content(contents.remove(0));
            continue;
        }
        // As curl, several files of a field are a part with parts of its own (RFC 2388 section 4.2).
        let inner = new_boundary()?;
        form.text(format!("\r\nContent-Type: multipart/mixed; boundary={inner}\r\n\r\n").as_bytes());
        for content in contents {
            form.text(format!("--{inner}\r\nContent-Disposition: attachment").as_bytes());
            form.content(content);
        }
        form.text(format!("--{inner}--\r\n\r\n").as_bytes());
    }
    form.text(format!("--{boundary}--\r\n").as_bytes());
    let parts = form.end();
    if parts.iter().filter(|part| matches!(part, Part::Stdin { .. })).count() > 1 {
        return Err(Problem::new(USAGE, "standard input can be sent only once, but -F reads it twice"));
    }
    Ok(Body::new(parts, Kind::Multipart { boundary }))
}

/// As curl's.
fn new_boundary() -> Result<String, Problem> {
    let mut random = [0; 11];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
        .map_err(|_| Problem::new(USAGE, "the system has no random numbers"))?;
    Ok(format!("{}{}", "-".repeat(24), HEXLOWER.encode(&random)))
}

/// Text and contents, in order.
#[derive(Debug, Default)]
struct Writer {
    parts: Vec<Part>,
    text: Vec<u8>,
}

impl Writer {
    fn text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// The rest of a part behind `Content-Disposition` and its type.
    fn content(&mut self, content: Content) {
        if let Some(name) = &content.filename {
            self.text(b"; filename=\"");
            self.text(&quoted(name));
            self.text(b"\"");
        }
        self.text(b"\r\n");
        if let Some(kind) = &content.kind {
            self.text(format!("Content-Type: {kind}\r\n").as_bytes());
        }
        self.text(b"\r\n");
        self.end_text();
        self.parts.push(content.part);
        self.text(b"\r\n");
    }

    fn end_text(&mut self) {
        self.parts.push(Part::Bytes(std::mem::take(&mut self.text).into()));
    }

    fn end(mut self) -> Vec<Part> {
        self.end_text();
        self.parts
    }
}

#[derive(Debug)]
struct Parsed {
    name: Vec<u8>,
    /// More than one only of files.
    contents: Vec<Content>,
}

#[derive(Debug)]
struct Content {
    filename: Option<Vec<u8>>,
    kind: Option<String>,
    part: Part,
}

fn parse(field: Field<'_>) -> Result<Parsed, Problem> {
    let (Field::Any(text) | Field::Plain(text)) = field;
    let wrong = |why: &str| Problem::new(USAGE, format!("-F '{}': {why}", text.to_string_lossy()));
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=').ok_or_else(|| wrong("not of the form NAME=CONTENT"))?;
    let (name, given) = (bytes[..at].to_vec(), &bytes[at + 1..]);
    if matches!(field, Field::Plain(_)) {
        let part = Part::Bytes(Bytes::copy_from_slice(given));
        return Ok(Parsed { name, contents: vec![Content { filename: None, kind: None, part }] });
    }
    let (sort, given) = match given.split_first() {
        Some((sort @ (b'@' | b'<'), rest)) => (Some(*sort), rest),
        _ => (None, given),
    };
    let (first, mut rest) = content(sort, given, wrong)?;
    let mut contents = vec![first];
    while let Some(more) = rest.strip_prefix(b",") {
        let (next, after) = content(sort, more, wrong)?;
        contents.push(next);
        rest = after;
    }
    Ok(Parsed { name, contents })
}

/// A content with its attributes, and what follows it. `sort`: the character before it, which tells files.
fn content(sort: Option<u8>, text: &[u8], wrong: impl Fn(&str) -> Problem) -> Result<(Content, &[u8]), Problem> {
    let is_file = sort == Some(b'@');
    let (content, mut rest) = word(text, is_file);
    let (mut kind, mut filename) = (None, None);
    while let Some(after) = rest.strip_prefix(b";") {
        let after = after.trim_ascii_start();
        let at = after.iter().position(|byte| *byte == b'=');
        let (attribute, after) = at.map_or((after, &[][..]), |at| (&after[..at], &after[at + 1..]));
        let value;
        (value, rest) = word(after, is_file);
        match attribute {
            // A type may have parameters of its own.
            b"type" => {
                let mut all = value;
                while let Some(more) = rest.strip_prefix(b";")
                    && !more.trim_ascii_start().starts_with(b"filename=")
                {
                    let (more, after) = word(more, is_file);
                    all = [&all[..], b";", &more].concat();
                    rest = after;
                }
                let text = String::from_utf8(all).ok().filter(|text| !text.contains(['\r', '\n']));
                kind = Some(text.ok_or_else(|| wrong("this is no type"))?);
            }
            b"filename" => filename = Some(value),
            other => {
                let why = format!("';{}' is not known (;type= and ;filename= are)", String::from_utf8_lossy(other));
                return Err(wrong(&why));
            }
        }
    }
    let file = Path::new(OsStr::from_bytes(&content));
    let part = match sort {
        Some(_) if content == b"-" => Part::Stdin { strip: false },
        Some(_) => Part::file(file, false)?,
        None => Part::Bytes(Bytes::from(content.clone())),
    };
    if is_file {
        let own = file.file_name().unwrap_or(OsStr::new("-"));
        let named = filename.get_or_insert_with(|| own.as_bytes().to_vec());
        let guess = || mime_guess::from_path(OsStr::from_bytes(named)).first_or_octet_stream().to_string();
        kind = Some(kind.unwrap_or_else(guess));
    }
    Ok((Content { filename, kind, part }, rest))
}

/// What is before the next `;` (or `,` between files), or in quotes; and what follows.
fn word(text: &[u8], is_file: bool) -> (Vec<u8>, &[u8]) {
    let mut taken = Vec::new();
    let is_end = |byte: &u8| *byte == b';' || is_file && *byte == b',';
    if let Some(inner) = text.strip_prefix(b"\"") {
        let mut bytes = inner.iter().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'\\' => taken.extend(bytes.next().map(|(_, byte)| *byte)),
                b'"' => return (taken, &inner[at + 1..]),
                byte => taken.push(*byte),
            }
        }
        // The quote has no end, and is a character.
        taken.clear();
    }
    let end = text.iter().position(is_end).unwrap_or(text.len());
    taken.extend_from_slice(&text[..end]);
    (taken, &text[end..])
}

/// A name in quotes, as browsers write it.
fn quoted(name: &[u8]) -> Vec<u8> {
    let escaped = |byte: &u8| match byte {
        b'"' => b"%22".to_vec(),
        b'\r' => b"%0D".to_vec(),
        b'\n' => b"%0A".to_vec(),
        byte => vec![*byte],
    };
    name.iter().flat_map(escaped).collect()
}
