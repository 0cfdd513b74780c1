//! The rules of ARCHITECTURE.md that the compiler does not know: modules use only what lies below them, the clock is read
//! in `net/` only, and quiche's types are not part of the interface.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and what it may use besides itself. `net` lies on `endpoint`, `app` on `net`.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("error", &[]),
    ("config", &["error"]),
    ("stats", &["error", "config"]),
    ("wire", &["error"]),
    ("quic", &["error", "config", "stats"]),
    ("h3", &["error", "config", "stats", "quic"]),
    ("wt", &["error", "config", "wire", "quic", "h3"]),
    ("endpoint", &["error", "config", "stats", "wire", "quic", "h3", "wt"]),
    ("net", &["error", "config", "stats", "quic", "h3", "endpoint"]),
    ("app", &["error", "config", "stats", "quic", "h3", "wt", "endpoint", "net", "observe"]),
    ("observe", &["error", "config", "stats"]),
    ("cli", &["error", "config", "stats", "quic", "h3", "endpoint", "net", "app", "observe", "cli"]),
    ("lib", &["error", "config", "stats", "quic", "h3", "wt", "endpoint", "net", "app", "observe"]),
];

/// Every source file by its path below src/.
fn sources() -> BTreeMap<PathBuf, String> {
    fn collect(dir: &Path, root: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 20, "src/ was read");
    found
}

/// The code of a file, without comments and without the tests at its end.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The layer of a file: its top-level module.
fn layer(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Test modules may use anything: they are above everything.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().to_string_lossy().trim_end_matches(".rs").ends_with("tests"))
}

/// The names that follow `crate::` in a text, also those in braces.
fn crate_uses(text: &str) -> Vec<String> {
    let ident = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut uses = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        // `$crate` of macros, or a longer identifier, is something else.
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            uses.push(ident(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    uses.push(ident(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    uses
}

#[test]
fn braces_are_understood() {
    let text = "use crate::{a::{b, c}, d, e::f};\nuse crate::g::h; x(mycrate::no, crate::i::J)";
    assert_eq!(crate_uses(text), ["a", "d", "e", "g", "i"]);
}

#[test]
fn arrows_point_down() {
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.into();
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path) && *path != Path::new("main.rs")) {
        let layer = layer(path);
        let Some(allowed) = rules.get(layer.as_str()) else {
            wrong.push(format!("src/{}: no rule for layer '{layer}'", path.display()));
            continue;
        };
        let code = code(text);
        for used in crate_uses(&code) {
            // Names from the crate's root are re-exports; only lib.rs may speak of itself so.
            if used != layer && !allowed.contains(&used.as_str()) {
                wrong.push(format!("src/{}: '{layer}' must not use crate::{used}", path.display()));
            }
        }
        if layer != "cli" && code.contains("use mio_quiche::") {
            wrong.push(format!("src/{}: names the crate from the outside", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_but_net_reads_the_clock() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let code = code(text);
        for (number, line) in code.lines().enumerate() {
            if layer(path) != "net" && (line.contains("Instant::now") || line.contains("SystemTime::now")) {
                wrong.push(format!("src/{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_the_peek_only() {
    for (path, text) in sources().iter().filter(|(path, _)| !path.ends_with("wt/peek.rs")) {
        assert!(!code(text).contains("unsafe "), "src/{}", path.display());
    }
}

/// The names that a file imports from quiche, `quiche` itself included.
fn quiche_names(code: &str) -> Vec<String> {
    let mut names = vec!["quiche".to_owned()];
    for import in code.split(';').filter_map(|part| part.trim_start().strip_prefix("use quiche::")) {
        let words: Vec<&str> = import.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        names.extend(words.into_iter().filter(|word| !word.is_empty() && *word != "self").map(str::to_owned));
    }
    names
}

/// The public parts of a file's items: signatures of functions, fields of structs, variants of enums, targets of types.
fn public_parts(code: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for (at, _) in code.match_indices("pub ") {
        let rest = &code[at..];
        let words = ["fn ", "const fn ", "const ", "static ", "type ", "use ", "trait ", "enum ", "struct "];
        let kind = words.iter().find(|word| rest["pub ".len()..].starts_with(**word));
        let end = match kind {
            // The whole body is public.
            Some(&("enum " | "trait ")) => rest.find("\n}"),
            Some(&("type " | "use ")) => rest.find(';'),
            Some(&("const " | "static ")) => rest.find('='),
            Some(_) => rest.find(['{', ';']),
            // A field.
            None => rest.find([',', '\n', ';']),
        };
        parts.push(&rest[..end.unwrap_or(rest.len())]);
    }
    parts
}

/// What is public in a file and names quiche.
fn names_quiche(text: &str) -> Vec<String> {
    let code = code(text);
    let names = quiche_names(&code);
    let named = |part: &&str| {
        // Every other piece is the text of a string, as in `#[error("...")]`.
        let mut words =
            part.split('"').step_by(2).flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_'));
        words.any(|word| names.iter().any(|name| name == word))
    };
    public_parts(&code)
        .into_iter()
        .filter(named)
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn public_parts_are_understood() {
    let text = "use quiche::{Header, h3};\n\
                pub struct A<'a> {\n    quic: &'a quiche::Connection,\n    pub(crate) b: quiche::Error,\n    pub c: u8,\n}\n\
                pub(crate) fn d() -> quiche::Error {}\nfn e() -> quiche::Error {}\n\
                pub fn f(n: u8) -> u8 { quiche::f() }\npub const VERSION: u8 = quiche::VERSION;\n\
                impl X {\n    pub fn g(\n        &self,\n        h: h3::Error,\n    ) -> u8 {}\n}\n\
                pub struct I {\n    pub j: Header,\n}\npub enum K {\n    /// quiche\n    L { source: quiche::Error },\n}\n\
                pub enum O {\n    #[error(\"quiche: {0}\")]\n    L(u8),\n}\n\
                pub struct M(pub quiche::Error);\npub use quiche::Shutdown;\npub type N = h3::Event;\n";
    let expected = [
        "pub fn g( &self, h: h3::Error, ) -> u8",
        "pub j: Header",
        "pub enum K { L { source: quiche::Error },",
        "pub struct M(pub quiche::Error)",
        "pub quiche::Error)",
        "pub use quiche::Shutdown",
        "pub type N = h3::Event",
    ];
    assert_eq!(names_quiche(text), expected);
}

#[test]
fn quiche_is_not_in_the_interface() {
    // The rooms below `endpoint` too: what is `pub` there is exported, as rustc's `unreachable_pub` says.
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        wrong.extend(names_quiche(text).into_iter().map(|part| format!("src/{}: {part}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
