//! A browser and the node script that drives it.

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server::Guard;
use crate::support::{DEADLINE, tool};

/// How long a case may take in the page.
const CASE: Duration = Duration::from_secs(180);

/// How long a browser may take to start: the first start on a busy machine is slow.
const LAUNCH: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Chromium,
    Firefox,
}

/// A running browser. It ends when its standard input does: with this, or with the tests.
pub(super) struct Browser {
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Arc<Mutex<String>>,
    origin: String,
    _child: Guard,
}

/// One browser of each kind serves all tests, one after the other.
static CHROMIUM: Mutex<Option<Browser>> = Mutex::new(None);
static FIREFOX: Mutex<Option<Browser>> = Mutex::new(None);

/// The shared browser, as long as a test needs it.
pub(super) struct Shared(MutexGuard<'static, Option<Browser>>);

impl Deref for Shared {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        self.0.as_ref().expect("it was started")
    }
}

impl DerefMut for Shared {
    fn deref_mut(&mut self) -> &mut Browser {
        self.0.as_mut().expect("it was started")
    }
}

impl Browser {
    /// The running browser, or a new one if there is none or if a test failed with it.
    pub(super) fn shared(kind: Kind) -> Shared {
        let shared = match kind {
            Kind::Chromium => &CHROMIUM,
            Kind::Firefox => &FIREFOX,
        };
        let mut browser = shared.lock().unwrap_or_else(|poisoned| {
            shared.clear_poison();
            let mut browser = poisoned.into_inner();
            *browser = None;
            browser
        });
        browser.get_or_insert_with(|| Browser::start(kind, &[]));
        Shared(browser)
    }

    /// Starts a browser with further options.
    pub(super) fn start(kind: Kind, options: &[&str]) -> Self {
        let driver = match kind {
            Kind::Chromium => "chromium.mjs",
            Kind::Firefox => "firefox.mjs",
        };
        for variable in ["MIO_QUICHE_CHROMIUM", "MIO_QUICHE_FIREFOX", "MIO_QUICHE_NODE_MODULES"] {
            tool(variable);
        }
        let child = Command::new(tool("MIO_QUICHE_NODE"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser").join(driver))
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = Guard(child.expect("node starts"));
        let stdin = child.0.stdin.take();
        let (send, lines) = mpsc::channel();
        let stdout = BufReader::new(child.0.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
        let errors = Arc::new(Mutex::new(String::new()));
        let (mut stderr, kept) = (child.0.stderr.take().unwrap(), Arc::clone(&errors));
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut buf) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&buf[..n]));
            }
        });
        let mut browser = Browser { stdin, lines, errors, origin: String::new(), _child: child };
        let first = browser.line("the start of the browser", LAUNCH);
        first["origin"].as_str().expect("an origin").clone_into(&mut browser.origin);
        browser
    }

    fn line(&self, what: &str, patience: Duration) -> Value {
        let line = self.lines.recv_timeout(patience).unwrap_or_else(|e| {
            panic!("{what}: {e}; node says:\n{}", self.errors.lock().unwrap());
        });
        serde_json::from_str(&line).unwrap()
    }

    /// Where its pages are from.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Runs a case in a new page, from `page` if that is given, and gives what it saw.
    #[track_caller]
    pub(super) fn run(&mut self, page: Option<&str>, case: &str, mut args: Value) -> Value {
        args["deadline"] = json!(CASE.as_millis() as u64);
        let mut command = json!({ "name": case, "args": args });
        if let Some(page) = page {
            command["at"] = json!(page);
        }
        let stdin = self.stdin.as_mut().expect("it runs");
        // What went wrong shows when its answer is missing.
        let _ = writeln!(stdin, "{command}");
        let mut outcome = self.line(case, CASE + DEADLINE);
        if let Some(error) = outcome["error"].as_str() {
            panic!("{error}");
        }
        outcome["result"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Its driver ends the browser and itself; killed at once it would leave the browser behind.
        while self.lines.recv_timeout(DEADLINE).is_ok() {}
    }
}
