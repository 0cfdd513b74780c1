//! A server on several threads.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

#[cfg(feature = "admin")]
use super::admin::Loops;
#[cfg(not(feature = "admin"))]
use super::ports::Loops;
use super::ports::{self, Ports, Reloader};
use super::router::Router;
use super::server::{Server, ServerHandle, Settings, parse_addr};
use super::server_context::ServerContext;
use crate::config::ServerConfig;
use crate::endpoint::{self, Endpoint};
use crate::error::{ConfigError, PostError, Result};
use crate::net::{self, EventLoop, UdpSocket};
use crate::stats::Stats;

/// The most workers.
const MAX_WORKERS: u8 = 128;
/// Time before a worker that panicked starts again.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// A server with several workers. Each is a thread with an event loop, a socket and a [`Router`] of its own, so handlers
/// need no locks and need not be `Send`. What the workers share is captured by the closure that makes the router, such as
/// a [`Topic`](crate::Topic) or an `Arc`.
///
/// All sockets have the same address. The system distributes new connections evenly, and steers the datagrams of each
/// connection to its worker by the connection id, wherever they come from (`SO_REUSEPORT` with a filter). A client
/// resumes its session at any worker. Limits are those of the server: [`max_connections`](ServerConfig::max_connections),
/// [`max_handshakes`](ServerConfig::max_handshakes), [`max_request_rate`](ServerConfig::max_request_rate),
/// [`offload_threads`](ServerConfig::offload_threads).
///
/// A worker that panics loses its connections, whose clients are told so by stateless resets, and starts again. (A panic
/// in a handler costs its request only.)
///
/// ```no_run
/// use mio_quiche::{Router, ServerConfig, Workers};
///
/// fn main() -> mio_quiche::Result<()> {
///     let config = ServerConfig::from_pem("certs/cert.pem", "certs/key.pem")?;
///     let router = || Ok(Router::new().get("/", |_req, res| res.text("Hello, HTTP/3!\n")));
///     Workers::bind("[::]:4433", config, 0, router)?.run()
/// }
/// ```
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
    ports: Ports,
    signals: bool,
    stats: Stats,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Workers");
        out.field("addr", &self.shared.addr).field("count", &self.count()).finish_non_exhaustive()
    }
}

struct Thread {
    /// Lets the thread serve; the thread ends if it is dropped before.
    go: Option<SyncSender<()>>,
    thread: JoinHandle<(Result<()>, Stats)>,
}

/// What all threads know.
struct Shared {
    addr: SocketAddr,
    endpoints: endpoint::Workers,
    steering: Arc<net::Workers>,
    settings: Settings,
    loops: Loops,
    router: Box<dyn Fn() -> Result<Router> + Send + Sync>,
    handle: WorkersHandle,
}

/// A handle of all workers of a server, for other threads.
#[derive(Clone, Debug, Default)]
pub struct WorkersHandle {
    /// By the number of the worker.
    workers: Arc<Mutex<Vec<ServerHandle>>>,
    /// A shutdown has begun.
    is_stopping: Arc<AtomicBool>,
    /// Of the TCP ports.
    reloader: Arc<OnceLock<Reloader>>,
}

impl WorkersHandle {
    fn all(&self) -> MutexGuard<'_, Vec<ServerHandle>> {
        // Nothing panics while it is locked.
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles of the workers. That of a worker which panics is of no use any more.
    pub fn workers(&self) -> Vec<ServerHandle> {
        self.all().clone()
    }

    /// Begins a graceful shutdown of all workers, as SIGTERM does.
    ///
    /// # Errors
    /// The error of the system when a loop cannot be woken; the other workers shut down nevertheless.
    pub fn shutdown(&self) -> Result<()> {
        self.is_stopping.store(true, Ordering::Release);
        self.each(ServerHandle::shutdown)
    }

    /// Reloads certificate, private key and ticket key of all workers, as [`ServerHandle::reload`] does.
    ///
    /// # Errors
    /// The error of the system when a loop cannot be woken, or of a certificate for the TCP ports.
    pub fn reload(&self) -> Result<()> {
        self.each(ServerHandle::reload)?;
        self.reloader.get().map_or(Ok(()), Reloader::reload)
    }

    /// Calls `call` on the thread of each worker, as [`ServerHandle::post`] does.
    ///
    /// # Errors
    /// [`PostError`] of the first worker that does not take it; the others do.
    pub fn post(
        &self,
        call: impl Fn(&mut ServerContext<'_>) + Clone + Send + 'static,
    ) -> std::result::Result<(), PostError> {
        self.each(|worker| worker.post(call.clone()))
    }

    fn each<E>(&self, ask: impl Fn(&ServerHandle) -> std::result::Result<(), E>) -> std::result::Result<(), E> {
        self.all().iter().map(ask).fold(Ok(()), std::result::Result::and)
    }
}

impl Workers {
    /// Binds the UDP address as [`Server::bind`] does, and starts the threads of `count` workers, 128 at most, or with 0
    /// as many as the machine has processors. `router` is called on each worker's thread, and once before.
    ///
    /// # Errors
    /// As [`Server::bind`], an error of `router`, or of the system if there are no more threads.
    pub fn bind(
        addr: &str,
        mut config: ServerConfig,
        count: usize,
        router: impl Fn() -> Result<Router> + Send + Sync + 'static,
    ) -> Result<Self> {
        let count = number_of_workers(count)?;
        let first = router()?;
        first.check()?;
        config.webtransport.enabled |= first.has_sessions();
        let ports = ports::Settings::of(&config, &first);
        drop(first);
        let (addr, buffer) = (parse_addr(addr)?, config.transport.socket_buffer);
        let mut settings = Settings::of(&config)?;
        let signals = std::mem::replace(&mut settings.signals, false);
        let endpoints = endpoint::Workers::new(config, count, net::now())?;
        let sockets = UdpSocket::bind_group(addr, buffer, count)?;
        let addr = sockets.first().map_or(addr, UdpSocket::local_addr);
        let loops = Loops::default();
        let ports = Ports::open(ports, addr, &loops)?;
        settings.allow_origins.extend(ports.origins());
        let (steering, handle) = (Arc::new(net::Workers::new(count)), WorkersHandle::default());
        let _ = handle.reloader.set(ports.reloader());
        let shared = Shared { addr, endpoints, steering, settings, loops, router: Box::new(router), handle };
        let mut workers =
            Workers { shared: Arc::new(shared), threads: Vec::new(), ports, signals, stats: Stats::default() };
        for (index, socket) in (0..count).zip(sockets) {
            workers.start(index, socket)?;
        }
        Ok(workers)
    }

    /// Starts a worker's thread, which waits for [`run`](Workers::run).
    fn start(&mut self, index: u8, socket: UdpSocket) -> Result<()> {
        let ((go, wait), (report, reported)) = (sync_channel(1), sync_channel(1));
        let shared = Arc::clone(&self.shared);
        let work = move || match shared.server(index, &socket) {
            Ok(server) => {
                let _ = report.send(Ok(()));
                shared.work(index, &socket, server, &wait)
            }
            Err(e) => {
                let _ = report.send(Err(e));
                (Ok(()), Stats::default())
            }
        };
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(work)?;
        self.threads.push(Thread { go: Some(go), thread });
        // It reports, or has panicked in `router`, which the panic's own message tells.
        reported.recv().unwrap_or_else(|_| Err(std::io::Error::other(format!("worker {index} panicked")).into()))
    }

    /// The address that the server listens on, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// The address of the admin port, if [`ServerConfig::admin`] is set. `/metrics` has the sums over all workers, and
    /// `/metrics/workers` the metrics of each.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.ports.admin_addr()
    }

    /// The address of the redirect port, if `ServerConfig::redirect` is set.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.ports.redirect_addr()
    }

    /// The number of workers.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// A handle for other threads.
    pub fn handle(&self) -> WorkersHandle {
        self.shared.handle.clone()
    }

    /// The counters of all workers, after [`run`](Workers::run).
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Serves until a shutdown, as [`Server::run`] does. A worker that ends by an error ends the others.
    ///
    /// # Errors
    /// The first error of a worker.
    pub fn run(&mut self) -> Result<()> {
        let signals = match self.signals {
            true => Some(self.handle_signals()?),
            false => None,
        };
        for thread in &mut self.threads {
            // Only a thread that has ended does not wait.
            let _ = thread.go.take().map(|go| go.send(()));
        }
        let mut result = Ok(());
        for Thread { thread, .. } in self.threads.drain(..) {
            let (ended, stats) = thread.join().unwrap_or_else(|_| {
                (Err(std::io::Error::other("a worker could not start again").into()), Stats::default())
            });
            self.stats += stats;
            result = result.and(ended);
        }
        drop(signals);
        result
    }

    /// Passes signals on to the workers, until the result is dropped.
    fn handle_signals(&self) -> Result<SignalThread> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2])?;
        let (closer, handle) = (signals.handle(), self.handle());
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut stops = 0;
            for signal in signals.forever() {
                let passed = match signal {
                    SIGHUP => handle.reload(),
                    SIGUSR1 => handle.each(ServerHandle::reopen_logs),
                    SIGINT | SIGTERM => {
                        stops += 1;
                        if stops == 1 { handle.shutdown() } else { handle.each(ServerHandle::stop) }
                    }
                    _ => Ok(()),
                };
                if let Err(e) = passed {
                    log::error!("signal {signal}: {e}");
                }
            }
        })?;
        Ok(SignalThread { closer, thread: Some(thread) })
    }
}

struct SignalThread {
    closer: signal_hook::iterator::Handle,
    thread: Option<JoinHandle<()>>,
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.closer.close();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    /// The server of a worker, again if it had one.
    fn server(&self, index: u8, socket: &UdpSocket) -> Result<Server> {
        let endpoint = Endpoint::of_worker(&self.endpoints, index, net::now(), net::wall_clock())?;
        let mut event_loop = EventLoop::new(socket.try_clone()?, false)?;
        event_loop.join(Arc::clone(&self.steering), index);
        let (router, settings) = ((self.router)()?, self.settings.clone());
        let index = usize::from(index);
        let server = Server::of(endpoint, event_loop, router, settings, &self.loops, index);
        let handles = &mut *self.handle.all();
        match handles.get_mut(index) {
            Some(before) => *before = server.handle(),
            None => handles.push(server.handle()),
        }
        Ok(server)
    }

    /// Runs a worker, whose socket stays open whatever happens, as otherwise the others would change places.
    fn work(&self, index: u8, socket: &UdpSocket, mut server: Server, wait: &Receiver<()>) -> (Result<()>, Stats) {
        let mut stats = Stats::default();
        if wait.recv().is_err() {
            return (Ok(()), stats);
        }
        loop {
            let ended = catch_unwind(AssertUnwindSafe(|| server.run()));
            stats += server.stats();
            let ended = match ended {
                Ok(ended) => Some(ended),
                Err(_) if self.handle.is_stopping.load(Ordering::Acquire) => Some(Ok(())),
                Err(_) => None,
            };
            if let Some(ended) = ended {
                if ended.is_err() {
                    let _ = self.handle.shutdown();
                }
                return (ended, stats);
            }
            log::error!("worker {index} panicked: its connections are lost, and it starts again");
            drop(server);
            std::thread::sleep(RESTART_PAUSE);
            server = match self.server(index, socket) {
                Ok(server) => server,
                Err(e) => {
                    let _ = self.handle.shutdown();
                    return (Err(e), stats);
                }
            };
        }
    }
}

fn number_of_workers(count: usize) -> Result<u8, ConfigError> {
    let count = match count {
        0 => std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_WORKERS.into())),
        count => count,
    };
    u8::try_from(count).ok().filter(|count| *count <= MAX_WORKERS).ok_or_else(|| ConfigError::Range {
        setting: "the number of workers",
        value: count.to_string(),
        expected: "0 (one for each processor) to 128",
    })
}
