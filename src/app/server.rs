//! The server: the event loop's turns, signals and the TCP ports around the application.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::access_log::OpenAccessLog;
#[cfg(feature = "admin")]
use super::admin::{Loops, Questions};
use super::mailbox::{self, Mailbox};
use super::offload::Pool;
#[cfg(not(feature = "admin"))]
use super::ports::Loops;
use super::ports::{self, Ports};
use super::router::Router;
use super::server_context::{ServerCall, ServerContext};
use super::serving::App;
use crate::config::ServerConfig;
use crate::endpoint::Endpoint;
use crate::error::{ConfigError, Error, ErrorCode, PostError, Result};
use crate::net::{self, EventLoop, UdpSocket, Waker};
#[cfg(feature = "admin")]
use crate::observe::prometheus::Snapshot;
use crate::stats::Stats;

/// Time for sessions to end by themselves in a shutdown, unless half of the
/// [shutdown timeout](ServerConfig::shutdown_timeout) is shorter.
const SESSION_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP/3 server on one UDP socket, run by the thread that calls [`run`](Server::run).
///
/// ```no_run
/// use mio_quiche::{Router, Server, ServerConfig};
///
/// fn main() -> mio_quiche::Result<()> {
///     let app = Router::new().get("/", |_req, res| res.text("Hello, HTTP/3!\n"));
///     Server::bind("[::]:4433", ServerConfig::from_pem("certs/cert.pem", "certs/key.pem")?, app)?.run()
/// }
/// ```
#[derive(Debug)]
pub struct Server {
    event_loop: EventLoop,
    endpoint: Endpoint,
    app: App,
    // In this order: first pending questions fail, then the ports' threads end.
    #[cfg(feature = "admin")]
    questions: Questions,
    ports: Ports,
    asked: Arc<Asked>,
    shutdown_timeout: Duration,
}

/// What other threads ask of the loop.
#[derive(Debug, Default)]
struct Asked {
    /// 1 for a graceful shutdown, 2 to stop at once.
    stop: AtomicUsize,
    reload: AtomicBool,
    reopen_logs: AtomicBool,
}

/// What a server is made of, besides its endpoint, its socket and its routes.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) signals: bool,
    pub(super) allow_origins: Vec<String>,
    pub(super) pool: Pool,
    pub(super) shutdown_timeout: Duration,
    access_log: Option<OpenAccessLog>,
}

impl Settings {
    /// Opens the access log.
    pub(super) fn of(config: &ServerConfig) -> Result<Self, ConfigError> {
        Ok(Settings {
            signals: config.handle_signals,
            allow_origins: config.webtransport.allow_origins.clone(),
            pool: Pool::new(config.offload_threads),
            shutdown_timeout: config.shutdown_timeout,
            access_log: config.access_log.as_ref().map(OpenAccessLog::open).transpose()?,
        })
    }
}

/// Parses the address of a server.
pub(super) fn parse_addr(addr: &str) -> Result<SocketAddr> {
    Ok(addr.parse().map_err(|_| ConfigError::Range {
        setting: "the address to listen on",
        value: format!("'{addr}'"),
        expected: "ADDRESS:PORT, such as 127.0.0.1:4433 or [::]:4433",
    })?)
}

/// A handle of a server for other threads.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    asked: Arc<Asked>,
    waker: Waker,
    mailbox: Mailbox<ServerCall>,
}

impl ServerHandle {
    /// Begins a graceful shutdown, as SIGTERM does.
    ///
    /// # Errors
    /// The error of the system when the loop cannot be woken.
    pub fn shutdown(&self) -> Result<()> {
        self.asked.stop.fetch_max(1, Ordering::AcqRel);
        Ok(self.waker.wake()?)
    }

    /// Ends [`Server::run`] at once, as a second SIGTERM does.
    #[cfg(feature = "workers")]
    pub(super) fn stop(&self) -> Result<()> {
        self.asked.stop.store(2, Ordering::Release);
        Ok(self.waker.wake()?)
    }

    /// Opens the logs again, as SIGUSR1 does.
    #[cfg(feature = "workers")]
    pub(super) fn reopen_logs(&self) -> Result<()> {
        self.asked.reopen_logs.store(true, Ordering::Release);
        Ok(self.waker.wake()?)
    }

    /// Reloads certificate, private key and ticket key for new connections, as SIGHUP does. If a file cannot be used,
    /// the error is logged and nothing changes.
    ///
    /// # Errors
    /// The error of the system when the loop cannot be woken.
    pub fn reload(&self) -> Result<()> {
        self.asked.reload.store(true, Ordering::Release);
        Ok(self.waker.wake()?)
    }

    /// Calls `call` on the loop's thread. Up to 16384 messages wait; those of a thread arrive in their order. A panic in
    /// it is logged.
    ///
    /// ```no_run
    /// # fn example(handle: mio_quiche::ServerHandle) {
    /// let (sender, count) = std::sync::mpsc::channel();
    /// let _ = handle.post(move |server| drop(sender.send(server.sessions().len())));
    /// println!("{} sessions are open", count.recv().unwrap_or(0));
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PostError`].
    pub fn post(
        &self,
        call: impl FnOnce(&mut ServerContext<'_>) + Send + 'static,
    ) -> std::result::Result<(), PostError> {
        self.mailbox.post(Box::new(call))
    }
}

impl Server {
    /// Binds the UDP address, such as `[::]:4433` for IPv6 and IPv4 (or IPv4 alone, where the system has no IPv6), and
    /// checks settings and routes.
    ///
    /// # Errors
    /// An address that cannot be parsed or bound, an invalid setting, or a conflict between routes.
    pub fn bind(addr: &str, config: ServerConfig, router: Router) -> Result<Self> {
        let addr = parse_addr(addr)?;
        Self::on(|buffer| UdpSocket::bind(addr, buffer), config, router)
    }

    /// As [`bind`](Self::bind), on a UDP socket that is bound already, such as one that systemd passes on (socket
    /// activation).
    ///
    /// # Errors
    /// An invalid setting, a conflict between routes, or an error of the socket.
    pub fn from_socket(socket: std::net::UdpSocket, config: ServerConfig, router: Router) -> Result<Self> {
        Self::on(|buffer| Ok(UdpSocket::from_std(socket, buffer)?), config, router)
    }

    fn on(socket: impl FnOnce(usize) -> Result<UdpSocket>, mut config: ServerConfig, router: Router) -> Result<Self> {
        router.check()?;
        config.webtransport.enabled |= router.has_sessions();
        let buffer = config.transport.socket_buffer;
        let (mut settings, ports) = (Settings::of(&config)?, ports::Settings::of(&config, &router));
        let endpoint = Endpoint::server(config, net::now(), net::wall_clock())?;
        let event_loop = EventLoop::new(socket(buffer)?, settings.signals)?;
        let loops = Loops::default();
        let ports = Ports::open(ports, event_loop.local_addr(), &loops)?;
        settings.allow_origins.extend(ports.origins());
        Ok(Server { ports, ..Self::of(endpoint, event_loop, router, settings, &loops, 0) })
    }

    /// A server, or worker `index` of one, whose admin port asks `loops`.
    pub(super) fn of(
        endpoint: Endpoint,
        event_loop: EventLoop,
        router: Router,
        settings: Settings,
        loops: &Loops,
        index: usize,
    ) -> Self {
        let mut app = App::new(router, settings.allow_origins, mailbox::waking(event_loop.waker()));
        app.set_pool(settings.pool);
        app.set_access_log(settings.access_log);
        #[cfg(not(feature = "admin"))]
        let _ = (loops, index);
        Server {
            #[cfg(feature = "admin")]
            questions: loops.set(index, event_loop.waker()),
            event_loop,
            endpoint,
            app,
            ports: Ports::default(),
            asked: Arc::default(),
            shutdown_timeout: settings.shutdown_timeout,
        }
    }

    /// The address that the server listens on, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.event_loop.local_addr()
    }

    /// The address of the admin port, if [`ServerConfig::admin`] is set.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.ports.admin_addr()
    }

    /// The address of the redirect port, if `ServerConfig::redirect` is set.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.ports.redirect_addr()
    }

    /// A handle for other threads.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { asked: self.asked.clone(), waker: self.event_loop.waker(), mailbox: self.app.mailbox().clone() }
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.endpoint.stats()
    }

    #[cfg(feature = "admin")]
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            stats: self.endpoint.stats(),
            distributions: self.endpoint.distributions(),
            event_loop: self.event_loop.stats(),
            responses: self.app.responses(),
            durations: self.app.durations(),
            panics: self.app.panics(),
            connections: self.endpoint.connection_count(),
            handshakes: self.endpoint.handshake_count(),
            sessions: self.endpoint.session_count(),
            shutting_down: self.endpoint.is_shutting_down(),
        }
    }

    /// Serves until a shutdown: after SIGINT, SIGTERM or [`ServerHandle::shutdown`] it takes no new requests, lets
    /// the running ones end (for at most [`ServerConfig::shutdown_timeout`]), closes every connection and returns. A
    /// second signal makes it return at once.
    ///
    /// # Errors
    /// An error of the socket.
    pub fn run(&mut self) -> Result<()> {
        let mut signals = 0;
        let mut shutdown_deadline: Option<Instant> = None;
        let mut session_deadline: Option<Instant> = None;
        loop {
            let now = net::now();
            let until = [shutdown_deadline, session_deadline].into_iter().flatten().min();
            let wakeup = self.event_loop.sleep(now, &self.endpoint, until)?;
            let now = net::now();
            signals += wakeup.signals;
            if wakeup.hangup || (wakeup.waker && self.asked.reload.swap(false, Ordering::AcqRel)) {
                let read = self.endpoint.reload().map_err(Error::from);
                match read.and_then(|()| self.ports.reloader().reload()) {
                    Ok(()) => log::info!("certificate and keys reloaded"),
                    Err(e) => log::error!("certificate and keys were not reloaded: {e}"),
                }
            }
            if wakeup.user1 || (wakeup.waker && self.asked.reopen_logs.swap(false, Ordering::AcqRel)) {
                match self.endpoint.reopen_logs() {
                    Ok(()) => log::info!("key log opened again"),
                    Err(e) => log::error!("the key log stays as it is: {e}"),
                }
                self.app.reopen_access_log();
            }
            let stop = signals.max(self.asked.stop.load(Ordering::Acquire));
            if stop > 0 && shutdown_deadline.is_none() {
                log::info!("shutting down: {} connections open", self.endpoint.connection_count());
                shutdown_deadline = Some(now + self.shutdown_timeout);
                session_deadline = Some(now + SESSION_SHUTDOWN_TIMEOUT.min(self.shutdown_timeout / 2));
                self.endpoint.shutdown();
                self.app.drain(now, &mut self.endpoint);
            }
            if stop > 1 {
                log::info!("second signal: stopping at once");
                return Ok(());
            }
            if session_deadline.is_some_and(|at| at <= now) {
                session_deadline = None;
                self.endpoint.close_sessions(now, 0, "shutting down");
            }
            self.turn(now)?;
            #[cfg(feature = "admin")]
            if wakeup.waker {
                self.questions.answer(|| self.snapshot());
            }
            if let Some(deadline) = shutdown_deadline {
                if self.endpoint.is_shut_down() {
                    return Ok(());
                }
                if now >= deadline {
                    log::warn!("{} connections did not end in time", self.endpoint.connection_count());
                    // So that no client waits for responses that will not come.
                    self.endpoint.close_all(ErrorCode::H3_NO_ERROR, b"shutting down");
                    self.turn(now)?;
                    return Ok(());
                }
            }
        }
    }

    fn turn(&mut self, now: Instant) -> Result<()> {
        Ok(self.event_loop.turn(now, &mut self.endpoint, &mut self.app)?)
    }
}
