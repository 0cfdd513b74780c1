//! The whole endpoint: an input is a script of what two peers, the network between them and the clock do.

mod client;
mod script;
mod side;
mod world;

use std::time::Duration;

use super::input::Input;
use world::World;

/// Steps of a script.
const MAX_STEPS: usize = 300;

/// Two peers after a handshake; then packets are lost, doubled, reordered, changed and made up, time passes,
/// and the peers send requests, bodies, sessions, datagrams, resets, or any bytes on their streams. What holds all the
/// time is that every packet is counted, that every table is bounded, and that no stranger is sent more than three
/// times what it sent (RFC 9000 section 8.1), as long as the client has not moved; in the end, that a closed connection
/// leaves nothing behind.
///
/// `advance` lets time pass for [`Instant::now`](std::time::Instant::now): by a sleep, or on a clock that is not the
/// real one.
pub fn endpoint(input: &[u8], advance: &dyn Fn(Duration)) {
    let mut input = Input::new(input);
    let mut world = World::new(&mut input, advance);
    world.handshake();
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.check();
    }
    world.end();
}
