//! What is different on a terminal.

use std::collections::BTreeSet;
use std::fs;

use tempfile::TempDir;

use super::{get, sha256};
use crate::support::pty::{COLUMNS, CTRL_C, Terminal};
use crate::support::server::Server;
use crate::support::{DEADLINE, payload, wait_for};

/// The end of a bar whose transfer is complete.
const FULL: &str = "100% [==============================] ";

/// What a bar is at the end.
fn last_line(shown: &str) -> &str {
    shown.rsplit("\x1b[2K").next().unwrap()
}

/// The percentages that a bar has shown.
fn percentages(shown: &str) -> BTreeSet<u32> {
    let before = shown.split("% [").map(|text| text.rsplit([' ', '\r', 'K']).next().unwrap());
    before.filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn a_bar_shows_the_progress_and_only_there() {
    let server = Server::start(&[]);
    let size = 1_000_000;
    let url = server.url(&format!("/stream/{size}"));
    let args = ["-k", "--limit-rate", "1M", "-o", "file", &url];
    let dir = TempDir::new().unwrap();
    let on_terminal = |args: &[&str]| Terminal::run(dir.path(), &[&["get"], args].concat()).finish();

    let (code, shown) = on_terminal(&args);
    assert_eq!(code, 0, "{shown}");
    assert!(last_line(&shown).starts_with(&format!("{FULL}976.56 KiB of 976.56 KiB, ")), "{shown:?}");
    // It takes most of a second, of which every tenth is shown.
    let seen = percentages(&shown);
    assert!(seen.len() >= 4 && seen.contains(&100), "{seen:?} {shown:?}");
    let file = fs::read(dir.path().join("file")).unwrap();
    assert_eq!((file.len(), sha256(&file)), (size, sha256(&payload(size))));

    // Without a terminal, or when nothing but the result is wanted.
    let piped = get(&args);
    assert_eq!((piped.text(), piped.file("file").len()), ("", size));
    assert_eq!(on_terminal(&[&["-s"], &args[..]].concat()), (0, String::new()));
    let (code, shown) = on_terminal(&[&["--report"], &args[..]].concat());
    let report: serde_json::Value = serde_json::from_str(&shown).expect("one object");
    assert_eq!((code, report["bytes"].as_u64()), (0, Some(size as u64)));
}

#[test]
fn bodies_on_a_terminal() {
    let server = Server::start(&[]);
    let dir = TempDir::new().unwrap();
    let on_terminal = |args: &[&str]| Terminal::run(dir.path(), &[&["get", "-k"], args].concat()).finish();
    // No bar, which would be in the way.
    assert_eq!(on_terminal(&[&server.url("/")]), (0, "Hello, HTTP/3!\n".to_owned()));
    let url = server.url("/stream/300");
    let refused = "binary data would mess up the terminal (write it to a file with -o FILE, or use | cat)";
    assert_eq!(on_terminal(&[&url]), (23, format!("mio-quiche: {url}: {refused}\n")));
}

#[test]
fn keys_that_end_it() {
    let mut server = Server::start(&[]);
    let dir = TempDir::new().unwrap();
    let url = server.url("/stream/100000000000");
    let mut terminal = Terminal::run(dir.path(), &["get", "-k", "--limit-rate", "1M", "-o", "file", &url]);
    terminal.wait_for(" of 93.13 GiB, ");
    let has_some = || fs::metadata(dir.path().join("file")).is_ok_and(|file| file.len() > 0).then_some(());
    wait_for("some bytes", DEADLINE, has_some);
    terminal.press(CTRL_C);
    let (code, shown) = terminal.finish();
    assert_eq!(code, 130, "{shown:?}");
    // It fills its line, so that the prompt comes below it.
    assert_eq!(last_line(&shown).chars().count(), COLUMNS, "{shown:?}");
    let kept = fs::read(dir.path().join("file")).unwrap();
    assert!(!kept.is_empty() && kept == payload(kept.len()));
    server.stop();
}

#[test]
fn a_password_is_asked_for() {
    let server = Server::start(&["--auth", "ada:se:cret"]);
    let dir = TempDir::new().unwrap();
    let url = server.url("/");
    for (password, code, body) in [("se:cret", 0, "Hello, HTTP/3!\n"), ("", 22, "")] {
        let mut terminal = Terminal::run(dir.path(), &["get", "-k", "-s", "-f", "-u", "ada", &url]);
        let prompt = "Enter host password for user 'ada':";
        terminal.wait_for(prompt);
        terminal.press(password);
        terminal.press("\r");
        assert_eq!(terminal.finish(), (code, format!("{prompt}\n{body}")), "it is not shown");
    }
}
