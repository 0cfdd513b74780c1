//! One test for each fault that was found, named in its first line; and those that state what quiche does and the engine has
//! to live with.

mod client;
mod connection;
mod first_flight;
mod flow;
mod forwarding;
#[cfg(feature = "qlog")]
mod logs;
mod migration;
mod raw;
mod retired_ids;
mod sessions;
mod shutdown;
mod stateless;

use super::sessions::{Client, DRAFT02, options};
use super::*;
use crate::error::ErrorCode;

/// Time limit for operations that take milliseconds, unless the machine is busy.
const SOON: Duration = Duration::from_secs(30);
/// The interval of the rounds of loops that wait.
const ROUND: Duration = Duration::from_micros(200);

/// How many rounds there are at most in a time. A limit on rounds is as strict as one on time, and holds on a busy machine,
/// which does fewer rounds in the same time.
fn rounds(time: Duration) -> u128 {
    time.as_micros() / ROUND.as_micros()
}

impl Client {
    /// Lets time and packets pass until `done`; false if that takes longer than `limit`, or the connection ends.
    fn within(&mut self, limit: Duration, mut done: impl FnMut(&mut Client) -> bool) -> bool {
        let deadline = net::now() + limit;
        loop {
            self.take_in();
            if done(self) {
                return true;
            }
            if net::now() >= deadline || self.sim.client.is_closed() {
                return false;
            }
            self.pass_time();
        }
    }

    /// One step, without reading received data.
    fn pass_time(&mut self) {
        if !self.sim.step() {
            self.sim.sleep();
        }
    }

    /// Lets time and packets pass for this long.
    fn go_on(&mut self, time: Duration) {
        self.within(time, |_| false);
    }

    /// Waits for a reset of the CONNECT stream, and returns its code.
    fn connect_reset(&mut self) -> Option<u64> {
        self.within(SOON, |c| c.resets.contains_key(&0));
        self.resets.get(&0).copied()
    }
}

impl Sim {
    /// As [`Client::within`].
    fn within(&mut self, limit: Duration, mut done: impl FnMut(&mut Sim) -> bool) -> bool {
        let deadline = net::now() + limit;
        while !done(self) {
            if net::now() >= deadline || self.client.is_closed() {
                return false;
            }
            if !self.step() {
                self.sleep();
            }
        }
        true
    }
}

/// Settings of the server besides those that sessions need.
fn with_server(set: impl Fn(&mut ServerConfig) + 'static) -> Options {
    let options = options(Network::default());
    let sessions = options.server;
    let server = move |config: &mut ServerConfig| {
        sessions(config);
        set(config);
    };
    Options { server: Box::new(server), ..options }
}

/// A request's head in a HEADERS frame: `GET https://a/`, of entries of QPACK's static table.
fn get_frame() -> Vec<u8> {
    headers_frame(b"\xd1\xd7\x50\x01a\xc1")
}

/// A HEADERS frame with a field section that needs no dynamic table.
fn headers_frame(fields: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, 2 + fields.len() as u8, 0, 0];
    frame.extend_from_slice(fields);
    frame
}
