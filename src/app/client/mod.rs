//! The client: requests and sessions on the same engine and the same loop as the server.

mod alt_svc;
mod collect;
#[cfg(feature = "cookies")]
mod cookies;
mod core;
mod error;
mod fetch;
mod file;
mod handle;
mod handler;
mod pool;
mod redirect;
mod request;
mod response;
mod sending;
mod tickets;
mod waiting;

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Instant;

pub(super) use self::core::ClientCore;
use self::handler::{Handler, Watched};
use super::datagrams::DatagramHandler;
use super::mailbox::{self, Mailbox};
#[cfg(feature = "webtransport")]
use super::session::{Session, SessionHandler};
use crate::config::ClientConfig;
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::net::{self, EventLoop, Lookups, UdpSocket, Waker};
use crate::stats::Stats;
#[cfg(feature = "webtransport")]
use crate::transport::table::StreamId;
use crate::turn::DatagramIo;
pub use alt_svc::AltService;
#[cfg(feature = "fuzzing")]
pub(crate) use alt_svc::AltServices;
pub use error::ClientError;
pub use fetch::FetchAll;
pub use handle::ClientHandle;
pub(super) use handler::Cx;
#[cfg(feature = "fuzzing")]
pub(crate) use request::Origin;
#[cfg(feature = "webtransport")]
pub use request::SessionOptions;
pub use request::{ClientRequest, RequestId, ResponseHandler};
pub use response::ClientResponse;

/// A client of HTTP/3 and WebTransport on one UDP socket, run by the thread that owns it.
///
/// Blocking, for one request at a time:
///
/// ```no_run
/// use mio_quiche::{Client, ClientConfig};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let mut client = Client::new(ClientConfig::default())?;
///     let response = client.get("https://example.com/")?;
///     println!("{}: {} bytes", response.status, response.body.len());
///     Ok(())
/// }
/// ```
///
/// For many at a time, [`fetch_all`](Client::fetch_all), or [`start`](Client::start) requests with handlers and
/// [`run`](Client::run) them.
pub struct Client {
    event_loop: EventLoop,
    endpoint: Endpoint,
    core: ClientCore,
    lookups: Lookups,
    socket_buffer: usize,
    signals: usize,
    max_redirects: usize,
    /// What handles want.
    calls: Mailbox<ClientCall>,
    /// The request of [`run_one`](Client::run_one).
    lent: Option<RequestId>,
}

/// What a [`ClientHandle`] wants of its client.
type ClientCall = Box<dyn FnOnce(&mut Client) + Send>;

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Client");
        out.field("endpoint", &self.endpoint).field("core", &self.core).finish_non_exhaustive()
    }
}

impl Drop for Client {
    /// Tells the servers, so that they need not wait for their idle timeout.
    fn drop(&mut self) {
        self.calls.close();
        self.close();
    }
}

impl Client {
    /// A client; binds a UDP socket, for IPv6 and IPv4 where the system has both.
    ///
    /// # Errors
    /// An invalid setting, or an error of the socket.
    pub fn new(config: ClientConfig) -> Result<Self> {
        let endpoint = Endpoint::client(&config, net::now())?;
        let socket_buffer = config.transport.socket_buffer;
        let event_loop = EventLoop::for_client(any_socket(socket_buffer)?, config.handle_signals)?;
        let core =
            ClientCore::new(&config, event_loop.local_addr(), net::wall_clock(), mailbox::waking(event_loop.waker()));
        let lookups = Lookups::new(config.resolver, event_loop.waker());
        let calls = Mailbox::new(mailbox::waking(event_loop.waker()));
        let max_redirects = config.max_redirects;
        Ok(Client { event_loop, endpoint, core, lookups, socket_buffer, signals: 0, max_redirects, calls, lent: None })
    }

    /// Runs a request to its end with a handler that is only borrowed, and returns the result that its
    /// [`finished`](ResponseHandler::finished) was called with. Other requests and sessions of this client progress
    /// meanwhile.
    ///
    /// ```no_run
    /// use mio_quiche::{Client, ClientConfig, ClientError, ClientRequest, Progress, Recv, ResponseHandler, Result, Stream};
    ///
    /// /// Counts lines in what it borrows, without keeping the response.
    /// struct Lines<'a>(&'a mut u64);
    ///
    /// impl ResponseHandler for Lines<'_> {
    ///     fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
    ///         loop {
    ///             match s.read_chunk(64 * 1024)? {
    ///                 Recv::Data(chunk) => *self.0 += chunk.iter().filter(|byte| **byte == b'\n').count() as u64,
    ///                 Recv::Pending => return Ok(Progress::Pending),
    ///                 Recv::Finished => return Ok(Progress::Done),
    ///             }
    ///         }
    ///     }
    ///
    ///     fn finished(&mut self, _: std::result::Result<(), ClientError>) {}
    /// }
    ///
    /// # fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// let mut client = Client::new(ClientConfig::default())?;
    /// let mut lines = 0;
    /// client.run_one(ClientRequest::get("https://example.com/log")?, &mut Lines(&mut lines))?;
    /// println!("{lines} lines");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Any failure to get the response, or an error of the handler.
    pub fn run_one(
        &mut self,
        request: ClientRequest,
        handler: &mut dyn ResponseHandler,
    ) -> std::result::Result<(), ClientError> {
        // Left behind by a handler that panicked.
        if let Some(id) = self.lent.take() {
            self.cancel(id);
        }
        let id = self.core.begin(net::now(), request, Handler::Lent);
        self.lent = Some(id);
        let mut watched = Watched { handler, result: None };
        while watched.result.is_none() {
            let turned = if self.signals == 0 { self.turn_with(None, Some(&mut watched)) } else { Ok(()) };
            if turned.is_err() || self.signals > 0 {
                let Client { core, endpoint, .. } = self;
                core.lend(Some(&mut watched)).with(net::now(), endpoint, |core, cx| core.cancel(id, cx));
            }
            if let Err(error) = turned {
                watched.result = Some(Err(error.into()));
            }
        }
        self.lent = None;
        watched.result.unwrap_or(Err(ClientError::Cancelled))
    }

    /// Starts a request. It progresses in [`turn`](Client::turn) and [`run`](Client::run).
    pub fn start(&mut self, request: ClientRequest, handler: impl ResponseHandler + 'static) -> RequestId {
        self.core.start(net::now(), request, Box::new(handler))
    }

    /// Requests a WebTransport session, on a connection of its own. The handler's [`opened`](SessionHandler::opened) or
    /// [`failed`](SessionHandler::failed) is called.
    #[cfg(feature = "webtransport")]
    pub fn open_session(&mut self, request: SessionOptions, handler: impl SessionHandler + 'static) {
        self.core.open_session(net::now(), request.into_request(), Box::new(handler));
    }

    /// Opens a separate connection for QUIC datagrams (RFC 9221) that do not belong to HTTP, with one of the
    /// [application protocols](crate::TransportConfig::alpn) of the settings. The handler's
    /// [`opened`](DatagramHandler::opened) or [`failed`](DatagramHandler::failed) is called; it sends and
    /// [closes](crate::Datagrams::close) the connection through its handle. Only host and port of the URL are used. To
    /// send outside of the handler's calls, use [`Endpoint::datagrams`].
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub fn open_datagrams(
        &mut self,
        url: &str,
        handler: impl DatagramHandler + 'static,
    ) -> std::result::Result<(), ClientError> {
        self.core.open_datagrams(ClientRequest::get(url)?, Box::new(handler));
        Ok(())
    }

    /// Runs a request's handler although nothing arrived for it, e.g. when its source or sink is ready.
    pub fn wake(&mut self, id: RequestId) {
        self.core.wake(id, &mut Cx::new(net::now(), &mut self.endpoint));
    }

    /// Uses a session outside of its handler's calls, e.g. after a [wake](Client::waker). An error closes the session.
    /// Returns false if the session has ended.
    #[cfg(feature = "webtransport")]
    pub fn with_session(&mut self, id: StreamId, call: impl FnOnce(&mut Session<'_>) -> Result<()>) -> bool {
        self.core.with_session(net::now(), id, &mut self.endpoint, call)
    }

    /// Cancels a request: aborts its stream with RESET_STREAM and STOP_SENDING.
    pub fn cancel(&mut self, id: RequestId) {
        self.core.cancel(id, &mut Cx::new(net::now(), &mut self.endpoint));
    }

    /// Runs until there is no request, no session and no connection for datagrams.
    ///
    /// # Errors
    /// An error of the socket.
    pub fn run(&mut self) -> Result<()> {
        while self.is_busy() && self.signals == 0 {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Whether a request, a session or a connection for datagrams is under way.
    pub fn is_busy(&self) -> bool {
        self.core.is_busy()
    }

    /// Number of signals received, if the settings enable signal handling.
    pub fn signals(&self) -> usize {
        self.signals
    }

    /// Ends a turn's sleep from another thread; a [handle](Client::handle) does more.
    pub fn waker(&self) -> Waker {
        self.event_loop.waker()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.endpoint.stats()
    }

    /// The address of the socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.event_loop.local_addr()
    }

    /// The engine, for calls that this type does not offer.
    pub fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// Whether open connections resumed an earlier TLS session.
    pub fn resumed(&self) -> bool {
        self.core.pool.conns.keys().any(|id| self.endpoint.is_resumed(*id))
    }

    /// A TLS session that a later client can resume with a server, if one is known.
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub fn ticket(&self, url: &str) -> std::result::Result<Option<Vec<u8>>, ClientError> {
        let origin = ClientRequest::get(url)?.origin;
        let known = self.core.pool.conns.iter().filter(|(_, c)| c.origin == origin);
        let fresh = known.filter_map(|(id, _)| self.endpoint.ticket(*id)).next().map(<[u8]>::to_vec);
        Ok(fresh.or_else(|| self.core.pool.tickets.get(&origin).map(<[u8]>::to_vec)))
    }

    /// Sets the TLS session to resume on the next connection to this server. The newest 1000 are kept.
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub fn set_ticket(&mut self, url: &str, ticket: Vec<u8>) -> std::result::Result<(), ClientError> {
        self.core.pool.tickets.insert(ClientRequest::get(url)?.origin, ticket);
        Ok(())
    }

    /// Takes a cookie as if a response from this URL had set it with `set-cookie`, such as `id=7; Path=/; Max-Age=60`: to
    /// continue with the cookies of an earlier client. The [settings](ClientConfig::cookies) must enable cookies.
    ///
    /// # Errors
    /// [`ClientError::Url`], [`ClientError::Cookie`].
    #[cfg(feature = "cookies")]
    pub fn set_cookie(&mut self, url: &str, cookie: &str) -> std::result::Result<(), ClientError> {
        let url = ClientRequest::get(url)?.url;
        let wrong = |reason: &str| ClientError::Cookie(reason.to_owned());
        let cookies = self.core.cookies.as_mut().ok_or_else(|| wrong("the client has no cookies"))?;
        cookies.set(&url, cookie).map_err(wrong)
    }

    /// The cookies that a request to this URL would have, as `a=1; b=2`, if there are any.
    ///
    /// # Errors
    /// [`ClientError::Url`].
    #[cfg(feature = "cookies")]
    pub fn cookies(&self, url: &str) -> std::result::Result<Option<String>, ClientError> {
        let url = ClientRequest::get(url)?.url;
        let field = self.core.cookies.as_ref().and_then(|cookies| cookies.field(&url));
        Ok(field.map(|field| String::from_utf8_lossy(field.as_bytes()).into_owned()))
    }

    /// The known alternative services, for a later client: those that servers named, if the
    /// [settings](ClientConfig::alt_svc) enable them, and those that were added.
    pub fn alternatives(&self) -> Vec<AltService> {
        self.core.pool.alternatives.list(net::wall_clock())
    }

    /// Appends an alternative service to those of its origin. New connections use the first reachable one, or else the
    /// origin.
    pub fn add_alternative(&mut self, service: AltService) {
        self.core.add_alternative(service);
    }

    /// Moves every connection to a new socket with another port (RFC 9000 section 9).
    ///
    /// # Errors
    /// [`MigrateError::NoConnectionId`](crate::MigrateError::NoConnectionId) while a server has issued no spare connection
    /// id, as during the handshake and for a round trip after a move: nothing has changed, and a later call can succeed.
    /// [`MigrateError::Forbidden`](crate::MigrateError::Forbidden) while there is a connection whose server allows no
    /// migration. An error of the socket.
    pub fn migrate(&mut self) -> Result<()> {
        self.core.can_migrate(&self.endpoint)?;
        self.event_loop.replace_socket(any_socket(self.socket_buffer)?)?;
        self.core.migrate(self.event_loop.local_addr(), &mut self.endpoint);
        Ok(())
    }

    /// Closes every connection and sends the close, as dropping the client does.
    pub fn close(&mut self) {
        self.core.close(&mut self.endpoint);
        self.endpoint.drive(net::now());
        // A server that misses it closes at its idle timeout.
        let _ = self.event_loop.transmit(&mut self.endpoint);
    }

    /// One turn of the loop: waits for events, at most until `until`, and handles them.
    ///
    /// # Errors
    /// An error of the socket.
    pub fn turn(&mut self, until: Option<Instant>) -> Result<()> {
        self.turn_with(until, None)?;
        self.run_calls();
        Ok(())
    }

    fn turn_with(&mut self, until: Option<Instant>, lent: Option<&mut dyn ResponseHandler>) -> Result<()> {
        let Client { event_loop, endpoint, core, lookups, .. } = self;
        let mut lending = core.lend(lent);
        let now = net::now();
        lending.with(now, endpoint, |core, cx| core.begin_turn(net::wall_clock(), cx));
        while let Some(question) = lending.core.poll_question() {
            lookups.start(question.id, question.host, question.port);
        }
        let until = lending.core.next_timeout().into_iter().chain(until).min();
        let wakeup = event_loop.sleep(now, endpoint, until)?;
        // SIGHUP, when the terminal closes, ends it as Ctrl-C does.
        self.signals += wakeup.signals + usize::from(wakeup.hangup);
        let now = net::now();
        while wakeup.error
            && let Some(ip) = event_loop.socket().unreachable()
        {
            lending.with(now, endpoint, |core, cx| core.on_unreachable(ip, cx));
        }
        event_loop.turn(now, endpoint, &mut lending)?;
        while let Some((id, answer)) = lookups.next_answer() {
            lending.with(now, endpoint, |core, cx| core.on_answer(id, answer, cx));
        }
        lending.with(now, endpoint, ClientCore::end_turn);
        Ok(())
    }
}

/// A socket for IPv6 and IPv4, or for IPv4 only where the system has no IPv6.
fn any_socket(buffer: usize) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), buffer)?;
    if let Err(e) = socket.keep_errors() {
        log::debug!("no ICMP errors; unreachable addresses time out: {e}");
    }
    Ok(socket)
}
