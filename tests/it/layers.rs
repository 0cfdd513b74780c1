//! The rules of ARCHITECTURE.md that the compiler does not know: modules use only what lies below them, and the clock
//! is read in `net/` only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and what it may use besides itself. `turn` lies on `endpoint`, `net` on `turn`, `app` on `net`.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("error", &[]),
    ("config", &["error"]),
    ("stats", &["error", "config"]),
    ("wire", &["error"]),
    ("quic", &["error", "config", "stats"]),
    ("h3", &["error", "config", "stats", "quic"]),
    ("wt", &["error", "config", "wire", "quic", "h3"]),
    ("endpoint", &["error", "config", "stats", "wire", "quic", "h3", "wt"]),
    ("turn", &["endpoint"]),
    ("net", &["error", "config", "stats", "quic", "h3", "endpoint", "turn"]),
    ("app", &["error", "config", "stats", "quic", "h3", "wt", "endpoint", "turn", "net", "observe"]),
    ("observe", &["error", "config", "stats"]),
    ("cli", &["error", "config", "stats", "quic", "h3", "endpoint", "turn", "net", "app", "observe", "cli"]),
    ("lib", &["error", "config", "stats", "quic", "h3", "wt", "endpoint", "turn", "net", "app", "observe"]),
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
