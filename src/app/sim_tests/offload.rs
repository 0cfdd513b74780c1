//! Blocking work of handlers.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use super::*;
use crate::app::Router;
use crate::app::offload::{CAPACITY, Pool};

/// A server with two threads, whose work at `/wait` ends when something is sent.
fn waiting() -> (Sim, Sender<u32>, Receiver<ThreadId>) {
    let (sender, work) = channel::<u32>();
    let (begun, beginnings) = channel();
    let work = Arc::new(Mutex::new(work));
    let router = Router::new()
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
