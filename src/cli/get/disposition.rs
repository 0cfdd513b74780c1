//! `-J`: the name of a file in `content-disposition` (RFC 6266).

/// The file's name, without directories. `None` if there is none that can be taken: it names no file, is hidden, or has
/// characters that do not belong into names.
pub(super) fn file_name(value: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, parameter)) = rest.split_once(';') {
        let parameter = parameter.trim_start();
        let (name, text) = parameter.split_once('=')?;
        let (value, after) = parameter_value(text.trim_start());
        if name.trim_end().eq_ignore_ascii_case("filename") {
            let name = value.rsplit(['/', '\\']).next().unwrap_or_default();
            let is_good = !name.is_empty() && !name.starts_with('.') && !name.contains(char::is_control);
            return is_good.then(|| name.to_owned());
        }
        rest = after;
    }
    None
}

/// A token or a quoted text, and what follows.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(inner) = text.strip_prefix('"') else {
        let (token, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        return (token.trim_end().to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &inner[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names() {
        for (value, name) in [
            ("attachment; filename=\"a b;c.txt\"", Some("a b;c.txt")),
            ("attachment; size=3; FileName = plain.txt ; x=y", Some("plain.txt")),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"C:/dir/x\"", Some("x")),
            ("attachment; filename=\"quo\\\"te\"", Some("quo\"te")),
            ("attachment; filename*=UTF-8''x.txt; filename=y.txt", Some("y.txt")),
            ("attachment; filename=\"..\"", None),
            ("attachment; filename=\".bashrc\"", None),
            ("attachment; filename=\"dir/\"", None),
            ("attachment; filename=\"a\u{7f}b\"", None),
            ("attachment", None),
            ("attachment; filename", None),
        ] {
            assert_eq!(file_name(value).as_deref(), name, "{value}");
        }
    }
}
