//! Blocking work of handlers.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use super::*;
use crate::app::offload::{CAPACITY, Pool};
use crate::app::{Router, StaticFiles};

/// A server with two threads, whose work at `/wait` ends when something is sent.
fn waiting() -> (Sim, Sender<u32>, Receiver<ThreadId>) {
    waiting_with(Router::new())
}

/// As [`waiting`], with more routes.
fn waiting_with(router: Router) -> (Sim, Sender<u32>, Receiver<ThreadId>) {
    let (sender, work) = channel::<u32>();
    let (begun, beginnings) = channel();
    let work = Arc::new(Mutex::new(work));
    let router = router
        .get("/wait", move |_, res| {
            let (work, begun) = (Arc::clone(&work), begun.clone());
            let wait = move || {
                begun.send(std::thread::current().id()).expect("the test");
                work.lock().expect("no panic").recv().expect("the test")
            };
            res.header("x-early", "1").offload(wait, |n, res| res.text(n.to_string()))
        })
        .get("/panic", |_, res| res.offload(|| -> u32 { panic!("at work") }, |_, res| res))
        .get("/other", |_, res| res.text("other"));
    let server = |config: &mut ServerConfig| config.transport.max_streams_bidi = 2000;
    let mut sim = Sim::connected(Options { router, server: Box::new(server), ..Options::default() });
    sim.app.set_pool(Pool::new(2));
    (sim, sender, beginnings)
}

#[test]
fn the_loop_goes_on_while_handlers_block() {
    let (mut sim, sender, beginnings) = waiting();
    let ids: Vec<u64> = (0..3).map(|_| sim.get("/wait")).collect();
    let other = sim.get("/other");
    sim.run_until("the other answer", |sim| sim.answers.get(&other).is_some_and(|answer| answer.finished));
    let threads = [beginnings.recv().expect("a job"), beginnings.recv().expect("another")];
    assert!(threads[0] != threads[1] && !threads.contains(&std::thread::current().id()));
    // The third waits for a thread, and its client does not wait for it.
    sim.client.stream_shutdown(ids[2], quiche::Shutdown::Read, 0x10c).expect("an open stream");
    sim.run_until("the cancellation", |sim| sim.app.running() == 2);
    (1..=2).for_each(|n| sender.send(n).expect("a thread"));
    sim.run_until("the answers", |sim| ids[..2].iter().all(|id| sim.answers.get(id).is_some_and(|a| a.finished)));
    let mut texts: Vec<_> = ids[..2].iter().map(|id| sim.answers[id].body.clone()).collect();
    texts.sort();
    assert_eq!(texts, [b"1", b"2"]);
    assert_eq!(sim.answers[&ids[0]].field("x-early"), Some("1"));
    let panicked = sim.get("/panic");
    sim.run_until("the panic", |sim| sim.answers.get(&panicked).is_some_and(|answer| answer.finished));
    assert_eq!(sim.answers[&panicked].status(), "500");
    assert_eq!(sim.app.panics().iter().collect::<Vec<_>>(), [("/panic", 1)]);
    assert!(beginnings.try_recv().is_err(), "work for nobody was done");
}

#[test]
fn more_work_than_waits_is_refused() {
    let (mut sim, sender, _beginnings) = waiting();
    let mut get = |_| {
        // The congestion window is smaller than all of them.
        sim.step();
        sim.get("/wait")
    };
    let ids: Vec<u64> = (0..CAPACITY + 10).map(&mut get).collect();
    sim.run_until("the refusals", |sim| sim.answers.values().filter(|answer| answer.finished).count() == 10);
    assert!(ids[CAPACITY..].iter().all(|id| sim.answers[id].status() == "503"));
    (0..CAPACITY).for_each(|n| sender.send(n as u32).expect("a thread"));
    sim.run_until("the answers", |sim| sim.answers.values().filter(|answer| answer.finished).count() == ids.len());
    assert!(ids[..CAPACITY].iter().all(|id| sim.answers[id].status() == "200"));
}

#[test]
fn a_slow_disk_does_not_stop_the_loop() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("warm"), "warm").expect("a file");
    std::fs::write(dir.path().join("cold"), "cold").expect("a file");
    let mut files = StaticFiles::open(dir.path()).expect("the directory");
    let router = Router::new().get("/files/*", move |req, res| files.respond(req, "*", res));
    let (mut sim, sender, beginnings) = waiting_with(router);
    let finished = |sim: &Sim, id: &u64| sim.answers.get(id).is_some_and(|answer| answer.finished);
    let first = sim.get("/files/warm");
    sim.run_until("the file", |sim| finished(sim, &first));
    // Both threads are busy, as with a disk that does not answer.
    let busy: Vec<u64> = (0..2).map(|_| sim.get("/wait")).collect();
    let mut begun = 0;
    sim.run_until("the jobs", |_| {
        begun += beginnings.try_iter().count();
        begun == 2
    });
    let cold = sim.get("/files/cold");
    // If a second has passed, the first one asks the disk whether the file is current.
    let warm: Vec<u64> = (0..2).map(|_| sim.get("/files/warm")).collect();
    let other = sim.get("/other");
    sim.run_until("the others", |sim| finished(sim, &other) && finished(sim, &warm[1]));
    assert_eq!(sim.answers[&warm[1]].body, b"warm");
    assert!(!finished(&sim, &cold));
    (0..2).for_each(|n| sender.send(n).expect("a thread"));
    sim.run_until("all", |sim| busy.iter().chain([&cold, &warm[0]]).all(|id| finished(sim, id)));
    assert_eq!(sim.answers[&cold].body, b"cold");
}

#[test]
fn a_part_of_a_file_that_is_on_the_disk_alone_is_read_by_a_thread() {
    // Not in memory, where a file system may be.
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory");
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let path = dir.path().join("big");
    std::fs::write(&path, &content).expect("a file");
    let mut files = StaticFiles::open(dir.path()).expect("the directory");
    let router = Router::new().get("/files/*", move |req, res| files.respond(req, "*", res));
    let (mut sim, ..) = waiting_with(router);
    for _ in 0..3 {
        let file = std::fs::File::open(&path).expect("the file");
        file.sync_all().expect("a disk");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("a disk");
        let id = sim.get("/files/big");
        sim.run_until("the file", |sim| sim.answers.get(&id).is_some_and(|answer| answer.finished));
        assert!(sim.answers[&id].body == content);
    }
}
