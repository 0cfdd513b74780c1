//! The rules of ARCHITECTURE.md that the compiler does not know: modules use only what lies below them, the files of a
//! module use each other in no circle, the clock is read in `net/` only, `quiche::Connection` is called in `transport/` only,
//! and quiche's types are not part of the interface.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and what it may use besides itself. `turn` lies on `endpoint`, `net` on `turn`, `app` on `net`.
const MAY_USE: [(&str, &[&str]); 16] = [
    ("error", &[]),
    ("config", &["error"]),
    ("stats", &["error", "config"]),
    ("wire", &["error"]),
    ("transport", &["error", "config", "stats", "wire"]),
    ("h3", &["error", "config", "stats", "transport"]),
    ("wt", &["error", "config", "wire", "transport", "h3"]),
    ("endpoint", &["error", "config", "stats", "wire", "transport", "h3", "wt"]),
    ("turn", &["endpoint"]),
    ("net", &["error", "config", "stats", "transport", "h3", "endpoint", "turn"]),
    ("app", &["error", "config", "stats", "transport", "h3", "wt", "endpoint", "turn", "net", "observe"]),
    ("observe", &["error", "config", "stats"]),
    ("cli", &["error", "config", "stats", "transport", "h3", "endpoint", "turn", "net", "app", "observe", "cli"]),
    ("ffi", &["error", "config", "stats", "transport", "h3", "wt", "endpoint", "turn", "net", "app", "observe"]),
    ("fuzz", &["error", "config", "wire", "transport", "h3", "wt", "endpoint", "turn", "net", "app", "observe"]),
    ("lib", &["error", "config", "stats", "transport", "h3", "wt", "endpoint", "turn", "net", "app", "observe"]),
];

/// Circles between files that are there for now, and why.
const CIRCLES: [(&[&str], &str); 0] = [];

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

/// The names of options in string literals, such as `--listen`.
fn options(code: &str) -> Vec<&str> {
    let literals = code.split('"').skip(1).step_by(2);
    let words = literals.flat_map(|text| text.split([' ', '(', '\'', '`']));
    words.filter(|word| word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic))).collect()
}

#[test]
fn only_the_command_speaks_of_its_options() {
    assert_eq!(options("f(\"choose with --listen ADDR\", n--m, \"a -- b (--x)\")"), ["--listen", "--x)"]);
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path) && layer(path) != "cli") {
        let code = code(text);
        let found = options(&code);
        if !found.is_empty() || code.contains("mio-quiche cert") {
            wrong.push(format!("src/{}: {found:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_but_transport_calls_quiche() {
    // `config` fills quiche's settings, `endpoint/core.rs` keeps them, `error/` takes the text of quiche's errors.
    let may = |path: &Path| {
        ["transport", "config", "error"].contains(&&*layer(path)) || path.ends_with("endpoint/core.rs") || is_test(path)
    };
    // A sample of qlog for tests is written by two connections of quiche's own; a peer in the fuzz targets is one.
    let is_peer = |path: &Path| path.ends_with("qlog/sample.rs") || path.ends_with("fuzz/peer.rs");
    for (path, text) in sources().iter().filter(|(path, _)| !may(path) && !is_peer(path)) {
        let code = code(text).replace("mio_quiche::", "");
        assert!(!code.contains("quiche::"), "src/{}", path.display());
    }
}

#[test]
fn unsafe_code_is_in_the_peek_and_at_the_c_abi_only() {
    let at_abi = ["memory", "info", "engine_calls", "client_calls", "session_calls", "stream_calls"];
    let at_abi = at_abi.map(|name| Path::new("ffi").join(name).with_extension("rs"));
    let may = |path: &PathBuf| path.ends_with("transport/peek.rs") || at_abi.contains(path);
    for (path, text) in sources().iter().filter(|(path, _)| !may(path)) {
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

/// A module's path, without `crate`.
type Module = Vec<String>;

/// The module that a file is.
fn module(path: &Path) -> Module {
    let parts = path.iter().map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned());
    parts.filter(|part| part != "mod").collect()
}

/// The paths that a `use` tree, or an expression, names: of `a::{b, c::d}` those of `b` and `c::d` in `a`.
fn paths(text: &str) -> Vec<Module> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let rest = &text[name.len()..];
    let inner = match rest.strip_prefix("::") {
        Some(group) if group.starts_with('{') => {
            branches(&group[1..]).into_iter().flat_map(|branch| paths(branch.trim_start())).collect()
        }
        Some(tail) => paths(tail),
        None => vec![Vec::new()],
    };
    inner.into_iter().map(|tail| [vec![name.clone()], tail].concat()).collect()
}

/// What stands between the commas of a brace that was opened before `text`.
fn branches(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                found.push(&text[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

/// A crate's modules, with what each re-exports from its children.
struct Modules {
    re_exports: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl Modules {
    fn new(files: &BTreeMap<Module, String>) -> Self {
        let mut re_exports: BTreeMap<Module, BTreeMap<String, Module>> =
            files.keys().map(|module| (module.clone(), BTreeMap::new())).collect();
        for (module, code) in files {
            for statement in code.split(';').filter(|statement| is_re_export(statement)) {
                let Some((_, tree)) = statement.split_once("use ") else { continue };
                for path in paths(tree.trim_start_matches("self::")) {
                    let child = [&module[..], &path[..path.len() - 1]].concat();
                    if let (Some(name), Some(all)) = (path.last(), re_exports.get_mut(module)) {
                        all.insert(name.clone(), child);
                    }
                }
            }
        }
        Modules { re_exports }
    }

    /// The file that an absolute path leads to, by way of re-exports.
    fn file_of(&self, path: &[String]) -> Option<Module> {
        let len = (1..=path.len()).rev().find(|len| self.re_exports.contains_key(&path[..*len]))?;
        let module = &path[..len];
        let item = path.get(len).and_then(|name| self.re_exports[module].get(name));
        Some(item.filter(|target| self.re_exports.contains_key(*target)).cloned().unwrap_or(module.to_vec()))
    }

    /// The files of the same room that a file uses.
    fn uses(&self, module: &Module, code: &str) -> BTreeSet<Module> {
        let children = self.re_exports.keys().filter(|m| m.len() == module.len() + 1 && m.starts_with(module));
        let children: Vec<&str> = children.filter_map(|m| m.last()).map(String::as_str).collect();
        let mut used = BTreeSet::new();
        for statement in code.split(';').filter(|statement| !is_re_export(statement)) {
            for (at, _) in statement.match_indices("::") {
                let before = &statement[..at];
                let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
                if ["::", "$", "pub(in "].iter().any(|end| before[..start].ends_with(end)) {
                    continue;
                }
                let first = &before[start..];
                if !["crate", "super", "self"].contains(&first) && !children.contains(&first) {
                    continue;
                }
                for path in paths(&statement[start..]) {
                    let up = path.iter().take_while(|part| *part == "super").count();
                    let base = match first {
                        "crate" => Vec::new(),
                        _ if up > module.len() => continue,
                        _ => module[..module.len() - up].to_vec(),
                    };
                    let skip = up + usize::from(["crate", "self"].contains(&first));
                    used.extend(self.file_of(&[base, path[skip..].to_vec()].concat()));
                }
            }
        }
        used.retain(|other| other != module && other[0] == module[0]);
        used
    }
}

fn is_re_export(statement: &str) -> bool {
    let mut statement = statement.trim_start();
    while let Some((_, rest)) = statement.strip_prefix("#[").and_then(|attribute| attribute.split_once(']')) {
        statement = rest.trim_start();
    }
    statement.starts_with("pub use ") || statement.starts_with("pub(") && statement.contains(") use ")
}

/// The circles: files that can each be reached from the other.
fn circles(uses: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<BTreeSet<Module>> {
    let reach = |from: &Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = open.pop() {
            for next in uses.get(&module).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    };
    let all: BTreeMap<&Module, BTreeSet<Module>> = uses.keys().map(|module| (module, reach(module))).collect();
    let circle = |module: &Module| -> BTreeSet<Module> {
        all[module].iter().filter(|other| all.get(other).is_some_and(|back| back.contains(module))).cloned().collect()
    };
    uses.keys().map(circle).filter(|circle| circle.len() > 1).collect()
}

#[test]
fn circles_are_found() {
    let files = [
        ("room", "mod a; mod b; mod c;\npub use b::Thing;\nfn f() { c::g() }"),
        ("room::a", "use crate::{other::X, room::Thing};\npub(in crate::room) struct A;"),
        ("room::b", "use super::{c::{self, C}, Unknown};"),
        ("room::c", "fn g() -> super::a::A { crate::other::h() }"),
        ("other", "use crate::room::a::A;"),
    ];
    let module = |text: &str| text.split("::").map(str::to_owned).collect::<Module>();
    let files: BTreeMap<Module, String> = files.iter().map(|(name, code)| (module(name), (*code).to_owned())).collect();
    let modules = Modules::new(&files);
    let uses = |name: &str| -> Vec<String> {
        modules.uses(&module(name), &files[&module(name)]).iter().map(|used| used.join("::")).collect()
    };
    assert_eq!(uses("room"), ["room::c"], "a re-export is no use");
    assert_eq!(uses("room::a"), ["room::b"], "by way of a re-export, and not of another room");
    assert_eq!(uses("room::b"), ["room", "room::c"]);
    assert_eq!(uses("room::c"), ["room::a"]);
    let all = files.iter().map(|(name, code)| (name.clone(), modules.uses(name, code))).collect();
    let found = circles(&all);
    let names = |circle: &BTreeSet<Module>| circle.iter().map(|name| name.join("::")).collect::<Vec<_>>();
    assert_eq!(found.iter().map(names).collect::<Vec<_>>(), [["room", "room::a", "room::b", "room::c"]]);
}

#[test]
fn the_files_of_a_module_form_no_circle() {
    let sources = sources();
    let sources = sources.iter().filter(|(path, _)| !is_test(path));
    let files: BTreeMap<Module, String> = sources.map(|(path, text)| (module(path), code(text))).collect();
    let modules = Modules::new(&files);
    let uses: BTreeMap<_, _> = files.iter().map(|(name, code)| (name.clone(), modules.uses(name, code))).collect();
    let mut wrong = Vec::new();
    for circle in circles(&uses) {
        let names: Vec<String> = circle.iter().map(|name| name.join("::")).collect();
        if CIRCLES.iter().any(|(allowed, _)| names.iter().all(|name| allowed.contains(&name.as_str()))) {
            continue;
        }
        for name in &circle {
            let inside: Vec<_> = uses[name].intersection(&circle).map(|used| used.join("::")).collect();
            wrong.push(format!("{} uses {}", name.join("::"), inside.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
