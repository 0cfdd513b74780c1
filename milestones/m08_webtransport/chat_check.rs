//! The check of the chat: its page in three tabs of Chromium and one of Firefox, which all see the same.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

#[path = "../check_support.rs"]
mod check_support;

use check_support::{DEADLINE, Lines, Process, client, example_path};

/// Lines that each tab says.
const LINES: usize = 20;

/// Says lines when all four are there, and returns what it saw.
fn script(browser: &str) -> String {
    let deadline = DEADLINE.as_millis();
    format!(
        r#"(async () => {{
            const until = async (what, done) => {{
                for (const end = performance.now() + {deadline}; !done(); await new Promise(r => setTimeout(r, 5)))
                    if (performance.now() > end) throw new Error(`no ${{what}}: ${{said.textContent}}`);
            }};
            const count = word => said.textContent.split('\n').filter(line => line.startsWith(word)).length;
            await until('session', () => globalThis.say);
            await say('hello from {browser} PAGE');
            await until('four guests', () => count('hello') === 4);
            for (let n = 0; n < {LINES}; n++) await say(`line ${{n}} of {browser} PAGE`);
            await until('every line', () => count('line') === 4 * {LINES});
            const seen = said.textContent;
            dispatchEvent(new Event('pagehide'));
            return seen;
        }})()"#
    )
}

/// Runs the script in tabs of a browser, and returns what each saw.
fn tabs(driver: &str, pages: usize, url: &str, script: &str) -> Vec<String> {
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser").join(driver);
    let mut command = Command::new(client("MIO_QUICHE_NODE"));
    let mut node = Process::start(command.arg(driver).stdin(Stdio::piped()).stdout(Stdio::piped()));
    let lines = Lines::of(node.child.stdout.take().expect("a pipe"));
    let mut stdin = node.child.stdin.take().expect("a pipe");
    // Where its own page is from.
    lines.next();
    let evaluate = json!({ "name": "evaluate", "at": url, "args": { "script": script, "pages": pages } });
    writeln!(stdin, "{evaluate}").expect("node reads");
    let outcome: Value = serde_json::from_str(&lines.next()).expect("a line of JSON");
    // Killed at once, the driver would leave the browser behind.
    drop(stdin);
    node.wait();
    serde_json::from_value(outcome["result"].clone()).expect("a text for each page")
}

/// Serves the folder of the page as the chapter says.
fn page_server() -> (Process, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("milestones/m08_webtransport");
    let mut command = Command::new(client("MIO_QUICHE_PYTHON"));
    command.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "-d"]).arg(folder);
    let mut server = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut line = String::new();
    BufReader::new(server.child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let port = line.split_whitespace().nth(5).expect("the port");
    (server, format!("http://localhost:{port}"))
}

#[test]
fn three_tabs_of_chromium_and_one_of_firefox() {
    client("MIO_QUICHE_CHROMIUM");
    client("MIO_QUICHE_FIREFOX");
    let (_server, page) = page_server();
    let mut command = Command::new(example_path("m08_chat"));
    let mut chat = Process::start(command.args(["127.0.0.1:0", &page]).stdout(Stdio::piped()));
    let url = Lines::of(chat.child.stdout.take().expect("a pipe")).next();
    assert!(url.starts_with(&format!("{page}/chat.html#https://127.0.0.1:")), "{url}");
    let (chromium, firefox) = thread::scope(|scope| {
        let chromium = scope.spawn(|| tabs("chromium.mjs", 3, &url, &script("Chromium")));
        let firefox = scope.spawn(|| tabs("firefox.mjs", 1, &url, &script("Firefox")));
        (chromium.join(), firefox.join())
    });
    let seen = [chromium.expect("three texts"), firefox.expect("a text")].concat();
    assert_eq!(seen.len(), 4);
    let mut said: Vec<String> = Vec::new();
    for (browser, pages) in [("Chromium", 3), ("Firefox", 1)] {
        for page in 0..pages {
            said.push(format!("hello from {browser} {page}"));
            said.extend((0..LINES).map(|n| format!("line {n} of {browser} {page}")));
        }
    }
    let mut lines: Vec<String> = seen[0].lines().map(str::to_owned).collect();
    lines.sort();
    said.sort();
    assert_eq!(lines, said);
    assert!(seen.iter().all(|text| *text == seen[0]), "all see the same in the same order: {seen:#?}");
    // Browsers that have ended acknowledge nothing more, and the server would wait for that until its shutdown timeout.
    assert_eq!(chat.stop_at_once().code(), Some(0));
}
