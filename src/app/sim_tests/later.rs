//! Responses that other threads give.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake};

use super::*;
use crate::app::{Reply, Router};

/// A server that keeps its promises in `replies`.
fn promising() -> (Sim, Arc<Mutex<Vec<Reply>>>) {
    let replies = Arc::<Mutex<Vec<Reply>>>::default();
    let kept = Arc::clone(&replies);
    let later = move |_: &crate::h3::Request, res: crate::app::Response| {
        let kept = Arc::clone(&kept);
        res.header("x-early", "1").later(move |reply| kept.lock().expect("no panic").push(reply))
    };
    let router = Router::new()
        .get("/later", later)
        .get("/panics", |_, res| res.later(|_| panic!("no promise")))
        .get("/dropped", |_, res| res.later(drop));
    (Sim::connected(Options { router, ..Options::default() }), replies)
}

fn wait_for_replies(sim: &mut Sim, replies: &Mutex<Vec<Reply>>, count: usize) -> Vec<Reply> {
    sim.run_until("the requests", |_| replies.lock().expect("no panic").len() == count);
    std::mem::take(&mut replies.lock().expect("no panic"))
}

#[test]
fn another_thread_answers_with_any_kind_of_response() {
    let (mut sim, replies) = promising();
    let ids = [sim.get("/later"), sim.get("/later"), sim.request("HEAD", "/later", &[], b"")];
    let kept = wait_for_replies(&mut sim, &replies, 3);
    assert!(sim.answers.values().all(|answer| answer.heads.is_empty()));
    let answer = move || {
        for (n, reply) in kept.into_iter().enumerate().rev() {
            assert!(!reply.is_cancelled());
            reply.send(move |res| match n {
                0 => res.status(201).text("text\n"),
                1 => res.stream(|s: &mut crate::Stream<'_>| {
                    s.finish_with(&mut "streamed\n".into())?;
                    Ok(crate::Progress::Done)
                }),
                _ => res.text("a body of twenty bytes"),
            });
        }
    };
    std::thread::spawn(answer).join().expect("no panic");
    sim.finish_all();
    let seen = ids.map(|id| {
        let answer = &sim.answers[&id];
        let text = |name| answer.field(name).unwrap_or("-").to_owned();
        assert_eq!(text("x-early"), "1");
        (text(":status"), text("content-length"), String::from_utf8_lossy(&answer.body).into_owned())
    });
    let expected = [("201", "5", "text\n"), ("200", "-", "streamed\n"), ("200", "22", "")];
    assert_eq!(seen, expected.map(|(status, len, body)| (status.to_owned(), len.to_owned(), body.to_owned())));
    assert_eq!(sim.app.running(), 0);
}

#[test]
fn a_promise_that_is_not_kept_is_a_500() {
    let (mut sim, replies) = promising();
    let ids = [sim.get("/panics"), sim.get("/dropped"), sim.get("/later"), sim.get("/later")];
    let mut kept = wait_for_replies(&mut sim, &replies, 2);
    drop(kept.pop());
    kept.pop().expect("a reply").send(|_| panic!("no answer"));
    sim.finish_all();
    assert_eq!(
        ids.map(|id| sim.answers[&id].field(":status").map(str::to_owned)),
        [(); 4].map(|()| Some("500".to_owned()))
    );
    let panics: Vec<_> = sim.app.panics().iter().map(|(route, count)| (route.to_owned(), count)).collect();
    assert_eq!(panics, [("/later".to_owned(), 1), ("/panics".to_owned(), 1)]);
    assert_eq!(sim.app.running(), 0);
}

#[test]
fn who_promised_learns_that_the_client_is_gone() {
    let (mut sim, replies) = promising();
    let (cancelled, kept) = (sim.get("/later"), sim.get("/later"));
    let mut promises = wait_for_replies(&mut sim, &replies, 2);
    let (second, first) = (promises.pop().expect("a reply"), promises.pop().expect("a reply"));
    sim.client.stream_shutdown(cancelled, quiche::Shutdown::Read, 0x10c).expect("an open stream");
    sim.run_until("the cancellation", |_| first.is_cancelled());
    assert!(!second.is_cancelled());
    let ran = Arc::<Mutex<bool>>::default();
    let noted = Arc::clone(&ran);
    first.send(move |res| {
        *noted.lock().expect("no panic") = true;
        res
    });
    second.send(|res| res.text("second\n"));
    sim.run_until("the other answer", |sim| sim.answers[&kept].finished);
    assert_eq!(sim.answers[&kept].body, b"second\n");
    assert!(!*ran.lock().expect("no panic"), "an answer for nobody was made");

    sim.get("/later");
    let third = wait_for_replies(&mut sim, &replies, 1).remove(0);
    sim.client.close(true, 0x100, b"").expect("an open connection");
    while !third.is_cancelled() {
        sim.step();
    }
    third.send(|res| res);
    sim.step();
    assert_eq!(sim.app.running(), 0);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_task_is_woken_when_the_client_is_gone() {
    let (mut sim, replies) = promising();
    let gone = sim.get("/later");
    sim.get("/later");
    let promises = wait_for_replies(&mut sim, &replies, 2);
    let woken = [Arc::<Woken>::default(), Arc::<Woken>::default()];
    let mut tasks = [0, 1].map(|n| Box::pin(promises[n].cancelled()));
    let mut poll = |n: usize| {
        let is_ready = tasks[n].as_mut().poll(&mut Context::from_waker(&woken[n].clone().into())).is_ready();
        (is_ready, woken[n].0.load(Ordering::Relaxed))
    };
    assert_eq!([poll(0), poll(1)], [(false, 0), (false, 0)]);
    sim.client.stream_shutdown(gone, quiche::Shutdown::Read, 0x10c).expect("an open stream");
    sim.run_until("the cancellation", |_| promises[0].is_cancelled());
    assert_eq!([poll(0), poll(1)], [(true, 1), (false, 0)]);
}

#[test]
fn a_thousand_answers_of_eight_threads_in_any_order_with_half_of_the_clients_gone() {
    const BATCH: usize = 50;
    let (mut sim, replies) = promising();
    let (senders, threads): (Vec<Sender<Reply>>, Vec<_>) = (0..8)
        .map(|_| {
            let (sender, receiver) = channel::<Reply>();
            let answer = move || receiver.into_iter().for_each(|reply| reply.send(|res| res.text("answer\n")));
            (sender, std::thread::spawn(answer))
        })
        .unzip();
    for _ in 0..1000 / BATCH {
        let ids: Vec<u64> = (0..BATCH).map(|_| sim.get("/later")).collect();
        let mut kept = wait_for_replies(&mut sim, &replies, BATCH);
        for id in ids.iter().step_by(2) {
            sim.client.stream_shutdown(*id, quiche::Shutdown::Read, 0x10c).expect("an open stream");
        }
        while !kept.is_empty() {
            let reply = kept.swap_remove(sim.rng.next() as usize % kept.len());
            senders[sim.rng.next() as usize % 8].send(reply).expect("a thread");
        }
        let stays: Vec<u64> = ids.iter().copied().skip(1).step_by(2).collect();
        sim.run_until("the answers", |sim| stays.iter().all(|id| sim.answers[id].finished));
        assert!(stays.iter().all(|id| sim.answers[id].body == b"answer\n"));
        sim.answers.clear();
    }
    drop(senders);
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    sim.run_until("nothing left", |sim| sim.app.running() == 0 && sim.server.stream_count() == 0);
}
