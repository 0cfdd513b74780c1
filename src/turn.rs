//! One turn of an endpoint, in the one order that is right: take datagrams in, run the timers, run the engine and the
//! application until both are through, send.
//!
//! Nothing here touches a socket or reads a clock. [`EventLoop::turn`](crate::net::EventLoop::turn) runs it on a UDP
//! socket; a simulation runs it on a [`DatagramIo`] of its own.

use std::io;
use std::time::Instant;

use crate::endpoint::{Endpoint, Event};

/// Rounds of engine and application in one turn before packets go out.
const MAX_ROUNDS_PER_TURN: usize = 4;

/// What takes the events of an endpoint.
///
/// A closure of the same arguments is one, too.
pub trait Application {
    /// Something happened.
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint);

    /// All events of a round are taken: what they made possible can be started.
    fn on_round(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let _ = (now, endpoint);
    }
}

impl<F: FnMut(Instant, Event, &mut Endpoint)> Application for F {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        self(now, event, endpoint);
    }
}

/// Where an endpoint's datagrams come from and go to.
pub trait DatagramIo {
    /// Feeds the endpoint with the datagrams that wait, up to a bound.
    fn receive(&mut self, now: Instant, endpoint: &mut Endpoint);

    /// Sends what the endpoint has, up to a bound. What cannot leave now is kept, and leaves first in the next call. True
    /// if nothing is left.
    ///
    /// # Errors
    /// What the system reports.
    fn transmit(&mut self, endpoint: &mut Endpoint) -> io::Result<bool>;
}

/// One turn: takes datagrams in, runs the timers, [settles](settle), sends, and takes the events that sending caused.
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
        // The first flight of a resumed session has left: what can go with it shall not wait for the answer.
        settle(now, endpoint, app);
        io.transmit(endpoint)?;
    }
    // Only when its last packet is sent is a connection over.
    dispatch(now, endpoint, app);
    Ok(())
}

/// Runs engine and application by turns, up to a bound, until the engine has nothing to do. False if it still has.
///
/// To be called after every use of the endpoint, with packets sent afterwards.
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

/// Hands every event that waits to the application.
fn dispatch(now: Instant, endpoint: &mut Endpoint, app: &mut impl Application) {
    while let Some(event) = endpoint.poll_event() {
        app.on_event(now, event, endpoint);
    }
}
