//! Paths in normal form, so that equivalent ones compare as equal (RFC 3986 section 6.2.2).

use std::borrow::Cow;

/// Normalises a path that begins with `/`: unreserved characters that are percent-encoded are decoded, other encodings
/// are in upper case, and characters that no path has are encoded, as is a `%` that begins no encoding. `%2F` stays, as an
/// encoded slash separates nothing. Then `.` and `..` segments are resolved (section 5.2.4); nothing is above the root.
pub(crate) fn normalize(path: &str) -> Cow<'_, str> {
    match normalize_segments(path) {
        path if !path.contains("/.") => path,
        path => Cow::Owned(remove_dot_segments(&path)),
    }
}

/// As [`normalize`], for a part of a path, and without resolving segments.
pub(crate) fn normalize_segments(path: &str) -> Cow<'_, str> {
    if path.bytes().all(is_path) {
        return Cow::Borrowed(path);
    }
    let mut normal = String::with_capacity(path.len() + 16);
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, encoded(after)) {
            (b'%', Some(byte)) => {
                rest = &after[2..];
                match is_unreserved(byte) {
                    true => normal.push(char::from(byte)),
                    false => push_encoded(&mut normal, byte),
                }
            }
            _ if is_path(byte) => normal.push(char::from(byte)),
            _ => push_encoded(&mut normal, byte),
        }
    }
    Cow::Owned(normal)
}

/// The byte of two hexadecimal digits.
fn encoded(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

fn push_encoded(into: &mut String, byte: u8) {
    into.push_str(percent_encoding::percent_encode_byte(byte));
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// A character of a path that stands for itself (RFC 3986 section 3.3).
fn is_path(byte: u8) -> bool {
    is_unreserved(byte) || b"/!$&'()*+,;=:@".contains(&byte)
}

fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_paths_have_one_form() {
        let cases = [
            ("/", "/"),
            ("/%61pi/users", "/api/users"),
            ("/api%2Fusers", "/api%2Fusers"),
            ("/api%2fusers", "/api%2Fusers"),
            ("/%7euser/%2D%5f", "/~user/-_"),
            ("/a%3ab", "/a%3Ab"),
            ("/a:b@c;d=e,f", "/a:b@c;d=e,f"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/{x}|\\^\"<>`", "/%7Bx%7D%7C%5C%5E%22%3C%3E%60"),
            ("/%", "/%25"),
            ("/%2", "/%252"),
            ("/%zz%41", "/%25zzA"),
            // Nothing becomes an encoding that was none.
            ("/%%34%31", "/%2541"),
            ("/%%32%66", "/%252f"),
            ("/%2541", "/%2541"),
            ("/a%00b", "/a%00b"),
            ("//a//b/", "//a//b/"),
            ("/.", "/"),
            ("/..", "/"),
            ("/./", "/"),
            ("/../", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/../../../c", "/c"),
            ("/%2e%2E/a/%2e/b", "/a/b"),
            ("/a//../b", "/a/b"),
            ("/a/..%2Fb", "/a/..%2Fb"),
            ("/.well-known/x", "/.well-known/x"),
            ("/.../..a/a..", "/.../..a/a.."),
        ];
        for (path, normal) in cases {
            assert_eq!(normalize(path), normal, "{path}");
            assert_eq!(normalize(normal), normal, "{path}: a normal form is its own");
        }
        assert!(matches!(normalize("/api/users/42"), Cow::Borrowed(_)));
    }
}
