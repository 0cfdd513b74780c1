//! The chapters of the course show the code that is in the milestones' files, and name files that exist.
//!
//! Code in a chapter is compiled as a documentation test of `guide`. A block behind `<!-- excerpt of FILE -->` is also in
//! that file of the milestone, and that of a solution is its `solution.rs` or `solution.c`, which the milestone's check
//! runs.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The milestones' directories, each with its chapter.
fn chapters() -> Vec<(PathBuf, String)> {
    let dirs = fs::read_dir(root().join("milestones")).unwrap().map(|entry| entry.unwrap().path());
    let mut chapters: Vec<_> = dirs.filter(|dir| dir.is_dir()).map(|dir| (read(&dir.join("README.md")), dir)).collect();
    chapters.sort_by(|a, b| a.1.cmp(&b.1));
    assert!(chapters.len() >= 10, "the chapters were read");
    chapters.into_iter().map(|(text, dir)| (dir, text)).collect()
}

/// The blocks of code of a text: what follows the fence, such as `rust,no_run`, and the code.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a fence is a line of its own")).collect()
}

/// The code without its imports: an excerpt needs fewer.
fn items(code: &str) -> &str {
    code.find("\n/// ").map_or(code, |at| &code[at..])
}

#[test]
fn excerpts_are_in_the_programs() {
    let mut found = 0;
    for (dir, text) in chapters() {
        for rest in text.split("<!-- excerpt of ").skip(1) {
            let (file, rest) = rest.split_once(" -->").expect("the name of a file");
            let shown = blocks(rest).into_iter().next().expect("a block of code").1;
            let program = read(&dir.join(file));
            assert!(program.contains(items(shown)), "{}: {file} has no such code:\n{shown}", dir.display());
            found += 1;
        }
    }
    assert!(found >= 2, "the excerpts were found");
}

#[test]
fn each_exercise_has_a_solution_that_is_compiled() {
    for (dir, text) in chapters() {
        let solution = text.split_once("\n## Exercise\n").and_then(|(_, rest)| rest.split_once("<summary>Solution"));
        let (_, solution) = solution.unwrap_or_else(|| panic!("{}: no solution", dir.display()));
        assert!(solution.contains("</details>"), "{}: the solution has no end", dir.display());
        for (name, language, use_of_it) in
            [("solution.rs", "rust", "\nmod solution;\n"), ("solution.c", "c", "(\"solution.c\")")]
        {
            let file = dir.join(name);
            if !file.exists() {
                continue;
            }
            // The check uses some of its items.
            let code = read(&file).replace("pub(crate) ", "");
            let (_, code) = code.split_once("\n\n").expect("a comment about the file");
            let shown: Vec<_> = blocks(solution).into_iter().filter(|(of, _)| *of == language).collect();
            assert_eq!(shown, [(language, code.trim_end())], "{}: the solution is another one", dir.display());
            assert!(read(&dir.join("check.rs")).contains(use_of_it), "{}: nothing runs it", dir.display());
        }
    }
}

#[test]
fn code_is_compiled_and_programs_are_short() {
    for (dir, text) in chapters() {
        for (language, code) in blocks(&text) {
            let known = ["rust", "rust,no_run", "console", "text", "sh", "html", "js", "python", "ts", "c"];
            assert!(known.contains(&language), "{}: {language:?}:\n{code}", dir.display());
        }
        let program = ["main.rs", "main.ts"].map(|name| dir.join(name)).into_iter().find(|path| path.exists());
        let program = program.unwrap_or_else(|| panic!("{}: no program", dir.display()));
        let lines = read(&program).lines().count();
        assert!(lines <= 120, "{} has {lines} lines", program.display());
    }
    let others = [
        ("m04_routing/rest.rs", 80),
        ("m04_routing/tokio.rs", 65),
        ("m08_webtransport/chat.rs", 50),
        ("m10_bun/server.c", 40),
    ];
    for (path, limit) in others {
        let lines = read(&root().join("milestones").join(path)).lines().count();
        assert!(lines <= limit, "{path} has {lines} lines");
    }
}

/// The paths that a text names in backticks, without those that stand for several, such as `fuzz/corpus/TARGET`.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let named = text.split('`').skip(1).step_by(2).filter_map(|code| code.split_whitespace().next());
    let dirs = ["src/", "milestones/", "scripts/", "tests/", "docs/", "benches/", "fuzz/"];
    let is_pattern = |path: &str| path.contains('*') || path.split('/').any(|name| name.to_uppercase() == name);
    named.filter(move |path| dirs.iter().any(|dir| path.starts_with(dir)) && !is_pattern(path.trim_end_matches('/')))
}

#[test]
fn files_that_texts_name_exist() {
    let mut found = 0;
    let others =
        ["README.md", "SECURITY.md", "ARCHITECTURE.md"].map(|name| (root().join(name), read(&root().join(name))));
    for (from, text) in chapters().into_iter().chain(others) {
        // Fences would count as empty pairs of backticks and one more.
        let prose: String = text.split("```").step_by(2).collect();
        for path in paths(&prose) {
            let exists = root().join(path).exists() || root().join("src").join(path).exists();
            assert!(exists, "{}: there is no {path}", from.display());
            found += 1;
        }
    }
    assert!(found >= 50, "the paths were found");
}

#[test]
fn builds_are_as_the_scripts_do_them() {
    let (readme, lib) = (read(&root().join("README.md")), read(&root().join("scripts/lib.sh")));
    let tools = lib.split_once("\nneed_build_tools() {").and_then(|(_, rest)| rest.split_once("\n}\n")).unwrap().0;
    let packages: Vec<_> = tools.split("missing+=(").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let packages: Vec<_> = packages.into_iter().filter(|name| *name != "ca-certificates").collect();
    let install = format!("\napt-get install --no-install-recommends {} ", packages.join(" "));
    assert!(readme.contains(&install), "README.md does not say {install}");
    // Link-time optimisation would make the first build longer by minutes.
    let manifest = read(&root().join("Cargo.toml"));
    let quick = manifest.split_once("\n[profile.quick]\n").expect("the profile").1.split("\n[").next().unwrap();
    let expected = ["inherits = \"release\"", "opt-level = 1", "lto = false", "codegen-units = 16", "debug = false"];
    assert_eq!(quick.lines().collect::<Vec<_>>(), expected);
    assert!(!manifest.contains("[profile.quick.package.\"*\"]"), "it holds for build scripts and macros, too");
    assert!(lib.contains("cargo build --profile quick --locked "));
    for script in ["scripts/serve", "scripts/fallback"] {
        let text = read(&root().join(script));
        assert!(text.contains("build_quick\n") && text.contains("$CARGO_TARGET_DIR/quick/mio-quiche\n"), "{script}");
    }
}

#[test]
fn commands_name_programs_that_exist() {
    let manifest = read(&root().join("Cargo.toml"));
    for (dir, text) in chapters() {
        for rest in text.split("--example ").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "{}: no example {name}", dir.display());
        }
    }
}
