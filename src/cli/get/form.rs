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
    /// `NAME=CONTENT`, with `@` and `<` for files, and attributes.
    Any(&'a OsStr),
    /// `NAME=CONTENT`, as it is.
    Plain(&'a OsStr),
}

/// The body of a form.
///
/// # Errors
/// A field that is not of the form above, or a file that cannot be read.
pub(super) fn body(fields: &[Field<'_>]) -> Result<Body, Problem> {
    let mut random = [0; 11];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
        .map_err(|_| Problem::new(USAGE, "the system has no random numbers"))?;
    let boundary = format!("{}{}", "-".repeat(24), HEXLOWER.encode(&random));
    let mut parts = Vec::new();
    let mut text = Vec::new();
    for field in fields {
        let field = parse(*field)?;
        text.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"").as_bytes());
        text.extend(quoted(&field.name));
        if let Some(name) = &field.filename {
            text.extend_from_slice(b"\"; filename=\"");
            text.extend(quoted(name));
        }
        text.extend_from_slice(b"\"\r\n");
        if let Some(kind) = &field.kind {
            text.extend_from_slice(format!("Content-Type: {kind}\r\n").as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        parts.extend([Part::Bytes(Bytes::from(std::mem::take(&mut text))), field.content]);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    parts.push(Part::Bytes(text.into()));
    if parts.iter().filter(|part| matches!(part, Part::Stdin { .. })).count() > 1 {
        return Err(Problem::new(USAGE, "standard input can be sent only once, but -F reads it twice"));
    }
    Ok(Body::new(parts, Kind::Multipart { boundary }))
}

#[derive(Debug)]
struct Parsed {
    name: Vec<u8>,
    filename: Option<Vec<u8>>,
    kind: Option<String>,
    content: Part,
}

fn parse(field: Field<'_>) -> Result<Parsed, Problem> {
    let (Field::Any(text) | Field::Plain(text)) = field;
    let wrong = |why: &str| Problem::new(USAGE, format!("-F '{}': {why}", text.to_string_lossy()));
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=').ok_or_else(|| wrong("not of the form NAME=CONTENT"))?;
    let (name, content) = (bytes[..at].to_vec(), &bytes[at + 1..]);
    if matches!(field, Field::Plain(_)) {
        let content = Part::Bytes(Bytes::copy_from_slice(content));
        return Ok(Parsed { name, filename: None, kind: None, content });
    }
    let (sort, content) = match content.split_first() {
        Some((sort @ (b'@' | b'<'), rest)) => (Some(*sort), rest),
        _ => (None, content),
    };
    let (content, mut rest) = word(content, sort == Some(b'@'));
    let (mut kind, mut filename) = (None, None);
    while let Some(after) = rest.strip_prefix(b";") {
        let after = after.trim_ascii_start();
        let at = after.iter().position(|byte| *byte == b'=');
        let (attribute, after) = at.map_or((after, &[][..]), |at| (&after[..at], &after[at + 1..]));
        let value;
        (value, rest) = word(after, false);
        match attribute {
            // A type may have parameters of its own.
            b"type" => {
                let mut all = value;
                while let Some(more) = rest.strip_prefix(b";")
                    && !more.trim_ascii_start().starts_with(b"filename=")
                {
                    let (more, after) = word(more, false);
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
    if !rest.is_empty() {
        return Err(wrong("one file for each -F"));
    }
    let file = Path::new(OsStr::from_bytes(&content));
    let part = match sort {
        Some(_) if content == b"-" => Part::Stdin { strip: false },
        Some(_) => Part::file(file, false)?,
        None => Part::Bytes(Bytes::from(content.clone())),
    };
    if sort == Some(b'@') {
        let own = file.file_name().unwrap_or(OsStr::new("-"));
        let named = filename.get_or_insert_with(|| own.as_bytes().to_vec());
        let guess = || mime_guess::from_path(OsStr::from_bytes(named)).first_or_octet_stream().to_string();
        kind = Some(kind.unwrap_or_else(guess));
    }
    Ok(Parsed { name, filename, kind, content: part })
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
fn quoted(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().flat_map(|byte| match byte {
        b'"' => b"%22".to_vec(),
        b'\r' => b"%0D".to_vec(),
        b'\n' => b"%0A".to_vec(),
        byte => vec![*byte],
    })
}
