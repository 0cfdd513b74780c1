//! Handles: engines by number, in a thread of their own or in their caller's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::code::{
    MQ_ERR_BUSY, MQ_ERR_HANDLE, MQ_ERR_INTERNAL, MQ_ERR_SYSTEM, MQ_ERR_THREAD, MQ_ERR_UNSUPPORTED, Outcome, because,
    fail, panic_text,
};
use super::driver::Driver;
use super::engine::Engine;
use super::event::{Event, MQ_EVENT_ENDED, mq_wake};
use super::settings::Run;
use super::shared::Shared;
use super::state::State;
use crate::net;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

/// What a handle names.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) role: Role,
    pub(super) shared: Arc<Shared>,
    pub(super) local_addr: SocketAddr,
    place: Place,
}

/// Where an engine runs.
#[derive(Debug)]
enum Place {
    Thread { id: ThreadId, thread: Mutex<Option<JoinHandle<()>>> },
    Caller(ThreadId),
}

/// Names a thread. The standard library's needs memory that a foreign thread does not give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ThreadId(u64);

impl ThreadId {
    /// The name of this thread.
    fn current() -> Self {
        thread_local! {
            static ID: u64 = {
                static NEXT: AtomicU64 = AtomicU64::new(1);
                NEXT.fetch_add(1, Ordering::Relaxed)
            };
        }
        // A thread that is ending has none any more, and no engine.
        ThreadId(ID.try_with(|id| *id).unwrap_or(0))
    }
}

static HANDLES: RwLock<BTreeMap<u64, Arc<Handle>>> = RwLock::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The engines that run in this thread.
    static ENGINES: RefCell<BTreeMap<u64, Here>> = const { RefCell::new(BTreeMap::new()) };
}

/// Takes an engine of this thread out of its place.
fn take_here(id: u64) -> Option<Here> {
    ENGINES.try_with(|engines| engines.borrow_mut().remove(&id)).ok().flatten()
}

/// Puts it there.
fn put_here(id: u64, here: Here) {
    // A thread that is ending drops it, which ends the engine.
    let _ = ENGINES.try_with(|engines| engines.borrow_mut().insert(id, here));
}

/// An engine that runs in its caller's thread.
struct Here {
    engine: Box<dyn Steps>,
    shared: Arc<Shared>,
}

impl Drop for Here {
    /// Its thread ends, or it is stopped.
    fn drop(&mut self) {
        self.engine.stop();
        self.shared.lock().end(Event::new(MQ_EVENT_ENDED, 0));
    }
}

/// An engine of any driver.
trait Steps {
    fn step(&mut self, until: Option<Instant>) -> bool;
    fn stop(&mut self);
}

impl<D: Driver> Steps for Engine<D> {
    fn step(&mut self, until: Option<Instant>) -> bool {
        Engine::step(self, until)
    }

    fn stop(&mut self) {
        Engine::stop(self);
    }
}

/// What a handle names, if it names something.
pub(super) fn get(handle: u64) -> Outcome<Arc<Handle>> {
    let handles = HANDLES.read().unwrap_or_else(PoisonError::into_inner);
    handles.get(&handle).cloned().map_or_else(|| fail(MQ_ERR_HANDLE), Ok)
}

impl Handle {
    /// Fails on an engine of the other role.
    pub(super) fn must_be(&self, role: Role) -> Outcome<()> {
        match (self.role == role, role) {
            (true, _) => Ok(()),
            (false, Role::Server) => because(MQ_ERR_UNSUPPORTED, "only a server does this"),
            (false, Role::Client) => because(MQ_ERR_UNSUPPORTED, "only a client does this"),
        }
    }

    /// Calls `call` with the engine's state, and wakes the engine if that left it something to do.
    pub(super) fn with<T>(&self, call: impl FnOnce(&mut State) -> Outcome<T>) -> Outcome<T> {
        let mut state = self.shared.lock();
        let result = call(&mut state);
        self.shared.wake_engine(state);
        result
    }
}

/// Starts an engine, and returns its handle. `make` makes its driver, on the thread that it is to run in.
pub(super) fn start<D: Driver + 'static>(
    role: Role,
    run: Run,
    wake: mq_wake,
    allow_origins: Vec<String>,
    make: impl FnOnce() -> Outcome<D> + Send + 'static,
) -> Outcome<u64> {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let Run { threaded, bounds } = run;
    let build = move || -> Outcome<(Engine<D>, Arc<Shared>, SocketAddr)> {
        let driver = make()?;
        let local_addr = driver.local_addr();
        let wake = wake.filter(|_| threaded);
        let shared = Arc::new(Shared::new(State::new(bounds), driver.waker(), wake, threaded)?);
        Ok((Engine::new(driver, Arc::clone(&shared), allow_origins), shared, local_addr))
    };
    let handle = match threaded {
        true => {
            let (sender, started) = channel();
            let thread = thread::Builder::new().name("mio-quiche".to_owned()).spawn(move || run_thread(build, &sender));
            let thread = thread.or_else(|error| because(MQ_ERR_SYSTEM, format!("no thread: {error}")))?;
            let Started { id, shared, local_addr } =
                started.recv().unwrap_or_else(|_| because(MQ_ERR_INTERNAL, "the engine's thread has ended"))?;
            Handle { role, shared, local_addr, place: Place::Thread { id, thread: Mutex::new(Some(thread)) } }
        }
        false => {
            let (engine, shared, local_addr) = build()?;
            let here = Here { engine: Box::new(engine), shared: Arc::clone(&shared) };
            put_here(id, here);
            Handle { role, shared, local_addr, place: Place::Caller(ThreadId::current()) }
        }
    };
    HANDLES.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(handle));
    Ok(id)
}

/// What an engine's thread tells of its start.
struct Started {
    id: ThreadId,
    shared: Arc<Shared>,
    local_addr: SocketAddr,
}

/// The thread of an engine.
fn run_thread<D: Driver>(
    build: impl FnOnce() -> Outcome<(Engine<D>, Arc<Shared>, SocketAddr)>,
    started: &Sender<Outcome<Started>>,
) {
    let (mut engine, shared) = match build() {
        Ok((engine, shared, local_addr)) => {
            let _ = started.send(Ok(Started { id: ThreadId::current(), shared: Arc::clone(&shared), local_addr }));
            (engine, shared)
        }
        Err(failure) => return drop(started.send(Err(failure))),
    };
    let ended = catch_unwind(AssertUnwindSafe(|| {
        while shared.wait_for_room() && engine.step(None) {}
        engine.stop();
    }));
    if let Err(panic) = ended {
        log::error!("the engine has panicked: {}", panic_text(&*panic));
        let mut state = shared.lock();
        state.end(Event::new(MQ_EVENT_ENDED, 0).failure(MQ_ERR_INTERNAL, panic_text(&*panic)));
        shared.signal(state);
    }
}

/// Waits for events, and lets `take` take them.
pub(super) fn poll(id: u64, timeout_ms: i32, take: impl FnOnce(&mut State) -> Outcome) -> Outcome {
    let handle = get(id)?;
    let shared = &handle.shared;
    let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    let mut state = shared.lock();
    if std::mem::replace(&mut state.polled, true) {
        return fail(MQ_ERR_BUSY);
    }
    drop(state);
    let waited = catch_unwind(AssertUnwindSafe(|| match &handle.place {
        Place::Thread { .. } => {
            let state = shared.wait_for_events(shared.lock(), timeout);
            if state.stopping { fail(MQ_ERR_HANDLE) } else { Ok(()) }
        }
        Place::Caller(owner) => poll_here(id, *owner, shared, timeout),
    }));
    let mut state = shared.lock();
    state.polled = false;
    let waited = waited.unwrap_or_else(|panic| because(MQ_ERR_INTERNAL, panic_text(&*panic)));
    waited?;
    state.forget_lent();
    let taken = take(&mut state);
    if state.front().is_none() {
        shared.clear_signal(&mut state);
    }
    drop(state);
    shared.made_room();
    taken
}

/// Runs the engine in this thread until there are events, for at most `timeout`.
fn poll_here(id: u64, owner: ThreadId, shared: &Shared, timeout: Option<Duration>) -> Outcome<()> {
    if ThreadId::current() != owner {
        return fail(MQ_ERR_THREAD);
    }
    // It is out of the map meanwhile, and not put back if it panics.
    let Some(mut here) = take_here(id) else {
        return fail(MQ_ERR_HANDLE);
    };
    let until = timeout.map(|timeout| net::now() + timeout);
    loop {
        let (has_events, is_full, has_ended) = {
            let mut state = shared.lock();
            (state.front().is_some(), state.is_full(), state.ended)
        };
        if has_ended || is_full {
            break;
        }
        let now = net::now();
        here.engine.step(if has_events { Some(now) } else { until });
        let has_events = has_events || shared.lock().front().is_some();
        if has_events || until.is_some_and(|until| until <= net::now()) {
            break;
        }
    }
    put_here(id, here);
    Ok(())
}

/// Ends an engine, and its handle.
pub(super) fn stop(id: u64) -> Outcome<()> {
    let handle = get(id)?;
    let forget = || HANDLES.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    match &handle.place {
        Place::Thread { id, thread } => {
            if *id == ThreadId::current() {
                return because(MQ_ERR_THREAD, "the engine's own thread cannot stop it");
            }
            let mut thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(thread) = thread.take() else { return fail(MQ_ERR_HANDLE) };
            forget();
            handle.shared.stop();
            // A panic in it was reported.
            let _ = thread.join();
        }
        Place::Caller(owner) => {
            let is_owner = ThreadId::current() == *owner;
            if !is_owner && !handle.shared.lock().ended {
                return fail(MQ_ERR_THREAD);
            }
            let here = take_here(id);
            if here.is_none() && !handle.shared.lock().ended {
                // It runs: this is a call from inside of it.
                return fail(MQ_ERR_BUSY);
            }
            forget();
            drop(here);
        }
    }
    Ok(())
}
