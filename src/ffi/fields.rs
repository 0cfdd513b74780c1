//! Field sections as the ABI has them: names and values, each with a NUL behind it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::code::{MQ_ERR_ARGUMENT, Outcome, because};

/// Splits `name NUL value NUL ...` into pairs.
pub(super) fn pairs(section: &[u8]) -> Outcome<impl Iterator<Item = (&[u8], &[u8])>> {
    let Some(body) = section.strip_suffix(b"\0") else {
        return match section.is_empty() {
            true => Ok(Pairs(None)),
            false => because(MQ_ERR_ARGUMENT, "the last name or value has no NUL behind it"),
        };
    };
    match body.iter().filter(|byte| **byte == 0).count() % 2 {
        1 => Ok(Pairs(Some(body))),
        _ => because(MQ_ERR_ARGUMENT, "a name has no value"),
    }
}

struct Pairs<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0?;
        let name = rest.iter().position(|byte| *byte == 0)?;
        let (name, rest) = (&rest[..name], &rest[name + 1..]);
        let Some(value) = rest.iter().position(|byte| *byte == 0) else {
            self.0 = None;
            return Some((name, rest));
        };
        self.0 = Some(&rest[value + 1..]);
        Some((name, &rest[..value]))
    }
}

/// Reads the fields of a message.
pub(super) fn read(section: &[u8]) -> Outcome<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(section)? {
        let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let Ok(field) = HeaderName::from_bytes(name) else {
            return because(MQ_ERR_ARGUMENT, format!("{:?} is not the name of a field", lossy(name)));
        };
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return because(MQ_ERR_ARGUMENT, format!("the field {field} cannot have the value {:?}", lossy(value)));
        };
        if headers.try_append(field, value).is_err() {
            return because(MQ_ERR_ARGUMENT, "too many fields");
        }
    }
    Ok(headers)
}

/// Writes the fields of a message, after `first`, which are pseudo-header fields and what is no field.
pub(super) fn write(first: &[(&str, &str)], headers: &HeaderMap) -> Bytes {
    let mut out = Vec::with_capacity(256);
    let first = first.iter().map(|(name, value)| (*name, value.as_bytes()));
    let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in first.chain(fields) {
        for part in [name.as_bytes(), value] {
            out.extend_from_slice(part);
            out.push(0);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_and_written() {
        let section = b"a\x001\0b\0\0a\x002\0";
        let headers = read(section).unwrap();
        assert_eq!(headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(headers["b"], "");
        assert_eq!(&write(&[(":status", "200")], &headers)[..], b":status\x00200\0a\x001\0a\x002\0b\0\0");
        assert!(read(b"").unwrap().is_empty());
        for (wrong, told) in [
            (&b"a\x001"[..], "the last name or value has no NUL behind it"),
            (b"a\0", "a name has no value"),
            (b"\0", "a name has no value"),
            (b"a\x001\0b\0", "a name has no value"),
            (b"\0\0", "\"\" is not the name of a field"),
            (b"a b\x001\0", "\"a b\" is not the name of a field"),
            (b"a\x001\n\0", "the field a cannot have the value \"1\\n\""),
        ] {
            assert_eq!(read(wrong).unwrap_err().detail, told);
        }
    }
}
