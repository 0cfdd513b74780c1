//! Threads that share a load, each with a socket and a loop of its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mio_quiche::{ClientConfig, net};

use super::engine::Plan;
use super::runner::Runner;
use super::tally::{Tally, cpu_time};
use crate::cli::Failure;

/// Interval of the progress.
const TICK: Duration = Duration::from_millis(100);

/// What is to be done in all.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) requests: Option<u64>,
    pub(super) time: Duration,
    pub(super) warmup: Duration,
}

/// How far the workers are together.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) done: u64,
    pub(super) answers: u64,
    pub(super) errors: u64,
    /// The median latency of the worker with the highest one, in nanoseconds.
    pub(super) p50: u64,
    /// Since the measurement began, on a worker.
    pub(super) elapsed: Duration,
}

/// What was measured.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) cpu: Duration,
    pub(super) interrupted: bool,
}

enum News {
    /// All connections of a worker are open.
    Open,
    Over(Box<Result<Outcome, Failure>>),
}

/// Runs the load on `count` threads: connections, requests and rate are distributed evenly.
pub(super) fn run(
    plan: &Plan,
    config: &ClientConfig,
    load: Load,
    count: usize,
    show: &mut dyn FnMut(Progress),
) -> Result<Outcome, Failure> {
    let (tell, news) = channel();
    let progress = Arc::new(Mutex::new(vec![Progress::default(); count]));
    let mut waiting: Vec<SyncSender<()>> = Vec::new();
    for index in 0..count {
        let (plan, load, offset) = share(plan, load, count, index);
        let (go, wait) = sync_channel(1);
        waiting.push(go);
        let (tell, progress, config) = (tell.clone(), Arc::clone(&progress), config.clone());
        let note = move |now: Progress| {
            if let Some(slot) = progress.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
                *slot = now;
            }
        };
        let work = move || {
            let outcome = work(plan, &config, load, offset, &|| drop(tell.send(News::Open)), &wait, &note);
            let _ = tell.send(News::Over(Box::new(outcome)));
        };
        let thread = thread::Builder::new().name(format!("bench-{index}")).spawn(work);
        thread.map_err(|e| Failure::Runtime(format!("cannot start a thread: {e}")))?;
    }
    drop(tell);
    let mut total: Option<Outcome> = None;
    let (mut open, mut over) = (0, 0);
    while over < count {
        match news.recv_timeout(TICK) {
            Ok(News::Open) => {
                open += 1;
                if open == count {
                    // All begin together.
                    for go in &waiting {
                        // Fails if the worker has, which it tells.
                        let _ = go.send(());
                    }
                }
            }
            // The others end with the process.
            Ok(News::Over(outcome)) => {
                let outcome = (*outcome)?;
                over += 1;
                match &mut total {
                    Some(total) => total.add(&outcome),
                    None => total = Some(outcome),
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        show(sum(&progress.lock().unwrap_or_else(PoisonError::into_inner)));
    }
    total.filter(|_| over == count).ok_or_else(|| Failure::Runtime("a worker panicked".to_owned()))
}

fn sum(all: &[Progress]) -> Progress {
    all.iter().fold(Progress::default(), |sum, one| Progress {
        done: sum.done + one.done,
        answers: sum.answers + one.answers,
        errors: sum.errors + one.errors,
        p50: sum.p50.max(one.p50),
        elapsed: sum.elapsed.max(one.elapsed),
    })
}

/// The part of a worker, and the time by which its schedule is behind that of the first one: together, their requests are
/// due at even intervals.
fn share(plan: &Plan, load: Load, count: usize, index: usize) -> (Plan, Load, Duration) {
    let part = |all: u64| all / count as u64 + u64::from((index as u64) < all % count as u64);
    let offset = plan.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64((index as f64 / rate).min(1e6)));
    let rate = plan.rate.map(|rate| rate / count as f64);
    let connections = part(plan.connections as u64) as usize;
    (Plan { connections, rate, ..plan.clone() }, Load { requests: load.requests.map(part), ..load }, offset)
}

/// One worker: tells when it is ready, waits for the others, and measures.
fn work(
    plan: Plan,
    config: &ClientConfig,
    load: Load,
    offset: Duration,
    is_open: &dyn Fn(),
    wait: &Receiver<()>,
    note: &dyn Fn(Progress),
) -> Result<Outcome, Failure> {
    let mut runner = Runner::new(plan, config)?;
    runner.open()?;
    is_open();
    if wait.recv().is_err() {
        return Err(Failure::Runtime("another worker failed".to_owned()));
    }
    if !load.warmup.is_zero() {
        let began = net::now();
        runner.load(None, began, Some(began + load.warmup), &mut |_| {})?;
    }
    runner.begin().map_err(|e| Failure::Runtime(e.to_string()))?;
    let (began, cpu) = (net::now(), cpu_time());
    let until = load.requests.is_none().then(|| began + load.time);
    runner.load(load.requests, began + offset, until, &mut |tally| {
        let p50 = tally.latency.value_at_quantile(0.5);
        let (done, answers, errors) = (tally.done, tally.answers(), tally.errors());
        note(Progress { done, answers, errors, p50, elapsed: net::now() - began });
    })?;
    let (ended, cpu) = (runner.last_end().unwrap_or_else(net::now), cpu_time() - cpu);
    let interrupted = runner.is_interrupted();
    runner.close();
    Ok(Outcome { tally: runner.into_tally(), began, ended, cpu, interrupted })
}

impl Outcome {
    fn add(&mut self, other: &Outcome) {
        self.tally.add(&other.tally);
        (self.began, self.ended) = (self.began.min(other.began), self.ended.max(other.ended));
        // That of the whole process.
        self.cpu = self.cpu.max(other.cpu);
        self.interrupted |= other.interrupted;
    }
}
