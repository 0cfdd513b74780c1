//! Handlers of a test's own, under curl's load: answers of other threads, and panics.

use std::sync::mpsc::{Sender, channel};
use std::thread;

use mio_quiche::{Reply, Router};

use crate::support::curl;
use crate::support::local::Local;

/// Requests `path` with 1 to `count` at its end, and returns status and body of each, sorted.
fn get_all(local: &Local, path: &str, count: usize) -> Vec<String> {
    let url = local.url(&format!("{path}[1-{count}]"));
    let args = ["--parallel", "--parallel-max", "100", "-w", "status %{http_code}\n"];
    let output = curl::command().args(args).arg(&url).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn eight_threads_answer_a_thousand_requests() {
    const COUNT: usize = 1000;
    let local = Local::start(
        |_| {},
        || {
            let threads: Vec<Sender<(usize, Reply)>> = (0..8)
                .map(|_| {
                    let (sender, work) = channel::<(usize, Reply)>();
                    thread::spawn(move || {
                        for (n, reply) in work {
                            reply.send(move |res| res.text(format!("answer {n}\n")));
                        }
                    });
                    sender
                })
                .collect();
            Router::new().get("/later/:n", move |req, res| {
                let n: usize = req.param("n").unwrap().parse().unwrap();
                let thread = threads[n % threads.len()].clone();
                res.later(move |reply| thread.send((n, reply)).unwrap())
            })
        },
    );
    let lines = get_all(&local, "/later/", COUNT);
    let mut expected: Vec<String> = (1..=COUNT).map(|n| format!("answer {n}")).collect();
    expected.extend((0..COUNT).map(|_| "status 200".to_owned()));
    expected.sort();
    assert_eq!(lines, expected);
    local.stop();
}

#[test]
fn a_thousand_panics_cost_their_requests_only() {
    const COUNT: usize = 1000;
    let local = Local::start(
        |_| {},
        || {
            Router::new().get("/:n", |req, res| {
                let n: usize = req.param("n").unwrap().parse().unwrap();
                if n.is_multiple_of(2) {
                    // As `panic!`, without a message on the terminal.
                    std::panic::resume_unwind(Box::new("even"));
                }
                res.text(format!("answer {n}\n"))
            })
        },
    );
    let lines = get_all(&local, "/", 2 * COUNT);
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("status 500"), count("status 200"), count("answer ")), (COUNT, COUNT, COUNT), "{lines:?}");
    local.stop();
}
