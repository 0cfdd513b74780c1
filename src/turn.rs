//! One turn of an endpoint, in the required order: receive, run the timers, run the engine and the application until
//! both are done, send.
//!
//! Nothing here touches a socket or reads a clock. [`EventLoop::turn`](crate::net::EventLoop::turn) runs it on a UDP
//! socket; a simulation runs it on a [`DatagramIo`] of its own.

use std::io;
use std::time::Instant;

use crate::endpoint::{Endpoint, Event};

/// Rounds of engine and application in one turn before packets go out.
const MAX_ROUNDS_PER_TURN: usize = 4;

/// Handles the events of an endpoint.
///
/// A closure with the same arguments is an `Application`.
pub trait Application {
    /// Handles one event.
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint);

    /// Called after all events of a round, e.g. to start new requests.
    fn on_round(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let _ = (now, endpoint);
    }
}

impl<F: FnMut(Instant, Event, &mut Endpoint)> Application for F {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        self(now, event, endpoint);
    }
}

/// Receives and sends an endpoint's datagrams.
pub trait DatagramIo {
    /// Passes waiting datagrams to the endpoint, up to a bound, and says by [`Endpoint::end_batch`] whether more wait.
    fn receive(&mut self, now: Instant, endpoint: &mut Endpoint);

    /// Sends the endpoint's datagrams, up to a bound. What cannot be sent now is kept and sent first in the next call.
    /// Returns true if nothing is left.
    ///
    /// # Errors
    /// An error of the system.
    fn transmit(&mut self, endpoint: &mut Endpoint) -> io::Result<bool>;
}

/// One turn: receives, runs the timers, [settles](settle), sends, and handles the events that sending caused.
///
/// # Errors
/// As [`DatagramIo::transmit`].
pub fn turn(
    now: Instant,
    io: &mut impl DatagramIo,
    endpoint: &mut Endpoint,
    app: &mut impl Application,
) -> io::Result<()> {
    io.receive(now, endpoint);
    endpoint.handle_timeouts(now);
    let settled = settle(now, endpoint, app);
    io.transmit(endpoint)?;
    if settled && endpoint.needs_drive() {
        // The first flight of a resumed session was sent: 0-RTT requests must not wait for the server's response.
        settle(now, endpoint, app);
        io.transmit(endpoint)?;
    }
    // A connection ends only when its last packet is sent.
    dispatch(now, endpoint, app);
    Ok(())
}

/// Runs engine and application alternately, up to a bound, until the engine has nothing to do. Returns false if it
/// still has.
///
/// Call it after every use of the endpoint, and send packets afterwards.
pub fn settle(now: Instant, endpoint: &mut Endpoint, app: &mut impl Application) -> bool {
    for _ in 0..MAX_ROUNDS_PER_TURN {
        endpoint.drive(now);
        dispatch(now, endpoint, app);
        app.on_round(now, endpoint);
        if !endpoint.needs_drive() {
            return true;
        }
    }
    false
}

/// Passes every queued event to the application.
fn dispatch(now: Instant, endpoint: &mut Endpoint, app: &mut impl Application) {
    while let Some(event) = endpoint.poll_event() {
        app.on_event(now, event, endpoint);
    }
}
