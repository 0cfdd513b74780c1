//! The I/O layer: the UDP socket, the event loop and the clock. The only module that does I/O.

mod event_loop;
#[cfg(feature = "admin")]
mod http1;
#[cfg(feature = "client")]
mod resolver;
mod socket;
#[cfg(feature = "workers")]
mod steering;
mod waker;
#[cfg(feature = "workers")]
mod workers;

pub use event_loop::{EventLoop, Wakeup};
#[cfg(all(feature = "admin", feature = "demo"))]
pub use http1::web_socket;
#[cfg(feature = "admin")]
pub use http1::{Http1Answer, Http1Port, Http1Request, Http1Response, TlsContext, Upgrade};
#[cfg(feature = "client")]
pub use resolver::resolve;
#[cfg(feature = "client")]
pub(crate) use resolver::{Lookups, reachable};
pub use socket::{Datagram, UdpSocket};
pub use waker::Waker;
#[cfg(feature = "workers")]
pub(crate) use workers::Workers;

use std::time::{Instant, SystemTime};

/// The time now, for the engine.
#[expect(clippy::disallowed_methods, reason = "the only place that reads the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day now, for `date` fields and certificates.
#[expect(clippy::disallowed_methods, reason = "the only place that reads the clock")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}
