//! The loop that runs the load.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio_quiche::net::{self, EventLoop, UdpSocket};
use mio_quiche::turn::DatagramIo;
use mio_quiche::{ClientConfig, ClientError, Endpoint, ErrorCode};

use super::conns::MAX_FAILURES;
use super::engine::{Engine, Mode, Plan};
use super::tally::Tally;
use crate::cli::Failure;

/// Interval of the bar's updates and of the timeout checks.
const TICK: Duration = Duration::from_millis(100);
/// Time for scheduled requests after the end of the schedule.
const GRACE: Duration = Duration::from_secs(2);
/// The system sleeps in whole milliseconds.
const SLEEP_STEP: Duration = Duration::from_millis(1);

pub(super) struct Runner {
    event_loop: EventLoop,
    endpoint: Endpoint,
    engine: Engine,
    next_tick: Instant,
    interrupted: bool,
}

impl Runner {
    pub(super) fn new(plan: Plan, config: &ClientConfig) -> Result<Self, Failure> {
        let now = net::now();
        let mut config = config.clone();
        config.webtransport.enabled = !matches!(plan.mode, Mode::Http { .. });
        let endpoint = Endpoint::client(&config, now).map_err(mio_quiche::Error::from)?;
        let buffer = config.transport.socket_buffer;
        let socket = UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), buffer)?;
        let (host, port) = plan.request.host();
        let (host, local) = (host.to_owned(), socket.local_addr());
        // Before signals are caught, as it may take long.
        let addresses = net::resolve(config.resolver.as_ref(), &host, port, local)
            .map_err(|source| ClientError::Resolve { host: host.clone(), source: source.into() })?;
        if let Err(e) = socket.keep_errors() {
            log::debug!("no ICMP errors; unreachable addresses time out: {e}");
        }
        let event_loop = EventLoop::for_client(socket, true)?;
        let engine = Engine::new(plan, host, addresses.into(), local, config.connect_timeout)?;
        Ok(Runner { event_loop, endpoint, engine, next_tick: now, interrupted: false })
    }

    pub(super) fn into_tally(self) -> Tally {
        self.engine.into_tally()
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// End of the last request, or of the run.
    pub(super) fn last_end(&self) -> Option<Instant> {
        self.engine.last_end()
    }

    /// Opens all connections, and their sessions. Of several addresses, uses the one that answers first.
    pub(super) fn open(&mut self) -> Result<(), Failure> {
        self.engine.race(net::now(), &mut self.endpoint);
        while !self.interrupted && !self.engine.is_open() {
            self.turn(None, &mut |_| {})?;
        }
        Ok(())
    }

    /// Starts the measurement.
    pub(super) fn begin(&mut self) -> Result<(), hdrhistogram::CreationError> {
        self.engine.begin()
    }

    /// Runs `count` requests, or until `until`. A schedule begins at `began`.
    pub(super) fn load(
        &mut self,
        count: Option<u64>,
        began: Instant,
        until: Option<Instant>,
        tick: &mut dyn FnMut(&Tally),
    ) -> Result<(), Failure> {
        self.engine.plan_load(count, began);
        let target = count.unwrap_or(u64::MAX);
        loop {
            let (now, engine) = (net::now(), &mut self.engine);
            engine.schedule(now, until);
            let over = until.is_some_and(|until| now >= until);
            if over {
                engine.budget = 0;
            }
            let all_done = engine.tally.done >= target;
            let rest = engine.plan.rate.is_some() && engine.counting && until.is_some_and(|until| now < until + GRACE);
            if self.interrupted || all_done || over && (!rest || engine.open_requests() == 0) {
                break;
            }
            if engine.slots.iter().all(|slot| slot.failures >= MAX_FAILURES) {
                break;
            }
            self.turn(until, tick)?;
        }
        self.engine.give_up_rest(until);
        Ok(())
    }

    /// Closes the connections.
    pub(super) fn close(&mut self) {
        for slot in &self.engine.slots {
            if let Some(conn) = slot.conn {
                self.endpoint.close(conn, ErrorCode::H3_NO_ERROR, b"");
            }
        }
        self.endpoint.drive(net::now());
        // A server that misses it closes at its idle timeout.
        let _ = self.event_loop.transmit(&mut self.endpoint);
    }

    fn turn(&mut self, until: Option<Instant>, tick: &mut dyn FnMut(&Tally)) -> Result<(), Failure> {
        let now = net::now();
        self.engine.connect(now, &mut self.endpoint)?;
        self.engine.start(now, &mut self.endpoint);
        let next_due = match self.engine.next_due() {
            // Busy-waits for requests due within the step, so that they are sent on time.
            Some(due) if due < now + 2 * SLEEP_STEP => {
                if !self.endpoint.has_work() {
                    std::thread::yield_now();
                }
                Some(now)
            }
            due => due.map(|due| due - SLEEP_STEP),
        };
        let until = [next_due, Some(self.next_tick), until].into_iter().flatten().min();
        let wakeup = self.event_loop.sleep(now, &self.endpoint, until).map_err(mio_quiche::Error::from)?;
        self.interrupted |= wakeup.signals > 0 || wakeup.hangup;
        let now = net::now();
        while wakeup.error
            && let Some(ip) = self.event_loop.socket().unreachable()
        {
            self.engine.on_unreachable(now, ip, &mut self.endpoint);
        }
        self.event_loop.turn(now, &mut self.endpoint, &mut self.engine).map_err(mio_quiche::Error::from)?;
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.engine.expire(now, &mut self.endpoint);
            tick(self.engine.tally());
        }
        self.engine.failure.take().map_or(Ok(()), Err)
    }
}
