//! HTTP/3 bytes made by hand.

/// Frame types (RFC 9114 section 7.2).
pub(crate) const DATA: u64 = 0x0;
pub(crate) const HEADERS: u64 = 0x1;
pub(crate) const SETTINGS: u64 = 0x4;
pub(crate) const GOAWAY: u64 = 0x7;
pub(crate) const MAX_PUSH_ID: u64 = 0xd;

/// A variable-length integer (RFC 9000 section 16).
pub(crate) fn varint(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

/// A frame (RFC 9114 section 7.1).
pub(crate) fn frame(kind: u64, content: &[u8]) -> Vec<u8> {
    [varint(kind), varint(content.len() as u64), content.to_vec()].concat()
}

/// A HEADERS frame whose fields are all literals, byte for byte as given (RFC 9204 section 4.5.6).
pub(crate) fn headers(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        prefixed(&mut section, 0x20, 3, name.len());
        section.extend_from_slice(name);
        prefixed(&mut section, 0, 7, value.len());
        section.extend_from_slice(value);
    }
    frame(HEADERS, &section)
}

/// An integer with a prefix of `bits` bits (RFC 7541 section 5.1).
fn prefixed(out: &mut Vec<u8>, flags: u8, bits: u32, value: usize) {
    let limit = (1 << bits) - 1;
    if value < limit {
        return out.push(flags | value as u8);
    }
    out.push(flags | limit as u8);
    let mut rest = value - limit;
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// Fields of a request from text: `|` between fields, the first blank between name and value.
pub(crate) fn fields(spec: &str) -> Vec<(&[u8], &[u8])> {
    let field = |f: &'_ str| -> (usize, usize) {
        let end = f.find(' ').unwrap_or(f.len());
        (end, (end + 1).min(f.len()))
    };
    let parts = spec.split('|').filter(|f| !f.is_empty());
    parts
        .map(|f| {
            let (end, start) = field(f);
            (&f.as_bytes()[..end], &f.as_bytes()[start..])
        })
        .collect()
}
