//! `-K`: arguments from files, in curl's form.

use std::ffi::OsString;
use std::path::Path;

use super::failure::{Problem, READ, USAGE};
use crate::cli::input;

/// The arguments in a file (`-` is standard input).
///
/// # Errors
/// A file that cannot be read, or a line that is none of `OPTION`, `OPTION VALUE`, `OPTION = VALUE`, `OPTION: VALUE`.
pub(super) fn read(path: &Path) -> Result<Vec<OsString>, Problem> {
    let failed = |e| Problem::new(READ, format!("cannot read '{}': {e} (-K)", path.display()));
    let bytes = input::read_or_stdin(path).map_err(failed)?;
    let text =
        String::from_utf8(bytes).map_err(|_| Problem::new(USAGE, format!("'{}' is not UTF-8 (-K)", path.display())))?;
    let mut arguments = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let wrong = |why: &str| Problem::new(USAGE, format!("{}:{}: {why} (-K)", path.display(), n + 1));
        parse(line, &mut arguments).map_err(wrong)?;
    }
    Ok(arguments.into_iter().map(OsString::from).collect())
}

fn parse(line: &str, arguments: &mut Vec<String>) -> Result<(), &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=' || c == ':').unwrap_or(line.len());
    let (option, rest) = line.split_at(end);
    let option = if option.starts_with('-') { option.to_owned() } else { format!("--{option}") };
    if ["-K", "--config"].contains(&option.as_str()) {
        return Err("a file of arguments names no other one");
    }
    let value = value(rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=' || c == ':'), rest)?;
    match value {
        None => arguments.push(option),
        Some(value) if option.starts_with("--") => arguments.push(format!("{option}={value}")),
        Some(value) => arguments.extend([option, value]),
    }
    Ok(())
}

/// What follows the option: a word, or text in quotes. `None` if there is nothing.
fn value(text: &str, separator: &str) -> Result<Option<String>, &'static str> {
    let (value, rest) = match text.strip_prefix('"') {
        Some(inner) => quoted(inner).ok_or("a quote has no end")?,
        None if text.is_empty() => return Ok(separator.contains('=').then(String::new)),
        None => {
            let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
            (word.to_owned(), rest)
        }
    };
    match rest.trim_start() {
        "" => Ok(Some(value)),
        rest if rest.starts_with('#') => Ok(Some(value)),
        _ => Err("a value with blanks needs quotes"),
    }
}

/// The text up to the end of the quotes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'v' => '\u{b}',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let parsed = |line: &str| {
            let mut arguments = Vec::new();
            parse(line, &mut arguments).map(|()| arguments)
        };
        let is = |line: &str, expected: &[&str]| {
            assert_eq!(parsed(line), Ok(expected.iter().map(|text| (*text).to_owned()).collect()), "{line}");
        };
        is("# comment", &[]);
        is("  ", &[]);
        is("insecure", &["--insecure"]);
        is("--output = file # why", &["--output=file"]);
        is("-o file", &["-o", "file"]);
        is("url: https://a.example/", &["--url=https://a.example/"]);
        is("header = \"X-A: \\\"b\\\"\\t\\\\ c\"", &["--header=X-A: \"b\"\t\\ c"]);
        is("user-agent = \"\"", &["--user-agent="]);
        for wrong in ["data = two words", "data = \"open", "config = other", "-K other"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
