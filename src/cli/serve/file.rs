//! The file of settings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};
use http::{HeaderName, HeaderValue};
use toml::{Table, Value};

use super::site::{Fields, Redirect};
use crate::cli::Failure;

/// The longest file of settings: whatever never ends is an error.
const MAX_LEN: u64 = 1024 * 1024;
/// 307, which nobody remembers when the file changes.
const REDIRECT: u16 = 307;

/// The content of the file.
#[derive(Debug)]
pub(in crate::cli) struct File {
    path: PathBuf,
    settings: Table,
    pub(super) fields: Vec<Fields>,
    pub(super) redirects: Vec<Redirect>,
}

impl File {
    /// Reads the file that the arguments name.
    pub(in crate::cli) fn read(matches: &ArgMatches) -> Result<Option<Self>, Failure> {
        let Some(path) = matches.get_one::<PathBuf>("config") else { return Ok(None) };
        let failed = |e: &dyn std::fmt::Display| Failure::Usage(format!("cannot use '{}': {e}", path.display()));
        let text = read_text(path).map_err(|e| failed(&e))?;
        let mut settings: Table = text.parse().map_err(|e: toml::de::Error| failed(&e.to_string().trim_end()))?;
        let fields = settings.remove("headers").map_or(Ok(Vec::new()), fields).map_err(|e| failed(&e))?;
        let redirects = settings.remove("redirects").map_or(Ok(Vec::new()), redirects).map_err(|e| failed(&e))?;
        Ok(Some(File { path: path.clone(), settings, fields, redirects }))
    }

    /// The arguments that its settings stand for, except of those that were given otherwise. `command` is `serve`.
    pub(in crate::cli) fn arguments(&self, command: &Command, given: &ArgMatches) -> Result<Vec<OsString>, Failure> {
        let mut arguments = Vec::new();
        for (key, value) in &self.settings {
            let failed = |why: &str| Failure::Usage(format!("cannot use '{}': {why}", self.path.display()));
            let argument = command.get_arguments().find(|argument| name(argument) == key && key != "config");
            let argument = argument.ok_or_else(|| failed(&format!("unknown key '{key}'")))?;
            let source = given.value_source(argument.get_id().as_str());
            if matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
                continue;
            }
            let is_flag = matches!(argument.get_action(), ArgAction::SetTrue);
            let is_optional = argument.get_num_args().is_some_and(|n| n.min_values() == 0);
            let values = match value {
                Value::Array(values) => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            for value in values {
                let text = match value {
                    Value::Boolean(true) if is_flag || is_optional => {
                        arguments.push(format!("--{key}").into());
                        continue;
                    }
                    Value::Boolean(false) if is_flag || is_optional => continue,
                    _ if is_flag => return Err(failed(&format!("'{key}' is true or false"))),
                    Value::String(text) => text.clone(),
                    Value::Integer(number) => number.to_string(),
                    Value::Float(number) => number.to_string(),
                    _ => return Err(failed(&format!("'{key}' is a string or a number, or a list of them"))),
                };
                arguments.push(match argument.get_long() {
                    Some(long) => format!("--{long}={text}").into(),
                    None => Path::new(".").join(text).into(),
                });
            }
        }
        Ok(arguments)
    }

    /// Says that what follows is about this file.
    pub(in crate::cli) fn blame(&self) -> String {
        format!("mio-quiche: cannot use '{}':", self.path.display())
    }
}

fn name(argument: &clap::Arg) -> &str {
    argument.get_long().unwrap_or(argument.get_id().as_str())
}

fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_LEN).read_to_string(&mut text)?;
    match text.len() as u64 == MAX_LEN {
        true => Err(std::io::Error::other("it is too long")),
        false => Ok(text),
    }
}

/// `NAME = "VALUE"`, and `"/PATH" = { NAME = "VALUE" }` for some paths.
fn fields(value: Value) -> Result<Vec<Fields>, String> {
    let Value::Table(table) = value else { return Err("[headers] is not a table".to_owned()) };
    let mut everywhere = Fields { paths: "*".to_owned(), fields: Vec::new() };
    let mut some = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(table) if name.starts_with('/') => {
                let fields = table.into_iter().map(|(name, value)| field(&name, value)).collect::<Result<_, _>>()?;
                some.push(Fields { paths: name, fields });
            }
            value => everywhere.fields.push(field(&name, value)?),
        }
    }
    if !everywhere.fields.is_empty() {
        some.push(everywhere);
    }
    Ok(some)
}

fn field(name: &str, value: Value) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("'{name}' is not a name of a field"))?;
    let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
    Ok((parsed, value.ok_or_else(|| format!("the value of field '{name}' is not a valid string"))?))
}

/// `"/FROM" = "TO"`, or `"/FROM" = { to = "TO", status = 308 }`.
fn redirects(value: Value) -> Result<Vec<Redirect>, String> {
    let Value::Table(table) = value else { return Err("[redirects] is not a table".to_owned()) };
    let redirect = |(from, value): (String, Value)| {
        let wrong =
            || format!("redirect '{from}': give \"TO\" or {{ to = \"TO\", status = 301, 302, 303, 307 or 308 }}");
        let (to, status) = match &value {
            Value::String(to) => (to.clone(), REDIRECT),
            Value::Table(table) => {
                let to = table.get("to").and_then(Value::as_str).ok_or_else(wrong)?;
                let status = table.get("status").map_or(Some(REDIRECT.into()), Value::as_integer);
                let is_known = table.keys().all(|key| matches!(key.as_str(), "to" | "status"));
                match status {
                    Some(status @ (301 | 302 | 303 | 307 | 308)) if is_known => (to.to_owned(), status as u16),
                    _ => return Err(wrong()),
                }
            }
            _ => return Err(wrong()),
        };
        HeaderValue::from_str(&to).map_err(|_| wrong())?;
        if !from.starts_with('/') {
            return Err(format!("redirect '{from}': a path begins with a slash"));
        }
        Ok(Redirect { from, to, status })
    };
    table.into_iter().map(redirect).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_redirects() {
        let table: Table = r#"
            [headers]
            x-a = "1"
            [headers."/a/*"]
            X-B = "2"
            [redirects]
            "/old" = "/new"
            "/x/*" = { to = "https://x.example/*", status = 308 }
        "#
        .parse()
        .unwrap();
        let value = |name: &str| table[name].clone();
        let field = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let expected = [
            Fields { paths: "/a/*".into(), fields: vec![field("x-b", "2")] },
            Fields { paths: "*".into(), fields: vec![field("x-a", "1")] },
        ];
        assert_eq!(fields(value("headers")).unwrap(), expected);
        let expected = [
            Redirect { from: "/old".into(), to: "/new".into(), status: 307 },
            Redirect { from: "/x/*".into(), to: "https://x.example/*".into(), status: 308 },
        ];
        assert_eq!(redirects(value("redirects")).unwrap(), expected);
        for wrong in [
            "'/' = 1",
            "'/' = { status = 307 }",
            "'/' = { to = '/', status = 200 }",
            "'/' = { to = '/', x = 1 }",
            "a = '/'",
        ] {
            let table: Table = wrong.parse().unwrap();
            assert!(redirects(Value::Table(table)).is_err(), "{wrong}");
        }
        for wrong in ["'a b' = 'x'", "a = 1", "a = \"x\\n\"", "a = { b = 'x' }", "'/' = { b = 1 }"] {
            let table: Table = wrong.parse().unwrap();
            assert!(fields(Value::Table(table)).is_err(), "{wrong}");
        }
    }
}
